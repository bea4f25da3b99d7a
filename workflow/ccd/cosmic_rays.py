"""Which pixels of a single exposure were hit by cosmic rays?

L.A.Cosmic (van Dokkum 2001, PASP 113, 1420) as implemented by astroscrappy, given the variance and
the mask that are known here.
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
        "FWHM of stars [pixel]: the fine structure is the image convolved with such a Gaussian; "
        "0: a median filter, as in the original.",
        float,
        default=0.0,
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
        fsmode="convolve" if config.psf_fwhm > 0 else "median",
        psffwhm=config.psf_fwhm or 2.5,
    )
    return np.asarray(found, dtype=bool) & ~bad, np.asarray(cleaned, dtype=np.float64)
