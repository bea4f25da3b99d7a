"""Commands that ask the registry: ``skyspine query-...``."""

from __future__ import annotations

import fnmatch
import json
import uuid
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from workflow.commands.tables import format_option, show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa

    from butler import Butler


def tell(why: str) -> None:
    """Say on standard error why there are no rows, so that a pipe gets none."""
    click.echo(why, err=True)


def _split(text: str | None) -> list[str]:
    return [part for part in (text or "").split(",") if part]


class _Key(click.ParamType[dict[str, Any]]):
    """A key as ``exposure=12,detector=3``; numbers are numbers."""

    name = "key"

    def convert(self, value: Any, param: Any, ctx: Any) -> dict[str, Any]:
        """Read the pairs."""
        if isinstance(value, dict):
            return value
        pairs = [part.partition("=") for part in value.split(",")]
        if not all(name and sign and text for name, sign, text in pairs):
            self.fail(f"{value!r} is no key; write it as exposure=12,detector=3", param, ctx)
        return {name: int(text) if _is_number(text) else text for name, _, text in pairs}


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _asked(after: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that the three kinds of questions share."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        options = (
            click.option("--where", default="", help="Expression that they fulfil."),
            click.option(
                "--order-by", help="Names, comma separated; '-' before one for descending."
            ),
            click.option("--limit", type=click.IntRange(min=0), help="At most so many."),
            after,
            click.option(
                "--columns", help="Further names to show: day_obs, exposure.exposure_time, ..."
            ),
            click.option("--count", is_flag=True, help="Only count them."),
            click.option("--by", help="Count them by the values of these names; implies --count."),
            click.option(
                "--explain", is_flag=True, help="Count what each term of --where leaves instead."
            ),
            click.option(
                "--sql", is_flag=True, help="Show the SQL and the database's plan instead."
            ),
            format_option,
        )
        for option in reversed(options):
            function = option(function)
        return function

    return add


_COLLECTIONS = click.option(
    "--collections", "-i", default="*", show_default=True, help="Comma separated; globs."
)


def _answer(
    given: Mapping[str, Any],
    options: dict[str, Any],
    *,
    table: Callable[..., pa.Table],
    count: Callable[..., list[dict[str, Any]]],
    sql: Callable[..., tuple[str, str]],
    why: Callable[[], str],
) -> pa.Table | None:
    """Give what is to be shown as a table; show what is asked for instead, and give None."""
    options |= {
        "where": given["where"],
        "order_by": _split(given["order_by"]),
        "limit": given["limit"],
        "after": given["after"],
    }
    columns, by = _split(given["columns"]), _split(given["by"])
    if given["sql"]:
        statement, plan = sql(also=columns or by, **options)
        click.echo(f"{statement};\n\n{plan}")
        return None
    if given["explain"]:
        whole = options | {"order_by": (), "limit": None, "after": None}
        from registry.explaining import left_after_each_term

        rows = left_after_each_term(
            given["where"], lambda part: int(count(**whole | {"where": part})[0]["n"])
        )
        show(rows, given["style"], ("condition", "left"))
        return None
    if given["count"] or by:
        show(count(by=by, **options), given["style"], (*by, "n"))
        return None
    found = table(columns=columns, **options)
    if not found.num_rows:
        tell(why())
    return found


@click.command()
@click.argument("repo")
@click.argument("dataset_types", nargs=-1)
@_COLLECTIONS
@click.option("--all", "every", is_flag=True, help="Not only the first of each data ID.")
@click.option("--uri", is_flag=True, help="Show where the files lie, one in each line.")
@_asked(
    click.option("--after", type=click.UUID, help="The page after this dataset, in the same order.")
)
def query_datasets(
    repo: str,
    dataset_types: tuple[str, ...],
    collections: str,
    every: bool,
    uri: bool,
    **given: Any,
) -> None:
    """Find datasets of DATASET_TYPES: names or globs; of all types without one.

    \b
    skyspine query-datasets REPO raw --where "day_obs = 20250310" --order-by -exposure
    skyspine query-datasets REPO -i u/me/run --count
    skyspine query-datasets REPO "cal*" -i u/me/run --uri
    """  # noqa: D301 (click wants the control character)
    from butler import Butler

    within = _split(collections)
    with Butler(repo) as butler:
        kinds = _kinds_meant(butler, dataset_types)
        if kinds is not None:
            found = _of_each(butler, kinds, within, given, find_first=not every)
        else:
            (kind,) = dataset_types
            table = _answer(
                given,
                {"find_first": not every},
                table=partial(butler.table_of_datasets, kind, collections=within),
                count=partial(butler.count_datasets, kind, collections=within),
                sql=partial(butler.show_query, kind, collections=within),
                why=lambda: butler.explain_no_datasets(
                    kind, collections=within, where=given["where"]
                ),
            )
            found = None if table is None else _Found.of(table)
        if found is None:
            return
        if uri:
            found = _with_uris(butler, found)
    show(found.rows, given["style"], found.names)


