"""The command that brings files of datasets out of a repository."""

from __future__ import annotations

import click

from workflow.commands.exchange import split
from workflow.commands.transferring import MODES, datasets_of


@click.command()
@click.argument("repo")
@click.argument("folder")
@click.argument("dataset_types", nargs=-1, required=True)
@click.option("--collections", "-i", default="*", show_default=True, help="Comma separated; globs.")
@click.option("--where", default="", help="Only datasets that fulfil this expression.")
@click.option("--all", "every", is_flag=True, help="Not only the first of each data ID.")
@click.option(
    "--transfer",
    type=click.Choice([mode for mode in MODES if mode != "direct"]),
    default="auto",
    show_default=True,
    help="How files come: auto is copy; only what lies on this disk can be linked.",
)
@click.option("--flat", is_flag=True, help="All files in FOLDER itself, none below it.")
@click.option("--dry-run", is_flag=True, help="Only say what would come.")
def retrieve_artifacts(
    repo: str,
    folder: str,
    dataset_types: tuple[str, ...],
    collections: str,
    where: str,
    every: bool,
    transfer: str,
    flat: bool,
    dry_run: bool,
) -> None:
    """Bring the files of datasets of DATASET_TYPES into FOLDER, for who has no repository.

    What is there already is passed over, so that it may be repeated. What lies in tables becomes a
    file. To take data into another repository, see `skyspine transfer` and `skyspine export`.

    \b
    skyspine retrieve-artifacts REPO for-the-press coadd -i survey/dr1 --where "tract = 12" --flat
    """  # noqa: D301 (click wants the control character)
    from butler import Butler
    from workflow.commands.progress import counting

    with Butler(repo) as butler:
        refs = datasets_of(butler, dataset_types, collections, where, find_first=not every)
        if not refs:
            why = butler.explain_no_datasets(
                dataset_types[0], collections=split(collections), where=where
            )
            raise click.ClickException(f"Nothing was found, and nothing came. {why}")
        if dry_run:
            files = sum(len(parts) for parts in butler.get_uris(refs).values())
            click.echo(f"Would bring {files} files of {len(refs)} datasets into {folder}.")
            return
        with counting("files") as progress:
            came = butler.retrieve_artifacts(
                refs, folder, transfer=transfer, preserve_path=not flat, progress=progress
            )
    lacking = came.without_file
    present = f" {came.present} were there already." if came.present else ""
    click.echo(
        f"{len(came.paths)} files ({came.size / 1e6:.1f} MB) of {len(refs) - len(lacking)} "
        f"datasets are in {folder}.{present}"
    )
    if lacking:
        raise click.ClickException(
            f"No file, or not each of its files, is stored of {len(lacking)} datasets, as "
            f"{lacking[0]}."
        )
