"""Real observing logs against the counts in their READMEs, and rows with every kind of mistake."""

from __future__ import annotations

import csv
import gzip
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import sqlalchemy as sa
from astropy import units as u
from astropy.time import Time

from registry.errors import ReadOnly
from registry.exposure_logs import BadMapping, read_mapping, shipped
from registry.schema.dimensions import day_obs, exposure, physical_filter

if TYPE_CHECKING:
    from pathlib import Path

    from registry import Registry

COLUMNS = {"number": "id", "what": "observation_type", "start": "begin", "seconds": "exposure_time"}
GOOD = {"number": "1", "what": "science", "start": "2024-05-28T23:00:00", "seconds": "60"}


def count(registry: Registry, *where: Any) -> int:
    with registry.read() as connection:
        found = connection.execute(sa.select(sa.func.count()).select_from(exposure).where(*where))
        return int(found.scalar_one())


def test_log_of_the_eso_telescope_loads_as_its_readme_says(
    registry: Registry, test_data: Path
) -> None:
    path = test_data / "exposure-log-eso22m" / "eso22m_exposures.csv.gz"
    loaded = registry.load_exposures(path, "eso-2.2m")
    assert loaded.n_rows == 12_262
    assert loaded.skipped == {
        "time without an exposure": 229 + 30 + 6,
        "acquisition or test that is not archived": 1_093,
    }
    # nine frames of GROND with a pointing of -596.5 degrees, in both coordinates
    assert {(p.content, p.column) for p in loaded.problems} == {
        ("-596.52323555", "ra"),
        ("-596.52323555", "dec"),
    }
    assert loaded.n_refused == 9
    assert loaded.n_loaded == 12_262 - 265 - 1_093 - 9 == count(registry)
    with path.open("rb") as raw, gzip.open(raw, "rt") as text:
        rows = list(csv.DictReader(text))
    for problem in loaded.problems:
        assert rows[problem.row - 1][problem.column] == problem.content
    archived = [r for r in rows if r["dp_id"] and r["ra"] != "-596.52323555"]
    for camera in ("FEROS", "GROND", "WFI"):
        mine = [r for r in archived if r["instrument"] == camera]
        assert count(registry, exposure.c.instrument == camera) == len(mine)
    with registry.read() as connection:
        nights = set(connection.execute(sa.select(day_obs.c.id)).scalars())
        assert nights == {int(r["night"].replace("-", "")) for r in archived}
        total = connection.execute(sa.select(sa.func.sum(exposure.c.exposure_time))).scalar_one()
        assert total == pytest.approx(sum(float(r["exposure"]) for r in archived), rel=1e-12)
        one = connection.execute(
            sa.select(exposure).where(exposure.c.obs_id == "FEROS.2020-12-01T00:42:43.389")
        ).one()
    assert (one.id, one.day_obs) == (20201201004243389, 20201130)
    assert (one.observation_type, one.target_name) == ("science", "HD10700")
    assert (one.ra, one.dec) == (pytest.approx(25.98892388), pytest.approx(-15.91431))
    begin = Time("2020-12-01T00:42:43", scale="utc") - Time("1970-01-01", scale="tai")
    assert one.begin_tai_ns == round(begin.to_value(u.s)) * 10**9
    assert one.extra == {"dp_tech": "ECHELLE", "ob_id": "199353231", "seeing": "0.75"}


def test_log_of_decam_keeps_the_last_measurement_of_an_exposure(
    registry: Registry, test_data: Path
) -> None:
    path = test_data / "exposure-log-decam-obsbot" / "decam_measured_ccds.csv.gz"
    loaded = registry.load_exposures(path, "decam-obsbot")
    assert (loaded.n_rows, loaded.n_loaded, loaded.n_repeated) == (2_638, 2_544, 94)
    assert loaded.problems == ()
    with path.open("rb") as raw, gzip.open(raw, "rt") as text:
        rows = {r["expnum"]: r for r in csv.DictReader(text)}
    with registry.read() as connection:
        found = connection.execute(sa.select(exposure)).all()
        bands = set(connection.execute(sa.select(physical_filter.c.name)).scalars())
    assert bands == {r["band"] for r in rows.values()}
    assert len(found) == len(rows)
    mjd = Time([float(rows[str(x.id)]["mjd_obs"]) for x in found], format="mjd", scale="utc")
    seconds = (mjd.tai - Time("1970-01-01", scale="tai")).to_value(u.s)
    for x, begin in zip(found, seconds, strict=True):
        assert abs(x.begin_tai_ns / 1e9 - begin) < 2e-6
        assert x.begin_tai_ns % 1000 == 0
        assert x.exposure_time == float(rows[str(x.id)]["exptime"])
    again = registry.load_exposures(path, "decam-obsbot")
    assert (again.n_loaded, again.n_present) == (0, 2_544)
    kinds = {x.observation_type for x in found}
    assert kinds == {"science", "flat", "bias", "dark"}


