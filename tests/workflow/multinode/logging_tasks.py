"""Multi-node tasks that log; ranks in other processes find them by name."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from lsst.pex.config import Field

from tests.workflow.multinode.tasks import RotateConfig
from workflow import logs
from workflow.connections import Input, Output
from workflow.errors import UnprocessableData
from workflow.multicore import Grant, Workers, use
from workflow.multinode import Ring
from workflow.task import Struct, SuperTask

if TYPE_CHECKING:
    from workflow.multinode import Neighbourhood

_NIGHT = ("instrument", "day_obs")
_PIXEL = ("instrument", "detector", "exposure")


def halved(value: float) -> float:
    """Log in a worker process of a rank."""
    logging.getLogger("skyspine.halved").info("halved %g", value)
    return value / 2


class TellingConfig(RotateConfig):
    many = Field[int](doc="How many records the first place makes at once.", default=0)


class TellingTask(SuperTask):
    """Log at each place, in each rank, and in worker processes of the first."""

    ConfigClass = TellingConfig
    dimensions = _NIGHT
    multinode = Ring
    ranks = 3
    frames = Input("frame", "StructuredDataDict", _PIXEL, multiple=True)
    told = Output("told", "StructuredDataDict", _NIGHT)

    def geometry(self, frames: list[Any]) -> Ring:
        return Ring(len(frames))

    def run_nodes(self, around: Neighbourhood, frames: list[Any]) -> Struct | None:
        for place in around.mine:
            with logs.bound(place=place):
                self.log.info("value %g", frames[place]["value"])
                self.log.debug("in detail")
            if place == self.config.fails_at:
                raise UnprocessableData("no value here")
        if around.comm.rank:
            return None
        for n in range(self.config.many):
            logging.getLogger("skyspine.many").info("%d", n)
        with use(Grant(2)), Workers("processes") as pool:
            return Struct(told={"halves": pool.map(halved, [f["value"] for f in frames])})
