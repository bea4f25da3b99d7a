"""Tasks that hang, eat memory, break, or wait for each other, when told to."""

from __future__ import annotations

import signal
import socket
from typing import Any, ClassVar

from lsst.pex.config import Config, Field

from workflow.connections import Input, Output
from workflow.task import Struct, SuperTask

PIXEL = ("instrument", "detector", "exposure")
KIND = "StructuredDataDict"


class AtConfig(Config):
    at = Field[int](doc="Exposure at which it does what it does.", default=0)
    mib = Field[int](doc="Memory that it takes then [MiB].", default=0)


class HangTask(SuperTask):
    """Wait for ever."""

    ConfigClass: ClassVar[Any] = AtConfig
    dimensions = PIXEL
    frame = Input("frame", KIND, PIXEL)
    result = Output("result", KIND, PIXEL)

    def run(self, frame: dict[str, Any]) -> Struct:
        """Give the frame, or do not."""
        if frame["exposure"] == self.config.at:
            signal.pause()
        return Struct(result=frame)


class EatTask(HangTask):
    """Take memory, and wait to be ended."""

    walltime_guess = 2.5

    def run(self, frame: dict[str, Any]) -> Struct:
        """Give the frame, or eat."""
        if frame["exposure"] == self.config.at:
            eaten = b"\x01" * (self.config.mib << 20)
            signal.pause()
            return Struct(result={"eaten": len(eaten)})
        return Struct(result=frame)


class BreakTask(HangTask):
    """Look for what is not there."""

    def run(self, frame: dict[str, Any]) -> Struct:
        """Give the frame, or raise."""
        key = "brightness" if frame["exposure"] == self.config.at else "value"
        return Struct(result={**frame, "of": frame[key]})


class MeetConfig(Config):
    place = Field[str](doc="Socket of the one that lets them go.", default="")


class MeetTask(HangTask):
    """Wait until it is let go."""

    ConfigClass = MeetConfig

    def run(self, frame: dict[str, Any]) -> Struct:
        """Say that it is there, and wait for the answer."""
        with socket.socket(socket.AF_UNIX) as there:
            there.connect(self.config.place)
            there.recv(1)
        return Struct(result=frame)
