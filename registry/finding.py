"""Which datasets fulfil a condition?

The answers come as objects, a few at a time, as a table, or as counts; the statement behind each
can be had before it is run.  The same for data IDs is in `registry.data_ids`, for records in
`registry.records`.  What a name in a condition means is `registry.names`, the language of
conditions `registry.expressions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import collections as coll
from registry.answering import beyond, counted, limited, ordering, sort_names, sorted_by, streamed
from registry.conditions import conditions_on
from registry.database import many_objects, whole_columns
from registry.errors import MissingDataset
from registry.expressions import names as mentioned
from registry.expressions import parse
from registry.identity import (
    DIMENSIONS,
    DataId,
    DatasetRef,
    DatasetType,
    refs_of,
    with_dashes,
)
from registry.names import names_of_data_ids
from registry.row_names import row_names
from registry.schema.calibrations import calibration
from registry.schema.collections import collection, tagged
from registry.schema.dimensions import instrument
from registry.schema.identity import data_id as data_id_table
from registry.schema.identity import dataset, dataset_type
from registry.schema.provenance import removed_dataset

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

__all__ = [
    "Members",
    "count_datasets",
    "members_of",
    "query_datasets",
    "query_datasets_sql",
    "refs_of_rows",
    "stream_datasets",
    "table_of_datasets",
]


def query_datasets_sql(
    kind: DatasetType,
    collections: Sequence[coll.Collection],
    *,
    where: str = "",
    bind: Mapping[str, Any] | None = None,
    data_id: Mapping[str, Any] | None = None,
    find_first: bool = True,
    order_by: Sequence[str] = (),
    limit: int | None = None,
    after: uuid.UUID | None = None,
    also: Sequence[str] = (),
    with_data_id: bool = False,
    connection: sa.Connection | None = None,
) -> sa.Select[Any] | None:
    """Write the statement that `query_datasets` runs; None when no collection is searched.

    Parameters
    ----------
    also : sequence of str
        Names, as in ``where``, whose values are selected too, as ``also0``, ``also1``, ...
    with_data_id : bool
        Whether the key of the data ID is selected too, as ``data_id``.
    connection : sqlalchemy.Connection, optional
        Needed for ``after``, for keys that an instrument declares, and for regions.
    """
    first = find_first and len(collections) > 1
    members = members_of(kind.name, collections, each_once=not first)
    if members is None:
        return None
    i = data_id_table.alias("i")
    base = members.source.join(collection, collection.c.id == dataset.c.run_id).join(
        i, i.c.id == dataset.c.data_id
    )
    fields = {
        "dataset_id": dataset.c.id,
        "run": collection.c.name,
        "ingest_date": dataset.c.ingest_date_tai_ns,
    }
    names = names_of_data_ids(base, i, kind.dimensions, fields, connection)
    used = [
        *mentioned(parse(where), bind or {}),
        *(name for name, _ in sort_names(order_by)),
        *also,
    ]
    names.rows = row_names(connection, kind, dataset.c.id, used)
    conditions = [
        *members.conditions,
        *conditions_on(names, where, bind, data_id),
    ]
    if not names.joined:
        conditions += _of_some_instrument(connection, kind, i, where, data_id)
    sorting = ordering(names, order_by)
    columns = [
        dataset.c.id,
        collection.c.name.label("run_name"),
        *(i.c[d] for d in kind.dimensions if d in DIMENSIONS),
        *([i.c.extra] if any(d not in DIMENSIONS for d in kind.dimensions) else []),
        *(names.column(name).label(f"also{n}") for n, name in enumerate(also)),
        *([dataset.c.data_id] if with_data_id else []),
    ]
    keys = [key for key, _ in sorting]
    selected: sa.Select[Any] = sa.select(*columns).select_from(names.base).where(*conditions)
    id_: Any = dataset.c.id
    if first:
        rank = sa.func.row_number().over(partition_by=dataset.c.data_id, order_by=members.place)
        labels = [f"key{n}" for n in range(len(keys))]
        ranked = selected.add_columns(
            rank.label("nth"), *(k.label(name) for k, name in zip(keys, labels, strict=True))
        ).subquery("ranked")
        keys = [ranked.c[name] for name in labels]
        selected = sa.select(*(ranked.c[c.name] for c in columns)).where(ranked.c.nth == 1)
        id_ = ranked.c.id
    if after is not None:
        own = sa.select(*(key for key, _ in sorting), sa.literal_column("1")).select_from(
            names.base
        )
        own = own.where(dataset.c.id == after, *members.conditions).limit(1)
        row = connection.execute(own).first() if connection is not None else None
        if row is None:
            raise MissingDataset(kind.name, {"id": str(after)}, [c.name for c in collections])
        found = list(row)[:-1]
        selected = selected.where(beyond(keys, [down for _, down in sorting], found, id_ > after))
    selected = sorted_by(selected, zip(keys, (down for _, down in sorting), strict=True))
    return limited(selected.order_by(id_), limit)


def query_datasets(
    connection: sa.Connection, kind: DatasetType, collections: Sequence[str] | str, **options: Any
) -> list[DatasetRef]:
    """Find datasets of one type.

    Parameters
    ----------
    kind : DatasetType
        Their type.
    collections : str or sequence of str
        Searched in this order; chains and globs are opened.
    **options
        ``where`` (expression), ``bind`` (values), ``data_id`` (fixed keys), ``find_first`` (only
        the first of each data ID, in the order of the collections), ``order_by`` (names, ``-``
        before one for descending; those without a value come last), ``limit``, ``after`` (identity
        of the last dataset of the page before, with the same ``order_by``).

    Returns
    -------
    list of DatasetRef

    Raises
    ------
    MissingDataset
        If ``after`` is not a dataset that the question could find.
    """
    statement = _statement(connection, kind, collections, options)
    if statement is None:
        return []
    with many_objects():
        ids, runs, *values = whole_columns(connection, _with_text_ids(statement))
        return refs_of(kind, ids, runs, values)


def _with_text_ids(statement: sa.Select[Any]) -> sa.Select[Any]:
    id_, *rest = statement.selected_columns
    return statement.with_only_columns(sa.type_coerce(id_, sa.String), *rest)


def stream_datasets(
    connection: sa.Connection, kind: DatasetType, collections: Sequence[str] | str, **options: Any
) -> Iterator[DatasetRef]:
    """Find datasets as `query_datasets` does, and give them while they come, in little memory.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction (see `registry.database.Database.stream`), and for nothing else meanwhile.
    """
    statement = _statement(connection, kind, collections, options)
    if statement is not None:
        yield from refs_of_rows(kind, streamed(connection, statement))


def table_of_datasets(
    connection: sa.Connection,
    kind: DatasetType,
    collections: Sequence[str] | str,
    *,
    columns: Sequence[str] = (),
    **options: Any,
) -> pa.Table:
    """Find datasets as `query_datasets` does, as a table of Arrow.

    Parameters
    ----------
    columns : sequence of str
        Further names, as in ``where``: fields of records such as ``exposure.exposure_time``, keys
        that the data ID implies such as ``day_obs``, ``ingest_date``.

    Returns
    -------
    pyarrow.Table
        ``dataset_id`` (text), ``run``, the keys of the data ID, then ``columns``.
    """
    import pyarrow as pa

    plain = [d for d in kind.dimensions if d in DIMENSIONS]
    declared = [d for d in kind.dimensions if d not in DIMENSIONS]
    statement = _statement(connection, kind, collections, {**options, "also": columns})
    values: list[Sequence[Any]] = [()] * (2 + len(plain) + bool(declared) + len(columns))
    if statement is not None:
        values = whole_columns(connection, _with_text_ids(statement))
    arrays: dict[str, Any] = {"dataset_id": with_dashes(values[0]), "run": values[1]}
    arrays |= dict(zip(plain, values[2:], strict=False))
    if declared:
        extra = values[2 + len(plain)]
        arrays |= {d: [(e or {}).get(d) for e in extra] for d in declared}
    first = len(values) - len(columns)
    arrays |= dict(zip(columns, values[first:], strict=True))
    types = {"dataset_id": pa.string(), "run": pa.string()}
    types |= {d: pa.string() if DIMENSIONS[d] is str else pa.int64() for d in plain}
    return pa.table({name: pa.array(v, types.get(name)) for name, v in arrays.items()})


def count_datasets(
    connection: sa.Connection,
    kind: DatasetType,
    collections: Sequence[str] | str,
    *,
    by: Sequence[str] = (),
    **options: Any,
) -> list[dict[str, Any]]:
    """Count datasets, all together or by the values of some names.

    Parameters
    ----------
    by : sequence of str
        Names, as in ``where``: ``("day_obs", "physical_filter")``.
    **options
        As for `query_datasets`.

    Returns
    -------
    list of dict
        The names with their values, and ``n``; ordered by the values, none last.  Without names one
        entry, which may count 0.
    """
    statement = _statement(connection, kind, collections, {**options, "also": by})
    return counted(connection, statement, by)


def _statement(
    connection: sa.Connection,
    kind: DatasetType,
    collections: Sequence[str] | str,
    options: Mapping[str, Any],
) -> sa.Select[Any] | None:
    searched = coll.flatten(connection, collections)
    return query_datasets_sql(kind, searched, connection=connection, **options)


def refs_of_rows(kind: DatasetType, rows: Any) -> Iterator[DatasetRef]:
    """Make datasets of rows of identity, run, and the keys of the data ID."""
    names = [d for d in kind.dimensions if d in DIMENSIONS]
    declared = [d for d in kind.dimensions if d not in DIMENSIONS]
    for id_, run, *values in rows:
        items = dict(zip(names, values, strict=False))
        if declared:
            extra = values[-1] or {}
            items |= {d: extra[d] for d in declared}
        yield DatasetRef(id_, kind, DataId(items), run)


def _of_some_instrument(
    connection: sa.Connection | None,
    kind: DatasetType,
    i: Any,
    where: str,
    data_id: Mapping[str, Any] | None,
) -> list[Any]:
    """Say that the instrument is one of those registered: no condition, but a way into indexes.

    They begin with the instrument, which a question about exposures often leaves out.  It takes the
    names themselves: MariaDB cannot step from a subquery into a range of the exposures.
    """
    asked = bool(where.strip() or data_id)
    known = "instrument" not in kind.dimensions or "instrument" in (data_id or {})
    if connection is None or known or not asked:
        return []
    names = connection.execute(sa.select(instrument.c.name)).scalars().all()
    return [i.c.instrument.in_(names)]


@dataclass(frozen=True)
class Members:
    """The datasets of some collections: where they come from, and the place of each."""

    source: Any
    conditions: list[Any]
    place: Any


def members_of(
    type_name: str, collections: Sequence[coll.Collection], *, each_once: bool
) -> Members | None:
    """Say which datasets of a type some collections have; None without a collection.

    Parameters
    ----------
    each_once : bool
        Whether one that is tagged or certified several times counts once, and the place does not.
    """
    places = {c.id: i for i, c in enumerate(collections)}
    parts = []
    asked = sa.select(dataset_type.c.id).where(dataset_type.c.name == type_name)
    for kind, table, column, member in (
        ("RUN", dataset, dataset.c.run_id, dataset.c.id),
        ("TAGGED", tagged, tagged.c.collection_id, tagged.c.dataset_id),
        ("CALIBRATION", calibration, calibration.c.collection_id, calibration.c.dataset_id),
    ):
        ids = [c.id for c in collections if c.type == kind]
        if not ids:
            continue
        of_type = table.c.dataset_type_id == asked.scalar_subquery()
        place: Any = sa.literal(places[ids[0]])
        if len(ids) > 1:
            place = sa.case({i: places[i] for i in ids}, value=column)
        chosen = [column.in_(ids), of_type]
        if kind == "RUN":  # tags and validity ranges of what was removed are gone with it
            chosen.append(~sa.exists().where(removed_dataset.c.dataset_id == dataset.c.id))
        if kind == "RUN" and len(ids) == len(collections):
            return Members(dataset, chosen, place)
        parts.append(sa.select(member.label("dataset_id"), place.label("place")).where(*chosen))
    if not parts:
        return None
    found = (
        parts[0].subquery("member") if len(parts) == 1 else sa.union_all(*parts).subquery("member")
    )
    if each_once:
        found = sa.select(found.c.dataset_id).distinct().subquery("member")
    source = found.join(dataset, dataset.c.id == found.c.dataset_id)
    return Members(source, [], None if each_once else found.c.place)
