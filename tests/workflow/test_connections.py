from __future__ import annotations

from typing import Any

import pytest
from lsst.pex.config import Config, Field

from tests.workflow.example_tasks import NIGHT, PIXEL, CombineBiasTask, IsrConfig, IsrTask
from workflow.connections import Input, Output, Prerequisite
from workflow.errors import TaskDefinitionError
from workflow.task import Struct, SuperTask


def run_with(*names: str) -> Any:
    """Make a run() with these parameters."""
    namespace: dict[str, Any] = {}
    exec(f"def run(self, {', '.join(names)}): return None", namespace)  # noqa: S102
    return namespace["run"]


class Settings(Config):
    do_dark = Field[bool](doc="Whether.", default=True)
    order = Field[int](doc="How.", default=1)


RAW = Input("raw", "Exposure", PIXEL)
IMAGE = Output("calexp", "Exposure", PIXEL)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"raw": RAW}, "no run.. method"),
        ({"raw": RAW, "run": run_with("rw")}, "no parameter 'raw'.*Did you mean 'rw'"),
        ({"raw": RAW, "run": run_with("raw", "dark")}, "needs 'dark', but no input"),
        (
            {"raw": RAW, "run": run_with("raw"), "dimensions": ("detectr",)},
            "no dimension 'detectr'",
        ),
        ({"raw": RAW, "run": run_with("raw"), "dimensions": (*PIXEL, "detector")}, "named twice"),
        ({"raw": RAW, "run": run_with("raw"), "dimensions": "exposure"}, "is a tuple"),
        (
            {"raw": Input("raw", "Exposure", ("nights",)), "run": run_with("raw")},
            "'raw': there is no dimension 'nights'",
        ),
        (
            {"raw": RAW, "run": run_with("raw"), "dimensions": NIGHT},
            "'raw' is identified by exposure beyond.*multiple=True",
        ),
        (
            {"raw": RAW, "a": IMAGE, "b": IMAGE, "run": run_with("raw")},
            "'a' and 'b' both write calexp",
        ),
        (
            {"raw": RAW, "same": Output("raw", "Exposure", PIXEL), "run": run_with("raw")},
            "'same' writes raw, which is also its input 'raw'",
        ),
        ({"config": RAW, "run": run_with("config")}, "may not be called 'config'"),
        ({"run_quantum": RAW, "run": run_with("x")}, "may not be called 'run_quantum'"),
        (
            {"raw": Input("raw", "Exposure", PIXEL, minimum=2), "run": run_with("raw")},
            "minimum=2 needs multiple=True",
        ),
        (
            {"raw": Input("raw", "Exposure", PIXEL, minimum=-1), "run": run_with("raw")},
            "counts from 0",
        ),
        (
            {"raw": RAW, "out": Output("o", "Exposure", PIXEL, defer_load=True)}
            | {"run": run_with("raw")},
            "defer_load",
        ),
        (
            {
                "bias": Input("bias", "Exposure", PIXEL, is_calibration=True),
                "run": run_with("bias"),
            },
            "declare a Prerequisite",
        ),
        (
            {"raw": Input("raw", "Exposure", PIXEL, enabled_by="do_drak"), "run": run_with("raw")},
            "enabled_by='do_drak'.*Did you mean 'do_dark'",
        ),
        (
            {"raw": Input("raw", "Exposure", PIXEL, enabled_by="order"), "run": run_with("raw")},
            "boolean field",
        ),
    ],
)
def test_a_wrong_declaration_fails_when_the_class_is_made(
    body: dict[str, Any], message: str
) -> None:
    with pytest.raises(TaskDefinitionError, match=message) as caught:
        type("BrokenTask", (SuperTask,), {"dimensions": PIXEL, "ConfigClass": Settings, **body})
    assert "BrokenTask" in str(caught.value)
    assert caught.value.code == "task-definition"


def test_dimensions_as_a_string_are_refused_at_once() -> None:
    with pytest.raises(TypeError, match=r"Input\('raw'\): dimensions is a tuple"):
        Input("raw", "Exposure", "exposure")  # type: ignore[arg-type]


