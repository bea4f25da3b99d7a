"""Reading the real frames as the Butler's formatter reads them, and small made-up ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from butler.exposure import Exposure
from butler.formatters import get_formatter
from workflow.ccd.frames import make_frame

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from workflow.ccd.grid import TanGrid


def read(path: Path) -> Exposure:
    """Read a raw frame."""
    frame: Exposure = get_formatter("fits-image").read(path)
    return frame


def raw(data: NDArray[Any], **cards: Any) -> Exposure:
    """Make a raw frame from values."""
    return Exposure(np.asarray(data), unit="adu", meta=dict(cards))


def image(
    data: NDArray[Any],
    grid: TanGrid | None = None,
    variance: float | NDArray[Any] = 1.0,
    mask: NDArray[np.int32] | None = None,
    **cards: Any,
) -> Any:
    """Make a calibrated image of double precision, on the pixels of a grid if given."""
    return make_frame(
        data,
        unit="electron",
        header={"EXPTIME": 10.0, **cards},
        variance=np.zeros(data.shape) + variance,
        mask=np.zeros(data.shape, dtype=np.int32) if mask is None else mask,
        wcs=None if grid is None else grid.wcs(),
        dtype=np.float64,
    )


def gaussian(
    shape: tuple[int, int], x: float, y: float, flux: float, fwhm: float = 3.0
) -> NDArray[np.float64]:
    """Draw a star whose pixels sum to a flux."""
    sigma = fwhm / 2.3548
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    profile = np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / sigma**2)
    out: NDArray[np.float64] = flux * profile / (2 * np.pi * sigma**2)
    return out
