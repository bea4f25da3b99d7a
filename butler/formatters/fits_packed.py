"""How are images written smaller?

Gzipped as a whole, or in tiles of which a box needs only some; without the loss of a bit, unless
it is asked that the noise be quantized. Both are read as any FITS image is
(`butler.formatters.fits_image`).
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, cast

from butler.formatters.fits_file import written_by_astropy
from butler.formatters.fits_image import FitsImageFormatter
from butler.formatters.options import Option, number, sides, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FitsGzipFormatter", "FitsTilesFormatter"]

_TILE = 128
"""Pixels on a side: 1 % of 16 megapixels touches 2 % of such tiles, and 4 % of twice as large."""


class FitsGzipFormatter(FitsImageFormatter):
    """A FITS image that is gzipped as a whole: any part of it needs all that lies before."""

    name = "fits-image-gzip"
    extension: ClassVar[str] = ".fits.gz"
    options: ClassVar[Mapping[str, Option]] = {
        "level": Option(1, whole(1, 9), "How hard gzip tries"),
    }

    def pack(self, hdus: list[Any], stream: BinaryIO) -> None:
        """Write the HDUs through gzip."""
        with gzip.GzipFile("", "wb", self.option("level"), stream, mtime=0) as packed:
            super().pack(hdus, cast("BinaryIO", packed))


class FitsTilesFormatter(FitsImageFormatter):
    """A FITS image in tiles that are compressed one by one, without loss unless asked for.

    Integers of up to 32 bits by the algorithm of Rice, all else by gzip after sorting its bytes.
    Images of fewer than two axes are not compressed. With ``quantize``, floating-point pixels are
    kept to a fraction of the noise of their tile (``quantize=16``: to its 16th part), dithered so
    that means stay, and zeros stay zeros.
    """

    name = "fits-image-tiles"
    extension: ClassVar[str] = ".fits.fz"
    options: ClassVar[Mapping[str, Option]] = {
        "tile": Option([_TILE, _TILE], sides(1 << 15), "Rows and columns of a tile [pixel]"),
        "quantize": Option(
            0.0,
            number(0, 1e6),
            "Steps into which the noise of floating-point pixels is divided; 0: no loss",
        ),
    }

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
        whole_numbers = pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 4
        steps = self.option("quantize") if pixels.dtype.kind == "f" else 0.0
        tile = map(min, self.option("tile"), pixels.shape[-2:])
        return fits.CompImageHDU(
            pixels,
            hdu.header,
            compression_type="RICE_1" if whole_numbers or steps else "GZIP_2",
            tile_shape=(1,) * (pixels.ndim - 2) + tuple(tile),
            quantize_level=steps,
            quantize_method=fits.hdu.compressed.SUBTRACTIVE_DITHER_2 if steps else None,
            dither_seed=fits.hdu.compressed.DITHER_SEED_CHECKSUM if steps else None,
        )
