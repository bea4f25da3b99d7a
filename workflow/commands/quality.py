"""Commands of quality control: skyspine qc."""

from __future__ import annotations

import functools
import uuid
from typing import TYPE_CHECKING, Any

import click

from workflow.commands.pipelines import configured, setting_options
from workflow.commands.tables import format_option, show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workflow.pipeline import Pipeline


@click.group()
def qc() -> None:
    """Watch what tasks measure: thresholds, checks, incidents.

    Every number that a task records is a metric, by the label of the task and a dotted name. `set`
    or `load` says what is good enough, `run` and `watch` measure what appears and compare it, and
    what is not good enough is an incident until somebody closes it.
    """


_SCOPE = click.option(
    "--for",
    "scope",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only for this instrument, physical_filter or detector; those with more keys go before "
    "those with fewer.",
)


def _scope(given: Sequence[str]) -> Any:
    from registry.quality import Scope

    pairs = [text.partition("=") for text in given]
    for key, equals, value in pairs:
        if not (equals and value):
            raise click.UsageError(f"'{key}' is not of the form KEY=VALUE.")
    return Scope.of({key: value for key, _, value in pairs})


@qc.command()
@click.argument("repo")
@click.argument("output")
@format_option
def metrics(repo: str, output: str, style: str) -> None:
    """List what the tasks of OUTPUT, a run or a chain of them, have measured."""
    from butler import Butler

    with Butler(repo) as butler:
        rows = butler.registry.quality.metrics(output)
    show(rows, style, ("task", "metric", "n", "min", "mean", "max"))


@qc.command("set")
@click.argument("repo")
@click.argument("task")
@click.argument("metric")
@_SCOPE
@click.option("--fail-below", type=float, metavar="X", help="A smaller value is a failure.")
@click.option("--warn-below", type=float, metavar="X", help="A smaller value deserves a look.")
@click.option("--warn-above", type=float, metavar="X", help="A larger value deserves a look.")
@click.option("--fail-above", type=float, metavar="X", help="A larger value is a failure.")
@click.option("--reason", metavar="TEXT", help="Why; it is kept with the history.")
def set_(
    repo: str, task: str, metric: str, scope: Sequence[str], reason: str | None, **bounds: Any
) -> None:
    """Say what is good enough for METRIC of TASK, in place of what was said for the same data."""
    from butler import Butler
    from registry.quality import Bounds

    wanted, data = Bounds(**bounds), _scope(scope)
    with Butler(repo, writeable=True) as butler:
        new = butler.registry.quality.set(task, metric, wanted, scope=data, reason=reason)
    click.echo(f"{_place(task, metric, data)}: {wanted}" if new else "That is how it was already.")


def _place(task: str, metric: str, scope: Any) -> str:
    return f"{task} {metric} {scope}".strip()


@qc.command()
@click.argument("repo")
@click.argument("task")
@click.argument("metric")
@_SCOPE
def unset(repo: str, task: str, metric: str, scope: Sequence[str]) -> None:
    """Take the threshold of METRIC of TASK back, for just these data."""
    from butler import Butler

    with Butler(repo, writeable=True) as butler:
        ended = butler.registry.quality.unset(task, metric, _scope(scope))
    click.echo(f"{_place(task, metric, ended.scope)} taken back; it was: {ended.bounds}")


@qc.command()
@click.argument("repo")
@click.argument("file")
@click.option("--dry-run", is_flag=True, help="Only tell what would change.")
def load(repo: str, file: str, dry_run: bool) -> None:
    """Make the thresholds of REPO what the YAML FILE says; what it does not say is taken back.

    `skyspine qc thresholds REPO --yaml` writes such a file.
    """
    from butler import Butler
    from workflow.commands.policies import document

    with Butler(repo, writeable=True) as butler:
        new, ended = butler.registry.quality.load(document(file), dry_run=dry_run)
    replaced = {w.place for w in new}
    for w in new:
        click.echo(f"{_place(w.task, w.metric, w.scope)}: {w.bounds}")
    for t in ended:
        if (t.task, t.metric, str(t.scope)) not in replaced:
            click.echo(f"{_place(t.task, t.metric, t.scope)} taken back; it was: {t.bounds}")
    said = "would be set" if dry_run else "set"
    click.echo(f"{len(new)} thresholds {said}, {len(ended)} ended.")


@qc.command()
@click.argument("repo")
@click.option("--history", is_flag=True, help="All that ever held.")
@click.option("--yaml", "as_yaml", is_flag=True, help="As a file that `qc load` takes.")
@format_option
def thresholds(repo: str, history: bool, as_yaml: bool, style: str) -> None:
    """Show the thresholds of REPO, and who set them when and why."""
    from butler import Butler

    with Butler(repo) as butler:
        found = butler.registry.quality.thresholds(history=history)
    if as_yaml:
        import yaml

        from registry.quality.thresholds import as_rules

        click.echo(yaml.safe_dump(as_rules(found), sort_keys=False), nl=False)
        return
    rows = [
        {
            "task": t.task,
            "metric": t.metric,
            "for": str(t.scope),
            "bounds": str(t.bounds),
            "reason": t.reason,
            "set by": t.set_by,
            "set at": t.set_at,
            **({"ended at": t.ended_at} if history else {}),
        }
        for t in found
    ]
    show(rows, style, ("task", "metric", "for", "bounds", "reason", "set by", "set at"))


