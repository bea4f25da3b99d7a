"""A task whose outputs show with which configuration they were made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lsst.pex.config import Config, ConfigurableField, Field

from workflow.connections import Input, Output
from workflow.errors import NoWorkFound
from workflow.task import Struct, SuperTask, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflow.quanta import Quantum

DETECTOR = ("instrument", "exposure", "detector")


class AddConfig(Config):
    offset = Field[float](doc="What is added.", default=0.0)


class AddTask(Task):
    ConfigClass = AddConfig

    def run(self, value: float) -> float:
        return value + float(self.config.offset)


class ScaleConfig(Config):
    factor = Field[float](doc="What values are multiplied by.", default=1.0)
    add: Any = ConfigurableField(doc="What is done then.", target=AddTask)
    largest = Field[float](doc="Larger frames are left out when it is planned.", default=1e9)
    do_both = Field[bool](doc="Whether there is another output.", default=False)

    def validate(self) -> None:
        super().validate()
        if self.factor == 0 and self.add.offset == 0:
            raise ValueError("factor and offset cannot both be 0")


class ScaleTask(SuperTask):
    """Multiply, then add; other detectors and exposures may have other numbers."""

    ConfigClass = ScaleConfig
    dimensions = DETECTOR
    add: Any
    frame = Input("frame", "StructuredDataDict", DETECTOR)
    scaled = Output("scaled", "StructuredDataDict", DETECTOR)
    both = Output("both", "StructuredDataDict", DETECTOR, enabled_by="do_both")

    def __init__(self, config: Any = None, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.make_subtask("add")

    def adjust_quantum(self, quantum: Quantum) -> Mapping[str, Any]:
        number = 10 * int(quantum.data_id["exposure"]) + int(quantum.data_id["detector"])
        if number > self.config.largest:
            raise NoWorkFound(f"{number} is more than {self.config.largest:g}")
        return {}

    def run(self, frame: dict[str, float]) -> Struct:
        made = {"of": self.add.run(frame["value"] * self.config.factor)}
        return Struct(scaled=made, both=made)
