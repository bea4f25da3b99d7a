"""Do files that others have made become datasets, in every way, all or none of a batch?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from backbone.audit import check
from backbone.staging import checksum
from butler import Butler, FileDataset
from butler.errors import IngestError
from butler.intake import ingest_files
from registry.errors import UnknownDatasetType, UnknownDimensionValue
from workflow.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

N = 7
KEYS = ("instrument", "detector")


@pytest.fixture
def repo(tmp_path: Path, database_url: str) -> Iterator[Butler]:
    with Butler.create(tmp_path / "repo", database_url) as butler:
        butler.registry.insert_dimension_records(
            "instrument", [{"name": "Cam", "detector_max": 100}]
        )
        butler.registry.insert_dimension_records(
            "detector",
            [{"instrument": "Cam", "id": n, "full_name": f"D{n}"} for n in range(3 * N)],
        )
        butler.register_dataset_type("meta", KEYS, "StructuredDataDict")
        yield butler


def made(folder: Path, n_files: int = N, ending: str = "yaml") -> list[FileDataset]:
    """Make files that hold their number."""
    folder.mkdir(parents=True)
    for n in range(n_files):
        (folder / f"{n}.{ending}").write_text(json.dumps({"n": n}))
    return [
        FileDataset(folder / f"{n}.{ending}", "meta", {"instrument": "Cam", "detector": n})
        for n in range(n_files)
    ]


def numbers(butler: Butler, run: str = "in") -> list[int]:
    refs = butler.query_datasets("meta", collections=run, order_by=["detector"])
    return [butler.get(ref)["n"] for ref in refs]


def sound(butler: Butler) -> None:
    report = check(butler.registry.database, butler.root, grace=0, checksums=True)
    assert report.findings == []


@pytest.mark.parametrize("transfer", [w for w in ingest_files.WAYS if w != "in_place"])
@pytest.mark.parametrize("ending", ["yaml", "json"])
def test_every_way(repo: Butler, tmp_path: Path, transfer: str, ending: str) -> None:
    files = made(tmp_path / "theirs", ending=ending)
    before = tmp_path / f"theirs/3.{ending}"
    digest = checksum(before)
    taken = repo.ingest(files, run="in", transfer=transfer)
    assert (len(taken.refs), taken.present) == (N, [])
    assert numbers(repo) == list(range(N))
    own = sorted(p for p in (repo.root / "in").rglob("*") if p.is_file())
    assert len(own) == (0 if transfer == "direct" else N)
    assert {p.suffix for p in own} <= {f".{ending}"}
    assert before.exists() == (transfer != "move")
    assert any(p.is_symlink() for p in own) == (transfer == "symlink")
    assert any(p.stat().st_nlink > 1 for p in own) == (transfer in ("link", "hardlink"))
    sound(repo)
    again = repo.ingest(made(tmp_path / "theirs/again", ending=ending), run="in")
    assert (again.refs, len(again.present)) == ([], N)
    repo.prune(taken.refs, purge=True)
    assert not any((repo.root / "in").rglob(f"*.{ending}"))
    if transfer != "move":
        assert checksum(before) == digest


def test_what_lies_in_the_repository_is_taken_where_it_is(repo: Butler, tmp_path: Path) -> None:
    inside = repo.root / "archive/2026"
    taken = repo.ingest(made(inside), run="in", transfer="in_place")
    assert numbers(repo) == list(range(N))
    sound(repo)
    with pytest.raises(IngestError, match=r"does not lie below .*repo"):
        repo.ingest(made(tmp_path / "outside"), run="other", transfer="in_place")
    repo.prune(taken.refs[:2], purge=True)
    assert sorted(p.name for p in inside.iterdir()) == [f"{n}.yaml" for n in range(2, N)]


def test_several_datasets_in_one_file(repo: Butler, tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(json.dumps({"n": 1}))
    ids = [{"instrument": "Cam", "detector": n} for n in range(3)]
    taken = repo.ingest([FileDataset(path, "meta", ids)], run="in")
    assert len(taken.refs) == 3
    assert numbers(repo) == [1, 1, 1]
    sound(repo)
    (held,) = [p for p in (repo.root / "in").rglob("*") if p.is_file()]
    repo.prune(taken.refs[:2], purge=True)
    assert held.exists()  # the third is in it
    assert numbers(repo) == [1]
    sound(repo)
    with pytest.raises(IngestError, match=r"Of the 3 datasets in .*, 1 are in 'in' already"):
        repo.ingest([FileDataset(path, "meta", ids)], run="in")
    repo.prune(taken.refs[2:], purge=True)
    assert not held.exists()


@pytest.mark.parametrize("transfer", ["copy", "direct"])
def test_of_a_batch_all_or_nothing(
    repo: Butler, tmp_path: Path, transfer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_files, "_BATCH", 3)
    monkeypatch.setattr(ingest_files, "_COPIED_BATCH", 3)
    files = made(tmp_path / "theirs")
    (tmp_path / "theirs/4.yaml").rename(tmp_path / "aside")
    told: list[tuple[int, int]] = []
    options: dict[str, Any] = {"transfer": transfer, "progress": lambda *done: told.append(done)}
    with pytest.raises(
        IngestError, match=r"no file .*4\.yaml: the first is not there; nothing of this batch of 3"
    ):
        repo.ingest(files, run="in", **options)
    assert (numbers(repo), told) == ([0, 1, 2], [(3, N)])
    sound(repo)
    (tmp_path / "aside").rename(tmp_path / "theirs/4.yaml")
    taken = repo.ingest(files, run="in", **options)
    assert (len(taken.refs), len(taken.present)) == (N - 3, 3)
    assert numbers(repo) == list(range(N))
    unknown = FileDataset(files[0].path, "meta", {"instrument": "Cam", "detector": 99})
    with pytest.raises(UnknownDimensionValue, match="99"):
        repo.ingest([*made(tmp_path / "more", 2), unknown], run="more", transfer=transfer)
    assert repo.collections.query("more") == []
    sound(repo)


def test_mistakes(repo: Butler, tmp_path: Path) -> None:
    files = made(tmp_path / "theirs")
    same = FileDataset(tmp_path / "theirs/1.yaml", "meta", files[0].data_ids)
    with pytest.raises(IngestError, match=r"1\.yaml and .*0\.yaml are both meta"):
        repo.ingest([*files[:1], same], run="in")
    with pytest.raises(IngestError, match="'copi' is no way .*'copy'"):
        repo.ingest(files, run="in", transfer="copi")
    with pytest.raises(UnknownDatasetType, match="'meta'"):
        repo.ingest([FileDataset(files[0].path, "mata", files[0].data_ids)], run="in")
    with pytest.raises(IngestError, match="no data ID"):
        repo.ingest([FileDataset(files[0].path, "meta", [])], run="in")
    assert repo.collections.query("in") == []


def test_nothing_is_read_when_no_checksum_is_asked_for(repo: Butler, tmp_path: Path) -> None:
    files = made(tmp_path / "theirs")
    repo.ingest(files, run="in", transfer="direct", checksums=False)
    assert numbers(repo) == list(range(N))
    path = Path(files[0].path)
    path.write_text(path.read_text() + " ")
    found = check(repo.registry.database, repo.root, grace=0).findings
    assert [f.problem for f in found] == ["size"]


def test_in_a_larger_transaction(repo: Butler, tmp_path: Path) -> None:
    def all_undone() -> None:
        with repo.transaction():
            repo.ingest(made(tmp_path / "theirs"), run="in", transfer="move")
            assert len(repo.query_datasets("meta", collections="in")) == N
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        all_undone()
    assert len(list((tmp_path / "theirs").iterdir())) == N
    assert not any(p.is_file() for p in (repo.root / "in").rglob("*"))
    sound(repo)


def test_the_command(repo: Butler, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path / "theirs")
    table = tmp_path / "theirs/list.csv"
    table.write_text("path, detector\n" + "".join(f"{n}.yaml, {n}\n" for n in range(N)))
    arguments = ["ingest-files", str(repo.root), "meta", str(table), "--run", "in"]

    def ended(*more: str) -> tuple[int | str | None, str]:
        with pytest.raises(SystemExit) as left:
            main([*arguments, *more])
        said = capsys.readouterr()
        return left.value.code, said.out + said.err

    status, said = ended()
    assert (status, "instrument" in said) == (1, True)
    for told in (f"{N} datasets into 'in'; 0 files", f"0 datasets into 'in'; {N} files"):
        status, said = ended("--data-id", "instrument=Cam")
        assert (status, told in said) == (0, True)
    assert numbers(repo) == list(range(N))
    table.write_text("file,detector\n0.yaml,0\n")
    status, said = ended()
    assert (status, "no column 'path', but 'file', 'detector'" in said) == (2, True)