def test_an_implied_dimension_identifies_one_dataset() -> None:
    class Uses(SuperTask):
        dimensions = ("instrument", "exposure")
        weather = Input("weather", "Table", ("instrument", "day_obs"))
        band_table = Input("bands", "Table", ("band",))

        def run(self, weather: Any, band_table: Any) -> None: ...

    assert set(Uses.connections().inputs) == {"weather", "band_table"}


def test_keys_of_an_instrument_are_declared() -> None:
    class PerTarget(SuperTask):
        dimensions = ("instrument", "target")
        extra_dimensions = ("target",)
        spectra = Input("calexp", "Exposure", (*PIXEL, "target"), multiple=True)
        stack = Output("stack", "Exposure", ("instrument", "target"))

        def run(self, spectra: list[Any]) -> Struct:
            return Struct(stack=spectra[0])

    assert PerTarget.connections()["stack"].definition().dimensions == ("instrument", "target")


def test_run_quantum_of_its_own_leaves_run_free() -> None:
    class Own(SuperTask):
        dimensions = PIXEL
        raw = RAW
        image = IMAGE

        def run_quantum(self, context: Any) -> None:
            context.put("image", context.get("raw"))

    assert list(Own.connections()) == ["raw", "image"]


def test_a_subclass_adds_replaces_and_takes_away() -> None:
    class Child(CombineBiasTask):
        darks = Input("dark_raw", "Exposure", PIXEL, multiple=True)
        raws = None  # type: ignore[assignment]

        def run(self, darks: list[Any]) -> Struct:
            return Struct(bias=darks[0])

    assert list(Child.connections()) == ["bias", "darks"]
    assert list(CombineBiasTask.connections()) == ["raws", "bias"]


def test_an_abstract_task_is_checked_by_its_children() -> None:
    class Base(SuperTask, abstract=True):
        dimensions = PIXEL
        raw = RAW

    with pytest.raises(TaskDefinitionError, match="no run"):
        type("Child", (Base,), {})


def test_configuration_disables_connections() -> None:
    assert set(IsrTask.connections()) == {"raw", "bias", "flat", "image"}
    assert set(IsrTask.connections(IsrConfig(do_flat=False))) == {"raw", "bias", "image"}
    connections = IsrTask.connections(IsrConfig(do_flat=False, do_bias=False))
    assert connections.prerequisites == {}
    assert list(connections.outputs) == ["image"]


def test_a_pipeline_renames_dataset_types() -> None:
    renamed = CombineBiasTask.connections(rename={"bias": "superBias"})
    assert renamed["bias"].dataset_type == "superBias"
    assert CombineBiasTask.bias.dataset_type == "bias"
    with pytest.raises(TaskDefinitionError, match=r"no connection 'biass'.*Did you mean 'bias'"):
        CombineBiasTask.connections(rename={"biass": "x"})
    with pytest.raises(TaskDefinitionError, match="writes raw, which is also its input"):
        CombineBiasTask.connections(rename={"bias": "raw"})


def test_a_pipeline_changes_dimensions_of_the_task_and_of_its_own_outputs() -> None:
    changed = CombineBiasTask.connections(dimensions=("instrument", "detector"))
    assert changed.dimensions == ("instrument", "detector")
    assert changed["bias"].dimensions == ("instrument", "detector")
    assert changed["raws"].dimensions == PIXEL
    with pytest.raises(TaskDefinitionError, match="no dimension 'nite'"):
        CombineBiasTask.connections(dimensions=("nite",))
    with pytest.raises(TaskDefinitionError, match="'raw' is identified by exposure"):
        IsrTask.connections(dimensions=("instrument", "detector"))


def test_the_definition_is_that_of_the_registry() -> None:
    definition = Prerequisite(
        "flat", "Exposure", ("physical_filter", "detector", "instrument"), is_calibration=True
    ).definition()
    assert definition.dimensions == ("instrument", "detector", "physical_filter")
    assert definition.is_calibration
