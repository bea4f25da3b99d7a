"""How does a child process notice that nobody needs it any more?

The process that starts it keeps one end of a connection, and the child waits at the other: when
that process dies, however it dies, its end is closed and the child ends too.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__ = ["end_with"]


def end_with(leash: Connection) -> None:
    """End this process at once when the other end of a connection is closed; never returns."""
    leash.poll(None)
    os._exit(1)
