"""Does a check look after further folders, and only after those that are this repository's?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import backbone.audit
from backbone import endpoints
from backbone.audit import check
from backbone.errors import EndpointConflict
from backbone.owners import OWNER
from butler import Butler
from registry.identity import uuid7

if TYPE_CHECKING:
    from pathlib import Path

    from backbone.audit import Report
    from registry.identity import DatasetRef

VALUE = {"text": "x" * 500}


@pytest.fixture
def folder(butler: Butler, tmp_path: Path) -> Path:
    """The endpoint `far`."""
    made = tmp_path / "far"
    made.mkdir()
    butler.registry.database.transact(endpoints.register, "far", str(made))
    return made


def put(butler: Butler, target: str, endpoint: str = "far") -> DatasetRef:
    return butler.put(
        VALUE, "summary", instrument="DemoCam", detector=1, target=target, endpoint=endpoint
    )


def checked(butler: Butler, *, repair: bool = False, grace: float = 0) -> Report:
    return check(butler.registry.database, butler.root, grace=grace, repair=repair, checksums=True)


def found(report: Report) -> set[tuple[str, str]]:
    return {(f.problem, f.what) for f in report.findings}


def test_what_nothing_refers_to_is_removed(butler: Butler, folder: Path) -> None:
    ref = put(butler, "M31")
    (mine,) = folder.rglob("*.yaml")
    orphan = mine.with_name(f"left_{uuid7().hex[-12:]}.yaml")
    part = mine.with_name(f".{orphan.name}.part")
    for path in (orphan, part, folder / "notes.txt"):
        path.write_text("left by a process that was killed")
    assert found(checked(butler, grace=600)) == set()
    wrong = {("orphan", str(orphan)), ("unfinished", str(part))}
    assert found(checked(butler)) == found(checked(butler, repair=True)) == wrong
    report = checked(butler)
    assert (report.n_copies, report.n_files, report.findings) == (1, 1, [])
    assert butler.get(ref) == VALUE
    assert (folder / "notes.txt").exists()


def test_a_folder_within_the_repository_is_looked_at_once(butler: Butler) -> None:
    inner = butler.root / "archive"
    inner.mkdir()
    butler.registry.database.transact(endpoints.register, "inner", str(inner))
    put(butler, "M31", "inner")
    put(butler, "M33", "root")
    orphan = inner / f"left_{uuid7().hex[-12:]}.yaml"
    orphan.touch()
    report = checked(butler, repair=True)
    assert found(report) == {("orphan", str(orphan))}
    assert (report.n_copies, report.n_files) == (2, 3)


def test_files_of_another_repository_are_left_alone(
    butler: Butler, folder: Path, tmp_path: Path
) -> None:
    with Butler.create(tmp_path / "theirs") as other:
        register = other.registry.database.transact
        with pytest.raises(EndpointConflict, match="holds files of another repository"):
            register(endpoints.register, "shared", str(folder))
        # as one that was registered on another machine, where the folder was empty
        register(endpoints.add, "shared", str(folder), owned=True)
        put(butler, "M31")
        assert checked(other, repair=True).findings == []
    assert checked(butler).findings == []
    (folder / OWNER).write_text("me")
    assert {f.problem for f in checked(butler, repair=True).findings} == {"unreachable"}


def test_a_folder_is_one_endpoint_by_whatever_name(
    butler: Butler, folder: Path, tmp_path: Path
) -> None:
    (folder / "inner").mkdir()
    (tmp_path / "link").symlink_to(folder)
    register = butler.registry.database.transact
    for root in (folder, f"{folder}/", folder / "inner/..", tmp_path / "link"):
        for owned in (True, False):
            with pytest.raises(EndpointConflict, match="is the endpoint 'far' already"):
                register(endpoints.register, "again", str(root), owned=owned)
    with pytest.raises(EndpointConflict, match="is the folder of a repository"):
        register(endpoints.register, "again", str(butler.root))
    register(endpoints.register, "far", str(folder))
    ref = put(butler, "M31")
    assert butler.withdraw([ref], "far") == (0, 1)
    assert butler.get(ref) == VALUE


def test_what_lies_below_is_looked_at_by_whom_it_belongs_to(butler: Butler, folder: Path) -> None:
    mine = put(butler, "M31")
    (butler.root / "archive").mkdir()
    for place in (folder / "theirs", butler.root / "archive" / "theirs"):
        with Butler.create(place) as other:
            other.register_dataset_type("summary", (), "StructuredDataDict")
            ref = other.put(VALUE, "summary", run="theirs")
            orphan = place / f"left_{uuid7().hex[-12:]}.yaml"
            orphan.touch()
            assert found(checked(butler, repair=True)) == set()
            assert found(checked(other)) == {("orphan", str(orphan))}
            assert other.get(ref) == VALUE
    assert butler.get(mine) == VALUE


def test_what_is_out_of_use_or_not_mounted_is_not_lost(butler: Butler, folder: Path) -> None:
    ref = put(butler, "M31")
    away = folder.rename(folder.with_name("elsewhere"))
    report = checked(butler, repair=True)
    assert [(f.problem, f.repaired) for f in report.findings] == [("unreachable", False)]
    assert "is it mounted?" in report.findings[0].what
    butler.prune([put(butler, "M33", "root")], purge=True)
    butler.registry.database.transact(endpoints.switch, "far", online=False)
    assert checked(butler, repair=True).findings == []
    away.rename(folder)
    butler.registry.database.transact(endpoints.switch, "far", online=True)
    assert butler.get(ref) == VALUE
    assert checked(butler).findings == []


def test_old_files_that_readers_may_have_looked_up_stay_for_a_while(
    butler: Butler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may be older than the grace, and be trash for a moment only."""
    ref = put(butler, "M31", "root")
    (old,) = butler.root.rglob("summary*.yaml")
    assert butler.convert([ref], format="json").n_files == 1
    monkeypatch.setattr(backbone.audit, "_strays", _aged(3600))
    assert checked(butler, repair=True, grace=600).findings == []
    assert old.exists()
    assert found(checked(butler, repair=True)) == {("trash", str(old.relative_to(butler.root)))}
    assert not old.exists()


def _aged(seconds: float):  # type: ignore[no-untyped-def]
    listed = backbone.audit._strays  # noqa: SLF001

    def aged(*given: Any) -> list[tuple[Path, float]]:
        return [(place, age + seconds) for place, age in listed(*given)]

    return aged
