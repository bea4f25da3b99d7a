"""How do rows of datasets come into a table of the database, and out of it?

What lies in a table is recorded as a file is, at the endpoint `TABLES`: with size and checksum of
what the rows say, whatever database holds them.  So one question tells where a dataset lies, and
rows and record come and go in one transaction.  Rows are given and taken as Arrow; how an object
becomes that is the Butler's affair.  Tables: `registry.schema.row_tables`, and those of the site.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from backbone import row_values
from backbone.endpoints import IN_TABLES, TABLES, add
from backbone.errors import ChangedFile, EndpointConflict
from registry import row_tables
from registry.database import (
    CHUNK,
    analyze_grown,
    delete_among,
    in_written_order,
    load_batches,
    remembered,
    rows_of,
)
from registry.row_tables import DATASET_ID, NOT_FINITE, ROW_NUMBER, core_table
from registry.schema.files import endpoint, file
from registry.schema.row_tables import file_rows, row_table

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from registry.row_tables import RowTable

__all__ = ["NewRows", "Placed", "forget", "placed", "read", "record", "require_endpoint"]

BATCH = 20_000
"""Rows that are converted, sent or fetched at once."""


@dataclass(frozen=True, slots=True)
class NewRows:
    """Rows to be stored.

    Parameters
    ----------
    dataset_id : uuid.UUID
        Dataset that they are.
    component : str
        Component that they are; empty for all of it.
    table : RowTable
        Where they shall lie.
    rows : pyarrow.Table
        With the columns of the table, in their types; see `row_values.arrow_type`.
    layout : bytes or None
        What is needed to make the object again, beyond the table's description.
    """

    dataset_id: uuid.UUID
    component: str
    table: RowTable
    rows: pa.Table
    layout: bytes | None


def require_endpoint(connection: sa.Connection) -> None:
    """Make sure that the database has the endpoint of its tables."""
    asked = sa.select(endpoint.c.root).where(endpoint.c.name == TABLES)
    root = remembered(connection, "root of tables", lambda: connection.execute(asked).scalar())
    if root is None:
        add(connection, TABLES, IN_TABLES, owned=True)
    elif root != IN_TABLES:
        raise EndpointConflict(
            f"There is an endpoint '{TABLES}' at {root}, which is the name of the database's own "
            "tables; rename it in the table endpoint."
        )


def record(connection: sa.Connection, new: Sequence[NewRows]) -> None:
    """Store rows whose files have been recorded at the endpoint `TABLES`."""
    by_table: dict[str, list[NewRows]] = {}
    for one in new:
        by_table.setdefault(one.table.name, []).append(one)
    for name, each in by_table.items():
        key = row_tables.key_of(connection, name)
        _record(connection, key, each)
        core = core_table(each[0].table)
        load_batches(connection, core, _batches(each))
        analyze_grown(connection, core, sum(one.rows.num_rows for one in each))


def _record(connection: sa.Connection, key: int, new: Sequence[NewRows]) -> None:
    """Record how many rows there are of each file, and in which table."""
    found: dict[tuple[uuid.UUID, str], int] = {}
    for start in range(0, len(new), CHUNK):
        part = [{"d": n.dataset_id, "c": n.component} for n in new[start : start + CHUNK]]
        given = rows_of(connection, part, {"d": sa.Uuid, "c": sa.String})
        same = (file.c.dataset_id == given.c.d) & (file.c.component == given.c.c)
        asked = sa.select(file.c.dataset_id, file.c.component, file.c.id)
        rows = connection.execute(in_written_order(asked.join_from(given, file, same)))
        found.update(((row[0], row[1]), row[2]) for row in rows)
    connection.execute(
        sa.insert(file_rows),
        [
            {
                "file_id": found[n.dataset_id, n.component],
                "table_id": key,
                "n_rows": n.rows.num_rows,
                "layout": n.layout,
            }
            for n in new
        ],
    )


def _batches(new: Sequence[NewRows]) -> Iterator[pa.RecordBatch]:
    for one in new:
        for start in range(0, one.rows.num_rows, BATCH):
            part = one.rows.slice(start, BATCH)
            yield row_values.encoded(one.table, part, one.dataset_id, start)


@dataclass(frozen=True, slots=True)
class Placed:
    """What is known of rows that lie in a table.

    Parameters
    ----------
    file_id : int
        Key of their record.
    dataset_id : uuid.UUID
        Dataset that they are.
    table : str
        Name of the table.
    n_rows : int
        How many.
    layout : bytes or None
        As it was given.
    """

    file_id: int
    dataset_id: uuid.UUID
    table: str
    n_rows: int
    layout: bytes | None


def placed(connection: sa.Connection, file_ids: Sequence[int]) -> dict[int, Placed]:
    """Find in which tables the rows of files lie; those that are no rows are left out."""
    found: dict[int, Placed] = {}
    for start in range(0, len(file_ids), CHUNK):
        part = [{"k": k} for k in file_ids[start : start + CHUNK]]
        given = rows_of(connection, part, {"k": sa.BigInteger})
        asked = (
            sa.select(
                file_rows.c.file_id,
                file.c.dataset_id,
                row_table.c.name,
                file_rows.c.n_rows,
                file_rows.c.layout,
            )
            .join_from(given, file_rows, file_rows.c.file_id == given.c.k)
            .join(file, file.c.id == file_rows.c.file_id)
            .join(row_table, row_table.c.id == file_rows.c.table_id)
        )
        for row in connection.execute(in_written_order(asked)):
            found[row[0]] = Placed(*row)
    return found


def read(
    connection: sa.Connection,
    table: RowTable,
    what: Placed,
    columns: Sequence[str] | None = None,
    rows: slice | None = None,
    where: Any = None,
) -> pa.Table:
    """Read rows of a dataset in their order, some `BATCH` of them at once.

    Parameters
    ----------
    columns : sequence of str, optional
        Only these, in the order in which the table has them.
    rows : slice, optional
        Only these, from 0; with start and stop.
    where : SQL condition, optional
        Only the rows that fulfil it.

    Raises
    ------
    ChangedFile
        If there are not as many as were recorded: they were changed behind the registry's back.
    """
    import pyarrow as pa

    core = core_table(table)
    chosen = [c for c in table.columns if columns is None or c.name in columns]
    begin, end = (rows.start, rows.stop) if rows is not None else (0, what.n_rows)
    told = [core.c[NOT_FINITE]] if any(c.is_float for c in chosen) else []
    selected = [core.c[c.name] for c in chosen]
    parts: list[pa.Table] = []
    for start in range(begin, end, BATCH):
        stop = min(start + BATCH, end)
        asked = sa.select(core.c[ROW_NUMBER], *selected, *told).where(
            core.c[DATASET_ID] == what.dataset_id,
            core.c[ROW_NUMBER] >= start,
            core.c[ROW_NUMBER] < stop,
            *(() if where is None else (where,)),
        )
        found = connection.execute(asked.order_by(core.c[ROW_NUMBER])).all()
        if where is None and len(found) != stop - start:
            raise ChangedFile(
                f"The table {table.name} has {len(found)} rows from {start} to {stop} of the "
                f"dataset {what.dataset_id}, and {stop - start} were recorded: it was changed "
                "behind the registry's back. Put the dataset again, or restore the table."
            )
        parts.append(row_values.decoded(chosen, found))
    if not parts:
        parts = [row_values.decoded(chosen, [])]
    return pa.concat_tables(parts)


def forget(connection: sa.Connection, given: Any) -> None:
    """Remove the rows of files, with what is recorded of them as rows.

    Parameters
    ----------
    given : sqlalchemy.Subquery
        Keys of the files, as ``k``; what `rows_of` makes.
    """
    asked = (
        sa.select(row_table.c.name, file.c.dataset_id)
        .join_from(given, file_rows, file_rows.c.file_id == given.c.k)
        .join(file, file.c.id == file_rows.c.file_id)
        .join(row_table, row_table.c.id == file_rows.c.table_id)
    )
    by_table: dict[str, list[Mapping[str, Any]]] = {}
    for name, dataset_id in connection.execute(in_written_order(asked)):
        by_table.setdefault(name, []).append({"d": dataset_id})
    if not by_table:
        return
    tables = row_tables.described(connection)
    for name, ids in by_table.items():
        theirs = rows_of(connection, ids, {"d": sa.Uuid}, "theirs")
        delete_among(connection, core_table(tables[name]).c[DATASET_ID], theirs.c.d)
    delete_among(connection, file_rows.c.file_id, given.c.k)
