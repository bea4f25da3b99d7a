"""How do pixels come from a FITS file into an array of the machine's byte order, and back?

Plain images are read and written here, in pieces that stay in the processor's cache while their
bytes are swapped; of a box, only its rows. Tiles are in `butler.formatters.fits_tiles`. What needs
arithmetic (scaled images) goes through astropy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from backbone.hashing import KEPT
from butler.formatters.fits_scan import PlainImage, flipped_bit, padded
from butler.formatters.fits_tiles import read_tiles
from butler.formatters.raw_array import read_array, read_box

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["read_pixels", "read_plain", "sign_bit", "write_pixels"]

_STORED = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
PIECE = 1 << 20
"""Bytes that are written at a time: swapped, written and hashed in the processor's cache."""
_SCALING = ("BZERO", "BSCALE", "BLANK")


def read_pixels(
    hdu: Any, stream: BinaryIO, cut: tuple[slice, slice] | None = None
) -> npt.NDArray[Any]:
    """Read the pixels of an image HDU, or a box of them.

    Parameters
    ----------
    hdu : `astropy.io.fits.PrimaryHDU`, `ImageHDU` or `CompImageHDU`
        Of an open file.
    stream : binary file
        That file; it can seek.
    cut : tuple of slice, optional
        Of the last two axes, in the order of the array's; the others are read whole.

    Returns
    -------
    array
        Writeable, owned by the caller, in native byte order.

    Raises
    ------
    ValueError, EOFError
        The file is truncated, or its headers lie.
    MemoryError
        Unpacked it would not fit into memory.
    """
    from astropy.io.fits import CompImageHDU

    if isinstance(hdu, CompImageHDU):
        return _native(read_tiles(hdu, stream, cut))
    bitpix = hdu.header["BITPIX"]
    flip = flipped_bit(bitpix, {key: hdu.header[key] for key in _SCALING if key in hdu.header})
    if flip is None:
        return _native(hdu.data if cut is None else hdu.section[(..., *cut)])
    plain = PlainImage(hdu.fileinfo()["datLoc"], bitpix, hdu.shape, flip)
    return read_plain(plain, stream, cut)


def read_plain(
    image: PlainImage, stream: BinaryIO, cut: tuple[slice, slice] | None = None
) -> npt.NDArray[Any]:
    """Read pixels that lie as they are; see `read_pixels`."""
    import numpy as np

    stored = np.dtype(_STORED[image.bitpix])
    if cut is None:
        pixels = read_array(stream, image.data_at, stored, image.shape)
    else:
        pixels = read_box(stream, image.data_at, stored, image.shape, cut)
    if image.flip:
        kind = {"u": "i", "i": "u"}[stored.kind]
        pixels = pixels.view(f"u{stored.itemsize}")
        pixels ^= pixels.dtype.type(image.flip)
        pixels = pixels.view(f"{kind}{stored.itemsize}")
    return pixels


def write_pixels(pixels: npt.NDArray[Any], stream: Any) -> None:
    """Write an array as the data of an image HDU, and fill its last block.

    Parameters
    ----------
    pixels : array
        Of a type that FITS has, or of an integer of the other sign: see `sign_bit`.
    stream : binary file
        At the end of the header.
    """
    import numpy as np

    # A HashedStream hashes a piece while the next ones are made ready in other buffers.
    put = getattr(stream, "write_kept", stream.write)
    flip = sign_bit(pixels.dtype)
    flat = pixels.reshape(-1)
    size = max(1, min(PIECE // pixels.dtype.itemsize, flat.size))
    buffers = np.empty((KEPT + 1, size), pixels.dtype.newbyteorder(">"))
    for count, start in enumerate(range(0, flat.size, size)):
        values = flat[start : start + size]
        piece = buffers[count % len(buffers), : values.size]
        piece[:] = values
        if flip:
            bits = piece.view(f">u{piece.itemsize}")
            bits ^= bits.dtype.type(flip)
        put(piece.view(np.uint8).data)
    stream.write(b"\0" * (padded(pixels.nbytes) - pixels.nbytes))


def sign_bit(kind: Any) -> int:
    """Give the bit that an integer type has turned in FITS, which lacks it (``BZERO``); or 0."""
    if kind.str[1:] in {"u2", "u4", "u8", "i1"}:
        return 1 << (8 * int(kind.itemsize) - 1)
    return 0


def _native(pixels: Any) -> npt.NDArray[Any]:
    import numpy as np

    array = np.asarray(pixels)
    if array.dtype.isnative:
        return array
    return array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))
