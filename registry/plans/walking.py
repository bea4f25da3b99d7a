"""Which planned quanta may begin, now and when others have ended?

A quantum may begin when no quantum that makes one of its inputs is still to come. What has ended
without making its outputs blocks those that cannot do without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import in_written_order, rows_of
from registry.plans.blocking import block_unmade
from registry.schema.plans import planned_input, planned_output
from registry.schema.provenance import quantum

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

    from registry.plans.tasks import PlannedTask

__all__ = [
    "TO_COME",
    "block_stranded",
    "heirs",
    "is_free",
    "is_over",
    "next_ready",
    "readers",
    "settle",
]

TO_COME = ("ready", "running", "away")
"""The states of quanta whose outputs may still be made."""


def _is_free() -> Any:
    """Give the condition that a quantum waits for no other."""
    maker = quantum.alias("maker")
    awaited = (
        sa.select(planned_input.c.dataset_id)
        .join(planned_output, planned_output.c.dataset_id == planned_input.c.dataset_id)
        .join(maker, maker.c.id == planned_output.c.quantum_id)
        .where(planned_input.c.quantum_id == quantum.c.id, maker.c.state.in_(TO_COME))
        .correlate(quantum)
    )
    return ~awaited.exists()


_NEXT = (
    sa.select(quantum.c.id)
    .where(
        quantum.c.task_id == sa.bindparam("task", type_=sa.Integer),
        quantum.c.state == sa.literal("ready"),
        quantum.c.id > sa.bindparam("after", type_=quantum.c.id.type),
        _is_free(),
    )
    .order_by(quantum.c.id)
    .limit(sa.bindparam("limit", type_=sa.Integer))
)


def next_ready(
    connection: sa.Connection, task_id: int, after: uuid.UUID, limit: int
) -> list[uuid.UUID]:
    """List the next quanta of a task, by identity, that may begin now."""
    asked = {"task": task_id, "after": after, "limit": limit}
    return list(connection.execute(_NEXT, asked).scalars())


def readers(
    connection: sa.Connection, among: Sequence[uuid.UUID], makers: Sequence[uuid.UUID]
) -> set[uuid.UUID]:
    """Tell which of some quanta read what some others make."""
    reading = rows_of(connection, [{"q": i} for i in among], {"q": sa.Uuid}, "reading")
    making = rows_of(connection, [{"q": i} for i in makers], {"q": sa.Uuid}, "making")
    rows = (
        sa.select(planned_input.c.quantum_id)
        .distinct()
        .join_from(reading, planned_input, planned_input.c.quantum_id == reading.c.q)
        .join(planned_output, planned_output.c.dataset_id == planned_input.c.dataset_id)
        .where(planned_output.c.quantum_id.in_(sa.select(making.c.q)))
    )
    return set(connection.execute(in_written_order(rows)).scalars())


def is_free(connection: sa.Connection, quantum_id: uuid.UUID) -> bool:
    """Tell whether a quantum waits for no other."""
    found = connection.execute(
        sa.select(quantum.c.id).where(quantum.c.id == quantum_id, _is_free())
    )
    return found.first() is not None


def is_over(connection: sa.Connection, task_ids: Sequence[int]) -> bool:
    """Tell whether all quanta of some tasks have ended or are blocked."""
    left = sa.select(quantum.c.id).where(
        quantum.c.task_id.in_(task_ids), quantum.c.state.in_(TO_COME)
    )
    return connection.execute(left.limit(1)).first() is None


def block_stranded(connection: sa.Connection, tasks: Sequence[PlannedTask]) -> int:
    """Block the quanta that wait for nothing any more and have too little; tell how many.

    Parameters
    ----------
    tasks : sequence of PlannedTask
        Each after those whose outputs it reads.
    """
    return sum(
        block_unmade(connection, task, reads, _is_free())
        for task in tasks
        for reads in task.reads
        if reads.maker is not None
    )


def heirs(connection: sa.Connection, ended: Sequence[uuid.UUID]) -> dict[uuid.UUID, int]:
    """List the quanta that read what others were to make and that wait for no other any more.

    Returns
    -------
    dict
        Their tasks, by identity; in order.
    """
    given = rows_of(connection, [{"q": i} for i in ended], {"q": sa.Uuid})
    rows = (
        sa.select(quantum.c.id, quantum.c.task_id)
        .distinct()
        .join_from(given, planned_output, planned_output.c.quantum_id == given.c.q)
        .join(planned_input, planned_input.c.dataset_id == planned_output.c.dataset_id)
        .join(quantum, quantum.c.id == planned_input.c.quantum_id)
        .where(quantum.c.state == "ready", _is_free())
    )
    return dict(sorted(map(tuple, connection.execute(in_written_order(rows)))))


def settle(
    connection: sa.Connection,
    tasks: Mapping[int, PlannedTask],
    ended: Sequence[uuid.UUID],
    *,
    lossy: bool,
) -> tuple[dict[uuid.UUID, int], list[uuid.UUID]]:
    """Find the quanta that may begin now that others have ended, and block those left short.

    Parameters
    ----------
    tasks : mapping
        All tasks of the run, by key.
    ended : sequence of UUID
        Quanta that are done, have failed or had nothing to do.
    lossy : bool
        Whether some quantum of the run may have made less than was planned.

    Returns
    -------
    tuple
        The quanta that may begin, each with its task, and those that were blocked.
    """
    free: dict[uuid.UUID, int] = {}
    blocked: list[uuid.UUID] = []
    while ended:
        found = heirs(connection, ended)
        short = _block_short(connection, tasks, found) if lossy and found else []
        gone = set(short)
        free |= {i: t for i, t in found.items() if i not in gone}
        blocked += short
        ended = short
    return free, blocked


def _block_short(
    connection: sa.Connection, tasks: Mapping[int, PlannedTask], found: Mapping[uuid.UUID, int]
) -> list[uuid.UUID]:
    given = rows_of(connection, [{"q": i} for i in found], {"q": sa.Uuid})
    among = quantum.c.id.in_(sa.select(given.c.q))
    n = sum(
        block_unmade(connection, tasks[key], reads, among)
        for key in dict.fromkeys(found.values())
        for reads in tasks[key].reads
    )
    if not n:
        return []
    rows = connection.execute(
        sa.select(quantum.c.id)
        .join_from(given, quantum, quantum.c.id == given.c.q)
        .where(quantum.c.state == "blocked")
    )
    return list(rows.scalars())
