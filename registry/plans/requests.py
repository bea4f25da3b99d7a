"""With what was a run planned, and how far has it come?

So that any engine can execute it: what it searches, its tasks, what they need, and how many of its
stages are done.  Tables: `planned_run`, `task_need`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.collections import get_collection
from registry.database import account, insert_rows, utc_now
from registry.errors import RegistryError
from registry.schema.collections import collection
from registry.schema.plans import planned_run, task_need
from registry.schema.provenance import quantum, task

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

__all__ = [
    "NotPlanned",
    "Request",
    "end_stage",
    "needs_of",
    "record_request",
    "request_of",
    "run_of",
    "task_keys",
]


class NotPlanned(RegistryError, LookupError):
    """The run was not planned here."""

    code = "not-planned"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"Nothing is planned for {what}; name a run that `skyspine run --plan` has told, or "
            "the chain that it is first in."
        )


@dataclass(frozen=True, slots=True)
class Request:
    """With what a run was planned.

    Parameters
    ----------
    output : str
        CHAINED collection that has it.
    inputs : tuple of str
        Collections that are searched, in order.
    selection : str
        Expression that the inputs fulfil.
    pipeline : str
        The resolved tasks, as a document.
    n_stages, n_stages_done : int
        How many stages there are, and of how many the calibrations are certified.
    """

    output: str
    inputs: tuple[str, ...]
    selection: str
    pipeline: str
    n_stages: int
    n_stages_done: int = 0


def record_request(
    connection: sa.Connection,
    run: str,
    request: Request,
    needs: Sequence[Mapping[str, Any]],
) -> None:
    """Record with what a run is planned, in place of what was recorded for it before.

    Parameters
    ----------
    needs : sequence of mapping
        Rows of `task_need`.
    """
    key = get_collection(connection, run).id
    connection.execute(sa.delete(planned_run).where(planned_run.c.run_id == key))
    tasks = [row["task_id"] for row in needs]
    connection.execute(sa.delete(task_need).where(task_need.c.task_id.in_(tasks)))
    row = {
        "run_id": key,
        "output": request.output,
        "inputs": list(request.inputs),
        "selection": request.selection,
        "pipeline": request.pipeline,
        "n_stages": request.n_stages,
        "n_stages_done": request.n_stages_done,
        "planned_at": utc_now(),
        "planned_by": account(),
    }
    insert_rows(connection, planned_run, [row])
    insert_rows(connection, task_need, needs)


def needs_of(connection: sa.Connection, task_id: int) -> dict[str, Any]:
    """Tell what a quantum of a task needs, by the names of `workflow.needs.NEEDS`; {} if unknown.

    Memory is in MiB, times are in seconds.
    """
    n = task_need.c
    asked = sa.select(
        n.ranks,
        n.cores,
        n.memory_per_core_mib.label("memory_per_core"),
        n.walltime_guess_s.label("walltime_guess"),
        n.timeout_s.label("timeout"),
    ).where(n.task_id == task_id)
    row = connection.execute(asked).mappings().first()
    return {} if row is None else dict(row)


def request_of(connection: sa.Connection, run: str) -> Request:
    """Read with what a run was planned.

    Raises
    ------
    NotPlanned
        If it was not.
    """
    p = planned_run.c
    row = connection.execute(
        sa.select(p.output, p.inputs, p.selection, p.pipeline, p.n_stages, p.n_stages_done)
        .join(collection, collection.c.id == p.run_id)
        .where(collection.c.name == run)
    ).first()
    if row is None:
        raise NotPlanned(f"'{run}'")
    return Request(row.output, tuple(row.inputs), *row[2:])


def run_of(connection: sa.Connection, quantum_id: uuid.UUID) -> tuple[str, str]:
    """Name the run and the task of a quantum.

    Raises
    ------
    NotPlanned
        If there is no such quantum.
    """
    row = connection.execute(
        sa.select(collection.c.name, task.c.label)
        .join_from(quantum, task, task.c.id == quantum.c.task_id)
        .join(collection, collection.c.id == task.c.run_id)
        .where(quantum.c.id == quantum_id)
    ).first()
    if row is None:
        raise NotPlanned(f"a quantum {quantum_id}")
    return row.name, row.label


def task_keys(connection: sa.Connection, run: str) -> dict[str, int]:
    """List the keys of the tasks of a run by label."""
    rows = connection.execute(
        sa.select(task.c.label, task.c.id)
        .join(collection, collection.c.id == task.c.run_id)
        .where(collection.c.name == run)
    )
    return dict(rows.all())


def end_stage(connection: sa.Connection, run: str, stage: int) -> bool:
    """Count one more stage as done; tell whether it was this call that did.

    Parameters
    ----------
    stage : int
        How many were done before.
    """
    key = get_collection(connection, run).id
    moved = connection.execute(
        sa.update(planned_run)
        .where(planned_run.c.run_id == key, planned_run.c.n_stages_done == stage)
        .values(n_stages_done=stage + 1)
    )
    return moved.rowcount == 1
