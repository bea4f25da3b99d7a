"""Which instrument, exposure, detector and quantum is a log record about?

Keys are bound for a stretch of code and are on every record that is made in it, in this thread or
asynchronous task, whoever makes it. A thread that is started inside has them when its function is
`carried`; while a process executes one quantum at a time, its other threads have the quantum's.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "ATTRIBUTE",
    "Bound",
    "bound",
    "carried",
    "current",
    "executing",
    "of",
    "on_every_record",
]

P = ParamSpec("P")
T = TypeVar("T")

ATTRIBUTE = "log_context"
"""Name of the attribute of a `logging.LogRecord`."""


class Bound(dict[str, Any]):
    """The keys that are bound, and what captures the records of the quantum among them."""

    capture: object = None


_NONE = Bound()
_bound: ContextVar[Bound] = ContextVar("skyspine_log_context", default=_NONE)
_executing: list[Bound] = []


def current() -> Bound:
    """Tell what is bound here."""
    here = _bound.get()
    if not here and len(_executing) == 1:
        return _executing[0]
    return here


@contextlib.contextmanager
def bound(**keys: Any) -> Iterator[None]:
    """Put keys on every record of a ``with`` block, beside those that are bound around it.

    Examples
    --------
    >>> with bound(instrument="DemoCam", exposure=7), bound(detector=3):
    ...     dict(current())
    {'instrument': 'DemoCam', 'exposure': 7, 'detector': 3}
    """
    around = current()
    inside = Bound(around, **keys)
    inside.capture = around.capture
    token = _bound.set(inside)
    try:
        yield
    finally:
        _bound.reset(token)


@contextlib.contextmanager
def executing(capture: object, keys: dict[str, Any]) -> Iterator[None]:
    """Put the keys of a quantum on every record while it is executed, and name their keeper."""
    inside = Bound(keys)
    inside.capture = capture
    token = _bound.set(inside)
    _executing.append(inside)
    try:
        yield
    finally:
        _executing.remove(inside)
        _bound.reset(token)


def carried(function: Callable[P, T]) -> Callable[P, T]:
    """Give a function that has the keys that are bound now, in whichever thread it is called.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with bound(detector=3), ThreadPoolExecutor() as pool:
    ...     dict(pool.submit(carried(current)).result())
    {'detector': 3}
    """
    here = current()

    @functools.wraps(function)
    def there(*args: P.args, **kwargs: P.kwargs) -> T:
        token = _bound.set(here)
        try:
            return function(*args, **kwargs)
        finally:
            _bound.reset(token)

    return there


def of(record: logging.LogRecord) -> Bound:
    """Tell what was bound where a record was made."""
    found: Bound = record.__dict__.get(ATTRIBUTE) or _NONE
    return found


def on_every_record() -> None:
    """Let every log record of this process carry what is bound; more than once is once."""
    inner = logging.getLogRecordFactory()
    if getattr(inner, "binds", False):
        return

    def made(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = inner(*args, **kwargs)
        record.__dict__[ATTRIBUTE] = current()
        return record

    made.binds = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(made)
