"""How is an answer ordered, cut into pages, counted, streamed, and made a table?

What is asked for is a statement of the module of its kind: `registry.finding` (datasets),
`registry.data_ids`, `registry.records`.  This one knows what those statements have in common.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pandas as pd
    import pyarrow as pa

    from registry.names import Names

__all__ = [
    "STREAMED",
    "arrow_table",
    "arrow_type",
    "beyond",
    "counted",
    "dataframe",
    "limited",
    "ordering",
    "require_list",
    "sort_names",
    "sorted_by",
    "streamed",
]

STREAMED = 5_000
"""Rows that a stream holds at a time."""


def require_list(argument: str, given: Iterable[str]) -> None:
    """Refuse one text in place of a list of names: its letters would be taken for names.

    Raises
    ------
    TypeError
        With how it is written.
    """
    if isinstance(given, str):
        raise TypeError(f"{argument}={given!r} is no list of names: write [{given!r}].")


def sort_names(order_by: Sequence[str]) -> list[tuple[str, bool]]:
    """Give each name to sort by, and whether it descends: ``-`` before the name.

    Raises
    ------
    TypeError
        If it is one text, whose letters would be taken for names.
    """
    require_list("order_by", order_by)
    return [(name.lstrip("-"), name.startswith("-")) for name in order_by]


def ordering(names: Names, order_by: Sequence[str]) -> list[tuple[Any, bool]]:
    """Give the column of each name to sort by, and whether it descends."""
    return [(names.column(name), down) for name, down in sort_names(order_by)]


def sorted_by(statement: sa.Select[Any], keys: Iterable[tuple[Any, bool]]) -> sa.Select[Any]:
    """Sort by columns, each up or down; what has no value comes last on every database."""
    for key, down in keys:
        # the databases differ in where NULL stands
        statement = statement.order_by(key.is_(None), key.desc() if down else key)
    return statement


def beyond(
    keys: Sequence[Any], descending: Sequence[bool], values: Sequence[Any], last: Any
) -> Any:
    """Say that a row comes after one with some values: by the keys in turn, then by a last one."""
    condition = last
    for key, down, value in reversed(list(zip(keys, descending, values, strict=True))):
        if value is None:
            condition = key.is_(None) & condition
        else:
            further = key < value if down else key > value
            condition = further | key.is_(None) | ((key == value) & condition)
    return condition


def limited(statement: sa.Select[Any], limit: int | None) -> sa.Select[Any]:
    """Give at most so many rows; all for None."""
    if limit is None:
        return statement
    if limit < 0:
        raise ValueError(f"limit={limit} must be at least 0; leave it out for all.")
    return statement.limit(limit)


def streamed(connection: sa.Connection, statement: sa.Select[Any]) -> Iterator[Any]:
    """Give rows while they come, `STREAMED` at a time.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction (see `registry.database.Database.stream`), and for nothing else meanwhile.
    """
    yield from connection.execution_options(yield_per=STREAMED).execute(statement)


def counted(
    connection: sa.Connection, statement: sa.Select[Any] | None, by: Sequence[str]
) -> list[dict[str, Any]]:
    """Count the rows of a statement, all together or by values that it selects.

    Parameters
    ----------
    statement : sqlalchemy.Select or None
        Selects the values of ``by`` as ``also0``, ``also1``, ...; None has no row.

    Returns
    -------
    list of dict
        The names with their values, and ``n``; ordered by the values, none last.  Without names one
        entry, which may count 0.
    """
    if statement is None:
        return [] if by else [{"n": 0}]
    found = statement.order_by(None).subquery("found")
    values = [found.c[f"also{n}"] for n in range(len(by))]
    grouped = sa.select(*values, sa.func.count()).select_from(found).group_by(*values)
    grouped = sorted_by(grouped, [(value, False) for value in values])
    names = [*by, "n"]
    return [dict(zip(names, row, strict=True)) for row in connection.execute(grouped)]


def arrow_table(types: Mapping[str, Any], parts: Iterable[Sequence[Any]]) -> pa.Table:
    """Make a table of Arrow of rows that come in parts.

    Parameters
    ----------
    types : mapping
        Type of each column by name, as `arrow_type` gives it.
    parts : iterable of sequence
        Lists of rows, none of them empty.
    """
    import pyarrow as pa

    schema = pa.schema(list(types.items()))
    batches = [
        pa.record_batch(
            [pa.array(c, t) for c, t in zip(zip(*rows, strict=True), schema.types, strict=True)],
            schema=schema,
        )
        for rows in parts
    ]
    return pa.Table.from_batches(batches, schema=schema)


def arrow_type(column: Any) -> pa.DataType:
    """Tell the type of Arrow that holds the values of a column."""
    import pyarrow as pa

    kind = column.type
    while isinstance(kind, sa.types.TypeDecorator):
        kind = kind.impl_instance
    for known, arrow in (
        (sa.Boolean, pa.bool_()),
        (sa.Integer, pa.int64()),
        ((sa.Numeric, sa.Float), pa.float64()),
        (sa.LargeBinary, pa.binary()),
        (sa.DateTime, pa.timestamp("us", tz="UTC")),
    ):
        if isinstance(kind, known):
            return arrow
    return pa.string()


def dataframe(table: pa.Table) -> pd.DataFrame:
    """Make a DataFrame of a table of Arrow; integers and truth values may have missing ones."""
    import pandas as pd
    import pyarrow as pa

    kept = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    with_missing = {f.type for f in table.schema if table[f.name].null_count}
    types = {arrow: pandas for arrow, pandas in kept.items() if arrow in with_missing}
    return table.to_pandas(types_mapper=types.get)
