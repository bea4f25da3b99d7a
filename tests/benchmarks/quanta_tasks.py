"""Three tasks as the peer's benchmark has them: two per detector, one that gathers a visit."""

from __future__ import annotations

from workflow.connections import Input, Output
from workflow.task import Struct, SuperTask

KIND = "StructuredDataDict"
PIXEL = ("instrument", "detector", "exposure")
VISITED = ("instrument", "detector", "visit")

PIPELINE = f"""
description: nothing, in three steps
tasks:
  isr:
    class: {__name__}.IsrTask
  calibrate:
    class: {__name__}.CalibrateTask
  gather:
    class: {__name__}.GatherTask
"""


class IsrTask(SuperTask):
    """From a raw frame."""

    dimensions = PIXEL
    raw = Input("raw", KIND, PIXEL)
    out = Output("post_isr", KIND, PIXEL)

    def run(self, raw: dict[str, int]) -> Struct:
        """Give back what came."""
        return Struct(out=raw)


class CalibrateTask(SuperTask):
    """From the exposures of a visit."""

    dimensions = VISITED
    inp = Input("post_isr", KIND, PIXEL, multiple=True)
    cat = Output("src", KIND, VISITED)
    img = Output("calexp", KIND, VISITED)

    def run(self, inp: list[dict[str, int]]) -> Struct:
        """Give back what came."""
        return Struct(cat=inp[0], img=inp[0])


class GatherTask(SuperTask):
    """From the detectors of a visit."""

    dimensions = ("instrument", "visit")
    inp = Input("src", KIND, VISITED, multiple=True)
    out = Output("visit_table", KIND, ("instrument", "visit"))

    def run(self, inp: list[dict[str, int]]) -> Struct:
        """Count them."""
        return Struct(out={"n": len(inp)})
