"""Which tables hold rows of datasets, and what are their columns?

A table is described by what is in the database, so that every reader knows it.  How one comes to be
is in `registry.row_declarations` and `registry.site_migrations`; how rows come in and out is
`backbone.rows`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import insert_rows
from registry.errors import Conflict
from registry.schema.row_tables import file_rows, row_column, row_table, row_table_use
from registry.schema.types import MARIADB_OPTIONS, NAMING, LongBinary, LongText

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "DATASET_ID",
    "NOT_FINITE",
    "OWN_COLUMNS",
    "PREFIX",
    "ROW_NUMBER",
    "TYPES",
    "RowColumn",
    "RowTable",
    "Use",
    "core_table",
    "describe",
    "described",
    "forget",
    "key_of",
    "metadata_of",
    "tables_of",
]

PREFIX = "rows_"
"""What the name of such a table begins with, so that it is none of the spine's, now or later."""
DATASET_ID, ROW_NUMBER, NOT_FINITE = "dataset_id", "row_no", "not_finite"
OWN_COLUMNS = (DATASET_ID, ROW_NUMBER, NOT_FINITE)
"""Columns that every such table has; the last one if it has floating-point numbers."""
TYPES: Mapping[str, tuple[str, Any]] = {
    "bool": ("sa.Boolean()", sa.Boolean()),
    "int8": ("sa.SmallInteger()", sa.SmallInteger()),
    "int16": ("sa.SmallInteger()", sa.SmallInteger()),
    "int32": ("sa.Integer()", sa.Integer()),
    "int64": ("sa.BigInteger()", sa.BigInteger()),
    "uint8": ("sa.SmallInteger()", sa.SmallInteger()),
    "uint16": ("sa.Integer()", sa.Integer()),
    "uint32": ("sa.BigInteger()", sa.BigInteger()),
    "float32": ("FLOAT32", sa.Double().with_variant(sa.REAL(), "postgresql")),
    "float64": ("sa.Double()", sa.Double()),
    "text": ("TEXT", LongText),
    "bytes": ("BYTES", LongBinary),
    "timestamp": ("sa.BigInteger()", sa.BigInteger()),
    "tai": ("sa.BigInteger()", sa.BigInteger()),
}
"""By type of a column: how a migration writes it, and what SQLAlchemy makes of it."""


@dataclass(frozen=True, slots=True)
class RowColumn:
    """A column of a table of rows.

    Parameters
    ----------
    name : str
        As in the object that is put.
    type : str
        One of `TYPES`; ``timestamp`` counts nanoseconds since 1970-01-01, as numpy does, ``tai``
        those since 1970-01-01 TAI, as the spine does.
    length : int or None
        Of the longest text [character].
    unit, doc : str
        Empty for none.
    nullable, indexed : bool
        Whether a value may be missing; whether there is an index.
    """

    name: str
    type: str
    length: int | None = None
    unit: str = ""
    doc: str = ""
    nullable: bool = False
    indexed: bool = False

    @property
    def is_float(self) -> bool:
        """Whether it holds floating-point numbers, whose NaN and infinity are told apart."""
        return self.type.startswith("float")

    @property
    def sql_type(self) -> Any:
        """Its type in SQLAlchemy."""
        if self.type == "text" and self.length:
            return sa.String(self.length)
        return TYPES[self.type][1]


@dataclass(frozen=True, slots=True, order=True)
class Use:
    """Whose rows a table holds.

    Parameters
    ----------
    kind : str
        ``dataset_type`` or ``storage_class``.
    name : str
        Of that.
    component : str
        Empty for the whole dataset.
    """

    kind: str
    name: str
    component: str = ""


@dataclass(frozen=True, slots=True)
class RowTable:
    """A table that holds rows of datasets.

    Parameters
    ----------
    name : str
        Begins with `PREFIX`.
    doc : str
        What it holds.
    columns : tuple of RowColumn
        In order, without those of `OWN_COLUMNS`.
    uses : tuple of Use
        Whose rows.
    one_row : bool
        Whether each dataset has just one.
    """

    name: str
    doc: str
    columns: tuple[RowColumn, ...]
    uses: tuple[Use, ...] = ()
    one_row: bool = False

    @property
    def has_floats(self) -> bool:
        """Whether it has the column ``not_finite``."""
        return any(column.is_float for column in self.columns)


@cache
def core_table(described_table: RowTable) -> sa.Table:
    """Give the table for statements; its metadata are its own."""
    return metadata_of([described_table]).tables[described_table.name]


