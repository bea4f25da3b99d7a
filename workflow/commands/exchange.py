"""Commands that move datasets and their records between registries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TAKEN = ("auto", "copy", "move", "link", "hardlink", "symlink", "direct", "none")
GIVEN = tuple(mode for mode in TAKEN if mode != "move")


def split(names: str) -> list[str]:
    """Give the names of a comma-separated list."""
    return [name.strip() for name in names.split(",") if name.strip()]


@click.command()
@click.argument("repo")
@click.argument("path", type=click.Path())
@click.argument("dataset_types", nargs=-1)
@click.option("--collections", "-i", default="", help="Where the datasets are, comma separated.")
@click.option("--where", default="", help="Only datasets that fulfil this expression.")
@click.option("--all", "all_of_them", is_flag=True, help="All matches, not the first found only.")
@click.option("--also", default="", help="Further collections with what they say of the datasets.")
@click.option(
    "--transfer",
    type=click.Choice(GIVEN),
    default="auto",
    show_default=True,
    help="How files come beside the export; direct and none leave them where they are.",
)
@click.option("--all-records", is_flag=True, help="All dimension records, not only those needed.")
@click.option("--dry-run", is_flag=True, help="Only say what would be exported.")
def export(
    repo: str,
    path: str,
    dataset_types: Sequence[str],
    collections: str,
    where: str,
    all_of_them: bool,
    also: str,
    transfer: str,
    all_records: bool,
    dry_run: bool,
) -> None:
    """Write datasets of DATASET_TYPES, with what belongs to them, to PATH.

    PATH is a file ending in .yaml, or a folder for export.yaml. lsst-daf-butler reads it too.
    """
    from butler import Butler

    if dataset_types and not collections:
        raise click.UsageError("Name the collections of the datasets with --collections.")
    with Butler(repo) as butler:
        refs = [
            ref
            for kind in dataset_types
            for ref in butler.query_datasets(
                kind, collections=split(collections), where=where, find_first=not all_of_them
            )
        ]
        if dataset_types and not refs:
            raise click.ClickException(
                f"No {', '.join(dataset_types)} was found in {collections}; nothing was exported."
            )
        if dry_run:
            click.echo(f"Would export {len(refs)} datasets to {path}.")
            return
        made = butler.export(
            path,
            refs,
            also=split(also),
            transfer=None if transfer == "none" else transfer,
            records="all" if all_records else "needed",
        )
    tell(made.notes)
    click.echo(
        f"Exported {made.datasets} datasets, {made.files} with files, and "
        f"{counted(made.records)} to {made.path}."
    )


@click.command("import")
@click.argument("repo")
@click.argument("path", type=click.Path())
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
def import_(repo: str, path: str, transfer: str, directory: str | None) -> None:
    """Take in PATH, an export of lsst-daf-butler or of another repository.

    What is there already is passed over, so that an import may be repeated.
    """
    from butler import Butler

    with Butler(repo, writeable=True) as butler:
        taken = butler.import_(
            path, transfer=None if transfer == "none" else transfer, directory=directory
        )
    tell(taken.notes)
    present = f" {taken.present} were there already." if taken.present else ""
    click.echo(
        f"Imported {len(taken.refs)} datasets, {taken.files} with files, and "
        f"{counted(taken.records)}.{present}"
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
