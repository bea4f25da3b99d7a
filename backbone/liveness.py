"""Is the process that took something still at work?

A process number alone does not tell: numbers are given again, and a process that was killed stays
in the table until its parent has asked for it.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping

__all__ = ["at_work", "is_gone"]

_SLACK = 60.0
"""The system's clock may have been set since [s]."""


def is_gone(host: str | None, pid: int | None, since: dt.datetime | None = None) -> bool:
    """Tell whether a process of this machine has ended.

    Parameters
    ----------
    host : str
        Machine that it ran on; of another one nothing is known, and it counts as alive.
    pid : int
        Its number.
    since : datetime, optional
        When it was at work; a process that began later is another one.
    """
    if host is None or pid is None:
        return True
    if host != platform.node():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return _is_another(pid, since)


def at_work(quanta: Iterable[Mapping[str, Any]]) -> list[int]:
    """List the processes of this machine, other than this one, that work on running quanta.

    Parameters
    ----------
    quanta : iterable of mappings
        With ``state``, ``host``, ``pid`` and ``started_at``; those that do not run are passed over.
    """
    return sorted(
        {
            q["pid"]
            for q in quanta
            if q["state"] == "running"
            and q["host"] == platform.node()
            and q["pid"] != os.getpid()
            and not is_gone(q["host"], q["pid"], q["started_at"])
        }
    )


def _is_another(pid: int, since: dt.datetime | None) -> bool:
    """Look into /proc, where there is one; layout of its files: man 5 proc."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        booted = next(
            int(line.split()[1])
            for line in Path("/proc/stat").read_text().splitlines()
            if line.startswith("btime ")
        )
    except (OSError, StopIteration):
        return False
    if status[0] in "ZX":
        return True
    began = booted + int(status[19]) / os.sysconf("SC_CLK_TCK")
    return since is not None and began > since.timestamp() + _SLACK
