"""How is one function applied to many items on the cores that the job was given?

`pmap` does it with threads (for functions that spend their time in numpy, scipy or other compiled
code, which lets other threads run) or with processes (for Python code); `Workers` keeps them for
several calls. There are never more workers than cores were granted, nor than fit into its memory;
each has its share, so that a `pmap` within a worker runs in that share, and libraries for linear
algebra use no more threads than that.
"""

from __future__ import annotations

import contextvars
import functools
import logging
import multiprocessing
import pickle
import resource
import signal
import threading
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TYPE_CHECKING, Any, Self, TypeVar

from threadpoolctl import threadpool_limits

from workflow.leash import end_with
from workflow.logs import elsewhere
from workflow.multicore.errors import CannotTravel, MultiCoreError, WorkerLost
from workflow.multicore.grants import Grant, granted, hold, use

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from types import TracebackType

    from workflow.logs import Elsewhere

__all__ = ["BACKENDS", "Workers", "pmap"]

_T = TypeVar("_T")
_R = TypeVar("_R")

BACKENDS = ("threads", "processes")
_log = logging.getLogger("skyspine.multicore")


class Workers:
    """Threads or processes that stay for several calls.

    Parameters
    ----------
    backend : {'threads', 'processes'}
        What they are.
    workers : int, optional
        How many at most; as many as the job's cores and memory allow by default.
    memory_per_item : int
        What one item needs while it is worked on [byte].

    Attributes
    ----------
    count : int
        How many there are; one works in the calling thread.
    peak_memory : int
        Largest resident size of a worker process so far [byte].
    """

    def __init__(
        self, backend: str = "threads", workers: int | None = None, *, memory_per_item: int = 0
    ) -> None:
        if backend not in BACKENDS:
            raise MultiCoreError(f"There is no back end '{backend}'; take {' or '.join(BACKENDS)}.")
        grant = granted()
        allowed = grant.workers_for(memory_per_item)
        self.backend = backend
        self.count = allowed if workers is None else max(1, min(workers, allowed))
        self.share = grant.share(self.count)
        self.peak_memory = 0
        self._pool: futures.Executor | None = None
        self._leash: Connection | None = None
        self._limits: Any = None

    def __enter__(self) -> Self:
        if self.count > 1 and self.backend == "threads":
            self._limits = threadpool_limits(self.share.cores)
            self._pool = futures.ThreadPoolExecutor(self.count, thread_name_prefix="core")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        if self._leash is not None:
            self._leash.close()
        if self._limits is not None:
            self._limits.restore_original_limits()

    def map(self, function: Callable[[_T], _R], items: Iterable[_T], *, chunk: int = 1) -> list[_R]:
        """Apply a function to items.

        Parameters
        ----------
        function : callable
            For processes it is found by its name in a module.
        items : iterable
            What it is applied to.
        chunk : int
            Items that a worker takes at a time; more where one takes less than a millisecond.

        Returns
        -------
        list
            Results in the order of the items.

        Raises
        ------
        Exception
            What the function raised for the first item for which it raised; no more are begun.
        WorkerLost
            If a worker process was killed.
        CannotTravel
            If the function or an item cannot go to another process.
        """
        if self.count == 1:
            return [function(item) for item in items]
        if self.backend == "processes":
            _check_portable(function)
            self._pool = self._pool or self._processes(function)
        pending = [self._submit(function, part) for part in _parts(items, chunk)]
        results: list[_R] = []
        try:
            for future in pending:
                made, memory = future.result()
                results += made
                self._note(memory)
        except BrokenProcessPool as error:
            raise WorkerLost(
                f"One of {self.count} worker processes was killed, perhaps because memory ran out; "
                "say what an item needs (memory_per_item), or take fewer workers."
            ) from error
        finally:
            for future in pending:
                future.cancel()
        return results

    def _processes(self, function: Callable[..., Any]) -> futures.Executor:
        """Start the processes; if they are the first of this one, their imports happen once."""
        context = multiprocessing.get_context("forkserver")
        used = (*sorted(_modules(function)), *elsewhere().modules)
        context.set_forkserver_preload(["numpy", __name__, *used])
        held, self._leash = context.Pipe(duplex=False)
        return futures.ProcessPoolExecutor(
            self.count, mp_context=context, initializer=_begin, initargs=(held, self.share)
        )

    def _submit(
        self, function: Callable[[_T], _R], part: Sequence[_T]
    ) -> futures.Future[tuple[list[_R], int]]:
        if self._pool is None:
            raise RuntimeError("Workers are used within their `with` block.")
        if self.backend == "processes":
            return self._pool.submit(_done, elsewhere(), function, part)
        run = contextvars.copy_context().run
        return self._pool.submit(run, _done_in, self.share, function, part)

    def _note(self, memory: int) -> None:
        allowed = self.share.memory
        if allowed is not None and memory > allowed and memory > self.peak_memory:
            _log.warning(
                "A worker process used %d MiB; its share is %d MiB.", memory >> 20, allowed >> 20
            )
        self.peak_memory = max(self.peak_memory, memory)


def pmap(
    function: Callable[[_T], _R],
    items: Iterable[_T],
    *,
    backend: str = "threads",
    workers: int | None = None,
    chunk: int = 1,
    memory_per_item: int = 0,
) -> list[_R]:
    """Apply a function to items on the cores of this job; see `Workers`.

    Examples
    --------
    >>> pmap(abs, [-3, 2, -1])
    [3, 2, 1]
    """
    with Workers(backend, workers, memory_per_item=memory_per_item) as pool:
        return pool.map(function, items, chunk=chunk)


def _modules(function: Any) -> set[str]:
    """Name the modules of a function, and of those that it is a partial application of."""
    if isinstance(function, functools.partial):
        return set().union(*map(_modules, (function.func, *function.args)))
    return {function.__module__} if callable(function) else set()


def _parts(items: Iterable[_T], size: int) -> Iterator[tuple[_T, ...]]:
    left = iter(items)
    while part := tuple(islice(left, max(1, size))):
        yield part


def _done(
    log: Elsewhere, function: Callable[[Any], Any], part: Sequence[Any]
) -> tuple[list[Any], int]:
    with log.here():
        results = [function(item) for item in part]
    return results, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _done_in(
    share: Grant, function: Callable[[Any], Any], part: Sequence[Any]
) -> tuple[list[Any], int]:
    with use(share):
        return [function(item) for item in part], 0


def _begin(leash: Connection, share: Grant) -> None:
    """Prepare a worker process: its share, and its end with the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started it
    threading.Thread(target=end_with, args=(leash,), daemon=True).start()
    hold(share)


def _check_portable(function: Callable[..., Any]) -> None:
    try:
        pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise CannotTravel(
            f"{getattr(function, '__qualname__', function)} cannot travel to another process: "
            "define it at the top of a module, not within a function, or use backend='threads'."
        ) from error
