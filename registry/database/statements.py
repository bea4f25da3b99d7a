"""Which statements differ between the databases, and how is each composed?"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from registry.database.loading import load_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "CHUNK",
    "absent_from",
    "canonical_json",
    "check_by_index",
    "delete_among",
    "delete_rows",
    "hold_rows",
    "in_written_order",
    "insert_missing",
    "insert_rows",
    "json_field",
    "lock_rows",
]

CHUNK = 20_000
"""Rows sent in one statement."""


def canonical_json(value: Any) -> str:
    """Write JSON in the one form in which equal documents are equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def insert_missing(
    connection: sa.Connection,
    table: sa.Table,
    source: Any,
    columns: Sequence[str],
    known_by: sa.Column[Any] | None = None,
) -> int:
    """Insert the rows of a SELECT, leaving out those whose key exists; tell how many are new.

    Parameters
    ----------
    known_by : sqlalchemy.Column, optional
        The only key that may exist; PostgreSQL looks into the index of each otherwise, before and
        while it inserts, which takes as long as the insertion.
    """
    statement: Any
    if connection.dialect.name == "postgresql":
        only = None if known_by is None else [known_by]
        statement = postgresql.insert(table).from_select(list(columns), source)
        statement = statement.on_conflict_do_nothing(index_elements=only)
    elif connection.dialect.name == "sqlite":
        # without WHERE, SQLite takes ON CONFLICT for a join condition
        guarded = source.where(sa.true()) if source.whereclause is None else source
        statement = (
            sqlite.insert(table).from_select(list(columns), guarded).on_conflict_do_nothing()
        )
    else:
        # INSERT IGNORE would hide foreign keys and bad values too; a key set to itself does not
        key = next(iter(table.primary_key.columns))
        statement = mysql.insert(table).from_select(list(columns), source)
        statement = statement.on_duplicate_key_update({key.name: key})
    return int(connection.execute(statement).rowcount)


def insert_rows(
    connection: sa.Connection,
    table: sa.Table,
    items: Sequence[Mapping[str, Any]],
    *,
    skip_existing: bool = False,
) -> None:
    """Insert many rows at once, optionally leaving out those whose key exists.

    Parameters
    ----------
    items : sequence of mappings
        All with the same keys.
    skip_existing : bool
        Whether a row whose key exists is passed over instead of refused.
    """
    if not items:
        return
    if len(items) >= _MANY and not skip_existing:
        load_columns(connection, table, {c: [item[c] for item in items] for c in items[0]})
        return
    statement = _insert(table, connection.dialect.name, skip_existing)
    connection.execute(statement, list(items) if len(items) > 1 else items[0])


_MANY = 1_000
"""From this many rows on, the driver takes them without what SQLAlchemy does for each."""


@functools.cache
def _insert(table: sa.Table, dialect: str, skip_existing: bool) -> Any:
    if not skip_existing:
        return sa.insert(table).inline()
    if dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    key = next(iter(table.primary_key.columns))
    return mysql.insert(table).on_duplicate_key_update({key.name: key})


def check_by_index(connection: sa.Connection) -> None:
    """Have PostgreSQL look foreign keys up by index, thousands of times until a bulk load ends.

    It keeps a plan of each check, and, as long as it takes pages for far apart on a disk, reads all
    detectors or exposures for each row.  Here they are in memory from the second row on.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL random_page_cost = 1.1; DISCARD PLANS")


def delete_among(connection: sa.Connection, column: sa.Column[Any], given: Any, *also: Any) -> None:
    """Delete the rows whose column is among given values; in one step into its index for each.

    Parameters
    ----------
    column : sqlalchemy.Column
        Of the table; indexed.
    given : sqlalchemy.Column
        Of the table expression that `rows_of` makes.
    *also : conditions
        Further ones that the rows fulfil.
    """
    statement = sa.delete(column.table)
    if connection.dialect.name == "sqlite":
        statement = statement.where(column.in_(sa.select(given)), *also)
    else:
        # MariaDB would search a subquery anew for each row of the table
        statement = statement.where(column == given, *also)
    connection.execute(statement)


def delete_rows(connection: sa.Connection, same: Mapping[sa.Column[Any], Any]) -> None:
    """Delete the rows of a table that have the values of a row of a table expression.

    Parameters
    ----------
    same : mapping
        Columns of the table to those of the expression that `rows_of` makes.
    """
    columns = list(same)
    statement = sa.delete(columns[0].table)
    if connection.dialect.name == "sqlite":
        statement = statement.where(sa.tuple_(*columns).in_(sa.select(*same.values())))
    else:
        statement = statement.where(*(column == given for column, given in same.items()))
    connection.execute(statement)


def absent_from(
    connection: sa.Connection, columns: Sequence[Any], keys: sa.Select[Any]
) -> sa.ColumnElement[bool]:
    """Say that values are not among those that a SELECT gives; what has none of its own is not.

    PostgreSQL joins the two once; the others look up each, in what they have found once.
    """
    if connection.dialect.name == "postgresql":
        there = keys.subquery("there")
        same = (a == b for a, b in zip(there.c, columns, strict=True))
        return (
            ~sa.select(sa.literal_column("1"))
            .select_from(there)
            .where(*same)
            .correlate_except(there)
            .exists()
        )
    left = columns[0] if len(columns) == 1 else sa.tuple_(*columns)
    return sa.not_(sa.func.coalesce(left.in_(keys), sa.false()))


def json_field(document: Any, name: str, kind: type) -> sa.ColumnElement[Any]:
    """Take a value out of a JSON column, to be compared and sorted as its type is.

    Parameters
    ----------
    document : sqlalchemy.Column
        Of an object.
    name : str
        Key in it; a missing one gives NULL.
    kind : {str, int, float, bool}
        Type of its values; integers have 64 bits.
    """
    field = document[name]
    if kind is int:
        # as_integer() has 32 bits on PostgreSQL
        return sa.cast(field.as_string(), sa.BigInteger)
    if kind is float:
        return field.as_float()  # type: ignore[no-any-return]
    if kind is bool:
        # as_boolean() takes a missing value for false on MariaDB; SQLite writes truth as 1
        text = sa.cast(field.as_string(), sa.String(8))
        return sa.case((text.in_(("true", "1")), sa.true()), (text.in_(("false", "0")), sa.false()))
    return field.as_string()  # type: ignore[no-any-return]


def lock_rows(statement: sa.Select[Any], connection: sa.Connection) -> sa.Select[Any]:
    """Lock the rows of a SELECT until the transaction ends; on SQLite it holds the whole file."""
    return statement if connection.dialect.name == "sqlite" else statement.with_for_update()


def hold_rows(statement: sa.Select[Any], connection: sa.Connection) -> sa.Select[Any]:
    """Keep the rows of a SELECT from being removed until the transaction ends; others may too."""
    if connection.dialect.name == "sqlite":
        return statement
    return statement.with_for_update(read=True, key_share=True)


def in_written_order(statement: sa.Select[Any]) -> sa.Select[Any]:
    """Join tables in the order in which they are written, values given by `rows_of` first.

    MariaDB reads a whole table rather than begin with a list whose length it cannot know; the other
    two begin with the list by themselves.
    """
    for dialect in ("mysql", "mariadb"):
        statement = statement.prefix_with("STRAIGHT_JOIN", dialect=dialect)
    return statement
