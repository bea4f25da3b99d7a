"""Can any engine execute a planned run, quantum by quantum, and foresee what it will take?"""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from backbone import endpoints
from butler import Butler
from registry import plans, provenance
from registry.schema.files import endpoint, file, replica
from registry.schema.provenance import quantum
from tests.workflow import fault_tasks, faults, hungry_tasks
from workflow.cli import root as command
from workflow.pipeline import Pipeline
from workflow.planned_runs import move_on
from workflow.runner import run_pipeline
from workflow.single_quantum import execute_quantum

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FRAGILE = f"""
description: frames, one of which breaks
tasks:
  one:
    class: {hungry_tasks.__name__}.BreakTask
    config: {{at: 2}}
    resources: {{cores: 2, memory_per_core: 700, walltime_guess: 36}}
"""


@pytest.fixture
def butler(tmp_path: Path, database_url: str) -> Iterator[Butler]:
    """Repository with six small frames of two nights."""
    with Butler.create(tmp_path / "repo", database_url) as made:
        faults.fill(made)
        yield made


def planned(butler: Butler, output: str, text: str = fault_tasks.PIPELINE, **how: Any) -> str:
    pipeline = Pipeline.from_yaml(text)
    report = run_pipeline(
        butler.root, pipeline, inputs=[faults.INPUT], output=output, plan_only=True, **how
    )
    return report.run


def call(*words: object) -> Result:
    return CliRunner().invoke(command, [str(w) for w in words], standalone_mode=False)


def test_what_tasks_make_does_not_tell_who_had_them_executed(butler: Butler) -> None:
    """A run, one with workers, one under the debugger's eye, and an engine leave the same."""
    faults.run(butler.root, "home")
    faults.run(butler.root, "workers", 2)
    faults.run(butler.root, "looked-into", on_error=print)
    run = planned(butler, "engine")
    rounds = []
    while found := move_on(butler, "engine"):
        rounds.append(sorted((q.task, int(q.data_id.get("exposure", 0))) for q in found))
        for one in found:
            assert execute_quantum(butler.root, one.id).outcome in ("done", "no_work")
    frames = range(1, 7)
    assert rounds == [
        [("level", 0)] * 2,
        [("subtract", n) for n in frames],
        [("find", n) for n in frames],
        [("gather", 0)],
    ]
    left = faults.left_by(butler, "home")
    for output in ("workers", "looked-into", "engine"):
        assert faults.left_by(butler, output) == left
    faults.assert_sound(butler, repair=False)
    [chain] = butler.registry.collections("engine")
    assert chain.children[0] == run


def test_of_two_that_take_one_quantum_one_does_it(butler: Butler) -> None:
    planned(butler, "engine")
    [first, _] = move_on(butler, "engine")
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda i: execute_quantum(butler.root, i), [first.id] * 2))
    assert sorted(r.outcome for r in reports) == ["done", "not-taken"]
    assert sorted(r.status for r in reports) == [0, 3]


def test_what_must_wait_waits_and_what_failed_is_tried_again(butler: Butler) -> None:
    run = planned(butler, "engine")
    with butler.registry.read() as connection:
        rows = provenance.quanta_of_run(connection, run, states=("ready",))
    later = {q["label"]: q["id"] for q in rows}
    early = execute_quantum(butler.root, later["subtract"])
    assert (early.status, early.error) == (
        4,
        "It waits for calibrations of its run; see: skyspine plan next.",
    )
    waits = execute_quantum(butler.root, later["gather"])
    assert (waits.status, waits.outcome) == (4, "waiting")
    planned(butler, "fragile", FRAGILE)
    found = {int(q.data_id["exposure"]): q.id for q in move_on(butler, "fragile")}
    failed = execute_quantum(butler.root, found[2])
    assert (failed.status, failed.error_kind, failed.error) == (
        1,
        "error",
        "KeyError: 'brightness'",
    )
    assert execute_quantum(butler.root, found[2]).error == "It has failed; --retry tries it again."
    again = execute_quantum(butler.root, found[2], retry=True)
    assert again.status == 1
    with butler.registry.read() as connection:
        [row] = provenance.quanta_of_run(connection, failed.run, ids=[found[2]])
    assert row["attempt"] == 2


def test_a_quantum_of_a_dead_process_is_taken_when_that_is_known(butler: Butler) -> None:
    planned(butler, "fragile", FRAGILE)
    one = move_on(butler, "fragile")[0].id
    elsewhere = {"state": "running", "host": "node-7", "pid": 7, "attempt": 1}
    with butler.registry.database.begin() as connection:
        connection.execute(sa.update(quantum).where(quantum.c.id == one).values(**elsewhere))
    held = execute_quantum(butler.root, one, retry=True)
    assert (held.status, held.error) == (
        3,
        "It is being executed by process 7 on node-7; when that is known to be gone: --lost.",
    )
    assert execute_quantum(butler.root, one, lost=True).status == 0
    assert execute_quantum(butler.root, one, lost=True).error == "It is done already."


