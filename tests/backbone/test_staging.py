"""Do two that bring the same file keep out of each other's way?"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from backbone import endpoints
from backbone.errors import ChangedFile
from backbone.fetching import bring
from backbone.files import Stored
from backbone.staging import StagedFile
from registry.identity import uuid7

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATH = "run/table_0123456789ab.parquet"
OURS, THEIRS = [b"ours, ", b"whole"], [b"theirs, ", b"whole"]


def test_what_one_is_writing_no_other_goes_on_with(tmp_path: Path) -> None:
    one, other = StagedFile(tmp_path, PATH), StagedFile(tmp_path, PATH)

    def pieces(start: int) -> Iterator[bytes]:
        assert start == 0
        yield OURS[0]
        assert other.go_on(lambda start: THEIRS[start:])[:2] == (0, len(b"".join(THEIRS)))
        yield OURS[1]

    one.go_on(pieces)
    one.settle()
    assert one.final.read_bytes() == b"".join(OURS)
    other.settle()
    assert other.final.read_bytes() == b"".join(THEIRS)
    assert list(tmp_path.rglob("*")) == [one.final.parent, one.final]


def test_what_a_dead_one_has_left_is_gone_on_with(tmp_path: Path) -> None:
    staged = StagedFile(tmp_path, PATH)
    staged.temporary.write_bytes(OURS[0])
    began, size, _ = staged.go_on(lambda start: [OURS[1]] if start == len(OURS[0]) else [])
    assert (began, size) == (len(OURS[0]), len(b"".join(OURS)))


def test_a_file_system_without_locks_takes_a_name_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    one, other = StagedFile(tmp_path, PATH), StagedFile(tmp_path, PATH)
    one.go_on(lambda start: OURS[start:])
    other.go_on(lambda start: THEIRS[start:])
    assert one.temporary != other.temporary
    assert one.temporary.read_bytes() == b"".join(OURS)
    assert other.temporary.read_bytes() == b"".join(THEIRS)


def test_who_fails_leaves_what_another_has_brought(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    at = endpoints.Endpoint(1, "here", str(tmp_path), owned=True)
    copy = Stored(1, uuid7(), "", "source", 1, None, "text", at)
    one, other = StagedFile(tmp_path, PATH), StagedFile(tmp_path, PATH)
    bring([copy], tmp_path, one)
    bring([copy], tmp_path, other)
    assert one.temporary != other.temporary
    one.settle()
    other.abandon()
    assert one.final.read_bytes() == b"x"
    with pytest.raises(ChangedFile):
        other.copy(source, 2, None)
    assert sorted(p.name for p in one.final.parent.iterdir()) == [one.final.name]
    one.abandon()
    assert not one.final.exists()
