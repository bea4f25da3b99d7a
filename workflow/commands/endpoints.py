"""Commands on the storage of a repository: endpoints, and copies of datasets at them."""

from __future__ import annotations

import click

from workflow.commands.tables import format_option, show


@click.group()
def endpoint() -> None:
    """Store at S3, WebDAV, SFTP or in other folders."""


@endpoint.command()
@click.argument("repo")
@click.argument("name")
@click.argument("url")
@click.option("--read-only", is_flag=True, help="Never make or delete files there.")
def add(repo: str, name: str, url: str, read_only: bool) -> None:
    """Register the folder or URL as storage of REPO, under a NAME.

    \b
    /a/folder                            another disk
    s3://BUCKET/PREFIX                   S3; ?endpoint_url=URL for a server of one's own
    dav://HOST:PORT/PATH, davs://...     WebDAV
    sftp://USER@HOST:PORT/PATH           SFTP; ?key=FILE&known_hosts=FILE
    http://..., https://...              only read
    memory://NAME                        of one process, for tests
    """  # noqa: D301 (click wants the control character)
    from backbone import endpoints
    from butler import Butler

    with Butler(repo, writeable=True) as butler:
        made = butler.registry.database.transact(endpoints.register, name, url, owned=not read_only)
    use = "is read by" if not made.owned else "stores files of"
    click.echo(f"The endpoint '{name}' {use} {repo}.")
    click.echo(f"Next: skyspine endpoint check {repo} {name}")


@endpoint.command("list")
@click.argument("repo")
@format_option
def list_(repo: str, style: str) -> None:
    """List the endpoints of REPO, with how many copies of files are recorded there."""
    from backbone import endpoints
    from butler import Butler

    with Butler(repo) as butler, butler.registry.read() as connection:
        found = endpoints.listed(connection)
    rows = [
        {
            "name": row.endpoint.name,
            "root": row.endpoint.root or "(absolute paths)",
            "stores": row.endpoint.owned,
            "state": row.state,
            "copies": row.n_copies,
            "lost": row.n_lost,
        }
        for row in found
    ]
    show(rows, style, ("name", "root", "stores", "state", "copies", "lost"))


@endpoint.command()
@click.argument("repo")
@click.argument("name")
def check(repo: str, name: str) -> None:
    """Write, read and remove a small file at the endpoint NAME; status 1 when it fails."""
    from backbone import endpoints
    from backbone.probing import probe
    from butler import Butler

    with Butler(repo) as butler, butler.registry.read() as connection:
        where = endpoints.named(connection, name)
        told = probe(connection, where, butler.root)
    click.echo(f"{name}: {told}.")


@endpoint.command()
@click.argument("repo")
@click.argument("name")
@click.argument("dataset_type")
@click.option("--collections", help="Searched in this order, with commas between them.")
@click.option("--where", default="", help="Only datasets for which this holds.")
def copy(repo: str, name: str, dataset_type: str, collections: str | None, where: str) -> None:
    """Give datasets of REPO a further copy at the endpoint NAME; repeatable."""
    from butler import Butler

    with Butler(repo, writeable=True) as butler:
        searched = collections.split(",") if collections else "*"
        refs = butler.query_datasets(
            dataset_type, collections=searched, where=where, find_first=False
        )
        done = butler.replicate(refs, name)
    click.echo(
        f"{len(refs)} datasets: {done.sent} files copied, {done.found} lay there, "
        f"{done.present} had a copy."
        + (f" {done.meanwhile} were removed or converted meanwhile." if done.meanwhile else "")
    )


@endpoint.command()
@click.argument("repo")
@click.argument("name")
@click.argument("dataset_type")
@click.option("--collections", help="Searched in this order, with commas between them.")
@click.option("--where", default="", help="Only datasets for which this holds.")
def withdraw(repo: str, name: str, dataset_type: str, collections: str | None, where: str) -> None:
    """Remove copies of datasets of REPO at the endpoint NAME, never the last good one."""
    from butler import Butler

    with Butler(repo, writeable=True) as butler:
        searched = collections.split(",") if collections else "*"
        refs = butler.query_datasets(
            dataset_type, collections=searched, where=where, find_first=False
        )
        removed, kept = butler.withdraw(refs, name)
    click.echo(
        f"{len(refs)} datasets: {removed} copies removed at '{name}', {kept} stay: pinned, or "
        "without another good copy."
    )


@endpoint.command()
@click.argument("repo")
@click.argument("name")
def offline(repo: str, name: str) -> None:
    """Take the endpoint NAME of REPO out of use: nothing is read, stored or removed there."""
    alone = _switched(repo, name, online=False)
    click.echo(f"The endpoint '{name}' is offline; {alone} files have no other copy in use.")


@endpoint.command()
@click.argument("repo")
@click.argument("name")
def online(repo: str, name: str) -> None:
    """Take the endpoint NAME of REPO into use again."""
    _switched(repo, name, online=True)
    click.echo(f"The endpoint '{name}' is online. Next: skyspine endpoint check {repo} {name}")


def _switched(repo: str, name: str, *, online: bool) -> int:
    from functools import partial

    from backbone import endpoints
    from butler import Butler

    with Butler(repo, writeable=True) as butler:
        return butler.registry.database.ensure(partial(endpoints.switch, online=online), name)
