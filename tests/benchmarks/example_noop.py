"""A task that does nothing, for the overhead of a quantum."""

from __future__ import annotations

from lsst.pex.config import Config

from workflow.connections import Input, Output
from workflow.task import Struct, SuperTask

DIMENSIONS = ("instrument", "detector", "exposure")


class NoopTask(SuperTask):
    """Read a small dataset and write another."""

    ConfigClass = Config
    default_name = "noop"
    dimensions = DIMENSIONS
    before = Input("before", "StructuredDataDict", DIMENSIONS)
    after = Output("after", "StructuredDataDict", DIMENSIONS)

    def run(self, before: dict[str, int]) -> Struct:
        """Give back what came."""
        return Struct(after=before)
