"""Commands on the schema of a database: ``skyspine db``."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def db() -> None:
    """Create, upgrade, inspect the schema of the database at a URL.

    In place of a URL, the folder of a repository may be given; tables of its own are upgraded too.
    """


def _place(given: str) -> tuple[str, Path | None]:
    """Take a URL, or the folder of a repository: its URL, and where its own migrations are."""
    if "://" in given or not Path(given).is_dir():
        return given, None
    from butler.repository import Repository
    from registry.site_migrations import FOLDER

    found = Repository.open(given)
    return found.url, found.root / FOLDER


@db.command()
@click.argument("url")
def create(url: str) -> None:
    """Create the schema in an empty database."""
    from registry import deploy

    deploy.upgrade(url)
    click.echo(f"The schema is at revision {deploy.current(url)}.")
    _tell_absent_roles(url)


@db.command()
@click.argument("url")
@click.argument("revision", default="head")
def upgrade(url: str, revision: str) -> None:
    """Bring the schema up to REVISION, the newest by default."""
    from registry import deploy

    url, site = _place(url)
    before, own_before = deploy.current(url), deploy.current_site(url)
    deploy.upgrade(url, revision, site=site)
    click.echo(f"The schema was at revision {before} and is at {deploy.current(url)}.")
    own = deploy.current_site(url)
    if own is not None:
        click.echo(f"The site's own tables were at revision {own_before} and are at {own}.")
    _tell_absent_roles(url)


@db.command()
@click.argument("url")
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--site", "own", is_flag=True, help="Take a repository's own tables down instead.")
def downgrade(url: str, revision: str, yes: bool, own: bool) -> None:
    """Take the schema down to REVISION; ``base`` removes it with all data."""
    from registry import deploy

    url, site = _place(url)
    if own and site is None:
        raise click.UsageError("--site needs the folder of a repository in place of a URL.")
    if not yes:
        click.confirm(
            f"Data that revision {revision} has no place for are lost. Go on?", abort=True
        )
    if own and site is not None:
        deploy.downgrade_site(url, revision, site)
        click.echo(f"The site's own tables are at revision {deploy.current_site(url)}.")
        return
    deploy.downgrade(url, revision)
    click.echo(f"The schema is at revision {deploy.current(url)}.")


@db.command()
@click.argument("url")
def current(url: str) -> None:
    """Print the revision of the schema, and the newest one."""
    from registry import deploy
    from registry.database import safe_url
    from registry.site_migrations import newest

    url, site = _place(url)
    found = deploy.current(url)
    if found is None:
        raise click.ClickException(
            f"{safe_url(url)} holds no schema; make it with: skyspine db create {safe_url(url)}"
        )
    click.echo(f"{found} (newest: {deploy.head()})")
    if site is not None and (last := newest(site)) is not None:
        click.echo(f"The site's own tables: {deploy.current_site(url)} (newest: {last})")


@db.command()
@click.argument("url")
def check(url: str) -> int:
    """Compare the schema with what this version declares; status 1 when they differ."""
    from registry import deploy

    differences = deploy.check(_place(url)[0])
    for line in differences:
        click.echo(line)
    if not differences:
        click.echo("The schema is as declared.")
    return 1 if differences else 0


@db.command()
@click.argument("url")
def sql(url: str) -> None:
    """Print the SQL that creates the schema on this kind of database; run nothing."""
    from registry import deploy

    click.echo(deploy.sql(url))


@db.command()
@click.argument("url")
@click.option("--apply", "run", is_flag=True, help="Run it, as an account that may make roles.")
def roles(url: str, run: bool) -> None:
    """Print the SQL that makes the roles of readers and operators with their rights."""
    from registry import deploy

    if run:
        left = deploy.make_roles(url)
        if left:
            raise click.ClickException(
                f"This account may not make or grant {', '.join(left)}; run `skyspine db roles "
                "URL` and have an administrator run what it prints."
            )
        click.echo("The roles have their rights.")
        return
    for statement in deploy.role_statements(url):
        click.echo(f"{statement};")


def _tell_absent_roles(url: str) -> None:
    from registry import deploy

    absent = deploy.absent_roles(url)
    if absent:
        click.echo(
            f"This account may not make or grant {', '.join(absent)}: have an administrator run "
            "what `skyspine db roles URL` prints.",
            err=True,
        )
