"""How do very many rows come into a table?

As whole columns, or as batches of Arrow, a bounded number of which is in memory; by the fastest way
of each database: COPY on PostgreSQL, prepared statements on the others.
"""

from __future__ import annotations

import io
import re
from itertools import chain
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

__all__ = ["load_batches", "load_columns", "send_stream"]

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
    into = _into(connection, table, first.schema.names)
    whole = chain([first], each)
    if connection.dialect.name == "postgresql":
        options = {_SENT: _Stream(whole)}
        statement = f"COPY {into} FROM STDIN (FORMAT csv)"
        connection.exec_driver_sql(statement, execution_options=options)
        return
    for batch in whole:
        _insert(connection, into, _tuples(batch))


def load_columns(
    connection: sa.Connection, table: sa.Table, columns: Mapping[str, Sequence[Any]]
) -> None:
    """Insert rows that are here already.

    Parameters
    ----------
    columns : mapping
        By name, values as the type of the column takes them; all of one length.

    Raises
    ------
    ValueError
        If PostgreSQL cannot take a text, since it has a zero byte.
    """
    dialect = connection.dialect
    into = _into(connection, table, list(columns))
    bound = []
    for name, values in columns.items():
        kind = table.c[name].type
        plain = isinstance(kind, sa.LargeBinary)  # which a driver would wrap
        bind = None if plain else kind.dialect_impl(dialect).bind_processor(dialect)
        bound.append(values if bind is None else list(map(bind, values)))
    if dialect.name == "postgresql":
        rows = zip(*map(_copied, bound), strict=True)
        text = io.BytesIO("".join(["\t".join(row) + "\n" for row in rows]).encode())
        connection.exec_driver_sql(f"COPY {into} FROM STDIN", execution_options={_SENT: text})
    else:
        _insert(connection, into, list(zip(*bound, strict=True)))


def _into(connection: sa.Connection, table: sa.Table, names: Sequence[str]) -> str:
    preparer = connection.dialect.identifier_preparer
    return f"{preparer.format_table(table)} ({', '.join(map(preparer.quote, names))})"


def _insert(connection: sa.Connection, into: str, rows: list[tuple[Any, ...]]) -> None:
    statement = f"INSERT INTO {into} VALUES ({', '.join('?' * len(rows[0]))})"  # noqa: S608 (ours)
    connection.exec_driver_sql(statement, rows)


_SPECIAL = re.compile(r"[\\\t\n\r\0]")
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def _copied(values: Sequence[Any]) -> Sequence[str]:
    """Write a column as COPY reads it."""
    kinds = set(map(type, values))
    if kinds <= {int, float}:
        return list(map(str, values))
    if kinds == {str} and not _SPECIAL.search("".join(values)):
        return values
    return list(map(_copied_one, values))


def _copied_one(value: Any) -> str:
    if value is None:
        return r"\N"
    if isinstance(value, bytes):
        return rf"\\x{value.hex()}"
    text = str(value)
    if "\0" in text:
        raise ValueError("A text has a NUL.")
    return text.translate(_ESCAPES)


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