def test_every_kind_of_mistake_is_told_and_loses_no_good_row(filled: Registry) -> None:
    mistakes: list[tuple[str, str, str]] = [
        ("number", "12.5", "not a whole number"),
        ("number", "-3", "not negative"),
        ("number", "9" * 30, "not a whole number"),
        ("number", "", "needs a value for id"),
        ("start", "yesterday", "not a time"),
        ("start", "2024-02-30T00:00:00", "not a time"),
        ("start", "0001-01-01T00:00:00", "not a time"),
        ("start", "", "needs a value for begin"),
        ("seconds", "nan", "not a number"),
        ("seconds", "inf", "not a number"),
        ("seconds", "-1", "exposure time lies within"),
        ("what", "x" * 256, "longer than 255"),
        ("what", "a\0b", "zero byte"),
        ("filter", "SDSS gg", "Did you mean 'SDSS g'"),
        ("right", "360", "right ascension"),
        ("declination", "xxxx", "not a number"),
        ("night", "20231399", "is a date"),
        ("state", "bad", "good or rejected"),
        ("stop", "2024-05-28T22:00:00", "ends before it begins"),
    ]
    names = {**COLUMNS, "filter": "physical_filter", "right": "ra", "declination": "dec",
             "night": "day_obs", "state": "quality", "stop": "end"}  # fmt: skip
    rows = []
    for n, (column, content, _) in enumerate(mistakes):
        rows.append({**dict.fromkeys(names, ""), **GOOD, "number": str(100 + n), column: content})
        rows.append({**dict.fromkeys(names, ""), **GOOD, "number": str(500 + n)})
    before = count(filled)
    loaded = filled.load_exposures(pd.DataFrame(rows), instrument="Cam", columns=names)
    told = {p.row: p for p in loaded.problems}
    for n, (column, content, reason) in enumerate(mistakes):
        problem = told.pop(2 * n + 1)
        assert (problem.column, problem.content) == (column, content)
        assert reason in problem.reason
        assert f"row {2 * n + 1}, column {column}" in str(problem)
    assert told == {}
    assert loaded.n_refused == len(mistakes) == loaded.n_loaded
    assert count(filled) == before + len(mistakes)


def test_numbers_and_times_beside_missing_ones_keep_every_digit(filled: Registry) -> None:
    rows = [
        {"number": number, "what": what, "start": start, "seconds": seconds}
        for number, what, start, seconds in (
            ("20201201004243389", "science", "2024-05-28T23:00:00.123456", "0.1"),
            ("12", "science", "", "60"),
            ("", "science", "2024-05-28T23:00:00", ""),
            ("20201201004243391", "dark", "2024-05-28T23:00:00.000001", ""),
        )
    ]
    loaded = filled.load_exposures(pd.DataFrame(rows), instrument="Cam", columns=COLUMNS)
    assert [p.row for p in loaded.problems] == [2, 3]
    with filled.read() as connection:
        found = connection.execute(
            sa.select(exposure).where(exposure.c.id > 10**12).order_by(exposure.c.id)
        ).all()
    begin = Time("2024-05-28T23:00:00", scale="utc") - Time("1970-01-01", scale="tai")
    whole = round(begin.to_value(u.s)) * 10**9
    assert [x.id for x in found] == [20201201004243389, 20201201004243391]
    assert [x.begin_tai_ns - whole for x in found] == [123_456_000, 1_000]
    assert [x.end_tai_ns - x.begin_tai_ns for x in found] == [100_000_000, 0]
    assert found[1].exposure_time is None


