"""Why does a question answer nothing?

Looks, in this order, for a name that no record has, for collections without the dataset type, and
for the condition that nothing fulfils.  The questions themselves are in `registry.finding`,
`registry.data_ids` and `registry.records`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import collections as coll
from registry.conditions import conditions_on, dimensions_in
from registry.data_ids import count_data_ids
from registry.datasets import get_dataset_type
from registry.dimensions import ELEMENTS, missing_records
from registry.expressions import UnknownValue, parse, terms
from registry.expressions import names as mentioned
from registry.finding import count_datasets
from registry.identity import DIMENSIONS, DataId, DatasetType
from registry.joining import names_of_dimensions
from registry.names import names_of_data_ids, names_of_element
from registry.records import count_dimension_records
from registry.row_names import row_names
from registry.schema.collections import collection
from registry.schema.identity import data_id as data_id_table
from registry.schema.identity import dataset, dataset_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from registry.names import Names

__all__ = [
    "explain_no_data_ids",
    "explain_no_datasets",
    "explain_no_records",
    "left_after_each_term",
]


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
    used = mentioned(parse(where), bind or {})
    names.rows = row_names(connection, kind, dataset.c.id, used)
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

    def count(part: str) -> int:
        asked: dict[str, Any] = {"where": part, "bind": bind, "data_id": data_id}
        return int(count_datasets(connection, kind, collections, **asked)[0]["n"])

    told = f"There are datasets of type {kind.name} in {shown}, but none that is asked for."
    return told + _lost(where, count)


def explain_no_records(
    connection: sa.Connection,
    element: str,
    *,
    where: str = "",
    bind: Mapping[str, Any] | None = None,
    data_id: Mapping[str, Any] | None = None,
) -> str:
    """Say why a query for records of an element found none."""
    names = names_of_element(element, connection)
    unknown = _unknown(connection, names, where, bind, data_id)
    if unknown:
        return unknown
    empty = _without_records(connection, [element])
    if empty:
        return empty

    def count(part: str) -> int:
        asked: dict[str, Any] = {"where": part, "bind": bind, "data_id": data_id}
        return int(count_dimension_records(connection, element, **asked)[0]["n"])

    return f"There are records of {element}, but none that is asked for.{_lost(where, count)}"


def explain_no_data_ids(
    connection: sa.Connection,
    dimensions: Sequence[str],
    *,
    where: str = "",
    bind: Mapping[str, Any] | None = None,
    data_id: Mapping[str, Any] | None = None,
    datasets: str | Sequence[str] | None = None,
    without: str | Sequence[str] | None = None,
    collections: str | Sequence[str] = (),
) -> str:
    """Say why a query for data IDs found none; as for `registry.data_ids.query_data_ids`."""
    kinds = [datasets] if isinstance(datasets, str) else list(datasets or ())
    about = [*dimensions, *(d for d in dimensions_in(where, bind) if d not in dimensions)]
    about = [d for d in about if d in DIMENSIONS]
    missing = _missing_record(connection, data_id)
    if not missing and about:
        missing = _unknown_value(names_of_dimensions(about, connection), where, bind)
    if missing:
        return missing
    for name in kinds:
        kind = get_dataset_type(connection, name)
        here: dict[str, Any] = {"collections": collections}
        if not count_datasets(connection, kind, find_first=False, **here)[0]["n"]:
            return explain_no_datasets(connection, kind, **here)
    empty = _without_records(connection, [d for d in dimensions if d in ELEMENTS])
    if empty and not kinds:
        return empty

    def count(part: str, *, absent: bool = True) -> int:
        asked: dict[str, Any] = {"where": part, "bind": bind, "data_id": data_id}
        asked |= {"datasets": datasets, "collections": collections}
        asked |= {"without": without} if absent else {}
        return int(count_data_ids(connection, dimensions, **asked)[0]["n"])

    shown = ", ".join(dimensions)
    if without and not count(""):
        n = count("", absent=False)
        if n:
            listed = without if isinstance(without, str) else " or ".join(without)
            return f"With each of the {n} data IDs of {shown} goes a dataset of type {listed}."
    joined = f" that go with {' and '.join(kinds)}" if kinds else ""
    if not count(""):
        return f"There are no data IDs of {shown}{joined}."
    return (
        f"There are data IDs of {shown}{joined}, but none that is asked for.{_lost(where, count)}"
    )


def left_after_each_term(where: str, count: Callable[[str], int]) -> list[dict[str, Any]]:
    """Count what is left of an answer after each condition that AND joins.

    Parameters
    ----------
    where : str
        Expression.
    count : callable
        Counts what fulfils an expression.

    Returns
    -------
    list of dict
        ``condition`` and ``left``; the first without a condition.
    """
    rows = [{"condition": "", "left": count("")}]
    said: list[str] = []
    for term in terms(parse(where)):
        root = term.root
        assert root is not None  # noqa: S101 (terms have one)
        shown = where[root.start : root.end]
        said.append(f"({shown})")
        rows.append({"condition": shown, "left": count(" AND ".join(said))})
    return rows


def _lost(where: str, count: Callable[[str], int]) -> str:
    """Name the condition that leaves nothing of what those before it left."""
    rows = left_after_each_term(where, count)
    for before, row in pairwise(rows):
        if before["left"] and not row["left"]:
            return f" None of the {before['left']} left before it fulfils: {row['condition']}"
    return ""


def _without_records(connection: sa.Connection, elements: Sequence[str]) -> str:
    for element in elements:
        if connection.execute(
            sa.select(sa.literal_column("1")).select_from(ELEMENTS[element])
        ).first():
            continue
        return f"There is no record of {element} yet."
    return ""


def _unknown(
    connection: sa.Connection,
    names: Names,
    where: str,
    bind: Mapping[str, Any] | None,
    data_id: Mapping[str, Any] | None,
) -> str:
    return _missing_record(connection, data_id) or _unknown_value(names, where, bind)


def _missing_record(connection: sa.Connection, data_id: Mapping[str, Any] | None) -> str:
    missing = missing_records(connection, [DataId.of(data_id or {})])
    return "" if missing is None else str(missing)


def _unknown_value(names: Names, where: str, bind: Mapping[str, Any] | None) -> str:
    names.explaining = True
    try:
        conditions_on(names, where, bind)
    except UnknownValue as error:
        return str(error)
    return ""
