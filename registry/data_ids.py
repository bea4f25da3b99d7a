"""Which data IDs are there, of records alone or of datasets that exist or do not?

The answers come in the forms that `registry.finding` gives for datasets.  How dimensions are joined
to each other: `registry.joining`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import collections as coll
from registry.answering import (
    STREAMED,
    arrow_table,
    arrow_type,
    beyond,
    counted,
    limited,
    ordering,
    require_list,
    sort_names,
    sorted_by,
    streamed,
)
from registry.conditions import conditions_on, dimensions_in, narrowing_by
from registry.database import absent_from
from registry.datasets import get_dataset_type
from registry.errors import InvalidDataId
from registry.finding import members_of
from registry.identity import DIMENSIONS, DataId
from registry.joining import Joining, names_of_dimensions
from registry.names import IMPLIED_BY, RECORD_KEYS, Names, UnknownField, names_of_data_ids
from registry.schema.identity import data_id as data_id_table
from registry.schema.identity import dataset

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from registry.identity import DatasetType

__all__ = [
    "count_data_ids",
    "query_data_ids",
    "query_data_ids_sql",
    "stream_data_ids",
    "table_of_data_ids",
]


def query_data_ids_sql(
    connection: sa.Connection,
    dimensions: Sequence[str],
    *,
    where: str = "",
    bind: Mapping[str, Any] | None = None,
    data_id: Mapping[str, Any] | None = None,
    datasets: str | Sequence[str] | None = None,
    without: str | Sequence[str] | None = None,
    collections: str | Sequence[str] = (),
    order_by: Sequence[str] = (),
    limit: int | None = None,
    after: Mapping[str, Any] | None = None,
    also: Sequence[str] = (),
) -> sa.Select[Any]:
    """Write the statement that `query_data_ids` runs.

    Parameters
    ----------
    also : sequence of str
        Names, as in ``where``, whose values are selected too, as ``also0``, ``also1``, ...; each
        combination of a data ID and these values is a row.
    """
    require_list("dimensions", dimensions)
    kinds = [get_dataset_type(connection, name) for name in _listed(datasets)]
    absent = [get_dataset_type(connection, name) for name in _listed(without)]
    searched = coll.flatten(connection, collections) if kinds or absent else []
    sorted_names = [name for name, _ in sort_names(order_by)]
    about = dimensions_in(where, bind, [*sorted_names, *also, *(data_id or {})])
    about |= {d for kind in kinds for d in kind.dimensions if d in DIMENSIONS}
    narrow = narrowing_by(where, bind, data_id)
    if kinds:
        # the one with most keys first, to which the others have little to add
        kinds.sort(key=lambda kind: -len(kind.dimensions))
        names = _names_of_datasets(connection, kinds[0], searched)
        _check(dimensions, names)
        here = {d for d in dimensions if d in DIMENSIONS}
        Joining(names, here | about, narrowing=narrow).run()
    else:
        names = names_of_dimensions(dimensions, connection, about, narrow)
    held = [_exists(connection, names, kind, searched) for kind in kinds[1:]]
    held += [_none(connection, names, dimensions, kind, searched) for kind in absent if searched]
    columns = [names.column(d) for d in dimensions]
    sorting = ordering(names, order_by)
    further = [names.column(name) for name in also]
    asked = conditions_on(names, where, bind, data_id)
    held += names.conditions
    labels = [*dimensions, *(f"also{n}" for n in range(len(also)))]
    shown = [c.label(label) for c, label in zip([*columns, *further], labels, strict=True)]
    rows: sa.Select[Any] = sa.select(*shown).select_from(names.base).where(*held, *asked)
    once = set(names.dimensions) <= set(dimensions)
    once = once and (not kinds or [c.type for c in searched] == ["RUN"])
    if not once:
        rows = rows.group_by(*columns, *further)
        # one that has several values stands where the first of them does
        sorting = [
            (key if name in dimensions else sa.func.max(key) if down else sa.func.min(key), down)
            for (key, down), name in zip(sorting, sorted_names, strict=True)
        ]
    keys = [key for key, _ in sorting]
    if after is not None:
        _check_key(after, dimensions, names)
        last = [after.get(d) for d in dimensions]
        found = last
        if sorting:
            same = [_same(c, v) for c, v in zip(columns, last, strict=True)]
            # of several values, those count that fulfil the expression
            same += [] if once else asked
            own = (
                sa.select(*keys, sa.literal_column("1")).select_from(names.base).where(*held, *same)
            )
            row = connection.execute(own if once else own.group_by(*columns)).first()
            if row is None:
                raise InvalidDataId(
                    f"There is no data ID {dict(after)!r} among those asked for, so that no page "
                    "comes after it."
                )
            found = [*list(row)[:-1], *last]
        downs = [*(down for _, down in sorting), *(False for _ in columns)]
        further_on = beyond([*keys, *columns], downs, found, sa.false())
        rows = rows.where(further_on) if once else rows.having(further_on)
    rows = sorted_by(rows, [*sorting, *((c, False) for c in columns)])
    return limited(rows, limit)


def query_data_ids(
    connection: sa.Connection, dimensions: Sequence[str], **options: Any
) -> list[DataId]:
    """List the data IDs of some dimensions, from their records or from the datasets that exist.

    Exposures and visits go with detectors, filters and nights of their camera; visits go with their
    exposures, and with tracts and patches where their regions touch: those of their detectors,
    where detectors are asked for too.  An exposure lies where its visit does, or where it points
    when it has none.

    Parameters
    ----------
    dimensions : sequence of str
        Keys of the data IDs.  ``healpix`` is a nested pixel of order
        `registry.regions.HEALPIX_ORDER`.
    **options
        ``where`` (expression; it may name further dimensions, of which one value must fulfil it),
        ``bind`` (values), ``data_id`` (fixed keys), ``datasets`` (a type or several: only data IDs
        that go with datasets of all of these), ``without`` (types: only those with which no dataset
        of these goes), ``collections`` (where these datasets are looked for), ``order_by`` (names,
        ``-`` before one for descending; those without a value come last), ``limit``, ``after``
        (the last data ID of the page before, with the same ``order_by``).

    Returns
    -------
    list of DataId
        Each once; without ``order_by`` sorted by its keys.

    Raises
    ------
    UnknownName
        If there is no such dimension or dataset type.
    InvalidDataId
        If ``after`` is no data ID that the question could find.
    """
    statement = query_data_ids_sql(connection, dimensions, **options)
    return list(_data_ids(dimensions, connection.execute(statement)))


def stream_data_ids(
    connection: sa.Connection, dimensions: Sequence[str], **options: Any
) -> Iterator[DataId]:
    """List data IDs as `query_data_ids` does, and give them while they come, in little memory.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction (see `registry.database.Database.stream`), and for nothing else meanwhile.
    """
    statement = query_data_ids_sql(connection, dimensions, **options)
    yield from _data_ids(dimensions, streamed(connection, statement))


def table_of_data_ids(
    connection: sa.Connection,
    dimensions: Sequence[str],
    *,
    columns: Sequence[str] = (),
    **options: Any,
) -> pa.Table:
    """List data IDs as `query_data_ids` does, as a table of Arrow.

    Parameters
    ----------
    columns : sequence of str
        Further names, as in ``where``; a data ID that has several values of one has several rows.

    Returns
    -------
    pyarrow.Table
        The keys, then ``columns``.
    """
    columns = [name for name in columns if name not in dimensions]
    statement = query_data_ids_sql(connection, dimensions, also=columns, **options)
    names = [*dimensions, *columns]
    types = dict(zip(names, map(arrow_type, statement.selected_columns), strict=True))
    return arrow_table(types, connection.execute(statement).partitions(STREAMED))


def count_data_ids(
    connection: sa.Connection,
    dimensions: Sequence[str],
    *,
    by: Sequence[str] = (),
    **options: Any,
) -> list[dict[str, Any]]:
    """Count data IDs, all together or by the values of some names.

    Parameters
    ----------
    by : sequence of str
        Names, as in ``where``: ``("day_obs", "physical_filter")``.
    **options
        As for `query_data_ids`.

    Returns
    -------
    list of dict
        As `registry.finding.count_datasets` gives.
    """
    statement = query_data_ids_sql(connection, dimensions, also=by, **options)
    return counted(connection, statement, by)


def _data_ids(dimensions: Sequence[str], rows: Iterable[Any]) -> Iterator[DataId]:
    ordered = [d for d in DIMENSIONS if d in dimensions]
    ordered += sorted(d for d in dimensions if d not in DIMENSIONS)
    in_order = ordered == list(dimensions)
    for row in rows:
        found = dict(zip(dimensions, row, strict=True))
        if not in_order or None in row:
            found = {d: found[d] for d in ordered if found[d] is not None}
        yield DataId(found)


def _listed(names: str | Sequence[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else list(dict.fromkeys(names or ()))


def _same(column: Any, value: Any) -> Any:
    return column.is_(None) if value is None else column == value


def _check(dimensions: Sequence[str], names: Names) -> None:
    if not dimensions:
        raise InvalidDataId("Data IDs of no dimensions were asked for; name at least one.")
    for name in dimensions:
        if name not in DIMENSIONS and name not in names.dimensions:
            raise UnknownField(name, [*DIMENSIONS, *names.dimensions])


def _check_key(after: Mapping[str, Any], dimensions: Sequence[str], names: Names) -> None:
    """Make sure that a data ID can be the last of a page."""
    unknown = [k for k in after if k not in dimensions]
    missing = [d for d in dimensions if d in names.dimensions and after.get(d) is None]
    if unknown or missing:
        wrong = f"needs a value for {', '.join(missing)}" if missing else ""
        wrong = f"has {', '.join(unknown)} too many" if unknown else wrong
        raise InvalidDataId(f"No page comes after {dict(after)!r}: it {wrong}.")


def _names_of_datasets(
    connection: sa.Connection, kind: DatasetType, searched: Sequence[coll.Collection]
) -> Names:
    """Names over the data IDs of the datasets of a type in some collections."""
    members = members_of(kind.name, searched, each_once=True)
    source: Any = dataset if members is None else members.source
    i = data_id_table.alias("i")
    base = source.join(i, i.c.id == dataset.c.data_id)
    names = names_of_data_ids(base, i, kind.dimensions, connection=connection)
    names.conditions += [sa.false()] if members is None else members.conditions
    return names


def _keys_of_datasets(names: Names, shared: Sequence[str]) -> sa.Select[Any]:
    columns = [names.column(d) for d in shared]
    return sa.select(*columns).select_from(names.base).where(*names.conditions)


def _exists(
    connection: sa.Connection, names: Names, kind: DatasetType, searched: Sequence[coll.Collection]
) -> Any:
    """Say that a dataset of a type goes with a row."""
    there = _names_of_datasets(connection, kind, searched)
    shared = [d for d in kind.dimensions if names.reaches(d)]
    here = [names.column(d) for d in shared]
    left = here[0] if len(here) == 1 else sa.tuple_(*here)
    return left.in_(_keys_of_datasets(there, shared))


def _none(
    connection: sa.Connection,
    names: Names,
    dimensions: Sequence[str],
    kind: DatasetType,
    searched: Sequence[coll.Collection],
) -> Any:
    """Say that no dataset of a type goes with what a row has of some dimensions."""
    asked = Names(None, dict.fromkeys({k for d in dimensions for k in RECORD_KEYS.get(d, {d: d})}))
    there = _names_of_datasets(connection, kind, searched)
    there.prefix = f"{names.alias('without')}_"
    if not all(asked.reaches(d) for d in kind.dimensions):
        further = {d for d in dimensions if d in DIMENSIONS and not there.reaches(d)}
        lost = Joining(Names(None, {}), further, set(kind.dimensions)).unrelated()
        if lost is not None:
            raise InvalidDataId(
                f"Nothing relates '{lost}' to a {kind.name}, which is identified by "
                f"{', '.join(kind.dimensions)}: that there is none says nothing about it."
            )
        Joining(there, further).run()
    every = [*kind.dimensions, *(d for d in dimensions if d not in kind.dimensions)]
    both = [d for d in every if asked.reaches(d) and there.reaches(d) and names.reaches(d)]
    shared = [d for d in both if not any(e in both for e in IMPLIED_BY.get(d, ()))]
    here = [names.column(d) for d in shared]
    return absent_from(connection, here, _keys_of_datasets(there, shared))
