"""How is one question asked of several repositories, one after the other?

The repository's own datasets come first, then those of its inputs in their order.  Each dataset is
given once; where only the first of each data ID is wanted, that of the earlier repository counts.
The questions themselves are `registry.finding`.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from registry import collections, pages
from registry.answering import STREAMED, sort_names
from registry.errors import (
    DefinitionConflict,
    MissingDataset,
    UnknownCollection,
    UnknownDatasetType,
)
from registry.identity import DataId, DatasetRef

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from butler.inputs import Place
    from registry.identity import DatasetType

__all__ = [
    "Asked",
    "asked",
    "checked",
    "count_datasets",
    "counted",
    "dataset_type",
    "explain_no_datasets",
    "in_order",
    "names_in",
    "query_datasets",
    "show_query",
    "shown",
    "sorted_by",
    "stream_datasets",
    "table_of_datasets",
]


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """A repository with those of the collections that it has."""

    place: Place
    kind: DatasetType
    names: list[str]


def dataset_type(places: Iterable[Place], name: str) -> DatasetType:
    """Look a dataset type up in the first repository that knows it.

    Raises
    ------
    UnknownDatasetType
        With the nearest names of all of them.
    """
    known: set[str] = set()
    for place in places:
        try:
            return place.registry.dataset_type(name)
        except UnknownDatasetType:
            known |= {k.name for k in place.registry.dataset_types()}
    raise UnknownDatasetType(name, known)


def names_in(places: Iterable[Place], names: Sequence[str]) -> Iterator[tuple[Place, list[str]]]:
    """Tell for each repository which of some collections it has, chains of the first one opened.

    Parameters
    ----------
    names : sequence of str
        Collections and globs.

    Raises
    ------
    UnknownCollection
        At the end, if no repository has one of them.
    """
    wanted = list(names)
    missing = {name for name in names if not any(c in name for c in "*?[")}
    known: set[str] = set()
    for place in places:
        with place.registry.read() as connection:
            here = collections.known_types(connection, missing | set(wanted))
            found = [n for n in wanted if n in here or any(c in n for c in "*?[")]
            missing -= set(here)
            if "CHAINED" in here.values():
                leaves = [c.name for c in collections.flatten(connection, found)]
                wanted = list(dict.fromkeys([*wanted, *leaves]))
            if missing:
                known |= {c.name for c in collections.query(connection)}
        yield place, found
    if missing:
        raise UnknownCollection(next(n for n in names if n in missing), known)


def asked(places: Sequence[Place], name: str, searched: Sequence[str]) -> list[Asked]:
    """Tell which repositories may have datasets of a type in some collections.

    Raises
    ------
    DefinitionConflict
        If the type does not have the same dimensions in all of them.
    UnknownCollection, UnknownDatasetType
        If none knows it.
    """
    first = dataset_type(places, name)
    found = []
    for place, names in names_in(places, searched):
        try:
            kind = place.registry.dataset_type(name)
        except UnknownDatasetType:
            continue
        if kind.dimensions != first.dimensions:
            raise DefinitionConflict(
                f"The dataset type '{name}' has the dimensions {', '.join(kind.dimensions)} in "
                f"{place.root}, and {', '.join(first.dimensions)} in a repository that is searched "
                "before it; ask one of them alone."
            )
        if names:
            found.append(Asked(place, kind, names))
    return found


def _table(
    parts: Sequence[Asked],
    kind: DatasetType,
    *,
    columns: Sequence[str],
    find_first: bool,
    order_by: Sequence[str],
    options: Mapping[str, Any],
) -> pa.Table:
    """Find all datasets in all repositories, with the columns asked for and those of the order."""
    import pyarrow as pa

    keys = [name for name, _ in sort_names(order_by)]
    wanted = list(dict.fromkeys([*columns, *keys]))
    given: dict[str, Any] = {**options, "find_first": find_first, "columns": wanted}
    tables = []
    seen: set[str] = set()
    taken: set[tuple[Any, ...]] = set()
    for part in parts:
        table = part.place.registry.table_of_datasets(part.kind, part.names, **given)
        ids = table["dataset_id"].to_pylist()
        rows = list(zip(*(table[d].to_pylist() for d in kind.dimensions), strict=True))
        rows = rows or [()] * len(ids)
        mask = [
            i not in seen and not (find_first and row in taken)
            for i, row in zip(ids, rows, strict=True)
        ]
        seen.update(ids)
        if find_first:
            taken.update(rows)
        tables.append(table.filter(pa.array(mask, pa.bool_())))
    if not tables:
        return _none(kind, wanted)
    table = pa.concat_tables(tables, promote_options="permissive")
    places = list(range(table.num_rows))  # equal ones stay in the order of the repositories
    for key, name in reversed(list(zip(keys, order_by, strict=True))):
        values = table[key].to_pylist()
        places = sorted_by(places, values.__getitem__, down=name.startswith("-"))
    return table.take(pa.array(places, pa.int64()))


def _none(kind: DatasetType, columns: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    names = ["dataset_id", "run", *kind.dimensions, *columns]
    return pa.table({name: pa.array([], pa.string()) for name in names})


def _page(
    parts: Sequence[Asked],
    *,
    columns: Sequence[str] = (),
    find_first: bool,
    order_by: Sequence[str],
    limit: int | None,
    after: uuid.UUID | None,
    options: Mapping[str, Any],
) -> Iterator[tuple[DatasetRef, tuple[Any, ...]]]:
    """Give datasets of several repositories in order while they come, with the values of columns.

    Of what has equal values, that of the earlier repository comes first.  Little is held at a time:
    of each batch the earlier repositories are asked which of it they have.
    """
    count = None if limit is None else checked(limit)
    questions = [
        pages.Ordered(
            part.kind,
            part.names,
            tuple(order_by),
            tuple(columns),
            {**options, "find_first": find_first},
        )
        for part in parts
    ]
    past = _past(parts, questions, after)
    size = STREAMED if count is None else max(1, min(count, STREAMED))
    streams = [_given_here(parts, questions, n, past[n], size) for n in range(len(parts))]
    merged: Iterator[tuple[DatasetRef, tuple[Any, ...]]] = itertools.chain.from_iterable(streams)
    if order_by:
        downs = [down for _, down in sort_names(order_by)]
        merged = in_order(streams, downs, lambda row: row[1])
    with contextlib.ExitStack() as stack:
        for stream in streams:
            stack.enter_context(contextlib.closing(stream))
        for ref, values in itertools.islice(merged, count):
            yield ref, values[len(order_by) :]


def in_order(
    streams: Iterable[Iterable[T]], downs: Sequence[bool], values: Callable[[T], Sequence[Any]]
) -> Iterator[T]:
    """Merge what comes in order, by the first of its values; what has none comes last."""
    return heapq.merge(
        *streams,
        key=lambda item: [
            (value is None, _Down(value) if down else value)
            for value, down in zip(values(item), downs, strict=False)
        ],
    )


class _Down:
    """A value that is sorted the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Down) and self.value == other.value

    def __lt__(self, other: _Down) -> bool:
        return bool(other.value is not None and other.value < self.value)

    __hash__ = None  # type: ignore[assignment]