@dataclass(frozen=True, slots=True)
class _Found:
    """Datasets that are to be shown, the identity of each under ``id``."""

    rows: list[dict[str, Any]]
    names: list[str]

    @classmethod
    def of(cls, table: pa.Table) -> _Found:
        table = table.rename_columns(["id", *table.column_names[1:]])
        return cls(table.to_pylist(), table.column_names)


def _kinds_meant(butler: Butler, given: tuple[str, ...]) -> list[str] | None:
    """Give the names of the dataset types that are meant; None when it is one by its name."""
    if len(given) == 1 and not set("*?[") & set(given[0]):
        return None
    known = sorted({k.name for p in butler.places for k in p.registry.dataset_types()})
    meant: dict[str, None] = {}
    for pattern in given or ("*",):
        fitting = fnmatch.filter(known, pattern)
        if not fitting and given:
            from registry.errors import did_you_mean

            raise click.ClickException(
                f"No dataset type fits '{pattern}'.{did_you_mean(pattern, known)} `skyspine "
                "query-dataset-types REPO` lists them."
            )
        meant |= dict.fromkeys(fitting)
    return list(meant)


def _of_each(
    butler: Butler,
    kinds: list[str],
    within: list[str],
    given: Mapping[str, Any],
    *,
    find_first: bool,
) -> _Found | None:
    """Ask for datasets of several types; show what is asked for instead, and give None."""
    for option in ("explain", "after", "order_by"):
        if given[option]:
            raise click.UsageError(
                f"--{option.replace('_', '-')} is for datasets of one type; name one."
            )
    asked: dict[str, Any] = {
        "collections": within,
        "where": given["where"],
        "find_first": find_first,
    }
    columns, by = _split(given["columns"]), _split(given["by"])

    def listed(kind: str, left: int | None) -> list[dict[str, Any]]:
        if given["sql"]:
            more = columns or by
            statement, plan = butler.show_query(kind, limit=left, also=more, **asked)
            click.echo(f"-- {kind}\n{statement};\n\n{plan}\n")
            return []
        if given["count"] or by:
            return [row for row in butler.count_datasets(kind, by=by, **asked) if row["n"]]
        return _Found.of(butler.table_of_datasets(kind, limit=left, columns=columns, **asked)).rows

    rows = _rows_of_each(kinds, given["limit"], listed)
    if given["sql"]:
        return None
    if given["count"] or by:
        show(rows, given["style"], ("dataset_type", *by, "n"))
        return None
    if not rows:
        tell(f"No dataset of {len(kinds)} types is in {', '.join(within)} and as asked for.")
    names = list(dict.fromkeys(["dataset_type", "id", "run", *(n for row in rows for n in row)]))
    return _Found([{name: row.get(name) for name in names} for row in rows], names)


