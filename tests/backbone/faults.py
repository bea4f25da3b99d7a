"""Programs that ingest, remove and race, and what must be so after they were killed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from backbone import files
from backbone.audit import check
from butler import Butler
from butler.intake import ingest
from registry import collections
from registry.errors import DatasetExists
from registry.schema.identity import dataset
from tests.nursery import Moments

if TYPE_CHECKING:
    from registry.identity import DatasetRef

N_RACES = 20
KEYS = {"instrument": "DemoCam", "detector": 1}


def ingests(root: str, run: str, paths: list[str], last: int) -> int:
    """Take raw frames in, in batches of seven; die at a moment."""
    moments = Moments(last)
    ingest.BATCH = 7
    with Butler(root, run=run) as butler:
        taken = butler.ingest_raws(paths)
    print(moments.count)  # noqa: T201
    return len(taken.errors)


def writes(root: str, name: str, n: int, start: str) -> None:
    """Register collections, each in a transaction that takes a while, when a pipe is opened."""
    with Butler(root, writeable=True) as butler:

        def slowly(connection: sa.Connection, k: int) -> None:
            collections.register(connection, f"{name}/{k}")
            for _ in range(40):
                collections.query(connection, name)

        print("ready", flush=True)  # noqa: T201
        with Path(start).open():
            for k in range(n):
                butler.registry.database.transact(slowly, k)


def removes(root: str, run: str, last: int) -> None:
    """Remove a run; die at a moment."""
    moments = Moments(last)
    with Butler(root, writeable=True) as butler:
        butler.remove_runs(run)
    print(moments.count)  # noqa: T201


def races(root: str, name: str) -> None:
    """Put datasets that another process puts at the same time, naming how each race ended."""
    with Butler(root, run="u/test") as butler:
        for n in range(N_RACES):
            try:
                butler.put({"by": name}, "summary", KEYS, target=str(n))
                print("won")  # noqa: T201
            except DatasetExists:
                print("lost")  # noqa: T201


def assert_recovers(butler: Butler) -> list[DatasetRef]:
    """Repair, and look at everything: agreement, whole files, no identity twice."""
    database = butler.registry.database
    found = check(database, butler.root, grace=0, repair=True, checksums=True)
    assert {f.problem for f in found.findings} <= {"orphan", "unfinished"}
    assert found.unrepaired == []
    assert check(database, butler.root, grace=0, checksums=True).findings == []
    with butler.registry.read() as connection:
        d = dataset.c
        twice = connection.execute(
            sa.select(d.run_id, d.dataset_type_id, d.data_id)
            .group_by(d.run_id, d.dataset_type_id, d.data_id)
            .having(sa.func.count() > 1)
        ).all()
        ids = list(connection.execute(sa.select(d.id)).scalars())
        assert files.stored(connection, ids) == set(ids)
    assert twice == []
    refs = butler.registry.get_refs(ids)
    for ref in refs.values():
        butler.get(ref)
    return list(refs.values())
