"""A small chain of tasks, with every kind of configuration field."""

from __future__ import annotations

from typing import Any

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
    Registry,
)

from workflow.connections import Input, Output, Prerequisite
from workflow.task import Struct, SuperTask, Task

PIXEL = ("instrument", "detector", "exposure")
NIGHT = ("instrument", "detector", "day_obs")


class ClipConfig(Config):
    sigma = Field[float](doc="Clip beyond this many sigma.", default=5.0)
    iterations = Field[int](doc="At most.", default=3)

    def setDefaults(self) -> None:
        self.iterations = 4


class MedianConfig(Config):
    axis = Field[int](doc="Along which.", default=0)


class MeanTask(Task):
    """The mean with outliers clipped."""

    ConfigClass = ClipConfig

    def run(self, values: list[float]) -> float:
        self.metadata["n"] = len(values)
        return sum(values) / len(values)


class MedianTask(Task):
    """The median."""

    ConfigClass = MedianConfig

    def run(self, values: list[float]) -> float:
        return sorted(values)[len(values) // 2]


statistics = Registry()
statistics.register("mean", MeanTask)
statistics.register("median", MedianTask)


class CombineConfig(Config):
    """One field of every kind."""

    statistic: Any = ConfigurableField(doc="How frames are combined.", target=MeanTask)
    named = statistics.makeField(doc="The same by name.", default="mean")
    clip: Any = ConfigField(doc="Clipping before.", dtype=ClipConfig)
    model = ConfigChoiceField(
        doc="One of several.", typemap={"clip": ClipConfig, "median": MedianConfig}, default="clip"
    )
    steps = ConfigChoiceField(
        doc="Several in order.",
        typemap={"clip": ClipConfig, "median": MedianConfig, "again": ClipConfig},
        default=["median", "clip"],
        multi=True,
    )
    extra_steps = ConfigChoiceField(
        doc="None chosen.", typemap={"clip": ClipConfig}, default=None, multi=True, optional=True
    )
    per_detector = ConfigDictField(doc="By number.", keytype=int, itemtype=ClipConfig, default={})
    skip_first = Field[int](doc="Frames left out at the beginning.", default=0)
    scale = RangeField(doc="Between 0 and 1.", dtype=float, min=0.0, max=1.0, default=0.5)
    saturation = Field[float](doc="Level [adu].", default=float("nan"))
    ceiling = Field[float](doc="Level [adu].", default=float("inf"))
    quadrature = Field[complex](doc="A phase.", default=complex(1, float("nan")))
    weights = ListField[float](doc="Per frame.", default=[1.0, float("nan"), float("-inf")])
    bands = ListField[str](doc="Filters.", default=["g", "r"])
    offsets = DictField[str, float](doc="Per filter.", default={"g": float("inf")})
    mode = ChoiceField[str](doc="What.", allowed={"sum": "sum", "mean": "mean"}, default="mean")
    title = Field[str](doc="Free text.", default="été\n'q' #1", optional=True)
    note = Field[str](doc="Nothing.", default=None, optional=True)
    do_clip = Field[bool](doc="Whether to clip.", default=True)

    def setDefaults(self) -> None:
        self.clip.sigma = 7.0

    def validate(self) -> None:
        super().validate()
        if self.skip_first < 0:
            raise ValueError("skip_first counts from 0")


class CombineBiasTask(SuperTask):
    """Combine the bias frames of a night."""

    ConfigClass = CombineConfig
    dimensions = NIGHT
    statistic: Any
    named: Any
    raws = Input("raw", "Exposure", PIXEL, multiple=True, minimum=2)
    bias = Output("bias", "Exposure", NIGHT, is_calibration=True)

    def __init__(self, config: Any = None, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.make_subtask("statistic")

    def run(self, raws: list[float]) -> Struct:
        self.metadata["n_frames"] = len(raws)
        self.metadata["level.mean"] = self.statistic.run(raws)
        return Struct(bias=self.metadata["level.mean"])


class CombineFlatTask(SuperTask):
    """Combine the flats of a night."""

    dimensions = NIGHT
    raws = Input("raw", "Exposure", PIXEL, multiple=True)
    bias = Prerequisite("bias", "Exposure", NIGHT, is_calibration=True)
    flat = Output("flat", "Exposure", NIGHT, is_calibration=True)

    def run(self, raws: list[float], bias: float) -> Struct:
        return Struct(flat=sum(raws) / len(raws) - bias)


class IsrConfig(Config):
    do_bias = Field[bool](doc="Subtract the bias.", default=True)
    do_flat = Field[bool](doc="Divide by the flat.", default=True)
    binning = Field[int](doc="Pixels.", default=1)


class IsrTask(SuperTask):
    """Remove the signature of the instrument."""

    ConfigClass = IsrConfig
    dimensions = PIXEL
    raw = Input("raw", "Exposure", PIXEL)
    bias = Prerequisite("bias", "Exposure", NIGHT, is_calibration=True, enabled_by="do_bias")
    flat = Prerequisite(
        "flat", "Exposure", NIGHT, is_calibration=True, enabled_by="do_flat", minimum=0
    )
    image = Output("calexp", "Exposure", PIXEL)

    def run(self, raw: float, bias: float | None, flat: float | None) -> Struct:
        value = raw - (bias or 0.0)
        return Struct(image=value / flat if flat else value)


class SourcesTask(SuperTask):
    """Find sources."""

    dimensions = PIXEL
    image = Input("calexp", "Exposure", PIXEL)
    sources = Output("src", "Table", PIXEL)

    def run(self, image: float) -> Struct:
        return Struct(sources=[image])


class TemplatedConfig(Config):
    order = Field[int](doc="Of the kernel.", default=3)


class TemplatedTask(SuperTask):
    """Name datasets as tasks of coadds do."""

    ConfigClass = TemplatedConfig
    dimensions = ("skymap", "tract", "patch")
    templates = {"coaddName": "deep", "suffix": ""}  # noqa: RUF012
    warps = Input("{coaddName}Warp", "StructuredDataDict", ("skymap", "tract", "patch"))
    coadd = Output("{coaddName}Coadd{suffix}", "StructuredDataDict", ("skymap", "tract", "patch"))

    def run(self, warps: dict[str, Any]) -> Struct:
        return Struct(coadd=warps)
