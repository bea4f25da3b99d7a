"""What was a dataset made from, what was made of it, and what did a run make from what?

`walk` follows the graph of datasets and quanta from some datasets by one recursive statement, then
reads what it found by keys, so that the time depends on the answer and not on the database.
`ancestors` and `descendants` give the same as steps from dataset to dataset.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import collections as coll
from registry.database import CHUNK, in_written_order, rows_of
from registry.datasets import get_refs
from registry.identity import DIMENSIONS, DataId
from registry.schema import provenance as schema
from registry.schema.collections import collection
from registry.schema.identity import data_id

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Iterator, Sequence

    from registry.identity import DatasetRef

__all__ = [
    "Edge",
    "Graph",
    "Step",
    "ancestors",
    "descendants",
    "distances",
    "graph_of_run",
    "nearest_first",
    "reached_sql",
    "walk",
]


@dataclass(frozen=True, slots=True)
class Edge:
    """A step in the history of a dataset: ``output`` was made from ``input`` by a quantum.

    Parameters
    ----------
    input, output : DatasetRef
        The two datasets.
    quantum_id : uuid.UUID
        What made it.
    task_label, run : str
        Task in the pipeline, and its RUN.
    connection : str
        Name of the input connection.
    repository_id : uuid.UUID, optional
        Repository in which it is recorded, when several were asked.
    """

    input: DatasetRef
    output: DatasetRef
    quantum_id: uuid.UUID
    task_label: str
    run: str
    connection: str
    repository_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A quantum as a step of a history: which task ran when, with what, and how it ended.

    Parameters
    ----------
    id : uuid.UUID
        The quantum.
    task_label, task_class, run : str
        Task in the pipeline, its class, and its RUN.
    data_id : DataId
        Its data ID.
    state : str
        One of `registry.provenance.STATES`.
    started_at, finished_at : datetime, optional
        Begin and end of the last attempt, UTC.
    host : str, optional
        Where it ran.
    config_id : int
        Its configuration.
    environment_id : int, optional
        Its software; none before it was started.
    problem : str, optional
        The error that it ended with, or why it cannot run.
    repository_id : uuid.UUID, optional
        Repository that it is recorded in, when several were asked.
    """

    id: uuid.UUID
    task_label: str
    task_class: str
    run: str
    data_id: DataId
    state: str
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    host: str | None
    config_id: int
    environment_id: int | None
    problem: str | None = None
    repository_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """Datasets and the quanta between them.

    Parameters
    ----------
    roots : tuple of UUID
        Datasets that were asked about; none for the graph of a run.
    datasets : dict of DatasetRef
        By identity.
    steps : dict of Step
        The quanta, by identity.
    reads, makes : dict of list of (connection, dataset UUID)
        By quantum: what it read, and what it made; a quantum that did not is left out.
    """

    roots: tuple[uuid.UUID, ...]
    datasets: dict[uuid.UUID, DatasetRef]
    steps: dict[uuid.UUID, Step]
    reads: dict[uuid.UUID, list[tuple[str, uuid.UUID]]]
    makes: dict[uuid.UUID, list[tuple[str, uuid.UUID]]]

    def maker_of(self) -> dict[uuid.UUID, Step]:
        """Tell by dataset which quantum made it; those that none here made are left out."""
        return {made: self.steps[q] for q, links in self.makes.items() for _, made in links}

    def edges(self) -> Iterator[Edge]:
        """Go through the steps from dataset to dataset, each once."""
        for quantum, outputs in self.makes.items():
            step = self.steps[quantum]
            for _, made in outputs:
                output = self.datasets[made]
                for name, read in self.reads.get(quantum, ()):
                    yield Edge(
                        self.datasets[read],
                        output,
                        step.id,
                        step.task_label,
                        step.run,
                        name,
                        step.repository_id,
                    )


def ancestors(
    connection: sa.Connection, ids: Sequence[uuid.UUID], depth: int | None = None
) -> list[Edge]:
    """Walk from datasets to everything that they were made from.

    Parameters
    ----------
    ids : sequence of UUID
        Where to start.
    depth : int, optional
        At most so many steps.

    Returns
    -------
    list of Edge
        Each step once, nearest first.
    """
    return nearest_first(walk(connection, ids, up=True, depth=depth), up=True)


