"""Tasks on numbers: a frame per exposure is split by detector, and each part is halved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsst.pex.config import Config, Field

from workflow.connections import Input, Output, Prerequisite
from workflow.errors import PartialOutputs
from workflow.task import Struct, SuperTask

if TYPE_CHECKING:
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
