"""How are the exposures of a night and a target, all on the same pixels, made into one?

Spectra of a slit, or images of an instrument that was not moved: each pixel is combined with
clipping.  Exposures whose background or noise is far from that of the others are left out; the
numbers by which that was decided are noted for every input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from lsst.pex.config import Config, ConfigField, Field, ListField, RangeField

from workflow.ccd.errors import FrameMismatch, TooFewFrames
from workflow.ccd.frames import (
    header_number,
    loaded,
    make_frame,
    robust_sigma,
    sky_statistics,
    variance_of,
)
from workflow.ccd.planes import bad_pixels, bit, mask_of
from workflow.ccd.statistics import FrameStack, StatisticsConfig, combine_stack
from workflow.ccd.time_order import InTimeOrder, input_name
from workflow.connections import Input, Output
from workflow.task import Struct, SuperTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.table import Table
    from numpy.typing import NDArray

    from workflow.task import QuantumContext

__all__ = ["StackConfig", "StackTask", "find_outliers"]

_RAW = ("instrument", "detector", "exposure")
_STACK = ("instrument", "detector", "physical_filter", "day_obs", "target")


class StackConfig(Config):
    """How exposures on the same pixels are combined."""

    statistics = ConfigField[StatisticsConfig]("How the values of one pixel become one.")
    per_second = Field[bool](
        "Divide each exposure by its exposure time first, as for exposures of different length.",
        default=False,
    )
    weight_by_time = Field[bool](
        "Let exposures count by their exposure time rather than all the same.", default=False
    )
    subtract_background = Field[bool](
        "Subtract from each exposure its background (one number) first.", default=False
    )
    reject_outliers = Field[bool]("Leave out exposures unlike the others.", default=True)
    outlier_metrics = ListField[str](
        "By what exposures are compared: background, noise.", default=["background", "noise"]
    )
    outlier_sigma = RangeField(
        "An outlier is further from the median of all than so many deviations (robust),",
        float,
        default=5.0,
        min=0.0,
    )
    outlier_fraction = RangeField(
        "and further than this part of the median,", float, default=0.05, min=0.0
    )
    outlier_noise = RangeField(
        "and (a background) further than so many times the noise of a pixel.",
        float,
        default=0.25,
        min=0.0,
    )
    minimum_frames = RangeField("Fewer exposures than this are an error.", int, default=1, min=1)
    exposure_time_keys = ListField[str](
        "Cards with the exposure time [s].", default=["EXPTIME", "EXPOSURE"]
    )

    def setDefaults(self) -> None:
        """Clip by each value's own error: few values tell little about their scatter."""
        self.statistics.deviation = "error"
        self.statistics.sigma_clip = 5.0
        self.statistics.signal_fraction = 0.05


class _Facts(NamedTuple):
    name: str
    seconds: float
    background: float
    noise: float


def find_outliers(
    values: NDArray[np.float64], sigma: float, fraction: float, least: float = 0.0
) -> NDArray[np.bool_]:
    """Say which values are unlike the others.

    Parameters
    ----------
    values : array of float, shape (n,)
        One number per exposure.
    sigma : float
        How many deviations (1.4826 times the median absolute deviation) from the median count as
        far.
    fraction : float
        Nothing nearer to the median than this part of it is an outlier.
    least : float
        Nor is anything nearer than this.

    Returns
    -------
    array of bool, shape (n,)
        All False for fewer than three values: of two, nobody knows which is wrong.

    Examples
    --------
    >>> find_outliers(np.array([450.0, 406.0, 403.0, 403.0, 406.0]), 5.0, 0.05)
    array([ True, False, False, False, False])
    """
    if len(values) < 3:
        return np.zeros(len(values), dtype=bool)
    centre = np.nanmedian(values)
    limit = max(sigma * float(robust_sigma(values)), fraction * abs(centre), least)
    far: NDArray[np.bool_] = ~(np.abs(values - centre) <= limit)
    return far


