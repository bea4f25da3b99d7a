"""Which parts of a camera's detectors lie side by side in an exposure?

A *cell* is a detector, or one of the equal parts that it is divided into (its amplifiers). The
coordinates of the images say where each lies in a plane that all share, so that no description of
the camera's layout is needed: turned, mirrored and shifted detectors find their neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workflow.ccd.errors import FrameMismatch, NoSkyCoordinates
from workflow.ccd.grid import TanGrid
from workflow.multinode import FocalPlane

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Cell", "cell_slices", "focal_plane"]

_NOT_BEYOND = 0.4
"""Part of a cell's shorter side that a gap is smaller than, lest cells see past each other."""


class Cell(NamedTuple):
    """A part of a detector: its number, and row and column of the part, counted from 0."""

    detector: int
    row: int
    column: int


def cell_slices(
    detector: int, shape: tuple[int, int], cells: Sequence[int]
) -> dict[Cell, tuple[slice, slice]]:
    """Divide the pixels of a detector into equal cells.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of its image.
    cells : (int, int)
        Cells along them.

    Raises
    ------
    FrameMismatch
        If there are fewer pixels than cells.
    """
    if min(n // c for n, c in zip(shape, cells, strict=True)) < 1:
        raise FrameMismatch(
            "sizes", tuple(cells), f"detector {detector} of shape {shape}", "Ask for fewer cells."
        )
    edges = [[n * k // c for k in range(c + 1)] for n, c in zip(shape, cells, strict=True)]
    return {
        Cell(detector, row, column): (
            slice(edges[0][row], edges[0][row + 1]),
            slice(edges[1][column], edges[1][column + 1]),
        )
        for row in range(cells[0])
        for column in range(cells[1])
    }


def focal_plane(
    shapes: Mapping[int, tuple[int, int]],
    wcs: Mapping[int, Any],
    cells: Sequence[int] = (1, 1),
    reach: float = 150.0,
) -> FocalPlane:
    """Find the cells of detectors, and which of them are neighbours.

    Parameters
    ----------
    shapes : mapping of int to (int, int)
        Rows and columns of each detector's image.
    wcs : mapping of int to astropy.wcs.WCS or None
        Their coordinates; a single detector needs none.
    cells : (int, int)
        Into how many parts rows and columns of each are divided.
    reach : float
        Largest gap between neighbours [pixel]; never more than two fifths of a cell's side.

    Returns
    -------
    FocalPlane
        The cells, in the order of detectors, with corners in the order of pixels (0, 0), (n, 0),
        (n, n), (0, n), in a plane that touches the sky in the middle of the detectors [pixel].

    Raises
    ------
    NoSkyCoordinates
        If one of several detectors has no coordinates.
    """
    plane = _plane(shapes, wcs) if len(shapes) > 1 else None
    outlines = {}
    for detector in sorted(shapes):
        for cell, (rows, columns) in cell_slices(detector, shapes[detector], cells).items():
            left, right = columns.start - 0.5, columns.stop - 0.5
            low, high = rows.start - 0.5, rows.stop - 0.5
            x, y = np.array([left, right, right, left]), np.array([low, low, high, high])
            if plane is not None:
                x, y = plane.wcs().world_to_pixel(wcs[detector].celestial.pixel_to_world(x, y))
            outlines[cell] = np.stack([x, y], axis=-1)
    sides = [np.hypot(*(c - np.roll(c, 1, axis=0)).T).min() for c in outlines.values()]
    return FocalPlane(outlines, min(reach, _NOT_BEYOND * float(min(sides))))


def _plane(shapes: Mapping[int, tuple[int, int]], wcs: Mapping[int, Any]) -> TanGrid:
    """Make the plane that touches the sky in the middle of the detectors."""
    from astropy.coordinates import SkyCoord
    from astropy.wcs.utils import proj_plane_pixel_scales

    without = [d for d in sorted(shapes) if wcs[d] is None or not wcs[d].has_celestial]
    if without:
        raise NoSkyCoordinates(
            f"Detector {without[0]} has no WCS, which says which detectors lie beside it."
        )
    centres, scales = [], []
    for detector in sorted(shapes):
        rows, columns = shapes[detector]
        sky = wcs[detector].celestial
        centres.append(sky.pixel_to_world((columns - 1) / 2, (rows - 1) / 2).icrs.cartesian.xyz)
        scales.append(3600.0 * float(np.mean(proj_plane_pixel_scales(sky))))
    middle = SkyCoord(*np.mean(centres, axis=0), representation_type="cartesian").spherical
    scale = float(np.median(scales))
    return TanGrid(float(middle.lon.deg), float(middle.lat.deg), scale, 1, 1, 0.0, 0.0)
