"""``skyspine ingest-files``: files that others have made, listed in a table, become datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from butler import FileDataset

_WAYS = ("auto", "copy", "move", "link", "hardlink", "symlink", "direct", "in_place")


@click.command()
@click.argument("repo")
@click.argument("dataset_type")
@click.argument("table", type=click.Path(exists=True, dir_okay=False))
@click.option("--run", required=True, help="RUN collection; made if there is none of this name.")
@click.option(
    "--transfer",
    default="copy",
    show_default=True,
    type=click.Choice(_WAYS),
    help="How files come in; direct leaves them where they are, as in_place does what lies in "
    "the storage already.",
)
@click.option("--prefix", help="Folder that relative paths begin at; that of TABLE by default.")
@click.option(
    "--data-id", "keys", multiple=True, metavar="KEY=VALUE", help="A key that all files share."
)
@click.option("--endpoint", help="Name of the storage; the repository's own folder by default.")
@click.option("--no-checksums", is_flag=True, help="Do not read files that stay where they are.")
def ingest_files(
    repo: str,
    dataset_type: str,
    table: str,
    run: str,
    transfer: str,
    prefix: str | None,
    keys: tuple[str, ...],
    endpoint: str | None,
    no_checksums: bool,
) -> int:
    """Take files into REPO as datasets of a type.

    TABLE (CSV or ECSV) has a line for each dataset: the column "path" names its file, the others
    are keys of its data ID. Lines with the same path are datasets in one file. What is in REPO
    already is passed over, so that the same command completes what was cut short.
    """
    from butler import Butler
    from workflow.commands.progress import counting

    shared = _shared(keys)
    listed = _listed(Path(table), dataset_type, Path(prefix or Path(table).parent), shared)
    options: dict[str, Any] = {} if endpoint is None else {"endpoint": endpoint}
    with Butler(repo, writeable=True) as butler, counting("ingest") as progress:
        result = butler.ingest(
            listed,
            run=run,
            transfer=transfer,
            checksums=not no_checksums,
            progress=progress,
            **options,
        )
    click.echo(
        f"{len(result.refs)} datasets into '{run}'; {len(result.present)} files were there already."
    )
    return 0


def _shared(keys: tuple[str, ...]) -> dict[str, str]:
    shared = {}
    for given in keys:
        name, equals, value = given.partition("=")
        if not equals:
            raise click.UsageError(f"--data-id takes KEY=VALUE, and not '{given}'.")
        shared[name] = value
    return shared


def _listed(
    table: Path, dataset_type: str, folder: Path, shared: Mapping[str, str]
) -> list[FileDataset]:
    from butler import FileDataset

    rows = _rows(table)
    if rows and "path" not in rows[0]:
        raise click.UsageError(
            f"{table} has no column 'path', but {', '.join(map(repr, rows[0]))}; name the one with "
            "the files so."
        )
    of_path: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        path = row.pop("path")
        of_path.setdefault(path, []).append(_data_id({**shared, **row}))
    return [FileDataset(folder / path, dataset_type, ids) for path, ids in of_path.items()]


def _data_id(texts: Mapping[str, str]) -> dict[str, Any]:
    """Read the integers among the keys; what is empty is not there."""
    from registry.identity import DIMENSIONS

    return {
        name: int(text) if DIMENSIONS.get(name) is int and _is_integer(text) else text
        for name, text in texts.items()
        if text
    }


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _rows(table: Path) -> list[dict[str, str]]:
    import csv

    with table.open(newline="", encoding="utf-8") as text:
        if text.read(6) == "# %ECS":
            from astropy.table import Table

            read = Table.read(table, format="ascii.ecsv")
            return [{n: str(row[n]) for n in read.colnames} for row in read]
        text.seek(0)
        return [dict(row) for row in csv.DictReader(text, skipinitialspace=True)]
