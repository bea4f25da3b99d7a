"""How much memory does this machine have, and how much does a process use?

As Linux tells in /proc; where there is none, nothing is known and nothing is limited.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

__all__ = ["machine_memory", "resident", "times_out_of_memory"]

_PROC = Path("/proc")


@functools.cache
def machine_memory() -> int | None:
    """Tell how much memory this machine has [byte]."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def resident(pid: int) -> int:
    """Tell how much memory a process and all that it started hold [byte].

    What started processes share with it, as after a fork or in shared arrays, counts once.
    """
    total, _ = _pages(pid)
    for below in _descendants(pid):
        held, shared = _pages(below)
        total += max(0, held - shared)
    return total * os.sysconf("SC_PAGE_SIZE")


def times_out_of_memory() -> int:
    """Count how often the kernel has ended a process because memory ran out, since it booted."""
    try:
        text = (_PROC / "vmstat").read_text()
    except OSError:
        return 0
    return next((int(v) for k, v in map(str.split, text.splitlines()) if k == "oom_kill"), 0)


def _pages(pid: int) -> tuple[int, int]:
    """Read the resident pages of a process, and those of them that it shares; man 5 proc."""
    try:
        _, held, shared, *_ = (_PROC / str(pid) / "statm").read_text().split()
    except (OSError, ValueError):
        return 0, 0
    return int(held), int(shared)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    parents = [pid]
    while parents:
        try:
            files = list((_PROC / str(parents.pop()) / "task").glob("*/children"))
            below = [int(child) for file in files for child in file.read_text().split()]
        except OSError:  # it has ended meanwhile
            continue
        found += below
        parents += below
    return found
