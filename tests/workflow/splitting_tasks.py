"""Tasks on numbers: a frame per exposure is split by detector, and each part is halved."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lsst.pex.config import Config, Field

from registry.identity import uuid7
from workflow.connections import Input, Output, Prerequisite
from workflow.errors import NoWorkFound, PartialOutputs
from workflow.task import Struct, SuperTask

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from registry.identity import DatasetRef
    from workflow.quanta import Quantum
    from workflow.task import QuantumContext

EXPOSURE = ("instrument", "exposure")
DETECTOR = ("instrument", "detector", "exposure")


class SplitConfig(Config):
    give_up_on = Field[int](doc="Detector that cannot be made.", default=-1)
    forget_one = Field[bool](doc="Put one object too few.", default=False)


class SplitTask(SuperTask):
    """Make a part for each detector whose frame was read."""

    ConfigClass = SplitConfig
    dimensions = EXPOSURE
    frames = Input("frame", "StructuredDataDict", DETECTOR, multiple=True)
    parts = Output("part", "StructuredDataDict", DETECTOR, multiple=True)

    def run_quantum(self, context: QuantumContext) -> None:
        """Put what can be made, in the order in which it is asked for."""
        detectors = [ref.data_id["detector"] for ref in context.refs["parts"]]
        values = {
            ref.data_id["detector"]: frame
            for ref, frame in zip(context.refs["frames"], context.get("frames"), strict=True)
        }
        bad = self.config.give_up_on
        parts = [None if d == bad else {"of": values[d]["value"]} for d in detectors]
        context.put("parts", parts[self.config.forget_one :])
        if bad in detectors:
            raise PartialOutputs(f"detector {bad} is dark")


class HalveTask(SuperTask):
    """Halve a part."""

    dimensions = DETECTOR
    part = Input("part", "StructuredDataDict", DETECTOR)
    half = Output("half", "StructuredDataDict", DETECTOR)

    def run(self, part: dict[str, float]) -> Struct:
        """Halve it."""
        return Struct(half={"of": part["of"] / 2})


class PerDetectorTask(SuperTask):
    """Ask for what no input can tell: parts by patch."""

    dimensions = EXPOSURE
    frames = Input("frame", "StructuredDataDict", DETECTOR, multiple=True)
    tiles = Output(
        "tile", "StructuredDataDict", ("skymap", "tract", "patch", "instrument"), multiple=True
    )

    def run(self, frames: list[dict[str, float]]) -> Struct:
        """Give nothing."""
        return Struct(tiles=frames)


class LevelTask(SuperTask):
    """The level of a night, a calibration."""

    dimensions = ("instrument", "detector", "day_obs")
    frames = Input("frame", "StructuredDataDict", DETECTOR, multiple=True)
    level = Output(
        "level", "StructuredDataDict", ("instrument", "detector", "day_obs"), is_calibration=True
    )

    def run(self, frames: list[dict[str, float]]) -> Struct:
        """Take the lowest."""
        return Struct(level={"of": min(f["value"] for f in frames)})


class SubtractTask(SuperTask):
    """Subtract the level."""

    dimensions = DETECTOR
    frame = Input("frame", "StructuredDataDict", DETECTOR)
    level = Prerequisite(
        "level", "StructuredDataDict", ("instrument", "detector", "day_obs"), is_calibration=True
    )
    net = Output("net", "StructuredDataDict", DETECTOR)

    def run(self, frame: dict[str, float], level: dict[str, float]) -> Struct:
        """Subtract it."""
        return Struct(net={"of": frame["value"] - level["of"]})


class ChooseTask(SplitTask):
    """Split only what the first detector saw, and not the second exposure."""

    def adjust_quantum(self, quantum: Quantum) -> dict[str, list[DatasetRef]]:
        """Leave the other detectors out."""
        if quantum.data_id["exposure"] == 2:
            raise NoWorkFound("clouds")
        return {"frames": [r for r in quantum.inputs["frames"] if r.data_id["detector"] == 1]}


class ChooseAllTask(SplitTask):
    """Split the last exposure of all, the others not."""

    def adjust_all_quanta(
        self, quanta: Sequence[Quantum]
    ) -> dict[uuid.UUID, dict[str, list[DatasetRef]] | NoWorkFound]:
        """Refuse all but the last."""
        last = max(int(q.data_id["exposure"]) for q in quanta)
        return {q.id: NoWorkFound("not the last") for q in quanta if q.data_id["exposure"] != last}


class GreedyTask(SplitTask):
    """Ask for what it was not offered."""

    def adjust_quantum(self, quantum: Quantum) -> dict[str, list[DatasetRef]]:
        """Name a dataset that is nowhere."""
        return {"frames": [replace(quantum.inputs["frames"][0], id=uuid7())]}


class GatherTask(SuperTask):
    """Add up what is left of an exposure."""

    dimensions = EXPOSURE
    nets = Input("net", "StructuredDataDict", DETECTOR, multiple=True)
    sum = Output("sum", "StructuredDataDict", EXPOSURE)

    def run(self, nets: list[dict[str, float]]) -> Struct:
        """Add them up."""
        return Struct(sum={"of": sum(n["of"] for n in nets)})


class PairTask(SuperTask):
    """Compare three frames of an exposure."""

    dimensions = EXPOSURE
    frames = Input("frame", "StructuredDataDict", DETECTOR, multiple=True, minimum=3)
    pair = Output("pair", "StructuredDataDict", EXPOSURE)

    def run(self, frames: list[dict[str, float]]) -> Struct:
        """Give the first."""
        return Struct(pair=frames[0])
