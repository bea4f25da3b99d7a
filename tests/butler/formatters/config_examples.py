"""Configurations with every kind of field, and the classes that they point at."""

from __future__ import annotations

from typing import Any, ClassVar

from lsst.pex.config import (
    ChoiceField,
    Config,
    ConfigChoiceField,
    ConfigDictField,
    ConfigField,
    ConfigurableField,
    DictField,
    Field,
    ListField,
    RangeField,
)


class FitConfig(Config):
    order = RangeField(doc="order", dtype=int, default=2, min=0, max=9)
    label = Field[str](doc="a 'label'\nin two lines", default='it\'s "quoted"\n天文', optional=True)


class SplineConfig(Config):
    knots = ListField[float](doc="knots", default=[0.0, float("inf")])


class FitTask:
    ConfigClass: ClassVar[Any] = FitConfig


class SplineTask:
    ConfigClass: ClassVar[Any] = SplineConfig


class EveryFieldConfig(Config):
    threshold = Field[float](doc="sigma", default=5.0)
    missing = Field[float](doc="not a number", default=float("nan"))
    nothing = Field[float](doc="None", default=None, optional=True)
    enabled = Field[bool](doc="switch", default=True)
    method = ChoiceField[str](doc="choice", allowed={"mean": "m", "median": "d"}, default="mean")
    labels = ListField[str](doc="labels", default=["a", "b"])
    gains = DictField[str, float](doc="gains", default={"C00": 1.7741})
    nested = ConfigField[FitConfig](doc="nested")
    either = ConfigChoiceField(
        doc="one of", typemap={"fit": FitConfig, "spline": SplineConfig}, default="fit"
    )
    several = ConfigDictField(doc="named", keytype=str, itemtype=FitConfig, default={})
    task: Any = ConfigurableField(doc="sub-task", target=FitTask)
