"""A metric task without pixels."""

from __future__ import annotations

from typing import Any

from workflow.connections import Input, Output
from workflow.task import Struct, SuperTask

FRAME = ("instrument", "detector", "exposure")
KIND = "StructuredDataDict"
PIPELINE = f"""
description: the value of each frame
tasks:
  measure:
    class: {__name__}.MeasureTask
"""


class MeasureTask(SuperTask):
    """The value of a frame, as a metric."""

    dimensions = FRAME
    frame = Input("frame", KIND, FRAME)
    measured = Output("measured", KIND, FRAME)

    def run(self, frame: dict[str, Any]) -> Struct:
        self.metadata["value"] = frame["value"]
        return Struct(measured={"value": frame["value"]})
