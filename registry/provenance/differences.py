"""What differs between the histories of two datasets?

Two histories are compared task by task, by label: inputs, configuration values, packages, classes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.provenance.across import read_across, walk_across
from registry.provenance.settings import configurations, environments

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping, Sequence

    import sqlalchemy as sa

    from registry.provenance.graphs import Graph, Step

__all__ = ["KINDS", "Difference", "differences"]

KINDS = ("input", "task", "configuration", "software", "package")
"""What is compared, in the order in which it is told."""

Values = dict[tuple[str, str], set[str]]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something in which two histories differ.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    where : str
        Dataset type of an input, or labels of the tasks, separated by commas.
    what : str
        Data ID of an input, field of a configuration, name of a package, ...
    first, second : str, optional
        What it is in the one and in the other history; several values are separated by ``|``, and
        there is none where the history has no such input or task.
    """

    kind: str
    where: str
    what: str
    first: str | None
    second: str | None


def differences(
    places: Sequence[sa.Connection], first: uuid.UUID, second: uuid.UUID
) -> list[Difference]:
    """Tell in what the histories of two datasets differ.

    Parameters
    ----------
    places : sequence of sqlalchemy.Connection
        One to each repository in which the histories are followed.

    Returns
    -------
    list of Difference
        In the order of `KINDS`; empty when both were made from the same datasets by the same tasks
        with equal configurations in equal software.
    """
    graphs = [walk_across(places, [i], up=True) for i in (first, second)]
    labels = [_labels(g) for g in graphs]
    shared = labels[0].keys() & labels[1].keys()
    read = [g.datasets.keys() - set(g.roots) for g in graphs]
    alone = [read[0] - read[1], read[1] - read[0]]
    told = [
        *_compared("input", *(_inputs(g, ids) for g, ids in zip(graphs, alone, strict=True))),
        *_compared("task", *(_classes(g) for g in graphs)),
    ]
    for kind, question, column in (
        ("configuration", _fields, "config_id"),
        ("software", _software, "environment_id"),
        ("package", _packages, "environment_id"),
    ):
        # what both tasks had in the same configuration or environment cannot differ
        keys = [
            {name: {getattr(s, column) for s in found[name]} - {None} for name in shared}
            for found in labels
        ]
        unequal = [name for name in sorted(shared) if keys[0][name] != keys[1][name]]
        wanted = {k for one in keys for name in unequal for k in one[name]}
        known = read_across(places, question, wanted)
        told += _compared(kind, *(_by_label(unequal, one, known) for one in keys))
    return told


def _labels(graph: Graph) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = defaultdict(list)
    for step in graph.steps.values():
        found[step.task_label].append(step)
    return dict(found)


def _inputs(graph: Graph, ids: Iterable[uuid.UUID]) -> Values:
    found: Values = defaultdict(set)
    for i in ids:
        ref = graph.datasets[i]
        found[ref.dataset_type.name, repr(ref.data_id)].add(f"{ref.run} {i}")
    return found


def _classes(graph: Graph) -> Values:
    found: Values = defaultdict(set)
    for step in graph.steps.values():
        found[step.task_label, "class"].add(step.task_class)
    return found


def _by_label(
    labels: Sequence[str],
    keys: Mapping[str, set[int]],
    known: Mapping[int, Mapping[str, str]],
) -> Values:
    found: Values = defaultdict(set)
    for label in labels:
        for key in keys[label]:
            for what, value in known.get(key, {}).items():
                found[label, what].add(value)
    return found


def _compared(kind: str, first: Values, second: Values) -> Iterable[Difference]:
    """Give what differs; tasks that differ in the same way become one."""
    where: dict[tuple[str, str | None, str | None], list[str]] = defaultdict(list)
    for place, what in sorted(first.keys() | second.keys()):
        one, two = (
            " | ".join(sorted(side[place, what])) if (place, what) in side else None
            for side in (first, second)
        )
        if one != two:
            where[what, one, two].append(place)
    return [
        Difference(kind, ", ".join(places), what, one, two)
        for (what, one, two), places in where.items()
    ]


def _fields(connection: sa.Connection, ids: set[int]) -> dict[int, dict[str, str]]:
    return {
        key: {path: "None" if v is None else v for path, (v, _) in config.values.items()}
        for key, config in configurations(connection, ids).items()
    }


def _software(connection: sa.Connection, ids: set[int]) -> dict[int, dict[str, str]]:
    return {
        key: {
            "python": software.python,
            "platform": software.platform,
            "code revision": software.code_revision or "none",
        }
        for key, software in environments(connection, ids).items()
    }


def _packages(connection: sa.Connection, ids: set[int]) -> dict[int, dict[str, str]]:
    return {key: software.packages for key, software in environments(connection, ids).items()}
