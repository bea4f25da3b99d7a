"""How does a batch engine have one quantum executed, in a process of its own?

The process takes it in one transaction, so that of two that try one does it; executes it as any
worker does, and says in its exit status and in a line of JSON what came of it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backbone.liveness import is_gone
from butler.butler import Butler
from registry import plans, provenance
from workflow import environment, recorded_pipelines
from workflow.initializing import initialize
from workflow.quanta import load
from workflow.worker import Worker

if TYPE_CHECKING:
    import os
    import uuid

    import sqlalchemy as sa

__all__ = ["STATUS", "Report", "execute_quantum"]

STATUS = {
    "done": 0,
    "no_work": 0,
    "failed": 1,
    "hopeless": 20,
    "not-taken": 3,
    "waiting": 4,
}
"""Exit status by what came of it."""
HOPELESS = ("repeatable", "unprocessable-data", "invalid-quantum", "missing-output")
"""Kinds of error that would come again in the same way."""


@dataclass(frozen=True)
class Report:
    """What came of the attempt to execute a quantum.

    Parameters
    ----------
    quantum : uuid.UUID
        Which one.
    run, task : str
        Where it belongs.
    data_id : mapping
        Its data ID.
    outcome : str
        A key of `STATUS`: ``done``, ``no_work``, ``failed``; ``hopeless`` for a failure that would
        come again; ``not-taken`` when another process has it or it has ended, and ``waiting`` when
        others must end first: nothing was done then.
    n_made : int
        Datasets that it made.
    error_kind, error : str or None
        What kept it from being done, or complete.
    """

    quantum: uuid.UUID
    run: str
    task: str
    data_id: dict[str, Any]
    outcome: str
    n_made: int = 0
    error_kind: str | None = None
    error: str | None = None

    @property
    def status(self) -> int:
        """Exit status for the engine."""
        return STATUS[self.outcome]


def execute_quantum(
    root: str | os.PathLike[str], quantum_id: uuid.UUID, *, retry: bool = False, lost: bool = False
) -> Report:
    """Execute a quantum of a planned run in this process.

    Parameters
    ----------
    root : path-like
        Folder of the repository.
    retry : bool
        Take it also when it has failed, or when the process of this machine that had it is gone.
    lost : bool
        Take it also from a process of another machine, which is known to be gone.

    Returns
    -------
    Report

    Raises
    ------
    NotPlanned
        If there is no such quantum, or its run was not planned here.
    """
    with Butler(root, writeable=True) as butler:
        database = butler.registry.database
        with database.read() as connection:
            run, label = plans.run_of(connection, quantum_id)
            pipeline = recorded_pipelines.load(connection, run, [label])
            request = plans.request_of(connection, run)
            [planned] = load(connection, [quantum_id])
        about = (quantum_id, run, label, dict(planned.data_id))
        refusal = database.transact(_opened, run, quantum_id, request, retry=retry, lost=lost)
        if refusal is not None:
            outcome, sentence = refusal
            return Report(*about, outcome, error=sentence)
        environment_id = database.transact(provenance.record_environment, *environment.current())
        tasks = initialize(butler, pipeline, run, request.inputs, environment_id)
    with contextlib.closing(Worker(str(root), run, tasks, environment_id)) as worker:
        result = worker.execute(planned)
    if result.not_taken:
        return Report(*about, "not-taken", error=result.error)
    hopeless = result.state == "failed" and result.kind in HOPELESS
    outcome = "hopeless" if hopeless else result.state
    return Report(*about, outcome, len(result.made), result.kind, result.error or None)


def _opened(
    connection: sa.Connection,
    run: str,
    quantum_id: uuid.UUID,
    request: plans.Request,
    *,
    retry: bool,
    lost: bool,
) -> tuple[str, str] | None:
    """Make a quantum ready if it is to be tried again; say why it cannot be taken."""
    [row] = provenance.quanta_of_run(connection, run, ids=[quantum_id])
    state, where = row["state"], f"process {row['pid']} on {row['host']}"
    if state in ("done", "no_work", "blocked", "away"):
        return "not-taken", f"It is {state.replace('_', ' ')} already."
    if state == "failed" and not retry:
        return "not-taken", "It has failed; --retry tries it again."
    if state == "running":
        gone = is_gone(row["host"], row["pid"], row["started_at"])
        if not (lost or (retry and gone)):
            return "not-taken", (
                f"It is being executed by {where}; when that is known to be gone: --lost."
            )
    if state != "ready":
        provenance.reset(connection, [quantum_id])
    if not plans.is_free(connection, quantum_id):
        return "waiting", "It waits for quanta that make its inputs; see: skyspine plan next."
    if recorded_pipelines.stage_of(request, row["label"]) > request.n_stages_done:
        return "waiting", "It waits for calibrations of its run; see: skyspine plan next."
    return None
