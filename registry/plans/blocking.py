"""Which quanta cannot run, and what is the reason?

A blocked quantum keeps facts (`registry.schema.plans.quantum_block`) from which
`registry.plans.reasons` makes a sentence when somebody asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import joined
from registry.schema.identity import dataset
from registry.schema.plans import planned_input, planned_output, quantum_block
from registry.schema.provenance import quantum, removed_dataset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry.plans.grouping import Grouped
    from registry.plans.tasks import LooksUp, PlannedTask, Reads

__all__ = [
    "block",
    "block_by_inputs",
    "block_too_few",
    "block_unmade",
    "count_of",
    "is_doubtful",
    "viable",
]

_FACTS = ("n_found", "at_tai_ns", "before_tai_ns", "after_tai_ns", "text")


def block(
    connection: sa.Connection,
    cause: str,
    name: str,
    quanta: Any,
    sentence: Sequence[Any],
    *conditions: Any,
    **facts: Any,
) -> int:
    """Block the ready quanta that fulfil conditions, with the reason.

    Parameters
    ----------
    cause, name : str
        Kind of reason, and the connection that it lies at.
    quanta : FromClause
        The table ``quantum``, with what is joined to it.
    sentence : sequence of str or column
        What ``exception_message`` says; columns are those of ``quantum_block``.
    **facts
        Columns or values by name.

    Returns
    -------
    int
        How many were blocked.
    """
    given = [f for f in _FACTS if f in facts]
    rows = (
        sa.select(
            quantum.c.id,
            sa.literal(cause, sa.String),
            sa.literal(name, sa.String),
            *(facts[f] for f in given),
        )
        .select_from(quanta)
        .where(quantum.c.state == "ready", *conditions)
    )
    into = ["quantum_id", "cause", "connection", *given]
    n = connection.execute(sa.insert(quantum_block).from_select(into, rows)).rowcount
    if n:
        told = joined(*(sa.literal(p, sa.String) if isinstance(p, str) else p for p in sentence))
        why = sa.select(told).where(quantum_block.c.quantum_id == quantum.c.id).scalar_subquery()
        of_block = sa.select(quantum_block.c.quantum_id).where(quantum_block.c.cause == cause)
        connection.execute(
            sa.update(quantum)
            .where(quantum.c.state == "ready", quantum.c.id.in_(of_block))
            .values(state="blocked", exception_message=why)
        )
    return int(n)


def viable() -> Any:
    """Give the condition that a planned input exists, or will be made as far as is known."""
    maker = quantum.alias("maker")
    lost = maker.c.state.in_(("blocked", "failed", "no_work")) | (
        (maker.c.state == "done") & ~_is_there()
    )
    hopeless = (
        sa.select(planned_output.c.dataset_id)
        .join(maker, maker.c.id == planned_output.c.quantum_id)
        .where(planned_output.c.dataset_id == planned_input.c.dataset_id, lost)
        .correlate(planned_input)
    )
    return ~hopeless.exists()


def _is_there() -> Any:
    gone = sa.exists().where(removed_dataset.c.dataset_id == dataset.c.id)
    return sa.exists().where(dataset.c.id == planned_output.c.dataset_id, ~gone)


def is_doubtful(connection: sa.Connection, reads: Reads) -> bool:
    """Tell whether some of what an input reads will perhaps not be made."""
    if reads.maker is None:
        return False
    lost = ("blocked", "failed", "no_work", "done")
    one = sa.select(quantum.c.id).where(
        quantum.c.task_id == reads.maker[0], quantum.c.state.in_(lost)
    )
    return connection.execute(one.limit(1)).first() is not None


def count_of(names: Sequence[str], *conditions: Any) -> Any:
    """Count the planned inputs of a quantum at some connections."""
    return (
        sa.select(sa.func.count())
        .select_from(planned_input)
        .where(
            planned_input.c.quantum_id == quantum.c.id,
            planned_input.c.connection.in_(names),
            *conditions,
        )
        .correlate(quantum)
        .scalar_subquery()
    )


def block_by_inputs(
    connection: sa.Connection, task: PlannedTask, found: Sequence[Grouped], *, fresh: bool
) -> None:
    """Block the quanta of a task that have too few or too many inputs."""
    makers = [g.reads.name for g in found if g.makes]
    for reads in task.reads:
        if fresh and makers == [reads.name] and reads.minimum <= 1:
            continue  # each quantum was made of one
        block_too_few(connection, task, reads)
    for reads in task.reads:
        block_unmade(connection, task, reads)
    if all(r.minimum == 0 for r in task.reads if r.name in makers):
        _of_nothing(connection, task, [r for r in task.reads if r.name in makers], fresh=fresh)
    for g in found:
        several = g.full.many or not set(g.reads.kind.dimensions) <= set(task.dimensions)
        if several and not g.reads.multiple:
            _too_many(connection, task, g.reads)


def block_too_few(connection: sa.Connection, task: PlannedTask, reads: Reads | LooksUp) -> None:
    """Block the quanta of a task that have less of an input or prerequisite than they need."""
    if reads.minimum == 0:
        return
    n = count_of([reads.name])
    block(
        connection,
        "too_few",
        reads.name,
        quantum,
        (
            f"{reads.name}: ",
            quantum_block.c.n_found,
            f" {reads.kind.name} where {reads.minimum} are needed.",
        ),
        quantum.c.task_id == task.id,
        n < reads.minimum,
        n_found=n,
    )


def _too_many(connection: sa.Connection, task: PlannedTask, reads: Reads) -> None:
    n = count_of([reads.name], *([viable()] if is_doubtful(connection, reads) else []))
    block(
        connection,
        "too_many",
        reads.name,
        quantum,
        (
            f"{reads.name}: ",
            quantum_block.c.n_found,
            f" {reads.kind.name} where one is meant.",
        ),
        quantum.c.task_id == task.id,
        n > 1,
        n_found=n,
    )


def block_unmade(
    connection: sa.Connection, task: PlannedTask, reads: Reads, *conditions: Any
) -> int:
    """Block the quanta of a task for which too little of an input will be made.

    Parameters
    ----------
    *conditions
        Further ones, on ``quantum``.
    """
    if reads.minimum == 0 or not is_doubtful(connection, reads):
        return 0
    n = count_of([reads.name], viable())
    return block(
        connection,
        "not_made",
        reads.name,
        quantum,
        (f"{reads.name}: the {reads.kind.name} that it needs was not made.",),
        quantum.c.task_id == task.id,
        n < reads.minimum,
        *conditions,
        n_found=n,
    )


def _of_nothing(
    connection: sa.Connection, task: PlannedTask, makers: Sequence[Reads], *, fresh: bool
) -> None:
    """Block quanta without any of the optional inputs that quanta are made of."""
    doubtful = any(is_doubtful(connection, r) for r in makers)
    if fresh and not doubtful:
        return
    block(
        connection,
        "not_found",
        "",
        quantum,
        ("None of what it was to read is there, or will be made.",),
        quantum.c.task_id == task.id,
        count_of([r.name for r in makers], *([viable()] if doubtful else [])) == 0,
        n_found=sa.literal(0, sa.Integer),
    )