class StackTask(SuperTask):
    """Combine exposures of a target and a night that lie on the same pixels."""

    ConfigClass = StackConfig
    default_name = "stack"
    dimensions = _STACK
    extra_dimensions = ("target",)

    calexps = Input("calexp", "Exposure", _RAW, multiple=True, defer_load=True)
    stack = Output("stack", "Exposure", _STACK, doc="Combined exposure.")
    stack_inputs = Output("stack_inputs", "Table", _STACK, doc="One row per exposure.")

    def run_quantum(self, context: QuantumContext) -> None:
        """Combine the exposures in the order of observation, known by their data IDs."""
        ordered = InTimeOrder(context, "calexps")
        names = [input_name(ref.data_id) for ref in ordered.refs["calexps"]]
        result = self.run(ordered.get("calexps"), names=names)
        for name in ("stack", "stack_inputs"):
            context.put(name, getattr(result, name))

    def run(self, calexps: Sequence[Any], names: Sequence[str] | None = None) -> Struct:
        """Combine exposures.

        Parameters
        ----------
        calexps : sequence of astropy.nddata.CCDData or handles
            Of one shape and unit.
        names : sequence of str, optional
            How the inputs are called in header, table and metadata; their number by default.

        Returns
        -------
        Struct
            ``stack``: CCDData in the unit of the inputs (per second if configured);
            ``stack_inputs``: astropy.table.Table with one row per input: ``name``, ``seconds``,
            ``background``, ``noise``, ``offset`` and ``scatter`` (median and robust sigma of input
            minus stack), ``n_clipped``, ``outlier``.

        Raises
        ------
        TooFewFrames
            If too few exposures are left.
        FrameMismatch
            If shapes or units differ.
        """
        from astropy.units import second

        config = self.config
        names = list(names or (str(i) for i in range(len(calexps))))
        facts: list[_Facts] = []
        first: Any = None
        masks: list[NDArray[np.int32]] = []
        with FrameStack(len(calexps), config.statistics.memory_mb) as stack:
            for name, frame in zip(names, calexps, strict=True):
                calexp = loaded(frame)
                first = calexp if first is None else first
                if calexp.unit != first.unit:
                    raise FrameMismatch("units of the exposures", first.unit, calexp.unit)
                facts.append(self._add(stack, name, calexp))
                masks.append(mask_of(calexp))
            outlier = self._outliers(facts)
            kept = [i for i in range(len(facts)) if not outlier[i]]
            if len(kept) < config.minimum_frames:
                raise TooFewFrames(len(facts), len(facts) - len(kept), config.minimum_frames)
            combined = combine_stack(
                stack, self._statistics(), frames=kept, weights=self._weights(facts, kept)
            )
            table = self._table(stack, facts, outlier, combined.data)
        table["n_clipped"] = 0
        table["n_clipped"][kept] = combined.n_clipped
        mask = np.bitwise_and.reduce([masks[i] for i in kept])
        mask[combined.n_used == 0] |= bit("NO_DATA")
        # Pixels that some inputs lack for known reasons are no news; clipped ones are.
        known = np.sum([bad_pixels_of(masks[i]) for i in kept], axis=0)
        mask[combined.n_used < len(kept) - known] |= bit("CLIPPED")
        result = make_frame(
            combined.data,
            unit=first.unit / second if config.per_second else first.unit,
            header=first.meta,
            variance=combined.variance,
            mask=mask,
            wcs=first.wcs,
        )
        self._describe(result.meta, table, kept)
        return Struct(stack=result, stack_inputs=table)

    def _add(self, stack: FrameStack, name: str, calexp: Any) -> _Facts:
        """Put an exposure on the stack, scaled as configured, and return its facts."""
        config = self.config
        bad = bad_pixels(calexp)
        data = np.asarray(calexp.data, dtype=float)
        variance = variance_of(calexp)
        seconds = header_number(
            calexp.meta,
            config.exposure_time_keys,
            "exposure time",
            default=None if config.per_second or config.weight_by_time else float("nan"),
        )
        if config.per_second:
            data, variance = data / seconds, None if variance is None else variance / seconds**2
        background, noise = sky_statistics(data, bad)
        if config.subtract_background:
            data = data - background
        stack.add(data, variance, bad)
        return _Facts(name, seconds, background, noise)

    def _outliers(self, facts: list[_Facts]) -> NDArray[np.bool_]:
        """Say which exposures are left out."""
        config = self.config
        found = np.zeros(len(facts), dtype=bool)
        if config.reject_outliers:
            pixel = float(np.nanmedian([f.noise for f in facts]))
            for metric in config.outlier_metrics:
                values = np.array([getattr(f, metric) for f in facts])
                least = config.outlier_noise * pixel if metric == "background" else 0.0
                found |= find_outliers(values, config.outlier_sigma, config.outlier_fraction, least)
        for fact, out in zip(facts, found, strict=True):
            if out:
                self.log.warning(
                    "%s is unlike the others (background %.1f, noise %.2f) and left out.",
                    fact.name,
                    fact.background,
                    fact.noise,
                )
        return found

    def _statistics(self) -> StatisticsConfig:
        statistics = StatisticsConfig(**self.config.statistics.toDict())
        if self.config.weight_by_time:
            statistics.method = "weighted"
        return statistics

    def _weights(self, facts: list[_Facts], kept: list[int]) -> NDArray[np.float64] | None:
        if not self.config.weight_by_time:
            return None
        return np.array([facts[i].seconds for i in kept])

    def _table(
        self,
        stack: FrameStack,
        facts: list[_Facts],
        outlier: NDArray[np.bool_],
        combined: NDArray[np.float64],
    ) -> Table:
        """Tell of each input how it compares with the stack; note it as quality metrics too."""
        from astropy.table import Table

        table = Table(rows=facts, names=_Facts._fields)
        offsets, scatters = [], []
        for number, fact in enumerate(facts):
            difference = np.asarray(stack.data[number]) - combined
            difference = difference[np.isfinite(difference)]
            offsets.append(float(np.median(difference)) if difference.size else np.nan)
            scatters.append(float(robust_sigma(difference)) if difference.size else np.nan)
            self.metadata[f"inputs.{fact.name.replace('.', '_')}"] = {
                "background": fact.background,
                "noise": fact.noise,
                "offset": offsets[-1],
                "scatter": scatters[-1],
                "outlier": bool(outlier[number]),
            }
        table["offset"], table["scatter"], table["outlier"] = offsets, scatters, outlier
        return table

    def _describe(self, meta: Any, table: Table, kept: list[int]) -> None:
        """Say in the header what went in, and note what came out."""
        meta["NCOMBINE"] = (len(kept), "number of exposures combined")
        meta["COMBMETH"] = (self.config.statistics.method, "how exposures were combined")
        seconds = float(np.sum(table["seconds"][kept]))
        if np.isfinite(seconds):
            meta["TEXPTIME"] = (seconds, "[s] exposure time of all inputs")
        for number, index in enumerate(kept, start=1):
            meta[f"INP{number:05d}"] = str(table["name"][index])
        self.metadata["n_inputs"] = len(table)
        self.metadata["n_combined"] = len(kept)
        self.metadata["n_outliers"] = len(table) - len(kept)
        self.metadata["n_clipped"] = int(np.sum(table["n_clipped"]))


def bad_pixels_of(mask: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Say which pixels of a mask in this project's planes are not to be used."""
    bad: NDArray[np.bool_] = (mask & bit("BAD", "SAT", "CR", "NO_DATA")) != 0
    return bad
