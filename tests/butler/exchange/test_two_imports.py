"""What becomes of files when two processes import the same export at the same time?

One is held at the worst moment, while the other does what it does.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from backbone.audit import check
from backbone.staging import StagedFile
from butler import Butler
from butler.exchange import bringing, unpacking
from registry.identity import DatasetType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from registry import DatasetRef

VALUES = [{"n": n, "text": "x" * 500} for n in range(2)]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two datasets."""
    folder = tmp_path_factory.mktemp("export")
    with Butler.create(folder / "lab") as lab:
        lab.registry.insert_dimension_records("instrument", [{"name": "Cam", "detector_max": 2}])
        lab.registry.register_dataset_type(
            DatasetType("summary", ("instrument", "healpix"), "StructuredDataDict")
        )
        refs = [
            lab.put(value, "summary", run="made", instrument="Cam", healpix=n)
            for n, value in enumerate(VALUES)
        ]
        lab.export(folder / "out", refs)
    return folder / "out"


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Butler]:
    with Butler.create(tmp_path / "site", database_url) as made:
        yield made


def found(site: Butler) -> list[DatasetRef]:
    return site.query_datasets("summary", collections="made", order_by=("healpix",))


def assert_sound(site: Butler, *, leaves: frozenset[str] = frozenset()) -> None:
    """Every recorded file is there, and nothing else but what a check removes."""
    report = check(site.registry.database, site.root, grace=0, checksums=True, repair=True)
    assert {f.problem for f in report.findings} <= leaves
    assert [site.get(ref) for ref in found(site)] == VALUES
    assert check(site.registry.database, site.root, grace=0, checksums=True).findings == []


def first(
    verb: Callable[..., Any], interlude: Callable[[], Any], *, after: bool = False
) -> Callable[..., Any]:
    """Do something else before, or after, the first call of a function."""
    pending = [interlude]

    def held(*args: Any, **kwargs: Any) -> Any:
        begun = pending.pop() if pending else None
        if begun is not None and not after:
            begun()
        answer = verb(*args, **kwargs)
        if begun is not None and after:
            begun()
        return answer

    return held


def import_it(site: Butler, export: Path, **how: Any) -> None:
    """Do what another process does meanwhile."""
    with Butler(site.root, writeable=True) as other:
        other.import_(export, **how)


@pytest.mark.parametrize("transfer", ["copy", "hardlink"])
@pytest.mark.parametrize("moment", ["planned", "reading", "staged"])
def test_what_the_other_has_recorded_stays(
    site: Butler, export: Path, moment: str, transfer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other() -> None:
        import_it(site, export, transfer=transfer)
        places.update(p.name for p in site.root.rglob("summary_*"))

    places: set[str] = set()
    held: dict[str, tuple[Any, str]] = {
        "planned": (bringing, "_need"),
        "reading": (bringing, "_is_the_same"),
        "staged": (unpacking, "_stage"),
    }
    module, name = held[moment]
    verb = first(getattr(module, name), other, after=moment == "staged")
    monkeypatch.setattr(module, name, verb)
    assert site.import_(export, transfer=transfer).files == 0
    assert len(places) == len(VALUES)
    assert {p.name for p in site.root.rglob("*summary_*")} == places
    assert_sound(site)


@pytest.mark.parametrize("transfer", ["copy", "hardlink"])
def test_one_that_fails_takes_nothing_of_the_others(
    site: Butler, export: Path, transfer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files are staged; another stages them too, fails, and cleans."""

    def fails(*_: Any) -> None:
        raise ZeroDivisionError

    def other() -> None:
        with monkeypatch.context() as patched, suppress(ZeroDivisionError):
            patched.setattr(unpacking, "_record", fails)
            import_it(site, export, transfer=transfer)

    staging = first(unpacking._stage, other, after=True)  # noqa: SLF001
    monkeypatch.setattr(unpacking, "_stage", staging)
    assert site.import_(export, transfer=transfer).files == len(VALUES)
    assert_sound(site)


def test_one_that_is_undone_after_the_names_were_given_takes_nothing(
    site: Butler, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transaction is undone; the other waits for it, and ends before the files are removed."""
    abandon = StagedFile.abandon

    def undone() -> None:
        with site.transaction():
            site.import_(export)
            monkeypatch.setattr(
                StagedFile, "abandon", first(abandon, lambda: import_it(site, export))
            )
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        undone()
    assert_sound(site)


def test_what_a_killed_one_left_under_the_final_name_is_used(
    site: Butler, export: Path, tmp_path: Path
) -> None:
    with Butler.create(tmp_path / "calm") as calm:
        calm.import_(export)
        left = {p.relative_to(calm.root): p.read_bytes() for p in calm.root.rglob("summary_*")}
    for path, content in left.items():
        (site.root / path).parent.mkdir(parents=True, exist_ok=True)
        (site.root / path).write_bytes(content)
    numbers = {(site.root / path).stat().st_ino for path in left}
    assert site.import_(export).files == len(VALUES)
    assert {p.stat().st_ino for p in site.root.rglob("summary_*")} == numbers
    assert_sound(site)
