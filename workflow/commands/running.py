"""The command that runs pipelines: ``skyspine run``."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from workflow.commands.limits import limit_options, needs_of
from workflow.commands.pipelines import configured, setting_options
from workflow.commands.tables import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflow.pipeline import Pipeline


@click.command()
@click.argument("repo")
@click.option(
    "--pipeline",
    "-p",
    required=True,
    help="YAML file, or the name of one that ships; FILE#label1,label2 for a part, or another "
    "expression of skyspine pipeline.",
)
@click.option("--inputs", "-i", required=True, help="Collections searched, comma separated.")
@click.option("--output", "-o", required=True, help="CHAINED collection for what is made.")
@click.option("--data-query", "-d", default="", help="Expression that the input data fulfil.")
@setting_options
@click.option(
    "--jobs",
    "-j",
    default=1,
    show_default=True,
    help="Processes; no more at a time than cores and memory allow.",
)
@limit_options
@click.option(
    "--profile",
    metavar="FILE",
    help="Count what the tasks call, for python -m pstats: all in FILE, each task beside it.",
)
@click.option(
    "--debugger", is_flag=True, help="Open the debugger where a quantum fails; in one process."
)
@click.option(
    "--resume", is_flag=True, help="Continue the last run of the output: run all that is not done."
)
@click.option(
    "--extend", is_flag=True, help="Add to the last run what is not in it; leave what failed."
)
@click.option(
    "--replace", is_flag=True, help="Take the last run out of the chain, in favour of a new one."
)
@click.option("--clobber", is_flag=True, hidden=True)
@click.option(
    "--skip-existing", is_flag=True, help="Do not make again what exists in the output's chain."
)
@click.option(
    "--only", default="", help="Run only what leads to these dataset types, comma separated."
)
@click.option(
    "--nodes",
    metavar="WHERE",
    help="Where multi-node tasks run, and on how many ranks: processes:4, mpi:4, rabbitmq:4 or "
    "threads:4; by default SKYSPINE_NODES, else processes of this machine.",
)
@click.option("--mock", is_flag=True, help="Run tasks that compute nothing in place of each.")
@click.option(
    "--mock-failure",
    "failures",
    multiple=True,
    metavar="LABEL:ERROR[:WHERE]",
    help="With --mock: raise ERROR in the quanta that fulfil WHERE; ERROR 'killed' ends the worker "
    "process, as the out-of-memory killer does.",
)
@click.option(
    "--mock-sleep",
    "sleeps",
    multiple=True,
    metavar="LABEL:SECONDS[:WHERE]",
    help="With --mock: take so long.",
)
@click.option("--fail-fast", is_flag=True, help="Start nothing more after a failure.")
@click.option(
    "--dry-run", is_flag=True, help="Only count what would be run, and tell what would be blocked."
)
@click.option(
    "--plan",
    is_flag=True,
    help="Plan the run and execute nothing: for skyspine plan and graph.",
)
@click.option("--explain", is_flag=True, help="Tell of each blocked quantum why it cannot run.")
def run(
    repo: str,
    pipeline: str,
    inputs: str,
    output: str,
    data_query: str,
    config: tuple[str, ...],
    config_files: tuple[str, ...],
    parameters: tuple[str, ...],
    jobs: int,
    timeout: float,
    resources: tuple[str, ...],
    profile: str | None,
    debugger: bool,
    nodes: str | None,
    resume: bool,
    extend: bool,
    replace: bool,
    clobber: bool,
    skip_existing: bool,
    only: str,
    mock: bool,
    failures: tuple[str, ...],
    sleeps: tuple[str, ...],
    fail_fast: bool,
    dry_run: bool,
    plan: bool,
    explain: bool,
) -> int:
    """Run a pipeline; status 1 when a quantum failed or was blocked."""
    from workflow.commands.progress import quanta
    from workflow.modes import CLOBBER, Contradiction, Mode
    from workflow.multinode.launching import NODES, Placement
    from workflow.runner import run_pipeline

    if clobber:
        raise click.UsageError(CLOBBER)
    if nodes is not None:
        Placement.of(nodes)
        os.environ[NODES] = nodes  # worker processes have it from there
    wanted = tuple(name.strip() for name in only.split(",") if name.strip())
    asked = configured(pipeline, config, config_files, parameters)
    if mock or failures or sleeps:
        asked = _mocked(asked, mock, failures, sleeps, jobs > 1 or timeout > 0)
    asked = asked.needing(needs_of(resources))
    try:
        mode = Mode(
            resume=resume, extend=extend, replace=replace, skip_existing=skip_existing, only=wanted
        )
        with quanta(silent=debugger or dry_run) as progress:
            report = run_pipeline(
                repo,
                asked,
                inputs=inputs.split(","),
                output=output,
                where=data_query,
                jobs=jobs,
                timeout=timeout,
                mode=mode,
                fail_fast=fail_fast,
                dry_run=dry_run,
                plan_only=plan,
                profile=profile,
                on_error=_look_into if debugger else None,
                progress=progress,
            )
    except Contradiction as error:
        raise click.UsageError(str(error)) from None
    except KeyboardInterrupt:
        raise click.ClickException(
            "Interrupted; what was done is kept. Continue with --resume."
        ) from None
    tell(report, dry_run=dry_run, explain=explain)
    return 0 if report.succeeded else 1


def _mocked(
    pipeline: Pipeline,
    mock: bool,
    failures: Sequence[str],
    sleeps: Sequence[str],
    in_workers: bool,
) -> Pipeline:
    from workflow.testing.mocks import KILLED, mocked, parse_behaviour

    if not mock:
        raise click.UsageError("--mock-failure and --mock-sleep need --mock.")
    behaviours = [parse_behaviour(s, sleeping=True) for s in sleeps]
    behaviours += [parse_behaviour(f) for f in failures]
    if not in_workers and any(b.error == KILLED for b in behaviours):
        raise click.UsageError("A worker process can be killed with --jobs 2 or more only.")
    return mocked(pipeline, behaviours)


def _look_into(error: Exception) -> None:
    """Open the debugger in the frame that raised an error."""
    import pdb  # noqa: T100 (that is what was asked for)

    click.echo(
        f"{type(error).__name__}: {error}\nThis is where it was raised; `q` goes on with the run.",
        err=True,
    )
    pdb.post_mortem(error.__traceback__)


def tell(report: Any, *, dry_run: bool, explain: bool) -> None:
    """Tell what became of a run."""
    labels = list(dict.fromkeys(label for label, _ in report.states))
    states = list(dict.fromkeys(state for _, state in report.states))
    rows = [
        {"task": label, **{s: report.states.get((label, s), 0) for s in states}} for label in labels
    ]
    show(rows, "table", ("task",))
    for (label, where), n in report.selected.items():
        if dry_run:
            click.echo(f"Configured apart: {n} of {label} where {where}.")
        elif not n:
            click.echo(f"No planned quantum of {label} fulfils {where}.", err=True)
    for line in report.certified:
        click.echo(f"Certified {line}.")
    for result in report.partial[:20]:
        click.echo(
            f"Incomplete: {result.quantum.label} {result.quantum.data_id!r}: {result.error}",
            err=True,
        )
    for result in report.failures[:20]:
        click.echo(
            f"Failed: {result.quantum.label} {result.quantum.data_id!r}: {result.error}", err=True
        )
    if explain:
        for quantum, reason in report.blocked:
            click.echo(f"Blocked: {quantum.label} {quantum.data_id!r}: {reason}", err=True)
        more = sum(n for (_, s), n in report.states.items() if s == "blocked") - len(report.blocked)
        if more > 0:
            click.echo(f"... and {more} more.", err=True)
    else:
        _tell_reasons(report)
    away = sum(n for (_, state), n in report.states.items() if state == "away")
    if away:
        click.echo(
            f"{away} quanta are away in graph files (skyspine graph list); --resume goes on when "
            "they are home.",
            err=True,
        )
    if report.profiles:
        click.echo(f"What was called: python -m pstats {report.profiles[0]}")
        for file in report.profiles[1:]:
            click.echo(f"  of one task: {file}")
    if not dry_run:
        click.echo(f"Outputs are in '{report.run}'.")


_REASONS = 3
"""Of each task, so many different ones are told without --explain."""


def _tell_reasons(report: Any) -> None:
    """Tell why quanta are blocked, each reason once, and of how many it is not told."""
    reasons: dict[str, Counter[str]] = {}
    for quantum, reason in report.blocked:
        reasons.setdefault(quantum.label, Counter())[reason] += 1
    for (label, state), n_blocked in report.states.items():
        if state != "blocked" or not n_blocked:
            continue
        told = reasons.get(label, Counter()).most_common(_REASONS)
        for reason, n in told:
            click.echo(f"Blocked: {n} of {label}: {reason}", err=True)
        more = n_blocked - sum(n for _, n in told)
        if more > 0:
            click.echo(f"Blocked: {more} more of {label}; --explain tells why of each.", err=True)
