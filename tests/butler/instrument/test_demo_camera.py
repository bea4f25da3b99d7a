"""The demo camera's frames, with the headers that its simulator writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from butler.instrument import exposure_records, load_shipped
from butler.instrument.errors import FailedCheck, TranslationError

if TYPE_CHECKING:
    from pathlib import Path

CARDS: dict[str, Any] = {
    "INSTRUME": "DemoCam",
    "PROGRAM": "demo",
    "OBSTYPE": "OBJECT",
    "OBJECT": "DEMO FIELD 1",
    "FILTER": "Demo g",
    "EXPID": 202503100007,
    "OBSID": "DC_20250310_0007",
    "DAYOBS": "2025-03-10",
    "SEQNUM": 7,
    "EXPTIME": 60.0,
    "DARKTIME": 61.0,
    "DATE-OBS": "2025-03-11T02:00:00.000",
    "RA": 150.1,
    "DEC": 2.2,
    "AIRMASS": 1.2,
    "MAGZERO": 28.5,
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.1,
    "CRVAL2": 2.2,
    "CRPIX1": 260.0,
    "CRPIX2": 260.0,
    "CD1_1": -0.4 / 3600,
    "CD1_2": 0.0,
    "CD2_1": 0.0,
    "CD2_2": 0.4 / 3600,
}


def frame(folder: Path, detector: int, **cards: Any) -> Path:
    hdu = fits.PrimaryHDU(np.zeros((256, 272), dtype="u2"))
    for name, value in {**CARDS, "CCDNUM": detector, "CHIPID": f"D{detector}", **cards}.items():
        if value is not None:
            hdu.header[name] = value
    number = hdu.header["SEQNUM"]
    path = folder / f"democam_20250310_{number:04d}_D{detector}.fits"
    hdu.writeto(path)
    return path


def test_science_frames_of_all_detectors_make_one_exposure(tmp_path: Path) -> None:
    camera = load_shipped("demo")
    groups = camera.group([frame(tmp_path, detector) for detector in (1, 2, 3, 4)])
    observations = [camera.observe(group) for group in groups]
    assert [o.detector for o in observations] == [1, 2, 3, 4]
    assert all(o.region is not None for o in observations)
    (row,) = exposure_records(observations)
    assert row["id"] == 202503100007
    assert row["day_obs"] == 20250310
    assert (row["physical_filter"], row["observation_type"]) == ("Demo g", "science")
    assert (row["target_name"], row["ra"], row["dec"]) == ("DEMO FIELD 1", 150.1, 2.2)
    assert row["end_tai_ns"] - row["begin_tai_ns"] == 60_000_000_000
    assert row["extra"] == {"zero_point": 28.5}
    assert observations[0].band == "g"


def test_bias_frames_have_no_filter_target_or_footprint(tmp_path: Path) -> None:
    absent = dict.fromkeys(("RA", "DEC", "AIRMASS", "MAGZERO", "CTYPE1", "CTYPE2"))
    path = frame(tmp_path, 2, OBSTYPE="BIAS", OBJECT="bias", FILTER="NONE", EXPTIME=0.0, **absent)
    observation = load_shipped("demo").observe(path)
    assert (observation.observation_type, observation.target_name) == ("bias", None)
    assert (observation.physical_filter, observation.band, observation.ra) == (None, None, None)
    assert observation.region is None
    assert observation.extra == {}


def test_exposure_numbers_must_fit_the_night(tmp_path: Path) -> None:
    path = frame(tmp_path, 1, EXPID=202503110007)
    with pytest.raises(FailedCheck, match=r"EXPID is not made .* day_obs = 20250310"):
        load_shipped("demo").observe(path)


def test_defects_have_no_header_and_hold_for_ever(tmp_path: Path) -> None:
    camera = load_shipped("demo")
    path = tmp_path / "defects_D3.ecsv"
    with pytest.raises(FileNotFoundError):
        camera.observe(path)
    Table({"x0": [1], "y0": [2], "width": [3], "height": [4]}).write(path)
    observation = camera.observe(path)
    assert observation.data_id == {"instrument": "DemoCam", "detector": 3}
    assert (observation.dataset_type, observation.curated) == ("defects", True)
    assert observation.validity == (None, None)
    with pytest.raises(TranslationError, match="no detector '9'"):
        camera.observe(path.rename(tmp_path / "defects_D9.ecsv"))
    assert camera.ignores(tmp_path / "truth" / "stars.ecsv")
