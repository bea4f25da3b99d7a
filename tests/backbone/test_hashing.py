"""Is the checksum of a file the one of what lies in it, however it was written?"""

from __future__ import annotations

import hashlib
import os
import random
import threading
from typing import TYPE_CHECKING

import pytest

from backbone.hashing import KEPT, HashedStream

if TYPE_CHECKING:
    from pathlib import Path

SIZES = (1, 100, 2_000, 70_000, 300_000)


def opened(path: Path) -> HashedStream:
    return HashedStream(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))


def measured(path: Path) -> tuple[int, str]:
    content = path.read_bytes()
    return len(content), f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize("seed", range(4))
def test_pieces_of_every_kind_and_size(tmp_path: Path, seed: int) -> None:
    chosen = random.Random(seed)
    path, expected = tmp_path / "x", hashlib.sha256()
    ring = [bytearray(max(SIZES)) for _ in range(KEPT + 1)]
    reused, n_kept, total = bytearray(max(SIZES)), 0, 0
    with opened(path) as stream:
        for _ in range(60):
            piece = chosen.randbytes(chosen.choice(SIZES))
            expected.update(piece)
            total += len(piece)
            match chosen.choice(["bytes", "changed", "kept"]):
                case "bytes":
                    assert stream.write(piece) == len(piece)
                case "changed":
                    reused[: len(piece)] = piece
                    stream.write(memoryview(reused)[: len(piece)])
                    reused[: len(piece)] = bytes(len(piece))
                case "kept":
                    buffer = ring[n_kept % len(ring)]
                    buffer[: len(piece)] = piece
                    stream.write_kept(memoryview(buffer)[: len(piece)])
                    n_kept += 1
        found = stream.size_and_checksum()
    assert found == (total, f"sha256:{expected.hexdigest()}") == measured(path)


@pytest.mark.parametrize("length", [10, 200_000])
def test_what_is_written_over_counts_as_it_is_at_the_end(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x"
    with opened(path) as stream:
        for _ in range(3):
            stream.write(b"a" * length)
        stream.seek(length // 2)
        stream.write(b"b" * length)
        stream.write_kept(bytearray(b"c" * length))
        stream.truncate(2 * length)
        found = stream.size_and_checksum()
    assert found == measured(path)
    assert found[0] == 2 * length


def test_the_checksum_may_be_asked_for_in_between(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with opened(path) as stream:
        for n in range(4):
            stream.write(bytes([n]) * 100_000)
            stream.write(bytes([n]) * 10)
            assert stream.size_and_checksum() == measured(path)


def test_a_file_that_was_given_up_leaves_no_thread_behind(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    stream = opened(tmp_path / "x")
    stream.write(b"a" * 1_000_000)
    assert set(threading.enumerate()) > before
    stream.close()
    assert set(threading.enumerate()) == before