def metadata_of(tables: Sequence[RowTable]) -> sa.MetaData:
    """Declare tables as their migrations make them, to be compared with a database."""
    metadata = sa.MetaData(naming_convention=NAMING)
    sa.Table("dataset", metadata, sa.Column("id", sa.Uuid, primary_key=True))
    for one in tables:
        columns = [
            sa.Column(
                DATASET_ID,
                sa.Uuid,
                sa.ForeignKey("dataset.id"),
                primary_key=True,
                comment="Dataset that the row is of",
            ),
            sa.Column(
                ROW_NUMBER,
                sa.Integer,
                primary_key=True,
                autoincrement=False,
                comment="Place in the dataset, from 0",
            ),
        ]
        columns += [
            sa.Column(
                column.name,
                column.sql_type,
                nullable=column.nullable or column.is_float,
                comment=comment_of(column),
            )
            for column in one.columns
        ]
        if one.has_floats:
            columns.append(
                sa.Column(
                    NOT_FINITE, sa.Text, comment="Columns that are NaN or infinite, as name:value"
                )
            )
        options: dict[str, Any] = {**MARIADB_OPTIONS, "sqlite_with_rowid": False}
        made = sa.Table(one.name, metadata, *columns, comment=one.doc, **options)
        for column in one.columns:
            if column.indexed:
                sa.Index(index_name(one.name, column.name), made.c[column.name])
    return metadata


def index_name(table: str, column: str) -> str:
    """Name an index; PostgreSQL takes 63 characters, MariaDB 64."""
    return f"ix_{table.removeprefix(PREFIX)}_{column}"[:63]


def comment_of(column: RowColumn) -> str:
    """Write what the database keeps about a column."""
    return f"{column.doc} [{column.unit}]".strip() if column.unit else column.doc


def described(connection: sa.Connection) -> dict[str, RowTable]:
    """Read what tables there are, by name."""
    uses: dict[int, list[Use]] = {}
    columns: dict[int, list[RowColumn]] = {}
    heads = connection.execute(sa.select(row_table).order_by(row_table.c.name)).all()
    if not heads:
        return {}
    for row in connection.execute(sa.select(row_table_use)):
        uses.setdefault(row.table_id, []).append(Use(row.kind, row.name, row.component))
    asked = sa.select(row_column).order_by(row_column.c.table_id, row_column.c.position)
    for row in connection.execute(asked):
        columns.setdefault(row.table_id, []).append(
            RowColumn(
                row.name,
                row.type,
                row.length,
                row.unit,
                row.doc,
                bool(row.nullable),
                bool(row.indexed),
            )
        )
    return {
        head.name: RowTable(
            head.name,
            head.doc,
            tuple(columns.get(head.id, ())),
            tuple(sorted(uses.get(head.id, ()))),
            bool(head.one_row),
        )
        for head in heads
    }


def tables_of(tables: Mapping[str, RowTable], kind: str, storage_class: str) -> dict[str, RowTable]:
    """Find the tables that are declared for a dataset type, else for its storage class.

    Returns
    -------
    dict
        By component; that of the whole dataset is empty.
    """
    found: dict[str, RowTable] = {}
    for named in (("storage_class", storage_class), ("dataset_type", kind)):
        for table in tables.values():
            for use in table.uses:
                if (use.kind, use.name) == named:
                    found[use.component] = table
    return found


def key_of(connection: sa.Connection, name: str) -> int:
    """Give the key of a table in this database."""
    return int(
        connection.execute(sa.select(row_table.c.id).where(row_table.c.name == name)).scalar_one()
    )


def describe(connection: sa.Connection, one: RowTable) -> None:
    """Write what a table holds, for `described`; repeatable.

    Raises
    ------
    Conflict
        If the rows of one of its dataset types or storage classes lie in another table.
    """
    head = [{"name": one.name, "doc": one.doc, "one_row": one.one_row or None}]
    insert_rows(connection, row_table, head, skip_existing=True)
    key = key_of(connection, one.name)
    insert_rows(
        connection,
        row_column,
        [
            {
                "table_id": key,
                "name": column.name,
                "position": position,
                "type": column.type,
                "length": column.length,
                "unit": column.unit,
                "doc": column.doc,
                "nullable": column.nullable,
                "indexed": column.indexed,
            }
            for position, column in enumerate(one.columns)
        ],
        skip_existing=True,
    )
    rows = [
        {"kind": use.kind, "name": use.name, "component": use.component, "table_id": key}
        for use in one.uses
    ]
    insert_rows(connection, row_table_use, rows, skip_existing=True)
    for use in one.uses:
        require_free(described(connection), use, one.name)


def require_free(tables: Mapping[str, RowTable], use: Use, name: str) -> None:
    """Refuse that the rows of one thing shall lie in two tables."""
    for other in tables.values():
        if use in other.uses and other.name != name:
            what = f"{use.kind.replace('_', ' ')} '{use.name}'"
            if use.component:
                what = f"component '{use.component}' of the {what}"
            raise Conflict(
                f"Rows of the {what} lie in {other.name}; they cannot lie in {name} too."
            )


def forget(connection: sa.Connection, name: str) -> None:
    """Remove what is written about a table, before it is dropped.

    Raises
    ------
    Conflict
        If datasets lie in it.
    """
    key = key_of(connection, name)
    held = connection.execute(
        sa.select(sa.func.count()).select_from(file_rows).where(file_rows.c.table_id == key)
    ).scalar_one()
    if held:
        raise Conflict(
            f"{held} datasets lie in the table {name}; remove them first (butler.prune), and it "
            "can go. Nothing was changed."
        )
    for table in (row_table_use, row_column):
        connection.execute(sa.delete(table).where(table.c.table_id == key))
    connection.execute(sa.delete(row_table).where(row_table.c.id == key))
