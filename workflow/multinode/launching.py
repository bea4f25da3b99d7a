"""How are the ranks of a job started, wherever they run?

`launch` is the one way in: a function is run by so many ranks on a back end, and what each returned
comes back in order. A rank that raises or dies ends the others, and the error says which it was.
"""

from __future__ import annotations

import importlib
import os
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from registry.errors import did_you_mean
from workflow.logs import elsewhere
from workflow.multicore.grants import granted
from workflow.multinode.endpoint import TIMEOUT
from workflow.multinode.errors import NoBackend
from workflow.multinode.outcomes import Job

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BACKENDS", "NODES", "Placement", "launch"]

BACKENDS = ("threads", "processes", "mpi", "rabbitmq")
NODES = "SKYSPINE_NODES"
"""Environment variable with where multi-node tasks run, as ``mpi:4``."""


@dataclass(frozen=True)
class Placement:
    """On which back end, and on how many ranks, a multi-node task runs.

    Parameters
    ----------
    backend : str
        One of `BACKENDS`.
    ranks : int, optional
        How many; as many as the task asks for when None.
    """

    backend: str = "processes"
    ranks: int | None = None

    @classmethod
    def of(cls, text: str) -> Self:
        """Read ``mpi:4`` or ``mpi``.

        Raises
        ------
        NoBackend
            If the text is neither.
        """
        name, colon, number = text.strip().partition(":")
        if name not in BACKENDS:
            raise NoBackend(
                f"There is no back end '{name}' for multi-node tasks; there are "
                f"{', '.join(BACKENDS)}.{did_you_mean(name, BACKENDS)}"
            )
        if colon and (not number.isdigit() or int(number) < 1):
            raise NoBackend(f"'{text}' does not say on how many ranks; write {name}:4 for four.")
        return cls(name, int(number) if colon else None)

    @classmethod
    def given(cls) -> Self | None:
        """Read the environment variable SKYSPINE_NODES; None if it is not set."""
        text = os.environ.get(NODES, "")
        return cls.of(text) if text else None


def launch(
    function: Callable[..., Any],
    *arguments: Any,
    ranks: int,
    backend: str = "processes",
    timeout: float = TIMEOUT,
    **options: Any,
) -> list[Any]:
    """Run a function on so many ranks.

    Parameters
    ----------
    function : callable
        Called on each rank with its `Communicator` and the arguments. But for threads it is found
        by its name in a module, and arguments and results are pickled.
    *arguments
        The same for all ranks.
    ranks : int
        How many.
    backend : {'threads', 'processes', 'mpi', 'rabbitmq'}
        Where.
    timeout : float
        How long a rank waits for another [s].
    **options
        For ``mpi``: ``folder``; for ``rabbitmq``: ``url``.

    Returns
    -------
    list
        What each rank returned.

    Raises
    ------
    RankFailed, RankLost, RankLate
        What ended the job; what a rank raised is the ``__cause__``.
    NoBackend
        If the back end is unknown, or not installed.
    TypeError
        If the function cannot travel.

    Examples
    --------
    >>> def total(comm):
    ...     return comm.allreduce(comm.rank)
    >>> launch(total, ranks=3, backend="threads")
    [3, 3, 3]
    """
    Placement.of(backend)
    if ranks < 1:
        raise NoBackend(f"A job has at least one rank, not {ranks}.")
    job = Job(function, arguments, timeout, max(1, granted().cores // ranks), elsewhere())
    if backend != "threads":
        _check_portable(function)
    run = importlib.import_module(f"workflow.multinode.{backend}").run
    results: list[Any] = run(job, ranks, **options)
    return results


def _check_portable(function: Callable[..., Any]) -> None:
    try:
        pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"{getattr(function, '__qualname__', function)} cannot travel to ranks in other "
            "processes: define it at the top of a module, not within a function, or use "
            "backend='threads'."
        ) from error
