"""How does a raw frame become a calibrated exposure?

`IsrTask` removes the instrument's signature: overscan, trimming, bias, gain, dark, flat, defects
and cosmic rays, each switched by configuration.  It keeps a variance and a mask for each pixel and
notes numbers that tell whether the exposure is good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from lsst.pex.config import Config, ConfigField, Field, ListField, RangeField

from workflow.ccd.assembly import Assembled, AssemblyConfig, assemble
from workflow.ccd.cosmic_rays import CosmicRayConfig, find_cosmic_rays
from workflow.ccd.frames import header_number, make_frame, sky_statistics
from workflow.ccd.planes import bit
from workflow.ccd.signature import (
    Exposed,
    apply_gain,
    divide_flat,
    expose,
    interpolate_rows,
    mark_defects,
    subtract_bias,
    subtract_dark,
)
from workflow.connections import Input, Output, Prerequisite
from workflow.task import Struct, SuperTask

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from astropy.table import Table

__all__ = ["IsrConfig", "IsrTask"]

_RAW = ("instrument", "detector", "exposure")
_NIGHT = ("instrument", "detector", "day_obs")
_FILTER_NIGHT = ("instrument", "detector", "physical_filter", "day_obs")
_DETECTOR = ("instrument", "detector")


class IsrConfig(Config):
    """Which steps are done, and how."""

    assembly = ConfigField[AssemblyConfig]("Regions and numbers of the amplifiers.")
    do_bias = Field[bool]("Subtract a bias.", default=True)
    do_dark = Field[bool]("Subtract a dark, scaled by the dark time.", default=False)
    do_flat = Field[bool]("Divide by a flat.", default=True)
    do_defects = Field[bool]("Mark the pixels of a defects table as BAD.", default=False)
    do_cosmic_rays = Field[bool]("Look for cosmic rays.", default=False)
    apply_gain = Field[bool](
        "Turn ADU into electrons, where a gain is known; as the tasks that made dark and flat.",
        default=True,
    )
    fallback_gain = Field[float](
        "Gain for the photon noise where nothing says it [electron/adu].", optional=True
    )
    fallback_read_noise = Field[float](
        "Read noise where nothing says it [electron].", optional=True
    )
    flat_minimum = RangeField(
        "Pixels with a flat not above it are BAD.", float, default=0.0, min=0.0
    )
    interpolate_defects = Field[bool](
        "Fill defects (and saturated pixels, by interpolate_saturated) along rows.", default=True
    )
    interpolate_saturated = Field[bool]("Fill saturated pixels, too.", default=False)
    cosmic_rays = ConfigField[CosmicRayConfig]("How cosmic rays are found.")
    dark_time_keys = ListField[str](
        "Cards with the time that dark current was collected [s].",
        default=["DARKTIME", "EXPTIME", "EXPOSURE"],
    )
    exposure_time_keys = ListField[str](
        "Cards with the exposure time [s].", default=["EXPTIME", "EXPOSURE"]
    )


class IsrTask(SuperTask):
    """Remove the instrument's signature from a raw frame."""

    ConfigClass = IsrConfig
    default_name = "isr"
    dimensions = _RAW

    raw = Input("raw", "Exposure", _RAW, doc="Raw frame.")
    bias = Prerequisite("bias", "Exposure", _NIGHT, is_calibration=True, enabled_by="do_bias")
    dark = Prerequisite("dark", "Exposure", _NIGHT, is_calibration=True, enabled_by="do_dark")
    flat = Prerequisite(
        "flat", "Exposure", _FILTER_NIGHT, is_calibration=True, enabled_by="do_flat"
    )
    defects = Prerequisite(
        "defects", "Defects", _DETECTOR, is_calibration=True, enabled_by="do_defects"
    )
    calexp = Output("calexp", "Exposure", _RAW, doc="Calibrated exposure, sky not subtracted.")

    def run(
        self,
        raw: CCDData,
        bias: CCDData | None = None,
        dark: CCDData | None = None,
        flat: CCDData | None = None,
        defects: Table | None = None,
    ) -> Struct:
        """Calibrate one raw frame.

        Parameters
        ----------
        raw : astropy.nddata.CCDData
            As read from its file [adu].
        bias, dark, flat : astropy.nddata.CCDData, optional
            Calibrations, in adu, per second, and without unit.
        defects : astropy.table.Table, optional
            See `workflow.ccd.signature.defect_mask`.

        Returns
        -------
        Struct
            ``calexp``: CCDData [electron, or adu without gain] of single precision, with variance,
            mask (planes in its header) and WCS, if the raw frame has one.

        Raises
        ------
        MissingCard, BadSection
            If header and configuration do not say enough.
        FrameMismatch
            If a calibration does not fit the frame.
        """
        config = self.config
        assembled = assemble(raw, config.assembly)
        self._note_amplifiers(assembled)
        added: Any = subtract_bias(assembled, bias) if bias is not None else 0.0
        exposed = expose(
            assembled, added, gain=config.fallback_gain, read_noise=config.fallback_read_noise
        )
        gain: Any = assembled.amplifier_image("gain")
        if config.apply_gain and gain is not None:
            apply_gain(exposed, gain)
        if dark is not None:
            seconds = header_number(raw.meta, config.dark_time_keys, "dark time")
            subtract_dark(exposed, dark, seconds)
        if flat is not None:
            divide_flat(exposed, flat, config.flat_minimum)
        if defects is not None:
            self.metadata["n_defect_pixels"] = mark_defects(exposed, defects)
        if config.do_cosmic_rays:
            self._remove_cosmic_rays(exposed)
        self._interpolate(exposed)
        self._note_quality(exposed, raw.meta)
        calexp = make_frame(
            exposed.data,
            unit=exposed.unit,
            header=raw.meta,
            variance=exposed.variance,
            mask=exposed.mask,
            wcs=assembled.wcs,
        )
        self._describe(calexp, assembled, bias, dark, flat, defects)
        return Struct(calexp=calexp)

    def _remove_cosmic_rays(self, exposed: Exposed) -> None:
        """Mark what L.A.Cosmic finds, and replace its values if configured."""
        bad = (exposed.mask & bit("BAD", "SAT", "NO_DATA")) != 0
        found, cleaned = find_cosmic_rays(
            exposed.data, exposed.variance, bad, self.config.cosmic_rays
        )
        exposed.mask[found] |= bit("CR")
        if self.config.cosmic_rays.interpolate:
            exposed.data[found] = cleaned[found]
            exposed.mask[found] |= bit("INTRP")
        self.metadata["n_cosmic_ray_pixels"] = int(found.sum())

    def _interpolate(self, exposed: Exposed) -> None:
        """Fill pixels without a usable value from their neighbours; their plane stays set."""
        if not self.config.interpolate_defects:
            return
        planes = ("BAD", "SAT") if self.config.interpolate_saturated else ("BAD",)
        area = (exposed.mask & bit(*planes)) != 0
        unusable = (exposed.mask & bit("BAD", "SAT", "NO_DATA", "CR")) != 0
        filled = interpolate_rows(exposed.data, exposed.variance, area, unusable & ~area)
        exposed.mask[filled] |= bit("INTRP")

    def _note_amplifiers(self, assembled: Assembled) -> None:
        for number, amplifier in enumerate(assembled.amplifiers):
            if amplifier.overscan_level is not None:
                self.metadata[f"overscan.{number}.level"] = amplifier.overscan_level
                self.metadata[f"overscan.{number}.noise"] = amplifier.overscan_noise

    def _note_quality(self, exposed: Exposed, header: Any) -> None:
        """Note the numbers by which an observer judges an exposure."""
        mask = exposed.mask
        bad = (mask & bit("BAD", "SAT", "CR", "NO_DATA")) != 0
        background, noise = sky_statistics(exposed.data, bad)
        good = exposed.variance[~bad]
        self.metadata["exposure_seconds"] = header_number(
            header, self.config.exposure_time_keys, "exposure time", default=float("nan")
        )
        self.metadata["background"] = background
        self.metadata["noise"] = noise
        self.metadata["expected_noise"] = np.sqrt(np.median(good)) if good.size else np.nan
        self.metadata["n_masked"] = int(bad.sum())
        self.metadata["masked_fraction"] = bad.mean()
        self.metadata["saturated_fraction"] = ((mask & bit("SAT")) != 0).mean()
        self.log.info("Background %.1f, noise %.2f %s.", background, noise, exposed.unit)

    def _describe(
        self, calexp: CCDData, assembled: Assembled, *calibrations: CCDData | Table | None
    ) -> None:
        """Say in the header what was done."""
        meta = calexp.meta
        for name, frame in zip(("BIAS", "DARK", "FLAT", "DFCT"), calibrations, strict=True):
            meta[f"DID_{name}"] = frame is not None
        levels = [a.overscan_level for a in assembled.amplifiers]
        for number, level in enumerate(levels, start=1):
            if level is not None:
                meta[f"OSCAN{number}"] = (level, "[adu] overscan level subtracted")
        for card, key in (("SKYLEVEL", "background"), ("SKYSIGMA", "noise")):
            if np.isfinite(self.metadata[key]):
                meta[card] = self.metadata[key]
        if calexp.unit == "electron" and self.config.assembly.gain_key in meta:
            meta[self.config.assembly.gain_key] = 1.0