@qc.command()
@click.argument("repo")
@click.argument("output")
def check(repo: str, output: str) -> int:
    """Compare what the tasks of OUTPUT have measured with the thresholds; run nothing.

    Each value is compared once with each threshold. Status 1 when one is a failure.
    """
    from butler import Butler

    with Butler(repo, writeable=True) as butler:
        judgement = butler.registry.quality.check(output)
        _tell(butler, judgement)
    return 1 if judgement.n_failures else 0


def _tell(butler: Any, judgement: Any) -> None:
    click.echo(
        f"{judgement.n_checked} values compared: {judgement.n_failures} failures, "
        f"{judgement.n_warnings} warnings."
    )
    if judgement.incidents:
        about = [i for i in butler.registry.quality.incidents() if i.id in judgement.incidents]
        for i in about:
            click.echo(f"{i.severity}: {i.subject} (incident {i.id}, {i.state}, {i.n_seen} values)")


def _measuring(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a look, as what `workflow.quality.look` takes."""

    @functools.wraps(function)
    def command(
        repo: str,
        pipeline: str,
        inputs: str,
        data_query: str,
        config: tuple[str, ...],
        config_files: tuple[str, ...],
        parameters: tuple[str, ...],
        **more: Any,
    ) -> Any:
        tasks = configured(pipeline, config, config_files, parameters)
        how = {"inputs": inputs.split(","), "where": data_query}
        return function(repo, tasks, how, **more)

    found: Callable[..., Any] = command
    for option in (
        click.option("--jobs", "-j", default=1, show_default=True, help="Processes."),
        setting_options,
        click.option("--data-query", "-d", default="", help="Expression that the data fulfil."),
        click.option("--output", "-o", required=True, help="CHAINED collection for the results."),
        click.option("--inputs", "-i", required=True, help="Collections, comma separated."),
        click.option("--pipeline", "-p", required=True, help="The metric tasks; as skyspine run."),
        click.argument("repo"),
    ):
        found = option(found)
    return found


@qc.command()
@_measuring
def run(repo: str, tasks: Pipeline, how: dict[str, Any], output: str, jobs: int) -> int:
    """Run metric tasks on what is not in OUTPUT yet, and compare what they measured.

    Status 1 when a task failed, or a value is a failure.
    """
    from workflow.commands.progress import quanta
    from workflow.quality import look

    with quanta() as progress:
        found = look(repo, tasks, output=output, jobs=jobs, progress=progress, **how)
    _tell_look(repo, found)
    return 0 if found.is_well else 1


def _tell_look(repo: str, found: Any) -> None:
    from butler import Butler

    click.echo(f"{found.n_new} quanta run." if found.n_new else "Nothing new has appeared.")
    for result in found.report.failures[:20] if found.report else ():
        click.echo(
            f"Failed: {result.quantum.label} {result.quantum.data_id!r}: {result.error}", err=True
        )
    with Butler(repo) as butler:
        _tell(butler, found.judgement)


@qc.command()
@_measuring
@click.option(
    "--every",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="From one look to the next [s].",
)
@click.option("--looks", type=click.IntRange(min=1), help="End after so many.")
def watch(
    repo: str,
    tasks: Pipeline,
    how: dict[str, Any],
    output: str,
    jobs: int,
    every: float,
    looks: int | None,
) -> None:
    """Do what `qc run` does again and again, until Ctrl-C or SIGTERM.

    What is being measured then is finished. One process at a time watches an output.
    """
    from workflow.quality import watch as watch_

    click.echo(f"Watching for '{output}' every {every:g} s; Ctrl-C ends it.")
    watch_(
        repo,
        tasks,
        output=output,
        jobs=jobs,
        every=every,
        looks=looks,
        told=lambda found: _tell_look(repo, found),
        **how,
    )


@qc.command()
@click.argument("repo")
@click.option("--all", "closed", is_flag=True, help="Those that are closed too.")
@format_option
def incidents(repo: str, closed: bool, style: str) -> None:
    """List what somebody must look after, the last seen first."""
    from butler import Butler

    names = "severity", "state", "subject", "n_seen", "opened_at", "last_seen_at"
    who = "acknowledged_by", "closed_by", "note"
    with Butler(repo) as butler:
        found = butler.registry.quality.incidents(closed=closed)
    rows = [{"incident": i.id, **{n: getattr(i, n) for n in (*names, *who)}} for i in found]
    show(rows, style, ("incident", *names, *who))


def _ids(texts: Sequence[str]) -> list[uuid.UUID]:
    try:
        return [uuid.UUID(text) for text in texts]
    except ValueError:
        raise click.UsageError(
            "An incident is named by its UUID, as `skyspine qc incidents` shows it."
        ) from None


@qc.command()
@click.argument("repo")
@click.argument("incident", nargs=-1, required=True)
@click.option("--note", default="", metavar="TEXT", help="What you have to say.")
def acknowledge(repo: str, incident: tuple[str, ...], note: str) -> None:
    """Take incidents up: others see that somebody looks after them.

    One that gets worse, from warnings to a failure, is open again.
    """
    from butler import Butler

    with Butler(repo, writeable=True) as butler:
        n = butler.registry.quality.acknowledge(_ids(incident), note)
    click.echo(f"{n} acknowledged.")


@qc.command()
@click.argument("repo")
@click.argument("incident", nargs=-1, required=True)
@click.option("--note", default="", metavar="TEXT", help="What became of it.")
def close(repo: str, incident: tuple[str, ...], note: str) -> None:
    """Close incidents; what is found again opens another one."""
    from butler import Butler

    with Butler(repo, writeable=True) as butler:
        n = butler.registry.quality.close(_ids(incident), note)
    click.echo(f"{n} closed.")
