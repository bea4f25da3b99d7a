"""How are data IDs and records of several repositories gathered into one answer?

Each is there once: a record as the first repository that has it tells it.  Datasets are searched by
`butler.searching`; the questions themselves are `registry.data_ids` and `registry.records`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from butler.searching import asked, checked, counted, shown, sorted_by
from registry import explaining
from registry.dimensions import element_table
from registry.errors import InvalidDataId
from registry.identity import DataId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from butler.inputs import Place

__all__ = [
    "count_data_ids",
    "count_dimension_records",
    "explain_no_data_ids",
    "explain_no_records",
    "query_data_ids",
    "show_query_of_data_ids",
    "show_query_of_dimension_records",
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

    keys = [(name.lstrip("-"), name.startswith("-")) for name in order_by]
    beyond = [key for key, _ in keys if key not in dimensions]
    if beyond:
        raise InvalidDataId(
            f"Data IDs of several repositories are ordered by their own keys, which "
            f"{', '.join(beyond)} is not among: {', '.join(dimensions)}."
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
    for key, down in reversed([*keys, *((d, False) for d in dimensions)]):
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


def query_data_ids(
    places: Sequence[Place], dimensions: Sequence[str], **options: Any
) -> list[DataId]:
    """List data IDs; options as for `registry.data_ids.query_data_ids`."""
    rows = table_of_data_ids(places, dimensions, **options).to_pylist()
    return [DataId.of({k: v for k, v in row.items() if v is not None}) for row in rows]


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

    keys = [c.name for c in element_table(element).primary_key]
    names = [name.lstrip("-") for name in order_by]
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
