"""Is this FITS file whole, and where are its HDUs?

Opens FITS as it lies, also gzipped, and finds truncation by arithmetic over the headers before any
pixel is read: astropy only warns, and drops the HDUs that it cannot make out. What the headers
say is in `butler.formatters.fits_header`.
"""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import warnings
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astropy.io.fits import HDUList

__all__ = ["open_fits"]

_GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def open_fits(path: str, *, whole: bool, **options: bool) -> Iterator[HDUList]:
    """Open a FITS file; astropy's warnings are silent, and damage raises.

    Parameters
    ----------
    path : str
        A file; gzip, bzip2 and xz are undone in memory.
    whole : bool
        Check that the file is as long as its headers say, and read ahead for that. Without it,
        headers are parsed as they are asked for, and of a gzipped image in the primary HDU no more
        than the header is unzipped.
    **options
        Further ones of `astropy.io.fits.open`.

    Yields
    ------
    `astropy.io.fits.HDUList`
        Valid inside the block; arrays taken from it stay valid.

    Raises
    ------
    OSError
        Without ``errno``: not FITS. With it: cannot be opened.
    ValueError, EOFError
        Truncated or damaged.
    """
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    with Path(path).open("rb") as stream:
        gzipped = stream.read(2) == _GZIP_MAGIC
        size = None if gzipped else stream.seek(0, io.SEEK_END)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            source: str | io.BytesIO = path
            if gzipped:
                with gzip.open(path) as unzipped:
                    content = unzipped.read() if whole else _first_header(unzipped)
                if content:
                    source, size = io.BytesIO(content), len(content)
            with fits.open(source, memmap=False, **options) as hdus:
                if whole and size is not None:
                    _check_extent(hdus, size)
                yield hdus
    except (fits.VerifyError, zlib.error, lzma.LZMAError, struct.error) as error:
        raise ValueError(str(error)) from error


def _first_header(unzipped: gzip.GzipFile) -> bytes:
    """Read the primary header, if pixels follow it; else nothing: the next HDUs are needed."""
    from astropy.io.fits import Header

    header = Header.fromfile(unzipped)
    return header.tostring().encode("ascii") if header.get("NAXIS") else b""


def _check_extent(hdus: HDUList, size: int) -> None:
    """Compare where each HDU must end with the size of the file [bytes].

    The padding after the last HDU may be missing: some instruments do not write it.
    """
    from astropy.io.fits import CompImageHDU

    end, file = 0, None
    for index, hdu in enumerate(hdus):
        place = hdu.fileinfo()
        start, span, file = place["datLoc"], place["datSpan"], place["file"]
        # The `size` of a tile-compressed image is that of its pixels, not what lies in the file.
        least = start + (max(0, span - 2879) if isinstance(hdu, CompImageHDU) else hdu.size)
        if least > size:
            raise ValueError(
                f"it is truncated: HDU {index} needs {least} bytes and the file has {size}"
            )
        end = start + span
    expected = hdus[0].header.get("SKYHDUS")
    if expected is not None and expected > len(hdus):
        raise ValueError(
            f"it is truncated: it has {len(hdus)} HDUs and was written with {expected}"
        )
    if file is not None and size > end:
        file.seek(end)
        if file.read(8) == b"XTENSION":
            raise ValueError(f"it is truncated: HDU {len(hdus)} has no whole header")
