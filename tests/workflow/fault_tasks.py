"""Cheap tasks in two stages; one kills its own process, or waits for ever, when told to."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsst.pex.config import Config, Field

from workflow.connections import Input, Output, Prerequisite
from workflow.errors import NoWorkFound
from workflow.task import Struct, SuperTask

if TYPE_CHECKING:
    from collections.abc import Sequence

PIXEL = ("instrument", "detector", "exposure")
NIGHT = ("instrument", "detector", "day_obs")
KIND = "StructuredDataDict"
EMPTY = 5
"""Level of a frame on which there is nothing to be found."""

PIPELINE = f"""
description: levels of each night, frames above their level, sources in them
tasks:
  level:
    class: {__name__}.LevelTask
    certify: {{level: until-next}}
  subtract:
    class: {__name__}.SubtractTask
  find:
    class: {__name__}.FindTask
    config:
      - {{where: "exposure IN (2, 4)", offset: 0.5}}
  gather:
    class: {__name__}.GatherTask
"""


class LevelTask(SuperTask):
    """The mean of a night's frames."""

    dimensions = NIGHT
    frames = Input("frame", KIND, PIXEL, multiple=True)
    level = Output("level", KIND, NIGHT, is_calibration=True)

    def run(self, frames: Sequence[dict[str, Any]]) -> Struct:
        self.metadata["n_frames"] = len(frames)
        return Struct(level={"mean": sum(f["value"] for f in frames) / len(frames)})


class SubtractConfig(Config):
    deadly = Field[str](doc="Folder with a file for each time that the process dies.", default="")
    held = Field[str](doc="Pipe that is opened before it waits for ever.", default="")
    at = Field[int](doc="Exposure with which it dies, or waits.", default=0)


class SubtractTask(SuperTask):
    """A frame above its night's level."""

    ConfigClass = SubtractConfig
    dimensions = PIXEL
    frame = Input("frame", KIND, PIXEL)
    level = Prerequisite("level", KIND, NIGHT, is_calibration=True)
    above = Output("above", KIND, PIXEL)

    def run(self, frame: dict[str, Any], level: dict[str, Any]) -> Struct:
        if self.config.deadly and frame["exposure"] == self.config.at:
            for token in sorted(Path(self.config.deadly).iterdir()):
                token.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        held = Path(self.config.held or "nowhere")
        if frame["exposure"] == self.config.at and held.is_fifo():
            with held.open("w"):
                signal.pause()
        return Struct(above={**frame, "value": frame["value"] - level["mean"]})


class FindConfig(Config):
    offset = Field[float](doc="What is added to what is found.", default=0.0)


class FindTask(SuperTask):
    """What is found on a frame: nothing on some, a little more on those configured for it."""

    ConfigClass = FindConfig
    dimensions = PIXEL
    above = Input("above", KIND, PIXEL)
    found = Output("found", KIND, PIXEL)

    def run(self, above: dict[str, Any]) -> Struct:
        if above["exposure"] % EMPTY == 0:
            raise NoWorkFound("This frame is empty.")
        return Struct(found={"n": above["value"] + self.config.offset})


class GatherTask(SuperTask):
    """The sum over a detector's frames."""

    dimensions = ("instrument", "detector")
    found = Input("found", KIND, PIXEL, multiple=True)
    total = Output("total", KIND, ("instrument", "detector"))

    def run(self, found: Sequence[dict[str, Any]]) -> Struct:
        return Struct(total={"sum": sum(f["n"] for f in found), "frames": len(found)})
