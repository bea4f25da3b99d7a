from __future__ import annotations

import math
import random

import pytest
from lsst.sphgeom import Angle, Box, Circle, ConvexPolygon, LonLat, Region, UnitVector3d

from registry.footprints import COLUMNS, describe, with_footprints


def at(ra: float, dec: float) -> UnitVector3d:
    return UnitVector3d(LonLat.fromDegrees(ra, dec))


def square(ra: float, dec: float, side: float) -> Region:
    half = side / 2
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    return ConvexPolygon([at(ra + x * half, dec + y * half) for x, y in signs])


def test_polygon_is_told_by_its_corners_middle_and_size() -> None:
    (told,) = describe([square(150.0, 0.0, 2.0).encode()])
    head, numbers = told["stc_s"].split()[:2], told["stc_s"].split()[2:]
    assert head == ["POLYGON", "ICRS"]
    corners = {(numbers[n], numbers[n + 1]) for n in range(0, 8, 2)}
    assert corners == {
        (ra, dec) for ra in ("149.0000000", "151.0000000") for dec in ("-1.0000000", "1.0000000")
    }
    assert told["center_ra"] == pytest.approx(150.0, abs=1e-9)
    assert told["center_dec"] == pytest.approx(0.0, abs=1e-9)
    half_diagonal = math.degrees(math.acos(math.cos(math.radians(1)) ** 2))
    assert told["diameter_deg"] == pytest.approx(2 * half_diagonal, abs=1e-9)


def test_polygon_across_zero_hours_keeps_its_middle() -> None:
    (told,) = describe([square(0.0, 10.0, 1.0).encode()])
    assert min(told["center_ra"], 360 - told["center_ra"]) == pytest.approx(0.0, abs=1e-9)
    assert "359.5000000" in told["stc_s"]
    assert " -0.5" not in told["stc_s"]


def test_every_corner_lies_in_the_circle_told() -> None:
    rng = random.Random(7)
    shapes = [
        ConvexPolygon([at(rng.uniform(10, 12), rng.uniform(-80, -78)) for _ in range(n)])
        for n in [3, 5, 4, 8, 3, 12] * 5
    ]
    for shape, told in zip(shapes, describe([s.encode() for s in shapes]), strict=True):
        circle = Circle(
            at(told["center_ra"], told["center_dec"]),
            Angle.fromDegrees(told["diameter_deg"] / 2 + 1e-7),
        )
        assert all(circle.contains(v) for v in shape.getVertices())


def test_circle_and_box_are_told_too() -> None:
    box = Box.fromDegrees(10, -1, 12, 1)
    circle, other = describe(
        [Circle(at(30.0, -40.0), Angle.fromDegrees(0.5)).encode(), box.encode()]
    )
    assert circle["stc_s"] == "CIRCLE ICRS 30.0000000 -40.0000000 0.5000000"
    assert circle["diameter_deg"] == pytest.approx(1.0)
    assert other["stc_s"] is None
    assert other["center_ra"] == pytest.approx(11.0)


def test_what_a_row_gives_itself_is_kept() -> None:
    row = {"region": square(1.0, 2.0, 0.1).encode(), "stc_s": "UNION ICRS", "center_ra": None}
    (told,) = with_footprints([row])
    assert told["stc_s"] == "UNION ICRS"
    assert told["center_ra"] == pytest.approx(1.0)
    assert set(COLUMNS) <= set(told)
