"""How are log records written in batches, found by quantum, data, level and time, and pruned?

A record is known by its process and its number there: a batch that is sent twice is stored once,
and a gap in the numbers is what was dropped.  What collects records in a program, and never holds
it up, is `workflow.logs`.  Tables: `registry.schema.logs`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import collections as coll
from registry.database import CHUNK, insert_rows, table_of
from registry.errors import InvalidDataId
from registry.identity import DIMENSIONS, DataId
from registry.names import names_of_data_ids
from registry.schema.collections import collection
from registry.schema.identity import data_id as data_id_table
from registry.schema.logs import log_process, log_record
from registry.schema.provenance import quantum, task

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from registry.database import Database

__all__ = [
    "LogEntry",
    "LogProcess",
    "Logs",
    "count_before",
    "drops",
    "insert_entries",
    "labels",
    "prune_oldest",
    "records",
    "records_sql",
    "register_process",
]

_LATE_SECONDS = 30.0
"""How long after its time a record may come into the database and still be followed."""


@dataclass(frozen=True, slots=True)
class LogProcess:
    """A process that logs: its identity, and who and what it is."""

    identity: uuid.UUID
    host: str
    pid: int
    program: str
    account: str
    started_at: dt.datetime


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A log record as it is stored.

    Parameters
    ----------
    number : int
        Its place among those of its process, from 1.
    logged_at : datetime
        Aware, UTC.
    level : int
        As of `logging`.
    logger, message, place, thread : str
        Component, text, ``file:line function``, name of the thread.
    exception : str or None
        Traceback.
    quantum_id : UUID or None
        Quantum that was being executed.
    context : mapping
        What was bound; the dimensions among it are the data ID.
    """

    number: int
    logged_at: dt.datetime
    level: int
    logger: str
    message: str
    place: str
    thread: str
    exception: str | None = None
    quantum_id: uuid.UUID | None = None
    context: Mapping[str, Any] = field(default_factory=dict)


def register_process(connection: sa.Connection, process: LogProcess) -> int:
    """Record a process, once, and tell its key."""
    row = {
        "identity": process.identity,
        "host": process.host[:255],
        "pid": process.pid,
        "program": process.program[:255],
        "account": process.account[:255],
        "started_at": process.started_at,
        "n_dropped": 0,
    }
    insert_rows(connection, log_process, [row], skip_existing=True)
    asked = sa.select(log_process.c.id).where(log_process.c.identity == process.identity)
    return int(connection.execute(asked).scalar_one())


def insert_entries(
    connection: sa.Connection, process_id: int, entries: Sequence[LogEntry], n_dropped: int = 0
) -> None:
    """Write a batch of records; those that are there already are passed over.

    Parameters
    ----------
    process_id : int
        As `register_process` tells it.
    entries : sequence of LogEntry
        Of that process.
    n_dropped : int
        How many the process has dropped so far, altogether.
    """
    keys = _data_of(connection, entries)
    rows = [
        {
            "process_id": process_id,
            "number": e.number,
            "logged_at": e.logged_at,
            "level": e.level,
            "logger": e.logger,
            "message": e.message,
            "exception": e.exception,
            "place": e.place,
            "thread": e.thread,
            "quantum_id": e.quantum_id,
            "data_id": key,
            "context": dict(e.context) or None,
        }
        for e, key in zip(entries, keys, strict=True)
    ]
    insert_rows(connection, log_record, rows, skip_existing=True)
    connection.execute(
        sa.update(log_process)
        .where(log_process.c.id == process_id, log_process.c.n_dropped < n_dropped)
        .values(n_dropped=n_dropped)
    )


