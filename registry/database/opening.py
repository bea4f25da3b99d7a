"""How is an engine made for each kind of database?"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from registry.database.answers import take_whole
from registry.database.compiling import COMPILED
from registry.database.loading import send_stream
from registry.database.pooled import answers, begin_in_pool, is_pooled, look_for_pool
from registry.database.prepared import Preparing, threshold_of
from registry.database.statements import canonical_json
from registry.database.statistics import STALE
from registry.database.waiting import SAY_AFTER, say, writer_of
from registry.errors import DatabaseUnavailable, RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "ALONE",
    "BUSY_SECONDS",
    "PREPARING",
    "TOGETHER",
    "busy_seconds",
    "file_of",
    "has_file",
    "may_write",
    "open_engine",
    "parse_url",
    "remembered",
    "safe_url",
    "seconds_of",
]

T = TypeVar("T")

ALONE = "each alone"
"""Option ``questions`` of an engine for single statements, each of which sees what was committed
when it began: a server needs no transaction around it, which would only be begun and ended.  On
SQLite it keeps several questions together, except those of a `ShortStatement`."""
PREPARING = "preparing"
"""What a connection to PostgreSQL has by this name prepares its statements."""
TOGETHER = "together"
"""Option ``questions`` of an engine for several that see the database as at the first of them."""
BUSY_SECONDS = 60.0
"""How long a writer waits for another one on SQLite, unless its URL has ``?timeout=`` [s]."""
_IDLE_SECONDS = 0.05
"""How long a connection may be idle without being asked whether it is alive [s].

No server is started anew in so short a time.
"""
_LONGEST_SECONDS = 86_400.0
_POLL_SECONDS = 0.0002, 0.001
"""How soon it looks again whether the other one is done [s]."""


def safe_url(url: str | sa.URL) -> str:
    """Show a URL without its password."""
    return sa.make_url(url).render_as_string(hide_password=True)


def parse_url(url: str | sa.URL) -> sa.URL:
    """Read the URL of a database.

    Raises
    ------
    RegistryError
        If it cannot be understood, or its kind is not supported.
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
        raise RegistryError(
            f"'{backend}' is not supported; use SQLite, PostgreSQL or MariaDB, as in "
            "postgresql://user@host/database."
        )
    return parsed


def has_file(url: str | sa.URL) -> bool:
    """Tell whether an SQLite database exists, since opening it would make it; True for others."""
    file = file_of(url)
    return file is None or file.exists()


def file_of(url: str | sa.URL) -> Path | None:
    """Give the file of an SQLite database; None for others, and for one in memory."""
    parsed = parse_url(url)
    return None if _folder_of(parsed) is None else Path(str(parsed.database))


def open_engine(url: str | sa.URL, *, writeable: bool = True) -> sa.Engine:
    """Open an engine with this project's settings for its kind of database.

    Parameters
    ----------
    url : str or sqlalchemy.URL
        ``sqlite:///path``, ``postgresql://user@host/database`` or ``mariadb://user@host/database``.
    writeable : bool
        Otherwise the database itself refuses whatever would change something.

    Raises
    ------
    RegistryError
        If the URL cannot be understood, its kind is not supported or its driver is not installed.
    """
    parsed = parse_url(url)
    backend = parsed.get_backend_name()
    driver = {"sqlite": "pysqlite", "postgresql": "psycopg2"}.get(backend, "mariadbconnector")
    if "+" not in parsed.drivername:
        parsed = parsed.set(drivername=f"{backend}+{driver}")
    options: dict[str, Any] = {
        "json_serializer": canonical_json,
        "execution_options": {"compiled_cache": COMPILED},
    }
    if backend == "sqlite":
        options["connect_args"] = {"timeout": busy_seconds(parsed), "check_same_thread": False}
        if not may_write(parsed):
            options["poolclass"] = sa.NullPool
    else:
        threshold = threshold_of(parsed) if backend == "postgresql" else None
        preparing = None if threshold is None else Preparing(threshold)
        parsed = parsed.difference_update_query(["timeout", "prepare_threshold"])  # ours
    if backend == "postgresql":
        options["executemany_mode"] = "values_plus_batch"
    elif backend != "sqlite":
        options["isolation_level"] = "READ COMMITTED"
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
        _set_up_sqlite(engine, busy_seconds(parsed))
        if not may_write(parsed):
            sa.event.listen(engine, "do_connect", _read_only)
    else:
        _ask_whether_alive(engine)
        if backend == "postgresql":
            _set_up_postgresql(engine, preparing, writeable=writeable)
        else:
            sa.event.listen(engine, "connect", _walk_to_the_end)
            sa.event.listen(engine, "engine_connect", _isolate)
            sa.event.listen(engine, "before_execute", _require_characters)
            sa.event.listen(engine, "before_cursor_execute", _require_more_characters)
    if not writeable and backend != "postgresql":
        sa.event.listen(engine, "connect", _refuse_changes(backend))
    sa.event.listen(engine, "do_execute", take_whole)
    sa.event.listen(engine, "do_execute", send_stream)
    if backend == "postgresql" and preparing is not None:
        sa.event.listen(engine, "do_execute", preparing.do_execute)
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
    if not connection.invalidated:  # with the connection itself, what it remembered is gone
        connection.info.pop("remembered", None)
        connection.info.pop(STALE, None)


