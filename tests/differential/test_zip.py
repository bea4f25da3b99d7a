"""Do zips of lsst-daf-butler and of this project mean the same on both sides?"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from butler import Butler
from butler.errors import ExchangeError
from tests.butler.exchange import small
from tests.butler.exchange.contents import everything

if TYPE_CHECKING:
    from tests.databases import Databases

PROGRAM = Path(__file__).with_name("peer_zip.py")


@pytest.fixture(scope="module")
def told(peer_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What lsst-daf-butler read from a zip of ours, and what it wrote."""
    folder = tmp_path_factory.mktemp("zip")
    with Butler.create(folder / "here") as butler:
        small.fill(butler)
        refs = everything(butler)
        made = butler.export(folder / "ours.zip", refs, format="daf-butler-zip")
        assert (made.datasets, made.files) == (6, 6)
        written = {str(ref.id): butler.get(ref) for ref in refs}
        exposures = butler.query_dimension_records("exposure", where="exposure = 1")
    run = subprocess.run(
        [peer_python, PROGRAM, folder], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-4000:]
    answer: dict[str, Any] = json.loads(run.stdout)
    spans = [
        [r["id"], r["physical_filter"], [r["begin_tai_ns"], r["end_tai_ns"]]] for r in exposures
    ]
    return {**answer, "written": written, "expected": spans}


def test_what_is_written_here_is_read_there(told: dict[str, Any]) -> None:
    assert told["read"] == told["written"]
    assert told["exposures"] == told["expected"]


def test_what_is_written_there_is_read_here(
    told: dict[str, Any], databases: Databases, tmp_path: Path
) -> None:
    with databases.migrated() as url, Butler.create(tmp_path / "repo", url) as butler:
        taken = butler.import_(told["zip"])
        assert (len(taken.refs), taken.files) == (7, 7)
        back = {str(ref.id): butler.get(ref) for ref in taken.refs}
        assert back.pop(told["made"]) == {"made": "there"}
        assert back == told["written"]
        (exposure,) = butler.query_dimension_records("exposure")
        span = [exposure["begin_tai_ns"], exposure["end_tai_ns"]]
        assert [[exposure["id"], exposure["physical_filter"], span]] == told["expected"]
        regions = butler.query_dimension_records("patch")
        assert [r["id"] for r in regions] == [3]
        assert len(butler.import_(told["zip"]).refs) == 0
        with (
            Butler.create(tmp_path / "other") as other,
            pytest.raises(ExchangeError, match="inside of it and cannot stay there"),
        ):
            other.import_(told["zip"], transfer="direct")
