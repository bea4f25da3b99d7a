"""Is a history that goes through several repositories told as if it were in one?"""

from __future__ import annotations

import contextlib
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry import Registry, portable, transfer
from registry.errors import UnknownPackage
from registry.identity import uuid7
from registry.provenance.across import settings_across, walk_across
from registry.provenance.door import Provenance
from registry.provenance.graphs import nearest_first
from tests.registry.provenance_graphs import NODE, Task, make, nodes
from tests.registry.test_provenance_graphs import DAGS, steps_of, walked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from registry import DatasetRef
    from tests.databases import Databases

RUNS = count()


@pytest.fixture(scope="module")
def places(engines: list[Databases]) -> Iterator[list[Registry]]:
    """Registries of three repositories, on as many kinds of databases as there are."""
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(maker.migrated()) for maker in engines]
        opened = [stack.enter_context(Registry.connect(url)) for url in urls]
        for registry in opened:
            nodes(registry, 0, "none")
        yield opened


def adopt(places: Sequence[Registry], ref: DatasetRef, home: int, into: int) -> None:
    """Let a dataset of one registry be known in another."""
    with places[home].read() as connection:
        rows = transfer.read_rows(connection, [ref])
    with places[into].begin() as connection:
        transfer.write_rows(connection, rows, foreign=True)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    dag=DAGS,
    where=st.lists(st.integers(0, 2), min_size=14, max_size=14),
    start=st.integers(0, 60),
    depth=st.one_of(st.none(), st.integers(0, 6)),
    up=st.booleans(),
)
def test_a_walk_through_three_repositories_is_that_through_one(
    places: list[Registry],
    dag: list[tuple[set[int], int]],
    where: list[int],
    start: int,
    depth: int | None,
    up: bool,
) -> None:
    run = f"run{next(RUNS)}"
    steps = steps_of(dag, 2)
    homes = {0: where[12], 1: where[13]}
    for n, (_, made) in enumerate(steps):
        homes |= dict.fromkeys(made, where[n])
    refs: dict[int, DatasetRef] = {}
    for n, home in homes.items():
        places[home].register_collection(run)
        data_id = {"instrument": "Cam", "healpix": n}
        [refs[n]] = places[home].insert_datasets(NODE, [data_id], run)
    for n, (read, made) in enumerate(steps):
        at = where[n]
        for i in read:
            adopt(places, refs[i], homes[i], at)
        task = Task(f"{run}/{n}", "t")
        make(places[at], task, [([refs[i] for i in read], [refs[i] for i in made], "done")])
    numbers = {ref.id: n for n, ref in refs.items()}
    asked = start % len(refs)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(place.read()) for place in places]
        graph = walk_across(opened, [refs[asked].id, uuid7()], up=up, depth=depth)
    told = {(numbers[e.input.id], numbers[e.output.id]) for e in graph.edges()}
    assert told == walked(steps, asked, depth, up=up)
    assert graph.roots == (refs[asked].id,)
    for step in graph.steps.values():
        assert step.repository_id == places[where[int(step.run.rpartition("/")[2])]].id


class Chain:
    """A raw in the first repository, a flat of it in the second, a calexp of both in the third."""

    def __init__(self, places: Sequence[Registry]) -> None:
        run = f"run{next(RUNS)}"
        self.places = places
        [self.raw] = nodes(places[0], 1, f"{run}/raw")
        [self.flat] = nodes(places[1], 1, f"{run}/flat")
        [self.calexp] = nodes(places[2], 1, f"{run}/calexp")
        adopt(places, self.raw, 0, 1)
        for ref, home in ((self.raw, 0), (self.flat, 1)):
            adopt(places, ref, home, 2)
        combine = Task(f"{run}/flat", "combine", {"clip": "3.0"}, {"numpy": "2.0"})
        make(places[1], combine, [([self.raw], [self.flat], "done")])
        isr = Task(f"{run}/calexp", "isr", {"clip": "5.0"}, {"numpy": "2.1"})
        make(places[2], isr, [([self.raw, self.flat], [self.calexp], "done")])
        self.door = Provenance(places[2], [places[1], places[0]])


@pytest.fixture
def chain(places: list[Registry]) -> Chain:
    return Chain(places)


def test_steps_say_in_which_repository_they_are(chain: Chain) -> None:
    told = [
        (e.input, e.output, e.task_label, e.repository_id)
        for e in chain.door.ancestors(chain.calexp.id)
    ]
    third, second = chain.places[2].id, chain.places[1].id
    assert set(told[:2]) == {
        (chain.raw, chain.calexp, "isr", third),
        (chain.flat, chain.calexp, "isr", third),
    }
    assert told[2:] == [(chain.raw, chain.flat, "combine", second)]
    below = {e.output for e in chain.door.descendants(chain.raw.id)}
    assert below == {chain.flat, chain.calexp}
    makers = chain.door.makers(chain.calexp.id, chain.flat.id, chain.raw.id)
    assert {i: m["repository_id"] for i, m in makers.items()} == {
        chain.calexp.id: third,
        chain.flat.id: second,
    }
    flat = makers[chain.flat.id]
    assert chain.door.packages(flat["environment_id"], second) == {"numpy": "2.0"}


