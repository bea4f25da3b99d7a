"""What becomes of files that change, that cannot be read, or that somebody needs already?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from backbone import endpoints, staging
from backbone.audit import check
from backbone.errors import ChangedFile, StorageFull, UnreadableFile
from butler import Butler, FileDataset
from butler.errors import DamagedFile, IngestError
from butler.intake import ingest_files

if TYPE_CHECKING:
    from registry.identity import DatasetRef

KEYS = {"instrument": "DemoCam"}


def item(path: Path | str, detector: int = 1) -> FileDataset:
    return FileDataset(path, "summary", {**KEYS, "detector": detector})


def put(butler: Butler, detector: int) -> tuple[DatasetRef, Path]:
    """Put something; also give its file."""
    ref = butler.put({"n": detector}, "summary", KEYS, detector=detector)
    (path,) = butler.root.rglob(f"*{ref.id.hex[-12:]}.yaml")
    return ref, path


def problems(butler: Butler) -> list[str]:
    report = check(butler.registry.database, butler.root, grace=0, checksums=True)
    return [finding.problem for finding in report.findings]


@pytest.mark.parametrize("transfer", ["copy", "hardlink", "symlink", "direct"])
def test_a_file_that_grows_is_taken_when_it_is_whole(
    butler: Butler, tmp_path: Path, transfer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "growing.yaml"
    path.write_text("text: yes")
    read = staging._read  # noqa: SLF001

    def read_while_it_grows(*what: Any) -> bytes:
        if path.stat().st_size < 12:
            with path.open("a") as file:
                file.write(", no")
        return read(*what)

    monkeypatch.setattr(staging, "_read", read_while_it_grows)
    with pytest.raises(ChangedFile, match=r"was changed while it was read \(9 bytes before, 13"):
        butler.ingest([item(path)], run="in", transfer=transfer)
    assert problems(butler) == []
    (ref,) = butler.ingest([item(path)], run="in", transfer=transfer).refs
    assert butler.get(ref) == {"text": "yes, no"}
    assert problems(butler) == []


@pytest.mark.parametrize("transfer", ["copy", "direct"])
def test_a_file_that_its_disk_does_not_give_is_named(butler: Butler, transfer: str) -> None:
    """The system refuses to read this one's first byte, as a bad disk does."""
    with pytest.raises(UnreadableFile, match="/proc/self/mem cannot be read: Input/output error"):
        butler.ingest([item("/proc/self/mem")], run="in", transfer=transfer)
    assert problems(butler) == []


def test_a_copy_that_its_disk_does_not_give_is_had_from_another(
    butler: Butler, tmp_path: Path
) -> None:
    for name in ("near", "far"):
        (tmp_path / name).mkdir()
        butler.registry.database.transact(endpoints.register, name, str(tmp_path / name))
    ref, path = put(butler, 1)
    butler.replicate([ref], "near")
    path.unlink()
    path.symlink_to("/proc/self/mem")
    assert butler.replicate([ref], "far").sent == 1
    assert butler.get(ref) == {"n": 1}


@pytest.mark.parametrize("other", ["pipe", "endless"])
def test_what_is_no_file_any_more_is_not_waited_for(
    butler: Butler, tmp_path: Path, other: str
) -> None:
    (tmp_path / "far").mkdir()
    butler.registry.database.transact(endpoints.register, "far", str(tmp_path / "far"))
    ref, path = put(butler, 1)
    path.unlink()
    if other == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(DamagedFile, match="is a pipe or a device, and no file"):
        butler.get(ref)
    with pytest.raises(UnreadableFile, match="is a pipe or a device, and no file"):
        butler.replicate([ref], "far")
    with pytest.raises(UnreadableFile, match="is a pipe or a device, and no file"):
        butler.export(tmp_path / "out", [ref])
    assert problems(butler) == ["missing"]
    check(butler.registry.database, butler.root, grace=0, repair=True)
    assert not butler.exists(ref)
    butler.prune([ref], purge=True)
    assert problems(butler) == []


