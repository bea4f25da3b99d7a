"""How is each database opened, what can it do, and how are its errors told?

The only module that knows differences between SQLite, PostgreSQL and MariaDB in statements and
transactions: product code asks for a capability by name (`rows`, `insert_missing`, `json_field`)
and never for a dialect.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import getpass
import json
import os
import random
import re
import threading
import time
import uuid
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from registry.errors import (
    Conflict,
    DatabaseUnavailable,
    InUse,
    ReadOnly,
    RegistryError,
    SkyspineError,
)
from registry.timespan import BEGINNING, END

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

__all__ = [
    "Database",
    "account",
    "analyze",
    "canonical_json",
    "insert_missing",
    "insert_rows",
    "kind_of",
    "lock_rows",
    "may_write",
    "open_engine",
    "remembered",
    "rows_of",
    "safe_url",
    "standard_strings",
    "translated",
    "utc_now",
    "violated",
    "with_timestamps",
    "with_types",
]

P = ParamSpec("P")
T = TypeVar("T")

BUSY_SECONDS = 60.0
"""How long a writer waits for another one on SQLite [s]."""
ATTEMPTS = 8
"""How often a verb is tried when the database asks to repeat it: deadlock, conflict or busy."""
CHUNK = 20_000
"""Rows sent in one statement."""

_RETRYABLE_STATES = {"40001", "40P01", "55P03"}
_RETRYABLE_NUMBERS = {1020, 1205, 1213}


def utc_now() -> dt.datetime:
    """Tell the time as aware UTC."""
    return dt.datetime.now(dt.UTC)


def account() -> str:
    """Name the account that runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def canonical_json(value: Any) -> str:
    """Write JSON in the one form in which equal documents are equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def safe_url(url: str | sa.URL) -> str:
    """Show a URL without its password."""
    return sa.make_url(url).render_as_string(hide_password=True)


def open_engine(url: str | sa.URL) -> sa.Engine:
    """Open an engine with this project's settings for its kind of database.

    Parameters
    ----------
    url : str or sqlalchemy.URL
        ``sqlite:///path``, ``postgresql://user@host/database`` or ``mariadb://user@host/database``.

    Raises
    ------
    RegistryError
        If the URL cannot be understood, its kind is not supported or its driver is not installed.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise RegistryError(
            f"'{url}' is not a database URL; write for example sqlite:///repo/registry.sqlite3 "
            "or postgresql://user@host/database."
        ) from error
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql", "mariadb", "mysql"):
        raise RegistryError(f"'{backend}' is not supported; use SQLite, PostgreSQL or MariaDB.")
    driver = {"sqlite": "pysqlite", "postgresql": "psycopg2"}.get(backend, "mariadbconnector")
    if "+" not in parsed.drivername:
        parsed = parsed.set(drivername=f"{backend}+{driver}")
    options: dict[str, Any] = {"json_serializer": canonical_json}
    if backend == "sqlite":
        options["connect_args"] = {"timeout": BUSY_SECONDS, "check_same_thread": False}
        if not may_write(parsed):
            options["poolclass"] = sa.NullPool
    else:
        options |= {"pool_pre_ping": True, "isolation_level": "READ COMMITTED"}
    if backend == "postgresql":
        options["executemany_mode"] = "values_plus_batch"
    try:
        engine = sa.create_engine(parsed, **options)
    except ModuleNotFoundError as error:
        extra = (
            " Install it with: pip install 'skyspine[mariadb]'"
            if backend in ("mariadb", "mysql")
            else ""
        )
        raise RegistryError(
            f"The driver for {backend} is not installed ({error.name}).{extra}"
        ) from error
    if backend == "sqlite":
        _set_up_sqlite(engine)
        if not may_write(parsed):
            sa.event.listen(engine, "do_connect", _read_only)
    for rolled_back in ("rollback", "rollback_savepoint"):
        sa.event.listen(engine, rolled_back, _forget_remembered)
    return engine


def remembered(connection: sa.Connection, question: str, ask: Callable[[], T | None]) -> T | None:
    """Ask the database once per connection for something that never changes once it is there.

    A rollback forgets everything, since what was remembered may have been undone with it.

    Parameters
    ----------
    question : str
        Names the answer.
    ask : callable
        Gives it; None, for nothing there yet, is not remembered.
    """
    kept = connection.info.setdefault("remembered", {})
    if question not in kept:
        answer = ask()
        if answer is None:
            return None
        kept[question] = answer
    remembered_answer: T = kept[question]
    return remembered_answer


