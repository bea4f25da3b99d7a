"""Does a link that leads to itself end anything, or nothing but itself?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backbone import endpoints
from backbone.audit import check
from butler import Butler, FileDataset
from butler.errors import IngestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backbone.audit import Report

KEYS = {"instrument": "DemoCam", "detector": 1}
VALUE = {"n": 1}


@pytest.fixture
def butler(tmp_path: Path, database_url: str) -> Iterator[Butler]:
    (tmp_path / "far").mkdir()
    with Butler.create(tmp_path / "repo", db=database_url) as made:
        made.register_instrument("demo")
        made.register_dataset_type("summary", sorted(KEYS), "StructuredDataDict")
        made.registry.database.transact(endpoints.register, "far", str(tmp_path / "far"))
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one file, a link to itself, and a link to a link that leads back."""
    made = tmp_path / "theirs"
    made.mkdir()
    (made / "ccd-001.yaml").write_text("n: 1")
    (made / "again").symlink_to(made)
    (made / "ccd-002.yaml").symlink_to(made / "ccd-003.yaml")
    (made / "ccd-003.yaml").symlink_to(made / "ccd-002.yaml")
    return made


def problems(butler: Butler) -> list[str]:
    report: Report = check(butler.registry.database, butler.root, grace=0, checksums=True)
    return [finding.problem for finding in report.findings]


@pytest.mark.parametrize("transfer", ["copy", "symlink", "direct"])
def test_what_leads_nowhere_is_not_taken(butler: Butler, folder: Path, transfer: str) -> None:
    looped = FileDataset(folder / "ccd-002.yaml", "summary", {**KEYS, "detector": 2})
    with pytest.raises(IngestError, match=r"ccd-002\.yaml"):
        butler.ingest([looped], run="in", transfer=transfer)
    assert butler.query_datasets("summary", collections="*") == []
    assert problems(butler) == []


def test_of_a_folder_each_file_is_taken_once(butler: Butler, folder: Path) -> None:
    taken = butler.ingest_named(
        [folder], "summary", template="ccd-{detector:03d}", instrument="DemoCam", run="in"
    )
    assert [butler.get(ref) for ref in taken.refs] == [VALUE]
    assert problems(butler) == []


def test_what_was_stored_and_leads_nowhere_now_is_missing(butler: Butler) -> None:
    ref = butler.put(VALUE, "summary", KEYS, run="u/test", endpoint="root")
    butler.replicate([ref], "far")
    (place,) = butler.root.rglob("summary_*")
    place.unlink()
    place.symlink_to(place)
    (butler.root / "u" / "round").symlink_to(butler.root)
    assert problems(butler) == ["missing"]
    assert butler.get(ref) == VALUE  # the next copy
    check(butler.registry.database, butler.root, grace=0, repair=True)
    assert butler.withdraw([ref], "far") == (0, 1)  # the last good one stays
    assert butler.replicate([ref], "root").sent == 1
    assert (place.is_symlink(), butler.get(ref)) == (False, VALUE)
    assert problems(butler) == []
