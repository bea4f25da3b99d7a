"""How is the quality of what appears watched?

The quality-control activator: metric tasks are run by the runner of all pipelines, on what is not
in their output yet, and what they measured is compared with the thresholds in force
(`registry.quality`).  A task does not know that it is watched.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backbone.liveness import is_gone
from butler.butler import Butler
from registry.quality import watches
from workflow.modes import Mode
from workflow.runner import NothingToRun, run_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from registry.quality import Judgement
    from workflow.pipeline import Pipeline
    from workflow.runner import RunReport

__all__ = ["Look", "look", "watch"]

_ENDED = ("done", "no_work", "failed")


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at an output has brought.

    Parameters
    ----------
    report : RunReport or None
        What became of the metric tasks; None when nothing has appeared for them yet.
    n_new : int
        Quanta that were executed now.
    judgement : Judgement
        What of their numbers is not good enough.
    """

    report: RunReport | None
    n_new: int
    judgement: Judgement

    @property
    def is_well(self) -> bool:
        """Whether no task failed in this look, and no value was a failure."""
        return not self.judgement.n_failures and (self.report is None or not self.report.failures)


def look(
    root: str | os.PathLike[str],
    pipeline: Pipeline,
    *,
    inputs: Sequence[str],
    output: str,
    where: str = "",
    bind: Mapping[str, Any] | None = None,
    jobs: int = 1,
    progress: Callable[[str, str], None] | None = None,
) -> Look:
    """Run metric tasks on what has appeared, and compare what they measured.

    Parameters
    ----------
    root : path-like
        Folder of the repository.
    pipeline : Pipeline
        The metric tasks.
    inputs, output, where, bind, jobs, progress
        As `workflow.runner.run_pipeline` takes them.  The first look begins a run below
        ``output``, later ones add to it; what failed there stays failed.

    Raises
    ------
    InvalidState
        If another process watches this output.
    """
    with _watching(root, output, 0.0):
        return _look(
            root,
            pipeline,
            inputs=inputs,
            output=output,
            where=where,
            bind=bind,
            jobs=jobs,
            progress=progress,
        )


def watch(
    root: str | os.PathLike[str],
    pipeline: Pipeline,
    *,
    output: str,
    every: float,
    told: Callable[[Look], None],
    looks: int | None = None,
    **how: Any,
) -> None:
    """Look again and again, until SIGINT or SIGTERM; what is being measured then is finished.

    Parameters
    ----------
    every : float
        From one look to the next [s].
    told : callable
        Called with each look that has brought something.
    looks : int, optional
        End after so many.
    **how
        As `look` takes them.

    Raises
    ------
    InvalidState
        If another process watches this output, or has taken the watch.
    """
    with _watching(root, output, every), _until_told_to_end() as ended:
        n = 0
        while not ended.is_set():
            found = _look(root, pipeline, output=output, **how)
            if found.n_new or found.judgement.n_checked:
                told(found)
            n += 1
            if n == looks or ended.wait(every):
                return
            with Butler(root, writeable=True) as butler:
                butler.registry.database.transact(watches.still, output, os.getpid())


def _look(
    root: str | os.PathLike[str],
    pipeline: Pipeline,
    *,
    output: str,
    progress: Callable[[str, str], None] | None = None,
    **how: Any,
) -> Look:
    executed: Counter[str] = Counter()

    def counted(label: str, state: str) -> None:
        executed[state] += 1
        if progress is not None:
            progress(label, state)

    with Butler(root) as butler:
        goes_on = bool(butler.registry.collections(output))
    try:
        report = run_pipeline(
            root, pipeline, output=output, mode=Mode(extend=goes_on), progress=counted, **how
        )
    except NothingToRun:
        report = None
    with Butler(root, writeable=True) as butler:
        judgement = butler.registry.quality.check(output)
    return Look(report, sum(executed[state] for state in _ENDED), judgement)


@contextmanager
def _watching(root: str | os.PathLike[str], output: str, every: float) -> Iterator[None]:
    """Hold the watch of an output."""
    pid = os.getpid()
    with Butler(root, writeable=True) as butler:
        transact = butler.registry.database.transact
        transact(watches.begin, output, pid, every, is_gone)
        try:
            yield
        finally:
            transact(watches.end, output, pid)


@contextmanager
def _until_told_to_end() -> Iterator[threading.Event]:
    """Take the first SIGINT or SIGTERM for a wish to end soon; the second one acts as usual."""
    ended = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield ended
        return
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def end(_number: int, _frame: Any) -> None:
        ended.set()
        restore()

    for number in usual:
        signal.signal(number, end)
    try:
        yield ended
    finally:
        restore()
