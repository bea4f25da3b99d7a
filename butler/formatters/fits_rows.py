"""Do the rows of a FITS table lie as its header says, and their vectors where vectors can?

A column of vectors of varying length holds, in each row, how many values it has and where they lie
in the heap behind the table (FITS standard 4.0, section 7.3).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["check_vectors", "item_size", "row_type"]

_TYPES = {"L": "u1", "B": "u1", "A": "u1", "X": "u1", "I": ">i2", "J": ">i4", "K": ">i8"}
_TYPES |= {"E": ">f4", "D": ">f8", "C": ">c8", "M": ">c16", "P": ">i4", "Q": ">i8"}
_FORM = re.compile(r"(\d*)([LXBAIJKEDCMPQ])([LXBAIJKEDCM])?")


def row_type(header: Any) -> np.dtype[Any]:
    """Make the type of a row, with a field for each column; pairs for vectors.

    Parameters
    ----------
    header : `astropy.io.fits.Header`
        Of a binary table.

    Raises
    ------
    ValueError
        A column is of no form that FITS has, or the columns are not as long as a row.
    """
    import numpy as np

    if header["BITPIX"] != 8:
        raise ValueError(f"its table says BITPIX = {header['BITPIX']}, which is 8 in tables")
    fields = []
    for n in range(1, header["TFIELDS"] + 1):
        count, kind, _ = _form(header, n)
        if kind == "X":
            count = -(-count // 8)
        elif kind in "PQ":
            count *= 2
        fields.append((f"{n}", _TYPES[kind], (count,)))
    found = np.dtype(fields)
    if found.itemsize != header["NAXIS1"]:
        raise ValueError(
            f"its columns take {found.itemsize} bytes of a row, and it says NAXIS1 = "
            f"{header['NAXIS1']}"
        )
    return found


def item_size(header: Any, column: int) -> int:
    """Give the bytes of a value of a column, or of its vectors."""
    import numpy as np

    _, kind, item = _form(header, column)
    return np.dtype(_TYPES[item or kind]).itemsize


def check_vectors(stream: BinaryIO, header: Any, start: int) -> None:
    """Make sure that all vectors of a table lie in its heap.

    Parameters
    ----------
    stream : binary file
        It can seek.
    header : `astropy.io.fits.Header`
        Of the binary table.
    start : int
        Where its rows begin [byte].

    Raises
    ------
    ValueError
        One does not.
    """
    import numpy as np

    kind = row_type(header)
    vectors = [n for n in range(1, header["TFIELDS"] + 1) if _form(header, n)[1] in "PQ"]
    if not vectors:
        return
    stream.seek(start)
    rows = np.frombuffer(stream.read(kind.itemsize * header["NAXIS2"]), kind)
    table = header["NAXIS1"] * header["NAXIS2"]
    heap = table + header["PCOUNT"] - header.get("THEAP", table)
    for n in vectors:
        pairs: npt.NDArray[Any] = rows[f"{n}"].reshape(-1, 2).astype(object)
        if any(
            min(count, offset) < 0 or (count and offset + count * item_size(header, n) > heap)
            for count, offset in pairs
        ):
            raise ValueError(f"values of its column {n} lie outside of the file's heap")


def _form(header: Any, column: int) -> tuple[int, str, str | None]:
    text = str(header[f"TFORM{column}"]).strip()
    found = _FORM.match(text)
    if found is None:
        raise ValueError(f"its column {column} is of the unknown form {text}")
    count, kind, item = found.groups()
    return int(count or 1), kind, item
