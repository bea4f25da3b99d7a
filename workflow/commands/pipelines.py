"""Commands that look at a pipeline without running it: pipeline show, check and graph."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workflow.commands.tables import format_option, show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workflow.pipeline import Pipeline, PipelineTask

__all__ = ["configured", "pipeline", "setting_options"]


def setting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that set parameters and configurations of a pipeline."""
    for option in (
        click.option(
            "--config",
            "-c",
            multiple=True,
            metavar="LABEL[WHERE]:PATH=VALUE",
            help="The last one wins; with [WHERE] only for data IDs that fulfil the expression.",
        ),
        click.option(
            "--config-file",
            "-C",
            "config_files",
            multiple=True,
            metavar="LABEL[WHERE]:FILE",
            help="Overrides in a file, .py or .yaml; applied before those of -c.",
        ),
        click.option(
            "--parameter",
            "parameters",
            multiple=True,
            metavar="NAME=VALUE",
            help="Instead of the value that the pipeline gives a parameter.",
        ),
    ):
        function = option(function)
    return function


def configured(
    source: str, config: Sequence[str], config_files: Sequence[str], parameters: Sequence[str]
) -> Pipeline:
    """Read a pipeline with what `setting_options` set."""
    from workflow.marked_yaml import scalar
    from workflow.overrides import labelled, parse_override, read_overrides
    from workflow.pipeline import Pipeline

    given: dict[str, Any] = {}
    for argument in parameters:
        name, equals, value = argument.partition("=")
        if not name or not equals:
            raise click.UsageError(f"'{argument}' is not of the form NAME=VALUE.")
        given[name.strip()] = scalar(value)
    overrides: dict[str, list[Any]] = {}
    for argument in config_files:
        label, where, file = labelled(argument)
        if not label or not file:
            raise click.UsageError(
                f"'{argument}' is not of the form LABEL:FILE, or LABEL[WHERE]:FILE."
            )
        overrides.setdefault(label, []).extend(
            dataclasses.replace(o, where=where) for o in read_overrides(file, parameters=given)
        )
    for argument in config:
        label, override = parse_override(argument)
        overrides.setdefault(label, []).append(override)
    return Pipeline.from_yaml(source, overrides=overrides, parameters=given)


@click.group()
def pipeline() -> None:
    """Show, check and draw pipelines.

    PIPELINE is a YAML file or the name of one that ships; FILE#EXPRESSION takes a part of it:
    labels and subsets (#isr,coadds), ranges (#isr..coadd), all that leads to a task ('#<=coadd'),
    all that follows from one ('#>isr'), joined by | & ~.
    """


@pipeline.command("show")
@click.argument("source", metavar="PIPELINE")
@setting_options
@click.option("--of", "label", metavar="LABEL", help="The configuration of this task.")
@click.option("--changed", is_flag=True, help="With --of: only what was set after its default.")
@format_option
def show_pipeline(
    source: str,
    config: tuple[str, ...],
    config_files: tuple[str, ...],
    parameters: tuple[str, ...],
    label: str | None,
    changed: bool,
    style: str,
) -> None:
    """Tell what a pipeline is made of, or with --of how one of its tasks is configured, and why."""
    read = configured(source, config, config_files, parameters)
    if label is not None:
        show(_told(read[label], changed=changed), style, _FIELDS)
        return
    if style == "table":
        _tell_head(read)
    rows = []
    for task in read:
        every = task.connections.values()
        rows.append(
            {
                "task": task.label,
                "class": task.class_name,
                "dimensions": ", ".join(task.dimensions),
                "reads": ", ".join(c.dataset_type for c in every if c.reads),
                "makes": ", ".join(c.dataset_type for c in every if not c.reads),
            }
        )
    show(rows, style)


_FIELDS = ("path", "where", "value", "origin_kind", "origin")


def _told(task: PipelineTask, *, changed: bool) -> list[dict[str, Any]]:
    """Tell each value of a task, and those that are others for some data IDs."""
    from workflow.variants import under

    every: dict[str | None, PipelineTask] = {None: task}
    every |= {where: under(task, [where]) for where in task.selections}
    rows = [
        {
            "path": path,
            "where": where,
            "value": steps[-1].text,
            "origin_kind": steps[-1].kind,
            "origin": steps[-1].origin,
        }
        for where, one in every.items()
        for path, steps in one.history.items()
        if (len(steps) > 1 or not changed)
        and (where is None or _last(task, path) != _last(one, path))
    ]
    return sorted(rows, key=lambda row: str(row["path"]))


def _last(task: PipelineTask, path: str) -> tuple[str | None, str] | None:
    steps = task.history.get(path)
    return (steps[-1].text, steps[-1].origin) if steps else None


def _tell_head(read: Pipeline) -> None:
    outside = ", ".join(read.overall_inputs())
    told = {
        "": read.description,
        "instrument": read.instrument,
        "reads from outside": outside,
        "parameters": ", ".join(f"{k}={v}" for k, v in read.parameters.items()),
        "subsets": "; ".join(f"{k}: {', '.join(v)}" for k, v in read.subsets.items() if v),
        "steps": " -> ".join(s.label for s in read.steps),
        "contracts": "; ".join(c.expression for c in read.contracts),
    }
    for name, value in told.items():
        if value:
            click.echo(f"{name}: {value}" if name else value)
    click.echo()


@pipeline.command("check")
@click.argument("source", metavar="PIPELINE")
@setting_options
def check_pipeline(
    source: str,
    config: tuple[str, ...],
    config_files: tuple[str, ...],
    parameters: tuple[str, ...],
) -> None:
    """Read a pipeline with all that it imports, configure its tasks, and fit them together."""
    read = configured(source, config, config_files, parameters)
    outside = ", ".join(read.overall_inputs())
    click.echo(
        f"{len(read)} tasks in {len(read.stages())} stages fit together, "
        f"{len(read.contracts)} contracts hold; it reads {outside or 'nothing'} from outside."
    )


@pipeline.command("graph")
@click.argument("source", metavar="PIPELINE")
@setting_options
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "mermaid", "dot", "svg"]),
    default="text",
    show_default=True,
    help="Text for a terminal, or a drawing.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Write to this file.")
def graph_pipeline(
    source: str,
    config: tuple[str, ...],
    config_files: tuple[str, ...],
    parameters: tuple[str, ...],
    style: str,
    output: Path | None,
) -> None:
    """Draw the tasks of a pipeline with what they read and make.

    In text, * marks what is looked up for each quantum, ... what it has several of, brackets what
    it may lack.
    """
    from workflow.pipeline_pictures import drawn

    text = drawn(configured(source, config, config_files, parameters), style)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
