"""Commands on a whole repository: create, check and its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from workflow.commands.tables import format_option, show

if TYPE_CHECKING:
    import uuid


@click.command()
@click.argument("repo")
@click.option("--db", help="URL of an empty database; SQLite inside the folder by default.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="FOLDER",
    help="Another repository whose datasets it reads; may be given several times.",
)
def create(repo: str, db: str | None, inputs: tuple[str, ...]) -> None:
    """Make a repository in the folder REPO."""
    from butler.inputs import given_folders, record_inputs
    from butler.repository import Repository
    from registry import Registry
    from registry.database import safe_url

    folders = given_folders(inputs)
    made = Repository.create(repo, db)
    click.echo(f"Made a repository in {made.root}, with the database {safe_url(made.url)}.")
    if not folders:
        click.echo(f"Next: skyspine instrument register {repo} FILE")
        return
    with Registry.connect(made.url) as registry:
        record_inputs(registry, folders)
    click.echo(f"It reads {', '.join(map(str, folders))} too.")
    click.echo(f"Next: skyspine query-collections {repo}")


@click.group()
def repository() -> None:
    """Show and change what a repository is made of."""


@repository.command("inputs")
@click.argument("repo")
@click.option("--add", "added", multiple=True, metavar="FOLDER", help="Read this repository too.")
@click.option(
    "--relocate",
    "moved",
    multiple=True,
    metavar="FOLDER",
    help="An input has moved here; which one, its identity says.",
)
@click.option("--remove", "removed", multiple=True, type=click.UUID, help="Read it no longer.")
@format_option
def inputs_(
    repo: str,
    added: tuple[str, ...],
    moved: tuple[str, ...],
    removed: tuple[uuid.UUID, ...],
    style: str,
) -> int:
    """List the repositories that REPO reads, and whether they are there; status 1 if not.

    They are searched in this order after REPO itself, and recorded with it.
    """
    from butler import Butler, inputs

    with Butler(repo, writeable=bool(added or moved or removed)) as butler:
        for folder in moved:
            inputs.relocate(butler.registry, folder)
        for identity in removed:
            inputs.remove(butler.registry, identity)
        inputs.record_inputs(butler.registry, inputs.given_folders(added))
        found = inputs.recorded(butler.registry)
        states = {row.repository_id: inputs.state_of(row) for row in found}
    rows = [
        {
            "position": row.position,
            "repository": row.repository_id,
            "folder": row.url,
            "added": row.added_at,
            "state": states[row.repository_id],
        }
        for row in found
    ]
    show(rows, style, ("position", "repository", "folder", "added", "state"))
    return 1 if set(states.values()) - {"there"} else 0


@click.command()
@click.argument("repo")
@click.option("--repair", is_flag=True, help="Remove orphans, mark lost copies, fail dead quanta.")
@click.option("--checksums", is_flag=True, help="Read every file instead of comparing sizes.")
@click.option(
    "--grace",
    default=600.0,
    show_default=True,
    help="Leave files alone that are younger than this [s]: a put may be under way.",
)
@format_option
def check(repo: str, repair: bool, checksums: bool, grace: float, style: str) -> int:
    """Compare database and files both ways; status 1 when something is wrong."""
    from backbone.audit import check as compare
    from butler import Butler

    with Butler(repo, writeable=repair) as butler:
        report = compare(
            butler.registry.database, butler.root, repair=repair, checksums=checksums, grace=grace
        )
    rows = [{"problem": f.problem, "what": f.what, "repaired": f.repaired} for f in report.findings]
    if rows or style != "table":
        show(rows, style, ("problem", "what", "repaired"))
    click.echo(
        f"{report.n_copies} copies compared; {len(rows)} findings, {len(report.unrepaired)} open.",
        err=True,
    )
    return 1 if report.unrepaired else 0