def _data_of(connection: sa.Connection, entries: Sequence[LogEntry]) -> list[int | None]:
    """Find the data ID that each record is about: what is bound, else that of its quantum."""
    dimensions = [_bound_dimensions(e.context) for e in entries]
    key_of = {d: _key_of(d) for d in set(dimensions)}
    bound = [key_of[d] for d in dimensions]
    quanta = {e.quantum_id for e in entries if e.quantum_id is not None}
    by_key: dict[str, int] = {}
    by_quantum: dict[Any, int] = {}
    if wanted := sorted({k for k in bound if k is not None}):
        given = table_of(connection, {"k": (sa.String, wanted)})
        found = sa.select(given.c.k, data_id_table.c.id).join_from(
            given, data_id_table, data_id_table.c.identity_key == given.c.k
        )
        by_key = dict(connection.execute(found).all())
    if quanta:
        given = table_of(connection, {"q": (sa.Uuid, sorted(quanta))})
        of_quanta = sa.select(quantum.c.id, quantum.c.data_id).join_from(
            given, quantum, quantum.c.id == given.c.q
        )
        by_quantum = dict(connection.execute(of_quanta).all())
    return [
        by_key.get(key or "", by_quantum.get(e.quantum_id))
        for e, key in zip(entries, bound, strict=True)
    ]


