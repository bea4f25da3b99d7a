"""Commands that take a part of a run away in a file, execute it, and bring it home."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from workflow.commands.exchange import split
from workflow.commands.limits import limit_options, needs_of
from workflow.commands.progress import counting, quanta
from workflow.commands.tables import format_option, show

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.group()
def graph() -> None:
    """Take quanta of a run away in a file, execute them there, bring them home."""


@graph.command("export")
@click.argument("repo")
@click.argument("run")
@click.argument("file", type=click.Path())
@click.option("--labels", default="", help="Only quanta of these tasks, comma separated.")
@click.option("--where", default="", help="Only quanta whose data IDs fulfil this expression.")
@click.option("--pieces", type=click.IntRange(1), default=1, show_default=True, help="Files.")
@click.option(
    "--into",
    type=click.Path(file_okay=False),
    help="Folder that outputs are written below until they come home; that of REPO by default.",
)
def export(
    repo: str, run: str, file: str, labels: str, where: str, pieces: int, into: str | None
) -> None:
    """Give ready quanta of RUN away in FILE: nothing here starts them any more.

    RUN is a run, or the output whose last run is meant (`skyspine run --plan` makes one that is
    only planned). A quantum goes when what it waits for goes with it.
    """
    from butler import Butler
    from butler.graphs import export_graph

    with Butler(repo, writeable=True) as butler:
        written = export_graph(
            butler, run, file, labels=split(labels), where=where, pieces=pieces, into=into
        )
    rows = [
        {"file": str(w.file), "task": t, "quanta": n} for w in written for t, n in w.quanta.items()
    ]
    show(rows, "table")
    click.echo(f"Execute: skyspine graph run {written[0].file} -j N", err=True)


@graph.command("run")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--jobs", "-j", default=1, show_default=True, help="Processes.")
@limit_options
@click.option("--fail-fast", is_flag=True, help="Start nothing more after a failure.")
def run_file(
    file: str, jobs: int, timeout: float, resources: tuple[str, ...], fail_fast: bool
) -> int:
    """Execute the quanta in FILE that are not done; status 1 when one failed or was blocked.

    Called again it goes on after a kill, and tries again what has failed, but for what has come
    home meanwhile: that is tried again there.
    """
    from workflow.commands.running import tell
    from workflow.graph_files import run_graph

    needs = needs_of(resources)
    try:
        with quanta() as progress:
            report = run_graph(
                file,
                jobs=jobs,
                timeout=timeout,
                resources=needs,
                fail_fast=fail_fast,
                progress=progress,
            )
    except KeyboardInterrupt:
        raise click.ClickException(
            "Interrupted; what was done is kept. The same command goes on."
        ) from None
    tell(report, dry_run=True, explain=False)
    click.echo(f"Bring it home: skyspine graph bring-home REPO {file}", err=True)
    return 0 if report.succeeded else 1


@graph.command("bring-home")
@click.argument("repo")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
def bring_home_(repo: str, files: Sequence[str]) -> int:
    """Record in REPO what the quanta in FILES have done so far, with all that they made.

    May be called at any time, again, and while the files are being executed; status 1 when quanta
    are away still.
    """
    from butler import Butler
    from butler.graphs import bring_home

    rows = []
    with Butler(repo, writeable=True) as butler:
        for file in files:
            with counting("bring home") as progress:
                came = bring_home(butler, file, progress=progress)
            rows.append(
                {
                    "file": file,
                    **{s: came.states.get(s, 0) for s in ("done", "no_work", "failed", "blocked")},
                    "datasets": came.datasets,
                    "log_records": came.log_records,
                    "away": came.away,
                }
            )
            if came.refused:
                click.echo(
                    f"{file}: {came.refused} quanta were not taken: REPO took them back, and does "
                    "not wait for them.",
                    err=True,
                )
    show(rows, "table")
    return 1 if any(row["away"] for row in rows) else 0


@graph.command("take-back")
@click.argument("repo")
@click.argument("identity")
def take_back(repo: str, identity: str) -> None:
    """Wait no longer for the file of this IDENTITY (`skyspine graph list`), which is lost.

    `skyspine run --resume` plans its quanta anew; what the file makes all the same is not taken.
    """
    import uuid

    from butler import Butler
    from registry import plans

    try:
        key = uuid.UUID(identity)
    except ValueError:
        raise click.BadParameter(
            f"'{identity}' is no identity of a graph file; they are in: skyspine graph list {repo}",
            param_hint="IDENTITY",
        ) from None
    with Butler(repo, writeable=True) as butler:
        n = butler.registry.database.transact(plans.take_back, key)
    click.echo(f"{n} quanta are blocked until the run is continued: skyspine run ... --resume")


@graph.command("list")
@click.argument("repo")
@format_option
def list_(repo: str, style: str) -> None:
    """List the graph files of REPO, with how many of their quanta are away and home."""
    from butler import Butler
    from registry import plans

    with Butler(repo) as butler, butler.registry.read() as connection:
        found = plans.graph_files(connection)
    rows: list[dict[str, Any]] = [
        {
            "identity": str(f.id),
            "run": f.run,
            "file": f.path,
            "outputs": f.root,
            "exported_at": f.exported_at.isoformat(timespec="seconds"),
            "exported_by": f.exported_by,
            "n_away": states.get("away", 0),
            "n_home": states.get("home", 0),
        }
        for f, states in found
    ]
    names = ("identity", "run", "file", "outputs", "exported_at", "exported_by", "n_away", "n_home")
    show(rows, style, names)
