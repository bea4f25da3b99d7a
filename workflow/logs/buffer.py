"""How do records reach a sink that may be slow or gone, without anybody waiting for it?

A handler puts them into a queue of bounded length; one thread writes them in batches. When the
queue is full, new records are dropped and counted. While the sink cannot be reached, the batch is
tried again; the numbers of the records tell the sink what it has already. What the thread itself
logs, as a driver of a database does, goes to no queue.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Protocol

from registry.database import utc_now
from workflow.logs import context
from workflow.logs.entries import entry_of, this_process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry.logs import LogEntry, LogProcess

__all__ = ["CAPACITY", "Background", "Sink"]

CAPACITY = 10_000
"""Records that wait at most for a sink, unless its settings say otherwise."""
_BATCH = 500
_DELAY_S = 0.2
"""How long a record waits for others to be written with it [s]."""
_PAUSES_S = 0.05, 2.0
"""How soon a sink that could not be reached is tried again: at first, and at last [s]."""
_PATIENCE_S = 5.0
"""How long the end of a program waits for the last records to be written [s]."""


class Sink(Protocol):
    """Where a batch of records goes."""

    name: str

    def write(self, process: LogProcess, entries: Sequence[LogEntry], n_dropped: int) -> None:
        """Write a batch, all or nothing.

        Raises
        ------
        OSError
            If it cannot be reached just now; anything else gives the batch up.
        """

    def close(self) -> None:
        """Close what is open."""

    def forget(self) -> None:
        """Leave to the parent process what this one, which was forked, has open."""


class Background(logging.Handler):
    """Writes records to a sink from a thread of its own.

    Parameters
    ----------
    sink : Sink
        Where they go.
    level : int
        From which on.
    capacity : int
        Records that wait at most.
    """

    def __init__(self, sink: Sink, level: int = 0, capacity: int = CAPACITY) -> None:
        super().__init__(level)
        self.sink = sink
        self._capacity = capacity
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[LogEntry] = deque()
        self._numbers = itertools.count(1)
        self._process = this_process(utc_now())
        self._thread: threading.Thread | None = None
        self._hurried = self._closing = False
        self._error: Exception | None = None
        self._n_refused = 0
        self._n_late = 0
        self.n_written = 0

    @property
    def n_dropped(self) -> int:
        """Records that did not, or will not, reach the sink."""
        return self._n_late + self._n_refused

    def wants(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is for this sink."""
        del record
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Put a record into the queue, or drop it; nothing is waited for."""
        if threading.get_ident() in _writers or not self.wants(record):
            return
        number = next(self._numbers)
        if len(self._waiting) >= self._capacity or self._closing:
            with self._changed:
                self._n_late += 1
            return
        try:
            entry = entry_of(record, number, context.of(record))
        except Exception:  # noqa: BLE001 (as every handler: its caller is told of a wrong message)
            self.handleError(record)
            return
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(
                    target=self._write, name=f"log to {self.sink.name}", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError as error:  # the interpreter ends, or there are too many
                    self._error = error
                    self._n_late += 1
                    return
                self._thread = thread
            self._waiting.append(entry)
            if len(self._waiting) in (1, _BATCH):
                self._changed.notify_all()

    def flush(self, patience: float = _PATIENCE_S) -> None:
        """Wait until everything is written, but not longer than some seconds."""
        if threading.get_ident() in _writers:
            return
        with self._changed:
            self._hurried = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting, patience)
            self._hurried = False

    def close(self) -> None:
        """Write what waits, for some seconds at most; drop the rest."""
        self.finish()
        super().close()

    def finish(self, patience: float = _PATIENCE_S) -> str:
        """Write what waits, and tell in a sentence what was lost; empty when nothing was."""
        with self._changed:
            first = not self._closing
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(patience)
        if first:
            with self._changed:
                self._n_late += len(self._waiting)
                self._waiting.clear()
        return self.told()

    def told(self) -> str:
        """Tell what was lost so far; empty when nothing was."""
        if not self.n_dropped:
            return ""
        records = "log record was" if self.n_dropped == 1 else "log records were"
        why = f": {self._error}" if self._error is not None else ", which was too slow."
        return f"{self.n_dropped:,} {records} lost on the way to {self.sink.name}{why}"

    def _write(self) -> None:
        """Write batches until the end; this is the thread."""
        _writers.add(threading.get_ident())
        pause = _PAUSES_S[0]
        try:
            while batch := self._next():
                if self._written(batch):
                    pause = _PAUSES_S[0]
                    continue
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, pause)
                if self._closing:
                    time.sleep(_PAUSES_S[0])  # it is tried until nobody waits for the end any more
                pause = min(2 * pause, _PAUSES_S[1])
        finally:
            self.sink.close()
            _writers.discard(threading.get_ident())

    def _next(self) -> list[LogEntry]:
        """Wait for a batch, which stays in the queue; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            self._changed.wait_for(
                lambda: len(self._waiting) >= _BATCH or self._closing or self._hurried, _DELAY_S
            )
            return list(itertools.islice(self._waiting, _BATCH))

    def _written(self, batch: list[LogEntry]) -> bool:
        refused = False
        try:
            self.sink.write(self._process, batch, self.n_dropped)
        except OSError as error:
            self._error = error
            return False
        except Exception as error:  # noqa: BLE001 (the batch is given up, counted and told)
            self._error = error
            refused = True
        with self._changed:
            n_waiting = min(len(batch), len(self._waiting))  # none when the end did not wait for it
            for _ in range(n_waiting):
                self._waiting.popleft()
            self._n_refused += n_waiting if refused else 0
            self.n_written += 0 if refused else n_waiting
            self._changed.notify_all()
        return True

    def begin_anew(self) -> None:
        """Begin with an empty queue in a process that was forked: the parent has what waited."""
        with contextlib.suppress(OSError):
            self.sink.forget()
        self._reset()


_all: weakref.WeakSet[Background] = weakref.WeakSet()
_writers: set[int] = set()


def _forked() -> None:
    _writers.clear()
    for handler in list(_all):
        handler.begin_anew()


os.register_at_fork(after_in_child=_forked)