def _ask_whether_alive(engine: sa.Engine) -> None:
    """Ask a connection that was idle whether its server is there, and take a new one if not.

    One that was used a moment ago is not asked: the exchange costs as much as a short question.
    """

    @sa.event.listens_for(engine, "checkin")
    def put_back(_connection: Any, record: Any) -> None:
        record.info["idle since"] = time.monotonic()

    @sa.event.listens_for(engine, "checkout")
    def taken(connection: Any, record: Any, _proxy: Any) -> None:
        idle = time.monotonic() - record.info.get("idle since", time.monotonic())
        if idle < _IDLE_SECONDS:
            return
        try:
            alive = answers(connection) if is_pooled(record) else engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise sa.exc.DisconnectionError(str(error)) from error
        if not alive:
            raise sa.exc.DisconnectionError("the server does not answer")


def _set_up_postgresql(engine: sa.Engine, preparing: Preparing | None, *, writeable: bool) -> None:
    """Prepare connections, and switch them between questions and verbs.

    Statements run as they are planned: compiled first, a walk of 1 ms takes 130 ms, since the
    server cannot know how few rows a list or a recursion has, and compiles for a million.  How far
    transactions see each other is set in the server, because psycopg2 sets what it was told anew
    with each switch.
    """

    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        if look_for_pool(connection, record, writeable=writeable):
            return
        cursor = connection.cursor()
        cursor.execute("SET jit = off; SET default_transaction_isolation = 'read committed'")
        if not writeable:
            cursor.execute("SET default_transaction_read_only = on")
        cursor.close()
        connection.commit()  # or a rollback would undo it
        if preparing is not None:
            preparing.admit(connection)
            record.info[PREPARING] = preparing

    @sa.event.listens_for(engine, "engine_connect")
    def taken(connection: sa.Connection) -> None:
        alone = connection.get_execution_options().get("questions") == ALONE
        if alone and not is_pooled(connection):
            _driver(connection).autocommit = True

    @sa.event.listens_for(engine, "begin")
    def begun(connection: sa.Connection) -> None:
        if is_pooled(connection):
            begin_in_pool(_driver(connection), connection.info)
        if connection.get_execution_options().get("questions") == TOGETHER:
            with _driver(connection).cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    @sa.event.listens_for(engine, "checkin")
    def put_back(connection: Any, _record: Any) -> None:
        if connection is not None and not connection.closed:
            connection.autocommit = False


def _driver(connection: sa.Connection) -> Any:
    return connection.connection.driver_connection


def _isolate(connection: sa.Connection) -> None:
    """Switch a connection to MariaDB between questions and verbs; SQLAlchemy switches it back."""
    level = {ALONE: "AUTOCOMMIT", TOGETHER: "REPEATABLE READ"}.get(
        connection.get_execution_options().get("questions", "")
    )
    if level is not None:
        connection.execution_options(isolation_level=level)


def _walk_to_the_end(connection: Any, _record: Any) -> None:
    """Let recursive questions end by themselves: MariaDB stops them after 1000 steps, silently."""
    cursor = connection.cursor()
    cursor.execute("SET SESSION max_recursive_iterations = 4294967295")
    cursor.close()


