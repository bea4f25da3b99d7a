"""Are pixels that are read as they lie those of astropy, and is all else left to it?"""

from __future__ import annotations

import gzip
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits

from butler.formatters import get_formatter
from butler.formatters.fits_file import PlainHdu, open_fits
from butler.formatters.source import Source

if TYPE_CHECKING:
    from pathlib import Path

FITS = get_formatter("fits-image")
BOX = (1, 0, 4, 2)
VALUES = np.arange(12).reshape(3, 4)
CARDS = [
    ("EXPTIME", 30.0, "[s] time"),
    ("EMPTY", None, "no value"),
    ("HIERARCH ESO DET NAME", "x y", "long keyword"),
    ("HIERARCH ESO DET CHIP", 2),
    ("PROGRAM", "long " * 30 + " end", "over several lines"),
    ("COMMENT", "one"),
    ("COMMENT", "two"),
    ("HISTORY", "bias taken"),
]
TABLE = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(5))])


def image(kind: str, **cards: Any) -> fits.ImageHDU:
    hdu = fits.ImageHDU(VALUES.astype(kind))
    hdu.header.update(cards)
    return hdu


def scaled(zero: str) -> fits.ImageHDU:
    """Give an image whose header names its zero in so many letters."""
    hdu = image("i2")
    hdu.header.append(fits.Card.fromstring(f"BZERO   = {zero:>20}"), end=True)
    return hdu


def twice() -> fits.ImageHDU:
    hdu = image("i2", FIRST=1)
    hdu.header.append(("FIRST", 2), end=True)
    return hdu


PLAIN = {
    **{kind: [fits.PrimaryHDU(), image(kind)] for kind in ("u1", "i2", "i4", "i8", "f4", "f8")},
    **{kind: [fits.PrimaryHDU(), image(kind)] for kind in ("i1", "u2", "u4", "u8")},
    "in the primary HDU": [fits.PrimaryHDU(VALUES.astype("f4")), image("i2")],
    "behind a table": [fits.PrimaryHDU(), TABLE, image("f4"), image("i2")],
    "a cube": [fits.PrimaryHDU(), fits.ImageHDU(np.arange(24.0).reshape(2, 3, 4))],
    "zero as a float": [fits.PrimaryHDU(), scaled("32768.0")],
    "a zero of nothing": [fits.PrimaryHDU(), scaled("0")],
}
NEEDS_MORE = {
    "an exponent of Fortran": [fits.PrimaryHDU(), scaled("3.2768D4")],
    "another zero": [fits.PrimaryHDU(), scaled("100")],
    "tiles": [fits.PrimaryHDU(), fits.CompImageHDU(VALUES.astype("i4"))],
    "a letter of Latin-1": [fits.PrimaryHDU(), image("i2", OBSERVER="Ren@")],
    "a keyword twice": [fits.PrimaryHDU(), twice()],
    "blank values": [fits.PrimaryHDU(), image("i2", BLANK=3)],
}


@pytest.mark.parametrize("name", ["u2", "in the primary HDU", "behind a table", "long words"])
def test_headers_are_those_of_astropy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    hdus = PLAIN.get(name) or [fits.PrimaryHDU(), image("i2")]
    hdus[0].header.extend(CARDS)
    hdus[-1].header["EXTNAME"] = "sci"
    fits.HDUList(hdus).writeto(tmp_path / "x.fits")
    found = FITS.read(tmp_path / "x.fits").meta
    monkeypatch.setattr("butler.formatters.fits_file.is_plain_header", lambda _: False)
    theirs = FITS.read(tmp_path / "x.fits").meta
    assert [str(card) for card in found.cards] == [str(card) for card in theirs.cards]
    assert found["HIERARCH ESO DET NAME"] == "x y"
    assert found["PROGRAM"].endswith(" end")


def whole_and_box(path: Path) -> tuple[Any, Any]:
    with warnings.catch_warnings(), fits.open(path, memmap=False) as hdus:
        warnings.simplefilter("ignore")  # of a letter that is not ASCII
        data = next(hdu.data for hdu in hdus if hdu.is_image and hdu.data is not None)
        return data.copy(), data[..., BOX[1] : BOX[3], BOX[0] : BOX[2]].copy()


@pytest.mark.parametrize("name", [*PLAIN, *NEEDS_MORE])
@pytest.mark.parametrize("packed", [False, True])
def test_pixels_are_those_of_astropy(tmp_path: Path, name: str, packed: bool) -> None:
    path = tmp_path / "x.fits"
    fits.HDUList({**PLAIN, **NEEDS_MORE}[name]).writeto(path)
    path.write_bytes(path.read_bytes().replace(b"Ren@", b"Ren\xe9"))
    with open_fits(Source(path), whole=True) as file:
        assert isinstance(file.images[0], PlainHdu) == (name in PLAIN)
    whole, box = whole_and_box(path)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    got = FITS.read(path, "image")
    assert got.dtype.isnative
    assert got.dtype.kind == whole.dtype.kind
    assert np.array_equal(got, whole, equal_nan=True)
    assert np.array_equal(FITS.read(path, "image", {"bbox": BOX}), box, equal_nan=True)
    assert np.array_equal(FITS.read(path).data, whole, equal_nan=True)
