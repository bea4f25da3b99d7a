from __future__ import annotations

from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.database import insert_rows
from registry.datasets import insert_data_ids
from registry.errors import UnknownCollection
from registry.identity import uuid7
from registry.provenance import graph_of_run, walk
from registry.schema import provenance as schema
from tests.registry.provenance_graphs import Task, make, nodes

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from registry import DatasetRef, Registry

RUNS = count()

# A quantum reads earlier datasets and makes the next one to three.
DAGS = st.lists(
    st.tuples(st.sets(st.integers(0, 40), max_size=4), st.integers(1, 3)), min_size=1, max_size=12
)


def steps_of(
    dag: Sequence[tuple[set[int], int]], n_first: int
) -> list[tuple[list[int], list[int]]]:
    steps, known = [], n_first
    for chosen, n in dag:
        steps.append((sorted({i % known for i in chosen}), list(range(known, known + n))))
        known += n
    return steps


def walked(
    steps: Sequence[tuple[list[int], list[int]]], start: int, depth: int | None, *, up: bool
) -> set[tuple[int, int]]:
    """Follow the steps one dataset at a time."""
    beyond: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for reads, makes in steps:
        for i in reads:
            for o in makes:
                beyond[o if up else i].add((i, o))
    edges, front, seen, level = set(), {start}, {start}, 0
    while front and (depth is None or level < depth):
        found = {edge for node in front for edge in beyond[node]}
        edges |= found
        front = {edge[0] if up else edge[1] for edge in found} - seen
        seen |= front
        level += 1
    return edges


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(dag=DAGS, n_first=st.integers(1, 3), depth=st.integers(1, 4))
def test_walks_equal_brute_force(
    shared: Registry, dag: list[tuple[set[int], int]], n_first: int, depth: int
) -> None:
    run = f"dag{next(RUNS)}"
    steps = steps_of(dag, n_first)
    refs = nodes(shared, n_first + sum(n for _, n in dag), run)
    number = {r.id: i for i, r in enumerate(refs)}
    make(
        shared,
        Task(run, "t"),
        [([refs[i] for i in reads], [refs[o] for o in makes], "done") for reads, makes in steps],
    )
    for start in {0, len(refs) // 2, len(refs) - 1}:
        for limit in (None, depth):
            for question, up in (
                (shared.provenance.ancestors, True),
                (shared.provenance.descendants, False),
            ):
                told = question(refs[start].id, depth=limit)
                edges = [(number[e.input.id], number[e.output.id]) for e in told]
                assert len(edges) == len(set(edges))
                assert set(edges) == walked(steps, start, limit, up=up), (start, limit, up)
                near = [o if up else i for i, o in edges]
                distance = {
                    node: min(
                        d
                        for d in range(len(refs) + 1)
                        if node == start
                        or any(node == (i if up else o) for i, o in walked(steps, start, d, up=up))
                    )
                    for node in near
                }
                assert [distance[n] for n in near] == sorted(distance[n] for n in near)


def chained(registry: Registry, run: str, reads: Sequence[Sequence[int]]) -> list[DatasetRef]:
    """Make dataset i from the datasets of the i-th list, in bulk; an empty one has no maker."""
    refs = nodes(registry, len(reads), run)
    (key,) = make(registry, Task(run, "t"), [((), (), "done")])
    made = [(uuid7(), n) for n, of in enumerate(reads) if of]
    with registry.begin() as connection:
        table = schema.quantum
        task = connection.execute(table.select().where(table.c.id == key)).mappings().one()
        data_ids = [r.data_id.without(["instrument"]) for r in refs]
        keys = insert_data_ids(connection, data_ids)
        insert_rows(
            connection,
            table,
            [{**task, "id": q, "data_id": keys[data_ids[n]]} for q, n in made],
        )
        insert_rows(
            connection,
            schema.quantum_output,
            [{"dataset_id": refs[n].id, "quantum_id": q, "connection": "out"} for q, n in made],
        )
        insert_rows(
            connection,
            schema.quantum_input,
            [
                {"quantum_id": q, "dataset_id": refs[i].id, "connection": "in"}
                for q, n in made
                for i in reads[n]
            ],
        )
    return refs


def test_chain_of_1500_steps_is_walked_to_its_end(registry: Registry) -> None:
    refs = chained(registry, "run", [[n - 1] if n else [] for n in range(1501)])
    told = registry.provenance.ancestors(refs[-1].id)
    assert [e.output for e in told] == refs[:0:-1]
    told = registry.provenance.descendants(refs[0].id)
    assert [e.output for e in told] == refs[1:]


def test_many_ways_to_a_dataset_are_walked_once(registry: Registry) -> None:
    # each reads the two before, so that there are more than 10^20 ways of all lengths to the first
    refs = chained(registry, "run", [list(range(max(n - 2, 0), n)) for n in range(120)])
    assert len(registry.provenance.ancestors(refs[-1].id)) == 2 * 119 - 1
    assert len(registry.provenance.descendants(refs[0].id)) == 2 * 119 - 1
    # the last, and the two pairs that are one and two steps from it
    assert len(registry.provenance.ancestors(refs[-1].id, depth=3)) == 2 * 5


def test_walk_leaves_out_what_is_beside_the_way(registry: Registry) -> None:
    a, b, c, sibling, other = nodes(registry, 5, "run")
    task = Task("run", "t")
    first, second, failed = make(
        registry,
        task,
        [([a, other], [b, sibling], "done"), ([b], [c], "done"), ([b], [], "failed")],
    )
    unknown = uuid7()
    with registry.read() as connection:
        up = walk(connection, [c.id, unknown], up=True)
        down = walk(connection, [a.id, a.id], up=False)
        assert walk(connection, [unknown], up=True).datasets == {}
        assert not list(walk(connection, [c.id], up=True, depth=0).edges())
    assert (up.roots, down.roots) == ((c.id,), (a.id,))
    assert set(up.datasets) == {a.id, b.id, c.id, other.id}
    assert set(down.datasets) == {a.id, b.id, c.id, sibling.id}
    assert set(up.steps) == set(down.steps) == {first, second}
    assert failed not in down.steps
    assert up.maker_of()[b.id].id == first
    assert up.steps[first].data_id == {"instrument": "Cam", "healpix": 0}
    assert up.makes[first] == [("out", b.id)]
    assert set(up.reads[first]) == {("in", a.id), ("in", other.id)}
    assert down.reads[first] == [("in", a.id)]


def test_graph_of_a_run_has_every_quantum_whatever_became_of_it(registry: Registry) -> None:
    raw = nodes(registry, 3, "raw")
    made = nodes(registry, 3, "out/1")
    more = nodes(registry, 1, "out/2")
    ids: list[uuid.UUID] = make(
        registry,
        Task("out/1", "reduce"),
        [
            ([raw[0]], [made[0]], "done"),
            ([raw[1]], [], "failed"),
            ([raw[2]], [], "running"),
            ([raw[2]], [], "no_work"),
            ([made[0]], [], "ready"),
        ],
    )
    later = make(registry, Task("out/2", "stack"), [([made[0], raw[1]], more, "done")])
    registry.chain("out", ["out/2", "out/1"])
    with registry.read() as connection:
        one, both = (graph_of_run(connection, run) for run in ("out/1", "out"))
        with pytest.raises(UnknownCollection):
            graph_of_run(connection, "nothing")
    states = [one.steps[i].state for i in ids]
    assert states == ["done", "failed", "running", "no_work", "ready"]
    assert one.steps[ids[1]].problem == "ValueError: no stars"
    assert one.steps[ids[0]].problem is None
    assert one.steps[ids[-1]].environment_id is None
    assert set(one.datasets) == {*(r.id for r in raw), made[0].id}
    assert set(both.steps) == {*ids, *later}
    assert both.makes == {ids[0]: [("out", made[0].id)], later[0]: [("out", more[0].id)]}
    assert {(e.input, e.output, e.task_label) for e in both.edges()} == {
        (raw[0], made[0], "reduce"),
        (made[0], more[0], "stack"),
        (raw[1], more[0], "stack"),
    }
