"""What is left when there is no room for a file, or for the database itself?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from backbone import endpoints
from backbone.audit import check
from backbone.errors import StorageFull
from butler import Butler, FileDataset
from butler.errors import WriteFailed
from registry.errors import DatabaseUnavailable, SkyspineError
from tests.disks import KIND, SmallDisk, small_disk
from tests.workflow import faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS = {"instrument": "DemoCam", "detector": 1}
REFUSALS = (StorageFull, WriteFailed, DatabaseUnavailable)
TOLD = re.compile("cannot be written|could not be written|No space|is full|refuses to be")
pytestmark = pytest.mark.parametrize("disk", [KIND], indirect=True)


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    """A disk of eight megabytes."""
    with small_disk(8) as made:
        yield made


@pytest.fixture
def elsewhere(disk: SmallDisk, database_url: str) -> Iterator[Butler]:
    """Repository on the small disk, its database on another."""
    with Butler.create(disk.folder / "repo", database_url) as butler:
        faults.fill(butler)
        yield butler


@pytest.fixture
def here(disk: SmallDisk) -> Iterator[Butler]:
    """Repository on the small disk with its SQLite."""
    with Butler.create(disk.folder / "repo") as butler:
        faults.fill(butler)
        yield butler


def refused(butler: Butler, disk: SmallDisk, room: int, target: int) -> bool:
    """Put something on a disk with little room; tell whether it was refused, and cleanly."""
    before = check(butler.registry.database, butler.root, grace=0).n_files
    try:
        with disk.full_but_for(room):
            butler.put({"text": "x" * 3000}, "frame", KEYS, exposure=target, run="more")
    except REFUSALS as error:
        told = str(error)
    else:
        return False
    assert TOLD.search(told), told
    after = check(butler.registry.database, butler.root, grace=0)
    assert (after.n_files, after.findings) == (before, [])
    assert butler.query_datasets("frame", collections="more", exposure=target) == []
    ref = butler.put({"n": target}, "frame", KEYS, exposure=target, run="more")
    assert butler.get(ref) == {"n": target}
    return True


def test_a_put_that_finds_no_room_leaves_nothing(elsewhere: Butler, disk: SmallDisk) -> None:
    elsewhere.collections.register("more")
    assert refused(elsewhere, disk, 0, target=1)


def test_a_database_that_finds_no_room_leaves_nothing(here: Butler, disk: SmallDisk) -> None:
    here.collections.register("more")
    outcomes = [refused(here, disk, room, target=1 + room) for room in range(5)]
    assert outcomes[0]


def test_an_ingest_that_finds_no_room_leaves_nothing(
    elsewhere: Butler, disk: SmallDisk, test_data: Path
) -> None:
    elsewhere.register_instrument("ohp-t152")
    frames = sorted((test_data / "ohp-t152-longslit-2022" / "bias").glob("*.fits.gz"))[:3]
    before = check(elsewhere.registry.database, elsewhere.root, grace=0).n_files
    with disk.full_but_for(4):
        taken = elsewhere.ingest_raws(frames, run="raw")
    assert (taken.refs, len(taken.errors)) == ([], len(frames))
    assert all(isinstance(error, StorageFull) for _, error in taken.errors)
    report = check(elsewhere.registry.database, elsewhere.root, grace=0)
    assert (report.n_files, report.findings) == (before, [])
    assert len(elsewhere.ingest_raws(frames, run="raw").refs) == len(frames)


@pytest.mark.parametrize("transfer", ["copy", "move"])
def test_a_file_for_half_of_which_there_is_room_is_not_taken(
    elsewhere: Butler, disk: SmallDisk, tmp_path: Path, transfer: str
) -> None:
    """A write of less than was asked for is no error yet."""
    theirs = tmp_path / "large.yaml"
    theirs.write_text(f"text: {'x' * 500_000}\n")
    item = FileDataset(theirs, "frame", {**KEYS, "exposure": 1})
    before = check(elsewhere.registry.database, elsewhere.root, grace=0).n_files
    with disk.full_but_for(60), pytest.raises(StorageFull, match="cannot be written"):
        elsewhere.ingest([item], run="more", transfer=transfer)
    report = check(elsewhere.registry.database, elsewhere.root, grace=0, checksums=True)
    assert (report.n_files, report.findings) == (before, [])
    (ref,) = elsewhere.ingest([item], run="more", transfer=transfer).refs
    assert len(elsewhere.get(ref)["text"]) == 500_000


def test_a_copy_for_half_of_which_there_is_room_is_none(
    disk: SmallDisk, database_url: str, tmp_path: Path
) -> None:
    with Butler.create(tmp_path / "repo", database_url) as butler:
        faults.fill(butler)
        butler.registry.database.transact(endpoints.register, "small", str(disk.folder))
        ref = butler.put({"text": "x" * 500_000}, "frame", KEYS, exposure=1, run="more")
        with disk.full_but_for(60), pytest.raises(StorageFull, match="cannot be written"):
            butler.replicate([ref], "small")
        assert butler.withdraw([ref], "root") == (0, 1)
        assert check(butler.registry.database, butler.root, grace=0).findings == []


@pytest.mark.parametrize("room", [0, 9, 40])
def test_a_run_that_finds_no_room_is_continued(here: Butler, disk: SmallDisk, room: int) -> None:
    faults.run(here.root, "calm")
    expected = faults.left_by(here, "calm")
    told = []
    try:
        with disk.full_but_for(room):
            told = [failure.error for failure in faults.run(here.root, "out").failures]
    except SkyspineError as error:
        told.append(str(error))
    assert [text for text in told if not TOLD.search(text)] == []
    faults.assert_sound(here, repair=True)
    faults.resumed(here, "out")
    assert faults.left_by(here, "out") == expected
