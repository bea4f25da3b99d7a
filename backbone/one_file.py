"""How is one file recorded with its copy, or with its dataset, by as few statements as can be?

What is put alone has mostly one file.  Where a statement may hold others that write, one records
the file with its copy, or both with the dataset and its data ID.  What else may be the case is left
to `registry.datasets.insert_datasets` and `backbone.files.record`, which tell it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import ShortStatement, utc_now, writes_within
from registry.one_dataset import insertion_sql, target_sql, values_of
from registry.schema.files import endpoint, file, replica
from registry.schema.identity import dataset

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from registry.identity import DatasetRef

__all__ = ["COPY_COLUMNS", "record_one", "record_with_dataset"]

COPY_COLUMNS = ["file_id", "endpoint_id", "state", "since"]
_AVAILABLE: tuple[Any, Any] = (
    sa.literal_column("'available'"),
    sa.bindparam("now", type_=replica.c.since.type),
)
_NAMED = endpoint.c.name == sa.bindparam("at", type_=sa.String)
_AT = sa.select(endpoint.c.id).where(_NAMED).scalar_subquery()
_ONE = {f"new_{c.name}": c for c in file.c if c is not file.c.id}
_VALUES = {c.name: sa.bindparam(name, type_=c.type) for name, c in _ONE.items()}
_MADE = sa.insert(file).values(_VALUES).returning(file.c.id).cte("new_file")
_WITH_COPY = ShortStatement(
    sa.insert(replica).from_select(
        COPY_COLUMNS, sa.select(_MADE.c.id, _AT, *_AVAILABLE).where(_AT.is_not(None))
    )
)
_INSERT_ONE = ShortStatement(
    sa.insert(file).inline(), columns=[column.name for column in _ONE.values()]
)
_COPY_ONE = ShortStatement(
    sa.insert(replica).from_select(
        COPY_COLUMNS,
        sa.select(file.c.id, _AT, *_AVAILABLE).where(
            file.c.dataset_id == sa.bindparam("dataset", type_=file.c.dataset_id.type),
            file.c.component == sa.bindparam("component", type_=sa.String),
            _AT.is_not(None),
        ),
    )
)


def record_one(
    connection: sa.Connection, where: str, row: Mapping[str, Any], now: dt.datetime
) -> bool:
    """Record a file with its copy.

    Parameters
    ----------
    where : str
        Name of the endpoint.
    row : mapping
        Values of the file, by column.

    Returns
    -------
    bool
        False if there is no such endpoint.
    """
    if writes_within(connection):
        return _WITH_COPY.changed(connection, _bound(where, row, now)) == 1
    _INSERT_ONE.changed(connection, row)
    of_it = {"dataset": row["dataset_id"], "component": row["component"]}
    return _COPY_ONE.changed(connection, {**of_it, "at": where, "now": now}) == 1


def record_with_dataset(
    connection: sa.Connection, ref: DatasetRef, date: int, where: str, row: Mapping[str, Any]
) -> bool:
    """Register a dataset and record its file by one statement, where there may be such a one.

    Parameters
    ----------
    ref : DatasetRef
        With its new identity.
    date : int
        When it was put [TAI ns].
    where : str
        Name of the endpoint.
    row : mapping
        Values of the file, by column.

    Returns
    -------
    bool
        Whether it was; otherwise nothing has changed but that its data ID may have a row.
    """
    if not writes_within(connection):
        return False
    names, values = values_of(ref, date)
    return _insert_all(names).changed(connection, values | _bound(where, row, utc_now())) == 1


def _bound(where: str, row: Mapping[str, Any], now: dt.datetime) -> dict[str, Any]:
    values = {name: row[column.name] for name, column in _ONE.items()}
    return {**values, "at": where, "now": now}


@functools.cache
def _insert_all(names: tuple[str, ...]) -> ShortStatement:
    """Write what inserts a dataset with its data ID, its file and the copy."""
    at = target_sql().add_columns(endpoint.c.id.label("at"))
    target = at.join(endpoint, sa.true()).where(_NAMED).cte("target")
    made = insertion_sql(names, target).returning(dataset.c.id).cte("new_dataset")
    held = {**_VALUES, "dataset_id": made.c.id}
    new = sa.insert(file).from_select(list(held), sa.select(*held.values()))
    new_file = new.returning(file.c.id).cte("new_file")
    copy = sa.select(new_file.c.id, target.c.at, *_AVAILABLE)
    return ShortStatement(
        sa.insert(replica).from_select(COPY_COLUMNS, copy.join_from(new_file, target, sa.true()))
    )
