"""How does a verb get its connection, its transaction, and its second chance?"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import getpass
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

import sqlalchemy as sa

from registry.database.failures import is_answer, translated, uncertain, was_lost
from registry.database.opening import ALONE, TOGETHER, may_write, open_engine, safe_url
from registry.database.patience import Patience, patience_of
from registry.database.short import writes_within
from registry.database.statistics import analyze_stale
from registry.errors import DatabaseUnavailable, ReadOnly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

__all__ = ["Database", "account", "question", "utc_now"]

P = ParamSpec("P")
T = TypeVar("T")


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

    Attributes
    ----------
    patience : float
        How long a server that went away is waited for [s].
    n_repeated : int
        How often a verb or a question was repeated.

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
        self._shown = safe_url(url)
        self._reading = self.engine.execution_options(questions=ALONE)
        self._whole = self.engine.execution_options(questions=TOGETHER)
        self._questions: sa.Engine | None = None
        self.writeable = writeable
        self.patience = patience_of(url)
        self._enlisted: ContextVar[sa.Connection | None] = ContextVar("enlisted", default=None)
        self._repeating: ContextVar[bool] = ContextVar("repeating", default=False)
        self._reached = False
        self.n_repeated = 0
        sa.event.listen(self.engine, "connect", self._connected)

    def _connected(self, *_: object) -> None:
        self._reached = True

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        if self._questions is not None:
            self._questions.dispose()

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
                f"The database {self._shown} was opened for reading only; "
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
            if committing and not is_answer(error.__cause__):
                raise uncertain(self.url) from error.__cause__
            raise

    @contextlib.contextmanager
    def _alone(self) -> Iterator[sa.Connection]:
        """Open a connection on which each statement that writes is a transaction of its own."""
        self.require_writeable()
        sending = False
        try:
            with self._connection(self._reading) as connection:
                sending = True
                yield connection
        except DatabaseUnavailable as error:
            if sending and not is_answer(error.__cause__):
                raise uncertain(self.url) from error.__cause__
            raise

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a connection for reading; inside a write transaction, that one."""
        current = self._enlisted.get()
        if current is not None:
            yield current
            return
        with self._connection(self._reading) as connection:
            yield connection

    @contextlib.contextmanager
    def read_only(self) -> Iterator[sa.Connection]:
        """Open a connection on which the database itself refuses changes.

        Inside a write transaction, that one: what it has written is to be seen.
        """
        if self.in_transaction or not self.writeable:
            with self.read() as connection:
                yield connection
            return
        if self._questions is None:
            self._questions = open_engine(self.url, writeable=False)
        with self._connection(self._questions) as connection:
            yield connection

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """Open a connection for several questions that see the database as at the first of them.

        Inside a write transaction, that one.
        """
        current = self._enlisted.get()
        if current is not None:
            yield current
            return
        with self._connection(self._whole) as connection:
            yield connection

    @contextlib.contextmanager
    def stream(self) -> Iterator[sa.Connection]:
        """Open a connection of its own, in a transaction, for one answer that is read piecemeal."""
        with self._connection(self.engine) as connection:
            yield connection

    @contextlib.contextmanager
    def _connection(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        with self.translated(), engine.connect() as connection:
            try:
                yield connection
            except DatabaseUnavailable as error:  # met on another connection to the same server
                if was_lost(error.__cause__):
                    connection.invalidate()
                raise

    def ask(
        self, asked: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Ask a question on a connection for reading, again when its server went away meanwhile.

        Parameters
        ----------
        asked : callable
            Takes a connection first; changes nothing, and gives its whole answer.
        """

        def attempt() -> T:
            with self.read() as connection:
                return asked(connection, *args, **kwargs)

        return self.repeated(attempt)

    def transact(
        self, verb: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a verb in a write transaction, again when nothing came of it.

        That is when the database asks for it (deadlock, conflict), and when its server went away
        before the commit.  When it went away during the commit, nobody knows: see `ensure` and
        `transact_once`.

        Parameters
        ----------
        verb : callable
            Takes a connection first and is repeatable: it changes nothing but the database.

        Returns
        -------
        object
            What the verb returns.

        Raises
        ------
        DatabaseUnavailable
            With ``uncertain`` set if it may have been committed all the same.
        """
        return self.repeated(functools.partial(self._once, verb, *args, **kwargs))

    def ensure(
        self, verb: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a verb as `transact` does, one that does no harm when it is done twice.

        It is repeated even when its server went away during the commit.
        """
        attempt = functools.partial(self._once, verb, *args, **kwargs)
        return self.repeated(attempt, in_doubt=attempt)

    def transact_once(
        self,
        done: Callable[[sa.Connection], T | None],
        verb: Callable[..., T],
        *args: Any,
        alone: Callable[[sa.Connection], T | None] | None = None,
        **kwargs: Any,
    ) -> T:
        """Run a verb as `transact` does, one that leaves a mark by which it is known again.

        Parameters
        ----------
        done : callable
            Asked when the server went away during the commit: gives what the verb would have
            returned if it was committed, None if it was not.
        alone : callable, optional
            Tried first where a statement may hold others that write, outside of transactions: does
            all by one statement, which is a transaction of its own and saves the exchanges that
            begin and end one; or gives None, having changed nothing.
        """

        def attempt() -> T:
            if alone is not None and not self.in_transaction and writes_within(self.engine):
                with self._alone() as connection:
                    found = alone(connection)
                if found is not None:
                    return found
            return self._once(verb, *args, **kwargs)

        def find_out() -> T:
            with self.read() as connection:
                found = done(connection)
            return attempt() if found is None else found

        return self.repeated(attempt, in_doubt=find_out)

    def _once(
        self, verb: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        with self.begin() as connection:
            return verb(connection, *args, **kwargs)

    def repeated(self, attempt: Callable[[], T], in_doubt: Callable[[], T] | None = None) -> T:
        """Do something, again when the database asks for it or was away for a while.

        Inside a transaction, and inside something that is repeated, it is done once: what is
        around repeats all of it.

        Parameters
        ----------
        attempt : callable
            What to do.
        in_doubt : callable, optional
            What to do instead from when it is not known whether an attempt was committed.
        """
        if self._enlisted.get() is not None or self._repeating.get():
            return attempt()
        token = self._repeating.set(True)
        try:
            return self._patiently(attempt, in_doubt)
        finally:
            self._repeating.reset(token)

    def _patiently(self, attempt: Callable[[], T], in_doubt: Callable[[], T] | None) -> T:
        patience = Patience(self._shown, self.patience if self._reached else 0.0)
        doubt: DatabaseUnavailable | None = None
        while True:
            try:
                return attempt()
            except DatabaseUnavailable as error:
                if error.uncertain:
                    doubt = error
                    if in_doubt is None:
                        raise
                    attempt = in_doubt
                if not patience.waited(error.__cause__):
                    raise doubt or error from error.__cause__
                self.n_repeated += 1

    def translated(self) -> AbstractContextManager[None]:
        """Turn the driver's errors into this project's."""
        return translated(self.url)


Method = TypeVar("Method", bound="Callable[..., Any]")


def question(method: Method) -> Method:
    """Let a method that only asks ask again when the server went away meanwhile.

    Its object has the `Database` as ``database``.
    """

    @functools.wraps(method)
    def asking(self: Any, *args: Any, **kwargs: Any) -> Any:
        database: Database = self.database
        return database.repeated(functools.partial(method, self, *args, **kwargs))

    return cast("Method", asking)
