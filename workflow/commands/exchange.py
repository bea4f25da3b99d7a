"""Commands that move datasets and their records between registries."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from workflow.commands.progress import counting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TAKEN = ("auto", "copy", "move", "link", "hardlink", "symlink", "direct", "none")
FORMATS = ("parquet", "daf-butler-yaml", "daf-butler-zip")
GIVEN = tuple(mode for mode in TAKEN if mode != "move")


def split(names: str) -> list[str]:
    """Give the names of a comma-separated list."""
    return [name.strip() for name in names.split(",") if name.strip()]


_format = click.option(
    "--format",
    "style",
    type=click.Choice(FORMATS),
    help="By default what the path says: .yaml, .zip, or a folder of Parquet tables.",
)


@click.command()
@click.argument("repo")
@click.argument("path", type=click.Path())
@click.argument("dataset_types", nargs=-1)
@click.option("--collections", "-i", default="", help="Where the datasets are, comma separated.")
@click.option("--where", default="", help="Only datasets that fulfil this expression.")
@click.option("--all", "all_of_them", is_flag=True, help="All matches, not the first found only.")
@click.option("--also", default="", help="Further collections with what they say of the datasets.")
@click.option("--everything", is_flag=True, help="All that the repository holds.")
@_format
@click.option(
    "--transfer",
    type=click.Choice(GIVEN),
    default="auto",
    show_default=True,
    help="How files come into the export; direct and none leave them where they are.",
)
@click.option("--all-records", is_flag=True, help="All dimension records, not only those needed.")
@click.option("--no-history", is_flag=True, help="Leave out what made the datasets.")
@click.option("--dry-run", is_flag=True, help="Only say what would be exported.")
def export(
    repo: str,
    path: str,
    dataset_types: Sequence[str],
    collections: str,
    where: str,
    all_of_them: bool,
    also: str,
    everything: bool,
    style: str | None,
    transfer: str,
    all_records: bool,
    no_history: bool,
    dry_run: bool,
) -> None:
    """Write datasets of DATASET_TYPES, with what belongs to them, to PATH.

    PATH is a folder or a .zip for Parquet tables with the whole history of the datasets, or a
    file ending in .yaml, which lsst-daf-butler reads too.
    """
    from butler import Butler

    if everything and (dataset_types or collections or where):
        raise click.UsageError("--everything takes all: name no dataset types or collections.")
    if dataset_types and not collections:
        raise click.UsageError("Name the collections of the datasets with --collections.")
    if not dataset_types and (collections or where):
        raise click.UsageError("Name the dataset types to export, or take --everything.")
    with Butler(repo) as butler:
        if everything:
            refs = [
                ref
                for kind in butler.registry.dataset_types()
                for ref in butler.registry.query_datasets(kind, "*", find_first=False)
            ]
        else:
            refs = [
                ref
                for kind in dataset_types
                for ref in butler.query_datasets(
                    kind,
                    collections=split(collections),
                    where=where,
                    find_first=not all_of_them,
                )
            ]
        if dataset_types and not refs:
            raise click.ClickException(
                f"No {', '.join(dataset_types)} was found in {collections}; nothing was exported."
            )
        if dry_run:
            click.echo(f"Would export {len(refs)} datasets to {path}.")
            return
        named = [c.name for c in butler.registry.collections()] if everything else split(also)
        with counting("files") as progress:
            made = butler.export(
                path,
                refs,
                also=named,
                transfer=None if transfer == "none" else transfer,
                records="all" if all_records or everything else "needed",
                history=not no_history,
                format=style,
                progress=progress,
            )
        if everything and butler.inputs:
            made.notes.append(
                "what only the inputs of the repository have was left out; export it by its "
                "dataset types and collections"
            )
    tell(made.notes)
    steps = f", {made.quanta} steps of their history" if made.quanta else ""
    click.echo(
        f"Exported {made.datasets} datasets, {made.files} with files{steps}, and "
        f"{counted(made.records)} to {made.path}."
    )
    if sys.stdout.isatty():
        click.echo(f"Take it in elsewhere with: skyspine import REPO {path}")


@click.command("import")
@click.argument("repo")
@click.argument("path", type=click.Path())
@_format
@click.option(
    "--transfer",
    type=click.Choice(TAKEN),
    default="auto",
    show_default=True,
    help="How its files are taken; direct leaves them where they are, none registers no file.",
)
@click.option(
    "--directory",
    type=click.Path(),
    help="What the paths in the export are relative to; its own folder by default.",
)
@click.option(
    "--endpoint",
    default="root",
    show_default=True,
    help="Name of the storage that the files come to; `skyspine endpoint list` shows them.",
)
@click.option("--keep-here", is_flag=True, help="Where records differ, keep those that are here.")
@click.option("--dry-run", is_flag=True, help="Only say what would be imported, or what conflicts.")
def import_(
    repo: str,
    path: str,
    style: str | None,
    transfer: str,
    directory: str | None,
    endpoint: str,
    keep_here: bool,
    dry_run: bool,
) -> None:
    """Take in PATH, an export of another repository or of lsst-daf-butler.

    What is there already is passed over, so that an import may be repeated; one that was cut short
    goes on where it was.
    """
    from butler import Butler

    with Butler(repo, writeable=True) as butler, counting("files") as progress:
        taken = butler.import_(
            path,
            transfer=None if transfer == "none" else transfer,
            directory=directory,
            endpoint=endpoint,
            format=style,
            conflicts="keep" if keep_here else "fail",
            dry_run=dry_run,
            progress=progress,
        )
    tell(taken.notes)
    steps = f", {taken.quanta} steps of their history" if taken.quanta else ""
    present = f" {taken.present} are there already." if taken.present and dry_run else ""
    if taken.present and not dry_run:
        present = f" {taken.present} were there already."
    click.echo(
        f"{'Would import' if dry_run else 'Imported'} {len(taken.refs)} datasets, {taken.files} "
        f"with files{steps}, and {counted(taken.records)}.{present}"
    )


def tell(notes: Sequence[str]) -> None:
    """Say on standard error what did not go through as it is."""
    for note in notes:
        click.echo(f"Note: {note}.", err=True)


def counted(records: Mapping[str, int]) -> str:
    """Say how many dimension records there are."""
    total = sum(records.values())
    listed = ", ".join(f"{n} {element}" for element, n in records.items() if n)
    return f"{total} dimension records ({listed})" if listed else "no dimension records"
