"""What does a rank do, and how did it end?

The same for all back ends: `perform` runs the function of a rank and gives its outcome, which
travels to whoever started the ranks; `concluded` returns the values, or raises what ended the job.
"""

from __future__ import annotations

import pickle
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workflow.multinode.errors import MultiNodeError, RankFailed, RankLate, RankLost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workflow.logs import Elsewhere
    from workflow.multinode.communicator import Communicator

__all__ = ["Job", "Outcome", "concluded", "failed", "perform"]


@dataclass(frozen=True)
class Job:
    """What every rank does.

    Parameters
    ----------
    function : callable
        Called with the communicator and the arguments.
    arguments : tuple
        The same for all.
    timeout : float
        How long a rank waits for another [s].
    cores : int
        Cores that each rank may use.
    log : Elsewhere
        How it logs, and for which quantum.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    timeout: float
    cores: int
    log: Elsewhere


@dataclass(frozen=True)
class Outcome:
    """How one rank ended.

    Parameters
    ----------
    value : object
        What its function returned.
    error : MultiNodeError, optional
        What ended the job, if it did not return.
    cause : Exception, optional
        What the function raised, if it can travel.
    """

    value: Any = None
    error: MultiNodeError | None = None
    cause: Exception | None = None


def perform(job: Job, comm: Communicator) -> Outcome:
    """Run the function of a rank; what it logs has its number."""
    try:
        with job.log.here(rank=comm.rank):
            return Outcome(job.function(comm, *job.arguments))
    except (RankFailed, RankLate, RankLost) as error:
        return Outcome(error=error)
    except Exception as error:  # noqa: BLE001 (whatever a rank raises ends the job, and is told)
        return failed(comm.rank, comm.host, error)
    finally:
        job.log.end()  # before the outcome is told: a job that has failed is ended at once


def failed(rank: int, host: str, error: Exception) -> Outcome:
    """Give the outcome of a rank that raised an exception."""
    told = f"{type(error).__name__}: {error}"
    trace = "".join(traceback.format_exception(error))
    return Outcome(error=RankFailed(rank, host, told, trace), cause=_portable(error))


def _portable(error: Exception) -> Exception | None:
    """Give the exception if it is the same after pickling; many cannot be pickled."""
    try:
        copied = pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 (whatever its class does when it is pickled)
        return None
    return copied if type(copied) is type(error) else None


def concluded(outcomes: Sequence[Outcome]) -> list[Any]:
    """Give what the ranks returned.

    Raises
    ------
    MultiNodeError
        What ended the job first; what a rank raised is its ``__cause__``.
    """
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error from outcome.cause
    return [outcome.value for outcome in outcomes]
