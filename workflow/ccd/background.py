"""What would the image show if there were no sources in it?

The sky is estimated in boxes, sources left out, and interpolated between them (photutils
Background2D), or taken as one number for images too small for boxes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from lsst.pex.config import ChoiceField, Config, Field, RangeField

from workflow.ccd.frames import sky_statistics
from workflow.ccd.planes import bad_pixels
from workflow.task import Struct, Task

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["Background", "BackgroundConfig", "BackgroundTask", "estimate_background"]


class BackgroundConfig(Config):
    """How the sky is estimated."""

    method = ChoiceField[str](
        doc="The shape of the sky.",
        default="mesh",
        allowed={
            "mesh": "medians of boxes, interpolated between them",
            "constant": "one sigma-clipped median",
            "none": "zero everywhere: the sky is subtracted already",
        },
    )
    box_size = RangeField("Size of a box [pixel].", int, default=64, min=4)
    filter_size = RangeField("Boxes over which a median smooths, an odd number.", int, 3, min=1)
    sigma_clip = RangeField("Clipping limit within a box.", float, default=3.0, min=0.5)
    exclude_percentile = RangeField(
        "Boxes with a larger part of masked pixels are not used [per cent].", float, 50.0, min=0.0
    )
    mask_sources = Field[bool](
        "Estimate twice, the second time without the pixels of sources found.", default=True
    )


class Background(NamedTuple):
    """The sky of an image.

    Parameters
    ----------
    level, scatter : array of float, shape (rows, columns)
        Sky, and standard deviation of a pixel about it, in the unit of the image.
    """

    level: NDArray[np.float64]
    scatter: NDArray[np.float64]


def estimate_background(
    data: NDArray[Any], bad: NDArray[np.bool_], config: BackgroundConfig
) -> Background:
    """Estimate the sky.

    Parameters
    ----------
    data : array, shape (rows, columns)
        An image.
    bad : array of bool
        Pixels that do not count.
    config : BackgroundConfig
        The method and its boxes.

    Returns
    -------
    Background
        Zero sky and NaN scatter if no pixel counts.
    """
    if config.method == "none" or bad.all():
        scatter = sky_statistics(data, bad)[1]
        return Background(np.zeros(data.shape), np.full(data.shape, scatter))
    sky = _estimated(data, bad, config)
    if config.mask_sources:
        sources = _bright_areas(data - sky.level, sky.scatter, bad)
        # Where sources fill the image, what is left may be less than the first estimate used.
        if np.count_nonzero(~(bad | sources)) > 0.1 * np.count_nonzero(~bad):
            sky = _estimated(data, bad | sources, config)
    return sky


def _estimated(data: NDArray[Any], bad: NDArray[np.bool_], config: BackgroundConfig) -> Background:
    # Boxes that divide the image evenly leave no narrow rest at its upper borders.
    boxes = [-(-n // max(1, round(n / config.box_size))) for n in data.shape]
    if (
        config.method == "constant"
        or min(n // b for n, b in zip(data.shape, boxes, strict=True)) < 2
    ):
        level, scatter = sky_statistics(data, bad, config.sigma_clip)
        return Background(np.full(data.shape, level), np.full(data.shape, scatter))
    from astropy.stats import SigmaClip
    from photutils.background import Background2D, MedianBackground, StdBackgroundRMS

    usable = 100.0 * _fullest_box(bad, boxes)
    # Interpolation flattens at the borders what slopes: the slope is taken out before.
    plane = _plane(data, bad, boxes)
    found = Background2D(
        np.where(bad, 0.0, data - plane),
        boxes,
        mask=bad,
        # At least the best box must be usable, or nothing could be estimated at all.
        exclude_percentile=min(100.0, max(config.exclude_percentile, usable)),
        filter_size=config.filter_size,
        sigma_clip=SigmaClip(sigma=config.sigma_clip, maxiters=5),
        bkg_estimator=MedianBackground(),
        bkg_rms_estimator=StdBackgroundRMS(),
    )
    return Background(
        plane + np.asarray(found.background, dtype=float),
        np.asarray(found.background_rms, dtype=float),
    )


def _plane(data: NDArray[Any], bad: NDArray[np.bool_], boxes: list[int]) -> NDArray[np.float64]:
    """Fit a plane to the medians of boxes, those far off left out."""
    height, width = data.shape
    rows = range(0, height, boxes[0])
    columns = range(0, width, boxes[1])
    points = []
    for y in rows:
        for x in columns:
            place = np.s_[y : y + boxes[0], x : x + boxes[1]]
            values = data[place][~bad[place]]
            if values.size:
                points.append((1.0, x + boxes[1] / 2, y + boxes[0] / 2, np.median(values)))
    table = np.array(points)
    kept = np.ones(len(table), dtype=bool)
    terms = np.zeros(3)
    for _ in range(3):
        terms = np.linalg.lstsq(table[kept, :3], table[kept, 3], rcond=None)[0]
        off = np.abs(table[:, 3] - table[:, :3] @ terms)
        kept = off <= 3.0 * 1.4826 * np.median(off) + 1e-9
    across, up = np.arange(width), np.arange(height)[:, np.newaxis]
    fitted: NDArray[np.float64] = terms[0] + terms[1] * across + terms[2] * up
    return fitted


def _fullest_box(bad: NDArray[np.bool_], boxes: list[int]) -> float:
    """Return the least masked fraction of any whole box."""
    rows, columns = (n // b * b for n, b in zip(bad.shape, boxes, strict=True))
    tiles = bad[:rows, :columns].reshape(rows // boxes[0], boxes[0], columns // boxes[1], boxes[1])
    return float(tiles.mean(axis=(1, 3)).min())


def _bright_areas(
    residual: NDArray[Any], scatter: NDArray[Any], bad: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Say which pixels belong to sources, generously: smoothed, above 2 sigma, grown by 3."""
    from scipy.ndimage import binary_dilation, binary_opening, uniform_filter

    smooth = uniform_filter(np.where(bad, 0.0, residual), size=3)
    bright = binary_opening(smooth > 2.0 * scatter / 3.0 * 1.5, np.ones((2, 2), bool))
    grown: NDArray[np.bool_] = binary_dilation(bright, np.ones((3, 3), bool), iterations=3)
    return grown


class BackgroundTask(Task):
    """Estimate the sky of an exposure; a sub-task."""

    ConfigClass = BackgroundConfig
    default_name = "background"

    def run(self, exposure: CCDData) -> Struct:
        """Estimate the sky.

        Parameters
        ----------
        exposure : astropy.nddata.CCDData
            With or without mask.

        Returns
        -------
        Struct
            ``background``: Background, in the unit of the exposure.
        """
        sky = estimate_background(
            np.asarray(exposure.data, dtype=float), bad_pixels(exposure), self.config
        )
        self.metadata["level"] = np.median(sky.level)
        self.metadata["scatter"] = np.median(sky.scatter)
        self.metadata["range"] = np.ptp(sky.level)
        return Struct(background=sky)
