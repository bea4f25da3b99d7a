"""How are the quanta of a run planned, all at once and by statements alone?

`plan` goes through the tasks in order: quanta and their inputs, what is missing, prerequisites,
outputs. Nothing passes through Python but counts, so a million quanta take no more memory than one.
Everything is one transaction: a plan is there whole, or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from registry.database import analyze_outgrown, insert_rows
from registry.plans.blocking import block_by_inputs, block_unmade
from registry.plans.grouping import group
from registry.plans.outputs import predict_outputs
from registry.plans.prerequisites import look_up
from registry.plans.pruning import PLANNED, reuse_outputs
from registry.provenance.variants import has_quanta
from registry.schema.dimensions import overlap, visit_exposure
from registry.schema.plans import reused_dataset, task_connection
from registry.schema.provenance import quantum, quantum_metric, task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from registry.plans.tasks import PlannedTask, Search

__all__ = ["count_quanta", "has_reused", "keep_promises", "plan", "record_connections", "unplan"]


def record_connections(connection: sa.Connection, tasks: Sequence[PlannedTask]) -> None:
    """Record what tasks read and write; those of a run that is continued are recorded already."""
    rows = [
        {
            "task_id": t.id,
            "name": c.name,
            "kind": kind,
            "dataset_type": c.kind.name,
            "is_multiple": c.multiple,
            "minimum": c.minimum,
        }
        for t in tasks
        for kind, connections in (
            ("input", t.reads),
            ("prerequisite", t.looks_up),
            ("output", t.makes),
        )
        for c in connections
    ]
    insert_rows(connection, task_connection, rows, skip_existing=True)


def unplan(connection: sa.Connection, tasks: Sequence[PlannedTask], states: Sequence[str]) -> None:
    """Make quanta ready again, and forget what was planned for them and why they were blocked.

    Parameters
    ----------
    states : sequence of str
        Those of the quanta that are meant: ready, running, failed or blocked.
    """
    ids = [t.id for t in tasks]
    q = quantum.c
    meant = sa.select(q.id).where(q.task_id.in_(ids), q.state.in_(states))
    for column in (*PLANNED, quantum_metric.c.quantum_id):
        connection.execute(sa.delete(column.table).where(column.in_(meant)))
    connection.execute(sa.delete(reused_dataset).where(reused_dataset.c.task_id.in_(ids)))
    others = [s for s in states if s != "ready"]
    connection.execute(
        sa.update(quantum)
        .where(q.task_id.in_(ids), q.state.in_(others))
        .values(
            state="ready",
            finished_at=None,
            exception_class=None,
            exception_message=None,
            error_kind=None,
        )
    )


def has_reused(connection: sa.Connection, tasks: Sequence[PlannedTask]) -> bool:
    """Tell whether tasks took datasets of earlier runs instead of making them."""
    one = sa.select(reused_dataset.c.task_id).where(
        reused_dataset.c.task_id.in_([t.id for t in tasks])
    )
    return connection.execute(one.limit(1)).first() is not None


def plan(
    connection: sa.Connection,
    tasks: Sequence[PlannedTask],
    search: Search,
    *,
    fresh: bool = True,
    adjust: Callable[[sa.Connection, PlannedTask], None] | None = None,
) -> dict[str, int]:
    """Plan the quanta of tasks: those after others of the same run read what these will make.

    Parameters
    ----------
    tasks : sequence of PlannedTask
        Each after those whose outputs it reads.
    fresh : bool
        Whether none of them has a quantum yet.
    adjust : callable, optional
        Called for each task before its outputs are predicted.

    Returns
    -------
    dict
        By label, how many quanta need not be made because their outputs exist.
    """
    record_connections(connection, tasks)
    spared: dict[str, int] = {}
    _knows_dimensions(connection, tasks)
    for t in tasks:
        found = group(connection, t, search, fresh=fresh)
        block_by_inputs(connection, t, found, fresh=fresh)
        look_up(connection, t, search, promised=False)
        if adjust is not None:
            adjust(connection, t)
        predict_outputs(connection, t, found)
        if search.existing:
            spared[t.label] = reuse_outputs(connection, t, search.existing)
    return spared


def _knows_dimensions(connection: sa.Connection, tasks: Sequence[PlannedTask]) -> None:
    """Let the database see how large the tables are that data IDs are joined by.

    Without statistics, SQLite goes through all visits of a camera for each exposure.
    """
    reached = {d for t in tasks for d in t.dimensions}
    if "visit" in reached:
        analyze_outgrown(connection, visit_exposure)
    if "patch" in reached or "tract" in reached:
        analyze_outgrown(connection, overlap)


def keep_promises(
    connection: sa.Connection,
    tasks: Sequence[PlannedTask],
    later: Sequence[PlannedTask],
    search: Search,
) -> None:
    """Look up what the run has certified by now, and block what lacks it, and what lacks that.

    Parameters
    ----------
    tasks : sequence of PlannedTask
        Those that look it up.
    later : sequence of PlannedTask
        All tasks that are still to come, in order, these included.
    """
    for t in later:
        if t in tasks:
            look_up(connection, t, search, promised=True)
        for reads in t.reads:
            block_unmade(connection, t, reads)


def count_quanta(connection: sa.Connection, run_id: int) -> dict[tuple[str, str], int]:
    """Count the quanta of a run by label and state; the making of tasks is none."""
    rows = connection.execute(
        sa.select(task.c.label, quantum.c.state, sa.func.count())
        .join(quantum, quantum.c.task_id == task.c.id)
        .where(task.c.run_id == run_id, has_quanta())
        .group_by(task.c.id, task.c.label, quantum.c.state)
        .order_by(task.c.id)
    )
    return {(label, state): n for label, state, n in rows}
