"""What is a person told whose program waits for a database?

A line of logging, once, when it has waited for some seconds; without any logging set up it appears
on standard error.
"""

from __future__ import annotations

import logging
from pathlib import Path

__all__ = ["SAY_AFTER", "say", "writer_of"]

SAY_AFTER = 5.0
"""From when on it is told [s]."""
_WRITE_LOCK = "120"
"""The byte of the shared-memory file of SQLite that whoever writes has locked."""

_log = logging.getLogger("skyspine.database")


def say(text: str) -> None:
    """Tell what is waited for."""
    _log.warning(text)


def writer_of(file: Path) -> str:
    """Name the process that is writing to a database of SQLite, where the system tells (Linux).

    The file is not opened: to close it again would take the locks of this process away.
    """
    try:
        inode = str(file.with_name(f"{file.name}-shm").stat().st_ino)
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return "another process"
    for line in locks:
        parts = line.split()
        if "->" in parts or len(parts) < 8 or parts[3] != "WRITE":
            continue
        if parts[5].rpartition(":")[2] == inode and parts[6] == _WRITE_LOCK and int(parts[4]) > 0:
            return f"process {parts[4]}"
    return "another process"
