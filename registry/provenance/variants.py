"""Which configurations does a task have for some of its quanta, and which quanta are these?

A variant is a task of its own, with a label as ``isr@1``, that no quantum belongs to: quanta of the
task ``isr`` refer to it.  So a configuration, with the history of its values, is asked for in the
same way whether all quanta of a task have it or some.  Tables: `task_variant`, `quantum_variant`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.collections import get_collection
from registry.errors import DefinitionConflict
from registry.provenance.initial import INIT
from registry.provenance.recording import HistoryEntry, record_task
from registry.schema.collections import collection
from registry.schema.provenance import config_history, quantum_variant, task, task_variant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Variant", "forget_unused", "has_quanta", "record_variant", "variants_of"]


@dataclass(frozen=True, slots=True)
class Variant:
    """A configuration that some quanta of a task have.

    Parameters
    ----------
    id : int
        Key of its task.
    label : str
        Label of its task, as ``isr@1``.
    of : str
        Label of the task whose quanta have it.
    config_id : int
        Key of its configuration.
    selection : str
        Expression that their data IDs fulfil.
    """

    id: int
    label: str
    of: str
    config_id: int
    selection: str


def has_quanta() -> sa.ColumnElement[bool]:
    """Give the condition that a task is one of a pipeline: no variant, and no making of a task."""
    of = sa.exists().where(task_variant.c.task_id == task.c.id)
    return ~task.c.label.endswith(INIT) & ~of.correlate(task)


def variants_of(connection: sa.Connection, run: str) -> list[Variant]:
    """List the variants of the tasks of a run, in the order in which they were recorded."""
    return _variants(connection, task.c.run_id == get_collection(connection, run).id)


def _variants(connection: sa.Connection, condition: Any) -> list[Variant]:
    v, of = task_variant, task.alias("of")
    rows = connection.execute(
        sa.select(task.c.id, task.c.label, of.c.label, task.c.config_id, v.c.selection)
        .join_from(v, task, task.c.id == v.c.task_id)
        .join(of, of.c.id == v.c.of_task_id)
        .where(condition)
        .order_by(task.c.id)
    )
    return [Variant(*row) for row in rows]


def record_variant(
    connection: sa.Connection,
    task_id: int,
    selection: str,
    config_id: int,
    history: Sequence[HistoryEntry],
) -> Variant:
    """Record a configuration that some quanta of a task have.

    Parameters
    ----------
    task_id : int
        The task.
    selection : str
        Expression that the data IDs of these quanta fulfil.
    config_id : int
        From `registry.provenance.record_config`.
    history : sequence of HistoryEntry
        How each value of it came to be.

    Returns
    -------
    Variant
        The one recorded before, when a run is continued.

    Raises
    ------
    DefinitionConflict
        If the task has another configuration for this selection.
    """
    known = _variants(connection, task_variant.c.of_task_id == task_id)
    run, label, class_name, pipeline = connection.execute(
        sa.select(collection.c.name, task.c.label, task.c.class_name, task.c.pipeline)
        .join(collection, collection.c.id == task.c.run_id)
        .where(task.c.id == task_id)
    ).one()
    same = next((v for v in known if v.selection == selection), None)
    if same is not None:
        if same.config_id != config_id:
            raise DefinitionConflict(
                f"The run '{run}' has a task '{label}' with another configuration for "
                f"{selection} already; start a new run for the new configuration."
            )
        return same
    n = max((int(v.label.rpartition("@")[2]) for v in known), default=0) + 1
    key = record_task(
        connection, run, f"{label}@{n}", class_name, config_id, history, pipeline=pipeline
    )
    row = {"task_id": key, "of_task_id": task_id, "selection": selection}
    connection.execute(sa.insert(task_variant).values(row))
    return Variant(key, f"{label}@{n}", label, config_id, selection)


def forget_unused(connection: sa.Connection, task_ids: Iterable[int]) -> None:
    """Remove the variants of tasks that no quantum has."""
    v = task_variant
    used = sa.exists().where(quantum_variant.c.task_id == v.c.task_id)
    meant = sa.select(v.c.task_id).where(v.c.of_task_id.in_(list(task_ids)), ~used)
    keys = list(connection.execute(meant).scalars())
    if not keys:
        return
    for column in (config_history.c.task_id, v.c.task_id, task.c.id):
        connection.execute(sa.delete(column.table).where(column.in_(keys)))
