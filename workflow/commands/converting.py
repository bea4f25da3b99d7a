"""The command that brings stored datasets into another format, or to another endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from workflow.commands.exchange import split
from workflow.commands.tables import format_option, show

if TYPE_CHECKING:
    from butler.moving.converting import Converted


@click.command()
@click.argument("repo")
@click.argument("dataset_type")
@click.option("--collections", "-i", required=True, help="Where they are, comma separated.")
@click.option("--where", default="", help="Only datasets that fulfil this expression.")
@click.option("--to", "name", metavar="FORMAT", help="The new format; see also --option.")
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the new format."
)
@click.option("--endpoint", help="Where the new files shall lie; where the old ones do by default.")
@click.option(
    "--tolerance",
    type=float,
    default=0.0,
    help="By how much floating-point values may differ, in their own unit; not at all by default.",
)
@click.option("--dry-run", is_flag=True, help="Only tell how many files and bytes it would be.")
@format_option
def convert(
    repo: str,
    dataset_type: str,
    collections: str,
    where: str,
    name: str | None,
    options: tuple[str, ...],
    endpoint: str | None,
    tolerance: float,
    dry_run: bool,
    style: str,
) -> None:
    """Bring datasets of DATASET_TYPE into the format, and to the endpoint, that are named.

    With neither, into what the policy says of them now. Each new file is read back and compared
    before it takes the place of the old one; readers go on reading. It may be repeated after it was
    cut short. Ends with status 1 when datasets stay as they were for a reason.
    """
    from butler import Butler
    from workflow.commands.progress import counting

    given = _format(name, options)
    with Butler(repo, writeable=not dry_run) as butler:
        refs = butler.query_datasets(
            dataset_type, collections=split(collections), where=where, find_first=False
        )
        with counting("files") as progress:
            done = butler.convert(
                refs,
                format=given,
                endpoint=endpoint,
                tolerance=tolerance,
                dry_run=dry_run,
                progress=progress,
            )
    _tell(done, repo, style, dry_run=dry_run)


def _format(name: str | None, options: tuple[str, ...]) -> Any:
    from butler.policy.settings import from_texts

    if options and name is None:
        raise click.UsageError("An --option belongs to a format; name it: --to FORMAT.")
    if name is None:
        return None
    pairs = [text.partition("=") for text in options]
    for option, equals, _ in pairs:
        if not equals:
            raise click.UsageError(f"--option {option}: write {option}=VALUE.")
    return from_texts({"format": name, **{option: value for option, _, value in pairs}})["format"]


def _tell(done: Converted, repo: str, style: str, *, dry_run: bool) -> None:
    rows = [
        {
            "format": old,
            "endpoint": at,
            "new format": new,
            "new endpoint": to,
            "files": n,
            "bytes": size,
        }
        for (old, at, new, to), (n, size) in done.changes.items()
    ]
    show(rows, style, ("format", "endpoint", "new format", "new endpoint", "files", "bytes"))
    for ref, why in done.failed[:20]:
        click.echo(f"{ref.dataset_type.name} {ref.data_id!r} in {ref.run}: {why}", err=True)
    if len(done.failed) > 20:
        click.echo(f"and {len(done.failed) - 20} more", err=True)
    if dry_run:
        said = f"Would convert {done.n_files} files of {done.old_bytes} bytes"
    else:
        said = f"Converted {done.n_files} files: {done.old_bytes} bytes became {done.new_bytes}"
    said += f"; {done.unchanged} were so already." if done.unchanged else "."
    click.echo(said, err=True)
    if done.n_files and not dry_run:
        click.echo(
            f"The old files stay for those who read them; from ten minutes on, `skyspine check "
            f"{repo} --repair` removes them.",
            err=True,
        )
    if done.failed:
        raise click.ClickException(
            f"{len(done.failed)} datasets stay as they were, for the reasons above."
        )