def descendants(
    connection: sa.Connection, ids: Sequence[uuid.UUID], depth: int | None = None
) -> list[Edge]:
    """Walk from datasets to everything that was made from them; see `ancestors`."""
    return nearest_first(walk(connection, ids, up=False, depth=depth), up=False)


def nearest_first(graph: Graph, *, up: bool) -> list[Edge]:
    """List the steps of a graph from `walk`, nearest to what was asked about first."""
    depth = distances(graph, up=up)
    return sorted(
        graph.edges(),
        key=lambda e: (depth[(e.output if up else e.input).id], e.output.id.int, e.input.id.int),
    )


def distances(graph: Graph, *, up: bool) -> dict[uuid.UUID, int]:
    """Count for each dataset of a graph the steps from the nearest dataset asked about.

    Parameters
    ----------
    graph : Graph
        From `walk`.
    up : bool
        The direction in which it was walked.
    """
    near, far = (graph.makes, graph.reads) if up else (graph.reads, graph.makes)
    quanta_at: dict[uuid.UUID, list[uuid.UUID]] = defaultdict(list)
    for quantum, links in near.items():
        for _, dataset in links:
            quanta_at[dataset].append(quantum)
    depth = dict.fromkeys(graph.roots, 0)
    front = list(graph.roots)
    passed: set[uuid.UUID] = set()
    while front:
        quanta = {q for dataset in front for q in quanta_at.get(dataset, ())} - passed
        passed |= quanta
        beyond = depth[front[0]] + 1
        front = [d for q in quanta for _, d in far.get(q, ()) if d not in depth]
        depth.update(dict.fromkeys(front, beyond))
    return depth


def reached_sql(
    connection: sa.Connection, ids: Sequence[uuid.UUID], *, up: bool, depth: int | None = None
) -> sa.Select[Any]:
    """Write the recursive statement that finds every dataset reached from some.

    Without ``depth`` a dataset is visited once, however many ways lead to it.
    """
    out, inp = schema.quantum_output, schema.quantum_input
    near, far = (out, inp) if up else (inp, out)
    given = rows_of(connection, [{"id": i} for i in ids], {"id": sa.Uuid})
    if depth is None:
        reached = sa.select(given.c.id.label("dataset_id")).cte("reached", recursive=True)
        step: sa.Select[Any] = sa.select(far.c.dataset_id)
    else:
        reached = sa.select(given.c.id.label("dataset_id"), sa.literal(0).label("depth")).cte(
            "reached", recursive=True
        )
        step = sa.select(far.c.dataset_id, reached.c.depth + 1).where(reached.c.depth < depth)
    step = step.join_from(reached, near, near.c.dataset_id == reached.c.dataset_id).join(
        far, far.c.quantum_id == near.c.quantum_id
    )
    reached = reached.union(step)
    found = sa.select(reached.c.dataset_id)
    return found if depth is None else found.distinct()


def walk(
    connection: sa.Connection, ids: Sequence[uuid.UUID], *, up: bool, depth: int | None = None
) -> Graph:
    """Follow the graph from datasets, to what they were made from or to what was made of them.

    Parameters
    ----------
    ids : sequence of UUID
        Where to start; unknown ones are left out.
    up : bool
        To their inputs, or to their products.
    depth : int, optional
        At most so many steps.

    Returns
    -------
    Graph
        Only what lies on the way: neither other products of the quanta above, nor other inputs of
        those below.  Quanta that made nothing are left out.
    """
    near, far = (
        (schema.quantum_output, schema.quantum_input)
        if up
        else (schema.quantum_input, schema.quantum_output)
    )
    starts = list(dict.fromkeys(ids))
    if depth is not None and depth < 2:
        ends = starts[: max(depth, 0) * len(starts)]
    else:
        inner = None if depth is None else depth - 1
        found = connection.execute(reached_sql(connection, starts, up=up, depth=inner))
        ends = list(found.scalars())
    here = [
        (quantum, name, ends[n])
        for n, quantum, name in _linked(connection, near.c.dataset_id, near.c.quantum_id, ends)
    ]
    quanta = list({quantum for quantum, _, _ in here})
    there = _by_quantum(connection, far, quanta)
    nearby: dict[uuid.UUID, list[tuple[str, uuid.UUID]]] = defaultdict(list)
    for quantum, name, dataset in here:
        if quantum in there or up:
            nearby[quantum].append((name, dataset))
    makes, reads = (nearby, there) if up else (there, nearby)
    return _completed(connection, starts, list(nearby), dict(reads), dict(makes))


