"""What waits for the end of a transaction: puts to be recorded, and what is to be done to files?

A put in a transaction writes its file and waits, if it is sure that it could be recorded.  All that
wait are recorded together before any other statement is executed on the connection, by whomever,
so that nobody can see that they did.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from butler import storing
from registry.database import attended
from registry.foreseen import Foreseen
from registry.timespan import tai_now_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import sqlalchemy as sa

    from backbone.staging import StagedFile
    from registry.identity import DatasetRef

__all__ = ["Pending", "abandon"]

_MOST = 5_000
"""How many puts wait at most."""


def abandon(files: list[StagedFile], error: BaseException) -> None:
    """Remove the files of a transaction that failed.

    When it is not known whether it was committed (the server went away during the commit, the
    process was interrupted), a file that has its name stays: without a row the audit removes it,
    and a row without a file would be a loss.
    """
    unsure = getattr(error, "uncertain", False) or not isinstance(error, Exception)
    for file in files:
        file.abandon(settled=not unsure)


@dataclass(slots=True)
class Pending:
    """What waits for the end of a transaction.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In the transaction.
    staged : list of StagedFile
        All files of the transaction, to be removed if it fails.
    after : list of callable
        What is to be done after the commit.
    """

    connection: sa.Connection
    staged: list[StagedFile] = field(default_factory=list)
    after: list[Callable[[], object]] = field(default_factory=list)
    _refs: list[DatasetRef] = field(default_factory=list)
    _dates: list[int] = field(default_factory=list)
    _content: storing.Content = field(default_factory=storing.Content)
    _foreseen: Foreseen = field(default_factory=Foreseen)
    _own: bool = False

    @contextlib.contextmanager
    def collecting(self) -> Iterator[None]:
        """Let puts wait inside; they are recorded at its end, or when anything else is executed."""
        with attended(self.connection, self._before, self._forget):
            yield
            self.flush()

    @contextlib.contextmanager
    def part(self) -> Iterator[None]:
        """Do what is inside all or nothing, files included, whatever becomes of the rest."""
        n_staged, n_after = len(self.staged), len(self.after)
        try:
            with self.connection.begin_nested():
                yield
                self.flush()
        except BaseException as error:
            abandon(self.staged[n_staged:], error)
            del self.after[n_after:]
            raise

    @contextlib.contextmanager
    def unobserved(self) -> Iterator[None]:
        """Let what waits wait on inside, where nobody asks for it."""
        before, self._own = self._own, True
        try:
            yield
        finally:
            self._own = before

    def put(self, ref: DatasetRef, content: storing.Content) -> None:
        """Record a dataset with its files, sooner or later.

        Parameters
        ----------
        ref : DatasetRef
            With an identity that is new.

        Raises
        ------
        DatasetExists, UnknownDimensionValue, UnknownDatasetType
            As `registry.datasets.insert_datasets`.
        """
        with self.unobserved():
            if len(self._refs) >= _MOST:
                self.flush()
            if not content.in_tables and self._foreseen.allows(self.connection, ref):
                self._refs.append(ref)
                self._dates.append(tai_now_ns())
                self._content.join(content)
                return
            self.flush()
            with self.connection.begin_nested():  # a run that is new goes with what fails
                storing.record(self.connection, [ref], content, None)
            self._foreseen.recorded(ref)

    def flush(self) -> None:
        """Record all that wait, and give their files their names; when that fails, they wait on."""
        if not self._refs:
            return
        with self.unobserved(), self.connection.begin_nested():
            storing.record(self.connection, self._refs, self._content, None, self._dates)
        self._clear()

    def _before(self, only_asks: bool) -> None:
        """Record what waits before somebody else's statement; it may change what is known."""
        if self._own:
            return
        self.flush()
        if not only_asks:
            self._foreseen.forget()

    def _forget(self) -> None:
        """Drop what waits, which was put since the savepoint that is rolled back."""
        if self._own:
            return
        for file in self._content.staged:
            file.abandon()
        self._clear()
        self._foreseen.forget()

    def _clear(self) -> None:
        self._refs, self._dates, self._content = [], [], storing.Content()
