"""How is recorded what a task does: its software, configuration, quanta, inputs and outputs?

A quantum's state changes only along `TRANSITIONS`.  Tables: `registry.schema.provenance`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import collections as coll
from registry.database import canonical_json, delete_among, insert_rows, rows_of, utc_now
from registry.datasets import insert_data_ids
from registry.errors import DefinitionConflict, InvalidState
from registry.schema import provenance as schema
from registry.schema.plans import quantum_block

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Iterable, Mapping, Sequence

    from registry.identity import DataId

__all__ = [
    "STATES",
    "TRANSITIONS",
    "HistoryEntry",
    "Outcome",
    "QuantumRow",
    "block",
    "finish",
    "insert_quanta",
    "record_config",
    "record_environment",
    "record_task",
    "reset",
    "start",
]

STATES = {
    "ready": "may be started",
    "running": "a process works on it",
    "done": "its outputs are recorded",
    "no_work": "there was nothing to do, which is no error",
    "failed": "it raised an error, or its process died",
    "blocked": "an input that it needs was not made, or it was taken back from a file",
    "away": "it is in a file with a part of the run, and executed there",
}
"""The states of a quantum, with what each means."""

TRANSITIONS = {
    ("ready", "start", "running"),
    ("ready", "block", "blocked"),
    ("running", "finish", "done"),
    ("running", "finish", "no_work"),
    ("running", "finish", "failed"),
    ("running", "reset", "ready"),
    ("failed", "reset", "ready"),
    ("blocked", "reset", "ready"),
    ("ready", "give", "away"),
    ("away", "bring_home", "done"),
    ("away", "bring_home", "no_work"),
    ("away", "bring_home", "failed"),
    ("away", "bring_home", "blocked"),
    ("away", "take_back", "blocked"),
}
"""(from, verb, to): the only ways in which a quantum's state changes."""


@dataclass(frozen=True, slots=True)
class QuantumRow:
    """A quantum to be recorded: its identity, data ID and the datasets that it will read.

    Parameters
    ----------
    id : uuid.UUID
        Its identity.
    data_id : DataId
        Its data ID.
    inputs : tuple of (connection, dataset UUID)
        What it will read, as far as it exists.
    """

    id: uuid.UUID
    data_id: DataId
    inputs: tuple[tuple[str, uuid.UUID], ...] = ()


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A value that a configuration field had, as a literal, and who set it where and when."""

    path: str
    value: str | None
    origin_kind: str
    origin: str
    set_by: str | None = None
    set_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt at a quantum ended.

    Parameters
    ----------
    state : str
        done, no_work or failed.
    wall_s, cpu_s : float
        Elapsed and processor time [s].
    max_rss_bytes : int
        Largest memory of the process [byte].
    metadata : mapping
        What the task recorded.
    metrics : mapping of float
        Numbers in it, by dotted name.
    exception_class, exception_message : str
        The error, for failed.
    error_kind : str
        What kind of error it is: ``no-work-found``, ``unprocessable-data``, ``partial-outputs``,
        ``repeatable``, ``invalid-quantum``, ``missing-output``, ``task``, ``out-of-memory``,
        ``timeout``, ``process-died`` or ``error``.
    """

    state: str
    wall_s: float
    cpu_s: float
    max_rss_bytes: int
    metadata: Mapping[str, Any]
    metrics: Mapping[str, float]
    exception_class: str | None = None
    exception_message: str | None = None
    error_kind: str | None = None


def record_environment(
    connection: sa.Connection,
    python: str,
    platform: str,
    packages: Mapping[str, str],
    code_revision: str | None = None,
) -> int:
    """Record a software environment once, by its content.

    Returns
    -------
    int
        Its key.
    """
    content = canonical_json([python, platform, code_revision, dict(packages)])
    digest = hashlib.sha256(content.encode()).hexdigest()
    key = connection.execute(
        sa.select(schema.environment.c.id).where(schema.environment.c.digest == digest)
    ).scalar()
    if key is not None:
        return int(key)
    row = {"digest": digest, "python": python, "platform": platform, "code_revision": code_revision}
    insert_rows(connection, schema.environment, [row], skip_existing=True)
    new = connection.execute(
        sa.select(schema.environment.c.id).where(schema.environment.c.digest == digest)
    ).scalar_one()
    listed = [
        {"environment_id": new, "name": name, "version": version}
        for name, version in sorted(packages.items())
    ]
    insert_rows(connection, schema.environment_package, listed, skip_existing=True)
    return int(new)