def test_repeated_rows_are_an_error_unless_one_of_them_counts(filled: Registry) -> None:
    rows = [GOOD | {"number": "71"}, GOOD | {"number": "71", "seconds": "30"}]
    refused = filled.load_exposures(pd.DataFrame(rows), instrument="Cam", columns=COLUMNS)
    assert [str(p) for p in refused.problems] == ["row 2, column number: '71': row 1 has it too"]
    for way, seconds in (("first", 60.0), ("last", 30.0)):
        number = str(80 + len(way))
        rows = [GOOD | {"number": number}, GOOD | {"number": number, "seconds": "30"}]
        document = {"repeated": way, "fields": {v: k for k, v in COLUMNS.items()}}
        loaded = filled.load_exposures(pd.DataFrame(rows), document, instrument="Cam")
        assert (loaded.n_loaded, loaded.n_repeated) == (1, 1)
        with filled.read() as connection:
            kept = sa.select(exposure.c.exposure_time).where(exposure.c.id == int(number))
            assert connection.execute(kept).scalar_one() == seconds


def test_night_is_that_of_the_telescope(filled: Registry) -> None:
    document = {"fields": {v: k for k, v in COLUMNS.items()}, "longitude": -70.8}
    rows = [
        GOOD | {"number": n, "start": start}
        for n, start in ((91, "2024-05-28T16:42:00"), (92, "2024-05-28T16:44:00"))
    ]
    filled.load_exposures(pd.DataFrame(rows), document, instrument="Cam")
    with filled.read() as connection:
        nights = sa.select(exposure.c.id, exposure.c.day_obs).where(exposure.c.id > 90)
        assert {tuple(r) for r in connection.execute(nights)} == {(91, 20240527), (92, 20240528)}
        row = connection.execute(sa.select(day_obs).where(day_obs.c.id == 20240528)).one()
    noon = Time("2024-05-28T16:43:12", scale="utc").unix  # 12h + 70.8 deg / 15 deg/h
    assert row.begin_tai_ns == round(noon) * 10**9
    assert row.end_tai_ns - row.begin_tai_ns == 86_400 * 10**9


def test_table_of_numbers_and_times_loads_as_its_text_would(filled: Registry) -> None:
    frame = pd.DataFrame(
        {
            "id": [61, 62],
            "observation_type": ["dark", None],
            "begin": [pd.Timestamp("2024-05-28T23:00:00.5"), pd.Timestamp("2024-05-28T23:10:00")],
            "exposure_time": [1.5, float("nan")],
        }
    )
    loaded = filled.load_exposures(frame, instrument="Cam")
    assert [(p.row, p.column) for p in loaded.problems] == [(2, "observation_type")]
    with filled.read() as connection:
        one = connection.execute(sa.select(exposure).where(exposure.c.id == 61)).one()
    assert one.end_tai_ns - one.begin_tai_ns == 1_500_000_000
    assert one.begin_tai_ns % 10**9 == 500_000_000


def test_mapping_that_cannot_be_used_is_refused_with_what_is_known(
    filled: Registry, tmp_path: Path
) -> None:
    frame = pd.DataFrame([GOOD])
    for document, sentence in (
        ({"feilds": {}}, "Did you mean 'fields'"),
        ({"fields": {"beginn": "start"}}, "Did you mean 'begin'"),
        ({"fields": {"begin": {"column": "start", "format": "fits"}}}, "no time format"),
        ({"fields": {"begin": {"colunm": "start"}}}, "Did you mean 'column'"),
        ({"register": ["detector"]}, "no thing to register"),
        ({"repeated": "both"}, "no way with repeated rows"),
        ({"fields": {"id": "nummer"}}, "no column 'nummer'.*Did you mean 'number'"),
        ({"fields": {"id": "number"}}, "Nothing says what is instrument and observation_type"),
        ("nowhere.yaml", "decam-obsbot, eso-2.2m"),
    ):
        with pytest.raises(BadMapping, match=sentence):
            filled.load_exposures(frame, document)
    with pytest.raises(BadMapping, match="cannot be read as CSV"):
        filled.load_exposures(tmp_path / "none.csv", instrument="Cam", columns=COLUMNS)
    assert {name: bool(read_mapping(name).doc) for name in shipped()} == {
        "decam-obsbot": True,
        "eso-2.2m": True,
    }


def test_unknown_camera_is_an_error_of_each_row(filled: Registry) -> None:
    loaded = filled.load_exposures(pd.DataFrame([GOOD]), instrument="Kam", columns=COLUMNS)
    assert "Did you mean 'Cam'" in loaded.problems[0].reason
    assert loaded.n_loaded == 0


def test_reader_cannot_load(database_url: str) -> None:
    from registry import Registry

    with (
        Registry.connect(database_url, writeable=False) as registry,
        pytest.raises(ReadOnly),
    ):
        registry.load_exposures(pd.DataFrame([GOOD]), instrument="Cam", columns=COLUMNS)
