"""How is the instrument's signature removed from an assembled frame, and the noise kept track of?

Bias (ADU), variance from read noise and photons, gain, dark (per second), flat, defects: in that
order.  Plain functions on arrays; `workflow.ccd.isr` makes a task of them and
`workflow.ccd.combine` uses them on the frames that calibrations are made from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from workflow.ccd.errors import FrameMismatch
from workflow.ccd.frames import image_of, variance_of
from workflow.ccd.planes import bad_pixels, bit

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from astropy.table import Table
    from numpy.typing import NDArray

    from workflow.ccd.assembly import Assembled

__all__ = [
    "Exposed",
    "apply_gain",
    "defect_mask",
    "divide_flat",
    "expose",
    "interpolate_rows",
    "mark_defects",
    "subtract_bias",
    "subtract_dark",
]


class Exposed:
    """Values, variance and mask of a frame on their way through the steps.

    Parameters
    ----------
    data : array of float, shape (rows, columns)
        In ``unit``.
    variance : array of float, same shape
        In the squared ``unit``.
    mask : array of int32, same shape
        Planes of `workflow.ccd.planes`.
    unit : str
        ``adu`` or ``electron``.
    """

    def __init__(
        self,
        data: NDArray[np.float64],
        variance: NDArray[np.float64],
        mask: NDArray[np.int32],
        unit: str,
    ) -> None:
        self.data = data
        self.variance = variance
        self.mask = mask
        self.unit = unit


def subtract_bias(assembled: Assembled, bias: CCDData) -> NDArray[np.float64]:
    """Subtract a bias from an assembled frame, in place.

    Parameters
    ----------
    assembled : Assembled
        In ADU.
    bias : astropy.nddata.CCDData
        In ADU, of the assembled shape; its bad pixels become BAD.

    Returns
    -------
    array of float
        The variance that the bias adds [adu2].

    Raises
    ------
    FrameMismatch
        If shape or unit differ.
    """
    values = _checked("bias", bias, assembled.data.shape, "adu")
    assembled.data -= values
    assembled.mask[bad_pixels(bias)] |= bit("BAD")
    variance = variance_of(bias)
    return np.zeros(values.shape) if variance is None else variance


def expose(
    assembled: Assembled,
    added_variance: NDArray[np.float64] | float = 0.0,
    *,
    gain: float | None = None,
    read_noise: float | None = None,
) -> Exposed:
    """Estimate the variance of a frame whose pedestal is subtracted: photons plus read noise.

    Parameters
    ----------
    assembled : Assembled
        In ADU, overscan and bias subtracted.
    added_variance : array or float
        Variance of what was subtracted [adu2].
    gain, read_noise : float, optional
        What to use where the amplifiers do not know theirs [electron/adu, electron].

    Returns
    -------
    Exposed
        In ADU, with variance = max(signal, 0) / gain + (read noise / gain)2 + added_variance.
        Without any gain the photon term is left out; without any read noise it is taken as 0.
    """
    gains = assembled.amplifier_image("gain")
    gains = gain if gains is None else gains
    noise = assembled.amplifier_image("read_noise")
    noise = read_noise if noise is None else noise
    photons: Any = 0.0 if gains is None else np.maximum(assembled.data, 0.0) / gains
    floor: Any = 0.0 if noise is None else np.square(noise / (1.0 if gains is None else gains))
    variance = np.zeros(assembled.data.shape) + photons + floor + added_variance
    return Exposed(assembled.data, variance, assembled.mask, "adu")


def apply_gain(exposed: Exposed, gain: NDArray[np.float64] | float) -> None:
    """Turn ADU into electrons, in place, by the gain of each pixel's amplifier [electron/adu]."""
    exposed.data *= gain
    exposed.variance *= np.square(gain)
    exposed.unit = "electron"


def subtract_dark(exposed: Exposed, dark: CCDData, seconds: float) -> None:
    """Subtract the dark current of an exposure, in place.

    Parameters
    ----------
    exposed : Exposed
        In ADU or electrons.
    dark : astropy.nddata.CCDData
        Per second, in the same unit; its bad pixels become BAD.
    seconds : float
        How long the frame collected dark current [s].

    Raises
    ------
    FrameMismatch
        If shape or unit differ.
    """
    rate = _checked("dark", dark, exposed.data.shape, f"{exposed.unit} / s")
    exposed.data -= rate * seconds
    variance = variance_of(dark)
    if variance is not None:
        exposed.variance += variance * seconds**2
    exposed.mask[bad_pixels(dark)] |= bit("BAD")


