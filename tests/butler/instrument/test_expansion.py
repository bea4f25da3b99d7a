"""Partial data IDs are completed by rules, aliases and nights; contradictions are named."""

from __future__ import annotations

from typing import Any

import pytest

from butler.instrument import InstrumentDefinition, load_shipped
from butler.instrument.errors import InconsistentDataId, UnknownDetector, UnsafePath
from registry.errors import InvalidDataId
from registry.timespan import iso


@pytest.mark.parametrize(
    ("camera", "given", "wanted"),
    [
        ("ohp-t152", {}, {}),
        ("ohp-t152", {"detector": "DU940P_BV"}, {"detector": 0}),
        (
            "ohp-t152",
            {"detector": 22712, "physical_filter": "grating"},
            {"detector": 0, "physical_filter": "grating", "band": "white"},
        ),
        (
            "ohp-t152",
            {"file": "M76_M2_ML_Wed_Sep_21_2022_02.25.44_00000.fits.gz"},
            {"day_obs": 20220920, "target": "M76"},
        ),
        (
            "ohp-t152",
            {"file": "raw/Rejected_flat_M2_ML_Tue_Sep_20_2022_23.35.20_00000.fits"},
            {"day_obs": 20220920},
        ),
        (
            "ohp-t152",
            {"exposure": 20220921020539},
            {"exposure": 20220921020539, "day_obs": 20220920, "begin_tai_ns": 1663725976000000000},
        ),
        (
            "ohp-t152",
            {"begin_tai_ns": 1663725976000000000},
            {"day_obs": 20220920, "begin_tai_ns": 1663725976000000000},
        ),
        ("90prime", {"ccdname": "ccd2"}, {"detector": 2}),
        (
            "90prime",
            {"file": "ksb_160704_043617_ooi_g_v1-ccd3.fits.gz"},
            {
                "exposure": 160704043617,
                "visit": 160704043617,
                "detector": 3,
                "day_obs": 20160703,
                "begin_tai_ns": 1467607013000000000,
            },
        ),
        ("mosaic3", {"physical_filter": "zd DECam k1038"}, {"physical_filter": "zd", "band": "z"}),
        ("decam", {"detector": "N4"}, {"detector": 60 - 25}),
        (
            "hsc",
            {"detector": "1_53", "physical_filter": "W-S-Z+"},
            {"detector": 0, "physical_filter": "HSC-Z", "band": "z"},
        ),
        (
            "demo",
            {"exposure": 202503100007, "detector": "D3"},
            {"exposure": 202503100007, "visit": 202503100007, "day_obs": 20250310, "detector": 3},
        ),
        (
            "obs-test",
            {"visit": 1, "detector": "R22_S00", "physical_filter": "y4"},
            {"visit": 1, "detector": 0, "physical_filter": "y", "band": "y"},
        ),
    ],
)
def test_expansion(camera: str, given: dict[str, Any], wanted: dict[str, Any]) -> None:
    definition = load_shipped(camera)
    assert definition.expand(given) == {"instrument": definition.name, **wanted}


def test_the_time_from_an_exposure_number_is_its_start(ohp: InstrumentDefinition) -> None:
    begin = ohp.expand({"exposure": 20220921020539})["begin_tai_ns"]
    assert iso(int(begin)) == "2022-09-21T02:06:16"  # TAI; 37 s ahead of UTC
    record = ohp.day_obs_record(20220920)
    assert record["begin_tai_ns"] <= int(begin) < record["end_tai_ns"]


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        (
            {"detecter": 0},
            InvalidDataId,
            "'detecter' is no dimension, nor .* Did you mean 'detector'.* under .keys",
        ),
        ({"detector": 7}, InvalidDataId, "no detector 7"),
        ({"physical_filter": "gratin"}, InvalidDataId, "Did you mean 'grating'"),
        ({"exposure": 5}, InvalidDataId, "cannot be expanded: field exposure = 5"),
        ({"exposure": "x"}, InvalidDataId, "cannot be expanded"),
        ({"file": "x.fits"}, InvalidDataId, "x.fits fits no file-name pattern"),
        (
            {"instrument": "HSC"},
            InconsistentDataId,
            "of 'HSC', and is to be expanded by .* OHP-T152",
        ),
        (
            {"exposure": 20220921020539, "day_obs": 20220921},
            InconsistentDataId,
            "by the definition .* 20220920",
        ),
        (
            {"physical_filter": "grating", "band": "r"},
            InconsistentDataId,
            "says band='r'.* it is 'white'",
        ),
    ],
)
def test_what_cannot_be_expanded(
    ohp: InstrumentDefinition, given: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        ohp.expand(given)


def test_detectors_by_any_spelling() -> None:
    prime = load_shipped("90prime")
    assert [prime.detector_number(n) for n in (2, "2", "ccd2", "CCD2", " ccd2 ")] == [2] * 5
    for wrong in (True, "ccd9", 9, ""):
        with pytest.raises(UnknownDetector):
            prime.detector_number(wrong)


def test_paths(ohp: InstrumentDefinition) -> None:
    raw = {"run": "OHP-T152/raw", "day_obs": 20220920, "exposure": 20220921020539, "detector": 0}
    wanted = "OHP-T152/raw/raw/20220920/science/20220921020539_d00.fits.gz"
    fields = {**raw, "observation_type": "science", "extension": ".fits.gz"}
    assert ohp.path("raw", fields) == wanted
    bias = {"run": "u/ann", "day_obs": 20220919, "detector": 0, "extension": "fits"}
    assert ohp.path("bias", bias) == "u/ann/bias/20220919/bias_OHP-T152_d00.fits"
    coadd = {"run": "u/ann", "day_obs": 20220920, "target": "ksi Cas/β", "instrument": None}
    assert ohp.path("coadd", coadd) == "u/ann/coadd/20220920/coadd_ksi%20Cas%2F%CE%B2"
    demo = load_shipped("demo")
    fields = {"run": "r", "day_obs": 20250310, "exposure": 202503100007, "detector": 3}
    assert demo.path("raw", fields) == "r/raw/20250310/202503100007_D3"
    with pytest.raises(UnsafePath, match="needs day_obs"):
        ohp.path("raw", {"run": "r"})
