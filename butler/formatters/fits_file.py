"""Is this FITS file whole, and where are its HDUs?

Opens FITS as it lies, also compressed as a whole or behind a URL, and finds truncation and lies by
arithmetic over the headers (`butler.formatters.fits_scan`) before any pixel is read: astropy only
warns, and drops the HDUs that it cannot make out. What the headers say is in
`butler.formatters.fits_header`.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import warnings
from contextlib import closing, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from butler.formatters.fits_pixels import read_pixels, read_plain
from butler.formatters.fits_rows import check_vectors
from butler.formatters.fits_scan import (
    Extent,
    extents,
    is_plain_header,
    is_plain_table,
    plain_image,
)
from butler.formatters.limits import require_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt
    from astropy.io.fits import HDUList, Header

    from butler.formatters.fits_scan import PlainImage
    from butler.formatters.source import Source

__all__ = ["FitsFile", "open_fits", "written_by_astropy"]

_UNPACKERS: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream, mode="rb"),
    b"BZ": bz2.BZ2File,
    b"\xfd7": lzma.LZMAFile,
}
_PIECE = 1 << 24


class PlainHdu:
    """An HDU whose pixels can be read as they lie; its header is parsed when it is asked for.

    Parameters
    ----------
    header : bytes
        As it lies.
    image : PlainImage or None
        Its pixels; None: it is a table.
    """

    def __init__(self, header: bytes, image: PlainImage | None) -> None:
        self._header = header
        self.image = image

    @cached_property
    def header(self) -> Header:
        """All of its cards."""
        from astropy.io.fits import Header

        return Header.fromstring(self._header)

    @property
    def is_image(self) -> bool:
        """Whether it is no table."""
        return self.image is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its pixels, in the order of C; of no axes if it has none."""
        return () if self.image is None else self.image.shape

    @property
    def name(self) -> str:
        """Its ``EXTNAME`` in capital letters."""
        return str(self.header.get("EXTNAME", "")).strip().upper()


class FitsFile:
    """An open FITS file; astropy parses its headers when `hdus` is first asked for.

    Parameters
    ----------
    stream : binary file
        What is read from: not compressed as a whole.
    extents : sequence of Extent
        Its HDUs, or the first of them.
    options : mapping
        For `astropy.io.fits.open`.
    """

    def __init__(
        self, stream: BinaryIO, extents: Sequence[Extent], options: Mapping[str, bool]
    ) -> None:
        self.stream = stream
        self._extents = extents
        self._options = options

    @cached_property
    def hdus(self) -> HDUList:
        """Valid as long as the file is open; arrays taken from it stay valid."""
        from astropy.io import fits

        self.stream.seek(0)
        return fits.open(self.stream, memmap=False, lazy_load_hdus=True, **self._options)

    @cached_property
    def images(self) -> Sequence[Any]:
        """The HDUs for who wants their headers and images: without astropy, if that can be."""
        found = []
        for extent in self._extents:
            image = plain_image(extent)
            if (image is None and not is_plain_table(extent)) or not is_plain_header(extent.header):
                return cast("Sequence[Any]", self.hdus)
            found.append(PlainHdu(extent.header, image))
        return found

    def close(self) -> None:
        """Let the HDUs go; a file that came open stays so."""
        if "hdus" in self.__dict__:
            self.hdus.close(closed=False)

    @property
    def primary(self) -> Header:
        """The header of the first HDU."""
        header: Header = self.images[0].header
        return header

    def pixels(self, hdu: Any, cut: tuple[slice, slice] | None = None) -> npt.NDArray[Any]:
        """Read the pixels of an HDU; see `butler.formatters.fits_pixels.read_pixels`."""
        if isinstance(hdu, PlainHdu) and hdu.image is not None:
            return read_plain(hdu.image, self.stream, cut)
        return read_pixels(hdu, self.stream, cut)

    def check_table(self, hdu: Any) -> None:
        """Make sure that a table lies as it says; see `butler.formatters.fits_rows`."""
        from astropy.io.fits import BinTableHDU

        if isinstance(hdu, BinTableHDU):
            check_vectors(self.stream, hdu.header, hdu.fileinfo()["datLoc"])


