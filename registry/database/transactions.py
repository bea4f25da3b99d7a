"""How does a verb get its connection, its transaction, and its second chance?"""

from __future__ import annotations

import contextlib
import datetime as dt
import getpass
import random
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from registry.database.failures import is_answer, may_be_repeated, translated
from registry.database.opening import may_write, open_engine, safe_url
from registry.database.statements import analyze_stale
from registry.errors import DatabaseUnavailable, ReadOnly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import sqlalchemy as sa

__all__ = ["Database", "account", "utc_now"]

P = ParamSpec("P")
T = TypeVar("T")

ATTEMPTS = 8
"""How often a verb is tried when the database asks to repeat it: deadlock, conflict or busy."""


def utc_now() -> dt.datetime:
    """Tell the time as aware UTC."""
    return dt.datetime.now(dt.UTC)


def account() -> str:
    """Name the account that runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


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
        self.engine = open_engine(url, writeable=writeable)
        # A question is one statement, which sees what was committed when it began: a transaction
        # around it would only be begun and ended.  On SQLite it keeps several questions together.
        server = self.engine.dialect.name != "sqlite"
        self._reading = (
            self.engine.execution_options(isolation_level="AUTOCOMMIT") if server else self.engine
        )
        self._whole = (
            self.engine.execution_options(isolation_level="REPEATABLE READ")
            if server
            else self.engine
        )
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
        committing = False
        try:
            with (
                self.translated(),
                self.engine.connect().execution_options(writing=True) as connection,
            ):
                with connection.begin():
                    token = self._enlisted.set(connection)
                    try:
                        yield connection
                    finally:
                        self._enlisted.reset(token)
                    committing = True
                committing = False
                analyze_stale(connection)
        except DatabaseUnavailable as error:
            error.uncertain = committing and not is_answer(error.__cause__)
            raise

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a connection for reading; inside a write transaction, that one."""
        current = self._enlisted.get()
        if current is not None:
            yield current
            return
        with self.translated(), self._reading.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def stream(self) -> Iterator[sa.Connection]:
        """Open a connection of its own, in a transaction, for one answer that is read piecemeal."""
        with self.translated(), self.engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """Open a connection whose questions all see the database as it was at the first of them.

        Inside a write transaction it is that one.
        """
        current = self._enlisted.get()
        if current is not None:
            yield current
            return
        with self.translated(), self._whole.connect() as connection:
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
                if attempt == ATTEMPTS or not may_be_repeated(error.__cause__):
                    raise
                time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 (spreads writers, guards nothing)
        raise AssertionError("unreachable")

    def translated(self) -> AbstractContextManager[None]:
        """Turn the driver's errors into this project's."""
        return translated(self.url)
