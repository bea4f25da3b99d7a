"""Are the rows of datasets in their tables as they were recorded?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from backbone import row_values, rows
from backbone.errors import ChangedFile
from registry import row_tables
from registry.database import delete_among, rows_of
from registry.row_tables import DATASET_ID, core_table
from registry.schema.files import file, replica
from registry.schema.row_tables import file_rows, row_table

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from registry.row_tables import RowTable

__all__ = ["Difference", "compare", "held", "orphans", "remove_orphans"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows that are not as they were recorded.

    Parameters
    ----------
    file_id, endpoint_id : int
        Keys of the copy.
    problem : str
        missing, size or checksum.
    what : str
        Table and dataset.
    """

    file_id: int
    endpoint_id: int
    problem: str
    what: str


def compare(connection: sa.Connection, *, checksums: bool) -> list[Difference]:
    """Count the rows of each dataset, or read them all, and compare with what is recorded."""
    found: list[Difference] = []
    for name, table in row_tables.described(connection).items():
        core = core_table(table)
        counted = (
            sa.select(core.c[DATASET_ID], sa.func.count().label("n"))
            .group_by(core.c[DATASET_ID])
            .subquery("counted")
        )
        n = sa.func.coalesce(counted.c.n, 0)
        asked = (
            sa.select(
                file.c.id,
                replica.c.endpoint_id,
                file.c.path,
                file.c.checksum,
                file_rows.c.n_rows,
                n,
            )
            .join_from(row_table, file_rows, file_rows.c.table_id == row_table.c.id)
            .join(file, file.c.id == file_rows.c.file_id)
            .join(replica, replica.c.file_id == file.c.id)
            .outerjoin(counted, counted.c[DATASET_ID] == file.c.dataset_id)
            .where(row_table.c.name == name)
        )
        if not checksums:
            asked = asked.where(file_rows.c.n_rows != n)
        for row in connection.execute(asked).all():
            problem = _problem(connection, table, row, checksums=checksums)
            if problem:
                found.append(Difference(row[0], row[1], problem, row.path))
    return found


def _problem(connection: sa.Connection, table: RowTable, row: Any, *, checksums: bool) -> str:
    recorded, there = row[4], row[5]
    if recorded != there:
        return "size" if there else "missing"
    if checksums:
        what = rows.placed(connection, [row[0]])[row[0]]
        try:
            content = rows.read(connection, table, what)
        except ChangedFile:
            return "checksum"
        if row_values.size_and_checksum(table, content)[1] != row.checksum:
            return "checksum"
    return ""


def orphans(connection: sa.Connection) -> list[tuple[str, uuid.UUID]]:
    """Find datasets that have rows in a table and no record of them; a table and a dataset each."""
    found: list[tuple[str, uuid.UUID]] = []
    for name, table in row_tables.described(connection).items():
        core = core_table(table)
        recorded = (
            sa.select(file.c.dataset_id)
            .join(file_rows, file_rows.c.file_id == file.c.id)
            .join(row_table, row_table.c.id == file_rows.c.table_id)
            .where(row_table.c.name == name)
            .subquery("recorded")
        )
        asked = (
            sa.select(core.c[DATASET_ID])
            .outerjoin(recorded, recorded.c.dataset_id == core.c[DATASET_ID])
            .where(recorded.c.dataset_id.is_(None))
            .distinct()
        )
        found += [(name, key) for key in connection.execute(asked).scalars()]
    return found


def remove_orphans(connection: sa.Connection, found: Sequence[tuple[str, uuid.UUID]]) -> None:
    """Remove rows that `orphans` found."""
    tables = row_tables.described(connection)
    for name in {name for name, _ in found}:
        given = rows_of(connection, [{"d": key} for n, key in found if n == name], {"d": sa.Uuid})
        delete_among(connection, core_table(tables[name]).c[DATASET_ID], given.c.d)


def held(connection: sa.Connection) -> dict[str, tuple[int, int]]:
    """Count the datasets, and the rows, that are recorded of each table that has some."""
    asked = (
        sa.select(row_table.c.name, sa.func.count(), sa.func.sum(file_rows.c.n_rows))
        .join(file_rows, file_rows.c.table_id == row_table.c.id)
        .group_by(row_table.c.name)
    )
    return {name: (int(n), int(n_rows)) for name, n, n_rows in connection.execute(asked)}
