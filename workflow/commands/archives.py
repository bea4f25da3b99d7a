"""Commands on files of archives, whose names tell what they are."""

from __future__ import annotations

import click

from workflow.commands.tables import format_option, show


@click.command()
@click.argument("repo")
@click.argument("dataset_type")
@click.argument("paths", nargs=-1, required=True)
@click.option("--run", help="RUN collection that they enter.")
@click.option("--template", help="How the names were made, e.g. 'raw/{visit:07d}/c{detector:03d}'.")
@click.option("--instrument", help="The camera; the only one by default.")
@click.option("--version", type=int, help="Of its definition, for names that an older one made.")
@click.option(
    "--transfer",
    default="direct",
    show_default=True,
    type=click.Choice(["copy", "move", "link", "hardlink", "symlink", "direct"]),
    help="direct: they stay where they are, under their own names.",
)
@click.option("--endpoint", default="root", help="Storage that they come to; REPO's own folder.")
@click.option("--dry-run", is_flag=True, help="Only tell what each file is.")
def ingest_named(
    repo: str,
    dataset_type: str,
    paths: tuple[str, ...],
    run: str | None,
    template: str | None,
    instrument: str | None,
    version: int | None,
    transfer: str,
    endpoint: str,
    dry_run: bool,
) -> int:
    """Take files in as datasets of DATASET_TYPE, by their names alone; status 1 when one fails.

    Without --template, the names are read by the template of the dataset type in the camera's
    definition.
    """
    from butler import Butler
    from butler.intake.archives import read_names
    from registry.errors import SkyspineError

    if run is None and not dry_run:
        raise click.UsageError("Name the run that they enter with --run.")
    naming = {"template": template, "instrument": instrument, "version": version}
    with Butler(repo, writeable=not dry_run) as butler:
        if dry_run:
            read = read_names(butler, paths, dataset_type, **naming)  # type: ignore[arg-type]
            rows = [
                {
                    "file": str(path),
                    "data_id": "" if isinstance(item, SkyspineError) else str(item.ref.data_id),
                    "problem": str(item) if isinstance(item, SkyspineError) else "",
                }
                for path, item in read
            ]
            show(rows, "table")
            return 1 if any(row["problem"] for row in rows) else 0
        result = butler.ingest_named(
            paths, dataset_type, run=run, transfer=transfer, endpoint=endpoint, **naming
        )
    for path, error in result.errors:
        told = str(error)
        click.echo(told if str(path) in told else f"{path}: {told}", err=True)
    click.echo(
        f"{len(result.refs)} datasets into '{run}'; {len(result.present)} were there, "
        f"{len(result.errors)} refused."
    )
    return 1 if result.errors else 0


@click.command()
@click.argument("repo")
@click.argument("name")
@format_option
def find_file(repo: str, name: str, style: str) -> int:
    """Find the datasets of the file NAME, or of a path that ends so; status 1 when none is."""
    from butler import Butler

    with Butler(repo) as butler:
        found = butler.find_files(name)
    rows = [
        {
            "dataset_type": ref.dataset_type.name,
            "data_id": str(ref.data_id),
            "run": ref.run,
            "id": str(ref.id),
            "path": path,
        }
        for ref, path in found
    ]
    show(rows, style, ("dataset_type", "data_id", "run", "id", "path"))
    return 0 if rows else 1
