"""Which part of the sky do POINT, CIRCLE, BOX, POLYGON and REGION mean?

ICRS degrees in, `lsst.sphgeom` regions out; that library is imported only when an expression has a
region.  Whether a region can be compared with anything is up to the resolver
(`registry.expressions.compiling.Resolver`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from registry.expressions.errors import InvalidLiteral

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lsst.sphgeom import Region, UnitVector3d

__all__ = ["region", "region_of_text"]

STRAIGHT = 1e-7
"""Sine of the turn below which three vertices lie on one great circle."""
SAME = 1e-10
"""Distance below which two vertices are the same [rad]."""


def region(function: str, numbers: Sequence[float], start: int, end: int) -> Region:
    """Make the region of a function call.

    Parameters
    ----------
    function : str
        POINT, CIRCLE, BOX or POLYGON.
    numbers : sequence of float
        Its arguments, ICRS [deg]: `ra, dec`; `ra, dec, radius`; `ra, dec, width, height` with the
        centre, the width in right ascension (not on the sky) and full sizes; or the vertices `ra,
        dec, ra, dec, ...` in either sense of rotation.
    start, end : int
        Its place, for error messages.

    Returns
    -------
    lsst.sphgeom.Region
        A point is a circle of radius zero.

    Raises
    ------
    InvalidLiteral
        If a number is out of range, or a polygon is not convex.
    """
    from lsst.sphgeom import (
        Angle,
        AngleInterval,
        Box,
        Circle,
        LonLat,
        NormalizedAngleInterval,
        UnitVector3d,
    )

    def refuse(sentence: str) -> InvalidLiteral:
        return InvalidLiteral(f"{function}: {sentence}", start, end)

    vertices = list(zip(numbers[0::2], numbers[1::2], strict=False))
    if function in ("CIRCLE", "BOX", "POINT"):
        vertices = vertices[:1]
    for ra, dec in vertices:
        if not -360 <= ra <= 360:
            raise refuse(f"the right ascension {ra:g} is not between -360 and 360 degrees.")
        if not -90 <= dec <= 90:
            raise refuse(f"the declination {dec:g} is not between -90 and 90 degrees.")
    if function == "POLYGON":
        return _polygon(vertices, start, end)
    ra, dec = vertices[0]
    if function == "BOX":
        width, height = numbers[2:]
        if not 0 < width <= 360 or not 0 < height <= 180:
            raise refuse(
                f"the width {width:g} must be above 0 and at most 360 degrees, "
                f"the height {height:g} above 0 and at most 180."
            )
        longitudes = (
            NormalizedAngleInterval.full()
            if width == 360
            else NormalizedAngleInterval.fromDegrees(ra - width / 2, ra + width / 2)
        )
        latitudes = AngleInterval.fromDegrees(max(dec - height / 2, -90), min(dec + height / 2, 90))
        return Box(longitudes, latitudes)
    radius = numbers[2] if function == "CIRCLE" else 0.0
    if not 0 <= radius <= 180:
        raise refuse(f"the radius {radius:g} is not between 0 and 180 degrees.")
    return Circle(UnitVector3d(LonLat.fromDegrees(ra, dec)), Angle.fromDegrees(radius))


def region_of_text(text: str, start: int, end: int) -> Region:
    """Make the region of `REGION('...')`, the POS parameter of IVOA SIA 2.0.

    Parameters
    ----------
    text : str
        `CIRCLE ra dec radius`, `RANGE ra1 ra2 dec1 dec2` (with -Inf and +Inf for open sides) or
        `POLYGON ra1 dec1 ra2 dec2 ...`, ICRS [deg].
    start, end : int
        Its place, for error messages.

    Raises
    ------
    InvalidLiteral
        If the text is none of these.
    """
    shape, *words = text.split() or [""]
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    fits = {"CIRCLE": len(numbers) == 3, "RANGE": len(numbers) == 4,
            "POLYGON": len(numbers) >= 6 and len(numbers) % 2 == 0}  # fmt: skip
    finite = shape == "RANGE" or all(math.isfinite(n) for n in numbers)
    if not fits.get(shape.upper(), False) or any(math.isnan(n) for n in numbers) or not finite:
        raise InvalidLiteral(
            f"'{text[:60]}' is not a region; write 'CIRCLE ra dec radius', "
            "'RANGE ra1 ra2 dec1 dec2' or 'POLYGON ra1 dec1 ra2 dec2 ra3 dec3' in degrees.",
            start,
            end,
        )
    if shape.upper() != "RANGE":
        return region(shape.upper(), numbers, start, end)
    return _range(numbers, start, end)


def _range(numbers: Sequence[float], start: int, end: int) -> Region:
    from lsst.sphgeom import AngleInterval, Box, NormalizedAngleInterval

    west, east, south, north = numbers
    south, north = max(south, -90.0), min(north, 90.0)
    if south > north:
        raise InvalidLiteral(
            f"RANGE: the declinations {numbers[2]:g} and {numbers[3]:g} "
            "leave nothing between them; the smaller one comes first, between -90 and 90 degrees.",
            start,
            end,
        )
    west, east = (0.0 if west == -math.inf else west), (360.0 if east == math.inf else east)
    if not (-360 <= west <= 360 and -360 <= east <= 360):
        raise InvalidLiteral(
            "RANGE: right ascensions lie between -360 and 360 degrees.", start, end
        )
    whole = east - west >= 360
    longitudes = (
        NormalizedAngleInterval.full() if whole else NormalizedAngleInterval.fromDegrees(west, east)
    )
    return Box(longitudes, AngleInterval.fromDegrees(south, north))


def _polygon(vertices: Sequence[tuple[float, float]], start: int, end: int) -> Region:
    """Make a convex polygon, and refuse one that its hull would silently enlarge."""
    from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d

    directions: list[UnitVector3d] = []
    for ra, dec in vertices:
        direction = UnitVector3d(LonLat.fromDegrees(ra, dec))
        if not directions or (direction - directions[-1]).getNorm() > SAME:
            directions.append(direction)
    if len(directions) > 1 and (directions[0] - directions[-1]).getNorm() <= SAME:
        directions.pop()
    n = len(directions)
    sides = [(directions[i] - directions[i - 1]).getNorm() for i in range(n)]
    corners = [
        directions[i]
        for i in range(n)
        if n > 2
        and abs(directions[i - 1].cross(directions[i]).dot(directions[(i + 1) % n]))
        > STRAIGHT * sides[i] * sides[(i + 1) % n]
    ]
    try:
        hull = ConvexPolygon.convexHull(corners)
    except (ValueError, RuntimeError) as error:
        raise InvalidLiteral(
            "POLYGON: the vertices do not span an area smaller than a hemisphere.", start, end
        ) from error
    order = [_nearest(vertex, corners) for vertex in hull.getVertices()]
    steps = {(b - a) % len(corners) for a, b in zip(order, order[1:] + order[:1], strict=True)}
    if len(order) != len(corners) or steps not in ({1}, {len(corners) - 1}):
        raise InvalidLiteral(
            "POLYGON: the vertices must make a convex polygon in their order; "
            "join convex parts with OR.",
            start,
            end,
        )
    return hull


def _nearest(vertex: UnitVector3d, corners: Sequence[UnitVector3d]) -> int:
    """Find the corner that a vertex of the hull was made of."""
    return min(range(len(corners)), key=lambda i: float((corners[i] - vertex).getNorm()))
