"""Exchanges zips with lsst-daf-butler; run by the Python of an environment that has it.

usage: peer_zip.py FOLDER

It ingests ``ours.zip`` of the folder, reads every dataset, puts one of its own, and retrieves all
into a zip in ``theirs``.  Standard output has, as JSON, what it read by identity, and its zip.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lsst.daf.butler import Butler, DatasetRef


def everything(butler: Butler) -> list[DatasetRef]:
    """List every dataset with its dimension records, without which a zip has none."""
    return [
        ref
        for kind in butler.registry.queryDatasetTypes("*")
        for ref in butler.query_datasets(
            kind, "*", find_first=False, explain=False, with_dimension_records=True
        )
    ]


def main(folder: Path) -> None:
    Butler.makeRepo(str(folder / "there"))
    butler = Butler.from_config(str(folder / "there"), writeable=True)
    butler.ingest_zip(str(folder / "ours.zip"), transfer_dimensions=True)
    refs = everything(butler)
    read = {str(ref.id): butler.get(ref) for ref in refs}
    one = next(ref for ref in refs if ref.datasetType.name == "metrics")
    butler.collections.register("there")
    made = butler.put({"made": "there"}, "metrics", one.dataId, run="there")
    (folder / "theirs").mkdir()
    path = butler.retrieve_artifacts_zip(everything(butler), str(folder / "theirs"))
    records = butler.query_dimension_records("exposure", explain=False)
    told = {"read": read, "made": str(made.id), "zip": path.ospath}
    told["exposures"] = [[r.id, r.physical_filter, r.timespan.nsec] for r in records]
    print(json.dumps(told))  # noqa: T201


main(Path(sys.argv[1]))
