"""Commands that compare and search configurations: config-diff, config-find."""

from __future__ import annotations

import dataclasses

import click

from workflow.commands.tables import format_option, show


@click.command()
@click.argument("repo")
@click.argument("first")
@click.argument("second")
@click.option("--task", "label", help="Only this task.")
@format_option
def config_diff(repo: str, first: str, second: str, label: str | None, style: str) -> None:
    """Tell which configuration values differ between the runs FIRST and SECOND, and who set them.

    A chain stands for its runs: of each task the first run that has it counts.
    """
    from butler import Butler
    from registry.errors import did_you_mean
    from registry.provenance.config_questions import WHERE, ConfigDifference

    with Butler(repo) as butler:
        asked = butler.registry.provenance
        found = asked.config_differences(first, second)
        if label is not None:
            rows = [r for run in (first, second) for r in asked.config_history(run)]
            labels = {d.task_label.partition(WHERE)[0] for d in found}
            labels |= {r["task_label"] for r in rows}
            if label not in labels:
                raise click.ClickException(
                    f"Neither run has a task '{label}'.{did_you_mean(label, sorted(labels))}"
                )
            found = [d for d in found if d.task_label.partition(WHERE)[0] == label]
    if style != "table":
        names = [f.name for f in dataclasses.fields(ConfigDifference)]
        show([dataclasses.asdict(d) for d in found], style, names)
        return
    if not found:
        click.echo("The configurations are equal.")
        return
    rows = [
        {
            "task": d.task_label,
            "path": d.path,
            "first": _shown(d.first, there=d.in_first),
            "second": _shown(d.second, there=d.in_second),
            "first set by": d.first_origin,
            "second set by": d.second_origin,
        }
        for d in found
    ]
    show(rows, style)


def _shown(value: str | None, *, there: bool) -> str:
    return str(value) if there else "(absent)"


@click.command()
@click.argument("repo")
@click.argument("condition", metavar="[TASK:]FIELD[=VALUE]")
@click.option("--run", help="Only this run, or the runs of this chain.")
@format_option
def config_find(repo: str, condition: str, run: str | None, style: str) -> None:
    """Tell which runs used a value of a field, and who set it where.

    FIELD is a dotted path or the end of one: binSize finds background.binSize too. VALUE is written
    as for skyspine run -c; without it every run that has the field is listed, with its value.
    """
    from butler import Butler
    from registry.errors import did_you_mean

    field, equals, value = condition.partition("=")
    label, colon, path = field.rpartition(":")
    path = path.strip()
    if not path or (colon and not label.strip()):
        raise click.UsageError(
            f"'{condition}' is not of the form [TASK:]FIELD[=VALUE], as in binSize=256."
        )
    with Butler(repo) as butler:
        asked = butler.registry.provenance
        found = asked.find_config_values(
            path, value.strip() if equals else None, label=label.strip() or None, run=run
        )
        known = [] if found else asked.config_fields()
    if not found and not any(p == path or p.endswith(f".{path}") for p in known):
        ends = [*known, *(p.rpartition(".")[2] for p in known)]
        raise click.ClickException(
            f"No configuration has a field '{path}'.{did_you_mean(path, ends)}"
        )
    columns = ["run", "task_label", "selection", "path", "value", "origin_kind", "origin", "set_by"]
    if style != "table":
        columns += ["class_name", "created_at"]
    show([{c: getattr(u, c) for c in columns} for u in found], style, columns)
