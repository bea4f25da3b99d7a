"""How is something done before whatever is executed next on a connection?

For what waits to be written, and must be there before anybody can ask for it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["attended"]


@contextlib.contextmanager
def attended(
    connection: sa.Connection,
    before: Callable[[bool], object],
    undone: Callable[[], object],
) -> Iterator[None]:
    """Tell of each statement of a connection before it is executed.

    Parameters
    ----------
    before : callable
        Takes whether the statement only asks; one for which that is not sure does not.  May execute
        others, and is told of them too.
    undone : callable
        Called before what was done since a savepoint is undone.
    """

    def executing(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        before(statement.startswith("SELECT"))

    def rolling_back(*_: Any) -> None:
        undone()

    listeners = {"before_cursor_execute": executing, "rollback_savepoint": rolling_back}
    for event, listener in listeners.items():
        sa.event.listen(connection, event, listener)
    try:
        yield
    finally:
        for event, listener in listeners.items():
            sa.event.remove(connection, event, listener)
