"""The command that tells how a dataset was made: ``skyspine how-made``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from workflow.commands.history import _meant, _which_dataset
from workflow.commands.tables import show

if TYPE_CHECKING:
    from butler import Butler

_FACTS = ("task_class", "run", "host", "python", "platform", "code_revision", "wall_s")


@click.command()
@click.argument("repo")
@click.argument("dataset")
@_which_dataset
@click.option("--whole", is_flag=True, help="Also the tasks that made what it was made from.")
@click.option("--changed", is_flag=True, help="Only values that are not the default.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print it.",
)
def how_made(
    repo: str, dataset: str, collections: str, where: str, whole: bool, changed: bool, style: str
) -> None:
    """Tell with which task, configuration and software DATASET was made.

    DATASET is a UUID, or a dataset type with --where.
    """
    from butler import Butler

    with Butler(repo) as butler:
        refs = _meant(butler, dataset, collections.split(","), where)
        walk = butler.provenance
        ids = [r.id for r in refs]
        if whole:
            ids += list(dict.fromkeys(e.input.id for e in walk.ancestors(*ids)))
        makers = walk.makers(*ids)
        if not any(r.id in makers for r in refs):
            raise click.ClickException(
                f"No task made {dataset}: it was ingested or put, not processed."
            )
        tasks = {
            (m["repository_id"], m["run"], m["task_label"], m["selection"], m["environment_id"]): m
            for m in (makers[i] for i in ids if i in makers)
        }
        told = [_told(butler, maker, changed=changed) for maker in tasks.values()]
    if style == "json":
        click.echo(json.dumps(told, indent=1, default=str))
        return
    for entry in told:
        _show(entry)
    for packages in {json.dumps(e["packages"]): e["packages"] for e in told}.values():
        click.echo("software:")
        show([{"package": k, "version": v} for k, v in packages.items()], "table")


def _told(butler: Butler, maker: dict[str, Any], *, changed: bool) -> dict[str, Any]:
    """Gather what is recorded of a task: facts, the last value of each field, packages."""
    walk = butler.provenance
    where = maker["repository_id"]
    last: dict[str, dict[str, Any]] = {}
    history = walk.config_history(maker["run"], maker["task_label"], repository_id=where)
    for step in history:
        if step["selection"] != maker["selection"]:
            continue
        last[step["path"]] = {
            "field": step["path"],
            "value": step["value"],
            "set_by": "" if step["step"] == 0 else step["origin"],
        }
    return {
        "task": maker["task_label"],
        "selection": maker["selection"],
        **{fact: maker[fact] for fact in _FACTS},
        "configuration": [v for v in last.values() if v["set_by"] or not changed],
        "packages": walk.packages(maker["environment_id"], where),
    }


def _show(entry: dict[str, Any]) -> None:
    revision = f", code {entry['code_revision'][:12]}" if entry["code_revision"] else ""
    selected = f" where {entry['selection']}" if entry["selection"] else ""
    click.echo(f"{entry['task']}{selected} ({entry['task_class']}) in {entry['run']}")
    click.echo(f"on {entry['host']}, {entry['platform']}, Python {entry['python']}{revision}")
    show(entry["configuration"], "table", ("field", "value", "set_by"))
    click.echo()
