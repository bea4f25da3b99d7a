"""Commands that take datasets from another repository, and that remove whole runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from workflow.commands.exchange import split
from workflow.commands.tables import format_option, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from butler import Butler
    from registry.identity import DatasetRef
    from registry.removing import Removal

MODES = ("auto", "copy", "link", "hardlink", "symlink", "direct")
_NOTHING_REMOVED = (
    "Nothing was removed: the above depends on it. Repeat with --yes to remove it all the same."
)


def datasets_of(
    butler: Butler, kinds: Sequence[str], collections: str, where: str, *, find_first: bool
) -> list[DatasetRef]:
    """Find datasets of some types, in collections whose names are comma separated."""
    within = split(collections)
    return [
        ref
        for kind in kinds
        for ref in butler.query_datasets(
            kind, collections=within, where=where, find_first=find_first
        )
    ]


@click.command()
@click.argument("repo")
@click.argument("other")
@click.argument("dataset_types", nargs=-1, required=True)
@click.option("--collections", "-i", required=True, help="Where they are there, comma separated.")
@click.option("--where", default="", help="Only datasets that fulfil this expression.")
@click.option("--all", "all_of_them", is_flag=True, help="All matches, not the first found only.")
@click.option("--also", default="", help="Collections whose tags and validity ranges come along.")
@click.option(
    "--transfer",
    type=click.Choice(MODES),
    default="auto",
    show_default=True,
    help="How files come along; direct leaves them where they are.",
)
@click.option("--endpoint", default="root", help="Storage that they come to; REPO's own folder.")
@click.option("--dry-run", is_flag=True, help="Only say what would be taken.")
def transfer(
    repo: str,
    other: str,
    dataset_types: Sequence[str],
    collections: str,
    where: str,
    all_of_them: bool,
    also: str,
    transfer: str,
    endpoint: str,
    dry_run: bool,
) -> None:
    """Take datasets of DATASET_TYPES from the repository OTHER into REPO.

    They keep their identity and bring their history; what is in REPO already is passed over, so
    that a transfer may be repeated.
    """
    from butler import Butler
    from workflow.commands.progress import counting

    with Butler(repo, writeable=not dry_run) as butler, Butler(other) as there:
        refs = datasets_of(there, dataset_types, collections, where, find_first=not all_of_them)
        if not refs:
            raise click.ClickException(
                f"No {', '.join(dataset_types)} was found in {collections} of {other}; nothing was "
                "transferred."
            )
        if dry_run:
            known = butler.registry.get_refs([r.id for r in refs])
            click.echo(
                f"Would transfer {len(refs)} datasets, of which {len(known)} are known here."
            )
            return
        with counting("datasets") as progress:
            taken = butler.transfer_from(
                there,
                refs,
                transfer=transfer,
                also=split(also),
                endpoint=endpoint,
                progress=progress,
            )
    present = f" {taken.present} were there already." if taken.present else ""
    click.echo(
        f"Transferred {len(taken.refs)} datasets with {taken.files} files and {taken.quanta} steps "
        f"of their history.{present}"
    )
    if taken.without_file:
        click.echo(f"Note: no file is stored of {len(taken.without_file)} of them.", err=True)


@click.command()
@click.argument("repo")
@click.argument("runs", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Only tell what would go, and what depends on it.")
@click.option(
    "--yes", is_flag=True, help="Also when tags, ranges, chains or datasets depend on it."
)
@format_option
def remove_runs(repo: str, runs: tuple[str, ...], dry_run: bool, yes: bool, style: str) -> int:
    """Remove RUNS with their datasets, files, tasks and quanta, after telling what depends on them.

    What something elsewhere was made from leaves its row behind, so that histories stay whole.
    """
    from butler import Butler

    with Butler(repo, writeable=not dry_run) as butler:
        told = butler.remove_runs(*runs, dry_run=True)
        rows = _rows(told)
        show(rows, style, ("what", "where", "n"))
        if dry_run:
            return 0
        if told.used and not yes:
            click.echo(_NOTHING_REMOVED, err=True)
            return 1
        butler.remove_runs(*runs)
    kept = f" {told.kept} left a row behind, for the history." if told.kept else ""
    click.echo(f"Removed {sum(told.datasets.values())} datasets.{kept}", err=True)
    return 0


@click.command()
@click.argument("repo")
@click.argument("dataset_types", nargs=-1, required=True)
@click.option("--collections", "-i", required=True, help="Where they are, comma separated; globs.")
@click.option("--where", default="", help="Only datasets that fulfil this expression.")
@click.option("--all", "every", is_flag=True, help="All matches, not the first found only.")
@click.option(
    "--purge", is_flag=True, help="Remove the datasets too, out of searches; not their files only."
)
@click.option("--dry-run", is_flag=True, help="Only tell what would go, and what depends on it.")
@click.option("--yes", is_flag=True, help="Also when tags, ranges or datasets depend on it.")
@format_option
def prune_datasets(
    repo: str,
    dataset_types: tuple[str, ...],
    collections: str,
    where: str,
    every: bool,
    purge: bool,
    dry_run: bool,
    yes: bool,
    style: str,
) -> int:
    """Remove the files of datasets of DATASET_TYPES, after telling what depends on them.

    The datasets stay known, with their history, and with --purge they go. What something was made
    from leaves its row behind, so that histories stay whole.
    """
    from butler import Butler
    from registry import removing

    with Butler(repo, writeable=not dry_run) as butler:
        refs = datasets_of(butler, dataset_types, collections, where, find_first=not every)
        if not refs:
            within = split(collections)
            for kind in dataset_types:
                click.echo(
                    butler.explain_no_datasets(kind, collections=within, where=where), err=True
                )
        told = butler.registry.database.ask(removing.dependents, [ref.id for ref in refs])
        if not purge:
            told = removing.Removal(told.datasets)  # everything else stays
        rows = _rows(told, what_goes="goes" if purge else "loses its files")
        show(rows, style, ("what", "where", "n"))
        if dry_run or not refs:
            return 0
        if told.used and not yes:
            click.echo(_NOTHING_REMOVED, err=True)
            return 1
        butler.prune(refs, purge=purge)
    what = "" if purge else "the files of "
    click.echo(f"Removed {what}{len(refs)} datasets.", err=True)
    return 0


def _rows(told: Removal, what_goes: str = "goes") -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [
        {"what": f"{kind} {what_goes}", "where": "", "n": n}
        for kind, n in sorted(told.datasets.items())
    ]
    for what, counts in (
        ("tag goes", told.tagged),
        ("validity range goes", told.certified),
        ("taken out of a chain", {c: 1 for chains in told.chained.values() for c in chains}),
        ("made from it, stays", told.derived),
    ):
        rows += [{"what": what, "where": name, "n": n} for name, n in sorted(counts.items())]
    for what, n in (
        ("leaves its row behind", told.kept),
        ("quantum waits for it", told.waiting),
        ("task goes with its history", told.tasks),
    ):
        if n:
            rows.append({"what": what, "where": "", "n": n})
    return rows
