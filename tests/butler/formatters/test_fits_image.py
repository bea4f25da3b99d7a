"""FITS images: made ones in every shape, and real frames of five cameras."""

from __future__ import annotations

import copy
import gzip
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import (
    CCDData,
    InverseVariance,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.wcs import WCS

from butler.errors import (
    CannotWrite,
    DamagedFile,
    InvalidParameter,
    MissingComponent,
    StorageClassError,
    UnknownComponent,
)
from butler.exposure import Exposure
from butler.formatters import get_formatter
from butler.storage_classes import get_storage_class
from tests.butler.formatters.contract import PROVENANCE
from tests.butler.formatters.images import (
    ImageContract,
    assert_same_exposure,
    cards,
    corners_on_sky,
    tan_wcs,
)

if TYPE_CHECKING:
    from pathlib import Path

FITS = get_formatter("fits-image")


class TestFitsImage(ImageContract):
    name = "fits-image"
    storage_class = "Exposure"
    truncations = (0.0, 0.01, 0.2, 0.4, 0.5, 0.6, 0.75, 0.85)
    garbage = (
        b"",
        b"Dear diary,\nno data today.\n",
        b"\x00\xff\xfe" * 2000,
        b"SIMPLE  =                    T" + b" " * 2850,
        gzip.compress(b"no FITS either" * 400),
        gzip.compress(b"x" * 100_000)[:50],
    )

    def inexpressible(self) -> list[tuple[Any, str]]:
        def image(**changes: Any) -> CCDData:
            given: dict[str, Any] = {"data": np.ones((4, 5)), "unit": "adu", **changes}
            return Exposure(given.pop("data"), **given)

        table_wcs = tan_wcs()
        table_wcs.cpdis1 = _lookup_table()
        lonely = image()
        lonely.uncertainty = VarianceUncertainty(np.ones((2, 2)))
        return [
            (image(meta={"SEEING": float("nan")}), "'SEEING'"),
            (image(meta={"OBSERVER": "José"}), "'OBSERVER'"),
            (image(meta={"AMPS": [1, 2]}), "'AMPS'"),
            (image(data=np.ones((4, 5), bool)), "bool"),
            (image(data=np.ones((4, 5), np.float16)), "float16"),
            (image(data=np.ones((4, 5), complex)), "convert them to float32"),
            (image(data=np.array(3.0)), "no pixels"),
            (image(uncertainty=StdDevUncertainty(np.ones((4, 5), np.longdouble))), "uncertainty"),
            (lonely, "(2, 2)"),
            (image(wcs=table_wcs), "lookup-table"),
        ]

    @pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8"])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_pixel_types_are_kept(self, path: Path, dtype: str, order: Any) -> None:
        kind = np.dtype(dtype)
        ends = [np.iinfo(kind).min, np.iinfo(kind).max] if kind.kind in "iu" else [-1e30, 1e-30]
        data = np.array([[*ends, 0], [1, 2, 3]], kind, order=order)
        FITS.write(CCDData(data, unit="adu"), path)
        got = FITS.read(path)
        assert got.data.dtype == kind
        assert got.data.flags.writeable
        assert np.array_equal(got.data, data)
        assert np.array_equal(
            FITS.read(path, parameters={"bbox": (1, 0, 3, 1)}).data, data[:1, 1:3]
        )

    @pytest.mark.parametrize(
        "uncertainty", [StdDevUncertainty, VarianceUncertainty, InverseVariance, UnknownUncertainty]
    )
    @pytest.mark.parametrize("unit", ["adu", "electron", "", "nJy", "1e-17 erg / (Angstrom cm2 s)"])
    def test_kind_and_unit_of_the_uncertainty_are_kept(
        self, path: Path, uncertainty: Any, unit: str
    ) -> None:
        put = CCDData(np.ones((3, 4)), unit=unit, uncertainty=uncertainty(np.full((3, 4), 2.5)))
        FITS.write(put, path)
        assert_same_exposure(FITS.read(path), put)
        if uncertainty is UnknownUncertainty:
            with pytest.raises(MissingComponent, match="unknown kind"):
                FITS.read(path, "variance")
        else:
            variance = FITS.read(path, "variance")
            expected = {StdDevUncertainty: 6.25, VarianceUncertainty: 2.5, InverseVariance: 0.4}
            assert np.all(variance.array == expected[uncertainty])

    @pytest.mark.parametrize("dtype", [bool, "u1", "i2", "u2", "i4"])
    def test_masks_stay_boolean_or_planes(self, path: Path, dtype: Any) -> None:
        put = Exposure(np.ones((3, 4)), unit="adu", mask=np.eye(3, 4).astype(dtype))
        FITS.write(put, path)
        assert FITS.read(path).mask.dtype == np.dtype(dtype)
        assert np.array_equal(FITS.read(path, "mask"), put.mask)

    def test_integers_with_a_blank_value_stay_integers(self, path: Path) -> None:
        put = CCDData(np.arange(4, dtype=np.int16), unit="adu", meta=fits.Header({"BLANK": 2}))
        FITS.write(put, path)
        got = FITS.read(path)
        assert (got.data.dtype, got.header["BLANK"]) == (np.int16, 2)
        assert np.array_equal(got.data, put.data)

    def test_the_caller_keeps_his_array_and_header(self, path: Path) -> None:
        put = self.example()
        put.data.flags.writeable = False
        before = str(put.header), put.data.tobytes(), put.data.dtype
        FITS.write(put, path, PROVENANCE)
        assert (str(put.header), put.data.tobytes(), put.data.dtype) == before

    def test_a_point_spread_function_is_kept(self, path: Path) -> None:
        put = CCDData(np.ones((3, 4)), unit="adu", psf=np.arange(9.0).reshape(3, 3))
        FITS.write(put, path)
        assert np.array_equal(FITS.read(path).psf, put.psf)

    def test_astropy_reads_what_is_written(self, path: Path) -> None:
        put = self.example()
        FITS.write(put, path, PROVENANCE)
        with fits.open(path) as hdus:
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "IMAGE", "MASK", "VARIANCE"]
            hdus.verify("exception")
            assert hdus["MASK"].header["MP_BAD"] == 0
            assert hdus["MASK"].header["MP_DETECTED_NEGATIVE"] == 6
            assert hdus[0].header["LONGTEXT"] == put.header["LONGTEXT"]
            assert hdus[0].header["SKYS_ID"] == PROVENANCE["SKYS_ID"]
            assert "CRVAL1" not in hdus[0].header
        theirs = CCDData.read(
            path,
            hdu="IMAGE",
            hdu_mask="MASK",
            hdu_uncertainty="VARIANCE",
            key_uncertainty_type="UTYPE",
        )
        assert np.array_equal(theirs.data, put.data, equal_nan=True)
        assert np.array_equal(theirs.mask, put.mask != 0)
        assert isinstance(theirs.uncertainty, VarianceUncertainty)
        assert theirs.unit == u.electron
        assert np.allclose(corners_on_sky(theirs), corners_on_sky(put), rtol=0, atol=1e-12)

    @pytest.mark.parametrize("box", [(0, 0, 40, 30), (5, 7, 6, 8), (30, 2, 40, 29)])
    @pytest.mark.parametrize("storage", ["plain", "gzip", "tiles"])
    def test_a_box_of_pixels(self, path: Path, box: tuple[int, ...], storage: str) -> None:
        put = self.example()
        FITS.write(put, path)
        if storage == "gzip":
            path.write_bytes(gzip.compress(path.read_bytes()))
        elif storage == "tiles":
            _compress(path)
        x_min, y_min, x_max, y_max = box
        got = self.read(path, bbox=box)
        expected = put[y_min:y_max, x_min:x_max]
        assert np.array_equal(got.data, expected.data, equal_nan=True)
        assert np.array_equal(got.mask, expected.mask)
        assert np.array_equal(got.uncertainty.array, expected.uncertainty.array)
        assert np.allclose(corners_on_sky(got), corners_on_sky(expected), rtol=0, atol=1e-12)
        assert WCS(got.header).wcs.compare(got.wcs.wcs, 0, 1e-9)
        assert np.array_equal(self.read(path, "image", bbox=box), got.data, equal_nan=True)
        assert np.array_equal(self.read(path, "mask", bbox=box), got.mask)
        assert np.allclose(
            self.read(path, "wcs", bbox=box).all_pix2world(0, 0, 0), got.wcs.all_pix2world(0, 0, 0)
        )

    @pytest.mark.parametrize("box", [(0, 0, 41, 30), (-1, 0, 3, 3), (5, 5, 5, 9), "all", (1, 2, 3)])
    def test_a_box_outside_is_refused(self, path: Path, box: Any) -> None:
        FITS.write(self.example(), path)
        with pytest.raises(InvalidParameter, match="bbox"):
            self.read(path, bbox=box)

    def test_every_truncation_is_found(self, path: Path) -> None:
        FITS.write(self.example(), path)
        whole = path.read_bytes()
        with fits.open(path) as hdus:
            place = hdus[-1].fileinfo()
        last = place["datLoc"] + hdus[-1].size
        for length in {*range(0, last, 877), last - 1}:
            path.write_bytes(whole[:length])
            with pytest.raises(DamagedFile):
                self.read(path)
            path.write_bytes(gzip.compress(whole[:length], 1))
            with pytest.raises(DamagedFile):
                self.read(path)
        path.write_bytes(whole[:last])  # some instruments leave the last padding out
        self.assert_same(self.read(path), self.example())

    def test_a_header_that_lies_costs_no_memory(self, path: Path) -> None:
        FITS.write(CCDData(np.ones((4, 5)), unit="adu"), path)
        content = path.read_bytes().replace(
            b"NAXIS1  =                    5", b"NAXIS1  =           5000000000"
        )
        path.write_bytes(content)
        with pytest.raises(DamagedFile, match="truncated"):
            self.read(path)

    def test_a_table_is_no_image(self, path: Path) -> None:
        fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])]).writeto(path)
        with pytest.raises(DamagedFile, match="fits-table"):
            self.read(path)

    def test_missing_components_are_named(self, path: Path) -> None:
        FITS.write(CCDData(np.ones((4, 5)), unit="adu"), path)
        for component, word in (
            ("mask", "mask"),
            ("uncertainty", "uncertainty"),
            ("variance", "uncertainty"),
            ("wcs", "celestial WCS"),
        ):
            with pytest.raises(MissingComponent, match=f"has no {word}"):
                self.read(path, component)

    def test_an_unparsable_card_goes_out_as_text(self, path: Path) -> None:
        bad = b"RA      = 12:30:11.5 / no quotes"
        fits.PrimaryHDU(np.ones((4, 5)), fits.Header({"OBJECT": "Vega", "RA": 1})).writeto(path)
        content = path.read_bytes()
        at = content.index(b"RA      =")
        path.write_bytes(content[:at] + bad.ljust(80) + content[at + 80 :])
        raw = self.read(path)
        assert raw.header["OBJECT"] == "Vega"
        second = path.with_name("second.fits")
        FITS.write(raw, second)
        again = self.read(second).header
        assert (again["OBJECT"], again["RA"]) == ("Vega", "12:30:11.5")

    def test_headers_that_are_plain_dicts(self, path: Path) -> None:
        meta = {"gain": np.float32(1.5), "a key with blanks": "x", "n": np.int16(3), "none": None}
        FITS.write(CCDData(np.ones((2, 2)), unit="adu", meta=meta), path)
        header = self.read(path, "header")
        assert (header["GAIN"], header["A KEY WITH BLANKS"], header["N"]) == (1.5, "x", 3)
        assert header["NONE"] is None

    def test_a_header_is_read_without_pixels(self, path: Path) -> None:
        FITS.write(self.example(), path)
        path.write_bytes(path.read_bytes()[: 2880 * 4])
        with pytest.raises(DamagedFile):
            self.read(path)
        assert self.read(path, "header")["OBJECT"] == "IC 310"
        assert self.read(path, "wcs").has_celestial


