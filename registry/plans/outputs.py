"""What will each quantum make?

An output with the keys of its task is one per quantum; one with further keys is predicted for each
of the quantum's inputs that tells them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import NewUuid, analyze_grown
from registry.plans.blocking import block, is_doubtful, viable
from registry.plans.data_ids import Keys, keys_of
from registry.plans.grouping import agreeing, numbered
from registry.plans.sources import columns_of_data_id
from registry.schema.identity import data_id
from registry.schema.plans import (
    planned_input,
    planned_output,
)
from registry.schema.provenance import quantum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry.plans.grouping import Grouped
    from registry.plans.tasks import Makes, PlannedTask

__all__ = ["predict_outputs"]

_INTO = ["dataset_id", "quantum_id", "connection", "data_id"]


def predict_outputs(connection: sa.Connection, task: PlannedTask, found: Sequence[Grouped]) -> None:
    """Insert what the quanta of a task will make; block those of which it cannot be told."""
    for makes in task.makes:
        wanted = set(makes.kind.dimensions)
        if wanted == set(task.dimensions):
            _insert(connection, makes, _quanta_of(task).subquery("of_task"))
        elif wanted < set(task.dimensions):
            _insert_keyed(connection, makes, [_narrower(connection, task, makes)])
        else:
            _insert_keyed(connection, makes, _of_inputs(connection, task, makes, found))
            _block_untold(connection, task, makes)


def _quanta_of(task: PlannedTask) -> sa.Select[Any]:
    """Select the quanta that are planned: those of an earlier attempt have their outputs."""
    states = ("ready", "blocked")
    return sa.select(quantum.c.id.label("quantum_id"), quantum.c.data_id).where(
        quantum.c.task_id == task.id, quantum.c.state.in_(states)
    )


def _insert(connection: sa.Connection, makes: Makes, each: Any) -> None:
    selected = sa.select(
        NewUuid(numbered(each.c.quantum_id)),
        each.c.quantum_id,
        sa.literal(makes.name, sa.String),
        each.c.data_id,
    )
    done = connection.execute(sa.insert(planned_output).from_select(_INTO, selected))
    analyze_grown(connection, planned_output, done.rowcount)


def _narrower(connection: sa.Connection, task: PlannedTask, makes: Makes) -> sa.Select[Any]:
    """Select quanta with the keys of an output that has fewer than they."""
    i = data_id.alias("i")
    columns = columns_of_data_id(connection, i, makes.kind.dimensions)
    each = _quanta_of(task).join(i, i.c.id == quantum.c.data_id)
    return each.with_only_columns(
        quantum.c.id.label("quantum_id"), *keys_of(columns, makes.kind.dimensions)
    )


def _of_inputs(
    connection: sa.Connection, task: PlannedTask, makes: Makes, found: Sequence[Grouped]
) -> list[sa.Select[Any]]:
    """Select quanta with the keys that their inputs tell, each once."""
    dimensions = makes.kind.dimensions
    selected = []
    for g in found:
        full = g.full
        if not set(dimensions) <= {*full.columns, *task.dimensions}:
            continue
        i = data_id.alias("i")
        of_quantum = columns_of_data_id(connection, i, task.dimensions)
        columns = {d: full.columns[d] if d in full.columns else of_quantum[d] for d in dimensions}
        if any(d not in full.columns for d in dimensions if d not in task.dimensions):
            continue
        columns |= {
            d: sa.func.coalesce(full.columns[d], of_quantum[d])
            for d in set(dimensions) & set(task.dimensions) & set(full.columns) - full.own
        }
        shared = agreeing(full, of_quantum)
        whole = [columns[d].is_not(None) for d in dimensions if d not in full.own]
        name = planned_input.c.connection == g.reads.name
        base = (
            full.base.join(planned_input, (planned_input.c.dataset_id == full.dataset_id) & name)
            .join(quantum, quantum.c.id == planned_input.c.quantum_id)
            .join(i, i.c.id == quantum.c.data_id)
        )
        rows = (
            sa.select(quantum.c.id.label("quantum_id"), *keys_of(columns, dimensions))
            .select_from(base)
            .where(
                quantum.c.task_id == task.id,
                quantum.c.state.in_(("ready", "blocked")),
                *shared,
                *whole,
            )
        )
        if is_doubtful(connection, g.reads):
            rows = rows.where(viable() | (quantum.c.state == "blocked"))
        selected.append(rows)
    return selected


def _insert_keyed(
    connection: sa.Connection, makes: Makes, selected: Sequence[sa.Select[Any]]
) -> None:
    """Insert outputs whose data IDs may be new."""
    if not selected:
        return
    dimensions = makes.kind.dimensions
    bare = [_keys_only(s) for s in selected]
    keys = Keys(connection, dimensions, bare)
    keys.insert(connection)
    rows = (selected[0].distinct() if len(selected) == 1 else sa.union(*selected)).subquery("keyed")
    i = data_id.alias("i")
    values = {d: rows.c[f"k{n}"] for n, d in enumerate(dimensions)}
    base = keys.found(rows, values, i)
    each = sa.select(rows.c.quantum_id, i.c.id.label("data_id")).select_from(base)
    _insert(connection, makes, each.subquery("of_inputs"))


def _keys_only(selected: sa.Select[Any]) -> sa.Select[Any]:
    columns = [c for c in selected.selected_columns if c.name != "quantum_id"]
    return selected.with_only_columns(*columns)


def _block_untold(connection: sa.Connection, task: PlannedTask, makes: Makes) -> None:
    kind = makes.kind
    lacking = " and ".join(d for d in kind.dimensions if d not in task.dimensions)
    why = f"which {kind.name} there will be does not follow from the inputs: none has {lacking}."
    predicted = sa.exists().where(
        planned_output.c.quantum_id == quantum.c.id, planned_output.c.connection == makes.name
    )
    block(
        connection,
        "no_output",
        makes.name,
        quantum,
        (f"{makes.name}: {why}",),
        quantum.c.task_id == task.id,
        ~predicted,
    )
