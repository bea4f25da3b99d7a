"""By which ranges of pixels is each of many regions found?

Convex polygons are covered all at once: from a pixel and its neighbours that hold the whole of one
down to the pixels of the index, keeping at each step those that it may touch.  Gaps of a few pixels
are closed, which halves the rows that are stored.  One region that is asked for, and other shapes:
`registry.regions.pixel_ranges`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from registry import footprints
from registry.regions import HEALPIX_ORDER, LONGEST, PIXEL_DEG, decode, pixel_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import sqlalchemy as sa
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]

__all__ = ["covers"]

_FEWEST = 2
"""Order of the largest pixels to begin with."""
_STEPS = 4
"""So many times pixels are divided: the smallest are a sixteenth of the largest."""
_GAP = 8
"""So many pixels between two ranges are covered too."""
_MARGIN = 1e-7
_SHORTEST = 1e-8
"""A side shorter than this says nothing of where its polygon lies [rad]."""
_BITS = 2 * HEALPIX_ORDER + 4
_AT_ONCE = 5_000
"""Polygons that are covered in one step, so that it takes little memory."""


def covers(regions: Sequence[bytes], index: sa.Table) -> tuple[Numbers, Numbers, Numbers]:
    """Cover many regions by pixel ranges, as they stand in an index: in pieces of `LONGEST` pixels.

    Parameters
    ----------
    regions : sequence of bytes
        As stored.
    index : sqlalchemy.Table
        One of the tables of ranges.

    Returns
    -------
    region, begin, end : array of int
        Place of the region, and its half-open ranges of pixels; in the order of both.
    """
    polygons, others = footprints.corners_of(regions)
    found = []
    for places, corners in polygons:
        for start in range(0, len(places), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            where = np.array(places[part])
            for which, begins, ends in _of_polygons(corners[part]):
                found.append((where[which], begins, ends))
            others += where[_order(corners[part]) < _FEWEST].tolist()
    listed = [(n, begin, end) for n in others for begin, end in pixel_ranges(decode(regions[n]))]
    which, begins, ends = np.array(listed, dtype=np.int64).reshape(-1, 3).T
    found.append((which, begins, ends))
    which, begins, ends = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(which << _BITS | begins)
    return _in_pieces(which[order], begins[order], ends[order], LONGEST[index.name])


def _in_pieces(
    which: Numbers, begins: Numbers, ends: Numbers, longest: int
) -> tuple[Numbers, Numbers, Numbers]:
    n_pieces = -((begins - ends) // longest)
    row = np.repeat(np.arange(len(which)), n_pieces)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(n_pieces) - n_pieces, n_pieces)
    first = begins[row] + nth * longest
    return which[row], first, np.minimum(first + longest, ends[row])


def _order(corners: NDArray[np.float64]) -> Numbers:
    """Give of each polygon the order at which a pixel and its neighbours hold it."""
    _, radius = footprints.circles_around(corners)
    finest = np.log2(PIXEL_DEG / 2 / np.maximum(radius, 1e-6))
    return np.minimum(np.floor(finest), HEALPIX_ORDER).astype(np.int64)


def _of_polygons(corners: NDArray[np.float64]) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
    """Cover polygons with the same number of corners; for each order of pixels some of them."""
    import hpgeom

    middle, degrees = footprints.circles_around(corners)
    radius = np.radians(degrees)
    normals = np.cross(corners, np.roll(corners, -1, axis=1))
    lengths = np.linalg.norm(normals, axis=2, keepdims=True)
    normals = np.where(lengths < _SHORTEST, 0.0, normals / np.maximum(lengths, _SHORTEST))
    sides = np.ascontiguousarray(normals.transpose(1, 2, 0))
    centre = np.ascontiguousarray(middle.T)

    def may_touch(which: Numbers, pixels: Numbers, order: int) -> NDArray[np.bool_]:
        """Tell whether a circle around each pixel comes near each side, from within."""
        size = np.radians(hpgeom.max_pixel_radius(2**order)) + _MARGIN
        place = hpgeom.pixel_to_vector(2**order, pixels)
        inside = sum(c.take(which) * x for c, x in zip(centre, place, strict=True))
        near: NDArray[np.bool_] = inside >= np.cos(radius + size).take(which)
        for side in sides:
            inside = sum(n.take(which) * x for n, x in zip(side, place, strict=True))
            near &= inside >= -np.sin(size)
        return near

    orders = _order(corners)
    for largest in np.unique(orders[orders >= _FEWEST]).tolist():
        some = np.flatnonzero(orders == largest)
        first = hpgeom.vector_to_pixel(2**largest, *middle[some].T)
        pixels = np.column_stack([first, hpgeom.neighbors(2**largest, first)]).ravel()
        which = np.repeat(some, 9)[pixels >= 0]
        pixels = pixels[pixels >= 0]
        smallest = min(HEALPIX_ORDER, largest + _STEPS)
        for order in range(largest, smallest + 1):
            if order > largest:
                which = np.repeat(which, 4)
                pixels = (pixels[:, None] * 4 + np.arange(4)).ravel()
            near = may_touch(which, pixels, order)
            which, pixels = which[near], pixels[near]
        keys = np.sort(which << _BITS | pixels)
        begins = np.flatnonzero(np.diff(keys, prepend=-_GAP - 2) > _GAP + 1)
        ends = np.append(begins[1:], len(keys)) - 1
        finer = 2 * (HEALPIX_ORDER - smallest)
        pixels = keys & ((1 << _BITS) - 1)
        yield keys[begins] >> _BITS, pixels[begins] << finer, (pixels[ends] + 1) << finer