def _past(
    parts: Sequence[Asked], questions: Sequence[pages.Ordered], after: uuid.UUID | None
) -> Sequence[pages.Past | None]:
    """Say for each repository where its page begins: the dataset before it is of the first."""
    if after is None:
        return [None] * len(parts)
    for n, (part, question) in enumerate(zip(parts, questions, strict=True)):
        values = part.place.registry.database.ask(pages.values_of, question, after)
        if values is not None:
            before = [pages.Past(values)] * n
            later = [pages.Past(values, same=True)] * (len(parts) - n - 1)
            return [*before, pages.Past(values, after), *later]
    names = dict.fromkeys(name for part in parts for name in part.names)
    kind = parts[0].kind.name if parts else "dataset"
    raise MissingDataset(kind, {"id": str(after)}, list(names))


def _given_here(
    parts: Sequence[Asked],
    questions: Sequence[pages.Ordered],
    n: int,
    past: pages.Past | None,
    size: int,
) -> Generator[tuple[DatasetRef, tuple[Any, ...]]]:
    """Give the datasets of one repository in order, without those that an earlier one gives."""
    with parts[n].place.registry.database.stream() as connection:
        for batch in pages.batches(connection, questions[n], past, size):
            rows = batch
            for part, question in zip(parts[:n], questions[:n], strict=True):
                refs = [ref for ref, _ in rows]
                database = part.place.registry.database
                taken = database.ask(pages.given_among, question, refs)
                rows = [row for row in rows if row[0].id not in taken]
            yield from rows


def sorted_by(items: Sequence[T], value: Callable[[T], Any], *, down: bool) -> list[T]:
    """Sort up or down; what has no value comes last."""
    having = [i for i in items if value(i) is not None]
    lacking = [i for i in items if value(i) is None]
    return sorted(having, key=value, reverse=down) + lacking


def checked(limit: int) -> int:
    """Give a limit that is none below 0."""
    if limit < 0:
        raise ValueError(f"limit={limit} must be at least 0; leave it out for all.")
    return limit


