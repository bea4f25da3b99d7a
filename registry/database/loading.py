"""How do very many rows come into a table?

As batches of Arrow, a bounded number of which is in memory, by the fastest way of each database:
COPY on PostgreSQL, prepared statements on the others.
"""

from __future__ import annotations

import io
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa
    import sqlalchemy as sa

__all__ = ["load_batches", "send_stream"]

_SENT = "skyspine_sent"
"""Execution option of a statement: what COPY reads."""


def load_batches(
    connection: sa.Connection, table: sa.Table, batches: Iterable[pa.RecordBatch]
) -> None:
    """Insert rows.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        Their columns are named as the table's; numbers, truth values, texts and bytes.  UUIDs are
        texts.
    """
    each = iter(batches)
    first = next(each, None)
    if first is None:
        return
    preparer = connection.dialect.identifier_preparer
    names = first.schema.names
    into = f"{preparer.format_table(table)} ({', '.join(map(preparer.quote, names))})"
    whole = chain([first], each)
    if connection.dialect.name == "postgresql":
        options = {_SENT: _Stream(whole)}
        statement = f"COPY {into} FROM STDIN (FORMAT csv)"
        connection.exec_driver_sql(statement, execution_options=options)
        return
    statement = f"INSERT INTO {into} VALUES ({', '.join('?' * len(names))})"  # noqa: S608 (ours)
    for batch in whole:
        connection.exec_driver_sql(statement, _tuples(batch))


def send_stream(cursor: Any, statement: str, _parameters: Any, context: Any) -> bool | None:
    """Execute a COPY of `load_batches`, if it is one; else leave the statement to SQLAlchemy."""
    stream = context.execution_options.get(_SENT)
    if stream is None:
        return None
    cursor.copy_expert(statement, stream)
    return True


def _tuples(batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
    return list(zip(*(_values(column) for column in batch.columns), strict=True))


def _values(column: pa.Array) -> list[Any]:
    """Give the values as Python has them; numbers by way of numpy, ten times as fast."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values: list[Any]
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        values = column.to_pylist()
    elif not column.null_count:
        values = column.to_numpy().tolist()
    else:
        filled = pc.fill_null(column, 0).to_numpy(zero_copy_only=False).astype(object)
        filled[column.is_null().to_numpy(zero_copy_only=False)] = None
        values = filled.tolist()
    return values


class _Stream:
    """What COPY reads: the batches as CSV, made when it asks."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._batches = iter(batches)
        self._text: Any = io.BytesIO()

    def read(self, size: int) -> bytes:
        """Give up to so many bytes; none at the end."""
        found: bytes = self._text.read(size)
        while not found:
            batch = next(self._batches, None)
            if batch is None:
                return b""
            self._text = io.BytesIO(_csv(batch))
            found = self._text.read(size)
        return found


def _csv(batch: pa.RecordBatch) -> bytes:
    """Write CSV in which texts have quotes and what is missing has none."""
    import pyarrow as pa
    import pyarrow.csv

    columns = [
        pa.array(
            [None if value is None else f"\\x{value.hex()}" for value in column.to_pylist()],
            pa.string(),
        )
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
        else column
        for column in batch.columns
    ]
    text = io.BytesIO()
    pyarrow.csv.write_csv(
        pa.RecordBatch.from_arrays(columns, batch.schema.names),
        text,
        pyarrow.csv.WriteOptions(include_header=False),
    )
    return text.getvalue()