def _lookup_table() -> Any:
    from astropy.wcs import DistortionLookupTable

    return DistortionLookupTable(np.zeros((2, 2), np.float32), (1, 1), (1, 1), (1, 1))


def _compress(path: Path) -> None:
    with fits.open(path) as hdus:
        tiles = [hdus[0].copy()] + [
            fits.CompImageHDU(hdu.data, hdu.header, compression_type="GZIP_2", quantize_level=0.0)
            for hdu in hdus[1:]
        ]
        fits.HDUList(tiles).writeto(path.with_suffix(".fz"))
    path.with_suffix(".fz").replace(path)


class TestRealFrames:
    def test_ohp_raw_frame(self, test_data: Path) -> None:
        folder = test_data / "ohp-t152-longslit-2022" / "2022-09-22" / "raw"
        path = next(folder.glob("M76_*_00007.fits.gz"))
        raw = FITS.read(path)
        assert raw.data.shape == (1, 100, 2048)
        assert raw.data.dtype == np.float32
        assert np.array_equal(raw.data, fits.getdata(path))
        assert (raw.unit, raw.mask, raw.uncertainty, raw.wcs) == (u.adu, None, None, None)
        assert cards(raw.header) == cards(fits.getheader(path))
        assert raw.header["SPECTROGRAPHNAME"] == "Spectrograph_None"
        box = FITS.read(path, parameters={"bbox": (10, 20, 30, 25)})
        assert np.array_equal(box.data, raw.data[:, 20:25, 10:30])

    def test_tircam2_raw_frame(self, test_data: Path, tmp_path: Path) -> None:
        path = test_data / "dot-tircam2-ic310-2022" / "IC310_1.fits.gz"
        raw = FITS.read(path)
        assert raw.data.dtype == np.uint16
        assert np.median(raw.data) == 41124.0
        assert raw.header["EXPTIME"] == "40"
        assert list(raw.header["COMMENT"]).count("= 'None    '           / User comment") == 4
        FITS.write(raw, tmp_path / "copy.fits")
        assert_same_exposure(FITS.read(tmp_path / "copy.fits"), raw)

    def test_phosim_raw_frame_and_its_wcs(self, test_data: Path, tmp_path: Path) -> None:
        path = test_data / "lsst-obs-test-phosim" / "raw" / "raw_v1_fg.fits.gz"
        raw = FITS.read(path)
        assert (raw.data.shape, raw.data.dtype) == ((2000, 1026), np.uint16)
        assert np.median(raw.data) == 1182.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = WCS(fits.getheader(path))
        assert np.allclose(
            raw.wcs.all_pix2world(500, 700, 0), theirs.all_pix2world(500, 700, 0), atol=1e-13
        )
        assert cards(raw.header) == cards(fits.getheader(path))
        FITS.write(raw, tmp_path / "copy.fits")
        assert_same_exposure(FITS.read(tmp_path / "copy.fits"), raw)

    def test_lsst_calexp(self, test_data: Path, tmp_path: Path) -> None:
        path = test_data / "lsst-obs-test-phosim" / "calexp-metadata" / "example-calexp.fits.gz"
        calexp = FITS.read(path)
        assert (calexp.data.shape, calexp.data.dtype) == ((4, 8), np.float32)
        assert calexp.header["MP_EDGE"] == 4
        assert calexp.header["MP_UNMASKEDNAN"] == 10
        assert calexp.mask.dtype == np.uint16
        assert np.all(calexp.mask == 1 << calexp.header["MP_EDGE"])
        assert isinstance(calexp.uncertainty, VarianceUncertainty)
        assert calexp.uncertainty.array[0, 0] == np.float32(34.60002)
        assert calexp.header["INSTRUME"] == "Hyper Suprime-Cam"
        assert calexp.header.count("BGMEAN") == 4
        assert calexp.wcs.sip is not None
        FITS.write(calexp, tmp_path / "copy.fits", PROVENANCE)
        again = FITS.read(tmp_path / "copy.fits")
        assert_same_exposure(again, calexp)
        assert again.header["SKYS_ID"] == PROVENANCE["SKYS_ID"]
        with fits.open(tmp_path / "copy.fits") as hdus:
            assert hdus["MASK"].header["MP_EDGE"] == 4

    def test_ccdproc_files(self, test_data: Path, tmp_path: Path) -> None:
        folder = test_data / "ohp-t152-longslit-2022" / "2022-09-22" / "reference"
        flat = FITS.read(folder / "master_flat.fits.gz")
        assert flat.data.dtype == np.float64
        assert flat.mask.dtype == bool
        assert isinstance(flat.uncertainty, StdDevUncertainty)
        assert np.array_equal(
            flat.data, fits.getdata(folder / "master_flat.fits.gz"), equal_nan=True
        )
        FITS.write(flat, tmp_path / "copy.fits")
        assert_same_exposure(FITS.read(tmp_path / "copy.fits"), flat)

    def test_triplets_of_legacysurvey_become_one_exposure(
        self, test_data: Path, tmp_path: Path
    ) -> None:
        exposure_class = get_storage_class("Exposure")
        folder = test_data / "legacysurvey-mosaic3-90prime-calexp" / "mzlsbass3" / "images"
        images = sorted(folder.glob("*/*/*_ooi_*.fits.gz"))
        assert len(images) == 8
        for path in images:
            files = {
                "image": path,
                "weight": path.with_name(path.name.replace("_ooi_", "_oow_")),
                "mask": path.with_name(path.name.replace("_ooi_", "_ood_")),
            }
            exposure = exposure_class.assemble({part: FITS.read(p) for part, p in files.items()})
            exposure_class.check(exposure)
            assert np.array_equal(exposure.data, fits.getdata(path))
            assert exposure.mask.dtype == np.int32
            assert isinstance(exposure.uncertainty, InverseVariance)
            assert np.array_equal(exposure.uncertainty.array, fits.getdata(files["weight"]))
            assert exposure.header["EXPTIME"] == fits.getheader(path)["EXPTIME"]
            assert exposure.wcs.to_header(relax=True)["CTYPE1"] == "RA---TPV"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs = WCS(fits.getheader(path, 1))
            assert np.allclose(
                exposure.wcs.all_pix2world(9, 8, 0), theirs.all_pix2world(9, 8, 0), atol=1e-13
            )
            FITS.write(exposure, tmp_path / path.name)
            assert_same_exposure(FITS.read(tmp_path / path.name), exposure)