def test_configurations_and_software_are_those_of_each_repository(chain: Chain) -> None:
    with chain.door.places() as opened:
        graph = walk_across(opened, [chain.calexp.id], up=True)
        told = settings_across(opened, graph)
    found = {
        s.task_label: (
            told.configurations[s.config_id].values["clip"][0],
            told.environments[s.environment_id or 0].packages["numpy"],
        )
        for s in graph.steps.values()
    }
    assert found == {"combine": ("3.0", "2.0"), "isr": ("5.0", "2.1")}
    assert [e.task_label for e in nearest_first(graph, up=True)] == ["isr", "isr", "combine"]


@pytest.mark.parametrize("style", ["prov", "ivoa", "openlineage", "mermaid", "dot"])
def test_exports_hold_the_whole_history(chain: Chain, style: str) -> None:
    text = chain.door.export(chain.calexp.id, format=style)
    assert "combine" in text
    assert "isr" in text


def test_a_taint_goes_from_a_withdrawn_raw_to_the_output(chain: Chain) -> None:
    found = chain.door.taint(chain.raw.id)
    assert [(d.ref, d.steps, d.task_label) for d in found.datasets[:1]] == [(chain.raw, 0, None)]
    assert {(d.ref, d.steps) for d in found.datasets[1:]} == {(chain.flat, 1), (chain.calexp, 1)}
    assert chain.door.refs(chain.raw.id, chain.calexp.id, uuid7()) == {
        chain.raw.id: chain.raw,
        chain.calexp.id: chain.calexp,
    }


def test_histories_are_compared_over_all_repositories(chain: Chain) -> None:
    other = Chain(chain.places)
    run = f"run{next(RUNS)}"
    [again] = nodes(chain.places[2], 1, f"{run}/calexp")
    isr = Task(f"{run}/calexp", "isr", {"clip": "5.0"}, {"numpy": "2.1"})
    make(chain.places[2], isr, [([other.raw, other.flat], [again], "done")])
    door = chain.door
    # the same tasks with equal settings, two of the three steps recorded in other repositories
    told = door.differences(chain.calexp.id, other.calexp.id)
    assert {d.kind for d in told} == {"input"}
    assert door.differences(again.id, other.calexp.id) == []
    # of the calexp's history the flat's has not the last task
    told = [d for d in door.differences(chain.flat.id, chain.calexp.id) if d.kind == "task"]
    assert [(d.where, d.what, d.first) for d in told] == [("isr", "class", None)]


def test_what_a_package_made_in_all_repositories_counts_once(places: list[Registry]) -> None:
    name = f"pkg{next(RUNS)}"
    run = f"run{next(RUNS)}"
    refs = {}
    for n, version in enumerate(("1.0", "1.0", "2.0")):
        [raw, made] = nodes(places[n], 2, run)
        refs[n] = made
        make(places[n], Task(run, "isr", packages={name: version}), [([raw], [made], "done")])
    door = Provenance(places[0], places[1:])
    assert [(m.version, m.n_datasets) for m in door.made_with(name)] == [("1.0", 2), ("2.0", 1)]
    assert set(door.datasets_made_with(name)) == set(refs.values())
    assert door.datasets_made_with(f"{name}>1") == [refs[2]]
    # a dataset that went to another with its history counts once
    elsewhere = Task(f"{run}/went", "isr", packages={name: "1.0"})
    [raw, went] = nodes(places[0], 2, f"{run}/went")
    make(places[0], elsewhere, [([raw], [went], "done")])
    for into in places[1:]:
        with places[0].read() as connection:
            rows = transfer.read_rows(connection, [raw, went])
            history = portable.read_history(connection, [went.id])
        with into.begin() as connection:
            transfer.write_rows(connection, rows, foreign=False)
            portable.write_history(connection, history)
        assert into.provenance.datasets_made_with(f"{name}<2").count(went) == 1
    told = [(m.version, m.run, m.n_datasets) for m in door.made_with(name)]
    assert told == [("1.0", run, 2), ("1.0", f"{run}/went", 1), ("2.0", run, 1)]
    assert set(door.datasets_made_with(name)) == {went, *refs.values()}
    # in the middle only: known although the first has no such package
    [raw, made] = nodes(places[1], 2, run + "b")
    make(places[1], Task(run + "b", "isr", packages={name + "x": "3"}), [([raw], [made], "done")])
    assert [(m.version, m.run, m.n_datasets) for m in door.made_with(name + "x")] == [
        ("3", run + "b", 1)
    ]
    with pytest.raises(UnknownPackage, match=f"no package '{name}y'"):
        door.made_with(f"{name}y")
