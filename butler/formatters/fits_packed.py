"""How are images written smaller, without the loss of a bit?

Gzipped as a whole, or in tiles of which a box needs only some. Both are read as any FITS image is
(`butler.formatters.fits_image`).
"""

from __future__ import annotations

import gzip
from typing import Any, BinaryIO, ClassVar, cast

from butler.formatters.fits_file import written_by_astropy
from butler.formatters.fits_image import FitsImageFormatter

__all__ = ["FitsGzipFormatter", "FitsTilesFormatter"]

_TILE = 128
"""Pixels on a side: 1 % of 16 megapixels touches 2 % of such tiles, and 4 % of twice as large."""


class FitsGzipFormatter(FitsImageFormatter):
    """A FITS image that is gzipped as a whole: any part of it needs all that lies before."""

    name = "fits-image-gzip"
    extension: ClassVar[str] = ".fits.gz"

    def pack(self, hdus: list[Any], stream: BinaryIO) -> None:
        """Write the HDUs through gzip."""
        with gzip.GzipFile("", "wb", 1, stream, mtime=0) as packed:
            super().pack(hdus, cast("BinaryIO", packed))


class FitsTilesFormatter(FitsImageFormatter):
    """A FITS image in tiles that are compressed one by one, without loss.

    Integers of up to 32 bits by the algorithm of Rice, all else by gzip after sorting its bytes.
    Images of fewer than two axes are not compressed.
    """

    name = "fits-image-tiles"
    extension: ClassVar[str] = ".fits.fz"

    def pack(self, hdus: list[Any], stream: BinaryIO) -> None:
        """Write the HDUs, those with pixels in tiles."""
        from astropy.io import fits

        tiled = [hdus[0], *(self._tiled(hdu) for hdu in hdus[1:])]
        with written_by_astropy():
            fits.HDUList(tiled).writeto(stream, output_verify="ignore")

    def _tiled(self, hdu: Any) -> Any:
        from astropy.io import fits

        pixels = hdu.data
        if pixels.ndim < 2 or pixels.size == 0:
            return hdu
        rice = pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 4
        return fits.CompImageHDU(
            pixels,
            hdu.header,
            compression_type="RICE_1" if rice else "GZIP_2",
            tile_shape=(1,) * (pixels.ndim - 2) + tuple(min(_TILE, n) for n in pixels.shape[-2:]),
            quantize_level=0.0,
        )
