"""Where does it happen: a repository with a further endpoint, and another that gives datasets?"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa

from backbone import endpoints
from backbone.endpoints import ROOT
from backbone.owners import OWNER
from butler import Butler
from registry import DatasetType
from registry.schema.files import endpoint, file, replica
from tests.registry.provenance_graphs import NODE, Task, make

if TYPE_CHECKING:
    from pathlib import Path

    from registry import DatasetRef

N = 4
"""Datasets of each deed."""
FAR = "far"
MADE = "made"
"""The run that the other repository has."""
SUMMARY = DatasetType("summary", NODE.dimensions, "StructuredDataDict", is_calibration=True)
_OWN = ("skyspine.yaml", "registry.sqlite3", OWNER)


def value(n: int, run: str) -> dict[str, Any]:
    """Make what the n-th dataset of a run holds."""
    return {"n": n, "in": run, "text": "x" * 500}


def data_id(n: int) -> dict[str, Any]:
    """Say which it is."""
    return {"instrument": "Cam", "healpix": n}


class World:
    """The repositories of one database and one kind of storage.

    Parameters
    ----------
    folder : Path
        Empty, or not there.
    url : str
        Of a database for the repository.
    far, other_far : str
        Where the further endpoints of the two repositories lie; empty for folders.

    Attributes
    ----------
    butler : Butler
        The repository, open for writing.
    other : Path
        Root of the other one.
    incoming : Path
        Files that can be ingested.
    """

    def __init__(self, folder: Path, url: str, far: str = "", other_far: str = "") -> None:
        self.other, self.incoming = folder / "other", folder / "incoming"
        self.at_server = bool(far)
        self._far = folder / FAR
        for made in (self._far, folder / "other-far", self.incoming):
            made.mkdir(parents=True)
        for n in range(N):
            text = json.dumps(value(n, "incoming"))
            (self.incoming / f"{n}.yaml").write_text(text)
        Butler.create(folder / "repo", url).close()
        self.butler = Butler(folder / "repo", writeable=True)
        _fill(self.butler, far or str(self._far))
        with Butler.create(self.other) as other:
            _fill(other, other_far or str(folder / "other-far"))
            where = FAR if far else ROOT
            raw = put(other, "raw", where)
            made_of = put(other, MADE, where)
            steps = [(raw[:2], made_of[:2], "done"), (raw[2:], made_of[2:], "done")]
            make(other.registry, Task(MADE, "reduce", {"clip": "3.0"}), steps)

    def stored(self) -> set[tuple[str, str]]:
        """List what lies in the storage: endpoint and path."""
        found = {(ROOT, path) for path in _below(self.butler.root)}
        if not self.at_server:
            return found | {(FAR, path) for path in _below(self._far)}
        there = self.butler.registry.database.ask(endpoints.named, FAR).remote()
        return found | {(FAR, path) for path in there.list()}

    def recorded(self) -> set[tuple[str, str]]:
        """List what the database says of it."""
        asked = (
            sa.select(endpoint.c.name, file.c.path)
            .join(replica, replica.c.endpoint_id == endpoint.c.id)
            .join(file, file.c.id == replica.c.file_id)
            .where(replica.c.state == "available")
        )
        with self.butler.registry.read() as connection:
            return {(row.name, row.path) for row in connection.execute(asked)}

    def members(self, run: str) -> list[DatasetRef]:
        """List the datasets of a run, by their number."""
        if not self.butler.collections.query(run):
            return []
        found = self.butler.query_datasets("summary", collections=run)
        return sorted(found, key=lambda ref: int(ref.data_id["healpix"]))

    def clear(self, run: str) -> None:
        """Remove a run."""
        if self.butler.collections.query(run):
            self.butler.remove_runs(run)
        self.butler.empty_trash()

    def close(self) -> None:
        """Close the repository."""
        self.butler.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _fill(butler: Butler, far: str) -> None:
    butler.registry.insert_dimension_records("instrument", [{"name": "Cam", "detector_max": 2}])
    butler.registry.register_dataset_type(SUMMARY)
    butler.registry.database.transact(endpoints.register, FAR, far)


def put(butler: Butler, run: str, where: str) -> list[DatasetRef]:
    """Put the datasets of a run."""
    with butler.transaction():
        return [
            butler.put(value(n, run), "summary", data_id(n), run=run, endpoint=where)
            for n in range(N)
        ]


def _below(root: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return [
            str(path.relative_to(root))
            for path in root.rglob("*")
            if path.is_file() and not path.name.startswith(_OWN)
        ]
    return []
