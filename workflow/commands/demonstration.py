"""The command that shows everything at once: ``skyspine demo``."""

from __future__ import annotations

import time
from pathlib import Path

import click


@click.command()
@click.option(
    "--folder",
    default="skyspine-demo",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Made by this command.",
)
@click.option("--db", help="URL of an empty database; SQLite inside the repository by default.")
@click.option("--jobs", "-j", default=2, show_default=True, help="Processes.")
def demo(folder: Path, db: str | None, jobs: int) -> int:
    """Simulate a small camera, run the main job on it, and compare with the truth."""
    from workflow.commands.progress import quanta
    from workflow.commands.tables import show
    from workflow.demo.job import OUTPUT, run_demo

    began = time.monotonic()
    with quanta() as progress:
        made = run_demo(folder, click.echo, jobs=jobs, db=db, progress=progress)
    rows = [
        {
            "measured against the truth": c.what,
            "value": round(c.measured, 5),
            "limit": c.limit,
            "unit": c.unit,
            "": "ok" if c.passed else "NOT OK",
        }
        for c in made.checks
    ]
    click.echo()
    show(rows, "table")
    click.echo("\nPictures:")
    for picture in made.pictures:
        click.echo(f"  {picture}")
    repo = made.repository
    click.echo(f"\nThe repository is {repo}. Try next:")
    for line in (
        f"skyspine query-datasets {repo} calexp --where \"band = 'r' AND detector IN (1, 2)\"",
        f"skyspine provenance {repo} sources --where 'exposure = 202503110020 AND detector = 1'",
        f"skyspine config-history {repo} {OUTPUT} isr --changed",
        f"skyspine report {repo} run_summary",
        f"skyspine check {repo} --checksums",
    ):
        click.echo(f"  {line}")
    click.echo(f"\nDone in {time.monotonic() - began:.0f} s.")
    return 0 if all(c.passed for c in made.checks) else 1
