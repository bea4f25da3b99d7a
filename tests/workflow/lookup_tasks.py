"""Tasks with prerequisites that functions look up, rightly and wrongly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lsst.pex.config import ChoiceField, Config

from tests.workflow.splitting_tasks import DETECTOR
from workflow.connections import Connections, Input, Output, Prerequisite
from workflow.task import Struct, SuperTask

if TYPE_CHECKING:
    from registry.identity import DataId, DatasetRef
    from registry.plans import Asked

CALLS: list[int] = []
"""Of each call, for how many quanta."""


def neighbours(asked: Asked) -> dict[DataId, list[DatasetRef]]:
    """Find for each frame those of the exposures beside it, on the same detector."""
    CALLS.append(len(asked.data_ids))
    there = asked.datasets("exposure < most", most=100)
    begins = {r["id"]: r["begin_tai_ns"] for r in asked.records("exposure")}
    return {
        data_id: [
            ref
            for ref in there
            if ref.data_id["detector"] == data_id["detector"]
            and abs(ref.data_id["exposure"] - begins[data_id["exposure"]]) == 1
        ]
        for data_id in asked.data_ids
    }


def raising(asked: Asked) -> dict[DataId, list[DatasetRef]]:
    """Divide by nothing."""
    return {asked.data_ids[0]: [asked.datasets()[1 // 0]]}


def strange(asked: Asked) -> dict[Any, list[DatasetRef]]:
    """Answer for what nobody asked."""
    return {"M31": asked.datasets()}


def several(asked: Asked) -> dict[DataId, list[DatasetRef]]:
    """Give all to each."""
    return dict.fromkeys(asked.data_ids, asked.datasets())


def nothing(asked: Asked) -> dict[DataId, list[DatasetRef]]:  # noqa: ARG001
    """Find nothing."""
    return {}


WRONG = {f.__name__: f for f in (raising, strange, several, nothing)}


class CompareTask(SuperTask):
    """Sum the frames beside a frame."""

    dimensions = DETECTOR
    frame = Input("frame", "StructuredDataDict", DETECTOR)
    beside = Prerequisite("frame", "StructuredDataDict", DETECTOR, multiple=True, lookup=neighbours)
    compared = Output("compared", "StructuredDataDict", DETECTOR)

    def run(self, frame: dict[str, float], beside: list[dict[str, float]]) -> Struct:
        """Sum them."""
        return Struct(compared={"own": frame["value"], "sum": sum(b["value"] for b in beside)})


class WrongConfig(Config):
    function = ChoiceField[str](
        doc="Which.", allowed=dict.fromkeys(WRONG, "It."), default="nothing"
    )


class WrongTask(SuperTask):
    """Look up with one of the wrong functions."""

    ConfigClass = WrongConfig
    dimensions = DETECTOR
    frame = Input("frame", "StructuredDataDict", DETECTOR)
    other = Prerequisite("frame", "StructuredDataDict", DETECTOR, lookup=nothing)
    compared = Output("compared", "StructuredDataDict", DETECTOR)

    @classmethod
    def configure_connections(cls, connections: Connections, config: Any) -> Connections:
        """Take the function that the configuration names."""
        return connections.replaced("other", lookup=WRONG[config.function])

    def run(self, frame: dict[str, float], other: dict[str, float]) -> Struct:
        """Never."""
        raise NotImplementedError
