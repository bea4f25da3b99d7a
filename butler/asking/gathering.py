"""How are data IDs and records of several repositories gathered into one answer?

Each is there once: a record as the first repository that has it tells it.  Datasets are searched by
`butler.asking.searching`; the questions themselves are `registry.data_ids` and `registry.records`.
"""

from __future__ import annotations

import contextlib
import itertools
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from butler.asking.searching import asked, checked, counted, in_order, shown, sorted_by
from registry import explaining, pages
from registry.answering import STREAMED, arrow_type, require_list, sort_names
from registry.database import canonical_json
from registry.dimensions import element_table
from registry.errors import InvalidDataId
from registry.identity import DIMENSIONS, DataId
from registry.records import documents_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    import pyarrow as pa

    from butler.inputs import Place

__all__ = [
    "count_data_ids",
    "count_dimension_records",
    "explain_no_data_ids",
    "explain_no_records",
    "query_data_ids",
    "query_dimension_records",
    "show_query_of_data_ids",
    "show_query_of_dimension_records",
    "stream_data_ids",
    "stream_dimension_records",
    "table_of_data_ids",
    "table_of_dimension_records",
]


def _parts(
    places: Sequence[Place], options: dict[str, Any]
) -> tuple[list[tuple[Place, dict[str, Any]]], dict[str, Any]]:
    """Give the repositories with what each is asked about datasets, and the other options.

    Raises
    ------
    InvalidDataId
        If datasets of several types must be compared, which may lie in different repositories.
    """
    rest = dict(options)
    given, absent = rest.pop("datasets", None), rest.pop("without", None)
    collections = rest.pop("collections", ())
    kinds = [given] if isinstance(given, str) else list(given or ())
    if absent or len(kinds) > 1:
        raise InvalidDataId(
            "Data IDs with datasets of several types, or without some, are asked of one repository "
            "alone; this one reads others. Open it without inputs, or ask its registry."
        )
    if not kinds:
        return [(place, {}) for place in places], rest
    names = [collections] if isinstance(collections, str) else list(collections)
    (kind,) = kinds
    found = asked(places, kind, names)
    return [(a.place, {"datasets": kind, "collections": a.names}) for a in found], rest


def table_of_data_ids(
    places: Sequence[Place],
    dimensions: Sequence[str],
    *,
    columns: Sequence[str] = (),
    order_by: Sequence[str] = (),
    limit: int | None = None,
    after: Mapping[str, Any] | None = None,
    **options: Any,
) -> pa.Table:
    """List data IDs as a table; options as for `registry.data_ids.table_of_data_ids`.

    Raises
    ------
    InvalidDataId
        If the order is by something else than keys of the data IDs, which several repositories
        cannot sort together; or if the question is about datasets of several types.
    """
    import pyarrow as pa

    keys = _order(dimensions, order_by)
    if not columns and (limit is not None or after is not None):
        page: dict[str, Any] = {"order_by": order_by, "limit": limit, "after": after}
        found = stream_data_ids(places, dimensions, **page, **options)
        listed = [[data_id.get(d) for d in dimensions] for data_id in found]
        kinds: dict[type | None, Any] = {str: pa.string(), int: pa.int64()}
        values = zip(*listed, strict=True) if listed else ([] for _ in dimensions)
        return pa.table(
            {
                d: pa.array(list(given), kinds.get(DIMENSIONS.get(d)))
                for d, given in zip(dimensions, values, strict=True)
            }
        )
    parts, rest = _parts(places, options)
    tables = [
        place.registry.table_of_data_ids(dimensions, columns=columns, **about, **rest)
        for place, about in parts
    ]
    if not tables:
        return pa.table({name: pa.array([], pa.string()) for name in [*dimensions, *columns]})
    whole = pa.concat_tables(tables, promote_options="permissive")
    rows = list({tuple(row.values()): row for row in whole.to_pylist()}.values())
    for key, down in reversed(keys):
        rows = sorted_by(rows, lambda row, key=key: row[key], down=down)  # type: ignore[misc]
    rows = _page(rows, dimensions, after, limit)
    return pa.Table.from_pylist(rows, schema=whole.schema)


def _page(
    rows: list[dict[str, Any]],
    keys: Sequence[str],
    after: Mapping[str, Any] | None,
    limit: int | None,
) -> list[dict[str, Any]]:
    if after is not None:
        last = tuple(after.get(k) for k in keys)
        found = [n for n, row in enumerate(rows) if tuple(row[k] for k in keys) == last]
        if not found:
            raise InvalidDataId(f"There is no {dict(after)!r} that a page could come after.")
        rows = rows[found[-1] + 1 :]
    return rows if limit is None else rows[: checked(limit)]


