"""Do two regions of the sky share a point?

`lsst.sphgeom` answers exactly, but for a box of right ascension and declination beside a polygon,
where it compares the box with the polygon's bounding box; that case is worked out here.  Polygons
by the thousand are compared at once: `touching`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from registry.footprints import corners_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lsst.sphgeom import Box, ConvexPolygon, LonLat, NormalizedAngle, Region, UnitVector3d
    from numpy.typing import NDArray

__all__ = ["touch", "touching"]


def touching(ones: Sequence[bytes], others: Sequence[bytes]) -> list[bool]:
    """Tell of many pairs of regions, as they are stored, whether they share a point.

    Two convex polygons in one hemisphere are apart when all corners of one lie beyond a side of the
    other, and touch when no side of either does that.  Where rounding decides, and for other
    shapes, `touch` is asked.
    """
    from lsst.sphgeom import Region

    answers: list[bool | None] = [None] * len(ones)
    for places, corners in corners_of(ones)[0]:
        for inner, other_corners in corners_of([others[n] for n in places])[0]:
            pairs = [places[n] for n in inner]
            for start in range(0, len(pairs), _AT_ONCE):
                part = slice(start, start + _AT_ONCE)
                apart = _apart(corners[inner[part]], other_corners[part])
                for n, far in zip(pairs[part], apart.tolist(), strict=True):
                    if abs(far) > _UNSURE:
                        answers[n] = far < 0
    return [
        touch(*(Region.decode(bytes(r)) for r in (ones[n], others[n]))) if known is None else known
        for n, known in enumerate(answers)
    ]


def _apart(ones: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give for pairs of polygons how far the nearest corner lies beyond the best separating side.

    Parameters
    ----------
    ones, others : array of float, shape (n, corners, 3)
        Unit vectors, counterclockwise.

    Returns
    -------
    array of float, shape (n,)
        Sine of an angle: positive when they are apart; 0 when they are not in one hemisphere.
    """
    gaps = []
    for sides, corners in ((ones, others), (others, ones)):
        normals = np.cross(sides, np.roll(sides, -1, axis=1))
        normals /= np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), _PARALLEL)
        inside = np.einsum("nid,njd->nij", normals, corners)
        gaps.append((-inside).min(axis=2).max(axis=1))
    together = np.concatenate([ones, others], axis=1)
    middle = together.sum(axis=1)
    one_hemisphere = np.einsum("nid,nd->ni", together, middle).min(axis=1) > 0
    return np.where(one_hemisphere, np.maximum(*gaps), 0.0)


def touch(one: Region, other: Region) -> bool:
    """Tell whether two regions share a point, of their borders too.

    Examples
    --------
    >>> from lsst.sphgeom import Angle, Circle, UnitVector3d
    >>> touch(*(Circle(UnitVector3d.X(), Angle.fromDegrees(r)) for r in (1, 2)))
    True
    """
    from lsst.sphgeom import Box, ConvexPolygon

    if one.overlaps(other) is False:
        return False
    if isinstance(one, Box) and isinstance(other, ConvexPolygon):
        return _box_touches(one, other)
    if isinstance(one, ConvexPolygon) and isinstance(other, Box):
        return _box_touches(other, one)
    return True


def _box_touches(box: Box, polygon: ConvexPolygon) -> bool:
    """Look for a corner of one in the other, or else for sides that cross."""
    from lsst.sphgeom import UnitVector3d

    if any(box.contains(corner) for corner in polygon.getVertices()):
        return True
    if any(polygon.contains(UnitVector3d(place)) for place in _places(box)):
        return True
    corners = polygon.getVertices()
    sides = [(corners[n - 1], corner) for n, corner in enumerate(corners)]
    parallels = [box.getLat().getA(), box.getLat().getB()]
    return any(
        box.getLon().contains(longitude)
        for begin, end in sides
        for latitude in parallels
        for longitude in _longitudes(begin, end, math.sin(latitude.asRadians()))
    ) or any(_cross(begin, end, *meridian) for begin, end in sides for meridian in _meridians(box))


def _places(box: Box) -> Iterator[LonLat]:
    """Give the corners and the centre of a box."""
    from lsst.sphgeom import LonLat

    lon, lat = box.getLon(), box.getLat()
    yield box.getCenter()
    for longitude in (lon.getA(), lon.getB()):
        for latitude in (lat.getA(), lat.getB()):
            yield LonLat(longitude, latitude)


def _meridians(box: Box) -> list[tuple[UnitVector3d, UnitVector3d]]:
    """Give the western and eastern side, each as two arcs of no more than 90 degrees."""
    from lsst.sphgeom import LonLat, UnitVector3d

    lon, lat = box.getLon(), box.getLat()
    if lon.isFull():
        return []
    stops = [lat.getA(), lat.getCenter(), lat.getB()]
    return [
        (UnitVector3d(LonLat(longitude, low)), UnitVector3d(LonLat(longitude, high)))
        for longitude in (lon.getA(), lon.getB())
        for low, high in ((stops[0], stops[1]), (stops[1], stops[2]))
    ]


def _longitudes(begin: UnitVector3d, end: UnitVector3d, z: float) -> Iterator[NormalizedAngle]:
    """Give where an arc of a great circle crosses a parallel, whose sine of latitude is z."""
    from lsst.sphgeom import NormalizedAngle, UnitVector3d

    normal = UnitVector3d(begin.robustCross(end))
    slope = 1 - normal.z() ** 2
    if slope <= z**2 or slope == 0:
        return
    along = math.sqrt(1 - z**2 / slope) / math.sqrt(slope)
    for sign in (-along, along):
        x = -z * normal.z() * normal.x() / slope - sign * normal.y()
        y = -z * normal.z() * normal.y() / slope + sign * normal.x()
        point = UnitVector3d(x, y, z)
        if _between(begin, end, normal, point):
            yield NormalizedAngle(math.atan2(y, x))


def _cross(a: UnitVector3d, b: UnitVector3d, c: UnitVector3d, d: UnitVector3d) -> bool:
    """Tell whether two arcs of great circles share a point."""
    from lsst.sphgeom import UnitVector3d

    first, second = UnitVector3d(a.robustCross(b)), UnitVector3d(c.robustCross(d))
    line = first.cross(second)
    if line.getNorm() < _PARALLEL:
        return False
    place = UnitVector3d(line)
    return any(
        _between(a, b, first, point) and _between(c, d, second, point) for point in (place, -place)
    )


def _between(
    begin: UnitVector3d, end: UnitVector3d, normal: UnitVector3d, point: UnitVector3d
) -> bool:
    """Tell whether a point of a great circle lies on an arc of it of less than 180 degrees."""
    return (
        normal.cross(begin).dot(point) >= -_ROUNDING and normal.cross(end).dot(point) <= _ROUNDING
    )


_PARALLEL = 1e-14
_ROUNDING = 1e-15
_UNSURE = 1e-13
_AT_ONCE = 10_000
"""Pairs that are compared in one step, so that it takes little memory."""
