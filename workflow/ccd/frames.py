"""How are the values, the noise and the facts of one frame read, whatever file it came from?

Images arrive as `astropy.nddata.CCDData`, with their uncertainty as a standard deviation, a
variance or a weight, their exposure time as a number or as text.  The tasks compute with plain
arrays, made here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from workflow.ccd.errors import FrameMismatch, MissingCard
from workflow.ccd.planes import record_planes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = [
    "header_number",
    "image_of",
    "loaded",
    "make_frame",
    "robust_sigma",
    "sky_statistics",
    "variance_of",
]

_LAYOUT_CARDS = (
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "EXTEND", "PCOUNT",
    "GCOUNT", "BZERO", "BSCALE", "BUNIT", "BLANK", "DATAMIN", "DATAMAX", "CHECKSUM", "DATASUM",
)  # fmt: skip
_SECTION_CARDS = ("BIASSEC", "DATASEC", "TRIMSEC", "CCDSEC", "DETSEC", "AMPSEC", "DETSIZE")


def loaded(frame: Any) -> CCDData:
    """Return the frame itself, whether an image or a deferred handle with a ``get`` method."""
    return frame.get() if hasattr(frame, "get") and not hasattr(frame, "data") else frame


def image_of(ccd: CCDData) -> NDArray[np.float64]:
    """Return the values as a two-dimensional array of double precision.

    Leading axes of length 1 are dropped, as some camera programs write (1, rows, columns).

    Raises
    ------
    FrameMismatch
        If more than two axes are longer than 1.
    """
    data = np.asarray(ccd.data)
    while data.ndim > 2 and data.shape[0] == 1:
        data = data[0]
    if data.ndim != 2:
        raise FrameMismatch(
            "numbers of axes", 2, f"an image of shape {data.shape}", "Split the cube at ingest."
        )
    return data.astype(np.float64)


def variance_of(ccd: CCDData) -> NDArray[np.float64] | None:
    """Return the variance of each pixel, or None if the image has no uncertainty.

    Returns
    -------
    array of float, shape of the image, or None
        In the squared unit of the image; infinite where a weight is not above zero.
    """
    uncertainty = ccd.uncertainty
    if uncertainty is None or uncertainty.array is None:
        return None
    values = np.asarray(uncertainty.array, dtype=np.float64)
    kind = uncertainty.uncertainty_type
    if kind == "std":
        return np.square(values)
    if kind == "var":
        return values
    if kind == "ivar":
        out = np.full(values.shape, np.inf)
        np.divide(1.0, values, out=out, where=values > 0)
        return out
    raise FrameMismatch("kinds of uncertainty", "std, var or ivar", kind)


def make_frame(
    data: NDArray[Any],
    *,
    unit: Any,
    header: Mapping[str, Any],
    variance: NDArray[Any] | None = None,
    mask: NDArray[np.int32] | None = None,
    wcs: Any = None,
    dtype: Any = np.float32,
) -> CCDData:
    """Make an image with variance, bit mask, WCS and a clean header.

    Parameters
    ----------
    data, variance, mask : array
        The planes; variance in the squared unit of the data.
    unit : str or astropy.units.Unit
        Unit of the data.
    header : mapping
        Cards to keep.  What describes the old array goes: size, scaling, sections, and the old
        WCS, which lives in ``wcs``.
    wcs : astropy.wcs.WCS, optional
        Celestial coordinates.
    dtype : numpy dtype
        Of data and variance.

    Returns
    -------
    butler.exposure.Exposure
        A CCDData that keeps the mask's planes, which are recorded in its header.
    """
    from astropy.io.fits import Header
    from astropy.nddata import VarianceUncertainty

    from butler.exposure import Exposure

    kept = header.copy() if isinstance(header, Header) else Header(header)
    for key in (*_LAYOUT_CARDS, *_SECTION_CARDS, *(_wcs_cards(kept) if wcs is not None else ())):
        kept.remove(key, ignore_missing=True, remove_all=True)
    if mask is not None:
        record_planes(kept)
    return Exposure(
        np.asarray(data, dtype=dtype),
        unit=unit,
        meta=kept,
        mask=mask,
        uncertainty=None
        if variance is None
        else VarianceUncertainty(np.asarray(variance, dtype=dtype)),
        wcs=wcs,
    )


def _wcs_cards(header: Mapping[str, Any]) -> list[str]:
    """Name the cards of a header that belong to its primary WCS."""
    prefixes = ("CTYPE", "CRVAL", "CRPIX", "CUNIT", "CDELT", "CROTA")
    found = [f"{p}{axis}" for p in prefixes for axis in (1, 2)]
    found += [f"{p}{i}_{j}" for p in ("CD", "PC") for i in (1, 2) for j in (1, 2)]
    found += ["WCSAXES", "WCSDIM", "LONPOLE", "LATPOLE", "RADESYS", "RADECSYS", "EQUINOX", "EPOCH"]
    distortion = ("PV1_", "PV2_", "A_", "B_", "AP_", "BP_", "WAT0_", "WAT1_", "WAT2_")
    found += [k for k in header if k.startswith(distortion)]
    return [k for k in found if k in header]


def header_number(
    header: Mapping[str, Any], keys: Iterable[str], what: str, default: float | None = None
) -> float:
    """Read a number from the first of some cards that has one.

    Parameters
    ----------
    header : mapping
        Numbers may be written as text (``EXPTIME = '40'``).
    keys : iterable of str
        Cards to try in order.
    what : str
        What is looked for, for the message.
    default : float, optional
        Returned when no card has a number.

    Raises
    ------
    MissingCard
        If no card has a finite number and there is no default.
    """
    tried = [key for key in keys if key]
    for key in tried:
        try:
            value = float(header[key])
        except (KeyError, TypeError, ValueError):
            continue
        if math.isfinite(value):
            return value
    if default is not None:
        return default
    unreadable = [f"{k} = {header[k]!r} is no number" for k in tried if k in header]
    raise MissingCard(what, tried, "; ".join(unreadable))


def robust_sigma(values: NDArray[Any], axis: int | None = None) -> Any:
    """Return 1.4826 times the median absolute deviation: sigma, if the noise is Gaussian."""
    centre = np.median(values, axis=axis, keepdims=True)
    return 1.482602218505602 * np.median(np.abs(values - centre), axis=axis)


def sky_statistics(
    data: NDArray[Any], bad: NDArray[np.bool_], sigma: float = 3.0
) -> tuple[float, float]:
    """Return the level and scatter of what is mostly sky.

    Parameters
    ----------
    data : array
        An image.
    bad : array of bool
        Pixels that do not count.
    sigma : float
        Pixels further off are left out, repeatedly.

    Returns
    -------
    background, noise : float
        Median, and standard deviation per pixel, in the unit of the data; NaN if no pixel counts.
    """
    from astropy.stats import sigma_clip

    good = data[~bad]
    if good.size == 0:
        return float("nan"), float("nan")
    kept = sigma_clip(good, sigma=sigma, maxiters=5, stdfunc="mad_std", masked=False, copy=False)
    return float(np.median(kept)), float(np.std(kept))
