"""Footprints against astropy's own world coordinates."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from butler.instrument.cards import Header, read_headers
from butler.instrument.footprint import PixelFrame, footprint

if TYPE_CHECKING:
    from pathlib import Path

MAS = 1 / 3_600_000


def wanted_corners(header: fits.Header) -> Any:
    nx, ny = header["NAXIS1"], header["NAXIS2"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(header, naxis=2)
        sky = wcs.pixel_to_world([-0.5, nx - 0.5, nx - 0.5, -0.5], [-0.5, -0.5, ny - 0.5, ny - 0.5])
    return np.column_stack([sky.icrs.ra.deg, sky.icrs.dec.deg])


def made(**cards: Any) -> fits.Header:
    hdu = fits.PrimaryHDU(np.zeros((800, 1000), dtype="i1"))
    tan = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 45.0, "CRPIX1": 500.5,
        "CRPIX2": 400.5, "CD1_1": -1e-4, "CD1_2": 2e-6, "CD2_1": 2e-6, "CD2_2": 1e-4,
    }  # fmt: skip
    for name, value in (tan | cards).items():
        hdu.header[name] = value
    return hdu.header


def of(header: fits.Header, frame: PixelFrame | None = None) -> Any:
    return footprint(Header(0, header.tostring(endcard=False, padding=False).encode()), frame)


@pytest.mark.parametrize(
    ("pattern", "hdu", "files"),
    [
        ("lsst-obs-test-phosim/raw/*.fits.gz", 0, 3),
        ("legacysurvey-mosaic3-90prime-calexp/mzlsbass3/images/*/*/*_ooi_*.fits.gz", 1, 8),
    ],
)
def test_real_tan_and_tpv_headers(test_data: Path, pattern: str, hdu: int, files: int) -> None:
    paths = sorted(test_data.glob(pattern))
    assert len(paths) == files
    for path in paths:
        region = footprint(read_headers(path, hdu).data)
        with fits.open(path) as hdus:
            wanted = wanted_corners(hdus[hdu].header)
        assert region is not None
        assert region.shape == (4, 2)
        assert np.abs(region - wanted).max() < MAS


SIP = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-5, "A_0_2": 2e-6, "B_1_1": -3e-5, "B_2_0": 1e-6}


@pytest.mark.parametrize(
    "cards",
    [
        {"RADESYS": "ICRS"},
        {"RADESYS": "FK5", "EQUINOX": 2000.0},
        {"RADESYS": "FK5", "EQUINOX": 1975.0},
        {"RADESYS": "FK4", "EQUINOX": 1950.0},
        {"EQUINOX": 1950.0},
        {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"},
        {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", **SIP},
        SIP,
        {"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": 45.0, "CRVAL2": 10.0},
        {"CRVAL1": 0.0},
        {"CTYPE1": "RA---ZEA", "CTYPE2": "DEC--ZEA", "CRVAL2": 89.99},
        {"CTYPE1": "RA---ZPN", "CTYPE2": "DEC--ZPN", "PV2_1": 1.0, "PV2_3": 42.0},
        {"RADECSYS": "FK5", "EQUINOX": 2000.0},
    ],
)
def test_projections_distortions_and_frames(cards: dict[str, Any]) -> None:
    header = made(**cards)
    separation = of(header) - wanted_corners(header)
    separation[:, 0] = (separation[:, 0] + 180) % 360 - 180
    assert np.abs(separation[:, 1]).max() < MAS
    assert np.abs(separation[:, 0] * np.cos(np.radians(of(header)[:, 1]))).max() < MAS


@pytest.mark.parametrize(
    "cards", [{}, SIP, {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", **SIP}]
)
def test_pixels_that_are_not_those_of_the_file(cards: dict[str, Any]) -> None:
    """Rows from 301 on of a larger frame, with eight columns of overscan, which see no sky."""
    frame = PixelFrame((0.0, -300.0), ncols=992, nrows=800)
    cut = made(**cards)
    cut["CRPIX2"] -= 300.0
    cut["NAXIS1"] = 992
    assert np.abs(of(made(**cards), frame) - wanted_corners(cut)).max() < MAS
    assert np.abs(of(made(**cards), frame) - of(made(**cards))).max() > 300 * 0.9e-4


def test_units_are_understood_as_hsc_writes_them() -> None:
    """Subaru's headers have CUNIT1 = 'degree', which astropy.wcs.WCS refuses."""
    assert np.abs(of(made(CUNIT1="degree", CUNIT2="degree")) - of(made())).max() < MAS


def test_sip_without_its_suffix_is_applied_as_astropy_does() -> None:
    assert np.abs(of(made(**SIP)) - of(made())).max() > 100 * MAS


def test_headers_without_celestial_wcs_have_no_footprint(test_data: Path) -> None:
    for path in (
        "dot-tircam2-ic310-2022/IC310_1.fits.gz",
        "lsst-obs-test-phosim/defects/defects.fits",
    ):
        assert footprint(read_headers(test_data / path).data) is None
    assert of(made(CTYPE1="LINEAR", CTYPE2="LINEAR")) is None
    assert of(fits.Header()) is None


def test_a_cube_and_a_compressed_image(tmp_path: Path) -> None:
    cube = made()
    cube["NAXIS"], cube["NAXIS3"], cube["CTYPE3"] = 3, 1, "FREQ"
    assert np.abs(of(cube) - of(made())).max() < MAS
    image = fits.CompImageHDU(np.zeros((800, 1000), dtype="i2"), header=made())
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "x.fits.fz")
    region = footprint(read_headers(tmp_path / "x.fits.fz").data)
    assert region is not None
    assert np.abs(region - of(made())).max() < MAS


@pytest.mark.parametrize(
    "cards",
    [
        {"CD1_1": 0.0, "CD1_2": 0.0},
        {"CTYPE2": "DEC--SIN"},
        {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CD1_1": -1.0, "CD2_2": 1.0},
    ],
)
def test_a_wcs_that_cannot_be_used_is_an_error(cards: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w+"):
        of(made(**cards))