def divide_flat(exposed: Exposed, flat: CCDData, minimum: float = 0.0) -> None:
    """Divide by a flat, in place, and propagate the noise of both.

    Parameters
    ----------
    exposed : Exposed
        Any unit.
    flat : astropy.nddata.CCDData
        Without unit, about 1.
    minimum : float
        Pixels whose flat is not above it cannot be used: they become BAD and NO_DATA, with value
        0 and infinite variance.

    Raises
    ------
    FrameMismatch
        If the shapes differ.
    """
    values = _checked("flat", flat, exposed.data.shape, None)
    dead = ~(values > minimum) | ~np.isfinite(values)
    safe = np.where(dead, 1.0, values)
    exposed.data /= safe
    exposed.variance /= np.square(safe)
    variance = variance_of(flat)
    if variance is not None:
        exposed.variance += np.square(exposed.data / safe) * np.where(dead, 0.0, variance)
    exposed.mask[bad_pixels(flat)] |= bit("BAD")
    exposed.data[dead] = 0.0
    exposed.variance[dead] = np.inf
    exposed.mask[dead] |= bit("BAD", "NO_DATA")


def defect_mask(defects: Table, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Draw a table of defects as a mask.

    Parameters
    ----------
    defects : astropy.table.Table
        Either columns ``x0, y0, width, height`` (pixels counted from 0), or a FITS region table
        (``X, Y, SHAPE, R``: centre counted from 1 and size of POINT and BOX), in the frame of the
        trimmed image.
    shape : tuple of int
        Rows and columns; what lies outside is cut off.

    Returns
    -------
    array of bool, shape (rows, columns)

    Raises
    ------
    FrameMismatch
        If the table has neither set of columns.
    """
    out = np.zeros(shape, dtype=bool)
    names = {name.lower(): name for name in defects.colnames}
    if {"x0", "y0", "width", "height"} <= set(names):
        boxes = np.array([defects[names[k]] for k in ("x0", "y0", "width", "height")], dtype=float)
    elif {"x", "y", "shape", "r"} <= set(names):
        boxes = _region_boxes(defects, names)
    else:
        raise FrameMismatch(
            "columns of the defects", "x0, y0, width, height", ", ".join(defects.colnames)
        )
    for x0, y0, width, height in np.rint(boxes.T).astype(int):
        out[max(y0, 0) : max(y0 + height, 0), max(x0, 0) : max(x0 + width, 0)] = True
    return out


def _region_boxes(defects: Table, names: dict[str, str]) -> NDArray[np.float64]:
    """Turn a FITS region table into first pixel (from 0) and size of boxes."""
    kinds = [str(s).strip().upper() for s in defects[names["shape"]]]
    other = sorted(set(kinds) - {"POINT", "BOX"})
    if other:
        raise FrameMismatch("shapes of the defects", "POINT and BOX", ", ".join(other))
    size = np.atleast_2d(np.asarray(defects[names["r"]], dtype=float))
    size = np.where(np.array(kinds)[:, np.newaxis] == "POINT", 1.0, size)
    x0 = np.asarray(defects[names["x"]], dtype=float) - 1 - (size[:, 0] - 1) / 2
    y0 = np.asarray(defects[names["y"]], dtype=float) - 1 - (size[:, 1] - 1) / 2
    return np.array([np.floor(x0), np.floor(y0), size[:, 0], size[:, 1]])


def mark_defects(exposed: Exposed, defects: Table) -> int:
    """Set BAD on the pixels of a defects table, in place, and return how many there are."""
    area = defect_mask(defects, exposed.data.shape)
    exposed.mask[area] |= bit("BAD")
    return int(area.sum())


def interpolate_rows(
    data: NDArray[Any], variance: NDArray[Any], area: NDArray[np.bool_], bad: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Fill pixels from the good ones left and right of them in the same row, in place.

    Parameters
    ----------
    data, variance : array, shape (rows, columns)
        What is filled.
    area : array of bool
        Pixels to fill.
    bad : array of bool
        Further pixels that are no source of values.

    Returns
    -------
    array of bool
        The pixels that were filled; a row without good pixels is left alone.
    """
    filled = np.zeros_like(area)
    columns = np.arange(data.shape[1])
    for row in np.flatnonzero(area.any(axis=1)):
        good = ~(area[row] | bad[row])
        if not good.any():
            continue
        holes = area[row]
        for plane in (data, variance):
            plane[row, holes] = np.interp(columns[holes], columns[good], plane[row, good])
        filled[row] = holes
    return filled


def _checked(
    kind: str, frame: CCDData, shape: tuple[int, ...], unit: str | None
) -> NDArray[np.float64]:
    """Return the values of a calibration after comparing its shape and unit with the frame's."""
    from astropy.units import Unit

    values = image_of(frame)
    if values.shape != shape:
        raise FrameMismatch(
            "shapes",
            f"frame {shape}",
            f"{kind} {values.shape}",
            f"Make the {kind} from frames of the same window and binning.",
        )
    if unit is not None and frame.unit != Unit(unit):
        raise FrameMismatch(
            "units",
            f"frame in {unit}",
            f"{kind} in {frame.unit}",
            "Give combine and ISR tasks the same assembly and apply_gain.",
        )
    return values
