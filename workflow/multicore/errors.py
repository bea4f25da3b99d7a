"""What can go wrong when work is divided among cores, and what to do about it.

::

    WorkflowError
    └── MultiCoreError
        ├── BadGrant (ValueError)         nobody can tell how many cores there are
        ├── BadTiles (ValueError)         an image cannot be divided as asked
        ├── WorkerLost                    a worker process was killed
        ├── CannotTravel (TypeError)      a function or result cannot go to another process
        ├── NoSharedMemory (OSError)      there is no room for a shared array
        └── NoNumba                       numba is asked for and not installed
"""

from __future__ import annotations

from workflow.errors import WorkflowError

__all__ = [
    "BadGrant",
    "BadTiles",
    "CannotTravel",
    "MultiCoreError",
    "NoNumba",
    "NoSharedMemory",
    "WorkerLost",
]


class MultiCoreError(WorkflowError):
    """Work could not be divided among cores."""

    code = "multicore"


class BadGrant(MultiCoreError, ValueError):
    """The environment does not say how many cores, or how much memory, there are."""

    code = "bad-grant"


class BadTiles(MultiCoreError, ValueError):
    """An image cannot be divided into tiles as asked."""

    code = "bad-tiles"


class WorkerLost(MultiCoreError):
    """A worker process was killed, perhaps because memory ran out.

    Nothing of the call is kept; give each worker more memory (``memory_per_item``), or take fewer.
    """

    code = "core-worker-lost"


class CannotTravel(MultiCoreError, TypeError):
    """A function, an item or a result cannot go to another process."""

    code = "cannot-travel"


class NoSharedMemory(MultiCoreError, OSError):
    """There is no room for an array that processes share."""

    code = "no-shared-memory"


class NoNumba(MultiCoreError):
    """The back end 'numba' is asked for, and numba is not installed: pip install numba."""

    code = "no-numba"
