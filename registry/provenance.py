"""What made this dataset, from what, and what was made of it?

Verbs record environments, configurations, tasks and quanta; questions walk the graph.  A quantum's
state changes only along `TRANSITIONS`.  Tables: `registry.schema.provenance`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import collections as coll
from registry.database import CHUNK, canonical_json, insert_rows, rows_of, utc_now
from registry.datasets import get_refs, insert_data_ids
from registry.errors import DefinitionConflict, InvalidState
from registry.identity import DIMENSIONS, DataId
from registry.schema import provenance as schema
from registry.schema.collections import collection
from registry.schema.identity import data_id

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Iterable, Mapping, Sequence

    from registry.identity import DatasetRef

__all__ = [
    "STATES",
    "TRANSITIONS",
    "Edge",
    "HistoryEntry",
    "Outcome",
    "QuantumRow",
    "ancestors",
    "config_history",
    "descendants",
    "finish",
    "insert_quanta",
    "makers",
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
    "blocked": "an input that it needs was not made",
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
    """

    state: str
    wall_s: float
    cpu_s: float
    max_rss_bytes: int
    metadata: Mapping[str, Any]
    metrics: Mapping[str, float]
    exception_class: str | None = None
    exception_message: str | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """A step in the history of a dataset: ``output`` was made from ``input`` by a quantum.

    Parameters
    ----------
    input, output : DatasetRef
        The two datasets.
    quantum_id : uuid.UUID
        What made it.
    task_label, run : str
        Task in the pipeline, and its RUN.
    connection : str
        Name of the input connection.
    """

    input: DatasetRef
    output: DatasetRef
    quantum_id: uuid.UUID
    task_label: str
    run: str
    connection: str


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


def start(
    connection: sa.Connection, quantum_id: uuid.UUID, environment_id: int, host: str, pid: int
) -> None:
    """Take a ready quantum for this process.

    Raises
    ------
    InvalidState
        If it is not ready: another process took it.
    """
    q = schema.quantum
    moved = connection.execute(
        sa.update(q)
        .where(q.c.id == quantum_id, q.c.state == "ready")
        .values(
            state="running",
            attempt=q.c.attempt + 1,
            environment_id=environment_id,
            started_at=utc_now(),
            host=host,
            pid=pid,
        )
    )
    if moved.rowcount != 1:
        raise InvalidState(f"The quantum {quantum_id} is not ready; another process has taken it.")


