"""Commands that tell how things came to be: provenance, config-history, report."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import click

from workflow.commands.tables import format_option, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from butler import Butler
    from registry import DatasetRef
    from registry.provenance import Edge


@click.command()
@click.argument("repo")
@click.argument("dataset")
@click.option("--collections", "-i", default="*", help="Where a dataset type is searched.")
@click.option("--where", default="", help="Which datasets of the type are meant.")
@click.option("--up", "direction", flag_value="up", default="up", help="What it was made from.")
@click.option("--down", "direction", flag_value="down", help="What was made of it.")
@click.option("--depth", type=int, help="At most so many steps.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["tree", "json", "dot"]),
    default="tree",
    show_default=True,
)
def provenance(
    repo: str,
    dataset: str,
    collections: str,
    where: str,
    direction: str,
    depth: int | None,
    style: str,
) -> None:
    """Tell what DATASET (a UUID, or a dataset type with --where) was made from, or what of it."""
    from butler import Butler

    with Butler(repo) as butler:
        refs = _meant(butler, dataset, collections.split(","), where)
        ids = [r.id for r in refs]
        walk = butler.registry.provenance
        edges = (walk.ancestors if direction == "up" else walk.descendants)(*ids, depth=depth)
        makers = walk.makers(*{r.id: r for e in edges for r in (e.input, e.output)}, *ids)
    if style == "json":
        click.echo(json.dumps([_edge(e) for e in edges], indent=1))
    elif style == "dot":
        click.echo(_dot(edges))
    else:
        for ref in refs:
            _tree(ref, edges, makers, up=direction == "up")


def _meant(
    butler: Butler, dataset: str, collections: Sequence[str], where: str
) -> list[DatasetRef]:
    try:
        wanted = uuid.UUID(dataset)
    except ValueError:
        found = butler.query_datasets(dataset, collections=collections, where=where)
        if not found:
            raise click.ClickException(
                f"No {dataset} was found in {', '.join(collections)}"
                + (f" where {where}." if where else ".")
            ) from None
        return found
    known = butler.registry.get_refs([wanted])
    if wanted not in known:
        raise click.ClickException(f"There is no dataset {wanted} in this repository.")
    return [known[wanted]]


def _edge(edge: Edge) -> dict[str, Any]:
    return {
        "input": str(edge.input.id),
        "input_type": edge.input.dataset_type.name,
        "input_data_id": dict(edge.input.data_id),
        "output": str(edge.output.id),
        "output_type": edge.output.dataset_type.name,
        "output_data_id": dict(edge.output.data_id),
        "task": edge.task_label,
        "run": edge.run,
        "quantum": str(edge.quantum_id),
    }


def _dot(edges: Sequence[Edge]) -> str:
    refs = {r.id: r for e in edges for r in (e.input, e.output)}
    lines = ["digraph provenance {", " rankdir=LR; node [shape=box];"]
    for ref in refs.values():
        values = r"\n".join(f"{k}={v}" for k, v in ref.data_id.items())
        label = f"{ref.dataset_type.name}\\n{values}".replace('"', r"\"")
        lines.append(f' "{ref.id}" [label="{label}"];')
    lines += [f' "{e.input.id}" -> "{e.output.id}" [label="{e.task_label}"];' for e in edges]
    return "\n".join([*lines, "}"])


def _tree(
    ref: DatasetRef, edges: Sequence[Edge], makers: dict[uuid.UUID, dict[str, Any]], *, up: bool
) -> None:
    near: dict[uuid.UUID, list[DatasetRef]] = {}
    for edge in edges:
        one, other = (edge.output, edge.input) if up else (edge.input, edge.output)
        near.setdefault(one.id, []).append(other)
    told: set[uuid.UUID] = set()

    def tell(one: DatasetRef, indent: int) -> None:
        maker = makers.get(one.id)
        by = f"  <- {maker['task_label']} in {maker['run']}" if maker else ""
        again = " (see above)" if one.id in told and near.get(one.id) else ""
        click.echo(f"{'  ' * indent}{one.dataset_type.name} {one.data_id!r} {one.id}{by}{again}")
        if one.id in told:
            return
        told.add(one.id)
        for other in near.get(one.id, []):
            tell(other, indent + 1)

    tell(ref, 0)


@click.command()
@click.argument("repo")
@click.argument("run")
@click.argument("task", default="")
@click.option("--changed", is_flag=True, help="Only fields that were set after their default.")
@format_option
def config_history(repo: str, run: str, task: str, changed: bool, style: str) -> None:
    """Tell every value that the fields of TASK[.FIELD] had in RUN, and who set it where."""
    from butler import Butler

    label, _, field = task.partition(".")
    with Butler(repo) as butler:
        rows = butler.registry.provenance.config_history(run, label or None, field or None)
    if changed:
        set_later = {(r["run"], r["task_label"], r["path"]) for r in rows if r["step"] > 0}
        rows = [r for r in rows if (r["run"], r["task_label"], r["path"]) in set_later]
    columns = ("run", "task_label", "path", "step", "value", "origin_kind", "origin", "set_by")
    if style == "table":
        rows = [{k: r[k] for k in columns} for r in rows]
    show(rows, style, columns)


@click.command()
@click.argument("repo")
@click.argument("view", required=False)
@format_option
def report(repo: str, view: str | None, style: str) -> None:
    """Read the reporting view VIEW; without it, list the views and their questions."""
    from registry import reports

    if view is None:
        rows = [{"view": k, "question": v} for k, v in reports.describe().items()]
        show(rows, style, ("view", "question"))
        return
    from butler import Butler

    with Butler(repo) as butler:
        frame = butler.registry.report(view)
    rows = [{str(k): v for k, v in r.items()} for r in frame.to_dict("records")]
    show(rows, style, list(frame.columns))