class TestPartsInFilesOfTheirOwn:
    exposure_class = get_storage_class("Exposure")

    @pytest.fixture
    def parts(self) -> dict[str, Any]:
        image = CCDData(
            np.arange(12.0).reshape(3, 4), unit="nJy", wcs=tan_wcs(), meta=fits.Header()
        )
        image.header["FILTER"] = "z"
        weight = CCDData(np.full((3, 4), 4.0), unit="adu")
        mask = np.zeros((3, 4), np.int16)
        mask[1, 2] = 7
        return {"image": image, "weight": weight, "mask": CCDData(mask, unit="adu")}

    def test_values_are_joined(self, parts: dict[str, Any]) -> None:
        exposure = self.exposure_class.assemble(parts)
        assert isinstance(exposure, Exposure)
        assert exposure.unit == u.nJy
        assert exposure.uncertainty.unit == u.nJy**-2
        assert np.all(exposure.uncertainty.represent_as(VarianceUncertainty).array == 0.25)
        assert exposure.mask[1, 2] == 7
        assert np.count_nonzero(exposure.mask) == 1
        assert exposure.header["FILTER"] == "z"
        assert exposure.wcs is parts["image"].wcs

    def test_a_component_opens_only_its_own_file(self, parts: dict[str, Any]) -> None:
        opened: list[tuple[str, str | None]] = []

        def reader(part: str) -> Any:
            def read(component: str | None) -> Any:
                opened.append((part, component))
                return (
                    self.exposure_class.component(parts[part], component)
                    if component
                    else parts[part]
                )

            return read

        readers = {part: reader(part) for part in parts}
        mask = self.exposure_class.read_component("mask", readers)
        assert mask[1, 2] == 7
        variance = self.exposure_class.read_component("variance", readers)
        assert isinstance(variance, VarianceUncertainty)
        assert np.all(variance.array == 0.25)
        assert self.exposure_class.read_component("header", readers)["FILTER"] == "z"
        assert opened == [("mask", None), ("weight", None), ("image", "header")]

    def test_what_does_not_fit_is_refused(self, parts: dict[str, Any]) -> None:
        with pytest.raises(MissingComponent, match="no image, only mask"):
            self.exposure_class.assemble({"mask": parts["mask"]})
        with pytest.raises(UnknownComponent, match="Did you mean 'weight'"):
            self.exposure_class.assemble({**parts, "weihgt": parts["weight"]})
        with pytest.raises(StorageClassError, match="not of one exposure"):
            self.exposure_class.assemble({**parts, "mask": np.zeros((4, 3), np.int16)})
        with pytest.raises(MissingComponent, match="nothing stored of its wcs"):
            self.exposure_class.read_component("wcs", {"mask": lambda _: None})
        with pytest.raises(StorageClassError, match="cannot be assembled"):
            get_storage_class("DataFrame").assemble(parts)


def test_bit_planes_survive_what_is_done_to_an_exposure() -> None:
    mask = np.full((4, 5), 9, np.int32)
    exposure = Exposure(np.ones((4, 5)), unit="adu", mask=mask)
    for other in (exposure[1:3, 2:], exposure.copy(), copy.deepcopy(exposure)):
        assert isinstance(other, Exposure)
        assert other.mask.dtype == np.int32
        assert np.all(other.mask == 9)
    assert exposure.subtract(exposure).mask.dtype == bool
    exposure.mask = None
    assert exposure.mask is None
    with pytest.raises(ValueError, match="do not match"):
        exposure.mask = np.ones((2, 2), np.int32)


def test_a_card_that_astropy_cannot_format_is_named(tmp_path: Path) -> None:
    meta = fits.Header()
    meta[
        "HIERARCH A KEYWORD SO LONG THAT NO CARD HAS ROOM FOR IT AND ITS VALUE TOGETHER AT ALL"
    ] = 1.5
    with pytest.raises(CannotWrite, match="A KEYWORD SO LONG"):
        FITS.write(CCDData(np.ones((2, 2)), unit="adu", meta=meta), tmp_path / "file.fits")
    assert list(tmp_path.iterdir()) == []
