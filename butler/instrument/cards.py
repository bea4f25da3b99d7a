"""What do the headers of a FITS file say, read no further than needed?

Reads whole header units, parses a card when it is asked for, and skips data: by seeking in plain
files, by inflating only up to the header that is wanted in gzipped ones.  A file that ends too
early is told from a whole one by its size (the length in the gzip trailer, or the file's own), so
that no pixel is read for it.  Pixels, scaling and tables are the business of the formatters.  FITS
4.0: https://fits.gsfc.nasa.gov/fits_standard.html
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from butler.instrument.errors import NotFits, TruncatedFits

__all__ = ["Header", "Headers", "read_headers"]

BLOCK = 2880
_CARD = 80
_CHUNK = 16 * 1024
_MAX_HEADER_BLOCKS = 20_000
_STRING = re.compile(r"\s*'((?:[^']|'')*)'")
_COMMENTARY = frozenset({"COMMENT", "HISTORY", "", "END"})


class Header(Mapping[str, Any]):
    """The cards of one header unit: keyword to value, of repeated ones the first.

    Parameters
    ----------
    index : int
        Number of the header-data unit, 0 for the primary one.
    raw : bytes
        The header without its END card and padding.
    values : dict, optional
        Values that are known already, instead of ``raw``.
    """

    __slots__ = ("_places", "_values", "index", "raw")

    def __init__(self, index: int, raw: bytes, values: dict[str, Any] | None = None) -> None:
        self.index = index
        self.raw = raw
        self._values: dict[str, Any] = {} if values is None else values
        places: dict[str, int] = {}
        for at in range(0, len(raw), _CARD):
            keyword = raw[at : at + 8]
            if keyword == b"HIERARCH":
                name = raw[at + 8 : at + _CARD].partition(b"=")[0].decode("latin-1").strip().upper()
            elif keyword == b"CONTINUE":
                continue
            else:
                name = keyword.decode("latin-1").rstrip()
            if name not in _COMMENTARY and name not in places:
                places[name] = at
        self._places = places

    def __getitem__(self, key: str) -> Any:
        if key not in self._values:
            self._values[key] = self._parse(self._places[key])
        return self._values[key]

    def __contains__(self, key: object) -> bool:
        return key in self._places or key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._places if self.raw else self._values)

    def __len__(self) -> int:
        return len(self._places if self.raw else self._values)

    @property
    def name(self) -> str:
        """EXTNAME, or an empty text."""
        return str(self.get("EXTNAME", "")).strip()

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the image axes, NAXIS1 first; of the image inside a compressed one."""
        prefix = "ZNAXIS" if self.get("ZIMAGE") is True else "NAXIS"
        return tuple(int(self[f"{prefix}{i}"]) for i in range(1, int(self.get(prefix, 0)) + 1))

    @property
    def is_image(self) -> bool:
        """Whether the unit holds an image with pixels (a compressed one included)."""
        kind = str(self.get("XTENSION", "IMAGE")).strip()
        return (
            (kind == "IMAGE" or self.get("ZIMAGE") is True)
            and bool(self.shape)
            and 0 not in self.shape
        )

    @property
    def data_size(self) -> int:
        """Bytes of data that follow, without padding (FITS 4.0, equations 1, 2 and 4)."""
        axes = [int(self[f"NAXIS{i}"]) for i in range(1, int(self.get("NAXIS", 0)) + 1)]
        if not axes:
            return 0
        if axes[0] == 0 and self.get("GROUPS") is True:
            axes = axes[1:]
        size = 1
        for axis in axes:
            size *= axis
        size = (size + int(self.get("PCOUNT", 0))) * int(self.get("GCOUNT", 1))
        return abs(int(self["BITPIX"])) // 8 * size

    def _parse(self, at: int) -> Any:
        card = self.raw[at : at + _CARD].decode("latin-1")
        if card.startswith("HIERARCH"):
            text = card.partition("=")[2]
        elif card[8:10] == "= ":
            text = card[10:]
        else:
            return None
        string = _STRING.match(text)
        if string is None:
            return _plain_value(text.partition("/")[0].strip())
        value = string[1].replace("''", "'").rstrip()
        while value.endswith("&"):
            at += _CARD
            more = self.raw[at : at + _CARD].decode("latin-1")
            continued = _STRING.match(more[8:])
            if not more.startswith("CONTINUE") or continued is None:
                break
            value = value[:-1] + continued[1].replace("''", "'").rstrip()
        return value


