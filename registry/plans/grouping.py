"""Which quanta does a task have, and which datasets will each read?

A dataset that has, or implies, all keys of the task makes a quantum; one that has only some of them
joins the quanta that have the same values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import NewUuid, analyze_grown
from registry.identity import uuid_number
from registry.plans.data_ids import Keys, keys_of
from registry.plans.sources import Expanded, columns_of_data_id, expanded, source_of
from registry.schema.identity import data_id
from registry.schema.plans import planned_input
from registry.schema.provenance import quantum

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from registry.plans.tasks import PlannedTask, Reads, Search

__all__ = ["Grouped", "agreeing", "group", "numbered"]


@dataclass(frozen=True)
class Grouped:
    """What an input contributes to the quanta of its task.

    Parameters
    ----------
    reads : Reads
        The input.
    full : Expanded
        Its datasets.
    makes : bool
        Whether they make quanta, or join those that others make.
    """

    reads: Reads
    full: Expanded
    makes: bool


def group(
    connection: sa.Connection, task: PlannedTask, search: Search, *, fresh: bool
) -> list[Grouped]:
    """Insert the quanta of a task and what they will read, in a few statements.

    Parameters
    ----------
    fresh : bool
        Whether the task has no quanta yet; otherwise those that it has are kept.

    Returns
    -------
    list of Grouped
        One for each input whose datasets are searched.
    """
    found = []
    beyond = [d for made in task.makes for d in made.kind.dimensions]
    for reads in task.reads:
        source = source_of(connection, reads, search)
        if source is not None:
            full = expanded(connection, source, reads.kind, task.dimensions, *beyond)
            found.append(Grouped(reads, full, _makes(connection, task, full)))
    makers = [g for g in found if g.makes]
    if not makers:
        return found
    direct = all(_is_direct(task, g) for g in makers)
    keys = None if direct else _insert_data_ids(connection, task, makers)
    _insert_quanta(connection, task, makers, keys, fresh=fresh)
    for g in found:
        rows = (
            _direct_inputs(task, g)
            if g.makes and _is_direct(task, g)
            else _made_inputs(task, g, keys)
            if g.makes and keys is not None
            else _joining_inputs(connection, task, g)
        )
        if rows is not None:
            into = ["quantum_id", "dataset_id", "connection"]
            done = connection.execute(sa.insert(planned_input).from_select(into, rows))
            analyze_grown(connection, planned_input, done.rowcount)
    return found


def _makes(connection: sa.Connection, task: PlannedTask, full: Expanded) -> bool:
    """Tell whether datasets have all keys of a task: those that imply them, if one does."""
    if not set(task.dimensions) <= set(full.columns):
        return False
    conditions = full.whole(task.dimensions)
    if not conditions:
        return True
    one = sa.select(sa.literal(1)).select_from(full.base).where(*conditions).limit(1)
    return connection.execute(one).first() is not None


def _is_direct(task: PlannedTask, g: Grouped) -> bool:
    """Tell whether the data IDs of datasets are those of the quanta."""
    return set(g.reads.kind.dimensions) == set(task.dimensions)


def _insert_data_ids(
    connection: sa.Connection, task: PlannedTask, makers: Sequence[Grouped]
) -> Keys:
    rows = [
        sa.select(*keys_of(g.full.columns, task.dimensions))
        .select_from(g.full.base)
        .where(*g.full.whole(task.dimensions))
        for g in makers
    ]
    keys = Keys(connection, task.dimensions, rows)
    keys.insert(connection)
    return keys


def _insert_quanta(
    connection: sa.Connection,
    task: PlannedTask,
    makers: Sequence[Grouped],
    keys: Keys | None,
    *,
    fresh: bool,
) -> None:
    if keys is None:
        each = [sa.select(g.full.data_id.label("id")).select_from(g.full.base) for g in makers]
        # datasets that are found first have different data IDs; those of two inputs may be the same
        one = each[0].distinct() if makers[0].full.many else each[0]
        rows: Any = (one if len(each) == 1 else sa.union(*each)).subquery("found")
        key, base = rows.c.id, rows
    else:
        source, _, text = keys.joined()
        i = data_id.alias("i")
        key, base = i.c.id, source.join(i, i.c.identity_key == text)
    conditions = []
    if not fresh:
        known = sa.exists().where(quantum.c.task_id == task.id, quantum.c.data_id == key)
        conditions.append(~known)
    selected = (
        sa.select(
            NewUuid(numbered(key)),
            sa.literal(task.id, sa.Integer),
            key,
            sa.literal("ready", sa.String),
            sa.literal(0, sa.Integer),
        )
        .select_from(base)
        .where(*conditions)
    )
    into = ["id", "task_id", "data_id", "state", "attempt"]
    done = connection.execute(sa.insert(quantum).from_select(into, selected))
    analyze_grown(connection, quantum, done.rowcount)


def numbered(order: Any) -> Any:
    """Count rows in an order, as `NewUuid` takes it."""
    count = sa.func.row_number().over(order_by=order)
    return sa.literal(uuid_number(), sa.BigInteger) + count


def _of_task(task: PlannedTask) -> Any:
    """Give the condition that a quantum is one to be planned."""
    return sa.and_(quantum.c.task_id == task.id, quantum.c.state == "ready")


def _inputs(g: Grouped, base: Any) -> sa.Select[Any]:
    name = sa.literal(g.reads.name, sa.String).label("connection")
    return sa.select(quantum.c.id, g.full.dataset_id, name).select_from(base)


def _direct_inputs(task: PlannedTask, g: Grouped) -> sa.Select[Any]:
    base = g.full.base.join(quantum, quantum.c.data_id == g.full.data_id)
    rows = _inputs(g, base).where(_of_task(task))
    return rows.distinct() if g.full.many else rows


def _made_inputs(task: PlannedTask, g: Grouped, keys: Keys) -> sa.Select[Any]:
    i = data_id.alias("i")
    base = keys.found(g.full.base, g.full.columns, i).join(quantum, quantum.c.data_id == i.c.id)
    rows = _inputs(g, base).where(_of_task(task), *g.full.whole(task.dimensions))
    return rows.distinct() if g.full.many else rows


def agreeing(full: Expanded, of_quantum: Mapping[str, Any]) -> list[Any]:
    """Give the conditions that datasets have the values of a quantum, where they tell any."""
    shared = {d: (full.columns[d], of_quantum[d]) for d in of_quantum if d in full.columns}
    return [
        (ours == theirs) if d in full.own else (ours == theirs) | ours.is_(None)
        for d, (ours, theirs) in shared.items()
    ]


def _joining_inputs(
    connection: sa.Connection, task: PlannedTask, g: Grouped
) -> sa.Select[Any] | None:
    """Join datasets to the quanta that have their values; None when they share no key."""
    full = g.full
    shared = [d for d in task.dimensions if d in full.columns]
    if not shared:
        return None
    i = data_id.alias("i")
    of_quantum = columns_of_data_id(connection, i, task.dimensions)
    same = agreeing(full, of_quantum)
    if not full.own & set(shared):
        same.append(sa.or_(*(full.columns[d].is_not(None) for d in shared)))
    quanta = quantum.join(i, i.c.id == quantum.c.data_id)
    rows = _inputs(g, quanta.join(full.base, sa.and_(*same))).where(_of_task(task))
    return rows.distinct() if full.many else rows
