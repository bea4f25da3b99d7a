"""How is one dataset registered by as few statements as can be?

What a program puts one after the other costs the exchange with the database more than its work
there.  One statement registers a dataset whose data ID has a row, and one more gives it one; what
else may be the case (the run is new, something is unknown, the dataset exists) is left to
`registry.datasets.insert_datasets`, which tells it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from registry.identity import DIMENSIONS
from registry.schema.collections import collection
from registry.schema.identity import data_id, dataset, dataset_type
from registry.timespan import tai_now_ns

if TYPE_CHECKING:
    from registry.identity import DatasetRef

__all__ = ["insert_dataset"]


def insert_dataset(connection: sa.Connection, ref: DatasetRef) -> bool:
    """Register a dataset, if its run and its type are there, and what its data ID refers to.

    Parameters
    ----------
    ref : DatasetRef
        With its new identity.

    Returns
    -------
    bool
        Whether it was; otherwise nothing has changed but that its data ID may have a row.
    """
    kind, key = ref.dataset_type, ref.data_id
    values = {
        "id": ref.id,
        "date": tai_now_ns(),
        "run": ref.run,
        "type": kind.name,
        "dimensions": ",".join(kind.dimensions),
        "storage": kind.storage_class,
        "calibrates": kind.is_calibration,
        "identity": key.key,
    }
    postgres = connection.dialect.name == "postgresql"
    if _new(connection, _insert_dataset(postgres), values):
        return True
    if not key or any(name not in DIMENSIONS for name in key):
        return False
    row = _new(connection, _insert_data_id(tuple(key), postgres), dict(key))
    return row and _new(connection, _insert_dataset(postgres), values)


def _new(connection: sa.Connection, statement: sa.Insert, values: dict[str, Any]) -> bool:
    """Insert a row; False when it is there, or what it refers to is not."""
    try:
        return connection.execute(statement, values).rowcount == 1
    except sa.exc.IntegrityError:
        if connection.dialect.name == "postgresql":  # where it has ended the transaction
            raise
        return False


@functools.cache
def _insert_dataset(postgres: bool) -> sa.Insert:
    of_type = (
        sa.select(dataset_type.c.id)
        .where(
            dataset_type.c.name == sa.bindparam("type", type_=sa.String),
            dataset_type.c.dimensions == sa.bindparam("dimensions", type_=sa.String),
            dataset_type.c.storage_class == sa.bindparam("storage", type_=sa.String),
            dataset_type.c.is_calibration == sa.bindparam("calibrates", type_=sa.Boolean),
        )
        .scalar_subquery()
    )
    in_run = (
        sa.select(collection.c.id)
        .where(
            collection.c.name == sa.bindparam("run", type_=sa.String), collection.c.type == "RUN"
        )
        .scalar_subquery()
    )
    chosen = sa.select(
        sa.bindparam("id", type_=dataset.c.id.type),
        of_type,
        in_run,
        data_id.c.id,
        sa.bindparam("date", type_=sa.BigInteger),
    ).where(
        data_id.c.identity_key == sa.bindparam("identity", type_=sa.String),
        of_type.is_not(None),
        in_run.is_not(None),
    )
    return _insert(dataset, [c.name for c in dataset.c], chosen, postgres)


@functools.cache
def _insert_data_id(names: tuple[str, ...], postgres: bool) -> sa.Insert:
    """Write what gives a data ID its row, if all is there that the row refers to."""
    given = {name: sa.bindparam(name, type_=data_id.c[name].type) for name in names}
    referred = [
        sa.exists().where(*(key.column == given[key.parent.name] for key in constraint.elements))
        for constraint in data_id.foreign_key_constraints
        if given.keys() >= set(constraint.column_keys)
    ]
    # PostgreSQL would give a value that stands alone another type than where it is compared
    told = [sa.cast(g, g.type) if postgres else g for g in given.values()]
    return _insert(data_id, list(names), sa.select(*told).where(*referred), postgres)


def _insert(
    table: sa.Table, columns: list[str], chosen: sa.Select[Any], postgres: bool
) -> sa.Insert:
    if postgres:
        return postgresql.insert(table).from_select(columns, chosen).on_conflict_do_nothing()
    return sa.insert(table).from_select(columns, chosen)
