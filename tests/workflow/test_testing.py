"""Do the helpers for authors find what is wrong with a task, and run one that is right?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from registry.expressions import ExpressionError
from tests.workflow.catalog_tasks import ExtendTask, MeasureConfig, MeasureTask
from tests.workflow.example_tasks import CombineBiasTask, IsrTask
from tests.workflow.splitting_tasks import SplitTask
from workflow.cli import root
from workflow.connections import Input, Output
from workflow.errors import InvalidQuantum, PipelineError, TaskError, UnprocessableData
from workflow.task import Struct, SuperTask
from workflow.testing import SuperTaskTests, parse_behaviour, run_task

if TYPE_CHECKING:
    from collections.abc import Mapping


class TestIsr(SuperTaskTests):
    task_class = IsrTask

    def inputs(self) -> Mapping[str, Any]:
        return {"raw": 8.0, "bias": 2.0, "flat": 2.0}


class TestCombineBias(SuperTaskTests):
    task_class = CombineBiasTask

    def inputs(self) -> Mapping[str, Any]:
        return {"raws": [1.0, 2.0, 6.0]}


class TestExtend(SuperTaskTests):
    task_class = ExtendTask

    def inputs(self) -> Mapping[str, Any]:
        return {"measured": {"flux": 1.0}}

    def options(self) -> Mapping[str, Any]:
        return {"init_inputs": {"in_schema": {"columns": ["flux"]}}}


class Careless(SuperTask):
    """Runs without what it needs, and makes what nobody reads."""

    raw = Input("raw", "X", ())
    image = Output("image", "X", ())

    def run_quantum(self, context: Any) -> None:
        context.put("image", len(context.refs))


class _Careless(SuperTaskTests):
    task_class = Careless

    def inputs(self) -> Mapping[str, Any]:
        return {"raw": 1}


def test_a_careless_task_is_found() -> None:
    _Careless().test_it_makes_what_it_declares()
    with pytest.raises(AssertionError, match="ran without 'raw', of which it needs 1"):
        _Careless().test_a_required_input_is_required()

    class Local(SuperTask):
        image = Output("image", "X", ())

        def run(self) -> Struct:
            return Struct(image=1)

    class Tests(SuperTaskTests):
        task_class = Local

    with pytest.raises(ImportError):
        Tests().test_it_is_found_by_its_dotted_name()


def test_a_task_is_run_in_memory() -> None:
    made = run_task(MeasureTask, MeasureConfig(column="mag"), frame={"value": 21.0})
    assert made.outputs == {"measured": {"mag": 21.0}}
    assert made.init_outputs == {"schema": {"columns": ["mag"]}}
    assert made.metadata["timing"]["run"]["calls"] == 1
    detectors = [{"instrument": "Cam", "exposure": 1, "detector": d} for d in (1, 2)]
    made = run_task(
        SplitTask,
        frames=[{"value": 1.0}, {"value": 2.0}],
        data_ids={"frames": detectors, "parts": detectors},
    )
    assert made.outputs["parts"] == [{"of": 1.0}, {"of": 2.0}]
    with pytest.raises(TypeError, match="no input 'fram'. Did you mean 'frame'"):
        run_task(MeasureTask, fram={})
    with pytest.raises(InvalidQuantum):
        run_task(MeasureTask)
    with pytest.raises(UnprocessableData) as caught:
        run_task(MeasureTask, MeasureConfig(refuse=1), frame={"value": 21.0})
    assert caught.value.metadata == {"stars": 0}
    with pytest.raises(TaskError, match="1 objects for 2 datasets"):
        run_task(
            SplitTask,
            SplitTask.ConfigClass(forget_one=True),
            frames=[{"value": 1.0}, {"value": 2.0}],
            data_ids={"frames": detectors, "parts": detectors},
        )


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("isr", "is not of the form LABEL:ERROR"),
        ("isr:ValueEror", "Did you mean 'ValueError'"),
        ("isr:print", "is no error that can be raised"),
        ("isr:no.such.Error", "cannot be imported"),
    ],
)
def test_mistakes_in_behaviours(argument: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        parse_behaviour(argument)


def test_more_mistakes_in_behaviours() -> None:
    with pytest.raises(PipelineError, match="'long' is no number of seconds"):
        parse_behaviour("isr:long", sleeping=True)
    with pytest.raises(ExpressionError):
        parse_behaviour("isr:ValueError:detector = = 2")
    for options, message in (
        (("--mock-failure", "isr:ValueError"), "need --mock"),
        (("--mock", "--mock-failure", "isr:killed"), "--jobs 2 or more"),
        (("--mock", "--mock-failure", "irs:ValueError"), "Did you mean 'isr'"),
    ):
        told = CliRunner().invoke(
            root, ["run", "nowhere", "-p", "demo", "-i", "raw", "-o", "out", *options]
        )
        assert told.exit_code != 0
        assert message in f"{told.output}{told.exception}"