def test_what_a_failure_strands_is_blocked(butler: Butler) -> None:
    text = FRAGILE + (
        f"  two:\n    class: {hungry_tasks.__name__}.HangTask\n"
        "    connections: {frame: result, result: second}\n"
    )
    planned(butler, "engine", text)
    while found := move_on(butler, "engine"):
        for one in found:
            execute_quantum(butler.root, one.id)
    states = Counter((q["label"], q["state"]) for q in faults.quanta_of(butler, "engine"))
    assert states == {
        ("one", "done"): 5,
        ("one", "failed"): 1,
        ("two", "done"): 5,
        ("two", "blocked"): 1,
    }


def test_where_the_inputs_lie_and_what_must_be_brought(butler: Butler) -> None:
    run = planned(butler, "engine")
    with butler.registry.database.begin() as connection:
        endpoints.add(connection, "far", "https://far.example/store", owned=False)
        key = endpoints.key_of(connection, "far")
        first = connection.execute(sa.select(sa.func.min(file.c.id))).scalar_one()
        connection.execute(
            sa.update(replica).where(replica.c.file_id == first).values(endpoint_id=key)
        )
        sizes = dict(connection.execute(sa.select(file.c.id, file.c.size_bytes)).all())
        assert connection.execute(sa.select(sa.func.count()).select_from(endpoint)).scalar() == 3
    with butler.registry.read() as connection:
        found = plans.inputs_by_endpoint(connection, run)
        [lacking] = plans.to_stage(connection, run, ["root"])
    assert found == [
        {
            "dataset_type": "frame",
            "endpoint": name,
            "n_datasets": n,
            "n_files": n,
            "size_bytes": size,
            "n_only_here": n,
        }
        for name, n, size in (
            ("far", 1, sizes[first]),
            ("root", 5, sum(sizes.values()) - sizes[first]),
        )
    ]
    assert (lacking["endpoint"], lacking["size_bytes"]) == ("far", sizes[first])
    told = json.loads(call("plan", "stage", butler.root, "engine", "--format", "json").output)
    assert told == [
        {"from": "far", "dataset_type": "frame", "n_files": 1, "size_bytes": sizes[first]}
    ]


def test_how_long_it_will_take_is_what_it_took(butler: Butler) -> None:
    run = planned(butler, "engine", FRAGILE)

    def foreseen(name: str) -> tuple[Any, ...]:
        with butler.registry.read() as connection:
            [row] = plans.work_to_do(connection, name)
        return row["n_to_do"], row["seconds_each"], row["known_from"]

    assert foreseen(run) == (6, 36.0, "guess")
    rows = json.loads(call("plan", "show", butler.root, "engine", "--format", "json").output)
    assert [(r["task"], r["cores"], r["memory_mib"], r["core_hours"]) for r in rows] == [
        ("one", 2, 1400, pytest.approx(6 * 2 * 36 / 3600))
    ]
    [one, two, *_] = [q.id for q in move_on(butler, run)]
    took = {one: 10.0, two: 20.0}
    for key in took:
        execute_quantum(butler.root, key)
    with butler.registry.database.begin() as connection:
        for key, wall in took.items():
            connection.execute(
                sa.update(quantum)
                .where(quantum.c.id == key)
                .values(state="done", wall_s=wall, exception_class=None)
            )
    assert foreseen(run) == (4, 15.0, "same configuration")
    assert foreseen(planned(butler, "again", FRAGILE)) == (6, 15.0, "same configuration")
    other = FRAGILE.replace("at: 2", "at: 3")
    assert foreseen(planned(butler, "other", other)) == (6, 15.0, "other configuration")


def test_the_commands_of_an_engine(butler: Butler, tmp_path: Path) -> None:
    pipeline = tmp_path / "fragile.yaml"
    pipeline.write_text(FRAGILE)
    words = ("run", butler.root, "-p", pipeline, "-i", faults.INPUT, "-o", "engine", "--plan")
    assert call(*words).exit_code == 0
    listed = call("plan", "next", butler.root, "engine", "--format", "json")
    rows = {r["data_id"]["exposure"]: r for r in json.loads(listed.output)}
    assert (rows[1]["task"], rows[1]["cores"], rows[1]["memory_mib"]) == ("one", 2, 1400)
    done = call("execute-quantum", butler.root, rows[1]["quantum"])
    assert (done.return_value, json.loads(done.output)["outcome"]) == (0, "done")
    failed = call("execute-quantum", butler.root, rows[2]["quantum"])
    assert json.loads(failed.output)["error"] == "KeyError: 'brightness'"
    left = json.loads(call("plan", "next", butler.root, "engine", "--format", "json").output)
    assert {r["data_id"]["exposure"] for r in left} == {3, 4, 5, 6}
    wrong = call("plan", "show", butler.root, "engin")
    assert "Did you mean 'engine'" in str(wrong.exception or wrong.output)
    unplanned = call("plan", "next", butler.root, faults.INPUT)
    assert "Nothing is planned for 'frames'; name a run" in str(unplanned.exception)
