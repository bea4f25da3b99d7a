"""What was a dataset made from, and what was made of it, over several repositories?

A dataset that came from another repository is known in both by one identity.  Where its history
ends in one, it is followed in the other; the graphs are put together, and each step says where it
is.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from registry import repositories
from registry.provenance.graphs import Graph, Step, distances, walk
from registry.provenance.questions import makers
from registry.provenance.settings import Settings, configurations, environments, locations
from registry.provenance.taints import Taint, facts_about, tainted

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    import sqlalchemy as sa

__all__ = [
    "locations_across",
    "makers_across",
    "read_across",
    "settings_across",
    "taint_across",
    "walk_across",
]

T = TypeVar("T")

_SHIFT = 32
"""Keys of configurations and software are those of one database; here its place comes before."""


def walk_across(
    places: Sequence[sa.Connection],
    ids: Sequence[uuid.UUID],
    *,
    up: bool,
    depth: int | None = None,
) -> Graph:
    """Follow the graph from datasets through several repositories; see `registry.provenance.walk`.

    Parameters
    ----------
    places : sequence of sqlalchemy.Connection
        One to each repository; what two tell differently is as the first one tells it.

    Returns
    -------
    Graph
        Steps have the identity of their repository, and keys of configurations and software as
        `settings_across` takes them.
    """
    if len(places) == 1:
        return walk(places[0], ids, up=up, depth=depth)
    whole = Graph(tuple(dict.fromkeys(ids)), {}, {}, {}, {})
    followed: list[dict[uuid.UUID, int]] = [{} for _ in places]
    left = dict.fromkeys(whole.roots, 0)
    while left:
        for n, place in enumerate(places):
            new = {i: d for i, d in left.items() if followed[n].get(i, d + 1) > d}
            for steps in sorted(set(new.values())):
                starts = [i for i, d in new.items() if d == steps]
                remaining = None if depth is None else depth - steps
                part = walk(place, starts, up=up, depth=remaining)
                _add(whole, part, n, repositories.identity(place))
                followed[n] |= dict.fromkeys(starts, steps)
                for i, beyond in distances(part, up=up).items():
                    d = 0 if depth is None else steps + beyond
                    followed[n][i] = min(d, followed[n].get(i, d))
        roots = tuple(i for i in whole.roots if i in whole.datasets)
        reached = distances(replace(whole, roots=roots), up=up) if roots else {}
        if depth is None:
            reached = dict.fromkeys(reached, 0)
        left = {
            i: d
            for i, d in reached.items()
            if (depth is None or d < depth) and any(f.get(i, d + 1) > d for f in followed)
        }
    return replace(whole, roots=tuple(i for i in whole.roots if i in whole.datasets))


def _add(whole: Graph, part: Graph, n: int, repository_id: uuid.UUID) -> None:
    for dataset, ref in part.datasets.items():
        whole.datasets.setdefault(dataset, ref)
    for quantum, step in part.steps.items():
        if quantum not in whole.steps:
            whole.steps[quantum] = _placed(step, n, repository_id)
    for mine, theirs in ((whole.reads, part.reads), (whole.makes, part.makes)):
        for quantum, links in theirs.items():
            mine[quantum] = list(dict.fromkeys([*mine.get(quantum, ()), *links]))


def _placed(step: Step, n: int, repository_id: uuid.UUID) -> Step:
    software = step.environment_id
    return replace(
        step,
        config_id=step.config_id | n << _SHIFT,
        environment_id=None if software is None else software | n << _SHIFT,
        repository_id=repository_id,
    )


def settings_across(places: Sequence[sa.Connection], graph: Graph) -> Settings:
    """Read the configurations and software of the quanta of a graph from `walk_across`."""
    steps = graph.steps.values()
    software = {s.environment_id for s in steps if s.environment_id is not None}
    return Settings(
        repositories.identity(places[0]),
        read_across(places, configurations, {s.config_id for s in steps}),
        read_across(places, environments, software),
    )


def read_across(
    places: Sequence[sa.Connection],
    question: Callable[[sa.Connection, set[int]], Mapping[int, T]],
    keys: Iterable[int],
) -> dict[int, T]:
    """Read configurations or software by keys as steps from `walk_across` have them."""
    of_place: dict[int, set[int]] = defaultdict(set)
    for key in keys:
        of_place[key >> _SHIFT].add(key & ((1 << _SHIFT) - 1))
    return {
        key | n << _SHIFT: value
        for n, wanted in sorted(of_place.items())
        for key, value in question(places[n], wanted).items()
    }


def locations_across(
    places: Sequence[sa.Connection], ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, str]:
    """Tell where datasets lie, each in the first repository that has a copy of it."""
    found: dict[uuid.UUID, str] = {}
    for place in places:
        found = locations(place, ids) | found
    return found


def makers_across(
    places: Sequence[sa.Connection], ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, dict[str, Any]]:
    """Tell what made datasets, and in which repository; see `registry.provenance.makers`."""
    found: dict[uuid.UUID, dict[str, Any]] = {}
    for place in places:
        identity = repositories.identity(place)
        here = makers(place, [i for i in ids if i not in found])
        found |= {i: {**maker, "repository_id": identity} for i, maker in here.items()}
    return found


def taint_across(places: Sequence[sa.Connection], ids: Sequence[uuid.UUID]) -> Taint:
    """Tell what is tainted in all repositories; see `registry.provenance.taints.taint`."""
    graph = walk_across(places, ids, up=False)
    return tainted(graph, [facts_about(place, list(graph.datasets)) for place in places])