@pytest.mark.parametrize("transfer", ingest_files.WAYS)
def test_what_is_no_file_is_not_taken(butler: Butler, transfer: str) -> None:
    folder, pipe = butler.root / "folder.yaml", butler.root / "pipe.yaml"
    folder.mkdir()
    os.mkfifo(pipe)
    for place in (folder, pipe, "/dev/zero"):
        with pytest.raises(IngestError, match="is a folder or a device, and no file"):
            butler.ingest([item(place)], run="in", transfer=transfer)
    with pytest.raises(IngestError, match="the first is not there"):
        butler.ingest([item("a\0b")], run="in", transfer=transfer)


def test_a_pipe_is_no_raw_frame(butler: Butler, tmp_path: Path) -> None:
    pipe = tmp_path / "democam_20250310_0001_D1.fits"
    os.mkfifo(pipe)
    (tmp_path / "round").symlink_to(tmp_path / "round")
    for given, told in (
        (pipe, "is a pipe or a device, and no file"),
        (Path("/dev/zero"), "is a pipe or a device, and no file"),
        (tmp_path / "round", "There is no file or folder .*round: Too many levels"),
        (tmp_path / ("x" * 300), "Nothing can be read of .*: File name too long"),
        (tmp_path / "a\0b", "No file is called"),
    ):
        with pytest.raises(IngestError, match=told):
            butler.ingest_raws([given], run="raw")


def test_a_file_that_cannot_be_linked_says_what_can_be_done(butler: Butler) -> None:
    far = Path("/proc/self/status")  # on a file system of its own
    with pytest.raises(StorageFull, match=r"status cannot be linked .*transfer='link'"):
        butler.ingest([item(far)], run="in", transfer="hardlink")
    assert problems(butler) == []


@pytest.mark.parametrize("transfer", ["move", "direct", "symlink"])
def test_what_a_dataset_has_is_not_taken_from_it(
    butler: Butler, tmp_path: Path, transfer: str
) -> None:
    ref, path = put(butler, 1)
    (tmp_path / "other").symlink_to(path.parent)
    for place in (path, Path(os.path.relpath(path)), tmp_path / "other" / path.name):
        with pytest.raises(IngestError, match="is the file of a dataset of this repository"):
            butler.ingest([item(place, 2)], run="in", transfer=transfer)
        named = butler.ingest_named(
            [place], "summary", template="summary_DemoCam_{detector}_{file}", transfer=transfer,
            run="in",
        )  # fmt: skip
        assert [type(error) for _, error in named.errors] == [IngestError]
    assert butler.get(ref) == {"n": 1}
    (copied,) = butler.ingest([item(path, 2)], run="in", transfer="copy").refs
    butler.prune([ref], purge=True)
    assert butler.get(copied) == {"n": 1}


def test_what_was_taken_directly_is_not_moved_away(butler: Butler, tmp_path: Path) -> None:
    path = tmp_path / "theirs.yaml"
    path.write_text("n: 1")
    (ref,) = butler.ingest([item(path)], run="in", transfer="direct").refs
    with pytest.raises(IngestError, match="which would lose it"):
        butler.ingest([item(path, 2)], run="in", transfer="move")
    assert butler.get(ref) == {"n": 1}


def test_what_a_repository_needs_is_no_dataset(butler: Butler) -> None:
    """A dataset is removed with its file."""
    inner = butler.root / "theirs"
    with Butler.create(inner) as other:
        other.register_dataset_type("note", (), "StructuredDataDict")
        other.put({"n": 1}, "note", run="r")
    kept = [butler.root / "skyspine.yaml", *inner.rglob("*.yaml")]
    kept += [path for path in butler.root.glob("registry.sqlite3*") if path.is_file()]
    assert len(kept) >= 3
    for path in kept:
        with pytest.raises(IngestError, match="belongs to a repository itself"):
            butler.ingest([item(path)], run="in", transfer="in_place")
    assert butler.query_datasets("summary", collections="*") == []
