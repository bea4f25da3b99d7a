"""How do values of Arrow lie in the columns of a table, so that all of each comes back?

NaN and infinity are NULL in their column, and the column ``not_finite`` tells which they are:
SQLite and MariaDB hold none, and so a comparison means the same on every database.  Times are
integers.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from registry.row_tables import DATASET_ID, NOT_FINITE, ROW_NUMBER

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from registry.row_tables import RowColumn, RowTable

__all__ = ["arrow_type", "decoded", "encoded", "size_and_checksum"]


def arrow_type(column: RowColumn) -> pa.DataType:
    """Give the type of Arrow that the values of a column have."""
    import pyarrow as pa

    kinds = {
        "bool": pa.bool_(),
        "text": pa.string(),
        "bytes": pa.binary(),
        "timestamp": pa.timestamp("ns"),
        "tai": pa.int64(),
    }
    return kinds[column.type] if column.type in kinds else getattr(pa, column.type)()


def encoded(table: RowTable, rows: pa.Table, dataset_id: uuid.UUID, first: int) -> pa.RecordBatch:
    """Make what is sent to the database of some rows, the first of which has a number."""
    import numpy as np
    import pyarrow as pa

    n_rows = rows.num_rows
    names = [DATASET_ID, ROW_NUMBER]
    arrays: list[Any] = [
        pa.repeat(dataset_id.hex, n_rows),
        pa.array(np.arange(first, first + n_rows, dtype=np.int64)),
    ]
    told: dict[int, list[str]] = {}
    for column in table.columns:
        values = rows[column.name].combine_chunks()
        if column.is_float:
            values = _finite(column.name, values, told)
        elif column.type == "timestamp":
            values = values.cast(pa.int64())
        names.append(column.name)
        arrays.append(values)
    if table.has_floats:
        texts: list[str | None] = [None] * n_rows
        for row, entries in told.items():
            texts[row] = ",".join(entries)
        names.append(NOT_FINITE)
        arrays.append(pa.array(texts, pa.string()))
    return pa.RecordBatch.from_arrays(arrays, names)


def _finite(name: str, values: pa.Array, told: dict[int, list[str]]) -> pa.Array:
    """Take out what is not finite, and tell it; all of a row in its text."""
    import numpy as np
    import pyarrow as pa

    missing = values.is_null().to_numpy(zero_copy_only=False)
    numbers = values.fill_null(0).to_numpy(zero_copy_only=False)
    odd = ~np.isfinite(numbers)
    for row in np.flatnonzero(odd).tolist():
        told.setdefault(row, []).append(f"{name}:{numbers[row]}")
    return pa.array(numbers.astype(np.float64), mask=missing | odd)


def decoded(columns: Sequence[RowColumn], found: Sequence[Any]) -> pa.Table:
    """Make Arrow of what the database gave: a row number, the columns, and ``not_finite``."""
    import pyarrow as pa

    by_column: list[Any] = list(zip(*found, strict=True)) or [()] * (len(columns) + 2)
    told: dict[str, list[tuple[int, float]]] = {}
    if any(column.is_float for column in columns):
        for row, text in enumerate(by_column[len(columns) + 1]):
            for entry in text.split(",") if text else ():
                name, _, value = entry.rpartition(":")
                told.setdefault(name, []).append((row, float(value)))
    arrays = []
    for column, values in zip(columns, by_column[1:], strict=False):
        kind = arrow_type(column)
        if column.type == "timestamp":
            array = pa.array(values, pa.int64()).cast(kind)
        elif column.name in told:
            values = list(values)
            for row, value in told[column.name]:
                values[row] = value
            array = pa.array(values, kind)
        else:
            array = pa.array(values, kind)
        arrays.append(array)
    return pa.Table.from_arrays(arrays, [column.name for column in columns])


def size_and_checksum(table: RowTable, rows: pa.Table) -> tuple[int, str]:
    """Tell how much rows say [byte], and the SHA-256 of it; the same on every database.

    For each column the names, what is missing, and the values as little-endian numbers or as
    lengths and texts.  All NaN are alike, and so are both zeros.
    """
    whole, size = hashlib.sha256(), 0
    for column in table.columns:
        content = hashlib.sha256()
        for part in _content(column, rows[column.name]):
            size += len(part)
            content.update(part)
        whole.update(f"{column.name}:{column.type}:".encode() + content.digest())
    whole.update(str(rows.num_rows).encode())
    return size, f"sha256:{whole.hexdigest()}"


def _content(column: RowColumn, values: pa.ChunkedArray) -> Iterator[bytes]:
    """Give what a column says, missing ones first, in an order that no chunk changes."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    array = values.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    yield np.packbits(array.is_null().to_numpy(zero_copy_only=False)).tobytes()
    if column.type in ("text", "bytes"):
        filled = pc.fill_null(array, "" if column.type == "text" else b"")
        yield pc.binary_length(filled).to_numpy(zero_copy_only=False).astype("<i8").tobytes()
        yield b"".join(
            text.encode() if isinstance(text, str) else text for text in filled.to_pylist()
        )
        return
    if column.type == "timestamp":
        array = array.cast(pa.int64())
    filled = pc.fill_null(array, False if column.type == "bool" else 0)
    numbers = filled.to_numpy(zero_copy_only=False)
    if column.is_float:
        numbers = np.where(np.isnan(numbers), np.nan, numbers + 0.0).astype(numbers.dtype)
    yield numbers.astype(numbers.dtype.newbyteorder("<")).tobytes()
