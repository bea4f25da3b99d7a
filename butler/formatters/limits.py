"""Does what a file says that it holds fit into this machine's memory?

A file of a few kilobytes may say that it unpacks to terabytes.  Who unpacks asks here first.
"""

from __future__ import annotations

import os
import zlib
from functools import cache

__all__ = ["inflated", "memory", "require_memory"]


@cache
def memory() -> int:
    """Give the physical memory of this machine [byte]."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def require_memory(n_bytes: int, what: str) -> None:
    """Make sure that so many bytes can be held.

    Parameters
    ----------
    n_bytes : int
        Of the object in memory.
    what : str
        What says so, for the message.

    Raises
    ------
    MemoryError
        More than the machine has.
    """
    if n_bytes > memory():
        raise MemoryError(f"{what} says that it holds {n_bytes} bytes of {memory()} that there are")


def inflated(content: bytes, most: int) -> bytes:
    """Undo gzip, for what must not be longer than it says, whatever lies in it.

    Parameters
    ----------
    content : bytes
        Gzipped.
    most : int
        Length that it may have [byte].

    Raises
    ------
    ValueError
        It is longer.
    zlib.error
        It is damaged.
    """
    found = zlib.decompressobj(31).decompress(content, most + 1)
    if len(found) > most:
        raise ValueError(f"a gzipped part of it unpacks to more than the {most} bytes that it may")
    return found
