"""Commands on a whole repository: create and check."""

from __future__ import annotations

import click

from workflow.commands.tables import format_option, show


@click.command()
@click.argument("repo")
@click.option("--db", help="URL of an empty database; SQLite inside the folder by default.")
def create(repo: str, db: str | None) -> None:
    """Make a repository in the folder REPO."""
    from butler.repository import Repository
    from registry.database import safe_url

    made = Repository.create(repo, db)
    click.echo(f"Made a repository in {made.root}, with the database {safe_url(made.url)}.")
    click.echo(f"Next: skyspine instrument register {repo} FILE")


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