def _refuse_changes(backend: str) -> Callable[[Any, Any], None]:
    """Give what makes a new connection one for questions only."""
    sqlite = backend == "sqlite"
    statement = "PRAGMA query_only = ON" if sqlite else "SET SESSION TRANSACTION READ ONLY"

    def connected(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(statement)
        cursor.close()
        connection.commit()

    return connected


def _require_characters(
    _connection: Any, clause: Any, many: Any, one: Mapping[str, Any], _options: Any
) -> None:
    """Refuse half of a surrogate pair, at which MariaDB's connector ends the process.

    It does so with the next statement, too, when there was a cursor that has not been used; so this
    happens before there is one.
    """
    values = [value for given in (*many, one) for value in given.values()]
    key = clause._generate_cache_key() if isinstance(clause, sa.ClauseElement) else None  # noqa: SLF001 (the values that are written into it)
    if key is not None:
        values += [parameter.value for parameter in key.bindparams]
    for value in values:
        for text in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(text, str) and not text.isascii():
                text.encode()


def _require_more_characters(
    connection: sa.Connection, _cursor: Any, statement: str, given: Any, _context: Any, many: bool
) -> None:
    """Refuse it in what is written into a statement; the connection goes with its cursor."""
    try:
        statement.encode()
        for row in given if many else (given,):
            for value in row.values() if isinstance(row, dict) else row:
                if isinstance(value, str) and not value.isascii():
                    value.encode()
    except UnicodeEncodeError:
        connection.invalidate()
        raise


def busy_seconds(url: str | sa.URL) -> float:
    """Tell how long a writer waits for another one on this database of SQLite [s]."""
    return seconds_of(sa.make_url(url), BUSY_SECONDS)


def seconds_of(url: sa.URL, default: float) -> float:
    """Read ``?timeout=`` in the URL of a database [s].

    Raises
    ------
    RegistryError
        If it is not a number of seconds.
    """
    given = url.query.get("timeout")
    try:
        seconds = default if given is None else float(str(given))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _LONGEST_SECONDS:
        raise RegistryError(
            f"timeout={given} in the URL of a database is no number of seconds from 0 to "
            f"{_LONGEST_SECONDS:g}."
        )
    return seconds


def _set_up_sqlite(engine: sa.Engine, patience: float) -> None:
    path = Path(engine.url.database or ":memory:").absolute()
    watched = False  # once it was seen; neither in memory nor behind a URI

    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
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
        nonlocal watched
        record.info["file"] = _identity(path)
        watched = record.info["file"] is not None

    @sa.event.listens_for(engine, "do_connect")
    def connecting(*_: Any) -> None:
        if watched and _identity(path) is None:
            raise DatabaseUnavailable(
                f"The database file {path} is gone; nothing was changed. Put it back, or restore "
                "it from a backup."
            )

    @sa.event.listens_for(engine, "checkout")
    def checked_out(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info.get("file") != _identity(path):
            raise sa.exc.DisconnectionError(f"{path} is another file now")

    @sa.event.listens_for(engine, "begin")
    def begun(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("writing", False):
            _begin_writing(connection, path, patience)
        else:
            # a question that is short should not wait for what SQLAlchemy does around a statement
            _driver(connection).execute("BEGIN")


def _identity(path: Path) -> tuple[int, int] | None:
    """Tell which file it is that has this name; None when there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _begin_writing(connection: sa.Connection, file: Path, patience: float) -> None:
    """Begin a write transaction as soon as no other process is in one.

    SQLite itself looks again after up to 100 ms, whatever the others do in between: of several that
    write without pause, one may come in vain for minutes.  All look often here, so that each has
    its chance.
    """
    driver = _driver(connection)
    began = time.monotonic()
    until, tell_at = began + patience, began + SAY_AFTER
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        while (now := time.monotonic()) < until:
            if now > tell_at:
                tell_at = until
                say(
                    f"Waiting for {writer_of(file)}, which is writing to {file}; "
                    f"for up to {patience:g} s."
                )
            try:
                driver.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                    break
                time.sleep(random.uniform(*_POLL_SECONDS))  # noqa: S311 (spreads writers)
            else:
                return
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # tells, as any statement, what is wrong
    finally:
        driver.execute(f"PRAGMA busy_timeout = {int(1000 * patience)}")


def may_write(url: str | sa.URL) -> bool:
    """Tell whether this process may write an SQLite database that exists; True for all others.

    SQLite writes its log beside the file, so that it needs the folder too.
    """
    folder = _folder_of(url)
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


def _folder_of(url: str | sa.URL) -> Path | None:
    """Tell the folder of an SQLite database, or None for a server."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    return Path(parsed.database).parent
