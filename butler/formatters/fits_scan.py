"""Where do the HDUs of a FITS file begin and end, if its headers tell the truth?

Reads the few cards of each header that give the size of what follows, and nothing else, so that a
header that lies is found before any library believes it.  FITS standard 4.0, section 4.4.1.
Pixels that lie as they are in memory are found with no more than that: `plain_image`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import BinaryIO

__all__ = [
    "BLOCK",
    "Extent",
    "PlainImage",
    "extents",
    "flipped_bit",
    "is_plain_header",
    "is_plain_table",
    "padded",
    "plain_image",
]

BLOCK = 2880
_CARD = 80
_LONGEST = 1 << 24
"""Headers that are longer [byte] are none."""
_WIDTHS = {8: 1, 16: 2, 32: 4, 64: 8, -32: 4, -64: 8}
_OFTEN = {b"COMMENT ", b"HISTORY ", b"CONTINUE", b"        "}
_SCALING = re.compile(rb"(BZERO|BSCALE|BLANK) *= *([^/]*)")
_COUNTS = re.compile(rb"(BITPIX|NAXIS\d{0,3}|PCOUNT|GCOUNT|TFIELDS|SKYHDUS) *= *([^/]*)")


@dataclass(frozen=True, slots=True)
class Extent:
    """Where one HDU lies.

    Parameters
    ----------
    header_at, data_at : int
        Where its header and its data begin [byte].
    size : int
        Of its data, without the padding [byte].
    counts : mapping of str to int
        The structural cards: BITPIX, NAXIS1, ...
    header : bytes
        As it lies.
    """

    header_at: int
    data_at: int
    size: int
    counts: dict[str, int]
    header: bytes = field(repr=False)

    @property
    def end(self) -> int:
        """Where the next HDU must begin [byte]."""
        return self.data_at + padded(self.size)


@dataclass(frozen=True, slots=True)
class PlainImage:
    """Pixels that lie in a file as they are in memory, in the order of FITS.

    Parameters
    ----------
    data_at : int
        Where they begin [byte].
    bitpix : int
        Their type: bits of an integer, or with a minus of a float.
    shape : tuple of int
        In the order of C.
    flip : int
        Bit that differs between integers and what lies in the file.
    """

    data_at: int
    bitpix: int
    shape: tuple[int, ...]
    flip: int


def plain_image(extent: Extent) -> PlainImage | None:
    """Find the pixels of an HDU if they can be read as they lie; None for what needs more.

    Returns
    -------
    PlainImage or None
        Of no axes if the HDU is an image without pixels.
    """
    header, counts = extent.header, extent.counts
    if not header.startswith((b"SIMPLE  =", b"XTENSION= 'IMAGE   '")) or b"GROUPS" in header:
        return None
    shape = tuple(counts[f"NAXIS{n}"] for n in range(counts["NAXIS"], 0, -1))
    flip = _flipped_bit_in(header, counts["BITPIX"])
    alone = counts.get("PCOUNT", 0) == 0 and counts.get("GCOUNT", 1) == 1
    if flip is None or 0 in shape or not alone:
        return None
    return PlainImage(extent.data_at, counts["BITPIX"], shape, flip)


def is_plain_table(extent: Extent) -> bool:
    """Tell whether an HDU is a table, and no compressed image."""
    return extent.header.startswith(b"XTENSION= 'BINTABLE'") and b"ZIMAGE" not in extent.header


def is_plain_header(header: bytes) -> bool:
    """Tell whether a header is ASCII without a keyword that stands twice: astropy mends others."""
    if not header.isascii() or b"\0" in header:
        return False
    own: set[bytes] = set()
    for at in range(0, len(header), _CARD):
        name = header[at : at + 8]
        if name == b"HIERARCH":
            name = header[at : at + _CARD].partition(b"=")[0]
        if name in own:
            return False
        if name not in _OFTEN:
            own.add(name)
    return True


def flipped_bit(bitpix: int, scaling: Mapping[str, float]) -> int | None:
    """Give the bit that differs between values and what lies in the file; None for arithmetic.

    Parameters
    ----------
    scaling : mapping
        What the header says of ``BZERO``, ``BSCALE`` and ``BLANK``.
    """
    if not scaling:
        return 0
    if scaling.get("BSCALE", 1) != 1 or "BLANK" in scaling or bitpix < 0:
        return None
    zero = scaling.get("BZERO", 0)
    if zero == 0:
        return 0
    convention = -128 if bitpix == 8 else 1 << (bitpix - 1)
    return 1 << (bitpix - 1) if zero == convention else None


def _flipped_bit_in(header: bytes, bitpix: int) -> int | None:
    scaling: dict[str, float] = {}
    for at in range(0, len(header), _CARD):
        found = _SCALING.match(header, at, at + _CARD)
        if found is not None:
            try:
                scaling.setdefault(found[1].decode(), float(found[2]))
            except ValueError:  # an exponent of Fortran, or no number
                return None
    return flipped_bit(bitpix, scaling)


def padded(size: int) -> int:
    """Give the length of a size [byte] in whole blocks."""
    return -(-size // BLOCK) * BLOCK


def extents(stream: BinaryIO, skip: Callable[[Extent], None]) -> Iterator[Extent]:
    """Find the HDUs of a file, from its beginning on.

    Parameters
    ----------
    stream : binary file
        Read from where it is.
    skip : callable
        Brings the stream to the end of an HDU's data.

    Yields
    ------
    Extent
        Of one HDU after the other; its data need not be there whole.

    Raises
    ------
    ValueError
        A header is cut short, or lies.
    """
    at, index = 0, 0
    while header := _header(stream, index):
        counts = _counts(header, index)
        found = Extent(at, at + len(header), _size(header, counts, index), counts, header)
        yield found
        skip(found)
        at, index = found.end, index + 1


def _header(stream: BinaryIO, index: int) -> bytes:
    """Read a header; nothing if the file has ended, or goes on with something else."""
    begin = b"XTENSION" if index else b"SIMPLE  "
    header = stream.read(BLOCK)
    if not header.startswith(begin):
        if index == 0:
            raise ValueError("it does not begin with the card SIMPLE")
        if header.strip(b"\0 "):
            raise ValueError(
                f"after HDU {index - 1} comes something else than an HDU: "
                "its header gives another size than it has"
            )
        return b""
    blocks = [header]
    while not _ends(blocks[-1]):
        blocks.append(stream.read(BLOCK))
        if len(blocks[-1]) < BLOCK or len(blocks) * BLOCK > _LONGEST:
            raise ValueError(f"it is truncated: HDU {index} has no whole header")
    return b"".join(blocks)


def _ends(block: bytes) -> bool:
    return any(block[at : at + _CARD].rstrip() == b"END" for at in range(0, len(block), _CARD))


def _counts(header: bytes, index: int) -> dict[str, int]:
    counts: dict[str, int] = {}
    for at in range(0, len(header), _CARD):
        found = _COUNTS.match(header, at, at + _CARD)
        if found is None:
            if header.startswith(b"END     ", at):
                break
            continue
        key, text = found[1].decode(), found[2].decode("latin-1").strip()
        try:
            counts.setdefault(key, int(text))
        except ValueError as error:
            raise ValueError(f"HDU {index} says {key} = {text}") from error
    return counts


def _size(header: bytes, counts: dict[str, int], index: int) -> int:
    """Give the bytes of the data, after checking what they are computed from."""
    axes = [f"NAXIS{n + 1}" for n in range(max(0, min(counts.get("NAXIS", 0), 999)))]
    wrong = [
        key
        for key, good in (
            ("BITPIX", counts.get("BITPIX") in _WIDTHS),
            ("NAXIS", 0 <= counts.get("NAXIS", -1) <= 999),
            *((axis, counts.get(axis, -1) >= 0) for axis in axes),
            ("PCOUNT", counts.get("PCOUNT", 0) >= 0),
            ("GCOUNT", counts.get("GCOUNT", 1) >= 1),
            ("TFIELDS", 0 <= counts.get("TFIELDS", 0) <= 999),
        )
        if not good
    ]
    if wrong:
        raise ValueError(f"HDU {index} says {wrong[0]} = {counts.get(wrong[0], 'nothing')}")
    shape = [counts[axis] for axis in axes]
    if len(shape) > 1 and shape[0] == 0 and b"GROUPS  =                    T" in header:
        shape = shape[1:]
    items = math.prod(shape) + counts.get("PCOUNT", 0) if shape else 0
    if index == 0 and shape and len(shape) == len(axes):
        items = math.prod(shape)  # only groups have a PCOUNT in a primary HDU
    return _WIDTHS[counts["BITPIX"]] * counts.get("GCOUNT", 1) * items
