"""Tasks that know what they write when they are made, and one that is told so; and their needs."""

from __future__ import annotations

from typing import Any

from lsst.pex.config import Config, Field

from tests.workflow.splitting_tasks import DETECTOR
from workflow.connections import (
    Connections,
    InitInput,
    InitOutput,
    Input,
    Output,
)
from workflow.errors import RepeatableError, UnprocessableData
from workflow.task import Struct, SuperTask


class MeasureConfig(Config):
    column = Field[str](doc="Name of the column.", default="flux")
    forget = Field[bool](doc="Set no schema.", default=False)
    refuse = Field[int](doc="Detector whose data are bad.", default=-1)
    break_on = Field[int](doc="Detector at which the task is broken.", default=-1)


class MeasureTask(SuperTask):
    """Measure one column."""

    ConfigClass = MeasureConfig
    dimensions = DETECTOR
    walltime_guess = 0.5
    frame = Input("frame", "StructuredDataDict", DETECTOR)
    schema: Any = InitOutput("measure_schema", "StructuredDataDict", ())
    measured = Output("measured", "StructuredDataDict", DETECTOR)

    def __init__(self, config: Any = None, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        if not self.config.forget:
            self.schema = {"columns": [self.config.column]}

    def run(self, frame: dict[str, float]) -> Struct:
        """Take the value."""
        detector = int(frame["value"]) % 10
        if detector == self.config.refuse:
            raise UnprocessableData("no star", metadata={"stars": 0})
        if detector == self.config.break_on:
            raise RepeatableError("a bug")
        return Struct(measured={self.config.column: frame["value"]})


class ExtendConfig(Config):
    with_reference = Field[bool](doc="Use the reference.", default=False)


class ExtendTask(SuperTask):
    """Extend what was measured by a column, with a reference or without."""

    ConfigClass = ExtendConfig
    dimensions = DETECTOR
    in_schema: Any = InitInput("measure_schema", "StructuredDataDict", ())
    out_schema: Any = InitOutput("extended_schema", "StructuredDataDict", ())
    measured = Input("measured", "StructuredDataDict", DETECTOR)
    reference = Input("frame", "StructuredDataDict", DETECTOR)
    extended = Output("extended", "StructuredDataDict", DETECTOR)

    @classmethod
    def configure_connections(cls, connections: Connections, config: Any) -> Connections:
        """Leave the reference out."""
        return connections if config.with_reference else connections.without("reference")

    def __init__(self, config: Any = None, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.columns = [*self.in_schema["columns"], "extra"]
        self.out_schema = {"columns": self.columns}

    def run(self, measured: dict[str, float], reference: dict[str, float] | None) -> Struct:
        """Write all columns."""
        extra = reference["value"] if reference else -1.0
        return Struct(extended=dict(zip(self.columns, [*measured.values(), extra], strict=True)))