def record_config(
    connection: sa.Connection,
    class_name: str,
    text: str,
    values: Sequence[tuple[str, str | None, str]],
) -> int:
    """Record a frozen configuration once, by its content.

    Parameters
    ----------
    class_name : str
        Dotted path of the configuration class.
    text : str
        The configuration as it is saved.
    values : sequence of (path, value, type)
        Every leaf value as a literal.

    Returns
    -------
    int
        Its key.
    """
    content = canonical_json([class_name, [list(v) for v in values]])
    digest = hashlib.sha256(content.encode()).hexdigest()
    found = sa.select(schema.config.c.id).where(schema.config.c.digest == digest)
    key = connection.execute(found).scalar()
    if key is not None:
        return int(key)
    row = {"digest": digest, "class_name": class_name, "text": text}
    insert_rows(connection, schema.config, [row], skip_existing=True)
    new = connection.execute(found).scalar_one()
    listed = [{"config_id": new, "path": p, "value": v, "type": t} for p, v, t in values]
    insert_rows(connection, schema.config_value, listed, skip_existing=True)
    return int(new)


def record_task(
    connection: sa.Connection,
    run: str,
    label: str,
    class_name: str,
    config_id: int,
    history: Sequence[HistoryEntry],
    pipeline: str | None = None,
) -> int:
    """Record a task of a run with the history of its configuration.

    Returns
    -------
    int
        Its key; that of the same task recorded before, when a run is continued.

    Raises
    ------
    DefinitionConflict
        If the run has a task of this label with another class or configuration.
    """
    run_id = coll.get_collection(connection, run).id
    same = sa.select(schema.task).where(
        schema.task.c.run_id == run_id, schema.task.c.label == label
    )
    found = connection.execute(same).first()
    if found is not None:
        if found.config_id != config_id or found.class_name != class_name:
            raise DefinitionConflict(
                f"The run '{run}' has a task '{label}' with another class or configuration "
                "already; start a new run for the new configuration."
            )
        return int(found.id)
    row = {
        "run_id": run_id,
        "label": label,
        "class_name": class_name,
        "config_id": config_id,
        "pipeline": pipeline,
        "created_at": utc_now(),
    }
    insert_rows(connection, schema.task, [row])
    key = int(connection.execute(same).one().id)
    steps: dict[str, int] = {}
    rows = []
    for entry in history:
        step = steps.get(entry.path, 0)
        steps[entry.path] = step + 1
        rows.append(
            {
                "task_id": key,
                "path": entry.path,
                "step": step,
                "value": entry.value,
                "origin_kind": entry.origin_kind,
                "origin": entry.origin,
                "set_by": entry.set_by,
                "set_at": entry.set_at,
            }
        )
    insert_rows(connection, schema.config_history, rows)
    return key


def insert_quanta(connection: sa.Connection, task_id: int, quanta: Sequence[QuantumRow]) -> None:
    """Record quanta that may be started, with the inputs that are known."""
    keys = insert_data_ids(connection, [q.data_id for q in quanta])
    rows = [
        {"id": q.id, "task_id": task_id, "data_id": keys[q.data_id], "state": "ready", "attempt": 0}
        for q in quanta
    ]
    insert_rows(connection, schema.quantum, rows)
    insert_rows(connection, schema.quantum_input, _input_rows((q.id, q.inputs) for q in quanta))


def _input_rows(
    pairs: Iterable[tuple[uuid.UUID, Sequence[tuple[str, uuid.UUID]]]],
) -> list[dict[str, Any]]:
    unique = {(quantum, d): name for quantum, inputs in pairs for name, d in inputs}
    return [
        {"quantum_id": quantum, "dataset_id": d, "connection": name}
        for (quantum, d), name in unique.items()
    ]


def _moving(before: str, *columns: str, **values: Any) -> sa.Update:
    """Write the update of one quantum that is in a state; its values are bound by name."""
    q = schema.quantum
    bound = {c: sa.bindparam(c, type_=q.c[c].type) for c in columns}
    this = q.c.id == sa.bindparam("quantum", type_=q.c.id.type)
    return sa.update(q).where(this, q.c.state == sa.literal(before)).values({**bound, **values})


_START = _moving(
    "ready",
    *("environment_id", "started_at", "host", "pid"),
    state="running",
    attempt=schema.quantum.c.attempt + 1,
)
_FINISH = _moving(
    "running",
    *("state", "finished_at", "wall_s", "cpu_s", "max_rss_bytes"),
    *("exception_class", "exception_message", "error_kind", "metadata"),
)
_FINISH_OWN = _FINISH.where(
    schema.quantum.c.host == sa.bindparam("own_host", type_=schema.quantum.c.host.type),
    schema.quantum.c.pid == sa.bindparam("own_pid", type_=schema.quantum.c.pid.type),
)


