"""Which part of the sky does a row cover, and which other rows does it touch?

Regions are `lsst.sphgeom` objects in ICRS.  They are indexed by nested HEALPix pixel ranges;
candidates that share a pixel are found in SQL, the exact test is sphgeom's.  Overlaps are computed
once, when either side is inserted.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import CHUNK, insert_rows, rows_of
from registry.schema.dimensions import (
    overlap,
    patch,
    patch_pixel,
    tract_pixel,
    visit_detector_pixel,
    visit_detector_region,
    visit_pixel,
)
from registry.touching import touch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lsst.sphgeom import ConvexPolygon, Region

__all__ = [
    "HEALPIX_ORDER",
    "LONGEST",
    "decode",
    "encode",
    "from_vertices",
    "index_alone",
    "index_patches",
    "index_visits",
    "pixel_ranges",
    "shares_pixel",
    "stored_ranges",
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
_PIXEL_DEG = 58.6
"""Width of a pixel of order 0."""
_PIXELS_ACROSS = 8
"""How many pixels a radius may span before larger pixels are taken."""
_HEMISPHERE = 80.0
"""Radius up to which a polygon is covered as such [deg]."""
_MARGIN_DEG = 1e-7


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
    while order > 0 and _PIXEL_DEG / 2**order * _PIXELS_ACROSS < radius:
        order -= 1
    coarser = 2 * (HEALPIX_ORDER - order)
    ranges = [(b << coarser, e << coarser) for b, e in _cover(region, radius, 2**order)]
    gaps = sorted((ranges[n + 1][0] - ranges[n][1], n) for n in range(len(ranges) - 1))
    closed = {n for _, n in gaps[: max(len(ranges) - _MAX_RANGES, 0)]}
    begins = [begin for n, (begin, _) in enumerate(ranges) if n - 1 not in closed]
    ends = [end for n, (_, end) in enumerate(ranges) if n not in closed]
    return list(zip(begins, ends, strict=True))


def stored_ranges(region: Region, index: sa.Table) -> list[tuple[int, int]]:
    """Give `pixel_ranges` in pieces of at most `LONGEST` pixels, as they stand in an index."""
    longest = LONGEST[index.name]
    return [
        (piece, min(piece + longest, end))
        for begin, end in pixel_ranges(region)
        for piece in range(begin, end, longest)
    ]


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

    kept = {"inclusive": True, "nest": True, "lonlat": True, "return_pixel_ranges": True}
    found: Any = None
    if isinstance(region, Box):
        (west, east), (south, north) = (
            (side.getA().asDegrees(), side.getB().asDegrees())
            for side in (region.getLon(), region.getLat())
        )
        if region.getLon().isFull():
            west, east = 0.0, 360.0
        found = hpgeom.query_box(nside, west, east, south, north, **kept)
    elif isinstance(region, ConvexPolygon) and radius < _HEMISPHERE:
        corners = [LonLat(corner) for corner in region.getVertices()]
        lon = [corner.getLon().asDegrees() for corner in corners]
        lat = [corner.getLat().asDegrees() for corner in corners]
        with contextlib.suppress(RuntimeError):  # of a side too short for its library
            found = hpgeom.query_polygon(nside, lon, lat, **kept)
    if found is None:
        if radius >= 2 * _HEMISPHERE:
            return [(0, 12 * nside**2)]
        centre = LonLat(region.getBoundingCircle().getCenter())
        lon0, lat0 = centre.getLon().asDegrees(), centre.getLat().asDegrees()
        found = hpgeom.query_circle(nside, lon0, lat0, max(radius, 0.0) + _MARGIN_DEG, **kept)
    return [(int(begin), int(end)) for begin, end in found]


_VISIT = ("instrument", "visit", "detector")
_PATCH = ("skymap", "tract", "patch")


def index_visits(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Index new visit-detector regions and record which patches they touch."""
    regions = {tuple(row[k] for k in _VISIT): decode(row["region"]) for row in rows}
    _index(connection, visit_detector_pixel, _VISIT, regions, patch_pixel, _PATCH, _patch_regions())


def index_patches(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Index new patches and record which visit-detector regions touch them."""
    regions = {(row["skymap"], row["tract"], row["id"]): decode(row["region"]) for row in rows}
    seen = sa.select(visit_detector_region).subquery("seen")
    _index(connection, patch_pixel, _PATCH, regions, visit_detector_pixel, _VISIT, seen)


def index_alone(connection: sa.Connection, element: str, rows: Sequence[dict[str, Any]]) -> None:
    """Index new regions of visits or tracts; which of them touch is asked when it matters.

    Parameters
    ----------
    element : {"visit", "tract"}
        What the rows are; those without a region are passed over.
    """
    index, governor = {
        "visit": (visit_pixel, "instrument"),
        "tract": (tract_pixel, "skymap"),
    }[element]
    pixels = [
        {governor: row[governor], element: row["id"], "pixel_begin": begin, "pixel_end": end}
        for row in rows
        if row["region"] is not None
        for begin, end in stored_ranges(decode(row["region"]), index)
    ]
    insert_rows(connection, index, pixels, skip_existing=True)


def _patch_regions() -> sa.Subquery:
    return sa.select(
        patch.c.skymap, patch.c.tract, patch.c.id.label("patch"), patch.c.region
    ).subquery("seen")


def _index(
    connection: sa.Connection,
    index: sa.Table,
    keys: tuple[str, ...],
    regions: Mapping[tuple[Any, ...], Region],
    other_index: sa.Table,
    other_keys: tuple[str, ...],
    others: sa.Subquery,
) -> None:
    """Write the pixel ranges of new regions, then the overlaps with the other side's regions."""
    pixels = [
        dict(zip(keys, key, strict=True), pixel_begin=begin, pixel_end=end)
        for key, region in regions.items()
        for begin, end in stored_ranges(region, index)
    ]
    insert_rows(connection, index, pixels, skip_existing=True)
    types = {k: sa.String if k in ("instrument", "skymap") else sa.BigInteger for k in keys}
    ranges = {"pixel_begin": sa.BigInteger, "pixel_end": sa.BigInteger}
    columns = (*keys, *other_keys)
    found: list[dict[str, Any]] = []
    for start in range(0, len(pixels), CHUNK):
        new = rows_of(connection, pixels[start : start + CHUNK], {**types, **ranges})
        meet = shares_pixel(new.c.pixel_begin, new.c.pixel_end, other_index)
        near = (
            sa.select(*(new.c[k] for k in keys), *(other_index.c[k] for k in other_keys))
            .join_from(new, other_index, meet)
            .distinct()
            .subquery("near")
        )
        candidates = sa.select(near, others.c.region).join(
            others, sa.and_(*(near.c[k] == others.c[k] for k in other_keys))
        )
        found.extend(
            dict(zip(columns, row, strict=False))
            for row in connection.execute(candidates)
            if touch(regions[tuple(row[: len(keys)])], decode(row.region))
        )
    insert_rows(connection, overlap, found, skip_existing=True)
