"""How do datasets of one registry come in an order that another registry's can be merged with?

In batches, with the values that they are ordered by, texts by code points on every database; from
some place in that order on; and without those that an earlier registry gives.  Data IDs and
dimension records come so too.  The questions themselves are `registry.finding`,
`registry.data_ids` and `registry.records`; who merges is `butler.asking`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import collections as coll
from registry.answering import STREAMED, beyond, sort_names, sorted_by, streamed
from registry.data_ids import query_data_ids_sql
from registry.database import rows_of
from registry.dimensions import element_table
from registry.expressions.constructs import CodePointOrder
from registry.finding import query_datasets_sql, refs_of_rows
from registry.records import query_dimension_records_sql
from registry.schema.identity import data_id

if TYPE_CHECKING:
    import uuid
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from registry.identity import DatasetRef, DatasetType

__all__ = [
    "Ordered",
    "Past",
    "batches",
    "data_ids_in_order",
    "given_among",
    "record_batches",
    "records_among",
    "values_of",
    "values_of_record",
]


@dataclass(frozen=True, slots=True)
class Ordered:
    """A question about datasets, and the order of its answer.

    Parameters
    ----------
    kind : DatasetType
        Their type.
    collections : sequence of str
        Searched in this order.
    order_by : tuple of str
        Names, ``-`` before one for descending; those without a value come last.
    columns : tuple of str
        Further names whose values are given.
    options : dict
        ``where``, ``bind``, ``data_id`` and ``find_first`` of `registry.finding.query_datasets`.
    """

    kind: DatasetType
    collections: Sequence[str]
    order_by: tuple[str, ...]
    columns: tuple[str, ...]
    options: dict[str, Any]

    def found(self, connection: sa.Connection, **more: Any) -> sa.Subquery | None:
        """Select the datasets, with the values of the order and the columns as ``also0``, ..."""
        searched = coll.flatten(connection, self.collections)
        names = [*(name for name, _ in sort_names(self.order_by)), *self.columns]
        options = {**self.options, **more}
        statement = query_datasets_sql(
            self.kind, searched, also=names, connection=connection, **options
        )
        return None if statement is None else statement.order_by(None).subquery("found")

    def keys(self, found: sa.Subquery) -> list[tuple[Any, bool]]:
        """Give what the answer is sorted by, and whether it descends."""
        columns = [found.c[f"also{n}"] for n in range(len(self.order_by))]
        sorting = sort_names(self.order_by)
        return [(_sortable(c), down) for c, (_, down) in zip(columns, sorting, strict=True)]


def _sortable(column: Any) -> Any:
    return CodePointOrder(column) if isinstance(column.type, sa.String) else column


@dataclass(frozen=True, slots=True)
class Past:
    """A place in an order: after some values, and of what has just these, after a dataset.

    Parameters
    ----------
    values : tuple
        Of the names of the order.
    dataset : uuid.UUID or None
        Of the registry; without it, all or none of what has the values comes after.
    same : bool
        Whether what has the values comes after.
    """

    values: tuple[Any, ...]
    dataset: uuid.UUID | None = None
    same: bool = False


def values_of(
    connection: sa.Connection, asked: Ordered, dataset: uuid.UUID
) -> tuple[Any, ...] | None:
    """Give the values that a dataset is ordered by; None when it is not in the answer."""
    found = asked.found(connection)
    if found is None:
        return None
    values = [found.c[f"also{n}"] for n in range(len(asked.order_by))]
    row = connection.execute(sa.select(found.c.id, *values).where(found.c.id == dataset)).first()
    return None if row is None else tuple(row[1:])


def batches(
    connection: sa.Connection, asked: Ordered, past: Past | None = None, size: int = STREAMED
) -> Iterator[list[tuple[DatasetRef, tuple[Any, ...]]]]:
    """Give datasets in order while they come, with the values of the order and the columns.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction (see `registry.database.Database.stream`), and for nothing else meanwhile.
    past : Past, optional
        Only what comes after it.
    size : int
        Datasets of a batch, which are held at a time.
    """
    found = asked.found(connection)
    if found is None:
        return
    keys = asked.keys(found)
    statement = sa.select(found)
    if past is not None:
        last: Any = sa.true() if past.same else sa.false()
        if past.dataset is not None:
            last = found.c.id > past.dataset
        columns, downs = [key for key, _ in keys], [down for _, down in keys]
        statement = statement.where(beyond(columns, downs, past.values, last))
    statement = sorted_by(statement, keys).order_by(found.c.id)
    more = len(asked.order_by) + len(asked.columns)
    rows = connection.execution_options(yield_per=size).execute(statement)
    for part in rows.partitions(size):
        refs = refs_of_rows(asked.kind, [row[: len(row) - more] for row in part])
        yield [(ref, tuple(row[len(row) - more :])) for ref, row in zip(refs, part, strict=True)]


def given_among(
    connection: sa.Connection, asked: Ordered, refs: Sequence[DatasetRef]
) -> set[uuid.UUID]:
    """Tell which of some datasets the answer of this registry has, or has instead.

    With ``find_first`` those too whose data ID it has another dataset of.
    """
    found = asked.found(connection, find_first=False, with_data_id=True)
    if found is None or not refs:
        return set()
    rows = [{"id": ref.id, "k": ref.data_id.key} for ref in refs]
    given = rows_of(connection, rows, {"id": sa.Uuid, "k": sa.String})
    here = sa.select(given.c.n).join_from(given, found, found.c.id == given.c.id)
    places = set(connection.execute(here).scalars())
    if asked.options["find_first"]:
        instead = (
            sa.select(given.c.n)
            .join_from(given, data_id, data_id.c.identity_key == given.c.k)
            .join(found, found.c.data_id == data_id.c.id)
        )
        places.update(connection.execute(instead).scalars())
    return {refs[n].id for n in places}


def data_ids_in_order(
    connection: sa.Connection,
    dimensions: Sequence[str],
    order: Sequence[tuple[str, bool]],
    past: Sequence[Any] | None = None,
    limit: int | None = None,
    **options: Any,
) -> Iterator[tuple[Any, ...]]:
    """Give the values of data IDs in order while they come, each data ID once.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction (see `registry.database.Database.stream`), and for nothing else meanwhile.
    order : sequence of (str, bool)
        All keys of the data IDs, each once, and whether it descends.
    past : sequence, optional
        Values of these keys after which the answer begins.
    limit : int, optional
        So many at most.
    **options
        Of `registry.data_ids.query_data_ids`, but for the order and the page.
    """
    question = query_data_ids_sql(connection, dimensions, **options)
    found = question.order_by(None).subquery("found")
    keys = [(_sortable(found.c[name]), down) for name, down in order]
    statement = sorted_by(sa.select(*(found.c[d] for d in dimensions)), keys)
    if past is not None:
        columns, downs = [key for key, _ in keys], [down for _, down in keys]
        statement = statement.where(beyond(columns, downs, past, sa.false()))
    for row in streamed(connection, statement if limit is None else statement.limit(limit)):
        yield tuple(row)


def _records(
    connection: sa.Connection, element: str, order_by: Sequence[str], options: Mapping[str, Any]
) -> tuple[sa.Subquery, list[Any], list[bool]]:
    """Select records with what they are sorted by, at last their key, and whether it descends."""
    sorting = sort_names(order_by)
    names = [name for name, _ in sorting]
    question = query_dimension_records_sql(connection, element, also=names, **options)
    found = question.order_by(None).subquery("found")
    ends = [found.c[c.name] for c in element_table(element).primary_key]
    columns = [*(found.c[f"also{n}"] for n in range(len(names))), *ends]
    downs = [*(down for _, down in sorting), *(False for _ in ends)]
    return found, columns, downs


def values_of_record(
    connection: sa.Connection,
    element: str,
    order_by: Sequence[str],
    key: Sequence[Any],
    options: Mapping[str, Any],
) -> tuple[Any, ...] | None:
    """Give the values that a record is ordered by, its key last; None when it is not found."""
    found, columns, _ = _records(connection, element, order_by, options)
    same = [c == value for c, value in zip(columns[len(order_by) :], key, strict=True)]
    row = connection.execute(sa.select(*columns).select_from(found).where(*same)).first()
    return None if row is None else tuple(row)


def record_batches(
    connection: sa.Connection,
    element: str,
    order_by: Sequence[str],
    past: Sequence[Any] | None,
    size: int,
    options: Mapping[str, Any],
) -> Generator[list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    """Give records in order while they come, each after the values that it is ordered by.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction (see `registry.database.Database.stream`), and for nothing else meanwhile.
    past : sequence, optional
        Values after which the answer begins, as `values_of_record` gives them.
    size : int
        Records of a batch, which are held at a time.
    options : mapping
        ``where``, ``bind`` and ``data_id`` of `registry.records.query_dimension_records`.
    """
    found, columns, downs = _records(connection, element, order_by, options)
    keys = [_sortable(column) for column in columns]
    names = [c.name for c in element_table(element).c]
    statement = sa.select(*columns, *(found.c[name] for name in names)).select_from(found)
    statement = sorted_by(statement, zip(keys, downs, strict=True))
    if past is not None:
        statement = statement.where(beyond(keys, downs, past, sa.false()))
    rows = connection.execution_options(yield_per=size).execute(statement)
    n = len(columns)
    for part in rows.partitions(size):
        yield [(tuple(row[:n]), dict(zip(names, row[n:], strict=True))) for row in part]


def records_among(
    connection: sa.Connection,
    element: str,
    keys: Sequence[Sequence[Any]],
    options: Mapping[str, Any],
) -> set[tuple[Any, ...]]:
    """Tell the keys among some that records of the answer have."""
    if not keys:
        return set()
    found, columns, _ = _records(connection, element, (), options)
    types = {
        f"k{n}": sa.String if isinstance(c.type, sa.String) else sa.BigInteger
        for n, c in enumerate(columns)
    }
    given = rows_of(connection, [dict(zip(types, key, strict=True)) for key in keys], types)
    same = sa.and_(*(given.c[k] == c for k, c in zip(types, columns, strict=True)))
    places = connection.execute(sa.select(given.c.n).join_from(given, found, same)).scalars()
    return {tuple(keys[n]) for n in places}
