"""Histories of a known shape: datasets numbered from 0, made from each other as asked."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from registry import DatasetType, provenance
from registry.identity import uuid7
from registry.provenance import Outcome, QuantumRow
from registry.schema import provenance as schema

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping, Sequence

    from registry import DatasetRef, Registry

NODE = DatasetType("node", ("instrument", "healpix"), "Table", is_calibration=True)
BEGAN = dt.datetime(2022, 9, 20, 12, tzinfo=dt.UTC)


class Task(NamedTuple):
    """A task of a run: with its configuration values and its software."""

    run: str
    label: str
    values: Mapping[str, str | None] = {}
    packages: Mapping[str, str] = {}
    python: str = "3.11.7"
    class_name: str = "a.Task"


def nodes(registry: Registry, n: int, run: str) -> list[DatasetRef]:
    """Insert datasets 0 to n - 1 into a run."""
    registry.register_collection(run)
    if not registry.query_dimension_records("instrument"):
        registry.insert_dimension_records("instrument", [{"name": "Cam", "detector_max": 2}])
    registry.register_dataset_type(NODE)
    return registry.insert_datasets(
        NODE, [{"instrument": "Cam", "healpix": i} for i in range(n)], run
    )


def make(
    registry: Registry,
    task: Task,
    steps: Iterable[tuple[Sequence[DatasetRef], Sequence[DatasetRef], str]],
) -> list[uuid.UUID]:
    """Record quanta that read and made datasets, and the state that each ended in.

    The n-th begins n minutes after `BEGAN` and takes 30 s.
    """
    registry.register_collection(task.run)
    listed = list(steps)
    q = schema.quantum
    with registry.begin() as connection:
        values = [(k, v, "str") for k, v in sorted(task.values.items())]
        config = provenance.record_config(connection, f"{task.class_name}Config", "", values)
        key = provenance.record_task(connection, task.run, task.label, task.class_name, config, [])
        software = provenance.record_environment(
            connection, task.python, "Linux x86_64", task.packages
        )
        before = connection.execute(sa.select(sa.func.count()).select_from(q)).scalar_one()
        ids = [uuid7() for _ in listed]
        quanta = [
            QuantumRow(
                i, NODE.data_id(instrument="Cam", healpix=before + n),
                tuple(("in", r.id) for r in reads),
            )
            for n, (i, (reads, _, _)) in enumerate(zip(ids, listed, strict=True))
        ]  # fmt: skip
        provenance.insert_quanta(connection, key, quanta)
        for n, (i, (_, made, state)) in enumerate(zip(ids, listed, strict=True)):
            if state == "ready":
                continue
            provenance.start(connection, i, software, "host", 42)
            if state != "running":
                failed = ("ValueError", "no stars") if state == "failed" else (None, None)
                outcome = Outcome(state, 30.0, 30.0, 1_000, {}, {}, *failed)
                provenance.finish(connection, i, outcome, [("out", r.id) for r in made])
            begin = BEGAN + dt.timedelta(minutes=before + n)
            times = {"started_at": begin}
            if state != "running":
                times["finished_at"] = begin + dt.timedelta(seconds=30)
            connection.execute(sa.update(q).where(q.c.id == i).values(times))
    return ids
