from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from registry import provenance
from registry.errors import DefinitionConflict, InvalidState, RegistryError, SkyspineError
from registry.identity import uuid7
from registry.provenance import (
    STATES,
    TRANSITIONS,
    HistoryEntry,
    Outcome,
    QuantumRow,
    recovery,
)
from registry.schema import provenance as schema
from tests.registry.observatory import BIAS, CATALOG, RAW, bias_id, raw_id

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable

    from registry import DataId, DatasetRef, Registry


def outcome(state: str) -> Outcome:
    failure = ("ValueError", "no stars") if state == "failed" else (None, None)
    return Outcome(state, 2.5, 2.0, 1_000_000, {"n": {"stars": 7}}, {"n.stars": 7.0}, *failure)


class Bench:
    """Verbs on a registry with one recorded task and environment."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        registry.register_collection("run")
        with registry.begin() as connection:
            config = provenance.record_config(connection, "a.Config", "", [])
            self.task = provenance.record_task(connection, "run", "reduce", "a.Task", config, [])
            self.environment = provenance.record_environment(
                connection, "3.11.7", "Linux x86_64", {"numpy": "2.0", "astropy": "7.0"}, "abc"
            )

    def quantum(self, data_id: DataId, *inputs: DatasetRef) -> uuid.UUID:
        key = uuid7()
        row = QuantumRow(key, data_id, tuple(("inputs", r.id) for r in inputs))
        with self.registry.begin() as connection:
            provenance.insert_quanta(connection, self.task, [row])
        return key

    def start(self, key: uuid.UUID) -> None:
        with self.registry.begin() as connection:
            provenance.start(connection, key, self.environment, "host", 42)

    def finish(self, key: uuid.UUID, state: str, *outputs: DatasetRef) -> None:
        made = [("out", r.id) for r in outputs]
        with self.registry.begin() as connection:
            provenance.finish(connection, key, outcome(state), made)

    def block(self, key: uuid.UUID) -> None:
        with self.registry.begin() as connection:
            provenance.block(connection, {key: "no bias"})

    def reset(self, key: uuid.UUID) -> None:
        with self.registry.begin() as connection:
            provenance.reset(connection, [key])

    def row(self, key: uuid.UUID) -> sa.RowMapping:
        q = schema.quantum
        with self.registry.read() as connection:
            return connection.execute(sa.select(q).where(q.c.id == key)).mappings().one()

    def make(self, data_id: DataId, output: DatasetRef, *inputs: DatasetRef) -> uuid.UUID:
        key = self.quantum(data_id, *inputs)
        self.start(key)
        self.finish(key, "done", output)
        return key


@pytest.fixture
def bench(filled: Registry) -> Bench:
    return Bench(filled)


@pytest.fixture
def raw(filled: Registry, bench: Bench) -> DatasetRef:
    del bench
    return filled.insert_datasets(RAW, [raw_id(3)], "run")[0]


def test_states_change_only_along_the_transitions(bench: Bench, raw: DatasetRef) -> None:
    verbs: dict[tuple[str, str], Callable[[uuid.UUID], None]] = {
        ("start", "running"): bench.start,
        ("block", "blocked"): bench.block,
        ("reset", "ready"): bench.reset,
    }
    for state in ("done", "no_work", "failed"):
        verbs["finish", state] = lambda key, state=state: bench.finish(key, state)  # type: ignore[misc]
    ways = {
        "ready": [],
        "running": ["running"],
        "blocked": ["blocked"],
        **{state: ["running", state] for state in ("done", "no_work", "failed")},
    }
    assert {*ways, "away"} == STATES.keys()  # what is away: tests/workflow/test_graph_files.py
    targets = {state: verb for (_, state), verb in verbs.items()}
    numbers = iter(range(1000))
    for state, way in ways.items():
        for (name, target), verb in verbs.items():
            key = bench.quantum(type(raw.data_id).of(instrument="Cam", target=next(numbers)))
            for step in way:
                targets[step](key)
            assert bench.row(key)["state"] == state
            allowed = (state, name, target) in TRANSITIONS
            if not allowed and name in {"start", "finish"}:
                with pytest.raises(InvalidState):
                    verb(key)
            else:
                verb(key)
            assert bench.row(key)["state"] == (target if allowed else state), (state, name, target)


def test_of_two_processes_only_the_one_that_has_a_quantum_may_end_it(
    bench: Bench, raw: DatasetRef
) -> None:
    key = bench.quantum(raw.data_id)
    bench.start(key)
    bench.reset(key)  # it was taken away from process 42
    with bench.registry.begin() as connection:
        provenance.start(connection, key, bench.environment, "host", 43)
    made = [("out", raw.id)]
    with pytest.raises(InvalidState, match="no longer running here"), bench.registry.begin() as c:
        provenance.finish(c, key, outcome("done"), made, by=("host", 42))
    with bench.registry.begin() as connection:
        recovery.declare_lost(connection, [(key, "host", 42)], "Its process is gone.")
        assert provenance.outputs_of(connection, [key]) == {}
    assert bench.row(key)["state"] == "running"
    with bench.registry.begin() as connection:
        provenance.finish(connection, key, outcome("done"), made, by=("host", 43))
        assert provenance.outputs_of(connection, [key]) == {key: [raw.id]}
    lost = bench.quantum(type(raw.data_id).of(instrument="Cam", target=1))
    bench.start(lost)
    with bench.registry.begin() as connection:
        recovery.declare_lost(connection, [(lost, "host", 42)], "Its process is gone.")
    row = bench.row(lost)
    assert (row["state"], row["exception_class"]) == ("failed", "ProcessDied")
    assert row["exception_message"] == "Its process is gone."


@pytest.mark.parametrize(
    "impossible",
    [
        "state = 'lost'",
        "state = 'done'",
        "state = 'failed', exception_class = 'ValueError'",
        "state = 'failed', finished_at = '2022-09-20 12:00:00'",
        "state = 'running', finished_at = '2022-09-20 12:00:00'",
        "finished_at = '2022-09-20 12:00:00'",
        "task_id = 4711",
        "data_id = NULL",
    ],
)
def test_database_refuses_impossible_rows(bench: Bench, raw: DatasetRef, impossible: str) -> None:
    key = bench.quantum(raw.data_id)
    with pytest.raises(RegistryError), bench.registry.begin() as connection:
        connection.exec_driver_sql(f"UPDATE quantum SET {impossible}")  # noqa: S608
    assert bench.row(key)["state"] == "ready"


def test_quantum_carries_its_last_attempt(bench: Bench, raw: DatasetRef) -> None:
    key = bench.quantum(raw.data_id, raw)
    bench.block(key)
    assert bench.row(key)["exception_message"] == "no bias"
    bench.reset(key)
    bench.start(key)
    bench.finish(key, "failed")
    row = bench.row(key)
    assert (row["exception_class"], row["exception_message"]) == ("ValueError", "no stars")
    bench.reset(key)
    bench.start(key)
    bench.finish(key, "done")
    row = bench.row(key)
    assert (row["state"], row["attempt"], row["host"], row["pid"]) == ("done", 2, "host", 42)
    assert (row["wall_s"], row["cpu_s"], row["max_rss_bytes"]) == (2.5, 2.0, 1_000_000)
    assert (row["exception_class"], row["exception_message"]) == (None, None)
    assert row["metadata"] == {"n": {"stars": 7}}
    assert row["finished_at"] >= row["started_at"]
    with bench.registry.read() as connection:
        metrics = connection.execute(sa.select(schema.quantum_metric)).all()
        (listed,) = provenance.quanta_of_run(connection, "run")
    assert metrics == [(key, "n.stars", 7.0)]
    assert (listed["id"], listed["state"], listed["data_id"]) == (key, "done", raw.data_id)


def test_quantum_is_taken_once(bench: Bench, raw: DatasetRef) -> None:
    key = bench.quantum(raw.data_id)
    bench.start(key)
    with pytest.raises(InvalidState, match="another process has taken it"):
        bench.start(key)
    bench.finish(key, "done")
    with pytest.raises(InvalidState, match="its outputs are not recorded"):
        bench.finish(key, "done", raw)
    assert bench.registry.provenance.makers(raw.id) == {}


def test_one_quantum_per_task_and_data_id_and_one_maker_per_dataset(
    bench: Bench, raw: DatasetRef
) -> None:
    bench.make(raw.data_id, raw)
    with pytest.raises(SkyspineError):
        bench.quantum(raw.data_id)
    second = bench.quantum(raw.data_id.without(["exposure"]))
    bench.start(second)
    with pytest.raises(SkyspineError):
        bench.finish(second, "done", raw)
    assert bench.row(second)["state"] == "running"


def test_graph_is_walked_both_ways_each_step_once(bench: Bench, raw: DatasetRef) -> None:
    registry = bench.registry
    left, right = registry.insert_datasets(BIAS, [bias_id(20220920), bias_id(20220921)], "run")
    top, bottom = registry.insert_datasets(
        CATALOG, [{"instrument": "Cam", "target": t} for t in ("M31", "M33")], "run"
    )
    makers = {
        left.id: bench.make(left.data_id, left, raw),
        right.id: bench.make(right.data_id, right, raw),
        top.id: bench.make(top.data_id, top, left, right),
        bottom.id: bench.make(bottom.data_id, bottom, top),
    }
    steps = {(raw, left), (raw, right), (left, top), (right, top), (top, bottom)}
    up = registry.provenance.ancestors(bottom.id)
    assert {(e.input, e.output) for e in up} == steps
    assert len(up) == len(steps)
    assert (up[0].input, up[0].output) == (top, bottom)
    assert {e.input for e in up[-2:]} == {raw}
    assert all(makers[e.output.id] == e.quantum_id for e in up)
    assert {(e.task_label, e.run, e.connection) for e in up} == {("reduce", "run", "inputs")}
    down = registry.provenance.descendants(raw.id)
    assert {(e.input, e.output) for e in down} == steps
    assert len(down) == len(steps)
    assert {e.output for e in down[:2]} == {left, right}
    near = registry.provenance.ancestors(bottom.id, depth=1)
    assert [(e.input, e.output) for e in near] == [(top, bottom)]
    below = registry.provenance.descendants(left.id, right.id)
    assert {(e.input, e.output) for e in below} == {(left, top), (right, top), (top, bottom)}
    assert registry.provenance.ancestors(raw.id) == []
    made = registry.provenance.makers(raw.id, top.id)
    assert set(made) == {top.id}
    assert made[top.id]["task_label"] == "reduce"
    assert made[top.id]["quantum_data_id"] == top.data_id.key
    assert made[top.id]["code_revision"] == "abc"
    packages = registry.provenance.packages(made[top.id]["environment_id"])
    assert packages == {"astropy": "7.0", "numpy": "2.0"}


def test_environment_and_configuration_are_stored_once_by_content(registry: Registry) -> None:
    values = [("a", "1", "int"), ("b", None, "str")]
    with registry.begin() as connection:
        environments = [
            provenance.record_environment(connection, "3.11", "Linux", packages, revision)
            for packages, revision in (
                ({"x": "1", "y": "2"}, None),
                ({"y": "2", "x": "1"}, None),
                ({"x": "1", "y": "3"}, None),
                ({"x": "1", "y": "2"}, "abc"),
            )
        ]
        configs = [
            provenance.record_config(connection, name, text, listed)
            for name, text, listed in (
                ("a.C", "a=1", values),
                ("a.C", "a = 1", values),
                ("a.D", "a=1", values),
                ("a.C", "a=1", values[:1]),
            )
        ]
        counts = [
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in (schema.environment, schema.config, schema.config_value)
        ]
    assert environments[0] == environments[1]
    assert len(set(environments)) == 3
    assert configs[0] == configs[1]
    assert len(set(configs)) == 3
    assert counts == [3, 3, 5]


def test_task_of_a_run_keeps_its_configuration(bench: Bench) -> None:
    with bench.registry.begin() as connection:
        same = provenance.record_config(connection, "a.Config", "", [])
        other = provenance.record_config(connection, "a.Config", "", [("a", "1", "int")])
        again = provenance.record_task(connection, "run", "reduce", "a.Task", same, [])
    assert again == bench.task
    for name, config in (("a.Task", other), ("b.Task", same)):
        with (
            pytest.raises(DefinitionConflict, match="start a new run"),
            bench.registry.begin() as connection,
        ):
            provenance.record_task(connection, "run", "reduce", name, config, [])


def test_history_tells_every_value_in_the_order_it_was_set(filled: Registry) -> None:
    when = dt.datetime(2022, 9, 20, 12, 0, 0, 123456, tzinfo=dt.UTC)
    filled.register_collection("run")
    history = [
        HistoryEntry("clip", "3.0", "default", "a.py:10"),
        HistoryEntry("fit.order", "2", "default", "a.py:11"),
        HistoryEntry("clip", "5.0", "pipeline", "p.yaml:7"),
        HistoryEntry("clip", "7.0", "command-line", "-c", "ada", when),
        HistoryEntry("fit.name", None, "default", "a.py:12"),
        HistoryEntry("fitter", "1", "default", "a.py:13"),
    ]
    with filled.begin() as connection:
        config = provenance.record_config(connection, "a.Config", "", [])
        provenance.record_task(connection, "run", "reduce", "a.Task", config, history)
    filled.chain("chain", ["run"])
    told = filled.provenance.config_history("chain", "reduce", "clip")
    assert [(h["step"], h["value"], h["origin_kind"], h["origin"]) for h in told] == [
        (0, "3.0", "default", "a.py:10"),
        (1, "5.0", "pipeline", "p.yaml:7"),
        (2, "7.0", "command-line", "-c"),
    ]
    assert (told[2]["set_by"], told[2]["set_at"]) == ("ada", when)
    below = filled.provenance.config_history("run", field="fit")
    assert [(h["path"], h["value"]) for h in below] == [("fit.name", None), ("fit.order", "2")]
    assert len(filled.provenance.config_history("run")) == 6
    assert filled.provenance.config_history("run", "other") == []
