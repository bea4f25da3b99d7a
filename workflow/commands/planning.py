"""Commands for batch engines: skyspine plan, and execute-quantum."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from workflow.commands.tables import format_option, show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import sqlalchemy as sa


@click.group()
def plan() -> None:
    """Tell what a planned run will take, and let any engine execute it.

    `skyspine run --plan` records a run with all its quanta. `show`, `inputs` and `stage` tell what
    it will take, read and need to have brought; `next` lists the quanta that may begin. An engine
    asks for these again and again, and has `skyspine execute-quantum` started for each.
    """


@plan.command("show")
@click.argument("repo")
@click.argument("run")
@format_option
def show_(repo: str, run: str, style: str) -> None:
    """Tell of each task how much is to be done, what a quantum needs, and how long it takes.

    RUN is a planned run, or the chain that it is first in. Times are those of the same task with
    the same configuration, in this run and earlier ones, where there are any.
    """
    _tell_work(repo, run, style)


@plan.command("inputs")
@click.argument("repo")
@click.argument("run")
@format_option
def inputs_(repo: str, run: str, style: str) -> None:
    """Tell how much of what a run will read lies at which endpoint."""
    from registry import plans

    rows = _asked(repo, run, plans.inputs_by_endpoint)
    names = "dataset_type", "endpoint", "n_datasets", "n_files", "size_bytes", "n_only_here"
    show(rows, style, names)


@plan.command("stage")
@click.argument("repo")
@click.argument("run")
@click.option(
    "--near",
    multiple=True,
    metavar="ENDPOINT",
    help="Where the run's processes read without bringing anything; by default every endpoint that "
    "is a folder.",
)
@click.option("--files", is_flag=True, help="List each file.")
@format_option
def stage(repo: str, run: str, near: tuple[str, ...], files: bool, style: str) -> None:
    """Tell what a run will read that must be brought first, and from where."""
    from backbone import endpoints
    from butler.butler import Butler
    from registry import plans
    from workflow.planned_runs import run_named

    with Butler(repo) as butler, butler.registry.read() as connection:
        known = endpoints.listed(connection)
        for name in near:
            endpoints.named(connection, name)
        here = near or [e.endpoint.name for e in known if not e.endpoint.is_remote]
        rows = plans.to_stage(connection, run_named(connection, run), list(here))
    if files:
        show(rows, style, ("endpoint", "dataset_type", "path", "size_bytes", "dataset_id"))
        return
    sizes: Counter[tuple[str, str | None]] = Counter()
    numbers: Counter[tuple[str, str | None]] = Counter()
    for row in rows:
        key = row["dataset_type"], row["endpoint"]
        numbers[key] += 1
        sizes[key] += row["size_bytes"]
    total = [
        {"from": source, "dataset_type": kind, "n_files": n, "size_bytes": sizes[kind, source]}
        for (kind, source), n in numbers.items()
    ]
    show(total, style, ("from", "dataset_type", "n_files", "size_bytes"))


@plan.command("next")
@click.argument("repo")
@click.argument("run")
@click.option(
    "--limit", default=500, show_default=True, type=click.IntRange(min=1), help="At most so many."
)
@format_option
def next_(repo: str, run: str, limit: int, style: str) -> None:
    """List the quanta that may begin; before, do what the end of others has made possible.

    That is: block what cannot run any more, certify calibrations when a stage is done, and look
    them up for the next. Nothing is listed when all has ended, or while everything is at work.
    """
    from butler.butler import Butler
    from workflow.planned_runs import move_on

    with Butler(repo, writeable=True) as butler:
        found = move_on(butler, run, limit)
    rows = [
        {
            "quantum": str(q.id),
            "task": q.task,
            "data_id": dict(q.data_id),
            "cores": q.needs.all_cores,
            "memory_mib": q.needs.memory >> 20,
            "walltime_s": q.needs.timeout or q.needs.walltime_guess,
        }
        for q in found
    ]
    show(rows, style, ("quantum", "task", "data_id", "cores", "memory_mib", "walltime_s"))


@click.command("execute-quantum")
@click.argument("repo")
@click.argument("quantum", type=click.UUID)
@click.option("--retry", is_flag=True, help="Also when it has failed, or its process here is gone.")
@click.option(
    "--lost", is_flag=True, help="Also when a process has it that is known to be gone elsewhere."
)
def execute_quantum(repo: str, quantum: Any, retry: bool, lost: bool) -> int:
    """Execute one quantum of a planned run, in this process.

    Writes one line of JSON. Status 0: done, or nothing to do; 1: failed; 20: failed, and would in
    the same way again; 3: not taken, since it has ended or another process has it; 4: not yet, it
    waits for others.
    """
    from workflow.single_quantum import execute_quantum as execute

    report = execute(repo, quantum, retry=retry, lost=lost)
    told = {
        "quantum": str(report.quantum),
        "run": report.run,
        "task": report.task,
        "data_id": report.data_id,
        "outcome": report.outcome,
        "n_made": report.n_made,
        "error_kind": report.error_kind,
        "error": report.error,
    }
    click.echo(json.dumps(told, default=str))
    return report.status


def _asked(
    repo: str, name: str, question: Callable[[sa.Connection, str], Sequence[dict[str, Any]]]
) -> Sequence[dict[str, Any]]:
    from butler.butler import Butler
    from registry import plans
    from workflow.planned_runs import run_named

    with Butler(repo) as butler, butler.registry.read() as connection:
        run = run_named(connection, name)
        plans.request_of(connection, run)
        return question(connection, run)


def _tell_work(repo: str, name: str, style: str) -> None:
    from registry import plans

    rows = [
        {**row, "core_hours": None if each is None else row["n_to_do"] * row["cores"] * each / 3600}
        for row in _asked(repo, name, plans.work_to_do)
        for each in (row["seconds_each"],)
    ]
    names = (
        *("task", "n_to_do", "n_done", "n_failed", "n_blocked", "cores", "memory_mib"),
        *("seconds_each", "known_from", "core_hours"),
    )
    show(rows, style, names)
