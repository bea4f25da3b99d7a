"""Which planned quanta need not be executed?

Those whose outputs exist already, and those that nothing wanted is made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.finding import query_datasets_sql
from registry.schema.plans import planned_input, planned_output, quantum_block, reused_dataset
from registry.schema.provenance import quantum, quantum_variant

if TYPE_CHECKING:
    from collections.abc import Collection as Names
    from collections.abc import Sequence

    from registry.collections import Collection
    from registry.plans.tasks import Makes, PlannedTask

__all__ = ["PLANNED", "drop_unwanted", "reuse_outputs"]

PLANNED = (
    planned_input.c.quantum_id,
    planned_output.c.quantum_id,
    quantum_block.c.quantum_id,
    quantum_variant.c.quantum_id,
)
"""What a quantum has that is planned."""

_SPARED = -1
"""Number of attempts that marks, within the transaction, what need not be executed."""


def reuse_outputs(
    connection: sa.Connection, task: PlannedTask, existing: Sequence[Collection]
) -> int:
    """Take away the quanta all of whose outputs exist already, and take these instead.

    Returns
    -------
    int
        How many were taken away.
    """
    needed = [m for m in task.makes if m.minimum > 0] or list(task.makes)
    there = {
        m.name: statement.order_by(None).subquery(f"there_{n}")
        for n, m in enumerate(task.makes)
        if (statement := query_datasets_sql(m.kind, existing, with_data_id=True)) is not None
    }
    if not task.makes or not there:
        return 0
    known = sa.exists().where(planned_output.c.quantum_id == quantum.c.id)
    lacks = [_lacks(m, there[m.name]) for m in needed]
    marked = connection.execute(
        sa.update(quantum)
        .where(
            quantum.c.task_id == task.id,
            quantum.c.state.in_(("ready", "blocked")),
            known,
            *(~condition for condition in lacks),
        )
        .values(attempt=_SPARED)
    )
    if not marked.rowcount:
        return 0
    spared = (quantum.c.task_id == task.id) & (quantum.c.attempt == _SPARED)
    for name, has in there.items():
        rows = (
            sa.select(sa.literal(task.id, sa.Integer), sa.literal(name, sa.String), has.c.id)
            .distinct()
            .select_from(quantum)
            .join(planned_output, planned_output.c.quantum_id == quantum.c.id)
            .join(has, has.c.data_id == planned_output.c.data_id)
            .where(spared, planned_output.c.connection == name)
        )
        into = ["task_id", "connection", "dataset_id"]
        connection.execute(sa.insert(reused_dataset).from_select(into, rows))
    return _remove_marked(connection, task)


def _lacks(makes: Makes, has: Any) -> Any:
    """Give the condition that an output of a quantum does not exist yet."""
    o = planned_output.alias("o")
    there = sa.exists().where(has.c.data_id == o.c.data_id)
    return (
        sa.select(o.c.dataset_id)
        .where(o.c.quantum_id == quantum.c.id, o.c.connection == makes.name, ~there)
        .correlate(quantum)
        .exists()
    )


def drop_unwanted(
    connection: sa.Connection, tasks: Sequence[PlannedTask], wanted: Names[str]
) -> dict[str, int]:
    """Take away the quanta that make nothing wanted and nothing that what is wanted is made of.

    Parameters
    ----------
    tasks : sequence of PlannedTask
        Each after those whose outputs it reads.
    wanted : collection of str
        Dataset types. What the run certifies and looks up counts as wanted.

    Returns
    -------
    dict
        By label, how many were taken away.
    """
    promised = {p.kind.name for t in tasks for p in t.looks_up if p.promised}
    dropped: dict[str, int] = {}
    heir = quantum.alias("heir")
    for t in reversed(tasks):
        if {m.kind.name for m in t.makes} & {*wanted, *promised}:
            continue
        read = (
            sa.select(planned_input.c.quantum_id)
            .join(planned_output, planned_output.c.dataset_id == planned_input.c.dataset_id)
            .join(heir, heir.c.id == planned_input.c.quantum_id)
            .where(planned_output.c.quantum_id == quantum.c.id, heir.c.state != "blocked")
            .correlate(quantum)
        )
        marked = connection.execute(
            sa.update(quantum)
            .where(
                quantum.c.task_id == t.id,
                quantum.c.state.in_(("ready", "blocked")),
                ~read.exists(),
            )
            .values(attempt=_SPARED)
        )
        if marked.rowcount:
            dropped[t.label] = _remove_marked(connection, t)
    return dropped


def _remove_marked(connection: sa.Connection, task: PlannedTask) -> int:
    spared = (quantum.c.task_id == task.id) & (quantum.c.attempt == _SPARED)
    ids = sa.select(quantum.c.id).where(spared)
    for column in PLANNED:
        connection.execute(sa.delete(column.table).where(column.in_(ids)))
    return int(connection.execute(sa.delete(quantum).where(spared)).rowcount)
