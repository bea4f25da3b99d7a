"""How do processes that work on a part of a quantum log with it, wherever they run?

What is logged in the ranks of a multi-node task and in the worker processes of a `pmap` belongs to
the quantum of the process that started them. `elsewhere` takes along how this process logs, and for
which quantum; each of the others writes its records itself, through a bounded queue of its own, so
that nothing passes through the one that started it and what a killed one has written is there.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from workflow.logs import context
from workflow.logs.setup import Capture, capture, close, configure, in_force, tell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workflow.logs.settings import Settings

__all__ = ["Elsewhere", "elsewhere"]


class Elsewhere:
    """How a process logs and what is bound there, to be taken to another by pickle.

    Parameters
    ----------
    settings : Settings or None
        Those in force.
    url : str or None
        Of the database that keeps the records of the quantum.
    keys : dict
        What is bound.
    """

    def __init__(self, settings: Settings | None, url: str | None, keys: dict[str, Any]) -> None:
        self.settings = settings
        self.url = url
        self.keys = keys
        self._arrived = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _arrived=True)

    @property
    def modules(self) -> tuple[str, ...]:
        """What a process imports to log so."""
        return ("workflow.logs.sinks",) if self.url else ()

    @contextlib.contextmanager
    def here(self, **keys: Any) -> Iterator[None]:
        """Log as there, with more keys; another process goes on to do so to its end."""
        if not self._arrived:
            with context.bound(**keys):
                yield
            return
        if self.settings is not None and in_force() is None:
            configure(self.settings)
        context.on_every_record()
        bound = {**self.keys, **keys}
        kept = capture(self.url).quantum(**bound) if self.url else context.bound(**bound)
        with kept:
            yield

    def end(self) -> None:
        """Write what waits in another process, and tell on standard error what was lost."""
        if self._arrived:
            tell(close())


def elsewhere() -> Elsewhere:
    """Take along how this process logs, and the quantum that is executed here, if any."""
    here = context.current()
    url = here.capture.url if isinstance(here.capture, Capture) else None
    return Elsewhere(in_force(), url, dict(here))
