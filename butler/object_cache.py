"""Which objects does a process keep, so that a dataset that is got again is not read again?

Datasets never change, and a get looks into the database before it looks here: what was removed, by
whomever, is not found.  Who gets an object gets a copy of it, so that a change to it stays with
whoever made it.  The least recently used goes first, by bytes; nothing is kept unless a bound is
set, since each process of a run would keep its own.
"""

from __future__ import annotations

import copy
import pickle
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from backbone.file_cache import CacheInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

__all__ = ["ObjectCache", "frozen"]

_UNCOUNTED = (pickle.PicklingError, TypeError, AttributeError, ValueError, RecursionError)
"""What objects raise that cannot be measured, and so are not kept."""


class ObjectCache:
    """Objects that were read, up to so many bytes; safe with several threads.

    Parameters
    ----------
    limit : int
        [byte].

    Examples
    --------
    >>> cache = ObjectCache(1000)
    >>> cache.get("bias", lambda: [1, 2]).append(3)
    >>> cache.get("bias", lambda: [1, 2])
    [1, 2]
    >>> cache.info().hits
    1
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._info = CacheInfo(limit=limit)
        self._lock = threading.Lock()

    def get(self, key: Hashable | None, read: Callable[[], Any]) -> Any:
        """Give an object: a copy of the one that is kept, or what `read` gives.

        Parameters
        ----------
        key : hashable or None
            What identifies it; None is never kept.
        """
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                self._info.hits += 1
                self._info.bytes_hit += kept[1]
        if kept is not None:
            return copy.deepcopy(kept[0])
        found = read()
        size = None if key is None else size_of(found)
        if size is None or size > self.limit:
            with self._lock:
                self._info.bypassed += 1
        else:
            self._keep(key, copy.deepcopy(found), size)
        return found

    def _keep(self, key: Hashable | None, found: Any, size: int) -> None:
        with self._lock:
            self._info.misses += 1
            self._info.bytes_fetched += size
            if key in self._kept:
                return
            self._kept[key] = (found, size)
            self._info.bytes += size
            while self._info.bytes > self.limit:
                _, (_, gone) = self._kept.popitem(last=False)
                self._info.bytes -= gone
                self._info.evicted += 1

    def info(self) -> CacheInfo:
        """Tell what is kept, and what came of it."""
        with self._lock:
            told = copy.copy(self._info)
            told.files = len(self._kept)
        return told

    def clear(self) -> None:
        """Keep nothing, and begin to count anew."""
        with self._lock:
            self._kept.clear()
            self._info = CacheInfo(limit=self.limit)


class _Counter:
    """A file that only counts what is written to it."""

    def __init__(self) -> None:
        self.n_bytes = 0

    def write(self, part: Any) -> int:
        self.n_bytes += len(part)
        return len(part)


def size_of(found: Any) -> int | None:
    """Measure an object [byte], arrays without copying them; None when it cannot be measured."""
    counter = _Counter()

    def count(buffer: pickle.PickleBuffer) -> None:
        counter.n_bytes += buffer.raw().nbytes

    try:
        pickle.Pickler(counter, protocol=5, buffer_callback=count).dump(found)
    except _UNCOUNTED:
        return None
    return counter.n_bytes


def frozen(parameters: Mapping[str, Any] | None) -> bytes | None:
    """Give the parameters of a get as a part of a key; None when they cannot be one."""
    try:
        return pickle.dumps(sorted((parameters or {}).items()), protocol=5)
    except _UNCOUNTED:
        return None
