"""Commands on collections: ``skyspine collection``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from workflow.commands.transferring import datasets_of

if TYPE_CHECKING:
    from collections.abc import Callable

TYPES = ("RUN", "TAGGED", "CHAINED", "CALIBRATION")


@click.group()
def collection() -> None:
    """Make, chain, tag and remove collections; `skyspine query-collections` lists them."""


@collection.command()
@click.argument("repo")
@click.argument("name")
@click.option(
    "--type",
    "kind",
    type=click.Choice(TYPES, case_sensitive=False),
    default="RUN",
    show_default=True,
    help="RUN holds datasets; TAGGED a choice of them; CHAINED collections in an order of search; "
    "CALIBRATION validity ranges.",
)
@click.option("--doc", default="", help="What it is for.")
def register(repo: str, name: str, kind: str, doc: str) -> None:
    """Make a collection NAME in REPO; it may be repeated."""
    from butler import Butler

    with Butler(repo, writeable=True) as butler:
        new = butler.collections.register(name, kind, doc)
    click.echo(f"{'Made' if new else 'There is already'} the {kind} collection '{name}'.")


@collection.command()
@click.argument("repo")
@click.argument("name")
@click.argument("children", nargs=-1, required=True)
@click.option("--first", "how", flag_value="first", help="Put them before what is in it.")
@click.option("--last", "how", flag_value="last", help="Put them after what is in it.")
@click.option("--out", "how", flag_value="out", help="Take them out of it.")
def chain(repo: str, name: str, children: tuple[str, ...], how: str | None) -> None:
    """Let the chain NAME of REPO search CHILDREN, in this order, and nothing else.

    With --first or --last they join what is in it, or go to that place; a chain that is new is
    made. A chain may be in another one.

    \b
    skyspine collection chain REPO u/me/view u/me/run1 Cam/calib Cam/raw
    skyspine collection chain REPO u/me/view u/me/run2 --first
    """  # noqa: D301 (click wants the control character)
    from butler import Butler

    with Butler(repo, writeable=True) as butler:
        verbs: dict[str | None, Callable[..., None]] = {
            None: butler.collections.chain,
            "first": butler.collections.prepend_chain,
            "last": butler.collections.extend_chain,
            "out": butler.collections.remove_from_chain,
        }
        verbs[how](name, children)
        (made,) = butler.collections.query(name)
    click.echo(f"'{name}' searches {', '.join(made.children) or 'nothing'}.")


def _choice(function: Callable[..., None]) -> Callable[..., None]:
    """Add the arguments and options that say which datasets are meant."""
    for add in (
        click.option("--dry-run", is_flag=True, help="Only say how many there are."),
        click.option("--where", default="", help="Only datasets that fulfil this expression."),
        click.argument("dataset_types", nargs=-1, required=True),
        click.argument("name"),
        click.argument("repo"),
    ):
        function = add(function)
    return function


@collection.command()
@click.option("--collections", "-i", required=True, help="Where they are, comma separated; globs.")
@click.option("--all", "every", is_flag=True, help="All matches, not the first found only.")
@_choice
def tag(
    repo: str,
    name: str,
    dataset_types: tuple[str, ...],
    where: str,
    dry_run: bool,
    collections: str,
    every: bool,
) -> None:
    """Put datasets of DATASET_TYPES into the TAGGED collection NAME, which is made if it is new.

    One of the same type and data ID that is in it is replaced.

    \b
    skyspine collection tag REPO u/me/good calexp -i survey/dr1 --where "visit.seeing < 1.2"
    """  # noqa: D301 (click wants the control character)
    from butler import Butler

    with Butler(repo, writeable=not dry_run) as butler:
        refs = datasets_of(butler, dataset_types, collections, where, find_first=not every)
        if not dry_run:
            with butler.transaction():
                butler.collections.register(name, "TAGGED")
                butler.collections.tag(name, refs)
    click.echo(f"{'Would tag' if dry_run else 'Tagged'} {len(refs)} datasets in '{name}'.")


@collection.command()
@_choice
def untag(repo: str, name: str, dataset_types: tuple[str, ...], where: str, dry_run: bool) -> None:
    """Take datasets of DATASET_TYPES out of the TAGGED collection NAME; they stay in their runs."""
    from butler import Butler

    with Butler(repo, writeable=not dry_run) as butler:
        refs = datasets_of(butler, dataset_types, name, where, find_first=False)
        if not dry_run:
            butler.collections.untag(name, refs)
    said = "Would take" if dry_run else "Took"
    click.echo(f"{said} {len(refs)} datasets out of '{name}'.")


@collection.command()
@click.argument("repo")
@click.argument("name")
def remove(repo: str, name: str) -> None:
    """Remove the collection NAME, which no chain may hold; no dataset goes.

    A RUN must be empty; `skyspine remove-runs` removes one with its datasets.
    """
    from butler import Butler

    with Butler(repo, writeable=True) as butler:
        butler.collections.remove(name)
    click.echo(f"Removed the collection '{name}'.")
