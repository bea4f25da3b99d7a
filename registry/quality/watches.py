"""Who watches an output?  One process at a time, so that nothing is measured twice."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import sqlalchemy as sa

from registry.database import account, insert_rows, lock_rows, utc_now
from registry.errors import InvalidState
from registry.schema.quality import quality_watch

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

__all__ = ["begin", "end", "still"]

_W = quality_watch.c
PATIENCE = 10
"""A watch on another machine is over when it did not look so many times."""
LEAST = 600.0
"""And not before this [s]: a look takes as long as its tasks."""


def begin(
    connection: sa.Connection,
    output: str,
    pid: int,
    every: float,
    is_gone: Callable[[str, int, dt.datetime], bool],
) -> None:
    """Take the watch of an output for a process of this machine.

    Parameters
    ----------
    every : float
        How often it will look [s].
    is_gone : callable
        Tells of host, process and time whether that process has ended; of other machines it
        cannot know.

    Raises
    ------
    InvalidState
        If another process has it.
    """
    asked = sa.select(quality_watch).where(_W.output == output)
    found = connection.execute(lock_rows(asked, connection)).first()
    now = utc_now()
    if found is not None:
        silent = (now - found.seen_at).total_seconds() > max(PATIENCE * found.every_s, LEAST)
        away = found.host != platform.node() and silent
        if not (away or is_gone(found.host, found.pid, found.since)):
            raise InvalidState(
                f"'{output}' is watched already, by {found.watched_by} (process {found.pid} on "
                f"{found.host}, which last looked at {found.seen_at:%Y-%m-%d %H:%M:%S} UTC); end "
                "that one first, or name another output."
            )
        connection.execute(sa.delete(quality_watch).where(_W.output == output))
    row = {
        "output": output,
        "host": platform.node(),
        "pid": pid,
        "watched_by": account(),
        "since": now,
        "seen_at": now,
        "every_s": every,
    }
    insert_rows(connection, quality_watch, [row])


def still(connection: sa.Connection, output: str, pid: int) -> None:
    """Note that a process of this machine still watches.

    Raises
    ------
    InvalidState
        If another has taken the watch.
    """
    mine = (_W.output == output, _W.host == platform.node(), _W.pid == pid)
    if connection.execute(sa.update(quality_watch).where(*mine).values(seen_at=utc_now())).rowcount:
        return
    raise InvalidState(
        f"Another process has taken the watch of '{output}' over, because this one was silent for "
        "long; nothing is lost, and there is nothing more to do here."
    )


def end(connection: sa.Connection, output: str, pid: int) -> None:
    """Give the watch of a process of this machine back."""
    connection.execute(
        sa.delete(quality_watch).where(
            _W.output == output, _W.host == platform.node(), _W.pid == pid
        )
    )
