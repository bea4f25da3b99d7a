"""How are bias, dark and flat frames made into one calibration of a night?

Each raw frame is assembled (`workflow.ccd.assembly`), freed of what the calibrations before it
know, and put on a stack, which is combined with clipping (`workflow.ccd.statistics`).  Frames are
read one at a time, in the order of observation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from lsst.pex.config import Config, ConfigField, Field, ListField, RangeField

from workflow.ccd.assembly import AssemblyConfig, assemble
from workflow.ccd.errors import FrameMismatch, TooFewFrames
from workflow.ccd.frames import header_number, loaded, make_frame, robust_sigma, variance_of
from workflow.ccd.planes import bad_pixels, bit
from workflow.ccd.signature import Exposed, apply_gain, expose, subtract_bias, subtract_dark
from workflow.ccd.statistics import Combined, FrameStack, StatisticsConfig, combine_stack
from workflow.ccd.time_order import InTimeOrder
from workflow.connections import Input, Output, Prerequisite
from workflow.task import Struct, SuperTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from workflow.task import QuantumContext

__all__ = [
    "CombineBiasConfig",
    "CombineBiasTask",
    "CombineDarkConfig",
    "CombineDarkTask",
    "CombineFlatConfig",
    "CombineFlatTask",
]

_RAW = ("instrument", "detector", "exposure")
_NIGHT = ("instrument", "detector", "day_obs")
_FILTER_NIGHT = ("instrument", "detector", "physical_filter", "day_obs")


class CombineBiasConfig(Config):
    """How bias frames are combined."""

    assembly = ConfigField[AssemblyConfig]("Regions and numbers of the amplifiers.")
    statistics = ConfigField[StatisticsConfig]("How the values of one pixel become one.")
    skip_first = RangeField("Frames left out at the beginning of the night.", int, default=0, min=0)
    minimum_frames = RangeField("Fewer frames than this are an error.", int, default=2, min=1)


class CombineDarkConfig(CombineBiasConfig):
    """How dark frames are combined to a dark current per second."""

    do_bias = Field[bool]("Subtract a bias first.", default=True)
    apply_gain = Field[bool]("Make it in electrons; as the ISR that uses it.", default=True)
    dark_time_keys = ListField[str](
        "Cards with the time that dark current was collected [s].",
        default=["DARKTIME", "EXPTIME", "EXPOSURE"],
    )

    def setDefaults(self) -> None:
        """Two long darks are often all that there is."""
        self.minimum_frames = 1


class CombineFlatConfig(CombineDarkConfig):
    """How flat fields are combined."""

    do_dark = Field[bool]("Subtract a dark, scaled by the exposure time.", default=False)
    clip_scaled = Field[bool](
        "Look for outliers after frames are scaled to the same level, not before.", default=True
    )
    saturated_fraction = RangeField(
        "Frames with a larger part of saturated pixels are left out.", float, default=0.1, min=0.0
    )

    def setDefaults(self) -> None:
        """Leave nothing of the defaults of darks."""
        self.minimum_frames = 2


class _CombineTask(SuperTask, abstract=True):
    """What combining bias, dark and flat have in common."""

    def run_quantum(self, context: QuantumContext) -> None:
        """Read the frames in the order of observation, combine them, and write the product."""
        super().run_quantum(InTimeOrder(context, "raws"))

    def _selected(self, raws: Sequence[Any]) -> Sequence[Any]:
        """Leave out the first frames, as configured, and check that enough are left."""
        config = self.config
        kept = raws[config.skip_first :]
        if len(kept) < config.minimum_frames:
            raise TooFewFrames(len(raws), config.skip_first, config.minimum_frames)
        self.metadata["n_inputs"] = len(raws)
        self.metadata["n_left_out"] = len(raws) - len(kept)
        return kept

    def _product(
        self,
        combined: Combined,
        header: Any,
        unit: str,
        mask: NDArray[np.int32],
        n_frames: int,
    ) -> CCDData:
        """Make the image, note its quality, and say in the header how it was made."""
        empty = combined.n_used == 0
        mask[empty] |= bit("NO_DATA")
        statistics = self.config.statistics
        good = combined.data[~empty & (mask == 0)]
        self.metadata["n_frames"] = n_frames
        self.metadata["level"] = np.median(good) if good.size else np.nan
        self.metadata["scatter"] = robust_sigma(good) if good.size else np.nan
        self.metadata["n_clipped"] = int(combined.n_clipped.sum())
        self.metadata["n_without_data"] = int(empty.sum())
        product = make_frame(
            combined.data,
            unit=unit,
            header=header,
            variance=combined.variance,
            mask=mask,
            dtype=np.float64,
        )
        meta = product.meta
        meta["NCOMBINE"] = (n_frames, "number of frames combined")
        meta["NSKIPPED"] = (self.config.skip_first, "frames left out at the beginning")
        meta["COMBMETH"] = (statistics.method, "how frames were combined")
        meta["CLIPSIG"] = (statistics.sigma_clip, "clipping limit [deviations]")
        return product


class CombineBiasTask(_CombineTask):
    """Combine the bias frames of a detector and a night."""

    ConfigClass = CombineBiasConfig
    default_name = "combineBias"
    dimensions = _NIGHT

    raws = Input("raw", "Exposure", _RAW, multiple=True, defer_load=True, doc="Bias frames.")
    bias = Output("bias", "Exposure", _NIGHT, is_calibration=True, doc="Combined bias [adu].")

    def run(self, raws: Sequence[Any]) -> Struct:
        """Combine bias frames.

        Parameters
        ----------
        raws : sequence of astropy.nddata.CCDData or handles
            Raw frames in time order; the configuration may leave out the first.

        Returns
        -------
        Struct
            ``bias``: CCDData [adu] with variance (from the read noise, or from the scatter of the
            frames where that is not known) and mask, and the header of the first frame used.

        Raises
        ------
        TooFewFrames
            If too few are left.
        FrameMismatch
            If they differ in shape.
        """
        frames = self._selected(raws)
        statistics = self.config.statistics
        header: Any = None
        mask: Any = None
        with FrameStack(len(frames), statistics.memory_mb) as stack:
            for number, frame in enumerate(frames):
                assembled = assemble(loaded(frame), self.config.assembly)
                header = assembled.header if header is None else header
                noise = assembled.amplifier_image("read_noise")
                gain = assembled.amplifier_image("gain")
                variance = None
                if noise is not None:
                    variance = np.broadcast_to(
                        np.square(noise / (1.0 if gain is None else gain)), assembled.data.shape
                    )
                stack.add(assembled.data, variance)
                mask = assembled.mask if mask is None else mask & assembled.mask
                self.metadata[f"frames.{number}.level"] = np.median(assembled.data)
            combined = combine_stack(stack, statistics)
        return Struct(bias=self._product(combined, header, "adu", mask, len(frames)))


class _CombineLightTask(_CombineTask, abstract=True):
    """What combining darks and flats have in common: a bias to subtract, a gain to apply."""

    def _exposed(self, raw: CCDData, bias: CCDData | None) -> tuple[Exposed, Any, Any]:
        """Assemble a frame and subtract the bias; also return its gain and its header."""
        assembled = assemble(raw, self.config.assembly)
        if bias is not None:
            subtract_bias(assembled, bias)
        gain: Any = assembled.amplifier_image("gain")
        exposed = expose(assembled)
        if self.config.apply_gain and gain is not None:
            apply_gain(exposed, gain)
        return exposed, gain, assembled.header

    def _bias_variance(self, bias: CCDData | None, gain: Any) -> Any:
        """Return the variance that all frames share because of the bias, in their unit."""
        variance = None if bias is None else variance_of(bias)
        if variance is None:
            return 0.0
        return variance * (gain**2 if self.config.apply_gain and gain is not None else 1.0)


class CombineDarkTask(_CombineLightTask):
    """Combine the dark frames of a detector and a night to a dark current per second."""

    ConfigClass = CombineDarkConfig
    default_name = "combineDark"
    dimensions = _NIGHT

    raws = Input("raw", "Exposure", _RAW, multiple=True, defer_load=True, doc="Dark frames.")
    bias = Prerequisite("bias", "Exposure", _NIGHT, is_calibration=True, enabled_by="do_bias")
    dark = Output("dark", "Exposure", _NIGHT, is_calibration=True, doc="Dark current per second.")

    def run(self, raws: Sequence[Any], bias: CCDData | None = None) -> Struct:
        """Combine dark frames.

        Parameters
        ----------
        raws : sequence of astropy.nddata.CCDData or handles
            Raw frames in time order, of any exposure times.
        bias : astropy.nddata.CCDData, optional
            Combined bias [adu].

        Returns
        -------
        Struct
            ``dark``: CCDData [electron / s, or adu / s without gain].

        Raises
        ------
        TooFewFrames
            If too few are left.
        FrameMismatch
            If shapes differ, or an exposure time is not above zero.
        """
        frames = self._selected(raws)
        statistics = self.config.statistics
        header: Any = None
        mask: Any = None
        times = []
        with FrameStack(len(frames), statistics.memory_mb) as stack:
            for number, frame in enumerate(frames):
                exposed, gain, cards = self._exposed(loaded(frame), bias)
                seconds = header_number(cards, self.config.dark_time_keys, "dark time")
                if seconds <= 0:
                    raise FrameMismatch("dark times", "above 0 s", f"{seconds} s")
                header = cards if header is None else header
                times.append(seconds)
                stack.add(exposed.data / seconds, exposed.variance / seconds**2)
                mask = exposed.mask if mask is None else mask & exposed.mask
                self.metadata[f"frames.{number}.rate"] = np.median(exposed.data) / seconds
            combined = combine_stack(stack, statistics)
        shared = self._bias_variance(bias, gain) * np.mean(1.0 / np.array(times)) ** 2
        combined = combined._replace(variance=combined.variance + shared)
        self.metadata["total_seconds"] = sum(times)
        product = self._product(combined, header, f"{exposed.unit} / s", mask, len(frames))
        return Struct(dark=product)


class CombineFlatTask(_CombineLightTask):
    """Combine the flat fields of a detector, a filter and a night."""

    ConfigClass = CombineFlatConfig
    default_name = "combineFlat"
    dimensions = _FILTER_NIGHT

    raws = Input("raw", "Exposure", _RAW, multiple=True, defer_load=True, doc="Flat fields.")
    bias = Prerequisite("bias", "Exposure", _NIGHT, is_calibration=True, enabled_by="do_bias")
    dark = Prerequisite("dark", "Exposure", _NIGHT, is_calibration=True, enabled_by="do_dark")
    flat = Output("flat", "Exposure", _FILTER_NIGHT, is_calibration=True, doc="Median about 1.")

    def run(
        self, raws: Sequence[Any], bias: CCDData | None = None, dark: CCDData | None = None
    ) -> Struct:
        """Combine flat fields.

        Parameters
        ----------
        raws : sequence of astropy.nddata.CCDData or handles
            Raw frames in time order; the configuration may leave out the first.
        bias, dark : astropy.nddata.CCDData, optional
            Combined bias [adu] and dark current [per second].

        Returns
        -------
        Struct
            ``flat``: CCDData without unit; each frame is divided by its own median first.

        Raises
        ------
        TooFewFrames
            If too few are left.
        FrameMismatch
            If shapes or units differ, or a frame has no light.
        """
        frames = self._selected(raws)
        statistics = self.config.statistics
        header: Any = None
        mask: Any = None
        levels: list[float] = []
        with FrameStack(len(frames), statistics.memory_mb) as stack:
            for number, frame in enumerate(frames):
                exposed, gain, cards = self._exposed(loaded(frame), bias)
                if dark is not None:
                    seconds = header_number(cards, self.config.dark_time_keys, "dark time")
                    subtract_dark(exposed, dark, seconds)
                saturated = (exposed.mask & bit("SAT")) != 0
                self.metadata[f"frames.{number}.saturated_fraction"] = saturated.mean()
                if saturated.mean() > self.config.saturated_fraction:
                    self.log.warning("Flat %d is saturated and left out.", number)
                    self.metadata["n_left_out"] += 1
                    continue
                level = float(np.median(exposed.data[(exposed.mask & bit("BAD", "SAT")) == 0]))
                if not level > 0:
                    raise FrameMismatch(
                        "levels of a flat and of the bias", level, 0.0, "Is it really a flat?"
                    )
                header = cards if header is None else header
                levels.append(level)
                stack.add(exposed.data, exposed.variance, saturated)
                exposed.mask &= ~bit("SAT")
                mask = exposed.mask if mask is None else mask & exposed.mask
                self.metadata[f"frames.{number}.level"] = level
            if len(stack) < self.config.minimum_frames:
                raise TooFewFrames(len(raws), len(raws) - len(stack), self.config.minimum_frames)
            scales = 1.0 / np.array(levels)
            combined = combine_stack(
                stack, statistics, scales=scales, clip_scaled=self.config.clip_scaled
            )
        shared = self._bias_variance(bias, gain) * np.mean(scales) ** 2
        combined = combined._replace(variance=combined.variance + shared)
        if bias is not None:
            mask[bad_pixels(bias)] |= bit("BAD")
        return Struct(flat=self._product(combined, header, "", mask, len(stack)))
