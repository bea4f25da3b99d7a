"""Commands on calibrations."""

from __future__ import annotations

import click


@click.command()
@click.argument("repo")
@click.argument("collection")
@click.argument("dataset_type")
@click.option("--collections", "-i", required=True, help="Where the datasets are, comma separated.")
@click.option("--where", default="", help="Only datasets that fulfil this expression.")
@click.option("--begin", help="Valid from; UTC, or .../tai. Without limit by default.")
@click.option("--end", help="Valid until (excluded); UTC, or .../tai. Without limit by default.")
@click.option("--dry-run", is_flag=True, help="Only say what would be certified.")
def certify(
    repo: str,
    collection: str,
    dataset_type: str,
    collections: str,
    where: str,
    begin: str | None,
    end: str | None,
    dry_run: bool,
) -> None:
    """Declare that datasets of DATASET_TYPE hold over a range of time, in COLLECTION."""
    from butler import Butler
    from registry import Timespan

    span = Timespan.parse(begin, end)
    with Butler(repo, writeable=not dry_run) as butler:
        refs = butler.query_datasets(dataset_type, collections=collections.split(","), where=where)
        if not refs:
            raise click.ClickException(f"No {dataset_type} was found in {collections}.")
        if not dry_run:
            butler.certify(collection, refs, span)
    verb = "Would certify" if dry_run else "Certified"
    click.echo(f"{verb} {len(refs)} {dataset_type} in '{collection}' over {span}.")
