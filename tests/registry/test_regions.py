from __future__ import annotations

import itertools
import math
import random
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from lsst.sphgeom import DISJOINT, ConvexPolygon, Region, UnitVector3d

from registry import Registry, regions
from registry.schema.dimensions import overlap, patch_pixel
from tests.registry.observatory import noon

if TYPE_CHECKING:
    from collections.abc import Mapping


CENTRES = [(150.0, 2.2), (0.0, -30.0), (45.0, 89.0)]
"""An ordinary field, one across 0h, and one around the pole; ra, dec [deg]."""


def polygon(rng: random.Random, ra: float, dec: float) -> ConvexPolygon:
    """Draw a polygon of 3 to 6 corners on a circle of 0.05 to 0.5 deg, within 1 deg of a place."""
    a, d = math.radians(ra), math.radians(dec)
    north = (-math.sin(d) * math.cos(a), -math.sin(d) * math.sin(a), math.cos(d))
    east = (-math.sin(a), math.cos(a), 0.0)
    centre = (math.cos(d) * math.cos(a), math.cos(d) * math.sin(a), math.sin(d))
    x, y = (math.radians(rng.uniform(-1, 1)) for _ in range(2))
    radius = math.radians(rng.uniform(0.05, 0.5))
    corners = []
    for angle in sorted(rng.uniform(0, 2 * math.pi) for _ in range(rng.randint(3, 6))):
        u, v = x + radius * math.cos(angle), y + radius * math.sin(angle)
        corner = UnitVector3d(
            *(c + u * e + v * n for c, e, n in zip(centre, east, north, strict=True))
        )
        ra_deg = math.degrees(math.atan2(corner.y(), corner.x())) % 360
        corners.append((ra_deg, math.degrees(math.asin(corner.z()))))
    return regions.from_vertices(corners)


def insert_visits(registry: Registry, seen: Mapping[tuple[int, int], Region]) -> None:
    begin = noon(20220920)
    registry.insert_dimension_records(
        "visit",
        [
            {
                "instrument": "Cam",
                "id": v,
                "name": f"v{v}",
                "day_obs": 20220920,
                "begin_tai_ns": begin,
                "end_tai_ns": begin,
            }
            for v in sorted({v for v, _ in seen})
        ],
    )
    registry.insert_dimension_records(
        "visit_detector_region",
        [
            {"instrument": "Cam", "visit": v, "detector": d, "region": region}
            for (v, d), region in seen.items()
        ],
    )


def insert_patches(registry: Registry, patches: Mapping[int, Region]) -> None:
    whole = next(iter(patches.values()))
    registry.insert_dimension_records("skymap", [{"name": "sky", "definition": {"made": "here"}}])
    registry.insert_dimension_records("tract", [{"skymap": "sky", "id": 0, "region": whole}])
    registry.insert_dimension_records(
        "patch",
        [
            {"skymap": "sky", "tract": 0, "id": p, "region": region, "wcs": {}}
            for p, region in patches.items()
        ],
    )


@pytest.mark.parametrize("order", ["visits first", "patches first", "in turns"])
def test_overlaps_are_those_of_every_pair(filled: Registry, order: str) -> None:
    rng = random.Random(20220920)
    seen = {(v, d): polygon(rng, *CENTRES[v % len(CENTRES)]) for v in range(1, 13) for d in (0, 1)}
    patches = {p: polygon(rng, *CENTRES[p % len(CENTRES)]) for p in range(30)}
    if order == "in turns":
        early = {k: r for k, r in seen.items() if k[0] <= 6}
        insert_visits(filled, early)
        insert_patches(filled, patches)
        insert_visits(filled, {k: r for k, r in seen.items() if k not in early})
    else:
        steps: list[tuple[Any, Any]] = [(insert_visits, seen), (insert_patches, patches)]
        for step, rows in steps if order == "visits first" else reversed(steps):
            step(filled, rows)
    expected = {
        (v, d, p)
        for (v, d), one in seen.items()
        for p, other in patches.items()
        if not one.relate(other) & DISJOINT
    }
    columns = (overlap.c.visit, overlap.c.detector, overlap.c.patch)
    with filled.read() as connection:
        found = {tuple(row) for row in connection.execute(sa.select(*columns))}
    assert len(expected) >= 20
    assert found == expected
    ids = filled.query_data_ids(["instrument", "visit", "detector", "skymap", "tract", "patch"])
    assert {(i["visit"], i["detector"], i["patch"]) for i in ids} == expected
    patch = min(p for _, _, p in expected)
    touching = filled.query_data_ids(
        ["instrument", "visit", "detector", "skymap", "tract", "patch"], where=f"patch = {patch}"
    )
    assert len(touching) == len({e for e in expected if e[2] == patch})


def test_visits_and_patches_that_are_inserted_at_once_meet(filled: Registry) -> None:
    whole = polygon(random.Random(1), *CENTRES[0])
    with Registry.connect(filled.database.url) as other, ThreadPoolExecutor(1) as pool:
        with filled.begin():
            insert_visits(filled, {(1, 0): whole})
            patches = pool.submit(insert_patches, other, {0: whole})
            wait([patches], timeout=1)  # it waits for the commit, or else has missed the visit
        patches.result()
    with filled.read() as connection:
        assert connection.execute(sa.select(overlap.c.visit, overlap.c.patch)).all() == [(1, 0)]


def test_region_is_stored_whole() -> None:
    region = polygon(random.Random(1), 10.0, 20.0)
    again = regions.decode(regions.encode(region))
    assert again == region


def test_pixel_ranges_cover_the_region_in_few_rows() -> None:
    rng = random.Random(2)
    for ra, dec in CENTRES:
        region = polygon(rng, ra, dec)
        ranges = regions.pixel_ranges(region)
        assert 1 <= len(ranges) <= 16
        assert all(begin < end for begin, end in ranges)
        assert all(one[1] < other[0] for one, other in itertools.pairwise(ranges))
        assert 0 <= ranges[0][0] < ranges[-1][1] <= 12 * 4**regions.HEALPIX_ORDER


def test_a_large_region_is_indexed_in_pieces_and_meets_small_ones(filled: Registry) -> None:
    rng = random.Random(7)
    corners = [(42.0, 9.0), (48.0, 9.0), (48.0, 15.0), (42.0, 15.0)]
    large = {0: regions.from_vertices(corners)}
    seen = {(v, 0): polygon(rng, 39.0 + v, 12.0) for v in range(1, 13)}
    insert_patches(filled, large)
    insert_visits(filled, seen)
    begin, end = patch_pixel.c.pixel_begin, patch_pixel.c.pixel_end
    with filled.read() as connection:
        pieces = connection.execute(sa.select(begin, end).order_by(begin)).all()
        found = {tuple(row) for row in connection.execute(sa.select(overlap.c.visit))}
    assert max(b - a for a, b in pieces) == regions.LONGEST["patch_pixel"]
    covered = [(a, b) for a, b in regions.pixel_ranges(large[0])]
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(pieces))
    pixels = {n for a, b in pieces for n in range(a, b)}
    assert pixels.issuperset(n for a, b in regions.pixel_ranges(large[0]) for n in (a, b - 1))
    assert len(pixels) < 1.5 * sum(b - a for a, b in covered)
    expected = {(v,) for (v, _), one in seen.items() if not one.relate(large[0]) & DISJOINT}
    assert 0 < len(expected) < len(seen)
    assert found == expected
