"""How does a long command show that it lives: on a terminal a bar, in a pipe nothing."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["counting", "quanta"]


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


@contextlib.contextmanager
def quanta() -> Iterator[Callable[[str, str], None] | None]:
    """Show one bar per task; gives the function to call with label and state."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, TaskID

    with Progress(console=Console(stderr=True)) as bar:
        bars: dict[str, TaskID] = {}
        totals: dict[str, int] = {}

        def told(label: str, state: str) -> None:
            if label not in bars:
                bars[label] = bar.add_task(label, total=0)
                totals[label] = 0
            if state == "ready":
                totals[label] += 1
                bar.update(bars[label], total=totals[label])
            else:
                bar.advance(bars[label])

        yield told
