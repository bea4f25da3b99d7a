"""How is a sky region told to people and to the Virtual Observatory?

As the text that IVOA tables carry (``POLYGON ICRS ra dec ...``), its middle and its size.  They are
computed from the stored bytes when a region is inserted, thousands at once.  Where regions are and
what they touch: `registry.regions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = [
    "COLUMNS",
    "circles_around",
    "corners_of",
    "describe",
    "lon_lat",
    "with_footprints",
]

COLUMNS = ("stc_s", "center_ra", "center_dec", "diameter_deg")
"""Columns of a row with a region that tell it."""

_VECTOR = 24  # bytes of three doubles


def with_footprints(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Complete rows that have a ``region`` (bytes) by the columns that tell it.

    What a row gives for these columns itself is kept.
    """
    told = describe([row["region"] for row in rows])
    given = [c for c in COLUMNS if any(row.get(c) is not None for row in rows)]
    return [
        {**row, **more, **{c: row[c] for c in given if row.get(c) is not None}}
        for row, more in zip(rows, told, strict=True)
    ]


def describe(regions: Sequence[bytes]) -> list[Mapping[str, Any]]:
    """Tell regions as text, middle and size.

    Parameters
    ----------
    regions : sequence of bytes
        In the encoding of `lsst.sphgeom`, ICRS.

    Returns
    -------
    list of mapping
        With `COLUMNS`: the region as STC-S text (None for shapes other than polygon and circle),
        its middle, ICRS [deg], and the diameter of a circle around it [deg].  The middle of a
        polygon is the mean of its corners.
    """
    told: list[Mapping[str, Any]] = [{}] * len(regions)
    polygons, others = corners_of(regions)
    for places, vectors in polygons:
        for n, row in zip(places, _polygons(vectors), strict=True):
            told[n] = row
    for n in others:
        told[n] = _other(bytes(regions[n]))
    return told


def corners_of(
    regions: Sequence[bytes],
) -> tuple[list[tuple[list[int], NDArray[np.float64]]], list[int]]:
    """Read the corners of many polygons at once.

    Returns
    -------
    polygons : list of (places, corners)
        For each number of corners the places of its polygons among the regions, and their corners
        as unit vectors, shape (n, corners, 3), in order.
    others : list of int
        Places of the regions that are no polygons.
    """
    sizes = np.fromiter(map(len, regions), np.int64, len(regions))
    is_polygon = np.fromiter((region[:1] == b"p" for region in regions), np.bool_, len(regions))
    is_polygon &= sizes % _VECTOR == 1
    polygons = []
    for size in np.unique(sizes[is_polygon]).tolist():
        places = np.flatnonzero(is_polygon & (sizes == size)).tolist()
        stored = np.frombuffer(b"".join([regions[n] for n in places]), np.uint8)
        corners = stored.reshape(len(places), size)[:, 1:].copy().view("<f8")
        polygons.append((places, corners.reshape(len(places), -1, 3)))
    others = np.flatnonzero(~is_polygon).tolist()
    return polygons, others


def circles_around(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give a circle around each polygon: the mean of its corners, and how far they are from it.

    Parameters
    ----------
    vectors : array of float, shape (n, corners, 3)

    Returns
    -------
    middle : array of float, shape (n, 3)
    radius : array of float, shape (n,)  [deg]
    """
    middle = vectors.sum(axis=1)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    chords = np.linalg.norm(vectors - middle[:, None, :], axis=2).max(axis=1)
    return middle, np.degrees(2 * np.arcsin(np.minimum(chords / 2, 1)))


def _polygons(vectors: NDArray[np.float64]) -> list[Mapping[str, Any]]:
    middle, radius = circles_around(vectors)
    corners = lon_lat(vectors).reshape(len(vectors), -1)
    pattern = "POLYGON ICRS" + " %.7f" * corners.shape[1]
    return [
        dict(zip(COLUMNS, (pattern % tuple(corner), ra, dec, diameter), strict=True))
        for corner, (ra, dec), diameter in zip(
            corners.tolist(), lon_lat(middle).tolist(), (2 * radius).tolist(), strict=True
        )
    ]


def lon_lat(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give longitude and latitude of unit vectors, shape (..., 3), as an array (..., 2) [deg]."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.stack(
        [np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))], -1
    )


def _other(region: bytes) -> Mapping[str, Any]:
    from lsst.sphgeom import Circle, LonLat, Region

    shape = Region.decode(region)
    around = shape.getBoundingCircle()
    middle = LonLat(around.getCenter())
    ra, dec = middle.getLon().asDegrees(), middle.getLat().asDegrees()
    radius = around.getOpeningAngle().asDegrees()
    text = f"CIRCLE ICRS {ra:.7f} {dec:.7f} {radius:.7f}" if isinstance(shape, Circle) else None
    return dict(zip(COLUMNS, (text, ra, dec, 2 * radius), strict=True))
