"""Does a lookup function of a prerequisite find what it says, for all quanta at once?"""

from __future__ import annotations

from typing import Any

import pytest

from butler import Butler
from registry.errors import LookupFailed
from tests.workflow import lookup_tasks, test_runner
from workflow.connections import Output, Prerequisite
from workflow.errors import TaskDefinitionError
from workflow.pipeline import Pipeline
from workflow.runner import RunReport, run_pipeline
from workflow.task import SuperTask

root = test_runner.root
HERE = lookup_tasks.__name__


def ran(root: Any, text: str, **options: Any) -> RunReport:
    return run_pipeline(root, Pipeline.from_yaml(text), inputs=["raw"], output="out", **options)


def wrong(root: Any, function: str) -> RunReport:
    return ran(
        root, f"tasks:\n  w: {{class: {HERE}.WrongTask, config: {{function: {function}}}}}\n"
    )


def test_a_function_looks_up_for_all_quanta_at_once(root: Any) -> None:
    with Butler(root, writeable=True) as butler:
        test_runner.take(butler, 3)
    lookup_tasks.CALLS.clear()
    report = ran(root, f"tasks:\n  compare: {HERE}.CompareTask\n", jobs=2)
    assert dict(report.states) == {("compare", "done"): 6}
    assert lookup_tasks.CALLS == [6]
    with Butler(root, collections="out") as butler:
        refs = butler.query_datasets("compared")
        sums = {(r.data_id["exposure"], r.data_id["detector"]): butler.get(r)["sum"] for r in refs}
        [middle] = [
            r for r in refs if dict(r.data_id) | {"exposure": 2, "detector": 1} == r.data_id
        ]
        read = butler.registry.provenance.ancestors(middle.id)
    assert sums == {
        (1, 1): 21.0,
        (1, 2): 22.0,
        (2, 1): 11.0 + 31.0,
        (2, 2): 12.0 + 32.0,
        (3, 1): 21.0,
        (3, 2): 22.0,
    }
    assert sorted(e.input.data_id["exposure"] for e in read) == [1, 2, 3]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("raising", "w, 'other': its lookup function failed: ZeroDivisionError"),
        ("strange", "answers for 'M31', which is no data ID of a quantum"),
        ("several", "gives 4 frame for .*; declare it with multiple=True, or choose"),
    ],
)
def test_an_answer_that_cannot_be_leaves_no_run(root: Any, function: str, message: str) -> None:
    with pytest.raises(LookupFailed, match=message):
        wrong(root, function)
    with Butler(root) as butler:
        assert not butler.registry.collections("out")


def test_a_quantum_for_which_nothing_is_found_is_blocked(root: Any) -> None:
    report = wrong(root, "nothing")
    assert dict(report.states) == {("w", "blocked"): 4}
    assert "no frame" in report.blocked[0][1].lower()


def test_a_quantum_whose_prerequisite_was_left_out_is_blocked(root: Any) -> None:
    report = ran(root, f"tasks:\n  compare: {HERE}.LonelyTask\n")
    assert dict(report.states) == {("compare", "blocked"): 2, ("compare", "done"): 2}
    assert {reason for _, reason in report.blocked} == {"beside: 0 frame where 1 are needed."}


def test_a_task_chooses_among_what_will_be_made(root: Any) -> None:
    report = ran(root, f"tasks:\n  double: {HERE}.DoubleTask\n  first: {HERE}.FirstTask\n")
    assert dict(report.states) == {
        ("double", "blocked"): 1,
        ("double", "done"): 3,
        ("first", "done"): 2,
    }
    with Butler(root, collections="out") as butler:
        firsts = [butler.get(r)["of"] for r in butler.query_datasets("first")]
    assert sorted(firsts) == [2 * 12.0, 2 * 21.0]


def test_a_function_without_a_name_is_refused() -> None:
    body = {
        "b": Output("y", "X", ()),
        "a": Prerequisite("x", "X", (), lookup=lambda asked: {}),  # noqa: ARG005
        "run": lambda self, a: None,  # noqa: ARG005
    }
    with pytest.raises(TaskDefinitionError, match="lookup is a function of a module"):
        type("Broken", (SuperTask,), body)
