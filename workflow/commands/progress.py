"""How does a long command show that it lives?

On a terminal a bar; in a pipe nothing, but a line a minute for a run that takes so long.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Lines", "Tally", "counting", "quanta"]

_REDRAWN_S = 0.1


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show how many of a known number are done; gives the function to call."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


EVERY_S = 60.0
"""How often a line is written where there is no terminal [s]."""


class Tally:
    """What has become of the quanta of a run so far.

    Parameters
    ----------
    clock : callable
        Gives the time [s].
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self.planned: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._executed = 0

    def note(self, label: str, state: str) -> None:
        """Count one quantum that is to be run (``ready``), or that has ended."""
        if state == "ready":
            self.planned[label] += 1
            self._began = self._clock()
            return
        self.ended[label] += 1
        self.failed[label] += state == "failed"
        self._executed += state != "blocked"

    @property
    def pace(self) -> str:
        """How fast it goes and how long it will take, in words; empty before anything is done."""
        passed = self._clock() - self._began
        if not self._executed or passed <= 0:
            return ""
        rate = self._executed / passed
        left = max(0, self.planned.total() - self.ended.total())
        per = f"{rate:.3g}/s" if rate >= 1 else f"{60 * rate:.3g}/min"
        return f"{per}, {_spoken(left / rate)} left"

    def line(self) -> str:
        """Tell all of it in one line."""
        tasks = [
            f"{label} {self.ended[label]} of {n}"
            + (f" ({self.failed[label]} failed)" if self.failed[label] else "")
            for label, n in self.planned.items()
            if self.ended[label] < n or self.failed[label]
        ]
        return "; ".join(filter(None, (*tasks, self.pace)))


class Lines:
    """Writes a line about a tally every so often, when something has ended.

    Parameters
    ----------
    tally : Tally
        What is told.
    write : callable
        Takes the line.
    clock : callable
        Gives the time [s].
    """

    def __init__(
        self, tally: Tally, write: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        self._tally = tally
        self._write = write
        self._clock = clock
        self._last = clock()

    def note(self, label: str, state: str) -> None:
        """Count a quantum, and write if it is time."""
        self._tally.note(label, state)
        if self._clock() - self._last >= EVERY_S:
            self._last = self._clock()
            self._write(self._tally.line())


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def quanta(*, silent: bool = False) -> Iterator[Callable[[str, str], None] | None]:
    """Show how a run gets on: a bar for each task, or a line a minute where there is no terminal.

    Gives the function to call with label and state.
    """
    if silent:
        yield None
    elif sys.stderr.isatty():
        with _bars() as note:
            yield note
    else:

        def written(line: str) -> None:
            print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)  # noqa: T201

        yield Lines(Tally(), written, time.monotonic).note


@contextlib.contextmanager
def _bars() -> Iterator[Callable[[str, str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

    tally = Tally()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[red]{task.fields[failed]}"),
        TextColumn("{task.fields[pace]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        bars: dict[str, TaskID] = {}
        shown = 0.0

        def show() -> None:
            for label, n in tally.planned.items():
                if label not in bars:
                    bars[label] = bar.add_task(label, total=n, failed="", pace="")
                failed = f"{tally.failed[label]} failed" if tally.failed[label] else ""
                unfinished = tally.ended[label] < n
                bar.update(
                    bars[label],
                    total=n,
                    completed=tally.ended[label],
                    failed=failed,
                    pace=tally.pace if unfinished else "",
                )

        def note(label: str, state: str) -> None:
            nonlocal shown
            tally.note(label, state)
            if time.monotonic() - shown > _REDRAWN_S:
                shown = time.monotonic()
                show()

        yield note
        show()
