"""The shipped cameras on the real frames: what the READMEs of the data say is what comes out."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS

from butler.instrument import (
    InstrumentDefinition,
    Observation,
    exposure_records,
    load_shipped,
    shipped,
    visit_records,
)
from registry.timespan import tai_ns

if TYPE_CHECKING:
    from pathlib import Path

CALEXPS = "legacysurvey-mosaic3-90prime-calexp/mzlsbass3"


def utc_ns(text: str) -> int:
    return int(tai_ns(Time(text, scale="utc")))


def observed(definition: InstrumentDefinition, folder: Path) -> list[Observation]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [definition.observe(group) for group in definition.group(files)]


@pytest.fixture(scope="module")
def night_log(test_data: Path) -> list[Observation]:
    return observed(load_shipped("ohp-t152"), test_data / "ohp-t152-longslit-2022")


def test_all_90_frames_of_ohp_and_nothing_else(night_log: list[Observation]) -> None:
    assert len(night_log) == 90
    kinds = Counter((o.day_obs, o.observation_type, o.target_name) for o in night_log)
    assert kinds == {
        (20220919, "bias", None): 11,
        (20220920, "arc", None): 5,
        (20220920, "flat", None): 12,
        (20220920, "science", "M76"): 6,
        (20220920, "science", "ksi_Cas"): 6,
        (20220921, "bias", None): 10,
        (20220922, "arc", None): 5,
        (20220922, "bias", None): 11,
        (20220922, "flat", None): 10,
        (20220922, "science", "M76"): 9,
        (20220922, "science", "ksi_Cas"): 5,
    }
    assert {o.physical_filter for o in night_log if o.observation_type == "bias"} == {None}
    assert {o.physical_filter for o in night_log if o.observation_type != "bias"} == {"grating"}
    assert {(o.detector, o.dataset_type, o.hdu) for o in night_log} == {(0, "raw", 0)}
    assert all(o.region is None for o in night_log)


def test_ohp_times_come_from_frame_and_nights_run_noon_to_noon(
    night_log: list[Observation],
) -> None:
    by_name = {o.path.name: o for o in night_log}
    first = by_name["M76_M2_ML_Wed_Sep_21_2022_02.25.44_00000.fits.gz"]
    assert first.begin_tai_ns == utc_ns("2022-09-21T02:05:39")
    assert first.end_tai_ns == utc_ns("2022-09-21T02:25:39")
    assert first.exposure == 20220921020539
    assert first.day_obs == 20220920
    assert first.data_id == {"instrument": "OHP-T152", "detector": 0, "exposure": 20220921020539}
    assert first.keys == {"target": "M76"}
    assert first.extra["read_out_end"] == "2022-09-21T02:25:44.000Z"
    assert str(first.origins["begin"]) == (
        "card FRAME of HDU 0 = '2022-09-21T02:05:39.000' (translate.begin)"
    )
    assert str(first.origins["target_name"]) == "group object = 'M76' (translate.target_name)"
    assert "GAIN" in first.unused_cards
    assert "FRAME" not in first.unused_cards
    bias = by_name["Bias_M2_ML_Mon_Sep_19_2022_19.47.45_00001.fits.gz"]
    assert bias.exposure_time == 1e-5
    assert bias.end_tai_ns == utc_ns("2022-09-19T19:47:40") + 10_000
    for o in night_log:
        with fits.open(o.path) as hdus:
            assert o.begin_tai_ns == utc_ns(hdus[0].header["FRAME"])


def test_rejected_ohp_files_are_copies_of_other_frames(night_log: list[Observation]) -> None:
    """Byte by byte; so the copy goes to <run>/rejected and the one exposure is flagged."""
    rejected = [o for o in night_log if o.path.name.startswith("Rejected_")]
    assert len(rejected) == 5
    for copy in rejected:
        assert (copy.quality, copy.run_suffix) == ("rejected", "rejected")
        twin = [o for o in night_log if o.exposure == copy.exposure and o is not copy]
        assert len(twin) == 1
        assert (twin[0].quality, twin[0].run_suffix) == ("good", None)
        digests = {hashlib.sha256(o.path.read_bytes()).hexdigest() for o in (copy, twin[0])}
        assert len(digests) == 1
    rows = exposure_records(night_log)
    assert len(rows) == len({r["id"] for r in rows}) == 85
    flagged = {r["id"] for r in rows if r["quality"] == "rejected"}
    assert flagged == {o.exposure for o in rejected}
    flat = next(r for r in rows if r["id"] == 20220920233450)
    assert flat["seq_num"] == 18


def test_tircam2_reads_its_odd_headers(test_data: Path) -> None:
    observations = observed(load_shipped("tircam2"), test_data / "dot-tircam2-ic310-2022")
    assert Counter(o.observation_type for o in observations) == {"science": 5, "flat": 5, "bias": 3}
    assert len({o.exposure for o in observations}) == len(exposure_records(observations)) == 13
    by_name = {o.path.name.partition(".")[0]: o for o in observations}
    one, three = by_name["bias_1"], by_name["bias_3"]
    assert one.begin_tai_ns == three.begin_tai_ns == utc_ns("2022-10-23T01:29:18")
    assert (one.exposure, three.exposure) == (221023012918001, 221023012918003)
    assert one.end_tai_ns == one.begin_tai_ns
    assert (one.physical_filter, one.band, one.target_name) == ("BLOCK", None, None)
    science = by_name["IC310_2"]
    assert science.exposure_time == 40.0
    assert science.keys == {"target": "IC310"}
    assert (science.physical_filter, science.band, science.seq_num) == ("J", "J", 2)
    assert (science.airmass, science.ra, science.region) == (None, None, None)
    assert {o.day_obs for o in observations if o.observation_type != "bias"} == {20221023}
    flats = [by_name[f"flats0{i}"] for i in range(1, 6)]
    assert [f.exposure_time for f in flats] == [6.0] * 5


def test_tircam2_with_its_clock_restored_is_one_night(test_data: Path) -> None:
    spec = load_shipped("tircam2").to_mapping()
    spec["translate"]["begin"]["clock"] = "12-hour"
    definition = InstrumentDefinition.from_mapping(spec)
    observations = observed(definition, test_data / "dot-tircam2-ic310-2022")
    assert {o.day_obs for o in observations} == {20221023}
    assert observations[0].begin_tai_ns == utc_ns("2022-10-23T20:31:24")


def test_obs_test_raws_and_their_defects(test_data: Path) -> None:
    observations = observed(load_shipped("obs-test"), test_data / "lsst-obs-test-phosim")
    raws = {o.exposure: o for o in observations if o.dataset_type == "raw"}
    assert sorted(k for k in raws if k) == [1, 2, 3]
    assert [raws[i].band for i in (1, 2, 3)] == ["g", "g", "r"]
    assert {(o.detector, o.exposure_time, o.observation_type) for o in raws.values()} == {
        (0, 15.0, "science")
    }
    # The old registry.sqlite3 of the set shows the same moments, in UTC.
    for visit, moment in (
        (1, "1999-01-17T04:52:34.895201920"),
        (2, "1999-01-17T05:22:08.687202048"),
        (3, "1999-02-19T01:17:24.056802176"),
    ):
        begin = raws[visit].begin_tai_ns
        assert begin is not None
        assert abs(begin - utc_ns(moment)) < 1000
        assert raws[visit].visit == visit
    assert [raws[i].day_obs for i in (1, 2, 3)] == [19990116, 19990116, 19990218]
    regions = [raws[i].region for i in (1, 2, 3)]
    assert all(r is not None and r.shape == (4, 2) for r in regions)
    centres = [np.mean(r, axis=0) for r in regions if r is not None]
    assert np.hypot(*(centres[0] - centres[1])) < 0.02
    assert np.hypot(*(centres[0] - centres[2])) > 0.5
    defects = next(o for o in observations if o.dataset_type == "defects")
    assert defects.curated
    assert defects.data_id == {"instrument": "obs_test", "detector": 0}
    assert defects.validity == (utc_ns("1970-01-01T00:00:00"), None)
    assert (defects.exposure, defects.visit, defects.day_obs, defects.hdu) == (None, None, None, 1)
    assert exposure_records([defects]) == visit_records([defects]) == []
    with pytest.raises(ValueError, match="curated calibration"):
        defects.exposure_record()


@pytest.mark.parametrize(
    ("name", "folder", "facts"),
    [
        (
            "90prime",
            "90prime",
            {
                160203115029: (20160202, "bokr", "r", 2, 57.4, 25.5833),
                160203125658: (20160202, "bokr", "r", 2, 74.6, 25.57753),
                160406094107: (20160405, "bokr", "r", 3, 50.1, 25.570965),
                160704043617: (20160703, "g", "g", 2, 85.6, 25.755611),
                160704044416: (20160703, "g", "g", 2, 101.9, 25.756247),
                160704045914: (20160703, "g", "g", 3, 88.7, 25.744558),
            },
        ),
        (
            "mosaic3",
            "mosaic",
            {
                74931: (20160310, "zd", "z", 3, 80.104, 26.306143),
                75581: (20160312, "zd", "z", 3, 80.104, 26.322538),
            },
        ),
    ],
)
def test_calexp_triplets_with_facts_from_the_ccd_table(
    test_data: Path, name: str, folder: str, facts: dict[int, tuple[object, ...]]
) -> None:
    observations = observed(load_shipped(name), test_data / CALEXPS / "images" / folder)
    found = {
        o.visit: (o.day_obs, o.physical_filter, o.band, o.detector, o.exposure_time)
        for o in observations
    }
    assert found == {visit: fact[:5] for visit, fact in facts.items()}
    for o in observations:
        assert o.visit is not None
        assert o.extra["zero_point"] == pytest.approx(facts[o.visit][5])
        assert list(o.components) == ["image", "weight", "mask"]
        assert [p.name[p.name.index("_oo") + 3] for p in o.paths] == ["i", "w", "d"]
        assert o.path == o.components["image"]
        assert o.size == sum(p.stat().st_size for p in o.paths)
        assert o.data_id["visit"] == o.visit == o.exposure
        with fits.open(o.path) as hdus:
            primary, header = hdus[0].header, hdus[1].header
            night = str(primary["DTCALDAT"]).replace("-", "")
            wcs = WCS(header)
        assert str(o.day_obs) == night  # the observatory's own name of the night
        assert o.begin_tai_ns == utc_ns(primary["DATE-OBS"])
        assert o.region is not None
        inside = wcs.all_world2pix(o.region, 0)
        wanted = [-0.5, header["NAXIS1"] - 0.5, header["NAXIS2"] - 0.5]
        assert np.abs(np.array([inside[0, 0], inside[1, 0], inside[2, 1]]) - wanted).max() < 1e-3
        assert o.ra is not None
        assert o.dec is not None
        assert abs(o.ra - float(o.region[:, 0].mean())) < 1.5


def test_one_file_of_a_triplet_finds_the_others(test_data: Path) -> None:
    definition = load_shipped("90prime")
    mask = next((test_data / CALEXPS).rglob("ksb_160203_115029_ood_*"))
    observation = definition.observe(mask)
    assert observation.data_id == {"instrument": "90Prime", "detector": 2, "visit": 160203115029}
    assert observation.components["mask"] == mask
    assert observation.path.name.startswith("ksb_160203_115029_ooi_")


def test_facts_are_absent_without_the_table(test_data: Path, tmp_path: Path) -> None:
    definition = load_shipped("mosaic3")
    for path in (test_data / CALEXPS).rglob("k4m_160311_*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    observation = definition.observe(next(tmp_path.glob("*_ooi_*")))
    assert observation.exposure == 74931
    assert "zero_point" not in observation.extra
    assert visit_records([observation])[0]["name"] == "kp4m.20160311T103249"


def test_pixels_are_not_inflated(test_data: Path, tmp_path: Path) -> None:
    """A frame whose pixels are damaged is observed all the same: they are not looked at."""
    name = "M76_M2_ML_Wed_Sep_21_2022_02.25.44_00000.fits.gz"
    data = (test_data / "ohp-t152-longslit-2022/2022-09-20/raw" / name).read_bytes()
    half = len(data) // 2
    (tmp_path / name).write_bytes(data[:half] + bytes(100) + data[half + 100 :])
    assert load_shipped("ohp-t152").observe(tmp_path / name).exposure == 20220921020539


def test_records_fit_the_dimension_tables() -> None:
    from registry.schema import dimensions

    for name in shipped():
        definition = load_shipped(name)
        records = {
            dimensions.instrument: [definition.instrument_record()],
            dimensions.detector: definition.detector_records(),
            dimensions.physical_filter: definition.physical_filter_records(),
            dimensions.day_obs: [definition.day_obs_record(20220920)],
        }
        for table, rows in records.items():
            for row in rows:
                assert set(row) <= {c.name for c in table.columns}
                assert all(row[c.name] is not None for c in table.columns if not c.nullable)


def test_exposure_and_visit_rows_fit_their_tables(night_log: list[Observation]) -> None:
    from registry.schema import dimensions

    for table, rows in (
        (dimensions.exposure, exposure_records(night_log)),
        (dimensions.visit, visit_records(night_log)),
    ):
        for row in rows:
            assert set(row) <= {c.name for c in table.columns}
            assert all(row[c.name] is not None for c in table.columns if not c.nullable)
