"""An example of an image with all that one can have, and how two are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData, NDData, VarianceUncertainty
from astropy.wcs import WCS

from butler.exposure import Exposure
from tests.butler.formatters.contract import FormatterContract

STRUCTURE = {"SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "EXTEND"}
STRUCTURE |= {"PCOUNT", "GCOUNT", "BSCALE", "BZERO", "INHERIT"}


def tan_wcs() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [49.179123456789, 41.3251]
    wcs.wcs.crpix = [20.5, 15.25]
    wcs.wcs.cd = np.array([[-4.7e-5, 1e-7], [1e-7, 4.7e-5]])
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.set()
    return wcs


def corners_on_sky(exposure: CCDData) -> np.ndarray[Any, Any]:
    ny, nx = exposure.data.shape[-2:]
    return np.array(exposure.wcs.all_pix2world([0, nx - 1, 0, nx - 1], [0, 0, ny - 1, ny - 1], 0))


def cards(header: fits.Header, without: Any = ()) -> list[str]:
    return [str(card) for card in header.cards if card.keyword not in {*STRUCTURE, *without}]


def observation_cards(exposure: CCDData) -> list[str]:
    """List the cards that a write and a read must not change: all but WCS, unit, provenance."""
    wcs = set(exposure.wcs.to_header(relax=True)) if exposure.wcs is not None else set()
    wcs |= {f"{k}{a}_{b}" for k in ("CD", "PC") for a in (1, 2) for b in (1, 2)}
    header = exposure.header
    return sorted(
        str(card)
        for card in (header if isinstance(header, fits.Header) else fits.Header(header)).cards
        if card.keyword not in wcs | {"BUNIT"} and not card.keyword.startswith("SKYS_")
    )


def assert_same_exposure(got: CCDData, put: CCDData) -> None:
    assert got.data.dtype == put.data.dtype
    assert got.data.dtype.isnative
    assert np.array_equal(got.data, put.data, equal_nan=put.data.dtype.kind == "f")
    assert got.unit == put.unit
    assert (got.mask is None) == (put.mask is None)
    if put.mask is not None:
        assert got.mask.dtype == put.mask.dtype
        assert np.array_equal(got.mask, put.mask)
    assert type(got.uncertainty) is type(put.uncertainty)
    if put.uncertainty is not None:
        assert np.array_equal(got.uncertainty.array, put.uncertainty.array, equal_nan=True)
        assert got.uncertainty.unit == put.uncertainty.unit
    assert (got.wcs is None) == (put.wcs is None)
    if put.wcs is not None:  # 1e-12 degrees are 4 nanoarcseconds
        assert np.allclose(corners_on_sky(got), corners_on_sky(put), rtol=0, atol=1e-12)
    assert observation_cards(got) == observation_cards(put)


class ImageContract(FormatterContract):
    """What every formatter of images must do."""

    storage_class = "Exposure"

    def example(self) -> Exposure:
        rng = np.random.default_rng(20220919)
        header = fits.Header()
        header["OBJECT"] = ("IC 310", "a comment / with a slash")
        header["EXPTIME"] = (40.0, "[s]")
        header["SHUTTER"] = True
        header["NCOMB"] = 5
        header["NOVALUE"] = None
        header["LONGTEXT"] = "a string that one card cannot hold, by far: " + "0123456789 " * 20
        header["HIERARCH ESO DET CHIP1 NAME"] = "Marlene"
        header["HIERARCH FLUXMAG0ERR"] = 263935023.009861
        header["COMMENT"] = "first"
        header["COMMENT"] = "second"
        header["HISTORY"] = "overscan subtracted"
        header.append(("", "a blank keyword"), end=True)
        header["MP_BAD"] = 0
        header["HIERARCH MP_DETECTED_NEGATIVE"] = 6
        header["SKYS_ID"] = "of the raw, not of this"
        data = rng.normal(300, 3, (30, 40)).astype(np.float32)
        data[3, 4] = np.nan
        return Exposure(
            data,
            unit="electron",
            mask=(rng.random((30, 40)) < 0.1).astype(np.int32) << 6,
            uncertainty=VarianceUncertainty(rng.random((30, 40)).astype(np.float32)),
            wcs=tan_wcs(),
            meta=header,
        )

    def assert_same(self, got: Any, put: Any) -> None:
        assert isinstance(got, CCDData)
        assert_same_exposure(got, put)

    def components(self, obj: Any) -> dict[str, Any]:
        return {
            "image": obj.data,
            "data": obj.data,
            "mask": obj.mask,
            "uncertainty": obj.uncertainty,
            "variance": obj.uncertainty,
            "wcs": obj.wcs,
            "header": obj.header,
            "metadata": obj.header,
        }

    def assert_same_component(self, got: Any, expected: Any) -> None:
        if isinstance(expected, fits.Header):
            wanted = cards(expected, without={"SKYS_ID"})
            assert [card for card in cards(got) if card in wanted] == wanted
        elif isinstance(expected, WCS):
            assert np.allclose(
                got.all_pix2world(7, 8, 0), expected.all_pix2world(7, 8, 0), atol=1e-12
            )
        elif isinstance(expected, np.ndarray):
            assert got.dtype == expected.dtype
            assert np.array_equal(got, expected, equal_nan=got.dtype.kind == "f")
        else:
            assert isinstance(got, VarianceUncertainty)
            assert np.array_equal(got.array, expected.array)

    def wrong_types(self) -> list[tuple[Any, str]]:
        return [
            (np.ones((2, 2)), "CCDData(array, unit='adu')"),
            (NDData(np.ones((2, 2))), "CCDData(nddata, unit='adu')"),
            ({"a": 1}, "StructuredDataDict"),
            ("raw.fits", "ingest"),
        ]