@contextmanager
def written_by_astropy() -> Iterator[None]:
    """Silence astropy's warnings; let a full disk be one, which astropy takes for a bug of its own.

    Raises
    ------
    OSError
        As the system said it.
    """
    from astropy.utils.exceptions import AstropyWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            yield
        except AttributeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


@contextmanager
def open_fits(source: Source, *, whole: bool, **options: bool) -> Iterator[FitsFile]:
    """Open a FITS file; astropy's warnings are silent, and damage raises.

    Parameters
    ----------
    source : Source
        A file; gzip, bzip2 and xz are undone in memory.
    whole : bool
        Check that the file is as long as its headers say, and read ahead for that. Without it,
        headers are parsed as they are asked for, and of a gzipped image in the primary HDU no more
        than the header is unzipped.
    **options
        Further ones of `astropy.io.fits.open`.

    Yields
    ------
    FitsFile
        Open inside the block.

    Raises
    ------
    OSError
        Without ``errno``: not FITS. With it: cannot be opened.
    ValueError, EOFError
        Truncated, damaged, or its headers lie.
    MemoryError
        Unpacked it would not fit into memory.
    """
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    try:
        with source.open() as packed, warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            unpack = _UNPACKERS.get(packed.read(2))
            packed.seek(0)
            found: list[Extent] = []
            if unpack is None:
                stream = packed
                _check(stream, found, whole=whole)
            else:
                stream = _unpacked(unpack(packed), found, whole=whole)
            with closing(FitsFile(stream, found, options)) as file:
                yield file
    except fits.VerifyError as error:
        raise ValueError(str(error)) from error


def _check(stream: BinaryIO, found: list[Extent], *, whole: bool) -> None:
    """Follow the headers through a file that can seek; compare where it must end with its size.

    The padding after the last HDU may be missing: some instruments do not write it.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)

    def skip(extent: Extent) -> None:
        if whole and extent.data_at + extent.size > size:
            raise ValueError(_cut_short(len(found) - 1, extent, size))
        stream.seek(extent.end)

    for extent in extents(stream, skip):
        found.append(extent)
        if not whole and extent.end >= size:
            return
    _check_number(found)


def _cut_short(index: int, extent: Extent, size: int) -> str:
    return (
        f"it is truncated: HDU {index} needs {extent.data_at + extent.size} bytes and the file has "
        f"{size}"
    )


def _check_number(found: Sequence[Extent]) -> None:
    expected = found[0].counts.get("SKYHDUS", 0)
    if expected > len(found):
        raise ValueError(
            f"it is truncated: it has {len(found)} HDUs and was written with {expected}"
        )


def _unpacked(packed: BinaryIO, found: list[Extent], *, whole: bool) -> BinaryIO:
    """Unpack as much as the headers announce, and not a byte more.

    Without ``whole``, nothing but the primary header if it is that of an image.
    """
    content = io.BytesIO()
    reader = _Keeping(packed, content)

    def skip(extent: Extent) -> None:
        require_memory(extent.end, "its header")
        while (left := extent.end - content.tell()) and reader.read(min(_PIECE, left)):
            pass
        if content.tell() < extent.data_at + extent.size:
            raise ValueError(_cut_short(len(found) - 1, extent, content.tell()))

    for extent in extents(cast("BinaryIO", reader), skip):
        found.append(extent)
        if len(found) == 1 and not whole and extent.counts["NAXIS"]:
            return content
    _check_number(found)
    return content


class _Keeping:
    """A stream that keeps what was read from it."""

    def __init__(self, stream: BinaryIO, kept: BinaryIO) -> None:
        self.stream, self.kept = stream, kept

    def read(self, size: int) -> bytes:
        found = self.stream.read(size)
        self.kept.write(found)
        return found
