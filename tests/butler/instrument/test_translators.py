"""Known cameras through astro-metadata-translator, against its answers and Butler exports."""

from __future__ import annotations

import gzip
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from astro_metadata_translator import ObservationInfo
from astro_metadata_translator.tests import read_test_file
from astropy.io import fits
from astropy.time import Time

from butler.instrument import InstrumentDefinition, load_shipped
from butler.instrument.checking import check_files
from butler.instrument.errors import MissingCard, MissingTranslator
from butler.instrument.translator import translator_class
from registry.timespan import tai_ns

if TYPE_CHECKING:
    from pathlib import Path

HEADERS = {
    "fitsheader-decam-0160496": ("decam", "DECam_00160496.fits"),
    "fitsheader-decam": ("decam", "DECam_00229388.fits"),
    "fitsheader-decam-raw_dec050441_25": ("decam", "DECam_00177764.fits"),
    "fitsheader-decam-calexp-0412037_10": ("decam", "DECam_00412037.fits"),
    "fitsheader-hsc": ("hsc", "HSCA90402512.fits"),
    "fitsheader-hsc-HSCA04090107": ("hsc", "HSCA04090107.fits"),
}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", HEADERS)
def test_values_are_those_of_the_translator(test_data: Path, name: str) -> None:
    camera, filename = HEADERS[name]
    header = dict(read_test_file(str(test_data / "real-fits-headers" / f"{name}.yaml")))
    info: Any = ObservationInfo(dict(header), pedantic=False)
    definition = load_shipped(camera)
    observation = definition.translate(header, path=filename)
    assert observation.exposure == info.exposure_id
    assert observation.detector == info.detector_num
    assert observation.obs_id == info.observation_id
    assert observation.begin_tai_ns == tai_ns(info.datetime_begin)
    # HSC's translator names nights by the UTC date; the evening on Maunakea is of the day before.
    assert observation.day_obs == info.observing_day - (camera == "hsc")
    assert observation.exposure_time == info.exposure_time.to_value("s")
    assert observation.dark_time == info.dark_time.to_value("s")
    assert observation.science_program == info.science_program
    assert observation.physical_filter == definition.filter_name(info.physical_filter)
    wanted = {"zero": "bias"}.get(info.observation_type, info.observation_type)
    assert observation.observation_type == wanted
    sky = info.tracking_radec.icrs
    assert observation.ra == pytest.approx(sky.ra.deg, abs=1e-9)
    assert observation.dec == pytest.approx(sky.dec.deg, abs=1e-9)
    assert (observation.region is None) == (wanted == "bias")
    assert observation.origins["exposure"].kind == "translator"


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", HEADERS)
def test_auto_finds_the_translator_of_each_header(test_data: Path, name: str) -> None:
    camera, filename = HEADERS[name]
    header = dict(read_test_file(str(test_data / "real-fits-headers" / f"{name}.yaml")))
    spec = load_shipped(camera).to_mapping()
    named = load_shipped(camera).translate(header, path=filename)
    auto = InstrumentDefinition.from_mapping(spec | {"translator": "auto"})
    found = auto.translate(header, path=filename)
    assert found.exposure_record() == named.exposure_record()
    assert found.data_id == named.data_id
    # a rule wins over the translator, value by value
    ruled = spec["translate"] | {"target_name": {"value": "mine"}}
    mine = InstrumentDefinition.from_mapping(spec | {"translator": "auto", "translate": ruled})
    assert mine.translate(header, path=filename).exposure_record() == named.exposure_record() | {
        "target_name": "mine"
    }
    assert not {"EXPTIME", "DATE-OBS"} & set(found.unused_cards)


def test_a_header_that_no_translator_knows() -> None:
    spec = load_shipped("decam").to_mapping() | {"translator": "auto", "identify": {}}
    definition = InstrumentDefinition.from_mapping(spec)
    with pytest.raises(MissingCard) as caught:
        definition.translate({"INSTRUME": "HomeCam", "EXPTIME": 3.0}, path="DECam_00160496.fits")
    assert (
        "DECam_00160496.fits: gets no exposure (number of the exposure, unique at the instrument "
        "(integer)), and no translator of astro-metadata-translator knows its header "
        "(INSTRUME = 'HomeCam'): add a rule translate.exposure"
    ) in str(caught.value)


