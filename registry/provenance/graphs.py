"""What was a dataset made from, and what was made of it?

Questions that walk the graph of datasets and quanta; each is one recursive statement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import rows_of
from registry.datasets import get_refs
from registry.schema import provenance as schema
from registry.schema.collections import collection

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from registry.identity import DatasetRef

__all__ = ["Edge", "ancestors", "descendants", "walk_sql"]


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
    """

    input: DatasetRef
    output: DatasetRef
    quantum_id: uuid.UUID
    task_label: str
    run: str
    connection: str


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
    return _walk(connection, ids, up=True, depth=depth)


def descendants(
    connection: sa.Connection, ids: Sequence[uuid.UUID], depth: int | None = None
) -> list[Edge]:
    """Walk from datasets to everything that was made from them; see `ancestors`."""
    return _walk(connection, ids, up=False, depth=depth)


def walk_sql(
    connection: sa.Connection, ids: Sequence[uuid.UUID], *, up: bool, depth: int | None = None
) -> Any:
    """Write the recursive statement behind `ancestors` and `descendants`."""
    out, inp = schema.quantum_output, schema.quantum_input
    given = rows_of(connection, [{"id": i} for i in ids], {"id": sa.Uuid})
    reached = sa.select(given.c.id.label("dataset_id"), sa.literal(0).label("depth")).cte(
        "reached", recursive=True
    )
    limit = depth if depth is not None else 1_000
    start_column, end_column = (
        (out.c.dataset_id, inp.c.dataset_id) if up else (inp.c.dataset_id, out.c.dataset_id)
    )
    first, second = (out, inp) if up else (inp, out)
    step = (
        sa.select(end_column, reached.c.depth + 1)
        .join_from(reached, first, start_column == reached.c.dataset_id)
        .join(second, inp.c.quantum_id == out.c.quantum_id)
        .where(reached.c.depth < limit)
    )
    reached = reached.union(step)
    near = (
        sa.select(reached.c.dataset_id, sa.func.min(reached.c.depth).label("depth"))
        .group_by(reached.c.dataset_id)
        .subquery("near")
    )
    return (
        sa.select(
            inp.c.dataset_id.label("input_id"),
            out.c.dataset_id.label("output_id"),
            out.c.quantum_id,
            schema.task.c.label,
            collection.c.name,
            inp.c.connection,
            near.c.depth,
        )
        .join_from(near, first, start_column == near.c.dataset_id)
        .join(second, inp.c.quantum_id == out.c.quantum_id)
        .join(schema.quantum, schema.quantum.c.id == out.c.quantum_id)
        .join(schema.task, schema.task.c.id == schema.quantum.c.task_id)
        .join(collection, collection.c.id == schema.task.c.run_id)
        .where(near.c.depth < limit)
        .order_by(near.c.depth, out.c.dataset_id, inp.c.dataset_id)
    )


def _walk(
    connection: sa.Connection, ids: Sequence[uuid.UUID], *, up: bool, depth: int | None
) -> list[Edge]:
    rows = connection.execute(walk_sql(connection, ids, up=up, depth=depth)).all()
    refs = get_refs(connection, list({i for r in rows for i in (r.input_id, r.output_id)}))
    return [
        Edge(refs[r.input_id], refs[r.output_id], r.quantum_id, r.label, r.name, r.connection)
        for r in rows
    ]
