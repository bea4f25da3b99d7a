"""Which part of the sky does a row cover, and which other rows does it touch?

Regions are `lsst.sphgeom` objects in ICRS.  They are indexed by nested HEALPix pixel ranges;
candidates that share a pixel are found in SQL, the exact test is sphgeom's.  Overlaps are computed
once, when either side is inserted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import CHUNK, insert_rows, rows_of
from registry.schema.dimensions import (
    overlap,
    patch,
    patch_pixel,
    visit_detector_pixel,
    visit_detector_region,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lsst.sphgeom import Region

__all__ = [
    "HEALPIX_ORDER",
    "decode",
    "encode",
    "from_vertices",
    "index_patches",
    "index_visits",
    "pixel_ranges",
]

HEALPIX_ORDER = 10
"""Order of the index pixels: 3.4 arcmin across."""
_MAX_RANGES = 16


def from_vertices(vertices: Iterable[Sequence[float]]) -> Region:
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

    Returns
    -------
    list of (int, int)
        Half-open ranges of pixel numbers; at most a few, so the cover may be coarser than the
        region.
    """
    from lsst.sphgeom import HealpixPixelization

    covered = HealpixPixelization(HEALPIX_ORDER).envelope(region)
    ranges = [(int(begin), int(end)) for begin, end in covered]
    gaps = sorted((ranges[n + 1][0] - ranges[n][1], n) for n in range(len(ranges) - 1))
    closed = {n for _, n in gaps[: max(len(ranges) - _MAX_RANGES, 0)]}
    merged: list[tuple[int, int]] = []
    for n, (begin, end) in enumerate(ranges):
        if n - 1 in closed:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((begin, end))
    return merged


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
        for begin, end in pixel_ranges(region)
    ]
    insert_rows(connection, index, pixels, skip_existing=True)
    types = {k: sa.String if k in ("instrument", "skymap") else sa.BigInteger for k in keys}
    ranges = {"pixel_begin": sa.BigInteger, "pixel_end": sa.BigInteger}
    columns = (*keys, *other_keys)
    found: list[dict[str, Any]] = []
    for start in range(0, len(pixels), CHUNK):
        new = rows_of(connection, pixels[start : start + CHUNK], {**types, **ranges})
        shares_pixel = sa.and_(
            new.c.pixel_begin < other_index.c.pixel_end, other_index.c.pixel_begin < new.c.pixel_end
        )
        near = (
            sa.select(*(new.c[k] for k in keys), *(other_index.c[k] for k in other_keys))
            .join_from(new, other_index, shares_pixel)
            .distinct()
            .subquery("near")
        )
        candidates = sa.select(near, others.c.region).join(
            others, sa.and_(*(near.c[k] == others.c[k] for k in other_keys))
        )
        found.extend(
            dict(zip(columns, row, strict=False))
            for row in connection.execute(candidates)
            if regions[tuple(row[: len(keys)])].overlaps(decode(row.region)) is not False
        )
    insert_rows(connection, overlap, found, skip_existing=True)
