"""How is an array, or a part of it, read that lies in a file as it does in memory?

FITS images and npy files are such: row after row, perhaps in the byte order of another machine.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any, BinaryIO

from butler.formatters.source import prefetch

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["PIECE", "read_array", "read_box"]

PIECE = 1 << 18
"""Values that are read or written at a time: their bytes are swapped in the processor's cache."""


def read_array(
    stream: BinaryIO, start: int, stored: npt.DTypeLike, shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Read an array whole.

    Parameters
    ----------
    stream : binary file
        It can seek.
    start : int
        Where the array begins [byte].
    stored : dtype
        Of the values as they lie in the file.
    shape : tuple of int
        In the order of C.

    Returns
    -------
    array
        Writeable, owned by the caller, in native byte order.

    Raises
    ------
    EOFError
        The file is too short.
    """
    import numpy as np

    kind = np.dtype(stored)
    whole = np.empty(shape, kind.newbyteorder("="))
    flat = whole.reshape(-1)
    prefetch(stream, [(start, start + whole.nbytes)])
    stream.seek(start)
    if kind.isnative:
        _fill(stream, flat)
        return whole
    piece = np.empty(min(PIECE, flat.size), kind)
    for at in range(0, flat.size, PIECE):
        part = piece[: flat.size - at]
        _fill(stream, part)
        flat[at : at + part.size] = part
    return whole


def read_box(
    stream: BinaryIO,
    start: int,
    stored: npt.DTypeLike,
    shape: tuple[int, ...],
    cut: tuple[slice, slice],
) -> npt.NDArray[Any]:
    """Read a box of the last two axes; of a remote file, only its rows are fetched.

    Parameters
    ----------
    stream, start, stored, shape
        As of `read_array`.
    cut : tuple of slice
        Of the last two axes; the others are read whole.
    """
    import numpy as np

    kind = np.dtype(stored)
    *planes, ny, nx = shape
    rows, columns = cut
    n_planes = math.prod(planes)
    box = np.empty((n_planes, rows.stop - rows.start, columns.stop - columns.start), kind)
    if _can_be_mapped(stream):
        mapped: Any = np.memmap(stream, kind, "r", start, (n_planes, ny, nx))
        box[:] = mapped[(slice(None), *cut)]
    else:
        width = box.shape[2] * kind.itemsize
        starts = [
            start + ((plane * ny + row) * nx + columns.start) * kind.itemsize
            for plane in range(n_planes)
            for row in range(rows.start, rows.stop)
        ]
        prefetch(stream, [(at, at + width) for at in starts])
        for row, at in zip(box.reshape(-1, box.shape[2]), starts, strict=True):
            stream.seek(at)
            _fill(stream, row)
    return box.reshape(*planes, *box.shape[1:]).astype(kind.newbyteorder("="), copy=False)


def _fill(stream: BinaryIO, array: npt.NDArray[Any]) -> None:
    """Read as many bytes as a contiguous array has, into it."""
    import numpy as np

    view = array.view(np.uint8).reshape(-1).data if array.size else memoryview(b"")
    while view:
        got = stream.readinto(view)  # type: ignore[attr-defined]
        if not got:
            raise EOFError("it is truncated: it ended while its values were read")
        view = view[got:]


def _can_be_mapped(stream: BinaryIO) -> bool:
    """Say whether the system can map the file into memory: it is one of this disk."""
    return isinstance(stream, io.BufferedReader) and isinstance(stream.raw, io.FileIO)
