"""Commands that tell how things came to be: provenance, taint, made-with, config-history, ..."""

from __future__ import annotations

import json
import uuid
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workflow.commands.tables import format_option, show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import sqlalchemy as sa

    from butler import Butler
    from registry import DatasetRef
    from registry.provenance import Edge, Graph

FORMATS = ("tree", "json", "prov", "ivoa", "openlineage", "mermaid", "dot", "svg")


def _which_dataset(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose datasets when a dataset type is given."""
    function = click.option("--where", default="", help="Which datasets of the type are meant.")(
        function
    )
    return click.option(
        "--collections", "-i", default="*", help="Where a dataset type is searched."
    )(function)


@click.command()
@click.argument("repo")
@click.argument("dataset", required=False)
@_which_dataset
@click.option("--run", help="Instead of DATASET: the whole graph of a RUN, or of a chain's runs.")
@click.option("--up", "direction", flag_value="up", default="up", help="What it was made from.")
@click.option("--down", "direction", flag_value="down", help="What was made of it.")
@click.option("--depth", type=click.IntRange(min=1), help="At most so many steps.")
@click.option(
    "--format",
    "style",
    type=click.Choice(FORMATS),
    default="tree",
    show_default=True,
    help="tree for a terminal; prov is PROV-JSON of the W3C; dot is for Graphviz.",
)
@click.option("--merge", is_flag=True, help="In pictures: one box per dataset type and run.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write to this file; for ivoa, a folder gets one CSV file per table.",
)
def provenance(
    repo: str,
    dataset: str | None,
    collections: str,
    where: str,
    run: str | None,
    direction: str,
    depth: int | None,
    style: str,
    merge: bool,
    output: Path | None,
) -> None:
    """Tell what DATASET (a UUID, or a dataset type with --where) was made from, or what of it."""
    from butler import Butler
    from registry.provenance import across, exports, graphs, ivoa

    if (dataset is None) == (run is None):
        raise click.UsageError("Name either a DATASET or a --run.")
    up = direction == "up"
    with Butler(repo) as butler, butler.provenance.places() as places:
        if run is not None:
            graph = graphs.graph_of_run(places[0], run)
        else:
            refs = _meant(butler, str(dataset), collections.split(","), where)
            graph = across.walk_across(places, [r.id for r in refs], up=up, depth=depth)
        if style == "json":
            edges = graph.edges() if run is not None else graphs.nearest_first(graph, up=up)
            text = json.dumps([_edge(e, _roots(butler)) for e in edges], indent=1) + "\n"
        elif style == "tree" and run is not None:
            text = _summary(graph)
        elif style == "tree":
            roots = _roots(butler)
            of = _homes(butler, places, graph)
            lines = [line for ref in refs for line in _tree(ref, graph, roots, of, up=up)]
            text = "".join(f"{line}\n" for line in lines)
        elif style == "ivoa" and output is not None and (output.is_dir() or not output.suffix):
            told = ivoa.tables(
                graph,
                across.settings_across(places, graph),
                across.locations_across(places, list(graph.datasets)),
            )
            for path in ivoa.write_csv(told, output):
                click.echo(path)
            return
        else:
            text = exports.written(places, graph, style, merged=merge)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text)


def _meant(
    butler: Butler, dataset: str, collections: Sequence[str], where: str
) -> list[DatasetRef]:
    try:
        wanted = uuid.UUID(dataset)
    except ValueError:
        found = butler.query_datasets(dataset, collections=collections, where=where)
        if not found:
            raise click.ClickException(
                f"No dataset of type {dataset} is in "
                + ("any collection" if list(collections) == ["*"] else ", ".join(collections))
                + (f" where {where}." if where else ".")
            ) from None
        return found
    known = butler.provenance.refs(wanted)
    if wanted not in known:
        inputs = " or its inputs" if butler.inputs else ""
        raise click.ClickException(f"There is no dataset {wanted} in this repository{inputs}.")
    return [known[wanted]]


def _roots(butler: Butler) -> dict[uuid.UUID | None, str]:
    """Name the folders of the inputs, by their identity."""
    return {place.id: str(place.root) for place in butler.inputs}


def _homes(butler: Butler, places: Sequence[sa.Connection], graph: Graph) -> dict[uuid.UUID, str]:
    """Name by dataset the folder of the input that has its files."""
    from registry import repositories
    from registry.datasets import get_refs

    found: dict[uuid.UUID, str] = {}
    for connection, place in zip(places, butler.places, strict=True):
        known = list(get_refs(connection, [i for i in graph.datasets if i not in found]))
        foreign = repositories.homes_of(connection, known)
        found |= {i: str(place.root) for i in known if i not in foreign}
    return {i: root for i, root in found.items() if root != str(butler.root)}


def _edge(edge: Edge, roots: Mapping[uuid.UUID | None, str]) -> dict[str, Any]:
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
        **({"repository": roots[edge.repository_id]} if edge.repository_id in roots else {}),
    }


def _tree(
    ref: DatasetRef,
    graph: Graph,
    roots: Mapping[uuid.UUID | None, str],
    of: Mapping[uuid.UUID, str],
    *,
    up: bool,
) -> list[str]:
    makers = graph.maker_of()
    near: dict[uuid.UUID, list[DatasetRef]] = defaultdict(list)
    for edge in graph.edges():
        one, other = (edge.output, edge.input) if up else (edge.input, edge.output)
        near[one.id].append(other)
    told: set[uuid.UUID] = set()
    lines = []
    left = [(ref, 0)]
    while left:
        one, indent = left.pop()
        maker = makers.get(one.id)
        by = f"  <- {maker.task_label} in {maker.run}" if maker else ""
        if maker and maker.repository_id in roots:
            by += f" of {roots[maker.repository_id]}"
        elif not maker and one.id in of:
            by = f"  of {of[one.id]}"
        again = " (see above)" if one.id in told and near.get(one.id) else ""
        shown = f"{one.dataset_type.name} {one.data_id!r} {one.id}{by}{again}"
        lines.append(f"{'  ' * indent}{shown}")
        if one.id not in told:
            told.add(one.id)
            others = sorted(near.get(one.id, ()), key=lambda r: (r.dataset_type.name, r.id.int))
            left += [(other, indent + 1) for other in reversed(others)]
    return lines


def _summary(graph: Graph) -> str:
    """Tell a run task by task: how its quanta fared, what they read and made, in numbers."""
    quanta: dict[tuple[str, str], list[uuid.UUID]] = defaultdict(list)
    for step in graph.steps.values():
        quanta[step.run, step.task_label].append(step.id)

    def told(links: dict[uuid.UUID, list[tuple[str, uuid.UUID]]], of: list[uuid.UUID]) -> str:
        found = {i for q in of for _, i in links.get(q, ())}
        counted = Counter(graph.datasets[i].dataset_type.name for i in found)
        return ", ".join(f"{n:,} {kind}" for kind, n in sorted(counted.items())) or "nothing"

    lines, last = [], None
    for (run, label), ids in quanta.items():
        if run != last:
            lines.append(run)
            last = run
        states = Counter(graph.steps[q].state for q in ids)
        fared = ", ".join(f"{n:,} {state}" for state, n in sorted(states.items()))
        lines.append(f"  {label}: {fared}; {told(graph.reads, ids)} -> {told(graph.makes, ids)}")
    return "".join(f"{line}\n" for line in lines or ["no quantum"])


@click.command()
@click.argument("repo")
@click.argument("dataset")
@_which_dataset
@format_option
def taint(repo: str, dataset: str, collections: str, where: str, style: str) -> None:
    """Tell what is tainted if DATASET (a UUID, or a dataset type with --where) is withdrawn.

    A row for each: what is withdrawn (0 steps), its products, where they are certified and tagged;
    then the quanta that are not done and would read one of them.
    """
    from butler import Butler

    with Butler(repo) as butler:
        refs = _meant(butler, dataset, collections.split(","), where)
        found = butler.provenance.taint(*(r.id for r in refs))
    rows: list[dict[str, Any]] = [
        {
            "steps": d.steps,
            "what": f"{d.ref.dataset_type.name} {d.ref.data_id!r}",
            "id": d.ref.id,
            "run": d.ref.run,
            "task": d.task_label,
            "state": "stored" if d.stored else "not stored",
            "certified": "; ".join(f"{name} {span}" for name, span in d.certified),
            "tagged": "; ".join(d.tagged),
        }
        for d in found.datasets
    ]
    rows += [
        {
            "steps": None,
            "what": "quantum",
            "id": w.quantum_id,
            "run": w.run,
            "task": w.task_label,
            "state": w.state,
            "certified": "",
            "tagged": "",
        }
        for w in found.waiting
    ]
    columns = ("steps", "what", "id", "run", "task", "state", "certified", "tagged")
    show(rows, style, columns)
    if style == "table":
        withdrawn = sum(not d.steps for d in found.datasets)
        used = sum(bool(d.certified or d.tagged) for d in found.datasets)
        runs = "; ".join(f"{n:,} in {run}" for run, n in sorted(found.runs().items()))
        click.echo(
            f"Withdrawn: {withdrawn:,}; made from it: {len(found.datasets) - withdrawn:,}"
            f"{f' ({runs})' if runs else ''}; certified or tagged: {used:,}; "
            f"quanta that wait: {len(found.waiting):,}."
        )


@click.command()
@click.argument("repo")
@click.argument("first", type=click.UUID)
@click.argument("second", type=click.UUID)
@format_option
def compare_histories(repo: str, first: uuid.UUID, second: uuid.UUID, style: str) -> None:
    """Tell in what the histories of two datasets differ; FIRST and SECOND are UUIDs.

    Compared are inputs, tasks, configuration values, Python and code revision, and packages.
    """
    from butler import Butler

    with Butler(repo) as butler:
        for one in (first, second):
            _meant(butler, str(one), (), "")
        found = butler.provenance.differences(first, second)
    columns = ("kind", "where", "what", "first", "second")
    show([{c: getattr(d, c) for c in columns} for d in found], style, columns)


@click.command()
@click.argument("repo")
@click.argument("package")
@click.option("--datasets", is_flag=True, help="List the datasets instead of counting them.")
@format_option
def made_with(repo: str, package: str, datasets: bool, style: str) -> None:
    """Tell what was made with which version of PACKAGE.

    PACKAGE is a distribution or python, with versions if wanted: astropy, 'astropy<7.1',
    numpy==2.0.1.
    """
    from butler import Butler

    with Butler(repo) as butler:
        asked = butler.provenance
        if datasets:
            refs = asked.datasets_made_with(package)
            rows: list[dict[str, Any]] = [
                {
                    "id": r.id,
                    "dataset_type": r.dataset_type.name,
                    "data_id": repr(r.data_id),
                    "run": r.run,
                }
                for r in refs
            ]
            show(rows, style, ("id", "dataset_type", "data_id", "run"))
            return
        columns = ("version", "run", "task_label", "dataset_type", "n_datasets", "first", "last")
        found = asked.made_with(package)
    show([{c: getattr(m, c) for c in columns} for m in found], style, columns)


@click.command()
@click.argument("repo")
@click.argument("run")
@click.argument("task", default="")
@click.option("--changed", is_flag=True, help="Only fields that were set after their default.")
@format_option
def config_history(repo: str, run: str, task: str, changed: bool, style: str) -> None:
    """Tell every value that the fields of TASK[.FIELD] had in RUN, and who set it where.

    `selection` says which data IDs a value is for; of those with a configuration of their own, only
    fields are told that came to their values otherwise.
    """
    from butler import Butler
    from registry.errors import did_you_mean

    label, _, field = task.partition(".")
    with Butler(repo) as butler:
        rows = butler.registry.provenance.config_history(run, label or None, field or None)
        every = rows or butler.registry.provenance.config_history(run)
    if not rows and label:
        fields = [r["path"] for r in every if r["task_label"] == label]
        labels = sorted({r["task_label"] for r in every})
        raise click.ClickException(
            f"The task '{label}' of '{run}' has no field '{field}'.{did_you_mean(field, fields)}"
            if fields
            else f"'{run}' has no task '{label}'.{did_you_mean(label, labels)}"
        )
    rows = _apart(rows, changed=changed)
    columns = (
        "run",
        "task_label",
        "selection",
        "path",
        "step",
        "value",
        "origin_kind",
        "origin",
        "set_by",
    )
    if style == "table":
        rows = [{k: r[k] for k in columns} for r in rows]
    show(rows, style, columns)


def _apart(rows: Sequence[dict[str, Any]], *, changed: bool) -> list[dict[str, Any]]:
    """Leave out what is told of a task already, and what was not set after its default."""
    told: dict[tuple[str, str, str], dict[str | None, list[dict[str, Any]]]] = {}
    for row in rows:
        field = (row["run"], row["task_label"], row["path"])
        told.setdefault(field, {}).setdefault(row["selection"], []).append(row)
    kept: list[dict[str, Any]] = []
    for of_field in told.values():
        whole = [(r["value"], r["origin"]) for r in of_field.get(None, ())]
        for selection, steps in of_field.items():
            same = selection is not None and [(r["value"], r["origin"]) for r in steps] == whole
            if not same and (len(steps) > 1 or not changed):
                kept += steps
    return kept
