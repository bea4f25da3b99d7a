"""What may a task declare beyond inputs and outputs, and what of it reaches the database?"""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from butler import Butler
from registry.schema import provenance as schema
from tests.workflow import catalog_tasks, splitting_tasks, test_runner
from workflow.connections import Connections, InitInput, InitOutput, Input, Output
from workflow.errors import (
    InvalidQuantum,
    MissingInitInput,
    MissingOutput,
    NoWorkFound,
    TaskDefinitionError,
    UnprocessableData,
    kind_of,
)
from workflow.modes import Mode
from workflow.pipeline import Pipeline
from workflow.runner import RunReport, run_pipeline
from workflow.task import SuperTask
from workflow.testing.mocks import mocked, parse_behaviour

root = test_runner.root
T = catalog_tasks.__name__
BOTH = f"""\
tasks:
  extend: {T}.ExtendTask
  measure: {T}.MeasureTask
"""


def ran(root: Any, pipeline: str | Pipeline, **options: Any) -> RunReport:
    """Run a pipeline over the frames of two exposures of two detectors."""
    read = Pipeline.from_yaml(pipeline) if isinstance(pipeline, str) else pipeline
    return run_pipeline(root, read, **{"inputs": ["raw"], "output": "out", **options})


def kinds(root: Any) -> set[tuple[str, str | None]]:
    """Tell how quanta ended: state and kind of the error."""
    q, t = schema.quantum, schema.task
    asked = sa.select(q.c.state, q.c.error_kind).join(t, ~t.c.label.endswith(":init"))
    with Butler(root) as butler, butler.registry.read() as connection:
        return {(s, k) for s, k in connection.execute(asked.where(t.c.id == q.c.task_id))}


def test_what_is_known_when_tasks_are_made_is_written_once(root: Any) -> None:
    report = ran(root, BOTH, jobs=2)
    assert dict(report.states) == {("measure", "done"): 4, ("extend", "done"): 4}
    with Butler(root, collections="out") as butler:
        assert butler.get("extended_schema") == {"columns": ["flux", "extra"]}
        refs = butler.query_datasets("extended")
        assert butler.get(refs[0]) == {"flux": 11.0, "extra": -1.0}
    again = ran(root, BOTH, mode=Mode(resume=True))
    assert again.states == report.states
    only = ran(root, f"tasks: {{extend: {T}.ExtendTask}}\n", inputs=["out", "raw"], output="more")
    assert dict(only.states) == {("extend", "done"): 4}
    with pytest.raises(MissingInitInput, match="'extend' cannot be made without the dataset mea"):
        ran(root, f"tasks: {{extend: {T}.ExtendTask}}\n", output="none")
    forget = BOTH.replace(f"{T}.MeasureTask", f"{{class: {T}.MeasureTask, config: {{forget: 1}}}}")
    with pytest.raises(MissingOutput, match=r"did not set 'schema'"):
        ran(root, forget.replace("forget: 1", "forget: true"), output="none")


def test_what_a_task_wrote_when_it_was_made_has_a_maker(root: Any) -> None:
    ran(root, BOTH)
    ran(root, BOTH, mode=Mode(resume=True))
    with Butler(root, collections="out") as butler:
        history = butler.registry.provenance
        [wide, *others] = butler.query_datasets("extended")
        [narrow], [extended] = map(butler.query_datasets, ("measure_schema", "extended_schema"))
        assert history.makers(narrow.id)[narrow.id]["task_label"] == "measure:init"
        above = {(e.task_label, e.input.dataset_type.name) for e in history.ancestors(extended.id)}
        assert above == {("extend:init", "measure_schema")}
        read = {e.input.dataset_type.name for e in history.ancestors(wide.id)}
        assert read == {"measured", "frame", "measure_schema"}
        told = {t.ref: t.task_label for t in history.taint(narrow.id).datasets}
        assert told == {
            narrow: None,  # it is what is withdrawn
            extended: "extend:init",
            **dict.fromkeys([wide, *others], "extend"),
        }


def test_a_task_that_makes_what_another_is_made_with_comes_first() -> None:
    pipeline = Pipeline.from_yaml(BOTH)
    assert [task.label for task in pipeline] == ["measure", "extend"]
    with pytest.raises(InvalidQuantum, match="cannot be made without 'in_schema'"):
        pipeline["extend"].make()


