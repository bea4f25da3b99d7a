"""Programs that read through one cache at the same time, or die while they fetch."""

from __future__ import annotations

import hashlib
from pathlib import Path

from backbone.endpoints import Endpoint
from backbone.file_cache import FileCache
from backbone.files import Stored
from registry.identity import uuid7
from tests.nursery import MomentsOfRequests

N_FILES = 6
SIZE = 20_000


def content(n: int) -> bytes:
    """Give what is in a file."""
    return bytes([n]) * SIZE


def stored(root: str, n: int) -> Stored:
    """Give a file at a server, with its checksum."""
    digest = hashlib.sha256(content(n)).hexdigest()
    where = Endpoint(7, "far", root, owned=True)
    return Stored(n, uuid7(), "", f"{n}.bin", SIZE, f"sha256:{digest}", "text", where)


def reads(root: str, folder: str, limit: int, rounds: int) -> None:
    """Read all files several times, and say what was not as it should be."""
    cache = FileCache(Path(folder), limit)
    for n in [n % N_FILES for n in range(rounds * N_FILES)]:
        with cache.reading(stored(root, n)) as place:
            found = None if place is None else place.read_bytes()
            again = found if place is None else place.read_bytes()
        if found not in (None, content(n)) or again != found:
            print(f"{n} was not whole")  # noqa: T201


def dies(root: str, folder: str, last: int) -> None:
    """Read all files once, and die at a moment."""
    moments = MomentsOfRequests(last)
    reads(root, folder, 3 * SIZE, 1)
    print(moments.count)  # noqa: T201
