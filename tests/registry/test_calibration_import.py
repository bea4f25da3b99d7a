from __future__ import annotations

import datetime as dt
import gzip
import shutil
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from astropy.io import fits

from registry import Registry, Timespan
from registry.calibrations import OldRange, read_registry
from registry.calibrations.auxiliary import UnreadableRegistry
from registry.errors import UnknownDimensionValue, ValidityOverlap
from registry.timespan import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.databases import Databases

CAMERA = "MegaPrime"
# the file's times are those of a computer in this zone: midnights UTC, as the FITS table tells
WRITTEN_IN = "America/Chicago"


@pytest.fixture(scope="session")
def elixir(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The registry of CFHT MegaCam's Elixir calibrations, unpacked."""
    folder = tmp_path_factory.mktemp("elixir")
    for packed in (test_data / "cfht-megacam-calib-validity").glob("*.gz"):
        with gzip.open(packed) as source, (folder / packed.stem).open("wb") as target:
            shutil.copyfileobj(source, target)
    return folder


@pytest.fixture(scope="session")
def ranges(elixir: Path) -> list[OldRange]:
    return read_registry(
        elixir / "calibRegistry.sqlite3",
        CAMERA,
        keys={"dark.exptime": "expTime"},
        scale=WRITTEN_IN,
    )


def test_every_row_is_read(ranges: list[OldRange]) -> None:
    assert Counter(r.dataset_type for r in ranges) == {
        "bias": 4140,
        "dark": 288,
        "flat": 20520,
        "fringe": 6300,
    }
    paths = {(r.dataset_type, r.path) for r in ranges}
    assert Counter(kind for kind, _ in paths) == {
        "bias": 115,
        "dark": 8,
        "flat": 570,
        "fringe": 175,
    }
    keys = {r.dataset_type: tuple(r.data_id) for r in ranges}
    assert keys == {
        "bias": ("instrument", "detector"),
        "dark": ("instrument", "detector", "exptime"),
        "flat": ("instrument", "detector", "physical_filter"),
        "fringe": ("instrument", "detector", "physical_filter"),
    }
    assert {r.data_id["detector"] for r in ranges} == set(range(1, 37))
    assert {r.data_id["exptime"] for r in ranges if r.dataset_type == "dark"} == {300, 900, 1800}


def test_times_are_those_of_the_table_it_was_made_from(
    elixir: Path, ranges: list[OldRange]
) -> None:
    rows = fits.getdata(elixir / "detrend.db.fits")
    seconds = {
        bytes(row["PATH"]).split(b"\0")[0].decode(): (
            int(row["START_TIME"]),
            int(row["STOP_TIME"]),
        )
        for row in rows
    }

    def tai(unix: int) -> int:
        return parse_time(dt.datetime.fromtimestamp(unix, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S/utc"))

    first = {r.path: r.validity for r in ranges if r.data_id["detector"] == 1}
    compared = [path for path in first if path in seconds]
    assert len(compared) > 800
    exact = [p for p in compared if first[p].bounds == tuple(tai(s) for s in seconds[p])]
    assert len(exact) == len(compared)


@pytest.fixture(scope="module")
def outer(ranges: list[OldRange]) -> list[OldRange]:
    """Those of the first and the last chip; `tests/benchmarks` loads all."""
    return [r for r in ranges if r.data_id["detector"] in (1, 36)]


@pytest.fixture(scope="module")
def loaded(databases: Databases, outer: list[OldRange]) -> Iterator[Registry]:
    """Registry into which the file was loaded, the latest winning, after it was refused."""
    with databases.migrated() as url:
        registry = Registry.connect(url)
        with pytest.raises(UnknownDimensionValue, match="no instrument 'MegaPrime'"):
            registry.import_calibrations("calib", outer)
        with pytest.raises(ValidityOverlap) as caught:
            registry.import_calibrations("calib", outer, register=True)
        assert Counter(o.new.dataset_type.name for o in caught.value.overlaps) == {
            "bias": 2 * 2,
            "flat": 2 * 39,
            "fringe": 2 * 21,
        }
        assert "and 124 pairs do" in str(caught.value)
        assert registry.collections() == []
        done = registry.import_calibrations("calib", outer, register=True, resolve="latest")
        assert done.n_datasets == len(outer)
        assert done.registered == {"instrument": 1, "detector": 2, "physical_filter": 6}
        yield registry
        registry.close()


def test_the_row_registered_last_is_found_at_every_moment(
    loaded: Registry, outer: list[OldRange]
) -> None:
    of_key: dict[tuple[str, Any], list[OldRange]] = {}
    for r in outer:
        of_key.setdefault((r.dataset_type, r.data_id), []).append(r)
    for kind in ("bias", "dark", "flat", "fringe"):
        asked = []
        expected = []
        for (name, data_id), rows in of_key.items():
            if name != kind:
                continue
            bounds = sorted({b for r in rows for b in r.validity.bounds})
            for at in (*bounds, *(b - 1 for b in bounds)):
                asked.append((data_id, at))
                held = [r for r in rows if r.validity.contains(at)]
                last = max(held, key=lambda r: r.made, default=None)
                expected.append(last and f"calib/{last.identity}")
        found = loaded.find_calibrations(kind, asked, "calib")
        assert [ref and ref.run for ref in found] == expected


def test_loading_again_changes_nothing(loaded: Registry, outer: list[OldRange]) -> None:
    few = [r for r in outer if r.dataset_type in ("bias", "dark")]
    done = loaded.import_calibrations("calib", few, resolve="latest")
    assert (done.n_datasets, done.rows) == (0, {"bias": 230, "dark": 16})
    assert done.n_ranges == 246
    with pytest.raises(ValidityOverlap):
        loaded.import_calibrations("calib", few)


def test_a_trial_tells_what_would_be_done_and_does_nothing(
    registry: Registry, ranges: list[OldRange]
) -> None:
    few = [r for r in ranges if r.dataset_type == "dark"]
    trial = registry.import_calibrations("calib", few, register=True, dry_run=True)
    assert registry.collections() == []
    assert registry.query_dimension_records("detector") == []
    assert registry.import_calibrations("calib", few, register=True) == trial
    assert (trial.n_datasets, trial.n_ranges) == (288, 288)


def test_defects_have_dates(elixir: Path) -> None:
    found = read_registry(
        elixir / "defectRegistry.sqlite3", CAMERA, keys={"detector": "ccdSerial"}, scale="tai"
    )
    assert len(found) == 360
    assert len({r.data_id for r in found}) == 36
    assert min(r.validity.begin or 0 for r in found) == parse_time("2003-05-23/tai")


@pytest.fixture
def old(tmp_path: Path) -> Callable[..., Path]:
    """Write a registry with one table of biases."""

    def make(*rows: tuple[Any, ...], columns: str = "ccd, validStart, validEnd") -> Path:
        path = tmp_path / "old.sqlite3"
        path.unlink(missing_ok=True)
        with sqlite3.connect(path) as connection:
            connection.execute(f"CREATE TABLE bias ({columns})")
            marks = ", ".join("?" for _ in columns.split(","))
            connection.executemany(f"INSERT INTO bias VALUES ({marks})", rows)  # noqa: S608
        connection.close()
        return path

    return make


def test_without_path_the_begin_identifies_a_row(old: Callable[..., Path]) -> None:
    (row,) = read_registry(old((7, "2005-01-31", "2005-02-28T12:00:00")), "Cam", scale="tai")
    assert row == OldRange(
        "bias",
        row.data_id,
        Timespan.parse("2005-01-31/tai", "2005-02-28T12:00:00/tai"),
        "2005-01-31",
        (),
    )
    assert dict(row.data_id) == {"instrument": "Cam", "detector": 7}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((7, "2005-01-31", "2005-01-30"), "Row 1 of bias: A validity range must begin before"),
        ((7, "soon", "2005-01-30"), "Row 1 of bias: 'soon' is not a time such as 2005"),
        ((7, None, "2005-01-30"), "Row 1 of bias: NULL is not a time such as 2005"),
        (("a", "2005-01-31", "2005-02-28"), "Row 1 of bias: detector must be an integer"),
    ],
)
def test_wrong_rows_are_told(old: Callable[..., Path], row: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UnreadableRegistry) as caught:
        read_registry(old(row), "Cam")
    assert str(caught.value).startswith(message)


def test_wrong_files_and_questions_are_told(old: Callable[..., Path], tmp_path: Path) -> None:
    good = old((7, "2005-01-31", "2005-02-28"))
    with pytest.raises(UnreadableRegistry, match="no calibrations of type 'bais'. Did you mean"):
        read_registry(good, "Cam", types=["bais"])
    with pytest.raises(UnreadableRegistry, match="bias has no column 'ccdnum' for detector"):
        read_registry(good, "Cam", keys={"bias.detector": "ccdnum"})
    with pytest.raises(UnreadableRegistry, match="no table has a column 'ccdnum' for detector"):
        read_registry(good, "Cam", keys={"detector": "ccdnum"})
    with pytest.raises(UnreadableRegistry, match="'Chicago' is no time scale"):
        read_registry(good, "Cam", scale="Chicago")
    with pytest.raises(UnreadableRegistry, match="There is no file"):
        read_registry(tmp_path / "none.sqlite3", "Cam")
    with pytest.raises(UnreadableRegistry, match="no table with the columns validStart"):
        read_registry(old(columns="a, b, c"), "Cam")
    text = tmp_path / "text.sqlite3"
    text.write_text("these are not the bytes of a database" * 20)
    with pytest.raises(UnreadableRegistry, match="cannot be read by SQLite"):
        read_registry(text, "Cam")
