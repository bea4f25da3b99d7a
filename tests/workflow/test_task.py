from __future__ import annotations

import json
import logging
import math
import pickle
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from registry.identity import DataId
from tests.workflow.example_tasks import (
    NIGHT,
    PIXEL,
    CombineBiasTask,
    CombineConfig,
    IsrConfig,
    IsrTask,
    MeanTask,
    MedianTask,
)
from workflow.connections import Input, Output
from workflow.errors import (
    ConfigurationError,
    InvalidQuantum,
    MissingOutput,
    NoWorkFound,
    PartialOutputs,
    PipelineError,
    RepeatableError,
    TaskDefinitionError,
    UnprocessableData,
)
from workflow.metadata import Metadata
from workflow.task import Struct, SuperTask, Task, timed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Memory:
    """A quantum whose datasets are in memory."""

    def __init__(self, **objects: list[Any]) -> None:
        self.data_id = DataId.of(instrument="T152", detector=0)
        self.objects = objects
        self.refs: Mapping[str, Sequence[Any]] = objects
        self.records: Mapping[str, Sequence[Any]] = {}
        self.metadata = Metadata()
        self.written: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        found = self.objects[name]
        return found if name == "raws" else found[0]

    def put(self, name: str, obj: Any) -> None:
        self.written[name] = obj

    def dimension_record(self, element: str) -> Mapping[str, Any]:
        raise LookupError(element)


def test_a_quantum_is_read_run_and_written() -> None:
    task = CombineBiasTask()
    context = Memory(raws=[1.0, 2.0, 6.0], bias=[None])
    task.run_quantum(context)
    assert context.written == {"bias": 3.0}
    assert task.metadata["n_frames"] == 3
    assert task.metadata.numbers() == {"n_frames": 3, "level.mean": 3.0, "statistic.n": 3}


def test_an_absent_optional_input_is_none_and_a_disabled_one_is_not_read() -> None:
    config = IsrConfig(do_bias=False)
    context = Memory(raw=[8.0], bias=[100.0], flat=[], image=[None])
    IsrTask(config).run_quantum(context)
    assert context.written == {"image": 8.0}


def test_a_quantum_without_a_required_input_is_refused() -> None:
    with pytest.raises(InvalidQuantum, match=r"needs at least 2 of 'raws' .raw. and has 1"):
        CombineBiasTask().run_quantum(Memory(raws=[1.0], bias=[None]))


def test_a_forgotten_output_is_named() -> None:
    class Forgets(SuperTask):
        dimensions = PIXEL
        raw = Input("raw", "Exposure", PIXEL)
        image = Output("calexp", "Exposure", PIXEL)

        def run(self, raw: float) -> Struct:
            return Struct(imag=raw)

    with pytest.raises(MissingOutput, match=r"returned no 'image'.*Did you mean 'imag'"):
        Forgets().run_quantum(Memory(raw=[1.0], image=[None]))


def test_an_optional_output_may_be_left_out() -> None:
    class May(SuperTask):
        dimensions = PIXEL
        raw = Input("raw", "Exposure", PIXEL)
        image = Output("calexp", "Exposure", PIXEL, minimum=0)

        def run(self, raw: float) -> Struct:  # noqa: ARG002 (named like the input)
            return Struct(image=None)

    context = Memory(raw=[1.0], image=[None])
    May().run_quantum(context)
    assert context.written == {}


def test_loggers_and_metadata_follow_the_tree() -> None:
    task = CombineBiasTask(name="superBias")
    assert task.log.name == "skyspine.superBias"
    assert task.statistic.log.name == "skyspine.superBias.statistic"
    assert task.statistic.log.parent is task.log
    assert task.log.getEffectiveLevel() == logging.getLogger("skyspine").getEffectiveLevel()
    task.statistic.metadata["n"] = 5
    assert task.metadata["statistic.n"] == 5
    task.metadata["own"] = {"level": 1}
    task.metadata.clear()
    assert task.metadata.to_dict() == {"statistic": {}}
    task.statistic.metadata["n"] = 6
    assert task.metadata["statistic.n"] == 6


def test_a_default_name_comes_from_the_class() -> None:
    names = {
        cls: vars(type(cls, (Task,), {}))["default_name"]
        for cls in ("CombineBiasTask", "ISRTask", "CCDCombineTask", "Isr", "Task")
    }
    assert names == {
        "CombineBiasTask": "combineBias",
        "ISRTask": "isr",
        "CCDCombineTask": "ccdCombine",
        "Isr": "isr",
        "Task": "task",
    }


def test_a_retargeted_field_makes_the_other_subtask() -> None:
    config = CombineConfig()
    config.statistic.retarget(MedianTask)
    task = CombineBiasTask(config)
    assert isinstance(task.statistic, MedianTask)
    assert task.statistic.run([3.0, 1.0, 2.0]) == 2.0


def test_a_registry_field_makes_a_subtask_by_name() -> None:
    config = CombineConfig()
    config.named.name = "median"
    task = Task.__new__(CombineBiasTask)
    Task.__init__(task, config)
    task.make_subtask("named")
    assert isinstance(task.named, MedianTask)
    assert task.named.config is config.named["median"]


def test_a_subtask_that_is_no_subtask_is_named() -> None:
    task = CombineBiasTask()
    with pytest.raises(TaskDefinitionError, match=r"'statistics'.*Did you mean 'statistic'"):
        task.make_subtask("statistics")
    with pytest.raises(TaskDefinitionError, match="'clip'"):
        task.make_subtask("clip")