def start(
    connection: sa.Connection, quantum_id: uuid.UUID, environment_id: int, host: str, pid: int
) -> None:
    """Take a ready quantum for this process.

    Raises
    ------
    InvalidState
        If it is not ready: another process took it.
    """
    taken = {
        "quantum": quantum_id,
        "environment_id": environment_id,
        "started_at": utc_now(),
        "host": host,
        "pid": pid,
    }
    moved = connection.execute(_START, taken)
    if moved.rowcount != 1:
        raise InvalidState(f"The quantum {quantum_id} is not ready; another process has taken it.")


def finish(
    connection: sa.Connection,
    quantum_id: uuid.UUID,
    outcome: Outcome,
    outputs: Sequence[tuple[str, uuid.UUID]] = (),
    inputs: Sequence[tuple[str, uuid.UUID]] = (),
    *,
    by: tuple[str, int] | None = None,
) -> None:
    """Record how a quantum ended, with its outputs, in the transaction that registers them.

    Parameters
    ----------
    outputs : sequence of (connection, dataset UUID)
        What it made.
    inputs : sequence of (connection, dataset UUID)
        What it read beyond the inputs recorded before.
    by : (host, process), optional
        Who did it: when the quantum was taken away and given to another, nothing is recorded.

    Raises
    ------
    InvalidState
        If the quantum is not running, so that its outputs must not be recorded.
    """
    ended = {
        "quantum": quantum_id,
        "state": outcome.state,
        "finished_at": utc_now(),
        "wall_s": outcome.wall_s,
        "cpu_s": outcome.cpu_s,
        "max_rss_bytes": outcome.max_rss_bytes,
        "exception_class": outcome.exception_class,
        "exception_message": outcome.exception_message,
        "error_kind": outcome.error_kind,
        "metadata": dict(outcome.metadata),
    }
    if by is None:
        moved = connection.execute(_FINISH, ended)
    else:
        moved = connection.execute(_FINISH_OWN, {**ended, "own_host": by[0], "own_pid": by[1]})
    if moved.rowcount != 1:
        raise InvalidState(
            f"The quantum {quantum_id} is no longer running here; its outputs are not recorded."
        )
    insert_rows(
        connection,
        schema.quantum_output,
        [{"dataset_id": d, "quantum_id": quantum_id, "connection": name} for name, d in outputs],
    )
    insert_rows(
        connection, schema.quantum_input, _input_rows([(quantum_id, inputs)]), skip_existing=True
    )
    metrics = [
        {"quantum_id": quantum_id, "name": k[:128], "value": v} for k, v in outcome.metrics.items()
    ]
    insert_rows(connection, schema.quantum_metric, metrics)


def block(connection: sa.Connection, reasons: Mapping[uuid.UUID, str]) -> None:
    """Mark ready quanta that cannot run, each with the reason."""
    q = schema.quantum
    given = rows_of(
        connection,
        [{"q": k, "why": v} for k, v in reasons.items()],
        {"q": sa.Uuid, "why": sa.String},
    )
    connection.execute(
        sa.update(q)
        .where(q.c.state == "ready", q.c.id == given.c.q)
        .values(state="blocked", exception_message=given.c.why)
    )


def reset(connection: sa.Connection, quantum_ids: Sequence[uuid.UUID]) -> int:
    """Make failed, blocked or abandoned quanta ready again.

    Returns
    -------
    int
        How many were reset.
    """
    q = schema.quantum
    given = rows_of(connection, [{"q": i} for i in quantum_ids], {"q": sa.Uuid})
    ids = sa.select(given.c.q)
    wanted = connection.execute(
        sa.select(q.c.id).where(q.c.id.in_(ids), q.c.state.in_(["running", "failed", "blocked"]))
    ).scalars()
    found = list(wanted)
    given = rows_of(connection, [{"q": i} for i in found], {"q": sa.Uuid})
    for column in (schema.quantum_metric.c.quantum_id, quantum_block.c.quantum_id):
        delete_among(connection, column, given.c.q)
    connection.execute(
        sa.update(q)
        .where(q.c.id == given.c.q)
        .values(
            state="ready",
            finished_at=None,
            exception_class=None,
            exception_message=None,
            error_kind=None,
        )
    )
    return len(found)
