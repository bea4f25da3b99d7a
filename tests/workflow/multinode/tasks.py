"""Multi-node tasks of the tests; ranks in other processes find them by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lsst.pex.config import Config, Field

from workflow.connections import Input, Output
from workflow.errors import UnprocessableData
from workflow.multicore import granted
from workflow.multinode import Ring
from workflow.task import Struct, SuperTask

if TYPE_CHECKING:
    from workflow.multinode import Neighbourhood

_RAW = ("instrument", "detector", "exposure")
_EXPOSURE = ("instrument", "exposure")


class RotateConfig(Config):
    """By how much, and where it goes wrong."""

    factor = Field[float]("What each value is multiplied with.", default=2.0)
    fails_at = Field[int]("The place that cannot be processed; -1 for none.", default=-1)


class RotateTask(SuperTask):
    """Give each detector the value of the next, multiplied."""

    ConfigClass = RotateConfig
    dimensions = _EXPOSURE
    multinode = Ring
    ranks = 3

    values = Input("value", "StructuredDataDict", _RAW, multiple=True)
    rotated = Output("rotated", "StructuredDataDict", _RAW, multiple=True)
    total = Output("total", "StructuredDataDict", _EXPOSURE)

    def geometry(self, values: list[float]) -> Ring:
        return Ring(len(values))

    def run_nodes(self, around: Neighbourhood, values: list[float]) -> Struct | None:
        if self.config.fails_at in around.mine:
            raise UnprocessableData("no value here", metadata={"place": self.config.fails_at})
        mine = {n: self.config.factor * values[n] for n in around.mine}
        heard = around.neighbor_allgather(mine)
        self.metadata["total"] = around.total(mine)
        self.metadata["cores"] = granted().cores
        made: list[Any] = [heard[n]["right"] if n in mine else None for n in range(len(values))]
        total = {"total": self.metadata["total"]} if around.comm.rank == 0 else None
        return Struct(rotated=made, total=total)
