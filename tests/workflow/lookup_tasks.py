"""Tasks with prerequisites that functions look up, rightly and wrongly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lsst.pex.config import ChoiceField, Config

from tests.workflow.splitting_tasks import DETECTOR, EXPOSURE
from workflow.connections import Connections, Input, Output, Prerequisite
from workflow.errors import NoWorkFound
from workflow.task import Struct, SuperTask

if TYPE_CHECKING:
    from registry.identity import DataId, DatasetRef
    from registry.plans import Asked
    from workflow.quanta import Quantum

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


class LonelyTask(CompareTask):
    """Compare the first exposure with nothing."""

    def adjust_quantum(self, quantum: Quantum) -> dict[str, list[DatasetRef]]:
        """Leave out what was looked up for it."""
        return {"beside": []} if quantum.data_id["exposure"] == 1 else {}


class DoubleTask(SuperTask):
    """Double a frame, but none of the first detector's in the first exposure."""

    dimensions = DETECTOR
    frame = Input("frame", "StructuredDataDict", DETECTOR)
    double = Output("double", "StructuredDataDict", DETECTOR)

    def adjust_quantum(self, quantum: Quantum) -> dict[str, list[DatasetRef]]:
        """Refuse it."""
        if (quantum.data_id["exposure"], quantum.data_id["detector"]) == (1, 1):
            raise NoWorkFound("hot")
        return {}

    def run(self, frame: dict[str, float]) -> Struct:
        """Double it."""
        return Struct(double={"of": frame["value"] * 2})


class FirstTask(SuperTask):
    """Take the first that there will be of an exposure."""

    dimensions = EXPOSURE
    doubles = Input("double", "StructuredDataDict", DETECTOR, multiple=True)
    first = Output("first", "StructuredDataDict", EXPOSURE)

    def adjust_quantum(self, quantum: Quantum) -> dict[str, list[DatasetRef]]:
        """Leave the others out."""
        return {"doubles": list(quantum.inputs["doubles"][:1])}

    def run(self, doubles: list[dict[str, float]]) -> Struct:
        """Take it."""
        [only] = doubles
        return Struct(first=only)


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