def graph_of_run(connection: sa.Connection, run: str) -> Graph:
    """Collect the whole graph of a run: its quanta in every state, what they read and made.

    Parameters
    ----------
    run : str
        A RUN collection, or a CHAINED one or a glob whose runs are meant.

    Raises
    ------
    UnknownCollection
        If there is none of this name.
    """
    runs = [c.id for c in coll.flatten(connection, run) if c.type == "RUN"]
    q, t = schema.quantum, schema.task
    ids = list(
        connection.execute(
            sa.select(q.c.id).join(t, t.c.id == q.c.task_id).where(t.c.run_id.in_(runs))
        ).scalars()
    )
    reads = _by_quantum(connection, schema.quantum_input, ids)
    makes = _by_quantum(connection, schema.quantum_output, ids)
    return _completed(connection, (), ids, reads, makes)


def _completed(
    connection: sa.Connection,
    starts: Sequence[uuid.UUID],
    quanta: Sequence[uuid.UUID],
    reads: dict[uuid.UUID, list[tuple[str, uuid.UUID]]],
    makes: dict[uuid.UUID, list[tuple[str, uuid.UUID]]],
) -> Graph:
    known = dict.fromkeys(starts)
    for links in (*reads.values(), *makes.values()):
        known |= dict.fromkeys(dataset for _, dataset in links)
    refs = get_refs(connection, list(known))
    roots = tuple(i for i in starts if i in refs)
    return Graph(roots, refs, _steps(connection, quanta), reads, makes)


def _by_quantum(
    connection: sa.Connection, table: sa.Table, quanta: Sequence[uuid.UUID]
) -> dict[uuid.UUID, list[tuple[str, uuid.UUID]]]:
    found: dict[uuid.UUID, list[tuple[str, uuid.UUID]]] = defaultdict(list)
    for n, dataset, name in _linked(connection, table.c.quantum_id, table.c.dataset_id, quanta):
        found[quanta[n]].append((name, dataset))
    return dict(found)


def _linked(
    connection: sa.Connection,
    known: sa.Column[Any],
    wanted: sa.Column[Any],
    ids: Sequence[uuid.UUID],
) -> Iterator[tuple[int, uuid.UUID, str]]:
    """Give for each of many identities, by its place, what a link leads to, and its connection."""
    for start in range(0, len(ids), CHUNK):
        part = [{"id": i} for i in ids[start : start + CHUNK]]
        given = rows_of(connection, part, {"id": sa.Uuid})
        statement = sa.select(given.c.n, wanted, known.table.c.connection).join_from(
            given, known.table, known == given.c.id
        )
        for n, other, name in connection.execute(in_written_order(statement)):
            yield start + n, other, name


def _steps(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Step]:
    q, t, x = schema.quantum, schema.task, schema.quantum_variant
    own = t.alias("own")
    found: dict[uuid.UUID, Step] = {}
    for start in range(0, len(ids), CHUNK):
        part = [{"id": i} for i in ids[start : start + CHUNK]]
        given = rows_of(connection, part, {"id": sa.Uuid})
        statement = (
            sa.select(
                given.c.n,
                t.c.label,
                t.c.class_name,
                collection.c.name,
                q.c.state,
                q.c.started_at,
                q.c.finished_at,
                q.c.host,
                sa.func.coalesce(own.c.config_id, t.c.config_id),
                q.c.environment_id,
                q.c.exception_class,
                q.c.exception_message,
                *(data_id.c[d] for d in DIMENSIONS),
                data_id.c.extra,
            )
            .join_from(given, q, q.c.id == given.c.id)
            .join(t, t.c.id == q.c.task_id)
            .join(collection, collection.c.id == t.c.run_id)
            .join(data_id, data_id.c.id == q.c.data_id)
            .outerjoin(x, x.c.quantum_id == q.c.id)
            .outerjoin(own, own.c.id == x.c.task_id)
        )
        for row in connection.execute(in_written_order(statement)):
            n, label, class_name, run, state, started, finished, host, config, software = row[:10]
            keys = {k: v for k, v in zip(DIMENSIONS, row[12:-1], strict=True) if v is not None}
            problem = ": ".join(filter(None, row[10:12])) or None
            found[ids[start + n]] = Step(
                ids[start + n],
                label,
                class_name,
                run,
                DataId.of(keys | (row[-1] or {})),
                state,
                started,
                finished,
                host,
                config,
                software,
                problem,
            )
    return found
