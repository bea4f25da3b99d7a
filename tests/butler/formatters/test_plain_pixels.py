"""Are pixels that are read as they lie those of astropy, and is all else left to it?"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits

from butler.formatters import get_formatter
from butler.formatters.fits_scan import Extent, extents, plain_image

if TYPE_CHECKING:
    from pathlib import Path

FITS = get_formatter("fits-image")
BOX = (1, 0, 4, 2)
VALUES = np.arange(12).reshape(3, 4)
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
    "blank values": [fits.PrimaryHDU(), image("i2", BLANK=3)],
}


def whole_and_box(path: Path) -> tuple[Any, Any]:
    with fits.open(path, memmap=False) as hdus:
        data = next(hdu.data for hdu in hdus if hdu.is_image and hdu.data is not None)
        return data.copy(), data[..., BOX[1] : BOX[3], BOX[0] : BOX[2]].copy()


@pytest.mark.parametrize("name", [*PLAIN, *NEEDS_MORE])
@pytest.mark.parametrize("packed", [False, True])
def test_pixels_are_those_of_astropy(tmp_path: Path, name: str, packed: bool) -> None:
    path = tmp_path / "x.fits"
    fits.HDUList({**PLAIN, **NEEDS_MORE}[name]).writeto(path)
    with path.open("rb") as stream:

        def skip(extent: Extent) -> None:
            stream.seek(extent.end)

        found = plain_image(extents(stream, skip))
    assert (found is not None) == (name in PLAIN)
    whole, box = whole_and_box(path)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    got = FITS.read(path, "image")
    assert got.dtype.isnative
    assert got.dtype.kind == whole.dtype.kind
    assert np.array_equal(got, whole, equal_nan=True)
    assert np.array_equal(FITS.read(path, "image", {"bbox": BOX}), box, equal_nan=True)
    assert np.array_equal(FITS.read(path).data, whole, equal_nan=True)