def query_datasets(
    places: Sequence[Place],
    name: str,
    searched: Sequence[str],
    *,
    find_first: bool = True,
    order_by: Sequence[str] = (),
    limit: int | None = None,
    after: uuid.UUID | None = None,
    **options: Any,
) -> list[DatasetRef]:
    """Find datasets; options as for `registry.finding.query_datasets`."""
    parts = asked(places, name, searched)
    kind = parts[0].kind if parts else dataset_type(places, name)
    order: dict[str, Any] = {"find_first": find_first, "order_by": order_by}
    if len(parts) == 1:
        return parts[0].place.registry.query_datasets(
            kind, parts[0].names, limit=limit, after=after, **order, **options
        )
    if limit is not None or after is not None:
        page = _page(parts, **order, limit=limit, after=after, options=options)
        return [DatasetRef(ref.id, kind, ref.data_id, ref.run) for ref, _ in page]
    table = _table(parts, kind, columns=(), **order, options=options)
    values = zip(*(table[d].to_pylist() for d in kind.dimensions), strict=True)
    data_ids = [DataId(dict(zip(kind.dimensions, row, strict=True))) for row in values]
    data_ids = data_ids or [DataId({})] * table.num_rows
    found = zip(table["dataset_id"].to_pylist(), data_ids, table["run"].to_pylist(), strict=True)
    return [DatasetRef(uuid.UUID(i), kind, data_id, run) for i, data_id, run in found]


def table_of_datasets(
    places: Sequence[Place],
    name: str,
    searched: Sequence[str],
    *,
    columns: Sequence[str] = (),
    find_first: bool = True,
    order_by: Sequence[str] = (),
    limit: int | None = None,
    after: uuid.UUID | None = None,
    **options: Any,
) -> pa.Table:
    """Find datasets as a table; see `registry.finding.table_of_datasets`."""
    import pyarrow as pa

    parts = asked(places, name, searched)
    kind = parts[0].kind if parts else dataset_type(places, name)
    order: dict[str, Any] = {"find_first": find_first, "order_by": order_by}
    wanted = list(dict.fromkeys(["dataset_id", "run", *kind.dimensions, *columns]))
    if len(parts) == 1:
        return parts[0].place.registry.table_of_datasets(
            kind, parts[0].names, columns=columns, limit=limit, after=after, **order, **options
        )
    if limit is None and after is None:
        return _table(parts, kind, columns=columns, **order, options=options).select(wanted)
    page = _page(parts, columns=columns, **order, limit=limit, after=after, options=options)
    rows = [
        {"dataset_id": str(ref.id), "run": ref.run, **ref.data_id}
        | dict(zip(columns, values, strict=True))
        for ref, values in page
    ]
    return pa.table({name: pa.array([row[name] for row in rows]) for name in wanted})


def count_datasets(
    places: Sequence[Place],
    name: str,
    searched: Sequence[str],
    *,
    by: Sequence[str] = (),
    **options: Any,
) -> list[dict[str, Any]]:
    """Count datasets; see `registry.finding.count_datasets`."""
    return counted(table_of_datasets(places, name, searched, columns=by, **options), by)


def counted(table: pa.Table, by: Sequence[str]) -> list[dict[str, Any]]:
    """Count the rows of a table, by the values of some columns."""
    if not by:
        return [{"n": table.num_rows}]
    counted = table.group_by(list(by)).aggregate([([], "count_all")]).to_pylist()
    rows = [{**{k: row[k] for k in by}, "n": row["count_all"]} for row in counted]
    for key in reversed(by):
        rows = sorted_by(rows, lambda row, key=key: row[key], down=False)  # type: ignore[misc]
    return rows


def stream_datasets(
    places: Sequence[Place],
    name: str,
    searched: Sequence[str],
    *,
    find_first: bool = True,
    order_by: Sequence[str] = (),
    limit: int | None = None,
    after: uuid.UUID | None = None,
    **options: Any,
) -> Iterator[DatasetRef]:
    """Find datasets and give them while they come, in order; little of them is held at a time.

    Without an order, one repository after the other.
    """
    parts = asked(places, name, searched)
    for ref, _ in _page(
        parts,
        find_first=find_first,
        order_by=order_by,
        limit=limit,
        after=after,
        options=options,
    ):
        yield ref


def show_query(
    places: Sequence[Place], name: str, searched: Sequence[str], **options: Any
) -> tuple[str, str]:
    """Show what is asked of each repository; see `registry.registry.Registry.show_query`."""
    return shown(
        (part.place, part.place.registry.show_query(part.kind, part.names, **options))
        for part in asked(places, name, searched)
    )


def shown(queries: Iterable[tuple[Place, tuple[str, str]]]) -> tuple[str, str]:
    """Put the SQL and the plans of several repositories below each other."""
    told = [[f"-- {place.root}\n{text}" for text in texts] for place, texts in queries]
    statements, plans = zip(*told, strict=True) if told else ((), ())
    return ";\n\n".join(statements), "\n\n".join(plans)


def explain_no_datasets(
    places: Sequence[Place], name: str, searched: Sequence[str], **options: Any
) -> str:
    """Say for each repository why it has none."""
    from registry import explaining

    told = []
    for part in asked(places, name, searched):
        with part.place.registry.read() as connection:
            why = explaining.explain_no_datasets(connection, part.kind, part.names, **options)
        told.append(f"In {part.place.root}: {why}")
    return "\n".join(told) or (
        f"No repository has both the dataset type '{name}' and one of {', '.join(searched)}."
    )