def _order(dimensions: Sequence[str], order_by: Sequence[str]) -> list[tuple[str, bool]]:
    """Give all keys of data IDs in the order in which these are sorted, and which descend."""
    require_list("dimensions", dimensions)
    names = sort_names(order_by)
    further = [name for name, _ in names if name not in dimensions]
    if further:
        raise InvalidDataId(
            f"Data IDs of several repositories are ordered by their own keys, which "
            f"{', '.join(further)} is not among: {', '.join(dimensions)}."
        )
    order: dict[str, bool] = {}
    for name, down in (*names, *((d, False) for d in dimensions)):
        order.setdefault(name, down)
    return list(order.items())


def query_data_ids(
    places: Sequence[Place], dimensions: Sequence[str], **options: Any
) -> list[DataId]:
    """List data IDs; options as for `registry.data_ids.query_data_ids`."""
    return list(stream_data_ids(places, dimensions, **options))


def stream_data_ids(
    places: Sequence[Place],
    dimensions: Sequence[str],
    *,
    order_by: Sequence[str] = (),
    limit: int | None = None,
    after: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[DataId]:
    """List data IDs and give them while they come, in order; little of them is held at a time.

    Raises
    ------
    InvalidDataId
        As `table_of_data_ids`.
    """
    order = _order(dimensions, order_by)
    count = None if limit is None else checked(limit)
    parts, rest = _parts(places, options)
    past = None
    if after is not None:
        _require(parts, dimensions, after, rest)
        past = [after.get(name) for name, _ in order]
    keys = itemgetter(*(dimensions.index(name) for name, _ in order)) if order else tuple
    one = len(order) == 1

    def values(row: tuple[Any, ...]) -> Sequence[Any]:
        return (keys(row),) if one else keys(row)

    def stream(place: Place, about: dict[str, Any]) -> Generator[tuple[Any, ...]]:
        with place.registry.database.stream() as connection:
            yield from pages.data_ids_in_order(
                connection, dimensions, order, past, count, **about, **rest
            )

    with contextlib.ExitStack() as stack:
        streams = [
            stack.enter_context(contextlib.closing(stream(place, about))) for place, about in parts
        ]
        merged = in_order(streams, [down for _, down in order], values)
        once = (row for row, _ in itertools.groupby(merged))
        for row in itertools.islice(once, count):
            yield DataId.of({d: v for d, v in zip(dimensions, row, strict=True) if v is not None})


def _require(
    parts: Sequence[tuple[Place, dict[str, Any]]],
    dimensions: Sequence[str],
    after: Mapping[str, Any],
    rest: Mapping[str, Any],
) -> None:
    """Refuse a data ID that is not in the answer as the end of a page."""
    known = {d: after[d] for d in dimensions if after.get(d) is not None}
    asked_for = rest.get("data_id") or {}
    if not any(asked_for.get(d, value) != value for d, value in known.items()):
        whole = dict(rest) | {"data_id": {**asked_for, **known}}
        for place, about in parts:
            found = place.registry.query_data_ids(dimensions, **about, **whole)
            if any(dict(data_id) == known for data_id in found):
                return
    raise InvalidDataId(f"There is no {dict(after)!r} that a page could come after.")


def count_data_ids(
    places: Sequence[Place], dimensions: Sequence[str], *, by: Sequence[str] = (), **options: Any
) -> list[dict[str, Any]]:
    """Count data IDs; see `registry.data_ids.count_data_ids`."""
    return counted(table_of_data_ids(places, dimensions, columns=by, **options), by)


def show_query_of_data_ids(
    places: Sequence[Place], dimensions: Sequence[str], **options: Any
) -> tuple[str, str]:
    """Show what is asked of each repository for data IDs."""
    parts, rest = _parts(places, options)
    return shown(
        (place, place.registry.show_query_of_data_ids(dimensions, **about, **rest))
        for place, about in parts
    )


def explain_no_data_ids(places: Sequence[Place], dimensions: Sequence[str], **options: Any) -> str:
    """Say for each repository why it has no data ID."""
    told = []
    parts, rest = _parts(places, options)
    for place, about in parts:
        with place.registry.read() as connection:
            why = explaining.explain_no_data_ids(connection, dimensions, **about, **rest)
        told.append(f"In {place.root}: {why}")
    return "\n".join(told) or "No repository has both the dataset type and one of the collections."


def query_dimension_records(
    places: Sequence[Place],
    element: str,
    *,
    order_by: Sequence[str] = (),
    limit: int | None = None,
    after: Mapping[str, Any] | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """List dimension records, each once: as the first repository that has it tells it.

    Options as for `registry.records.query_dimension_records`.
    """
    keys = [c.name for c in element_table(element).primary_key]
    dimensions = {element if k in ("id", "name") else k for k in keys}
    if after is None and dimensions <= set(options.get("data_id") or ()):
        for place in places:  # there is only one such record
            rows = place.registry.query_dimension_records(element, **options)
            if rows:
                return rows if limit is None else rows[: checked(limit)]
        return []
    return list(
        stream_dimension_records(
            places, element, order_by=order_by, limit=limit, after=after, **options
        )
    )


def stream_dimension_records(
    places: Sequence[Place],
    element: str,
    *,
    order_by: Sequence[str] = (),
    limit: int | None = None,
    after: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[dict[str, Any]]:
    """List dimension records and give them while they come; little of them is held at a time.

    Each is given once, as the first repository that has it tells it: of each batch, the
    repositories before are asked what they have of it.
    """
    count = None if limit is None else checked(limit)
    table = element_table(element)
    past = None
    if after is not None:
        key = [after.get(c.name) for c in table.primary_key]
        found = (
            place.registry.database.ask(pages.values_of_record, element, order_by, key, options)
            for place in places
        )
        past = next((values for values in found if values is not None), None)
        if past is None:
            raise InvalidDataId(f"There is no record {dict(after)!r} that a page could come after.")
    size = STREAMED if count is None else max(1, min(count, STREAMED))

    def stream(n: int) -> Generator[tuple[tuple[Any, ...], dict[str, Any]]]:
        with (
            places[n].registry.database.stream() as connection,
            contextlib.closing(
                pages.record_batches(connection, element, order_by, past, size, options)
            ) as batches,
        ):
            for batch in batches:
                rows = batch
                for place in places[:n]:
                    keys = [values[len(order_by) :] for values, _ in rows]
                    ask = place.registry.database.ask
                    taken = ask(pages.records_among, element, keys, options)
                    rows = [row for row in rows if row[0][len(order_by) :] not in taken]
                yield from rows

    downs = [*(down for _, down in sort_names(order_by)), *(False for _ in table.primary_key)]
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(contextlib.closing(stream(n))) for n in range(len(places))]
        merged = in_order(streams, downs, itemgetter(0))
        for _, record in itertools.islice(merged, count):
            yield record


def table_of_dimension_records(
    places: Sequence[Place],
    element: str,
    *,
    columns: Sequence[str] = (),
    order_by: Sequence[str] = (),
    limit: int | None = None,
    after: Mapping[str, Any] | None = None,
    **options: Any,
) -> pa.Table:
    """List records as a table; see `registry.records.table_of_dimension_records`."""
    import pyarrow as pa

    if not columns and (limit is not None or after is not None):
        page: dict[str, Any] = {"order_by": order_by, "limit": limit, "after": after}
        documents = documents_of(element)
        listed = [
            {k: v if v is None or k not in documents else canonical_json(v) for k, v in r.items()}
            for r in stream_dimension_records(places, element, **page, **options)
        ]
        types = [(c.name, arrow_type(c)) for c in element_table(element).c]
        return pa.Table.from_pylist(listed, schema=pa.schema(types))
    keys = [c.name for c in element_table(element).primary_key]
    names = [name for name, _ in sort_names(order_by)]
    wanted = list(dict.fromkeys([*columns, *names]))
    tables = [
        place.registry.table_of_dimension_records(element, columns=wanted, **options)
        for place in places
    ]
    whole = pa.concat_tables(tables, promote_options="permissive")
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in whole.to_pylist():
        found.setdefault(tuple(row[k] for k in keys), row)
    rows = list(found.values())
    orders = [(name, order.startswith("-")) for name, order in zip(names, order_by, strict=True)]
    for key, down in reversed([*orders, *((k, False) for k in keys)]):
        rows = sorted_by(rows, lambda row, key=key: row[key], down=down)  # type: ignore[misc]
    table = pa.Table.from_pylist(_page(rows, keys, after, limit), schema=whole.schema)
    own = [c.name for c in element_table(element).c]
    return table.select(list(dict.fromkeys([*own, *columns])))


def count_dimension_records(
    places: Sequence[Place], element: str, *, by: Sequence[str] = (), **options: Any
) -> list[dict[str, Any]]:
    """Count records; see `registry.records.count_dimension_records`."""
    return counted(table_of_dimension_records(places, element, columns=by, **options), by)


def show_query_of_dimension_records(
    places: Sequence[Place], element: str, **options: Any
) -> tuple[str, str]:
    """Show what is asked of each repository for records."""
    return shown(
        (place, place.registry.show_query_of_dimension_records(element, **options))
        for place in places
    )


def explain_no_records(places: Sequence[Place], element: str, **options: Any) -> str:
    """Say for each repository why it has no record."""
    told = []
    for place in places:
        with place.registry.read() as connection:
            why = explaining.explain_no_records(connection, element, **options)
        told.append(f"In {place.root}: {why}")
    return "\n".join(told)
