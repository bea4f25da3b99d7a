"""How is a region of the sky stored, and by which pixels is it found?

Regions are `lsst.sphgeom` objects in ICRS, covered by ranges of nested HEALPix pixels.  How rows
are indexed and their overlaps recorded: `registry.covering`, `registry.overlaps`; what is asked of
them: `registry.sky`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.schema.dimensions import (
    patch_pixel,
    tract_pixel,
    visit_detector_pixel,
    visit_pixel,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lsst.sphgeom import ConvexPolygon, Region

__all__ = [
    "HEALPIX_ORDER",
    "LONGEST",
    "PIXEL_DEG",
    "covering_pixels",
    "decode",
    "encode",
    "from_vertices",
    "pixel_ranges",
    "shares_pixel",
]

HEALPIX_ORDER = 10
"""Order of the index pixels: 3.4 arcmin across."""
LONGEST = {
    patch_pixel.name: 64,
    tract_pixel.name: 1024,
    visit_detector_pixel.name: 64,
    visit_pixel.name: 1024,
}
"""Pixels of the longest range that is stored: what overlaps a range begins not far before it."""
_MAX_RANGES = 16
PIXEL_DEG = 58.6
"""Width of a pixel of order 0."""
_PIXELS_ACROSS = 8
"""How many pixels a radius may span before larger pixels are taken."""
_HEMISPHERE = 80.0
"""Radius up to which a polygon is covered as such [deg]."""
_MARGIN_DEG = 1e-7
_COVERING: dict[str, Any] = {
    "inclusive": True,
    "nest": True,
    "lonlat": True,
    "return_pixel_ranges": True,
}


def from_vertices(vertices: Iterable[Sequence[float]]) -> ConvexPolygon:
    """Make a convex polygon.

    Parameters
    ----------
    vertices : iterable of (float, float)
        ra, dec of each corner, ICRS [deg].

    Returns
    -------
    lsst.sphgeom.ConvexPolygon
    """
    from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d

    return ConvexPolygon(
        [UnitVector3d(LonLat.fromDegrees(float(ra), float(dec))) for ra, dec in vertices]
    )


def encode(region: Region) -> bytes:
    """Write a region as the bytes that are stored."""
    return bytes(region.encode())


def decode(data: bytes) -> Region:
    """Read a region from the stored bytes."""
    from lsst.sphgeom import Region

    return Region.decode(bytes(data))


def pixel_ranges(region: Region) -> list[tuple[int, int]]:
    """Cover a region by nested HEALPix pixels of order `HEALPIX_ORDER`.

    The cover of a large region is made of larger pixels, so that it takes neither time nor memory.

    Returns
    -------
    list of (int, int)
        Half-open ranges of pixel numbers; at most a few, so the cover may be coarser than the
        region.
    """
    radius = region.getBoundingCircle().getOpeningAngle().asDegrees()
    order = HEALPIX_ORDER
    while order > 0 and PIXEL_DEG / 2**order * _PIXELS_ACROSS < radius:
        order -= 1
    coarser = 2 * (HEALPIX_ORDER - order)
    ranges = [(b << coarser, e << coarser) for b, e in _cover(region, radius, 2**order)]
    gaps = sorted((ranges[n + 1][0] - ranges[n][1], n) for n in range(len(ranges) - 1))
    closed = {n for _, n in gaps[: max(len(ranges) - _MAX_RANGES, 0)]}
    begins = [begin for n, (begin, _) in enumerate(ranges) if n - 1 not in closed]
    ends = [end for n, (_, end) in enumerate(ranges) if n not in closed]
    return list(zip(begins, ends, strict=True))


def covering_pixels(region: Region) -> Iterator[int]:
    """Give the nested HEALPix pixels of order `HEALPIX_ORDER` that a region may touch."""
    radius = region.getBoundingCircle().getOpeningAngle().asDegrees()
    for begin, end in _cover(region, radius, 2**HEALPIX_ORDER):
        yield from range(begin, end)


def shares_pixel(begin: Any, end: Any, index: sa.Table) -> sa.ColumnElement[bool]:
    """Say that a range of pixels overlaps a stored one: one step into the index and a short way on.

    Parameters
    ----------
    begin, end : sqlalchemy column
        Of the range; half open.
    index : sqlalchemy.Table
        One of the tables of ranges.
    """
    return sa.and_(
        index.c.pixel_begin > begin - LONGEST[index.name],
        index.c.pixel_begin < end,
        index.c.pixel_end > begin,
    )


def _cover(region: Region, radius: float, nside: int) -> list[tuple[int, int]]:
    """List the ranges of all pixels that a region may touch, and perhaps a few more."""
    import hpgeom
    from lsst.sphgeom import Box, ConvexPolygon, LonLat

    found: Any = None
    if isinstance(region, Box):
        (west, east), (south, north) = (
            (side.getA().asDegrees(), side.getB().asDegrees())
            for side in (region.getLon(), region.getLat())
        )
        if region.getLon().isFull():
            west, east = 0.0, 360.0
        found = hpgeom.query_box(nside, west, east, south, north, **_COVERING)
    elif isinstance(region, ConvexPolygon) and radius < _HEMISPHERE:
        corners = [LonLat(corner) for corner in region.getVertices()]
        lon = [corner.getLon().asDegrees() for corner in corners]
        lat = [corner.getLat().asDegrees() for corner in corners]
        with contextlib.suppress(RuntimeError):  # of a side too short for its library
            found = hpgeom.query_polygon(nside, lon, lat, **_COVERING)
    if found is None:
        if radius >= 2 * _HEMISPHERE:
            return [(0, 12 * nside**2)]
        centre = LonLat(region.getBoundingCircle().getCenter())
        lon0, lat0 = centre.getLon().asDegrees(), centre.getLat().asDegrees()
        found = hpgeom.query_circle(nside, lon0, lat0, max(radius, 0.0) + _MARGIN_DEG, **_COVERING)
    return [(begin, end) for begin, end in found.tolist()]
