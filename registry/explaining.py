"""Why does a question answer nothing?

Looks, in this order, for a name that no record has, for collections without the dataset type, and
for a condition that nothing fulfils.  The questions themselves are in `registry.datasets`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import collections as coll
from registry.dimensions import ELEMENTS, missing_records
from registry.expressions import UnknownValue, compile_where
from registry.identity import DataId, DatasetType
from registry.names import names_of_data_ids, names_of_dimensions, names_of_element
from registry.schema.collections import collection
from registry.schema.identity import data_id as data_id_table
from registry.schema.identity import dataset, dataset_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from registry.names import Names

__all__ = ["explain_no_datasets", "explain_no_records"]


def explain_no_datasets(
    connection: sa.Connection,
    kind: DatasetType,
    collections: Sequence[str] | str,
    *,
    where: str = "",
    bind: Mapping[str, Any] | None = None,
    data_id: Mapping[str, Any] | None = None,
) -> str:
    """Say why a query for datasets found none; arguments as for `registry.finding.query_datasets`.

    Returns
    -------
    str
        One sentence or more.
    """
    names = names_of_data_ids(
        data_id_table,
        data_id_table,
        kind.dimensions,
        {"run": collection.c.name, "dataset_id": dataset.c.id},
        connection,
    )
    unknown = _unknown(connection, names, where, bind, data_id)
    if unknown:
        return unknown
    searched = coll.flatten(connection, collections)
    runs = connection.execute(
        sa.select(collection.c.id, collection.c.name, sa.func.count())
        .join_from(dataset, dataset_type, dataset_type.c.id == dataset.c.dataset_type_id)
        .join(collection, collection.c.id == dataset.c.run_id)
        .where(dataset_type.c.name == kind.name)
        .group_by(collection.c.id, collection.c.name)
        .order_by(sa.func.count().desc(), collection.c.name)
    ).all()
    if not runs:
        return f"No dataset of type {kind.name} is registered yet."
    shown = ", ".join(f"'{c.name}'" for c in searched[:5]) + (", ..." if len(searched) > 5 else "")
    here = {c.id for c in searched}
    if not searched or (
        all(c.type == "RUN" for c in searched) and not any(run in here for run, _, _ in runs)
    ):
        most = ", ".join(f"'{name}' ({n})" for _, name, n in runs[:3])
        place = f"in {shown}" if searched else "to be found, since no collection is searched"
        return f"There is no dataset of type {kind.name} {place}; most are in {most}."
    return f"There are datasets of type {kind.name} in {shown}, but none that is asked for."


def explain_no_records(
    connection: sa.Connection,
    asked: str | Sequence[str],
    *,
    where: str = "",
    bind: Mapping[str, Any] | None = None,
    data_id: Mapping[str, Any] | None = None,
) -> str:
    """Say why a query for records, or for data IDs, found none.

    Parameters
    ----------
    asked : str or sequence of str
        An element, or dimensions of data IDs.
    """
    if isinstance(asked, str):
        names = names_of_element(asked, connection)
        elements = [asked]
    else:
        names = names_of_dimensions(asked, connection)
        elements = [d for d in asked if d in ELEMENTS]
    unknown = _unknown(connection, names, where, bind, data_id)
    if unknown:
        return unknown
    for element in elements:
        if connection.execute(sa.select(sa.literal(1)).select_from(ELEMENTS[element])).first():
            continue
        return f"There is no record of {element} yet."
    return "There are records, but none that is asked for."


def _unknown(
    connection: sa.Connection,
    names: Names,
    where: str,
    bind: Mapping[str, Any] | None,
    data_id: Mapping[str, Any] | None,
) -> str:
    names.explaining = True
    missing = missing_records(connection, [DataId.of(data_id or {})])
    if missing is not None:
        return str(missing)
    try:
        compile_where(where, names, bind or {})
    except UnknownValue as error:
        return str(error)
    return ""
