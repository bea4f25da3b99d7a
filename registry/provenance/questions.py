"""Which task, configuration and software made a dataset, and how did the quanta of a run fare?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import collections as coll
from registry.database import CHUNK, rows_of
from registry.identity import DIMENSIONS, DataId
from registry.schema import provenance as schema
from registry.schema.collections import collection
from registry.schema.identity import data_id

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

__all__ = ["config_history", "makers", "outputs_of", "packages", "quanta_of_run"]


def outputs_of(
    connection: sa.Connection, quantum_ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, list[uuid.UUID]]:
    """List the datasets that quanta made, by quantum; those that made none are left out."""
    out = schema.quantum_output
    made: dict[uuid.UUID, list[uuid.UUID]] = {}
    for start in range(0, len(quantum_ids), CHUNK):
        part = [{"q": i} for i in quantum_ids[start : start + CHUNK]]
        given = rows_of(connection, part, {"q": sa.Uuid})
        rows = connection.execute(
            sa.select(out.c.quantum_id, out.c.dataset_id)
            .join_from(given, out, out.c.quantum_id == given.c.q)
            .order_by(out.c.dataset_id)
        )
        for quantum_id, dataset_id in rows:
            made.setdefault(quantum_id, []).append(dataset_id)
    return made


def makers(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, dict[str, Any]]:
    """Tell for datasets which quantum made them: task, configuration, software, timing.

    Returns
    -------
    dict
        By dataset; those that no quantum made are left out. ``selection`` is that of the variant of
        its task that the quantum ran, None for the task itself.
    """
    x, v = schema.quantum_variant, schema.task_variant
    own = schema.task.alias("own")
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
                sa.func.coalesce(own.c.config_id, t.c.config_id).label("config_id"),
                v.c.selection,
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
            .outerjoin(x, x.c.quantum_id == q.c.id)
            .outerjoin(v, v.c.task_id == x.c.task_id)
            .outerjoin(own, own.c.id == x.c.task_id)
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
        Only this task, with its variants.
    field : str, optional
        Only this field and what lies below it.

    Returns
    -------
    list of dict
        run, task_label, selection (which data IDs the value is for; None: all others), path, step,
        value, origin_kind, origin, set_by, set_at.
    """
    runs = [c.id for c in coll.flatten(connection, run) if c.type == "RUN"]
    h, t, v = schema.config_history, schema.task, schema.task_variant
    of = t.alias("of")
    of_label = sa.func.coalesce(of.c.label, t.c.label)
    conditions: list[Any] = [t.c.run_id.in_(runs)]
    if label is not None:
        conditions.append(of_label == label)
    if field is not None:
        below = sa.or_(
            h.c.path.startswith(field + ".", autoescape=True),
            h.c.path.startswith(field + "[", autoescape=True),
        )
        conditions.append(sa.or_(h.c.path == field, below))
    rows = connection.execute(
        sa.select(
            collection.c.name.label("run"),
            of_label.label("task_label"),
            v.c.selection,
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
        .outerjoin(v, v.c.task_id == t.c.id)
        .outerjoin(of, of.c.id == v.c.of_task_id)
        .where(*conditions)
        .order_by(collection.c.name, of_label, h.c.path, t.c.id, h.c.step)
    ).mappings()
    return [dict(r) for r in rows]


def quanta_of_run(
    connection: sa.Connection,
    run: str,
    *,
    states: Sequence[str] | None = None,
    ids: Sequence[uuid.UUID] | None = None,
) -> list[dict[str, Any]]:
    """List the quanta of a run.

    Parameters
    ----------
    states, ids : sequence, optional
        Only those in one of these states, and of these.

    Returns
    -------
    list of dict
        id, label, data_id (DataId), state, attempt, host, pid, started_at, error_kind,
        exception_class, exception_message.
    """
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
            q.c.started_at,
            q.c.error_kind,
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
    if states is not None:
        statement = statement.where(q.c.state.in_(states))
    if ids is not None:
        given = rows_of(connection, [{"q": i} for i in ids], {"q": sa.Uuid})
        statement = statement.join(given, given.c.q == q.c.id)
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
            "started_at",
            "error_kind",
            "exception_class",
            "exception_message",
        )
        result.append({f: row[f] for f in fields} | {"data_id": DataId.of(keys)})
    return result