def _forget_remembered(connection: sa.Connection, *_: Any) -> None:
    connection.info.pop("remembered", None)


def _set_up_sqlite(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA cache_size = -65536")
        with contextlib.suppress(
            Exception
        ):  # a read-only file cannot change its journal, and need not
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begun(connection: sa.Connection) -> None:
        writing = connection.get_execution_options().get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def may_write(url: str | sa.URL) -> bool:
    """Tell whether this process may write an SQLite database that exists; True for all others.

    SQLite writes its log beside the file, so that it needs the folder too.
    """
    folder = database_folder(url)
    if folder is None:
        return True
    file = Path(str(sa.make_url(url).database))
    effective = os.access in os.supports_effective_ids
    return not file.exists() or all(
        os.access(path, os.W_OK, effective_ids=effective) for path in (file, folder)
    )


def _read_only(
    _dialect: sa.Dialect, _record: Any, arguments: list[Any], options: dict[str, Any]
) -> None:
    """Open a file of SQLite that may not be written.

    Readers of a database in WAL mode share a file that one of them makes beside it.  While a writer
    is at work, it has made it.  When there is none, SQLite is told that the file will not change
    (immutable): it takes no lock and looks for no log.  No connection is kept, so that each one
    finds out how things are.
    """
    path = Path(arguments[0]).absolute()
    written = path.with_name(f"{path.name}-wal").exists()
    arguments[0] = f"{path.as_uri()}?mode=ro{'' if written else '&immutable=1'}"
    options["uri"] = True


class Database:
    """One database: its engine, its transactions, and the translation of its errors.

    Parameters
    ----------
    url : str
        As `open_engine` takes it.
    writeable : bool
        Whether `begin` and `transact` may be used.

    Raises
    ------
    ReadOnly
        If it is to be writeable, and is a file of SQLite that this process may not write.
    """

    def __init__(self, url: str, *, writeable: bool = True) -> None:
        self.url = str(url)
        if writeable and not may_write(url):
            raise ReadOnly(
                f"The database {safe_url(url)} cannot be written: you may not write to its file "
                "or folder. Open it for reading only, or ask its owner for the permission."
            )
        self.engine = open_engine(url)
        self.writeable = writeable
        self._enlisted: ContextVar[sa.Connection | None] = ContextVar("enlisted", default=None)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @property
    def in_transaction(self) -> bool:
        """Whether this thread is inside a write transaction."""
        return self._enlisted.get() is not None

    def require_writeable(self) -> None:
        """Refuse what would change something when the database was opened for reading only.

        Raises
        ------
        ReadOnly
            If so.
        """
        if not self.writeable:
            raise ReadOnly(
                f"The database {safe_url(self.url)} was opened for reading only; "
                "open it with writeable=True to change something."
            )

    @contextlib.contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """Open a write transaction, or join the one that this thread is in.

        Everything inside is committed together at the end of the outermost block, or not at all.

        Raises
        ------
        ReadOnly
            If the database was opened for reading only.
        DatabaseUnavailable
            If it cannot be reached.
        """
        current = self._enlisted.get()
        if current is not None:
            yield current
            return
        self.require_writeable()
        with (
            self.translated(),
            self.engine.connect().execution_options(writing=True) as connection,
            connection.begin(),
        ):
            token = self._enlisted.set(connection)
            try:
                yield connection
            finally:
                self._enlisted.reset(token)

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a connection for reading; inside a write transaction, that one."""
        current = self._enlisted.get()
        if current is not None:
            yield current
            return
        with self.translated(), self.engine.connect() as connection:
            yield connection

    def transact(
        self, verb: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a verb in a write transaction, again when the database asks for it.

        Parameters
        ----------
        verb : callable
            Takes a connection first and is repeatable: it changes nothing but the database.

        Returns
        -------
        object
            What the verb returns.
        """
        if self._enlisted.get() is not None:
            with self.begin() as connection:
                return verb(connection, *args, **kwargs)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self.begin() as connection:
                    return verb(connection, *args, **kwargs)
            except DatabaseUnavailable as error:
                if attempt == ATTEMPTS or not _may_be_repeated(error.__cause__):
                    raise
                time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 (spreads writers, guards nothing)
        raise AssertionError("unreachable")

    def translated(self) -> AbstractContextManager[None]:
        """Turn the driver's errors into this project's."""
        return translated(self.url)


@contextlib.contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn the errors of a driver into this project's.

    Parameters
    ----------
    url : str
        What messages call the database; its password is left out.
    """
    try:
        yield
    except SkyspineError:
        raise
    except sa.exc.DBAPIError as error:
        raise _translation(error, safe_url(url)) from error
    except sa.exc.TimeoutError as error:
        raise DatabaseUnavailable(
            f"No connection to {safe_url(url)} became free: {error}"
        ) from error


def _number(error: BaseException | None) -> int | None:
    number = getattr(getattr(error, "orig", None), "errno", None)
    return number if isinstance(number, int) else None


def _may_be_repeated(error: BaseException | None) -> bool:
    original = getattr(error, "orig", None)
    if getattr(original, "pgcode", None) in _RETRYABLE_STATES:
        return True
    if _number(error) in _RETRYABLE_NUMBERS:
        return True
    return getattr(original, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def violated(error: sa.exc.DBAPIError) -> str:
    """Name the constraint that a statement violated, or give the text of the driver."""
    original = error.orig
    diagnosis = getattr(original, "diag", None)
    if diagnosis is not None and diagnosis.constraint_name:
        return str(diagnosis.constraint_name)
    text = str(original)
    named = re.search(
        r"for key '(?:\w+\.)?(\w+)'|CONSTRAINT `(\w+)`|constraint failed: (.+)$", text
    )
    return next((g for g in named.groups() if g), text) if named else text


def kind_of(error: sa.exc.DBAPIError) -> str:
    """Tell what was violated: unique, foreign, check, overlap, or an empty text."""
    name = violated(error)
    if "no_overlap_calibration" in name or "no_overlap_calibration" in str(error.orig):
        return "overlap"
    code = getattr(error.orig, "pgcode", None)
    number = _number(error)
    sqlite_name = getattr(error.orig, "sqlite_errorname", "")
    if (
        code == "23505"
        or number == 1062
        or sqlite_name in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY")
    ):
        return "unique"
    if code == "23503" or number in (1451, 1452) or sqlite_name == "SQLITE_CONSTRAINT_FOREIGNKEY":
        return "foreign"
    if (
        code in ("23514", "23502")
        or number in (4025, 1048, 1364)
        or sqlite_name.startswith("SQLITE_CONSTRAINT")
    ):
        return "check"
    return ""


def _translation(error: sa.exc.DBAPIError, url: str) -> SkyspineError:
    kind = kind_of(error)
    if kind == "foreign":
        return InUse(
            "A row that this one refers to is missing, or other rows still refer to it: "
            f"{violated(error)}."
        )
    if kind in ("unique", "overlap", "check"):
        return Conflict(f"The database refuses this: it violates {violated(error)}.")
    sqlite_name = getattr(error.orig, "sqlite_errorname", "")
    first_line = (
        str(error.orig).strip().splitlines()[0]
        if str(error.orig).strip()
        else type(error.orig).__name__
    )
    if sqlite_name.startswith("SQLITE_READONLY") or getattr(error.orig, "pgcode", None) == "25006":
        return ReadOnly(
            f"The database {url} cannot be written: {first_line}. "
            "Check the permissions of the file and its folder."
        )
    if (
        sqlite_name == "SQLITE_FULL"
        or getattr(error.orig, "pgcode", None) == "53100"
        or _number(error) == 1021
    ):
        return DatabaseUnavailable(
            f"The disk of the database {url} is full; nothing was changed. Make room and repeat."
        )
    if sqlite_name.startswith("SQLITE_BUSY"):
        return DatabaseUnavailable(
            f"Another process has been writing to {url} for more than {BUSY_SECONDS:.0f} s; "
            "repeat when it is done."
        )
    if sqlite_name == "SQLITE_CANTOPEN":
        return DatabaseUnavailable(
            f"The database {url} cannot be opened: does its folder exist, and may you write there? "
            "Where you may only read, it must have been closed by whoever wrote it last."
        )
    if sqlite_name in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
        return DatabaseUnavailable(
            f"{url} is not a sound SQLite database ({first_line}); restore it from a backup."
        )
    if (
        isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError))
        or error.connection_invalidated
    ):
        return DatabaseUnavailable(
            f"The database {url} does not answer as it should: {first_line}. Is its server running?"
        )
    return RegistryError(f"The database {url} refused a statement: {first_line}")


def database_folder(url: str | sa.URL) -> Path | None:
    """Tell the folder of an SQLite database, or None for a server."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    return Path(parsed.database).parent


def insert_missing(
    connection: sa.Connection, table: sa.Table, source: Any, columns: Sequence[str]
) -> None:
    """Insert the rows of a SELECT, leaving out those whose key exists."""
    statement: Any
    if connection.dialect.name == "postgresql":
        statement = (
            postgresql.insert(table).from_select(list(columns), source).on_conflict_do_nothing()
        )
    elif connection.dialect.name == "sqlite":
        # without WHERE, SQLite takes ON CONFLICT for a join condition
        guarded = source.where(sa.true()) if source.whereclause is None else source
        statement = (
            sqlite.insert(table).from_select(list(columns), guarded).on_conflict_do_nothing()
        )
    else:
        # INSERT IGNORE would hide foreign keys and bad values too; a key set to itself does not
        key = next(iter(table.primary_key.columns))
        statement = mysql.insert(table).from_select(list(columns), source)
        statement = statement.on_duplicate_key_update({key.name: key})
    connection.execute(statement)


def insert_rows(
    connection: sa.Connection,
    table: sa.Table,
    items: Sequence[Mapping[str, Any]],
    *,
    skip_existing: bool = False,
) -> None:
    """Insert many rows by one prepared statement, optionally leaving out those whose key exists.

    Parameters
    ----------
    items : sequence of mappings
        All with the same keys.
    skip_existing : bool
        Whether a row whose key exists is passed over instead of refused.
    """
    if not items:
        return
    statement: Any = sa.insert(table)
    if skip_existing and connection.dialect.name == "postgresql":
        statement = postgresql.insert(table).on_conflict_do_nothing()
    elif skip_existing and connection.dialect.name == "sqlite":
        statement = sqlite.insert(table).on_conflict_do_nothing()
    elif skip_existing:
        key = next(iter(table.primary_key.columns))
        statement = mysql.insert(table).on_duplicate_key_update({key.name: key})
    connection.execute(statement, list(items))


_TEXT = sa.String()
_SQL_TYPES = {
    "postgresql": {
        sa.String: "text",
        sa.BigInteger: "bigint",
        sa.Double: "double precision",
        sa.Uuid: "uuid",
        sa.JSON: "text",
    },
    "mariadb": {
        sa.String: "VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
        sa.BigInteger: "BIGINT",
        sa.Double: "DOUBLE",
        sa.Uuid: "CHAR(32)",
        sa.JSON: "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
    },
}


def rows_of(
    connection: sa.Connection,
    items: Sequence[Mapping[str, Any]],
    columns: Mapping[str, Any],
    name: str = "given",
) -> sa.Subquery:
    """Make a table expression of values, sent as one bound parameter.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Says which database it is for.
    items : sequence of mappings
        The values by column name; a missing one is NULL.  UUIDs are sent as they are.
    columns : mapping
        SQLAlchemy type (String, BigInteger, Double, Uuid, or JSON given as text; as a class) of
        each column.
    name : str
        Alias of the table; two in one statement need two names.

    Returns
    -------
    sqlalchemy.Subquery
        With the columns named, and ``n``, the position from 0.
    """
    document = json.dumps(
        [{c: _plain(item.get(c)) for c in columns} for item in items], ensure_ascii=False
    )
    dialect = "mariadb" if connection.dialect.name == "mysql" else connection.dialect.name
    if dialect == "sqlite":
        listed = ", ".join(f"value->>'$.{c}' AS {c}" for c in columns)
        body = f"SELECT key AS n, {listed} FROM json_each(:{name}_rows)"  # noqa: S608 (names are ours)
    elif dialect == "postgresql":
        typed = ", ".join(f"{c} {_SQL_TYPES[dialect][kind]}" for c, kind in columns.items())
        listed = ", ".join(columns)
        cast = ", ".join(
            f"CAST({c} AS json) AS {c}" if k is sa.JSON else c for c, k in columns.items()
        )
        body = (
            f"SELECT n - 1 AS n, {cast} FROM ROWS FROM "  # noqa: S608
            f"(json_to_recordset(CAST(:{name}_rows AS json)) AS ({typed})) "
            f"WITH ORDINALITY AS r({listed}, n)"
        )
    else:
        typed = ", ".join(
            f"{c} {_SQL_TYPES[dialect][kind]} PATH '$.{c}'" for c, kind in columns.items()
        )
        listed = ", ".join(
            f"CAST({c} AS UUID) AS {c}" if k is sa.Uuid else c for c, k in columns.items()
        )
        body = (
            f"SELECT n - 1 AS n, {listed} FROM "  # noqa: S608
            f"JSON_TABLE(:{name}_rows, '$[*]' COLUMNS (n FOR ORDINALITY, {typed})) AS r"
        )
    text = sa.text(body).bindparams(sa.bindparam(f"{name}_rows", document, sa.String))
    return text.columns(
        sa.column("n", sa.BigInteger),
        *(sa.column(c, _TEXT if kind is sa.JSON else kind()) for c, kind in columns.items()),
    ).subquery(name)


def _plain(value: Any) -> Any:
    return value.hex if isinstance(value, uuid.UUID) else value


def analyze(connection: sa.Connection, *tables: sa.Table) -> None:
    """Refresh the planner's statistics of tables after a bulk load."""
    preparer = connection.dialect.identifier_preparer
    names = [preparer.format_table(t) for t in tables]
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ANALYZE {', '.join(names)}")
    elif connection.dialect.name == "sqlite":
        for name in names:
            connection.exec_driver_sql(f"ANALYZE {name}")


def lock_rows(statement: sa.Select[Any], connection: sa.Connection) -> sa.Select[Any]:
    """Lock the rows of a SELECT until the transaction ends; on SQLite it holds the whole file."""
    return statement if connection.dialect.name == "sqlite" else statement.with_for_update()


_TIMESTAMP = re.compile(r"TAI_TIMESTAMP\(((?:[^()]|\([^()]*\))*)\)")
_TIMESTAMPS = {
    # whole seconds and the rest apart, because SQLite computes dates in milliseconds
    "sqlite": (
        "datetime((({us}) + 9300000000000000) / 1000000 - 9300000000, 'unixepoch')"
        " || printf('.%06d', (({us}) + 9300000000000000) % 1000000)"
    ),
    "postgresql": "TIMESTAMP '1970-01-01 00:00:00' + ({us}) * INTERVAL '1 microsecond'",
    "mariadb": "TIMESTAMP'1970-01-01 00:00:00.000000' + INTERVAL ({us}) MICROSECOND",
}


def with_timestamps(text: str, dialect: str) -> str:
    """Write out ``TAI_TIMESTAMP(ns)`` in the text of a view for one database.

    The result is the timestamp of TAI nanoseconds since 1970-01-01T00:00:00 TAI, rounded down to
    microseconds and in TAI too, or NULL where a range has no limit.  SQLite gives it as text.
    """

    def written(found: re.Match[str]) -> str:
        ns = f"NULLIF(NULLIF({found[1]}, {BEGINNING}), {END})"
        division = "DIV" if dialect == "mariadb" else "/"
        us = f"({ns} - ({ns} % 1000 + 1000) % 1000) {division} 1000"
        return f"({_TIMESTAMPS[dialect].format(us=us)})"

    return _TIMESTAMP.sub(written, text)


_MARIADB_CASTS = {"AS DOUBLE PRECISION)": "AS DOUBLE)", "AS BIGINT)": "AS SIGNED)"}


def with_types(text: str, dialect: str) -> str:
    """Write the type names of standard SQL in CASTs as one database spells them."""
    if dialect == "mariadb":
        for standard, spelled in _MARIADB_CASTS.items():
            text = text.replace(standard, spelled)
    return text


def standard_strings(dialect: str) -> tuple[Sequence[str], Sequence[str]]:
    """Give what to say before and after a statement in which ``||`` joins texts.

    MariaDB takes ``||`` for OR, unless the session is told otherwise; the others need nothing.
    """
    if dialect not in ("mysql", "mariadb"):
        return (), ()
    return (
        (
            "SET @sql_mode_before = @@SESSION.sql_mode",
            "SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',PIPES_AS_CONCAT')",
        ),
        ("SET SESSION sql_mode = @sql_mode_before",),
    )
