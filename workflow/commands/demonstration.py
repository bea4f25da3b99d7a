"""The command that shows everything at once: ``skyspine demo``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from workflow.demo.job import Made


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder with real frames; without it, a small camera is simulated.",
)
@click.option(
    "--instrument",
    "instruments",
    multiple=True,
    help="With --data: YAML file of the camera, or the name of one that ships; found out by "
    "default. May be given several times.",
)
@click.option(
    "--pipeline", "-p", help="With --data: pipeline file; what ships for the camera by default."
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Made by this command: skyspine-demo, or skyspine-demo-DATA for real frames.",
)
@click.option("--db", help="URL of an empty database; SQLite inside the repository by default.")
@click.option("--jobs", "-j", default=2, show_default=True, help="Processes.")
def demo(
    data: Path | None,
    instruments: tuple[str, ...],
    pipeline: str | None,
    folder: Path | None,
    db: str | None,
    jobs: int,
) -> int:
    """Run the main job, from raw frames to answers, and compare with the truth."""
    if data is None and (instruments or pipeline):
        raise click.UsageError(
            "--instrument and --pipeline belong to real frames: give --data DIR."
        )
    from workflow.commands.progress import quanta
    from workflow.demo.job import run_demo, run_on_frames

    began = time.monotonic()
    with quanta() as progress:
        if data is None:
            folder = folder or Path("skyspine-demo")
            made = run_demo(folder, click.echo, jobs=jobs, db=db, progress=progress)
        else:
            made = run_on_frames(
                folder or Path(f"skyspine-demo-{data.resolve().name}"),
                data,
                click.echo,
                instruments=instruments,
                pipeline_file=pipeline,
                jobs=jobs,
                db=db,
                progress=progress,
            )
    _tell(made, "known of the frames" if data is not None else "simulated")
    click.echo(f"\nDone in {time.monotonic() - began:.0f} s.")
    succeeded = made.report is not None and made.report.succeeded
    return 0 if succeeded and all(c.passed for c in made.checks) else 1


def _tell(made: Made, truth: str) -> None:
    """Show comparisons, pictures, and what to try next."""
    from workflow.commands.tables import show

    rows = [
        {
            f"measured, against what is {truth}": c.what,
            "value": round(float(c.measured), 5),
            "limit": c.limit,
            "unit": c.unit,
            "": "ok" if c.passed else "NOT OK",
        }
        for c in made.checks
    ]
    if rows:
        click.echo()
        show(rows, "table")
    click.echo("\nPictures:")
    for picture in made.pictures:
        click.echo(f"  {picture}")
    click.echo(f"\nThe repository is {made.repository}. Try next:")
    for line in made.next:
        click.echo(f"  {line}")