def _rows_of_each(
    kinds: list[str],
    limit: int | None,
    listed: Callable[[str, int | None], list[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """Ask type by type, and pass over those to which a condition does not apply."""
    from registry.expressions import UnrelatedDimension

    rows: list[dict[str, Any]] = []
    passed_over: dict[str, UnrelatedDimension] = {}
    for kind in kinds:
        left = None if limit is None else limit - len(rows)
        if left is not None and left <= 0:
            break
        try:
            found = listed(kind, left)
        except UnrelatedDimension as error:
            passed_over[kind] = error
            continue
        rows += [{"dataset_type": kind} | row for row in found]
    if kinds and len(passed_over) == len(kinds):
        raise passed_over[kinds[0]]
    if passed_over:
        tell(f"The condition does not apply to, and passes over: {', '.join(passed_over)}.")
    return rows[:limit]


def _with_uris(butler: Butler, found: _Found) -> _Found:
    """Show where files lie: a dataset has as many lines as files, and one when it has none."""
    from butler.moving import retrieving

    ids = [uuid.UUID(str(row["id"])) for row in found.rows]
    uris = retrieving.get_uris(butler.places, ids)
    rows = [
        row | {"component": component, "uri": uri}
        for row, key in zip(found.rows, ids, strict=True)
        for component, uri in sorted(uris.get(key, {"": None}).items())
    ]
    names = [*found.names, "component", "uri"]
    if not any(row["component"] for row in rows):
        names.remove("component")
    return _Found([{name: row[name] for name in names} for row in rows], names)


@click.command()
@click.argument("repo")
@click.argument("dimensions")
@click.option("--datasets", help="Only those that go with datasets of all these types.")
@click.option("--without", help="Only those with which no dataset of these types goes.")
@_COLLECTIONS
@_asked(
    click.option(
        "--after",
        type=_Key(),
        help="The page after this data ID, such as exposure=12,detector=3, in the same order.",
    )
)
def query_data_ids(
    repo: str,
    dimensions: str,
    datasets: str | None,
    without: str | None,
    collections: str,
    **given: Any,
) -> None:
    """List data IDs of DIMENSIONS (comma separated).

    Further dimensions may stand in --where; with --datasets and --without only data IDs are listed
    that go with datasets in the collections, or do not.
    """
    from butler import Butler

    asked = _split(dimensions)
    options: dict[str, Any] = {"datasets": _split(datasets), "without": _split(without)}
    if datasets or without:
        options["collections"] = _split(collections)
    with Butler(repo) as butler:
        found = _answer(
            given,
            dict(options),
            table=partial(butler.table_of_data_ids, asked),
            count=partial(butler.count_data_ids, asked),
            sql=partial(butler.show_query_of_data_ids, asked),
            why=lambda: butler.explain_no_data_ids(asked, where=given["where"], **options),
        )
    if found is not None:
        show(found.to_pylist(), given["style"], found.column_names)


@click.command()
@click.argument("repo")
@click.argument("element")
@_asked(
    click.option(
        "--after",
        type=_Key(),
        help="The page after the record with this key, such as instrument=Cam,id=12.",
    )
)
def query_dimension_records(repo: str, element: str, **given: Any) -> None:
    """List the records of ELEMENT: exposure, detector, day_obs, physical_filter, visit, ..."""
    from butler import Butler
    from registry.records import documents_of

    with Butler(repo) as butler:
        found = _answer(
            given,
            {},
            table=partial(butler.table_of_dimension_records, element),
            count=partial(butler.count_dimension_records, element),
            sql=partial(butler.show_query_of_dimension_records, element),
            why=lambda: butler.explain_no_records(element, where=given["where"]),
        )
    if found is None:
        return
    rows = found.to_pylist()
    if given["style"] == "json":
        texts = documents_of(element)
        rows = [r | {k: json.loads(r[k]) for k in texts if r[k] is not None} for r in rows]
    elif given["style"] == "table":
        asked = _split(given["columns"])
        used = [k for k in found.column_names if k in asked or any(r[k] is not None for r in rows)]
        rows = [{k: r[k] for k in used if not isinstance(r[k], bytes)} for r in rows]
    show(rows, given["style"], found.column_names if given["style"] != "table" else (element,))


@click.command()
@click.argument("repo")
@click.argument("pattern", default="*")
@format_option
def query_collections(repo: str, pattern: str, style: str) -> None:
    """List collections whose name fits the glob PATTERN, those of the inputs too."""
    from butler import Butler

    with Butler(repo) as butler:
        found = {c.name: c for c in butler.collections.query(pattern)}
        for place in butler.inputs:
            found = {c.name: c for c in place.registry.collections(pattern)} | found
    rows = [
        {"name": c.name, "type": c.type, "children": ", ".join(c.children), "doc": c.doc}
        for c in sorted(found.values(), key=lambda c: c.name)
    ]
    show(rows, style, ("name", "type", "children", "doc"))


@click.command()
@click.argument("repo")
@format_option
def query_dataset_types(repo: str, style: str) -> None:
    """List dataset types, those of the inputs too."""
    from butler import Butler

    with Butler(repo) as butler:
        named = {k.name: k for p in butler.places[::-1] for k in p.registry.dataset_types()}
        kinds = [named[name] for name in sorted(named)]
    rows = [
        {
            "name": k.name,
            "dimensions": ", ".join(k.dimensions),
            "storage_class": k.storage_class,
            "is_calibration": k.is_calibration,
        }
        for k in kinds
    ]
    show(rows, style, ("name", "dimensions", "storage_class", "is_calibration"))
