"""Which pixels of a single exposure were hit by cosmic rays?

L.A.Cosmic (van Dokkum 2001, PASP 113, 1420) as implemented by astroscrappy, given the variance and
the mask that are known here; stars that are sharp enough to be taken for hits are spared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from lsst.pex.config import Config, Field, RangeField

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CosmicRayConfig", "find_cosmic_rays"]


class CosmicRayConfig(Config):
    """Parameters of L.A.Cosmic."""

    sigma_clip = RangeField("Laplacian-to-noise limit.", float, default=5.0, min=0.0)
    sigma_fraction = RangeField(
        "Limit for neighbours of found pixels, as a fraction of sigma_clip.",
        float,
        default=0.3,
        min=0.0,
    )
    object_limit = RangeField(
        "Least contrast with the fine structure of the image; raise it if cores of stars are taken "
        "for cosmic rays.",
        float,
        default=5.0,
        min=0.0,
    )
    iterations = RangeField("How often it looks again.", int, default=4, min=1)
    psf_fwhm = RangeField(
        "FWHM of the sharpest stars [pixel]: what is nowhere sharper than such a star is no cosmic "
        "ray; 0: all that is found is.",
        float,
        default=2.0,
        min=0.0,
    )
    interpolate = Field[bool]("Replace the values of found pixels.", default=True)


def find_cosmic_rays(
    data: NDArray[Any],
    variance: NDArray[Any],
    bad: NDArray[np.bool_],
    config: CosmicRayConfig,
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Find cosmic rays.

    Parameters
    ----------
    data, variance : array, shape (rows, columns)
        Sky not subtracted; any unit.
    bad : array of bool
        Pixels that are not looked at.
    config : CosmicRayConfig
        Limits.

    Returns
    -------
    found : array of bool
        Pixels hit.
    cleaned : array of float
        The values, with those pixels replaced by the mean of good neighbours.
    """
    from astroscrappy import detect_cosmics

    good = np.isfinite(variance) & (variance > 0) & ~bad
    typical = float(np.median(variance[good])) if good.any() else 1.0
    found, cleaned = detect_cosmics(
        np.where(np.isfinite(data), data, 0.0).astype(np.float32),
        inmask=bad,
        invar=np.where(good, variance, typical).astype(np.float32),
        gain=1.0,
        # Saturated pixels are in `bad` already; the second search of astroscrappy is switched off.
        satlevel=float(np.finfo(np.float32).max),
        sigclip=config.sigma_clip,
        sigfrac=config.sigma_fraction,
        objlim=config.object_limit,
        niter=config.iterations,
    )
    hit = np.asarray(found, dtype=bool) & ~bad
    if config.psf_fwhm > 0:
        hit &= _with_sharp_pixels(
            hit, data, np.where(good, variance, typical), bad, config.psf_fwhm
        )
    return hit, np.asarray(cleaned, dtype=np.float64)


def _with_sharp_pixels(
    found: NDArray[np.bool_],
    data: NDArray[Any],
    variance: NDArray[Any],
    bad: NDArray[np.bool_],
    fwhm: float,
) -> NDArray[np.bool_]:
    """Say which connected groups of found pixels have one that no star explains.

    For a Gaussian of width s, and for any sum of wider ones, the mean of two opposite pixels at a
    distance d is at least exp(-d2 / 2 s2) times the value between them, everywhere: on a peak, on
    a flank, in a blend.  A cosmic ray falls short of that across its track.
    """
    from scipy.ndimage import label

    width = fwhm / 2.3548
    values = np.where(bad, 0.0, data)
    values = values - (float(np.median(values[~bad])) if not bad.all() else 0.0)
    height, across = values.shape
    padded = np.pad(values, 1, mode="edge")
    noise = np.pad(variance, 1, mode="edge")
    unusable = np.pad(bad, 1, constant_values=True)
    sharp = np.zeros(found.shape, dtype=bool)
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one = np.s_[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + across]
        other = np.s_[1 - dy : 1 - dy + height, 1 - dx : 1 - dx + across]
        least = np.exp(-(dx**2 + dy**2) / (2.0 * width**2))
        short = least * values - 0.5 * (padded[one] + padded[other])
        error = np.sqrt(least**2 * variance + 0.25 * (noise[one] + noise[other]))
        sharp |= (short > 3.0 * error) & ~unusable[one] & ~unusable[other]
    groups, _ = label(found, np.ones((3, 3), dtype=int))
    kept: NDArray[np.bool_] = np.isin(groups, np.unique(groups[sharp & found])) & found
    return kept
