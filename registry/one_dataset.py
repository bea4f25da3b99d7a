"""How is one dataset registered by as few statements as can be?

What a program puts one after the other costs the exchange with the database more than its work
there.  Where a statement may hold others that write, one registers a dataset and gives its data ID
a row; elsewhere one registers a dataset whose data ID has a row, and one more gives it one.  What
else may be the case (the run is new, something is unknown, the dataset exists) is left to
`registry.datasets.insert_datasets`, which tells it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from registry.database import ShortStatement, inserted, writes_within
from registry.identity import DIMENSIONS
from registry.schema.collections import collection
from registry.schema.identity import data_id, dataset, dataset_type

if TYPE_CHECKING:
    from registry.identity import DatasetRef

__all__ = ["IDENTIFIED", "insert_dataset", "insertion_sql", "referred", "target_sql", "values_of"]


def insert_dataset(connection: sa.Connection, ref: DatasetRef, date: int) -> bool:
    """Register a dataset, if its run and its type are there, and what its data ID refers to.

    Parameters
    ----------
    ref : DatasetRef
        With its new identity.
    date : int
        When it was put [TAI ns].

    Returns
    -------
    bool
        Whether it was; otherwise nothing has changed but that its data ID may have a row.
    """
    names, values = values_of(ref, date)
    if writes_within(connection):
        return inserted(connection, _insert_both(names), values)
    if inserted(connection, _insert_dataset(), values):
        return True
    if not names:
        return False
    made = inserted(connection, _insert_data_id(names), ref.data_id)
    return made and inserted(connection, _insert_dataset(), values)


def values_of(ref: DatasetRef, date: int) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Give the values of a dataset by which `insertion_sql` is bound, and for which keys.

    Parameters
    ----------
    date : int
        When it was put [TAI ns].

    Returns
    -------
    tuple
        The keys of its data ID, none if it has such as have no column; and the values.
    """
    kind, key = ref.dataset_type, ref.data_id
    names = tuple(key) if all(name in DIMENSIONS for name in key) else ()
    values = {
        "id": ref.id,
        "date": date,
        "run": ref.run,
        "type": kind.name,
        "dimensions": ",".join(kind.dimensions),
        "storage": kind.storage_class,
        "calibrates": kind.is_calibration,
        "identity": key.key,
    }
    return names, {**values, **key} if names else values


@functools.cache
def _insert_both(names: tuple[str, ...]) -> ShortStatement:
    return ShortStatement(insertion_sql(names, target_sql().cte("target")))


def target_sql() -> sa.Select[Any]:
    """Write what finds the keys of the type and of the run that `values_of` names."""
    found = sa.select(dataset_type.c.id.label("type"), collection.c.id.label("run"))
    return found.join_from(dataset_type, collection, sa.true()).where(*_OF_TYPE, *_IN_RUN)


def insertion_sql(names: tuple[str, ...], target: sa.CTE) -> postgresql.Insert:
    """Write what inserts a dataset, and its data ID where that has keys and is new.

    Where a statement may hold others that write; nothing is done if the dataset exists, or what its
    data ID refers to does not.

    Parameters
    ----------
    names : tuple of str
        Keys of the data ID that are written into a new row for it; none if that must exist.
    target : sqlalchemy.CTE
        As `target_sql`; nothing is done if it has no row.
    """
    key_of: Any = sa.select(data_id.c.id).where(IDENTIFIED)
    if names:
        known = key_of.cte("known")
        # a value that stands alone would have another type than where it is compared
        told = [sa.cast(given, given.type) for given in _given(names).values()]
        new = (
            sa.select(*told)
            .select_from(target)
            .where(*referred(names), ~sa.exists().select_from(known))
        )
        made = (
            postgresql.insert(data_id)
            .from_select(list(names), new)
            .on_conflict_do_nothing()
            .returning(data_id.c.id)
            .cte("made")
        )
        key_of = sa.union_all(sa.select(known.c.id), sa.select(made.c.id))
    key = key_of.subquery("key")
    chosen = sa.select(_ID, target.c.type, target.c.run, key.c.id, _DATE)
    return (
        postgresql.insert(dataset)
        .from_select(_COLUMNS, chosen.join_from(target, key, sa.true()))
        .on_conflict_do_nothing()
    )


@functools.cache
def _insert_dataset() -> ShortStatement:
    chosen = _chosen(data_id.c.id).where(IDENTIFIED)
    return ShortStatement(sa.insert(dataset).from_select(_COLUMNS, chosen))


@functools.cache
def _insert_data_id(names: tuple[str, ...]) -> ShortStatement:
    """Write what gives a data ID its row, if all is there that the row refers to."""
    chosen = sa.select(*_given(names).values()).where(*referred(names))
    return ShortStatement(sa.insert(data_id).from_select(list(names), chosen))


_COLUMNS = [column.name for column in dataset.c]
_ID = sa.bindparam("id", type_=dataset.c.id.type)
_DATE = sa.bindparam("date", type_=sa.BigInteger)
_OF_TYPE = (
    dataset_type.c.name == sa.bindparam("type", type_=sa.String),
    dataset_type.c.dimensions == sa.bindparam("dimensions", type_=sa.String),
    dataset_type.c.storage_class == sa.bindparam("storage", type_=sa.String),
    dataset_type.c.is_calibration == sa.bindparam("calibrates", type_=sa.Boolean),
)
_IN_RUN = (
    collection.c.name == sa.bindparam("run", type_=sa.String),
    collection.c.type == "RUN",
)
IDENTIFIED = data_id.c.identity_key == sa.bindparam("identity", type_=sa.String)


def _chosen(key: Any) -> sa.Select[Any]:
    of_type = sa.select(dataset_type.c.id).where(*_OF_TYPE).scalar_subquery()
    in_run = sa.select(collection.c.id).where(*_IN_RUN).scalar_subquery()
    known = of_type.is_not(None), in_run.is_not(None)
    return sa.select(_ID, of_type, in_run, key, _DATE).where(*known)


def _given(names: tuple[str, ...]) -> dict[str, sa.BindParameter[Any]]:
    return {name: sa.bindparam(name, type_=data_id.c[name].type) for name in names}


def referred(names: tuple[str, ...]) -> list[sa.ColumnElement[bool]]:
    """Say that all is there that a row of a data ID refers to, whose keys are bound by name."""
    given = _given(names)
    return [
        sa.exists().where(*(key.column == given[key.parent.name] for key in constraint.elements))
        for constraint in data_id.foreign_key_constraints
        if given.keys() >= set(constraint.column_keys)
    ]