def test_connections_change_by_configuration(root: Any) -> None:
    config = f"{{class: {T}.ExtendTask, config: {{with_reference: true}}}}"
    pipeline = Pipeline.from_yaml(BOTH.replace(f"{T}.ExtendTask", config))
    assert "reference" in pipeline["extend"].connections
    assert "reference" not in Pipeline.from_yaml(BOTH)["extend"].connections
    ran(root, pipeline)
    with Butler(root, collections="out") as butler:
        assert butler.get(butler.query_datasets("extended")[0]) == {"flux": 11.0, "extra": 11.0}
    some = Connections({"a": Input("x", "X", (), multiple=True)}, ())
    assert some.replaced("a", minimum=5)["a"].minimum == 5
    with pytest.raises(KeyError, match="no connection 'b'"):
        some.without("b")


def test_the_kind_of_an_error_is_a_column(root: Any) -> None:
    config = "config: {refuse: 1, break_on: 2}"
    text = f"tasks: {{measure: {{class: {T}.MeasureTask, {config}}}}}\n"
    ran(root, text)
    assert kinds(root) == {("failed", "unprocessable-data"), ("failed", "repeatable")}
    ran(root, text, mode=Mode(resume=True))
    assert kinds(root) == {("failed", "unprocessable-data"), ("failed", "repeatable")}


def test_errors_are_classed_by_their_nearest_class_of_the_framework() -> None:
    class Dark(UnprocessableData):
        code = "dark"

    told = [kind_of(e) for e in (Dark(), NoWorkFound(), MemoryError(), ValueError(), KeyError())]
    assert told == ["unprocessable-data", "no-work-found", "out-of-memory", "error", "error"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a": InitInput("x", "X", ("detector",))}, "no dimensions"),
        ({"a": InitOutput("x", "X", (), multiple=True)}, "no multiple"),
        ({"a": InitOutput("y", "X", ())}, "both write y"),
        ({"walltime_guess": -1}, "a time in seconds"),
        ({"a": InitInput("x", "X", (), defer_load=True)}, "cannot have defer_load"),
    ],
)
def test_declarations_that_cannot_work(members: dict[str, Any], message: str) -> None:
    body = {"b": Output("y", "X", ()), "run": lambda self: None, **members}  # noqa: ARG005
    with pytest.raises(TaskDefinitionError, match=message):
        type("Broken", (SuperTask,), body)


def test_a_mock_runs_in_the_place_of_tasks(root: Any) -> None:
    splitting = splitting_tasks.__name__
    text = f"""\
tasks:
  level: {{class: {splitting}.LevelTask, certify: {{level: night}}}}
  subtract: {splitting}.SubtractTask
  split: {splitting}.SplitTask
  halve: {splitting}.HalveTask
"""
    behaviours = [
        parse_behaviour("subtract:UnprocessableData:detector = 2 AND exposure = 1"),
        parse_behaviour("halve:MemoryError:exposure.observation_type = 'science' AND detector=1"),
        parse_behaviour("split:killed:exposure = 2"),
        parse_behaviour("level:0.01", sleeping=True),
    ]
    report = ran(root, mocked(Pipeline.from_yaml(text), behaviours), jobs=2)
    assert dict(report.states) == {
        ("level", "done"): 2,
        ("subtract", "done"): 3,
        ("subtract", "failed"): 1,
        ("split", "done"): 1,
        ("split", "failed"): 1,
        ("halve", "done"): 1,
        ("halve", "failed"): 1,
        ("halve", "blocked"): 2,
    }
    assert kinds(root) == {
        ("done", None),
        ("blocked", None),
        ("failed", "unprocessable-data"),
        ("failed", "out-of-memory"),
        ("failed", "process-died"),
    }
    with Butler(root, collections="out") as butler:
        [half] = butler.query_datasets("mock_half")
        assert butler.get(half)["read"] == ["part"]
        known = {kind.name for kind in butler.registry.dataset_types()}
        made = {"mock_level", "mock_net", "mock_part", "mock_half"}
        assert known - {"frame", "raw", "defects"} == made