def test_a_configuration_is_frozen_by_its_task_and_checked() -> None:
    config = CombineConfig()
    CombineBiasTask(config)
    with pytest.raises(ValueError, match="frozen"):
        config.skip_first = 1
    with pytest.raises(ValueError, match="counts from 0"):
        CombineBiasTask(CombineConfig(skip_first=-1))
    with pytest.raises(TypeError, match="configured by IsrConfig, not by CombineConfig"):
        IsrTask(config)


def test_every_run_is_timed_also_one_that_fails() -> None:
    class Slow(Task):
        def run(self, seconds: float) -> None:
            end = time.process_time() + seconds
            while time.process_time() < end:
                sum(range(1000))
            if seconds > 0.03:
                raise NoWorkFound

    task = Slow()
    task.run(0.02)
    with pytest.raises(NoWorkFound, match="nothing to do"):
        task.run(0.04)
    timing = task.metadata["timing.run"]
    assert timing["calls"] == 2
    assert 0.06 <= timing["cpu_s"] <= 0.5
    assert timing["wall_s"] >= 0.06
    assert 1e6 < timing["peak_memory_bytes"] < 1e11
    assert task.metadata.numbers() == {}


def test_a_run_that_calls_its_base_counts_once() -> None:
    class More(MeanTask):
        def run(self, values: list[float]) -> float:
            return super().run(values) + 1

        @timed
        def prepare(self) -> None:
            self.metadata["prepared"] = True

    task = More()
    assert task.run([1.0]) == 2.0
    task.prepare()
    assert task.metadata["timing.run.calls"] == 1
    assert task.metadata["timing.prepare.calls"] == 1


class TestMetadata:
    def test_levels_are_reached_by_dotted_names(self) -> None:
        metadata = Metadata({"a": 1, "b": {"c": 2.5}})
        metadata["b.d.e"] = "text"
        assert metadata.to_dict() == {"a": 1, "b": {"c": 2.5, "d": {"e": "text"}}}
        assert "b.d.e" in metadata
        assert "b.x" not in metadata
        assert "a.x" not in metadata
        del metadata["b.d.e"]
        assert metadata["b.d"].to_dict() == {}
        with pytest.raises(KeyError):
            del metadata["b.x.y"]
        with pytest.raises(KeyError):
            metadata["a.b"]

    def test_numpy_values_become_plain_ones(self) -> None:
        metadata = Metadata()
        metadata["f"] = np.float32(0.5)
        metadata["i"] = np.int16(3)
        metadata["b"] = np.bool_(True)
        metadata["l"] = np.arange(3)
        metadata["m"] = np.ma.masked
        assert [type(metadata[k]) for k in "fibl"] == [float, int, bool, list]
        assert math.isnan(metadata["m"])

    def test_numbers_are_the_single_finite_numbers(self) -> None:
        metadata = Metadata(
            {"n": 2, "ok": True, "t": "x", "l": [1, 2], "none": None, "bad": math.nan}
        )
        metadata["sub.inf"] = math.inf
        metadata["sub.x"] = 1.5
        assert metadata.numbers() == {"n": 2, "ok": 1, "sub.x": 1.5}
        document = json.loads(json.dumps(metadata.to_json(), allow_nan=False))
        assert document["bad"] == "nan"
        assert document["sub"] == {"inf": "inf", "x": 1.5}
        assert document["l"] == [1, 2]

    def test_lists_grow(self) -> None:
        metadata = Metadata()
        metadata.add("chi2", 1.0)
        metadata.add("chi2", np.float64(2.0))
        assert metadata["chi2"] == [1.0, 2.0]

    def test_other_values_are_refused_by_name(self) -> None:
        from astropy import units

        metadata = Metadata()
        for value in (object(), b"bytes", 3 * units.m, [object()]):
            with pytest.raises(TypeError, match="'seeing'"):
                metadata["seeing"] = value
        with pytest.raises(TypeError, match="dotted name"):
            metadata["a..b"] = 1


class TestErrors:
    @pytest.mark.parametrize(
        ("cls", "code"),
        [
            (NoWorkFound, "no-work-found"),
            (UnprocessableData, "unprocessable-data"),
            (PartialOutputs, "partial-outputs"),
            (RepeatableError, "repeatable"),
            (InvalidQuantum, "invalid-quantum"),
        ],
    )
    def test_codes_are_stable_and_metadata_survive_another_process(
        self, cls: Any, code: str
    ) -> None:
        error = pickle.loads(pickle.dumps(cls("why", metadata={"fwhm": 9.0})))
        assert type(error) is cls
        assert error.code == code
        assert str(error) == "why"
        assert error.metadata == {"fwhm": 9.0}
        assert str(cls()).endswith(".")

    def test_errors_with_other_arguments_survive_as_well(self) -> None:
        for error in (
            ConfigurationError("p", label="isr", path="x", value=[1], origin="a.yaml:3"),
            PipelineError("p", file="a.yaml", line=2),
            MissingOutput("isr", "image", ["imag"]),
        ):
            again = pickle.loads(pickle.dumps(error))
            assert str(again) == str(error)
            assert vars(again) == vars(error)


def test_a_light_import() -> None:
    import subprocess
    import sys

    code = (
        "import sys, workflow.task, workflow.connections;"
        "print([m for m in ('astropy', 'numpy', 'lsst', 'sqlalchemy', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_dimensions_are_those_of_the_night() -> None:
    assert CombineBiasTask.connections()["bias"].definition().dimensions == (
        "instrument",
        "detector",
        "day_obs",
    )
    assert CombineBiasTask.dimensions == NIGHT
