"""What can go wrong between the ranks of a multi-node task, and what to do about it.

::

    WorkflowError
    └── MultiNodeError
        ├── RankFailed                        a rank raised; its traceback is part of the message
        ├── RankLost                          a rank's process or connection is gone
        ├── RankLate (TimeoutError)           a rank did not come within the time that others wait
        ├── RanksDisagree (ValueError)        ranks took part in one exchange with different things
        ├── UntrustedMessage                  a message was not signed with the group's key
        ├── GeometryError (ValueError)        places and their neighbours do not fit together
        └── NoBackend                         a back end is unknown, or not installed
"""

from __future__ import annotations

from workflow.errors import WorkflowError

__all__ = [
    "GeometryError",
    "MultiNodeError",
    "NoBackend",
    "RankFailed",
    "RankLate",
    "RankLost",
    "RanksDisagree",
    "UntrustedMessage",
]


class MultiNodeError(WorkflowError):
    """The ranks could not do their work together."""

    code = "multinode"


class RankFailed(MultiNodeError):
    """A rank raised an exception, and the others were ended.

    Parameters
    ----------
    rank : int
        Which one.
    host : str
        Where it ran.
    error : str
        Class and text of what it raised.
    trace : str
        Its traceback.
    """

    code = "rank-failed"

    def __init__(self, rank: int, host: str, error: str, trace: str = "") -> None:
        self.rank = rank
        self.host = host
        self.error = error
        self.trace = trace
        told = f"\n{trace.rstrip()}" if trace else ""
        super().__init__(f"Rank {rank} on {host} failed: {error}{told}")


class RankLost(MultiNodeError):
    """A rank is gone without a word: killed, out of memory, or its host is away.

    Parameters
    ----------
    rank : int
        Which one; -1 when nobody could tell.
    host : str
        Where it ran.
    how : str
        What is known of its end.
    """

    code = "rank-lost"

    def __init__(self, rank: int, host: str, how: str) -> None:
        self.rank = rank
        self.host = host
        self.how = how
        name = f"Rank {rank} on {host}" if rank >= 0 else f"A rank on {host}"
        super().__init__(
            f"{name} is gone ({how}); the others were ended. Look for an out-of-memory kill on "
            "that host, and run again."
        )


class RankLate(MultiNodeError, TimeoutError):
    """A rank did not come within the time that the others wait for it.

    Parameters
    ----------
    rank : int
        The late one.
    host : str
        Where it runs.
    waited : float
        How long it was waited for [s].
    by : str
        Who waited: one rank, or each for the next when they wait in a circle.
    """

    code = "rank-late"

    def __init__(self, rank: int, host: str, waited: float, by: str) -> None:
        self.rank = rank
        self.host = host
        self.waited = waited
        self.by = by
        super().__init__(
            f"Rank {rank} on {host} is late: {by} waited {waited:g} s for it. Allow more time "
            "(timeout), or look at what it does."
        )


class RanksDisagree(MultiNodeError, ValueError):
    """Ranks took part in one exchange with things that do not fit together."""

    code = "ranks-disagree"


class UntrustedMessage(MultiNodeError):
    """A message was not signed with the key of the group, and was not opened."""

    code = "untrusted-message"


class GeometryError(MultiNodeError, ValueError):
    """Places and their neighbours do not fit together."""

    code = "geometry"


class NoBackend(MultiNodeError):
    """A back end is unknown, or its library or program is not installed."""

    code = "no-backend"
