"""Do places have the neighbours that they touch, and do these lead back?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from butler.skymaps import patches_of
from workflow.multinode import FocalPlane, Geometry, GeometryError, Grid, Ring, SkyPatches

SQUARE = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]])


def at(x: float, y: float) -> Any:
    return SQUARE + np.array([x, y])


def turned(corners: Any, degrees: float) -> Any:
    a = np.deg2rad(degrees)
    return corners @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])


@given(st.integers(1, 5), st.integers(1, 5), st.tuples(st.booleans(), st.booleans()))
def test_cells_of_a_grid_touch_where_they_do(
    rows: int, columns: int, periodic: tuple[bool, bool]
) -> None:
    grid = Grid(rows, columns, periodic=periodic)
    steps = {"down": (-1, 0), "up": (1, 0), "left": (0, -1), "right": (0, 1)}
    assert len(grid) == rows * columns
    for y, x in grid.places:
        for direction, found in grid.neighbours((y, x)).items():
            there = (y + steps[direction][0], x + steps[direction][1])
            inside = [p or 0 <= k < n for k, n, p in zip(there, grid.shape, periodic, strict=True)]
            expected = (there[0] % rows, there[1] % columns) if all(inside) else None
            assert found == expected
            if found is not None:
                link = grid.opposite((y, x), direction)
                assert link is not None
                assert grid.opposite(*link) == ((y, x), direction)


@given(st.integers(1, 9), st.booleans())
def test_sites_of_a_ring_are_a_grid_of_one_row(size: int, periodic: bool) -> None:
    ring, grid = Ring(size, periodic=periodic), Grid(1, size, periodic=(False, periodic))
    for n in ring.places:
        around: dict[Any, Any] = grid.neighbours((0, n))
        assert ring.neighbours(n) == {
            d: None if around[d] is None else around[d][1] for d in ("left", "right")
        }


def test_patches_touch_as_their_pixels_do() -> None:
    tract = {"id": 0, "ra": 10.0, "dec": 2.0, "scale": 0.2, "size": (300, 200), "patches": (3, 2)}
    corner = {
        row["id"]: (-row["wcs"]["CRPIX1"], -row["wcs"]["CRPIX2"])
        for row in patches_of("map", tract)
    }
    patches = SkyPatches.of_tract(tract)
    assert set(patches.places) == set(corner)
    for patch in patches.places:
        for direction, (dx, dy) in {"left": (-100, 0), "right": (100, 0), "down": (0, -100),
                                    "up": (0, 100)}.items():  # fmt: skip
            wanted = (corner[patch][0] + dx, corner[patch][1] + dy)
            beside = [p for p, c in corner.items() if c == pytest.approx(wanted)]
            assert patches.neighbours(patch)[direction] == (beside[0] if beside else None)


@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0, 197.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_detectors_side_by_side_are_neighbours_however_the_plane_lies(
    degrees: float, mirrored: bool
) -> None:
    """Two rows, the upper one shifted by half a detector: a side may face two others."""
    outlines = {
        **{f"low{n}": at(12.0 * n, 0.0) for n in range(3)},
        **{f"high{n}": at(6.0 + 12.0 * n, 12.0) for n in range(2)},
    }
    flip = np.array([-1.0, 1.0]) if mirrored else np.array([1.0, 1.0])
    plane = FocalPlane({k: turned(c * flip, degrees) for k, c in outlines.items()}, reach=3.0)
    assert {p: set(plane.neighbours(p)) for p in plane.places} == {
        "low0": {"low1", "high0"},
        "low1": {"low0", "low2", "high0", "high1"},
        "low2": {"low1", "high1"},
        "high0": {"high1", "low0", "low1"},
        "high1": {"high0", "low1", "low2"},
    }


def test_a_detector_that_is_turned_by_itself_has_neighbours_too() -> None:
    outlines = {"A": SQUARE, "B": np.roll(at(12.0, 0.0), 1, axis=0)}
    assert FocalPlane(outlines, reach=3.0).neighbours("B") == {"A": "A"}
    apart = {"A": SQUARE, "B": at(12.0, 12.0)}  # corner to corner
    assert FocalPlane(apart, reach=3.0).neighbours("B") == {}
    far = {"A": SQUARE, "B": at(14.0, 0.0)}
    assert FocalPlane(far, reach=3.0).neighbours("B") == {}


@given(st.integers(0, 30), st.integers(1, 12))
def test_shares_hold_each_place_once_and_are_even(places: int, ranks: int) -> None:
    geometry = Geometry({n: {} for n in range(places)})
    shares = geometry.shares(ranks)
    assert len(shares) == ranks
    assert [place for share in shares for place in share] == list(range(places))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Ring(0), "at least one site"),
        (lambda: Grid(0, 3), "rows and columns, not 0 x 3"),
        (lambda: Geometry({"a": {"on": ("b", "back")}, "b": {}}), "does not lead back"),
        (lambda: Geometry.of_pairs("ab", [("a", "c")]), "'c' is in a pair, but not among"),
        (lambda: FocalPlane({"A": SQUARE[:3]}, 1.0), "'A' has other than four corners"),
    ],
)
def test_what_does_not_fit_together_is_told(make: Any, told: str) -> None:
    with pytest.raises(GeometryError, match=told):
        make()


def test_equal_geometries_are_equal() -> None:
    assert Ring(4) == Ring(4)
    assert hash(Ring(4)) == hash(Ring(4))
    assert Ring(4) != Ring(4, periodic=False)
    assert Grid(1, 2) != "a grid"
