"""Which dimension records fulfil a condition?

The answers come in the forms that `registry.finding` gives for datasets.  Insertion of records is
in `registry.dimensions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.answering import (
    STREAMED,
    arrow_table,
    arrow_type,
    beyond,
    counted,
    limited,
    ordering,
    sorted_by,
    streamed,
)
from registry.conditions import conditions_on
from registry.database import canonical_json
from registry.dimensions import element_table
from registry.errors import InvalidDataId
from registry.names import names_of_element

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

__all__ = [
    "count_dimension_records",
    "documents_of",
    "query_dimension_records",
    "query_dimension_records_sql",
    "stream_dimension_records",
    "table_of_dimension_records",
]


def query_dimension_records_sql(
    connection: sa.Connection,
    element: str,
    *,
    where: str = "",
    bind: Mapping[str, Any] | None = None,
    data_id: Mapping[str, Any] | None = None,
    order_by: Sequence[str] = (),
    limit: int | None = None,
    after: Mapping[str, Any] | None = None,
    also: Sequence[str] = (),
) -> sa.Select[Any]:
    """Write the statement that `query_dimension_records` runs.

    Parameters
    ----------
    also : sequence of str
        Names, as in ``where``, whose values are selected too, as ``also0``, ``also1``, ...
    """
    names = names_of_element(element, connection)
    table = names.record(element)
    ends = [table.c[c.name] for c in element_table(element).primary_key]
    conditions = conditions_on(names, where, bind, data_id)
    sorting = ordering(names, order_by)
    keys = [key for key, _ in sorting]
    further = [names.column(name).label(f"also{n}") for n, name in enumerate(also)]
    selected: sa.Select[Any] = sa.select(*table.c, *further).select_from(names.base)
    selected = selected.where(*conditions)
    if after is not None:
        values = _key_of(element, [c.name for c in ends], after)
        same = [c == v for c, v in zip(ends, values, strict=True)]
        own = sa.select(*keys, sa.literal_column("1")).select_from(names.base).where(*same)
        row = connection.execute(own).first()
        if row is None:
            raise InvalidDataId(
                f"There is no record of {element} with {_shown(ends, values)}, so that no page "
                "comes after it."
            )
        downs = [*(down for _, down in sorting), *(False for _ in ends)]
        found = [*list(row)[:-1], *values]
        selected = selected.where(beyond([*keys, *ends], downs, found, sa.false()))
    return limited(sorted_by(selected, sorting).order_by(*ends), limit)


def query_dimension_records(
    connection: sa.Connection, element: str, **options: Any
) -> list[dict[str, Any]]:
    """List records of a dimension element.

    Parameters
    ----------
    element : str
        Name of the element.
    **options
        ``where`` (expression over the element's dimension and fields, such as
        ``exposure.exposure_time > 30``, and over dimensions that go with it, of which one value
        must fulfil it), ``bind`` (values), ``data_id`` (fixed keys), ``order_by`` (names, ``-``
        before one for descending; those without a value come last), ``limit``, ``after`` (the last
        record of the page before, or its key, with the same ``order_by``).

    Returns
    -------
    list of dict
        Columns as in the table of that name; without ``order_by`` sorted by key.

    Raises
    ------
    UnknownName
        If there is no such element.
    InvalidDataId
        If there is no record ``after``.
    """
    statement = query_dimension_records_sql(connection, element, **options)
    return [dict(row) for row in connection.execute(statement).mappings()]


def stream_dimension_records(
    connection: sa.Connection, element: str, **options: Any
) -> Iterator[dict[str, Any]]:
    """List records as `query_dimension_records` does, while they come, in little memory.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction (see `registry.database.Database.stream`), and for nothing else meanwhile.
    """
    statement = query_dimension_records_sql(connection, element, **options)
    for row in streamed(connection, statement):
        yield dict(row._mapping)  # noqa: SLF001 (its name in SQLAlchemy)


def table_of_dimension_records(
    connection: sa.Connection, element: str, *, columns: Sequence[str] = (), **options: Any
) -> pa.Table:
    """List records as `query_dimension_records` does, as a table of Arrow.

    Parameters
    ----------
    columns : sequence of str
        Further names, as in ``where``: fields of other records that these imply, such as
        ``physical_filter.wavelength_min_m`` of an exposure.

    Returns
    -------
    pyarrow.Table
        Columns as in the table of that name, documents as text; then ``columns``.
    """
    columns = [name for name in columns if name not in element_table(element).c]
    statement = query_dimension_records_sql(connection, element, also=columns, **options)
    selected = list(statement.selected_columns)
    names = [c.name for c in selected[: len(selected) - len(columns)]]
    types = dict(zip([*names, *columns], map(arrow_type, selected), strict=True))
    documents = [isinstance(c.type, sa.JSON) for c in selected]

    def written(row: Sequence[Any]) -> list[Any]:
        return [
            canonical_json(value) if document and value is not None else value
            for value, document in zip(row, documents, strict=True)
        ]

    parts = connection.execute(statement).partitions(STREAMED)
    return arrow_table(types, ([written(row) for row in rows] for rows in parts))


def count_dimension_records(
    connection: sa.Connection, element: str, *, by: Sequence[str] = (), **options: Any
) -> list[dict[str, Any]]:
    """Count records, all together or by the values of some names.

    Parameters
    ----------
    by : sequence of str
        Names, as in ``where``: ``("day_obs", "exposure.observation_type")``.
    **options
        As for `query_dimension_records`.

    Returns
    -------
    list of dict
        As `registry.finding.count_datasets` gives.
    """
    statement = query_dimension_records_sql(connection, element, also=by, **options)
    return counted(connection, statement, by)


def documents_of(element: str) -> list[str]:
    """Name the columns of an element that hold documents, which a table has as JSON text."""
    return [c.name for c in element_table(element).c if isinstance(c.type, sa.JSON)]


def _key_of(element: str, keys: Sequence[str], record: Mapping[str, Any]) -> list[Any]:
    missing = [k for k in keys if k not in record]
    if missing:
        raise InvalidDataId(
            f"A record of {element} is known by {', '.join(keys)}; {dict(record)!r} lacks "
            f"{', '.join(missing)}."
        )
    return [record[k] for k in keys]


def _shown(columns: Sequence[Any], values: Sequence[Any]) -> str:
    return ", ".join(f"{c.name}={v!r}" for c, v in zip(columns, values, strict=True))
