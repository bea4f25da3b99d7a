"""How do pixels come from a FITS file into an array of the machine's byte order?

Plain images are read here, in pieces that stay in the processor's cache while their bytes are
swapped; a box of them through a memory map. What needs arithmetic (scaled, tile-compressed or
unzipped images) goes through astropy.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["read_pixels"]

_PIECE = 1 << 18
"""Pixels that are read at a time."""


def read_pixels(hdu: Any, cut: tuple[slice, ...] | None = None) -> npt.NDArray[Any]:
    """Read the pixels of an image HDU, or a box of them.

    Parameters
    ----------
    hdu : `astropy.io.fits.PrimaryHDU`, `ImageHDU` or `CompImageHDU`
        Of an open file.
    cut : tuple of slice, optional
        Of the last axes, in the order of the array's; the others are read whole.

    Returns
    -------
    array
        Writeable, owned by the caller, in native byte order.
    """
    import numpy as np

    place = hdu.fileinfo()
    if not _is_plain(hdu) or place["file"].file_like or place["file"].compression:
        array: npt.NDArray[Any] = hdu.data if cut is None else hdu.section[(..., *cut)]
        if not array.dtype.isnative:
            array = array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))
        return array
    name = place["file"].name
    kind = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
    stored = np.dtype(kind[hdu.header["BITPIX"]])
    native = stored.newbyteorder("=")
    if cut is not None:
        mapped: Any = np.memmap(name, stored, "r", place["datLoc"], hdu.shape)
        return np.array(mapped[(..., *cut)], native)
    whole = np.empty(hdu.shape, native)
    flat = whole.reshape(-1)
    piece = np.empty(min(_PIECE, flat.size), stored)
    with Path(name).open("rb") as stream:
        stream.seek(place["datLoc"])
        for start in range(0, flat.size, _PIECE):
            part = piece[: flat.size - start]
            if stream.readinto(part.view(np.uint8).data) < part.nbytes:
                raise EOFError("it is truncated: it ended while its pixels were read")
            flat[start : start + part.size] = part
    return whole


def _is_plain(hdu: Any) -> bool:
    """Say whether the values are those that lie in the file."""
    from astropy.io.fits import CompImageHDU

    header = hdu.header
    return not isinstance(hdu, CompImageHDU) and not any(
        key in header for key in ("BZERO", "BSCALE", "BLANK")
    )