def _plain_value(text: str) -> Any:
    if text in {"T", "F"}:
        return text == "T"
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text.replace("D", "E").replace("d", "e"))
    except ValueError:
        return text


class Headers:
    """The header units of a file that a translation may use.

    Parameters
    ----------
    units : sequence of Header
        In the order of the file.
    data : int
        Index in ``units`` of the one that holds the data: its cards are looked up first, then the
        primary ones (as with INHERIT = T).
    """

    __slots__ = ("data", "units")

    def __init__(self, units: list[Header], data: int) -> None:
        self.units = tuple(units)
        self.data = self.units[data]

    @classmethod
    def from_mapping(cls, *headers: Mapping[str, Any]) -> Headers:
        """Take headers that were read elsewhere, the primary first, the one of the data last."""
        units = [Header(i, b"", dict(h)) for i, h in enumerate(headers)]
        return cls(units, len(units) - 1)

    def unit(self, hdu: int | str) -> Header | None:
        """Find a unit by number or EXTNAME."""
        for header in self.units:
            if hdu == header.index if isinstance(hdu, int) else hdu.upper() == header.name.upper():
                return header
        return None

    def find(self, key: str, hdu: int | str | None = None) -> Header | None:
        """Find the unit whose card is meant: the data's, else the primary; or the one named."""
        if hdu is not None:
            header = self.unit(hdu)
            return header if header is not None and key in header else None
        if key in self.data:
            return self.data
        return self.units[0] if key in self.units[0] else None

    def keywords(self) -> list[str]:
        """All keywords that `find` may find."""
        return list(dict.fromkeys([*self.data, *self.units[0]]))

    def merged(self) -> dict[str, Any]:
        """All cards as one mapping: those of the data's unit win over primary ones."""
        merged = dict(self.units[0])
        if self.data is not self.units[0]:
            merged.update(self.data)
        return merged


class _PlainFile:
    """Bytes of a file on disk; skipping costs nothing."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._size = size
        self.at = 0

    def read(self, n: int) -> bytes:
        data = self._file.read(n)
        self.at += len(data)
        return data

    def skip(self, n: int) -> int:
        step = min(n, self._size - self.at)
        self.at = self._file.seek(self.at + step)
        return step


class _GzipFile:
    """Bytes inside a gzip file, inflated as far as they are asked for."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._inflate = zlib.decompressobj(31)
        self._pending = b""
        self.at = 0
        file.seek(size - 4)
        self.size: int | None = struct.unpack("<I", file.read(4))[0] if size >= 18 else None
        file.seek(0)

    def read(self, n: int) -> bytes:
        parts, got = [], 0
        while got < n:
            if not self._pending:
                self._pending = self._file.read(_CHUNK)
            if not self._pending:
                break
            if self._inflate.eof:
                self._inflate = zlib.decompressobj(31)
            part = self._inflate.decompress(self._pending, n - got)
            self._pending = self._inflate.unconsumed_tail or self._inflate.unused_data
            parts.append(part)
            got += len(part)
        self.at += got
        return b"".join(parts)

    def ends_early(self) -> bool:
        """Read what is left, and tell whether the stream lacks its end."""
        while self.read(_CHUNK):
            pass
        return not self._inflate.eof

    def skip(self, n: int) -> int:
        start = self.at
        while self.at - start < n:
            if not self.read(min(1 << 20, n - (self.at - start))):
                break
        return self.at - start