def finish(
    connection: sa.Connection,
    quantum_id: uuid.UUID,
    outcome: Outcome,
    outputs: Sequence[tuple[str, uuid.UUID]] = (),
    inputs: Sequence[tuple[str, uuid.UUID]] = (),
) -> None:
    """Record how a quantum ended, with its outputs, in the transaction that registers them.

    Parameters
    ----------
    outputs : sequence of (connection, dataset UUID)
        What it made.
    inputs : sequence of (connection, dataset UUID)
        What it read beyond the inputs recorded before.

    Raises
    ------
    InvalidState
        If the quantum is not running, so that its outputs must not be recorded.
    """
    q = schema.quantum
    moved = connection.execute(
        sa.update(q)
        .where(q.c.id == quantum_id, q.c.state == "running")
        .values(
            state=outcome.state,
            finished_at=utc_now(),
            wall_s=outcome.wall_s,
            cpu_s=outcome.cpu_s,
            max_rss_bytes=outcome.max_rss_bytes,
            exception_class=outcome.exception_class,
            exception_message=outcome.exception_message,
            metadata=dict(outcome.metadata),
        )
    )
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
    why = sa.select(given.c.why).where(given.c.q == q.c.id).scalar_subquery()
    connection.execute(
        sa.update(q)
        .where(q.c.state == "ready", q.c.id.in_(sa.select(given.c.q)))
        .values(state="blocked", exception_message=why)
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
    ids = sa.select(given.c.q)
    connection.execute(
        sa.delete(schema.quantum_metric).where(schema.quantum_metric.c.quantum_id.in_(ids))
    )
    connection.execute(
        sa.update(q)
        .where(q.c.id.in_(ids))
        .values(state="ready", finished_at=None, exception_class=None, exception_message=None)
    )
    return len(found)


def outputs_of(connection: sa.Connection, quantum_id: uuid.UUID) -> list[uuid.UUID]:
    """List the datasets that a quantum made."""
    out = schema.quantum_output
    rows = connection.execute(sa.select(out.c.dataset_id).where(out.c.quantum_id == quantum_id))
    return list(rows.scalars())


def ancestors(
    connection: sa.Connection, ids: Sequence[uuid.UUID], depth: int | None = None
) -> list[Edge]:
    """Walk from datasets to everything that they were made from.

    Parameters
    ----------
    ids : sequence of UUID
        Where to start.
    depth : int, optional
        At most so many steps.

    Returns
    -------
    list of Edge
        Each step once, nearest first.
    """
    return _walk(connection, ids, up=True, depth=depth)


def descendants(
    connection: sa.Connection, ids: Sequence[uuid.UUID], depth: int | None = None
) -> list[Edge]:
    """Walk from datasets to everything that was made from them; see `ancestors`."""
    return _walk(connection, ids, up=False, depth=depth)


def walk_sql(
    connection: sa.Connection, ids: Sequence[uuid.UUID], *, up: bool, depth: int | None = None
) -> Any:
    """Write the recursive statement behind `ancestors` and `descendants`."""
    out, inp = schema.quantum_output, schema.quantum_input
    given = rows_of(connection, [{"id": i} for i in ids], {"id": sa.Uuid})
    reached = sa.select(given.c.id.label("dataset_id"), sa.literal(0).label("depth")).cte(
        "reached", recursive=True
    )
    limit = depth if depth is not None else 1_000
    start_column, end_column = (
        (out.c.dataset_id, inp.c.dataset_id) if up else (inp.c.dataset_id, out.c.dataset_id)
    )
    first, second = (out, inp) if up else (inp, out)
    step = (
        sa.select(end_column, reached.c.depth + 1)
        .join_from(reached, first, start_column == reached.c.dataset_id)
        .join(second, inp.c.quantum_id == out.c.quantum_id)
        .where(reached.c.depth < limit)
    )
    reached = reached.union(step)
    near = (
        sa.select(reached.c.dataset_id, sa.func.min(reached.c.depth).label("depth"))
        .group_by(reached.c.dataset_id)
        .subquery("near")
    )
    return (
        sa.select(
            inp.c.dataset_id.label("input_id"),
            out.c.dataset_id.label("output_id"),
            out.c.quantum_id,
            schema.task.c.label,
            collection.c.name,
            inp.c.connection,
            near.c.depth,
        )
        .join_from(near, first, start_column == near.c.dataset_id)
        .join(second, inp.c.quantum_id == out.c.quantum_id)
        .join(schema.quantum, schema.quantum.c.id == out.c.quantum_id)
        .join(schema.task, schema.task.c.id == schema.quantum.c.task_id)
        .join(collection, collection.c.id == schema.task.c.run_id)
        .where(near.c.depth < limit)
        .order_by(near.c.depth, out.c.dataset_id, inp.c.dataset_id)
    )


def _walk(
    connection: sa.Connection, ids: Sequence[uuid.UUID], *, up: bool, depth: int | None
) -> list[Edge]:
    rows = connection.execute(walk_sql(connection, ids, up=up, depth=depth)).all()
    refs = get_refs(connection, list({i for r in rows for i in (r.input_id, r.output_id)}))
    return [
        Edge(refs[r.input_id], refs[r.output_id], r.quantum_id, r.label, r.name, r.connection)
        for r in rows
    ]


def makers(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, dict[str, Any]]:
    """Tell for datasets which quantum made them: task, configuration, software, timing.

    Returns
    -------
    dict
        By dataset; those that no quantum made are left out.
    """
    out, q, t, e = schema.quantum_output, schema.quantum, schema.task, schema.environment
    found: dict[uuid.UUID, dict[str, Any]] = {}
    for start_ in range(0, len(ids), CHUNK):
        given = rows_of(
            connection, [{"id": i} for i in ids[start_ : start_ + CHUNK]], {"id": sa.Uuid}
        )
        statement = (
            sa.select(
                out.c.dataset_id,
                q.c.id.label("quantum_id"),
                collection.c.name.label("run"),
                t.c.label.label("task_label"),
                t.c.class_name.label("task_class"),
                t.c.config_id,
                data_id.c.identity_key.label("quantum_data_id"),
                q.c.state,
                q.c.attempt,
                q.c.started_at,
                q.c.finished_at,
                q.c.wall_s,
                q.c.cpu_s,
                q.c.max_rss_bytes,
                q.c.host,
                q.c.environment_id,
                e.c.python,
                e.c.platform,
                e.c.code_revision,
            )
            .join_from(given, out, out.c.dataset_id == given.c.id)
            .join(q, q.c.id == out.c.quantum_id)
            .join(t, t.c.id == q.c.task_id)
            .join(collection, collection.c.id == t.c.run_id)
            .join(data_id, data_id.c.id == q.c.data_id)
            .join(e, e.c.id == q.c.environment_id)
        )
        for row in connection.execute(statement).mappings():
            found[row["dataset_id"]] = dict(row)
    return found


def packages(connection: sa.Connection, environment_id: int) -> dict[str, str]:
    """List the packages of an environment with their versions."""
    p = schema.environment_package
    rows = connection.execute(
        sa.select(p.c.name, p.c.version)
        .where(p.c.environment_id == environment_id)
        .order_by(p.c.name)
    )
    return dict(rows.all())


def config_history(
    connection: sa.Connection, run: str, label: str | None = None, field: str | None = None
) -> list[dict[str, Any]]:
    """List every value that configuration fields of a run had, in the order they were set.

    Parameters
    ----------
    run : str
        A RUN collection, or a CHAINED one whose runs are meant.
    label : str, optional
        Only this task.
    field : str, optional
        Only this field and what lies below it.

    Returns
    -------
    list of dict
        run, task_label, path, step, value, origin_kind, origin, set_by, set_at.
    """
    runs = [c.id for c in coll.flatten(connection, run) if c.type == "RUN"]
    h, t = schema.config_history, schema.task
    conditions: list[Any] = [t.c.run_id.in_(runs)]
    if label is not None:
        conditions.append(t.c.label == label)
    if field is not None:
        below = sa.or_(
            h.c.path.startswith(field + ".", autoescape=True),
            h.c.path.startswith(field + "[", autoescape=True),
        )
        conditions.append(sa.or_(h.c.path == field, below))
    rows = connection.execute(
        sa.select(
            collection.c.name.label("run"),
            t.c.label.label("task_label"),
            h.c.path,
            h.c.step,
            h.c.value,
            h.c.origin_kind,
            h.c.origin,
            h.c.set_by,
            h.c.set_at,
        )
        .join(t, t.c.id == h.c.task_id)
        .join(collection, collection.c.id == t.c.run_id)
        .where(*conditions)
        .order_by(collection.c.name, t.c.label, h.c.path, h.c.step)
    ).mappings()
    return [dict(r) for r in rows]


def quanta_of_run(connection: sa.Connection, run: str) -> list[dict[str, Any]]:
    """List the quanta of a run: id, task_label, data_id (DataId), state, attempt, host, pid."""
    run_id = coll.get_collection(connection, run).id
    q, t = schema.quantum, schema.task
    statement = (
        sa.select(
            q.c.id,
            t.c.label,
            q.c.state,
            q.c.attempt,
            q.c.host,
            q.c.pid,
            q.c.exception_class,
            q.c.exception_message,
            *(data_id.c[d] for d in DIMENSIONS),
            data_id.c.extra,
        )
        .join(t, t.c.id == q.c.task_id)
        .join(data_id, data_id.c.id == q.c.data_id)
        .where(t.c.run_id == run_id)
        .order_by(t.c.id, q.c.id)
    )
    result = []
    for row in connection.execute(statement).mappings():
        keys = {d: row[d] for d in DIMENSIONS if row[d] is not None} | (row["extra"] or {})
        fields = (
            "id",
            "label",
            "state",
            "attempt",
            "host",
            "pid",
            "exception_class",
            "exception_message",
        )
        result.append({f: row[f] for f in fields} | {"data_id": DataId.of(keys)})
    return result
