"""The quanta that statements find for some tasks, as objects; nothing of it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import collections, datasets, plans, provenance
from registry.schema.provenance import quantum
from workflow.adjusting import adjust
from workflow.quanta import load, planned_tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry import Registry
    from workflow.pipeline import PipelineTask
    from workflow.quanta import Quantum

RUN = "run"


class _Done(Exception):
    """Undoes what was planned."""


def prepared(connection: sa.Connection, tasks: Sequence[PipelineTask]) -> list[plans.PlannedTask]:
    """Record tasks of a run."""
    collections.register(connection, RUN)
    for task in tasks:
        for c in task.connections.outputs.values():
            datasets.register_dataset_type(connection, c.definition())
    config = provenance.record_config(connection, "none", "", [])
    keys = {
        t.label: provenance.record_task(connection, RUN, t.label, "none", config, []) for t in tasks
    }
    return planned_tasks(connection, tasks, keys)


def quanta_of(
    registry: Registry, tasks: Sequence[PipelineTask], inputs: Sequence[str], where: str = ""
) -> tuple[list[Quantum], list[Quantum]]:
    """Plan tasks, and give the quanta that are ready and those that are blocked."""

    def planned(connection: sa.Connection) -> None:
        own = prepared(connection, tasks)
        search = plans.Search(collections.flatten(connection, inputs), where)
        by_label = {task.label: task for task in tasks}

        def adjusted(connection: sa.Connection, planned: plans.PlannedTask) -> None:
            adjust(connection, by_label[planned.label], planned)

        plans.plan(connection, own, search, adjust=adjusted)
        rows = connection.execute(sa.select(quantum.c.id, quantum.c.state)).all()
        found: dict[str, Any] = {
            state: load(connection, [i for i, s in rows if s == state], predicted=True)
            for state in ("ready", "blocked")
        }
        raise _Done(found["ready"], found["blocked"])

    try:
        registry.database.transact(planned)
    except _Done as done:
        ready, blocked = done.args
    return ready, blocked
