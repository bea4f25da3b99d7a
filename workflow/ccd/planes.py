"""What does a bit of a mask mean?

A mask is an integer image; each bit is a named plane, and the header says which, in the manner of
the LSST stack: ``MP_BAD = 0`` means that bit 0 is set on bad pixels.  A mask without such cards is
taken as bad wherever it is not zero, as data-quality images of other pipelines are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["BAD_PLANES", "PLANES", "bad_pixels", "bit", "mask_of", "planes_of", "record_planes"]

PLANES: dict[str, int] = {
    "BAD": 0,
    "SAT": 1,
    "INTRP": 2,
    "CR": 3,
    "EDGE": 4,
    "DETECTED": 5,
    "DETECTED_NEGATIVE": 6,
    "SUSPECT": 7,
    "NO_DATA": 8,
    "CLIPPED": 9,
}
"""Bit numbers by plane: known defect, saturated, interpolated over, cosmic ray, near the border,
part of a source or of a negative source, of doubtful value, without data, some input rejected."""

BAD_PLANES: tuple[str, ...] = ("BAD", "SAT", "CR", "NO_DATA")
"""Planes whose pixels are not to be used for measurements."""


def bit(*planes: str) -> int:
    """Return the value of a mask that has these planes set.

    Examples
    --------
    >>> bit("BAD", "CR")
    9
    """
    return sum(1 << PLANES[plane] for plane in set(planes))


def record_planes(header: MutableMapping[str, Any]) -> None:
    """Write which bit is which plane into a header (``MP_BAD = 0`` ...), replacing others."""
    for key in [k for k in header if k.startswith("MP_")]:
        del header[key]
    for plane, number in PLANES.items():
        key = f"MP_{plane}"
        # A longer keyword needs the HIERARCH convention; asking for it avoids a warning.
        header[key if len(key) <= 8 else f"HIERARCH {key}"] = number


def planes_of(header: MutableMapping[str, Any]) -> dict[str, int]:
    """Read bit numbers by plane from a header; empty when it has no ``MP_`` cards."""
    return {key.removeprefix("MP_"): int(header[key]) for key in header if key.startswith("MP_")}


def bad_pixels(ccd: CCDData, planes: Iterable[str] = BAD_PLANES) -> NDArray[np.bool_]:
    """Say which pixels of an image are not to be used.

    Parameters
    ----------
    ccd : astropy.nddata.CCDData
        Its mask may be boolean, an integer image, or absent.
    planes : iterable of str
        Which planes count, if the header names planes; otherwise every non-zero value does.

    Returns
    -------
    array of bool, shape of the image
        True where the mask says so, or the value is not finite.
    """
    bad: NDArray[np.bool_] = ~np.isfinite(ccd.data)
    if ccd.mask is None:
        return bad
    mask = np.broadcast_to(np.asarray(ccd.mask), bad.shape)
    known = planes_of(ccd.meta)
    if mask.dtype == np.bool_ or not known:
        bad |= mask != 0
    else:
        chosen = sum(1 << known[plane] for plane in planes if plane in known)
        bad |= (mask.astype(np.int64) & chosen) != 0
    return bad


def mask_of(ccd: CCDData) -> NDArray[np.int32]:
    """Return the mask of an image in this project's planes.

    Parameters
    ----------
    ccd : astropy.nddata.CCDData
        Its mask may be boolean, an integer image with or without named planes, or absent.

    Returns
    -------
    array of int32, shape of the image
        Planes of other names are dropped; a mask without named planes becomes BAD; values that
        are not finite become NO_DATA.
    """
    out = np.zeros(ccd.data.shape, dtype=np.int32)
    if ccd.mask is not None:
        mask = np.broadcast_to(np.asarray(ccd.mask), out.shape)
        known = planes_of(ccd.meta)
        if mask.dtype == np.bool_ or not known:
            out[mask != 0] |= bit("BAD")
        elif known == PLANES:
            out |= mask.astype(np.int32)
        else:
            for plane, number in known.items():
                if plane in PLANES:
                    out[(mask.astype(np.int64) >> number) & 1 == 1] |= bit(plane)
    out[~np.isfinite(ccd.data)] |= bit("NO_DATA")
    return out