@pytest.mark.filterwarnings("default")
def test_a_check_tells_which_property_of_which_cards(test_data: Path, tmp_path: Path) -> None:
    name = "fitsheader-decam-raw_dec050441_25"
    header = read_test_file(str(test_data / "real-fits-headers" / f"{name}.yaml"))
    cards = {k: v for k, v in header.items() if k not in ("COMMENT", "HISTORY", "")}
    for structure in ("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND"):
        cards.pop(structure, None)
    path = tmp_path / "DECam_00177764.fits"
    made = fits.Header()
    made.update({k: v for k, v in cards.items() if len(k) <= 8})
    fits.writeto(path, np.zeros((2, 2), "i2"), made, output_verify="fix")
    (file,) = check_files(load_shipped("decam"), [path]).files
    told = {t.name: t for t in file.values}
    assert told["exposure"].source == "translator DECam exposure_id of EXPNUM"
    assert told["exposure_time"].source == "translator DECam exposure_time of EXPTIME"
    assert (told["exposure"].value, told["exposure_time"].value) == (177764, 30.0)


@pytest.mark.filterwarnings("default")
def test_community_pipeline_images_of_decam_are_calexps(test_data: Path) -> None:
    stem = "c4d_190402_050618_ooi_VR_v1"
    path = test_data / f"real-fits-headers/fitsheader-decam-instcal-{stem}.yaml"
    observation = load_shipped("decam").translate(read_test_file(str(path)), path=f"{stem}.fits.fz")
    assert observation.dataset_type == "calexp"
    assert observation.data_id == {"instrument": "DECam", "detector": 1, "visit": 845291}
    assert (observation.band, observation.target_name) == ("VR", None)


def test_the_nonsense_end_of_decam_is_not_taken_over(test_data: Path) -> None:
    """DTUTC, which the translator takes, lies nine hours behind the begin of this 30 s exposure."""
    name = "fitsheader-decam-raw_dec050441_25"
    header = dict(read_test_file(str(test_data / "real-fits-headers" / f"{name}.yaml")))
    observation = load_shipped("decam").translate(header, path="DECam_00177764.fits")
    assert observation.begin_tai_ns is not None
    assert observation.end_tai_ns == observation.begin_tai_ns + 30_000_000_000


def exported(path: Path) -> dict[str, list[dict[str, Any]]]:
    class Loader(yaml.SafeLoader):
        """Reads times of lsst-daf-butler exports; leaves out regions and the like."""

    def tai(loader: Any, node: Any) -> int:
        return int(tai_ns(Time(loader.construct_scalar(node), scale="tai")))

    Loader.add_constructor("!butler_time/tai/iso", tai)
    Loader.add_constructor(None, lambda _, __: None)
    with gzip.open(path) as file:
        data = yaml.load(file, Loader=Loader)["data"]  # noqa: S506 (a SafeLoader)
    return {part["element"]: part["records"] for part in data if part["type"] == "dimension"}


@pytest.mark.parametrize(
    ("camera", "file"),
    [("hsc", "hsc-rc2-subset.yaml.gz"), ("decam", "testdata_decam-exports.yaml.gz")],
)
def test_detectors_filters_and_nights_agree_with_butler_exports(
    test_data: Path, camera: str, file: str
) -> None:
    definition = load_shipped(camera)
    records = exported(test_data / "butler-registry-exports" / file)
    assert definition.name == records["instrument"][0]["name"]
    detectors = {d.number: (d.name, d.raft, d.purpose) for d in definition.detectors}
    assert detectors == {
        d["id"]: (d["full_name"], d["raft"], d["purpose"].lower()) for d in records["detector"]
    }
    for band in records["physical_filter"]:
        assert definition.band(band["name"]) == band["band"]
    nights = [(v["day_obs"], definition.night(v["datetime_begin"])) for v in records["visit"]]
    if camera == "hsc":
        assert len(nights) == 160
        assert all(theirs == ours for theirs, ours in nights)
    else:
        assert nights == [(20130901, 20130831)]  # exported when nights were UTC dates


def test_a_missing_package_or_translator_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(MissingTranslator, match=r"no translator 'DECAM'\. Did you mean 'DECam'"):
        translator_class("DECAM")
    monkeypatch.setitem(sys.modules, "astro_metadata_translator", None)
    with pytest.raises(MissingTranslator, match=r"pip install 'skyspine\[metadata\]'"):
        translator_class("DECam")
