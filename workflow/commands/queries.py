"""Commands that ask the registry: ``skyspine query-...``."""

from __future__ import annotations

from typing import Any

import click

from workflow.commands.tables import format_option, show


def tell(why: str) -> None:
    """Say on standard error why there are no rows, so that a pipe gets none."""
    click.echo(why, err=True)


def _split(text: str | None) -> list[str]:
    return [part for part in (text or "").split(",") if part]


@click.command()
@click.argument("repo")
@click.argument("dataset_type")
@click.option("--collections", "-i", default="*", show_default=True, help="Comma separated; globs.")
@click.option("--where", default="", help="Expression that they fulfil.")
@click.option("--all", "every", is_flag=True, help="Not only the first of each data ID.")
@click.option("--order-by", help="Names, comma separated; '-' before one for descending.")
@click.option("--limit", type=click.IntRange(min=0), help="At most so many.")
@click.option("--after", type=click.UUID, help="The page after this dataset, in the same order.")
@click.option("--columns", help="Further names to show: day_obs, exposure.exposure_time, ...")
@click.option("--count", is_flag=True, help="Only count them.")
@click.option("--by", help="Count them by the values of these names; implies --count.")
@click.option("--sql", is_flag=True, help="Show the SQL and the database's plan instead.")
@format_option
def query_datasets(
    repo: str,
    dataset_type: str,
    collections: str,
    columns: str | None,
    count: bool,
    by: str | None,
    sql: bool,
    style: str,
    **asked: Any,
) -> None:
    """Find datasets of DATASET_TYPE."""
    from butler import Butler

    within = _split(collections)
    options: dict[str, Any] = {
        "where": asked["where"],
        "find_first": not asked["every"],
        "order_by": _split(asked["order_by"]),
        "limit": asked["limit"],
        "after": asked["after"],
    }
    with Butler(repo) as butler:
        if sql:
            statement, plan = butler.show_query(
                dataset_type, collections=within, also=_split(columns or by), **options
            )
            click.echo(f"{statement};\n\n{plan}")
            return
        if count or by:
            names = _split(by)
            rows = butler.count_datasets(dataset_type, collections=within, by=names, **options)
            show(rows, style, (*names, "n"))
            return
        table = butler.table_of_datasets(
            dataset_type, collections=within, columns=_split(columns), **options
        )
        if not table.num_rows:
            why = butler.explain_no_datasets(dataset_type, collections=within, where=asked["where"])
            tell(why)
    table = table.rename_columns(["id", *table.column_names[1:]])
    show(table.to_pylist(), style, table.column_names)


@click.command()
@click.argument("repo")
@click.argument("dimensions")
@click.option("--where", default="", help="Expression that they fulfil.")
@click.option("--datasets", help="Only data IDs of datasets of this type.")
@click.option("--collections", "-i", default="*", show_default=True, help="Comma separated; globs.")
@click.option("--limit", type=click.IntRange(min=0), help="At most so many.")
@format_option
def query_data_ids(
    repo: str,
    dimensions: str,
    where: str,
    datasets: str | None,
    collections: str,
    limit: int | None,
    style: str,
) -> None:
    """List data IDs of DIMENSIONS (comma separated)."""
    from butler import Butler

    options: dict[str, Any] = {}
    if datasets is not None:
        options = {"datasets": datasets, "collections": _split(collections)}
    with Butler(repo) as butler:
        found = butler.query_data_ids(_split(dimensions), where=where, limit=limit, **options)
        if not found and datasets is not None:
            tell(butler.explain_no_datasets(datasets, collections=_split(collections), where=where))
        elif not found:
            tell(butler.explain_no_records(_split(dimensions), where=where))
    show([dict(d) for d in found], style, _split(dimensions))


@click.command()
@click.argument("repo")
@click.argument("element")
@click.option("--where", default="", help="Expression that they fulfil.")
@click.option("--limit", type=click.IntRange(min=0), help="At most so many.")
@format_option
def query_dimension_records(
    repo: str, element: str, where: str, limit: int | None, style: str
) -> None:
    """List the records of ELEMENT: exposure, detector, day_obs, physical_filter, visit, ..."""
    from butler import Butler

    with Butler(repo) as butler:
        rows = butler.query_dimension_records(element, where=where, limit=limit)
        if not rows:
            tell(butler.explain_no_records(element, where=where))
    if style == "table":
        used = [k for k in (rows[0] if rows else {}) if any(r[k] is not None for r in rows)]
        rows = [{k: r[k] for k in used if not isinstance(r[k], bytes)} for r in rows]
    show(rows, style, (element,))


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