def _bound_dimensions(context: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((k, v) for k, v in context.items() if k in DIMENSIONS and v is not None)


def _key_of(dimensions: tuple[tuple[str, Any], ...]) -> str | None:
    if not dimensions:
        return None
    try:
        return DataId.of(dict(dimensions)).key
    except InvalidDataId:  # somebody bound something else under this name: it stays in the context
        return None


def records_sql(
    connection: sa.Connection,
    *,
    run: str | None = None,
    label: str | None = None,
    quanta: Sequence[uuid.UUID] = (),
    where: str = "",
    bind: Mapping[str, Any] | None = None,
    level: int = 0,
    logger: str = "",
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    limit: int | None = None,
) -> sa.Select[Any]:
    """Write the statement that `records` runs, newest first."""
    r, p, i = log_record.c, log_process.c, data_id_table.alias("i")
    runs = [c.id for c in coll.flatten(connection, run) if c.type == "RUN"] if run else []
    parts = logger.rstrip(".")
    base: Any = (
        log_record.join(log_process, p.id == r.process_id)
        .join(quantum, quantum.c.id == r.quantum_id, isouter=True)
        .join(task, task.c.id == quantum.c.task_id, isouter=True)
        .join(collection, collection.c.id == task.c.run_id, isouter=True)
    )
    conditions: list[Any] = [
        *([r.level >= level] if level else []),
        *([task.c.run_id.in_(runs)] if run else []),
        *([task.c.label == label] if label else []),
        *([r.quantum_id.in_(quanta)] if quanta else []),
        *([r.logged_at >= since] if since is not None else []),
        *([r.logged_at < until] if until is not None else []),
        *(
            [(r.logger == parts) | r.logger.startswith(f"{parts}.", autoescape=True)]
            if parts
            else []
        ),
    ]
    if where.strip():
        from registry.expressions import compile_where, parse

        base = base.join(i, i.c.id == r.data_id)
        names = names_of_data_ids(base, i, list(DIMENSIONS), None, connection)
        conditions.append(compile_where(parse(where), names, bind or {}))
        base = names.base
    return (
        sa.select(
            r.logged_at,
            r.level,
            r.logger,
            r.message,
            r.exception,
            collection.c.name.label("run"),
            task.c.label,
            r.quantum_id,
            r.context,
            p.identity,
            p.host,
            p.pid,
            r.thread,
            r.place,
            r.process_id,
            r.number,
        )
        .select_from(base)
        .where(*conditions)
        .order_by(r.logged_at.desc(), r.process_id.desc(), r.number.desc())
        .limit(limit)
    )


def records(connection: sa.Connection, **asked: Any) -> list[dict[str, Any]]:
    """Find log records, in the order in which they were written.

    Parameters
    ----------
    **asked
        ``run`` (a RUN, or a chain whose runs are meant), ``label`` of a task, ``quanta`` (UUIDs),
        ``where`` and ``bind`` (on the data that a record is about), ``level`` (at least),
        ``logger`` (and those below it), ``since`` and ``until`` (aware
        times), ``limit`` (the last so many).

    Returns
    -------
    list of dict
        logged_at, level, logger, message, exception, run, label, quantum_id, context, identity
        (of the process), host, pid, thread, place, process_id, number.
    """
    rows = connection.execute(records_sql(connection, **asked)).mappings()
    return [dict(row) for row in rows][::-1]


def labels(connection: sa.Connection, run: str | None = None) -> list[str]:
    """List the labels of the tasks that there are, in one run or in all."""
    runs = [c.id for c in coll.flatten(connection, run)] if run else None
    conditions = [] if runs is None else [task.c.run_id.in_(runs)]
    asked = sa.select(task.c.label).distinct().where(*conditions).order_by(task.c.label)
    return list(connection.execute(asked).scalars())


def drops(connection: sa.Connection, since: dt.datetime | None = None) -> list[dict[str, Any]]:
    """List the processes that had to drop records: host, pid, program, started_at, n_dropped."""
    p = log_process.c
    conditions = [p.n_dropped > 0, *([p.started_at >= since] if since is not None else [])]
    asked = sa.select(p.host, p.pid, p.program, p.started_at, p.n_dropped)
    rows = connection.execute(asked.where(*conditions).order_by(p.started_at)).mappings()
    return [dict(row) for row in rows]


def count_before(connection: sa.Connection, before: dt.datetime) -> int:
    """Count the records that are older than a time."""
    asked = sa.select(sa.func.count()).where(log_record.c.logged_at < before)
    return int(connection.execute(asked).scalar_one())


def prune_oldest(connection: sa.Connection, before: dt.datetime, n: int = CHUNK) -> int:
    """Delete about so many of the oldest records before a time, found by the index of times.

    Returns
    -------
    int
        How many went; 0 when none is left, and then the processes go that have none any more.
    """
    r = log_record.c
    edge = connection.execute(
        sa.select(r.logged_at).where(r.logged_at < before).order_by(r.logged_at).offset(n).limit(1)
    ).scalar()
    old = r.logged_at < before if edge is None else r.logged_at <= edge
    gone = connection.execute(sa.delete(log_record).where(old)).rowcount
    if not gone:
        of_it = sa.exists().where(r.process_id == log_process.c.id)
        empty = sa.delete(log_process).where(log_process.c.started_at < before, ~of_it)
        connection.execute(empty)
    return int(gone)


class Logs:
    """Questions and verbs about log records, on one database.

    Parameters
    ----------
    database : registry.database.Database
        Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def records(self, **asked: Any) -> list[dict[str, Any]]:
        """Find log records; see `records`."""
        with self._database.read() as connection:
            return records(connection, **asked)

    def labels(self, run: str | None = None) -> list[str]:
        """List the labels of the tasks that there are, in one run or in all."""
        with self._database.read() as connection:
            return labels(connection, run)

    def drops(self, since: dt.datetime | None = None) -> list[dict[str, Any]]:
        """List the processes that had to drop records; see `drops`."""
        with self._database.read() as connection:
            return drops(connection, since)

    def follow(
        self, *, since: dt.datetime, wait: Callable[[float], object] = time.sleep, **asked: Any
    ) -> Iterator[dict[str, Any]]:
        """Give records from a time on, and further ones as they come, without end.

        Parameters
        ----------
        since : datetime
            Aware.
        wait : callable
            Called with the seconds until the next look.
        **asked
            As for `records`.
        """
        import datetime as dt

        late = dt.timedelta(seconds=_LATE_SECONDS)
        seen: dict[tuple[int, int], dt.datetime] = {}
        newest = since
        while True:
            for row in self.records(since=max(since, newest - late), **asked):
                key = (row["process_id"], row["number"])
                if key not in seen:
                    seen[key] = row["logged_at"]
                    newest = max(newest, row["logged_at"])
                    yield row
            seen = {k: at for k, at in seen.items() if at >= newest - late}
            wait(1.0)

    def count_before(self, before: dt.datetime) -> int:
        """Count the records that are older than a time."""
        with self._database.read() as connection:
            return count_before(connection, before)

    def prune(self, before: dt.datetime) -> int:
        """Delete the records that are older than a time, the oldest first.

        Each part is a transaction of its own, so that neither locks nor the log of the database
        grow with what is deleted; what is interrupted goes on when it is called again.
        """
        total = 0
        while gone := self._database.transact(prune_oldest, before):
            total += gone
        return total
