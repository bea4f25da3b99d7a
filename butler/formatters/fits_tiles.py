"""How are tile-compressed pixels read without believing their headers, and no more than needed?

The table of the tiles says where each one lies: those that a box touches are fetched together, and
what they say of themselves is checked before anything is unpacked (FITS standard 4.0, section 10).
Losslessly gzipped tiles are unpacked here; other algorithms by astropy.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from butler.formatters.fits_rows import item_size, row_type
from butler.formatters.limits import inflated, require_memory
from butler.formatters.source import prefetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

__all__ = ["read_tiles"]

_DATA = ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA", "UNCOMPRESSED_DATA")
_GZIP = {"GZIP_1", "GZIP_2"}
_RICE = {"RICE_1", "RICE_ONE"}
_LEAST_OF_RICE = 3 / 64 / 8
"""Bytes of a pixel: three bits for a block, of which none has more than 64."""
_LEAST_OF_GZIP = 1 / 1100
"""Bytes of a pixel of one byte: the best that deflate can do is 1032."""


@dataclass(frozen=True, slots=True)
class _Tile:
    """One tile: where its pixels are in the image, and which column has them where."""

    box: tuple[slice, ...]
    column: str
    start: int
    n_bytes: int


def read_tiles(
    hdu: Any, stream: BinaryIO, cut: tuple[slice, slice] | None = None
) -> npt.NDArray[Any]:
    """Read the pixels of a tile-compressed image, or a box of them.

    Parameters
    ----------
    hdu : `astropy.io.fits.CompImageHDU`
        Of an open file.
    stream : binary file
        That file; it can seek.
    cut : tuple of slice, optional
        Of the last axes; the others are read whole.

    Raises
    ------
    ValueError
        What the headers or the tiles say of themselves cannot be.
    MemoryError
        Unpacked it would not fit into memory.
    """
    table = _TileTable(hdu, stream)
    index = table.index(cut)
    tiles = list(table.tiles(index))
    prefetch(stream, [(tile.start, tile.start + tile.n_bytes) for tile in tiles])
    if table.is_plain_gzip:
        return table.gunzip(index, tiles)
    for tile in tiles:
        table.check(tile)
    try:
        found: npt.NDArray[Any] = hdu.data if cut is None else hdu.section[(..., *cut)]
    except (MemoryError, OSError):
        raise
    except Exception as error:  # cfitsio's own are of a private class
        raise ValueError(f"a tile of it cannot be unpacked: {error}") from error
    return found


class _TileTable:
    """The binary table that has a tile in each row."""

    def __init__(self, hdu: Any, stream: BinaryIO) -> None:
        from astropy.io.fits import Header

        place = hdu.fileinfo()
        stream.seek(place["hdrLoc"])
        self.header = Header.fromfile(stream)
        self.stream = stream
        self.start = place["datLoc"]
        n_axes = self.header["ZNAXIS"]
        axes = range(n_axes, 0, -1)
        self.shape = tuple(self.header[f"ZNAXIS{n}"] for n in axes)
        self.tile = tuple(
            self.header.get(f"ZTILE{n}", self.header["ZNAXIS1"] if n == 1 else 1) for n in axes
        )
        self.item = abs(self.header["ZBITPIX"]) // 8
        self.algorithm = str(self.header["ZCMPTYPE"]).strip()
        self._check_shape()
        self.widths: dict[str, int] = {}
        self.rows = self._read_rows()

    @property
    def is_plain_gzip(self) -> bool:
        """Whether the tiles hold the values of floating-point pixels as they are, gzipped."""
        return (
            self.algorithm in _GZIP
            and self.header["ZBITPIX"] < 0
            and "ZSCALE" not in (self.rows.dtype.names or ())
            and not any(key in self.header for key in ("BZERO", "BSCALE", "ZSCALE"))
        )

    def _check_shape(self) -> None:
        if not self.shape or any(
            not isinstance(n, int) or n < 1 for n in (*self.shape, *self.tile)
        ):
            raise ValueError(f"it says that its image is {self.shape} in tiles of {self.tile}")
        n_tiles = math.prod(-(-n // t) for n, t in zip(self.shape, self.tile, strict=True))
        if n_tiles != self.header["NAXIS2"]:
            raise ValueError(
                f"an image of {self.shape} in tiles of {self.tile} has {n_tiles} tiles, and the "
                f"file {self.header['NAXIS2']}"
            )

    def _read_rows(self) -> npt.NDArray[Any]:
        import numpy as np

        kind = row_type(self.header)
        names = [str(self.header[f"TTYPE{n + 1}"]) for n in range(self.header["TFIELDS"])]
        self.widths = {name: item_size(self.header, n + 1) for n, name in enumerate(names)}
        size = kind.itemsize * self.header["NAXIS2"]
        self.stream.seek(self.start)
        content = self.stream.read(size)
        if len(content) < size:
            raise EOFError("it is truncated: the list of its tiles is not whole")
        rows = np.frombuffer(content, kind)
        rows.dtype.names = tuple(names)
        return rows

    def index(self, cut: tuple[slice, slice] | None) -> tuple[slice, ...]:
        """Give the box for all axes."""
        last = cut or ()
        return (
            *(slice(0, n) for n in self.shape[: len(self.shape) - len(last)]),
            *last,
        )

    def tiles(self, index: tuple[slice, ...]) -> Iterator[_Tile]:
        """Find the tiles that a box touches, and check that they lie where tiles can."""
        import numpy as np

        touched = [
            range(s.start // t, -(-s.stop // t)) for s, t in zip(index, self.tile, strict=True)
        ]
        require_memory(
            math.prod(len(r) * t for r, t in zip(touched, self.tile, strict=True)) * self.item,
            "the header of its tiles",
        )
        counts = [-(-n // t) for n, t in zip(self.shape, self.tile, strict=True)]
        heap_at = self.header.get("THEAP", self.header["NAXIS1"] * self.header["NAXIS2"])
        heap = self.start + heap_at
        end = self.start + self.header["NAXIS1"] * self.header["NAXIS2"] + self.header["PCOUNT"]
        columns = [name for name in _DATA if name in (self.rows.dtype.names or ())]
        listed = {name: self.rows[name] for name in columns}
        for place in itertools.product(*touched):
            row = int(np.ravel_multi_index(place, counts))
            for name in columns:
                n_items, offset = (int(value) for value in listed[name][row])
                n_bytes = n_items * self.widths[name]
                if min(n_items, offset) < 0 or heap + offset + n_bytes > end:
                    raise ValueError(f"tile {row} says that it lies outside of the file's heap")
                if n_items:
                    break
            else:
                raise ValueError(f"tile {row} is empty")
            box = tuple(
                slice(p * t, min((p + 1) * t, n))
                for p, t, n in zip(place, self.tile, self.shape, strict=True)
            )
            tile = _Tile(box, name, heap + offset, n_bytes)
            self._check_least(tile)
            yield tile

    def _is_gzipped(self, tile: _Tile) -> bool:
        return tile.column == "GZIP_COMPRESSED_DATA" or (
            tile.column == "COMPRESSED_DATA" and self.algorithm in _GZIP
        )

    def _check_least(self, tile: _Tile) -> None:
        """Make sure that a tile is long enough for its pixels, before room is made for them."""
        n_pixels = math.prod(s.stop - s.start for s in tile.box)
        least = 0.0
        if self._is_gzipped(tile):
            least = n_pixels * _LEAST_OF_GZIP
        elif tile.column == "COMPRESSED_DATA" and self.algorithm in _RICE:
            least = n_pixels * _LEAST_OF_RICE
        if tile.n_bytes < least:
            raise ValueError(f"a tile of {tile.n_bytes} bytes cannot hold {n_pixels} pixels")

    def check(self, tile: _Tile) -> None:
        """Make sure that a tile does not unpack to more than its pixels, before astropy does."""
        if self._is_gzipped(tile):
            n_pixels = math.prod(s.stop - s.start for s in tile.box)
            inflated(self._content(tile), n_pixels * max(4, self.item))  # 4: quantized values

    def gunzip(self, index: tuple[slice, ...], tiles: list[_Tile]) -> npt.NDArray[Any]:
        """Unpack tiles into a box."""
        import numpy as np

        kind = np.dtype(f">f{self.item}")
        box = np.empty([s.stop - s.start for s in index], kind.newbyteorder("="))
        for tile in tiles:
            shape = tuple(s.stop - s.start for s in tile.box)
            content = self._content(tile)
            if tile.column != "UNCOMPRESSED_DATA":
                content = inflated(content, math.prod(shape) * self.item)
            if tile.column == "COMPRESSED_DATA" and self.algorithm == "GZIP_2":
                planes = np.frombuffer(content, np.uint8).reshape(self.item, -1)
                values = np.ascontiguousarray(planes.T).view(kind)
            else:
                values = np.frombuffer(content, kind)
            pairs = list(zip(tile.box, index, strict=True))
            common = [slice(max(t.start, b.start), min(t.stop, b.stop)) for t, b in pairs]
            here = tuple(
                slice(c.start - b.start, c.stop - b.start)
                for c, (_, b) in zip(common, pairs, strict=True)
            )
            there = tuple(
                slice(c.start - t.start, c.stop - t.start)
                for c, (t, _) in zip(common, pairs, strict=True)
            )
            box[here] = values.reshape(shape)[there]
        return box

    def _content(self, tile: _Tile) -> bytes:
        self.stream.seek(tile.start)
        return self.stream.read(tile.n_bytes)
