"""Visits, made of exposures as the definition of their camera says."""

from __future__ import annotations

import click

__all__ = ["define_visits"]


@click.command()
@click.argument("repo")
@click.argument("instrument")
@click.option("--where", default="", help="Condition on exposures, such as 'day_obs = 20250310'.")
@click.option("--dry-run", is_flag=True, help="Only tell what would become of them.")
def define_visits(repo: str, instrument: str, where: str, dry_run: bool) -> int:
    """Make visits of the exposures of INSTRUMENT in REPO; status 1 when some could not be made.

    May be repeated: what is there stays, and a visit of which nothing was made takes late
    exposures.
    """
    from butler import Butler

    with Butler(repo, writeable=not dry_run) as butler:
        done = butler.define_visits(instrument, where=where, dry_run=dry_run)
    for error in done.refused:
        click.echo(str(error), err=True)
    if done.waiting:
        click.echo(
            f"{len(done.waiting)} exposures wait for the first of their sequence, for example "
            f"{done.waiting[0]}.",
            err=True,
        )
    told = (
        f"{len(done.new)} visits new, {len(done.changed)} changed, {len(done.removed)} removed, "
        f"{len(done.unchanged)} as they were, {len(done.refused)} refused."
    )
    click.echo(f"Would be: {told}" if dry_run else told)
    return 1 if done.refused else 0
