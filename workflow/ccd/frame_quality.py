"""Is a raw frame as it should be?  A metric task: its numbers are compared with thresholds.

See `registry.quality` for thresholds and incidents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from lsst.pex.config import Config, RangeField

from workflow.ccd.frames import robust_sigma
from workflow.connections import Input, Output
from workflow.errors import UnprocessableData
from workflow.task import Struct, SuperTask

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["FrameQualityConfig", "FrameQualityTask"]

_RAW = ("instrument", "detector", "exposure")


class FrameQualityConfig(Config):
    """How a raw frame is measured."""

    saturation = RangeField(
        "A pixel of this value or more is saturated [adu].", float, default=65535.0, min=0.0
    )


class FrameQualityTask(SuperTask):
    """Measure the level, noise and saturation of a raw frame as it was read out."""

    ConfigClass = FrameQualityConfig
    default_name = "frameQuality"
    dimensions = _RAW

    raw = Input("raw", "Exposure", _RAW, doc="Raw frame.")
    quality = Output("frame_quality", "StructuredDataDict", _RAW, doc="The numbers.")

    def run(self, raw: CCDData) -> Struct:
        """Measure one raw frame.

        Parameters
        ----------
        raw : astropy.nddata.CCDData
            As read from its file [adu].

        Returns
        -------
        Struct
            ``quality``: mapping of ``level`` (median [adu]), ``noise`` (of a pixel, from the
            differences of neighbours in a row [adu]), ``low`` and ``high`` (percentiles 1 and 99
            [adu]), ``saturated`` (fraction of pixels) and ``n_not_finite`` (pixels). They are in
            the task's metadata too, and so become metrics.

        Raises
        ------
        UnprocessableData
            If no pixel has a finite value.
        """
        data = np.asarray(raw.data, dtype=float)
        finite = np.isfinite(data)
        known = data[finite]
        if not known.size:
            raise UnprocessableData("No pixel of the frame has a finite value.")
        steps = np.diff(data, axis=-1)
        steps = steps[np.isfinite(steps)]
        low, level, high = np.percentile(known, (1, 50, 99))
        quality = {
            "level": float(level),
            "noise": float(robust_sigma(steps) / np.sqrt(2)) if steps.size else 0.0,
            "low": float(low),
            "high": float(high),
            "saturated": float(np.mean(known >= self.config.saturation)),
            "n_not_finite": int(data.size - known.size),
        }
        for name, value in quality.items():
            self.metadata[name] = value
        return Struct(quality=quality)