def read_headers(path: str | Path, hdu: int | str | None = None) -> Headers:
    """Read the headers of a FITS file that a translation needs.

    Parameters
    ----------
    path : path-like
        Plain or gzipped (told by content, not by name).
    hdu : int, str or None
        The unit that holds the data: a number, an EXTNAME, or None for the first unit with an
        image or table.

    Returns
    -------
    Headers
        The primary unit, those before the wanted one, and that one.

    Raises
    ------
    NotFits
        If the file is not FITS, says what it looks like; or has no such unit.
    TruncatedFits
        If it ends before its headers say so.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(6)
        file.seek(0)
        if magic[:6] == b"SIMPLE":
            return _read(path, _PlainFile(file, size), hdu)
        if magic[:2] != b"\x1f\x8b":
            raise NotFits(
                path,
                f"is not a FITS file: it {_looks_like(magic, file)}. Leave it out, or repair it.",
            )
        try:
            return _read(path, _GzipFile(file, size), hdu)
        except zlib.error as error:
            raise TruncatedFits(
                path, f"is damaged: its gzip stream cannot be inflated ({error}). Fetch it again."
            ) from error


def _read(path: Path, stream: _PlainFile | _GzipFile, hdu: int | str | None) -> Headers:
    units: list[Header] = []
    wanted: int | None = None
    while wanted is None:
        header = _next_header(path, stream, len(units))
        if header is None:
            break
        units.append(header)
        if (
            hdu == header.index
            or (isinstance(hdu, str) and hdu.upper() == header.name.upper())
            or (hdu is None and _data_size(path, header))
        ):
            wanted = header.index
        else:
            _skip_data(path, stream, header)
    if wanted is None and hdu is None and units:
        wanted = 0
    if wanted is None:
        names = ", ".join(f"{u.index} {u.name}".strip() for u in units)
        raise NotFits(
            path,
            f"has no HDU {hdu!r} (it has: {names}). Correct `hdu` in the instrument definition.",
        )
    _check_whole(path, stream, units[-1])
    return Headers(units, wanted)


def _next_header(path: Path, stream: _PlainFile | _GzipFile, index: int) -> Header | None:
    raw = bytearray()
    for _ in range(_MAX_HEADER_BLOCKS):
        block = stream.read(BLOCK)
        if not raw and index and not block.startswith(b"XTENSION"):
            return (
                None  # the file ends here, or goes on with what the standard calls special records
            )
        if not raw and not index and len(block) >= _CARD and not block.startswith(b"SIMPLE  ="):
            raise NotFits(path, f"is not a FITS file inside: it begins with {block[:20]!r}.")
        end = _end_card(block)
        if end is not None:
            return Header(index, bytes(raw) + block[:end])
        if len(block) < BLOCK:
            break
        raw += block
    raise TruncatedFits(
        path,
        f"ends after {stream.at} bytes, inside the header of HDU {index}: no END card. Fetch it "
        "again.",
    )


def _end_card(block: bytes) -> int | None:
    at = block.find(b"END     ")
    while at >= 0:
        if at % _CARD == 0:
            return at
        at = block.find(b"END     ", at + 1)
    return None


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _skip_data(path: Path, stream: _PlainFile | _GzipFile, header: Header) -> None:
    size = _data_size(path, header)
    if stream.skip(_padded(size)) < size:
        raise TruncatedFits(
            path,
            f"ends after {stream.at} bytes, inside the data of HDU {header.index} ({size} bytes). "
            "Fetch it again.",
        )


def _data_size(path: Path, header: Header) -> int:
    try:
        return header.data_size
    except (KeyError, TypeError, ValueError) as error:
        raise NotFits(
            path,
            f"has a header (HDU {header.index}) that does not say how large its data are: {error}.",
        ) from error


def _check_whole(path: Path, stream: _PlainFile | _GzipFile, last: Header) -> None:
    """Refuse a file that is shorter than its headers say; no data are read if its size is known."""
    size = _data_size(path, last)
    end = stream.at + size
    if isinstance(stream, _GzipFile):
        stored = stream.size
        more = stored is not None and stored > end and stored % BLOCK == 0
        if stored is not None and (stored == _padded(end) % 2**32 or more):
            return
    header: Header | None = last
    while header is not None:
        _skip_data(path, stream, header)
        header = _next_header(path, stream, header.index + 1)
    if isinstance(stream, _GzipFile) and stream.ends_early():
        raise TruncatedFits(path, "ends inside its gzip stream. Fetch it again.")


def _looks_like(magic: bytes, file: IO[bytes]) -> str:
    if not magic:
        return "is empty"
    known = {
        b"\x89PNG": "is a PNG image",
        b"%PDF": "is a PDF document",
        b"PK\x03\x04": "is a zip archive",
    }
    known |= {
        b"BZh": "is compressed with bzip2 (unpack it)",
        b"\x1f\x9d": "is compressed with compress (unpack it)",
    }
    for start, what in known.items():
        if magic.startswith(start):
            return what
    sample = file.read(200)
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in sample):
        return f"is text that begins with {sample[:30].decode('ascii')!r}"
    return f"begins with the bytes {magic!r}"
