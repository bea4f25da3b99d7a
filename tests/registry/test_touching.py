"""Do regions compared by the thousand touch where `lsst.sphgeom` says so, pair by pair?"""

from __future__ import annotations

import math

from hypothesis import example, given
from hypothesis import strategies as st
from lsst.sphgeom import Angle, Circle, ConvexPolygon, LonLat, Region, UnitVector3d

from registry.covering import covers
from registry.regions import HEALPIX_ORDER, PIXEL_DEG, encode
from registry.schema.dimensions import visit_detector_pixel
from registry.touching import touch, touching

PLACE = st.tuples(st.floats(0, 360), st.floats(-90, 90))
SHAPE = st.tuples(
    st.lists(st.integers(0, 359), min_size=3, max_size=7, unique=True),
    st.sampled_from([0.001, 0.02, 0.3, 5.0, 60.0]),
)


def ring(place: tuple[float, float], shape: tuple[list[int], float]) -> ConvexPolygon:
    """Make the convex polygon of some angles on a circle around a place, radius in degrees."""
    angles, radius = shape
    z = UnitVector3d(LonLat.fromDegrees(*place))
    x = UnitVector3d.orthogonalTo(z)
    y = UnitVector3d(z.cross(x))
    r = math.radians(radius)
    corners = [
        UnitVector3d(
            z * math.cos(r) + x * (math.sin(r) * math.cos(a)) + y * (math.sin(r) * math.sin(a))
        )
        for a in map(math.radians, angles)
    ]
    return ConvexPolygon(corners)


def compared(ones: list[Region], others: list[Region]) -> list[bool]:
    return touching([encode(r) for r in ones], [encode(r) for r in others])


@given(st.lists(st.tuples(PLACE, SHAPE, st.floats(0, 3), SHAPE), min_size=1, max_size=20))
@example([((10.0, 0.0), ([0, 90, 180, 270], 60.0), 2.9, ([0, 120, 240], 60.0))])
def test_pairs_touch_as_one_by_one(drawn: list[tuple]) -> None:  # type: ignore[type-arg]
    ones: list[Region] = []
    others: list[Region] = []
    for (ra, dec), shape, away, other in drawn:
        ones.append(ring((ra, dec), shape))
        north = dec + away * (shape[1] + other[1]) / 2
        others.append(ring((ra, max(-90.0, min(90.0, north))), other))
    assert compared(ones, others) == [touch(*pair) for pair in zip(ones, others, strict=True)]
    assert compared(others, ones) == compared(ones, others)


def test_a_common_side_or_corner_is_enough() -> None:
    def square(ra: float, dec: float) -> ConvexPolygon:
        corners = [(ra, dec), (ra + 1, dec), (ra + 1, dec + 1), (ra, dec + 1)]
        return ConvexPolygon([UnitVector3d(LonLat.fromDegrees(*c)) for c in corners])

    middle = square(10, 0)
    around: list[Region] = [square(10 + x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)]
    assert compared([middle] * 9, around) == [True] * 9
    assert compared([middle] * 2, [square(11.001, 0), square(10, 1.2)]) == [False, False]


def test_other_shapes_and_opposite_places_are_compared_too() -> None:
    here, there = ring((0, 0), ([0, 120, 240], 5.0)), ring((180, 0), ([0, 120, 240], 5.0))
    circle = Circle(UnitVector3d(LonLat.fromDegrees(3, 0)), Angle.fromDegrees(1))
    assert compared([here, here, circle, circle], [there, circle, here, there]) == [
        False,
        True,
        True,
        False,
    ]


@given(PLACE, SHAPE)
def test_every_point_of_a_region_lies_in_a_pixel_that_covers_it(
    place: tuple[float, float],
    shape: tuple[list[int], float],
) -> None:
    import hpgeom

    region = ring(place, shape)
    which, begins, ends = covers([encode(region)] * 2, visit_detector_pixel)
    assert set(which.tolist()) == {0, 1}
    ranges = [(b, e) for n, b, e in zip(which, begins, ends, strict=True) if n == 1]
    corners = region.getVertices()
    inside = UnitVector3d(region.getCentroid())
    points = [UnitVector3d(c * (1 - k / 8) + inside * (k / 8)) for c in corners for k in range(9)]
    for n, corner in enumerate(corners):
        points += [UnitVector3d(corner * k + corners[n - 1] * (8 - k)) for k in range(1, 8)]
    for point in points:
        at = LonLat(point)
        pixel = hpgeom.angle_to_pixel(
            2**HEALPIX_ORDER, at.getLon().asDegrees(), at.getLat().asDegrees()
        )
        assert any(b <= pixel < e for b, e in ranges)


def test_polygons_as_large_as_their_first_pixel_are_covered_wherever_they_are() -> None:
    """The radius is the one at which larger pixels are taken to begin with."""
    import hpgeom
    import numpy as np

    for order in range(2, HEALPIX_ORDER + 1):
        places = hpgeom.pixel_to_angle(4, np.arange(192))
        radius = 0.999 * PIXEL_DEG / 2 / 2**order
        squares = [
            ring((ra, dec), ([0, 90, 180, 270], radius)) for ra, dec in zip(*places, strict=True)
        ]
        which, begins, ends = covers([encode(r) for r in squares], visit_detector_pixel)
        keys = which * 12 * 4**HEALPIX_ORDER
        assert np.all(np.diff(keys + begins) > 0)
        for n in range(4):
            corners = [LonLat(square.getVertices()[n]) for square in squares]
            lon = [at.getLon().asDegrees() for at in corners]
            lat = [at.getLat().asDegrees() for at in corners]
            pixels = hpgeom.angle_to_pixel(2**HEALPIX_ORDER, lon, lat)
            asked = np.arange(len(squares)) * 12 * 4**HEALPIX_ORDER + pixels
            range_of = np.searchsorted(keys + begins, asked, "right") - 1
            assert np.all(asked < (keys + ends)[range_of])
