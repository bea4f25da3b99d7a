"""What does a dataset taint that is withdrawn: which products, in which runs, used where?"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from registry.database import CHUNK, in_written_order, rows_of
from registry.provenance.graphs import distances, walk
from registry.schema import provenance as schema
from registry.schema.calibrations import calibration
from registry.schema.collections import collection, tagged
from registry.schema.files import file, replica
from registry.timespan import Timespan

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

    from registry.identity import DatasetRef
    from registry.provenance.graphs import Graph

__all__ = ["Facts", "Taint", "Tainted", "Waiting", "facts_about", "taint", "tainted"]


@dataclass(frozen=True, slots=True)
class Tainted:
    """A dataset that is withdrawn, or was made from one.

    Parameters
    ----------
    ref : DatasetRef
        The dataset.
    steps : int
        How far it is from what is withdrawn; 0 for that itself.
    task_label : str, optional
        What made it.
    stored : bool
        Whether a copy of a file of it is available.
    certified : tuple of (collection, Timespan)
        Where it holds as a calibration.
    tagged : tuple of str
        Collections that it is tagged in.
    """

    ref: DatasetRef
    steps: int
    task_label: str | None
    stored: bool
    certified: tuple[tuple[str, Timespan], ...]
    tagged: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A quantum that is not done and reads something tainted when it runs."""

    quantum_id: uuid.UUID
    task_label: str
    run: str
    state: str


@dataclass(frozen=True, slots=True)
class Taint:
    """Everything that withdrawn datasets taint.

    Parameters
    ----------
    datasets : tuple of Tainted
        What is withdrawn, then its products, nearest first.
    waiting : tuple of Waiting
        Quanta that would taint more.
    """

    datasets: tuple[Tainted, ...]
    waiting: tuple[Waiting, ...]

    def runs(self) -> dict[str, int]:
        """Count the tainted products by run."""
        return dict(Counter(d.ref.run for d in self.datasets if d.steps))


@dataclass(frozen=True, slots=True)
class Facts:
    """What one repository knows of datasets beyond their history, by dataset; and who waits."""

    certified: Mapping[uuid.UUID, Sequence[tuple[str, Timespan]]]
    tags: Mapping[uuid.UUID, Sequence[str]]
    stored: frozenset[uuid.UUID]
    waiting: Mapping[uuid.UUID, Waiting]


def taint(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> Taint:
    """Tell what is tainted when datasets are withdrawn.

    Parameters
    ----------
    ids : sequence of UUID
        What is withdrawn; unknown ones are left out.

    Returns
    -------
    Taint
    """
    graph = walk(connection, ids, up=False)
    return tainted(graph, [facts_about(connection, list(graph.datasets))])


def tainted(graph: Graph, facts: Sequence[Facts]) -> Taint:
    """Tell it of a graph that was walked down, with the facts of each repository."""
    steps = distances(graph, up=False)
    makers = graph.maker_of()
    datasets = [
        Tainted(
            ref,
            steps[i],
            makers[i].task_label if i in makers else None,
            any(i in f.stored for f in facts),
            tuple(c for f in facts for c in f.certified.get(i, ())),
            tuple(name for f in facts for name in f.tags.get(i, ())),
        )
        for i, ref in graph.datasets.items()
    ]
    datasets.sort(key=lambda d: (d.steps, d.ref.run, d.ref.dataset_type.name, d.ref.id.int))
    waiting = {i: w for f in facts for i, w in f.waiting.items()}
    return Taint(tuple(datasets), tuple(waiting[i] for i in sorted(waiting)))


def facts_about(connection: sa.Connection, found: Sequence[uuid.UUID]) -> Facts:
    """Collect where datasets are certified, tagged and stored, and which quanta wait for them."""
    certified: dict[uuid.UUID, list[tuple[str, Timespan]]] = defaultdict(list)
    tags: dict[uuid.UUID, list[str]] = defaultdict(list)
    stored: set[uuid.UUID] = set()
    waiting: dict[uuid.UUID, Waiting] = {}
    q, t = schema.quantum, schema.task
    for start in range(0, len(found), CHUNK):
        part = [{"id": i} for i in found[start : start + CHUNK]]
        given = rows_of(connection, part, {"id": sa.Uuid})
        held = (
            sa.select(
                calibration.c.dataset_id,
                collection.c.name,
                calibration.c.valid_begin_tai_ns,
                calibration.c.valid_end_tai_ns,
            )
            .join_from(given, calibration, calibration.c.dataset_id == given.c.id)
            .join(collection, collection.c.id == calibration.c.collection_id)
            .order_by(collection.c.name, calibration.c.valid_begin_tai_ns)
        )
        for dataset, name, begin, end in connection.execute(in_written_order(held)):
            certified[dataset].append((name, Timespan(begin, end)))
        marked = (
            sa.select(tagged.c.dataset_id, collection.c.name)
            .join_from(given, tagged, tagged.c.dataset_id == given.c.id)
            .join(collection, collection.c.id == tagged.c.collection_id)
            .order_by(collection.c.name)
        )
        for dataset, name in connection.execute(in_written_order(marked)):
            tags[dataset].append(name)
        available = (
            sa.select(file.c.dataset_id)
            .join_from(given, file, file.c.dataset_id == given.c.id)
            .join(replica, replica.c.file_id == file.c.id)
            .where(replica.c.state == "available")
        )
        stored.update(connection.execute(in_written_order(available)).scalars())
        reading = (
            sa.select(q.c.id, t.c.label, collection.c.name, q.c.state)
            .join_from(given, schema.quantum_input, schema.quantum_input.c.dataset_id == given.c.id)
            .join(q, q.c.id == schema.quantum_input.c.quantum_id)
            .join(t, t.c.id == q.c.task_id)
            .join(collection, collection.c.id == t.c.run_id)
            .where(q.c.state.not_in(["done", "no_work"]))
        )
        rows = connection.execute(in_written_order(reading))
        waiting.update({row.id: Waiting(*row) for row in rows})
    return Facts(certified, tags, frozenset(stored), waiting)
