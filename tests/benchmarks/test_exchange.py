"""How long does it take to export and import 10,000 datasets, in each format?

    python -m pytest tests/benchmarks/test_exchange.py --timed -s -p no:xdist

prints times.  Without ``--timed`` it runs at a small size, to see that the answers are right.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from backbone import endpoints, files
from butler import Butler
from tests.benchmarks.test_registry import N_DETECTORS, observe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.databases import Databases


def told(what: str, verb: Callable[[], object]) -> None:
    """Print the time of a verb, and that of the processor."""
    began, worked = time.perf_counter(), time.process_time()
    verb()
    wall, cpu = time.perf_counter() - began, time.process_time() - worked
    print(f"  {what:<40} {wall:8.2f} s   processor {cpu:8.2f} s")


def test_export_and_import(databases: Databases, backend: str, timed: bool, tmp_path: Path) -> None:
    n_exposures = 100 if timed else 5
    pa.array(pd.Series([1]))  # which imports its half of pandas
    (tmp_path / "files").mkdir()
    with databases.migrated() as url, Butler.create(tmp_path / "source", url) as source:
        observe(source.registry, n_exposures)
        kind = source.register_dataset_type(
            "meta", ("instrument", "detector", "exposure"), "StructuredDataDict"
        )
        source.registry.register_collection("run")
        keys = [
            {"instrument": "Cam", "detector": d, "exposure": e}
            for e in range(n_exposures)
            for d in range(N_DETECTORS)
        ]
        refs = source.registry.insert_datasets(kind, keys, "run")
        new = []
        for n, ref in enumerate(refs):
            content = f"a: {n}\n".encode()
            path = tmp_path / f"files/{n}.yaml"
            path.write_bytes(content)
            digest = "sha256:" + hashlib.sha256(content).hexdigest()
            new.append(files.NewFile(ref.id, "", str(path), len(content), digest, "yaml"))
        with source.registry.begin() as connection:
            files.record(connection, endpoints.DIRECT, new)
        print(f"\n{backend}, {len(refs)} datasets whose files stay where they are:")
        for name in ("parquet", "export.yaml"):
            path = tmp_path / name
            told(f"export {name}", lambda p=path: source.export(p, refs, transfer="direct"))  # type: ignore[misc]
    for name in ("parquet", "export.yaml"):
        for transfer in ("direct", None):
            root = tmp_path / f"{name}-{transfer}"
            with databases.migrated() as url, Butler.create(root, url) as target:
                path = tmp_path / name
                told(
                    f"import {name}, files {transfer or 'left out'}",
                    lambda p=path, b=target, t=transfer: b.import_(p, transfer=t),  # type: ignore[misc]
                )
                assert target.registry.count_datasets(kind, "run") == [{"n": len(refs)}]
                found = target.query_datasets("meta", collections="run")
                assert target.exists(found[-1]) is (transfer is not None)
