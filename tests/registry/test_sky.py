"""Regions in `where` against brute force over every row, wherever on the sky."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lsst.sphgeom import (
    Angle,
    Box,
    Circle,
    ConvexPolygon,
    LonLat,
    Region,
    UnitVector3d,
)

from registry import Registry, deploy, sky
from registry.expressions import NoRegion, UnrelatedDimension
from registry.touching import touch
from tests.registry import observatory
from tests.registry.test_regions import CENTRES, polygon

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.databases import Databases

NIGHT = 20220920
VISITS = range(1, 13)
ALONE = frozenset(v for v in VISITS if v % 3 == 0)
"""Visits without a region of their own: those of their detectors count."""


class Sky:
    """What the registry below holds, for brute force."""

    def __init__(self) -> None:
        rng = random.Random(11)
        place = [*CENTRES, *CENTRES, (200.0, -89.5)]
        self.detectors = {
            (v, d): polygon(rng, *place[v % len(place)]) for v in VISITS for d in (0, 1)
        }
        self.visits = {
            v: ConvexPolygon(
                [corner for d in (0, 1) for corner in self.detectors[v, d].getVertices()]
            )
            for v in VISITS
            if v not in ALONE
        }
        self.tracts = {t: polygon(rng, *place[t % len(place)]) for t in range(10)}
        self.patches = {
            (t, p): polygon(rng, *place[t % len(place)]) for t in range(5) for p in (0, 1)
        }
        self.pointings = {
            e: ((place[e % len(place)][0] + rng.uniform(-1, 1)) % 360,
                max(-90.0, min(90.0, place[e % len(place)][1] + rng.uniform(-1, 1))))
            for e in range(101, 131)
        }  # fmt: skip

    def of_visit(self, visit: int) -> list[Region]:
        """Regions of which one must be touched."""
        if visit in self.visits:
            return [self.visits[visit]]
        return [self.detectors[visit, d] for d in (0, 1)]

    def fill(self, registry: Registry) -> None:
        """Insert it all, parts of the sky between two halves of the visits."""
        observatory.fill(registry)
        registry.insert_dimension_records("skymap", [{"name": "sky", "definition": {"made": "x"}}])
        registry.insert_dimension_records(
            "exposure",
            [
                observatory.exposure(e, NIGHT, "science", ra=ra, dec=dec)
                for e, (ra, dec) in self.pointings.items()
            ],
        )
        for early in (True, False):
            part = [v for v in VISITS if (v < 7) is early]
            records = [
                {
                    "instrument": "Cam",
                    "id": v,
                    "name": f"v{v}",
                    "day_obs": NIGHT,
                    "begin_tai_ns": observatory.noon(NIGHT),
                    "end_tai_ns": observatory.noon(NIGHT),
                    "region": self.visits.get(v),
                }
                for v in part
            ]
            registry.insert_dimension_records("visit", records)
            registry.insert_dimension_records(
                "visit_detector_region",
                [
                    {"instrument": "Cam", "visit": v, "detector": d, "region": self.detectors[v, d]}
                    for v in part
                    for d in (0, 1)
                ],
            )
            if early:
                registry.insert_dimension_records(
                    "tract",
                    [{"skymap": "sky", "id": t, "region": r} for t, r in self.tracts.items()],
                )
                registry.insert_dimension_records(
                    "patch",
                    [
                        {"skymap": "sky", "tract": t, "id": p, "region": r, "wcs": {}}
                        for (t, p), r in self.patches.items()
                    ],
                )


SKY = Sky()


@pytest.fixture(scope="module")
def registry(databases: Databases) -> Iterator[Registry]:
    with databases.migrated() as url, Registry.connect(url) as opened:
        SKY.fill(opened)
        yield opened


NEAR = st.sampled_from([*CENTRES, (200.0, -89.5)]).flatmap(
    lambda c: st.tuples(
        st.floats(-1.5, 1.5).map(lambda x: (c[0] + x) % 360),
        st.floats(-1.5, 1.5).map(lambda y: max(-90.0, min(90.0, c[1] + y))),
    )
)
ANYWHERE = st.tuples(st.floats(0, 359.999), st.floats(-90, 90))
PLACES = NEAR | NEAR | ANYWHERE


def box(ra: float, dec: float, width: float, height: float) -> Box:
    low, high = max(dec - height / 2, -90.0), min(dec + height / 2, 90.0)
    return Box(
        LonLat.fromDegrees(ra - width / 2, low), LonLat.fromDegrees(ra + width / 2, high)
    )  # fmt: skip


CIRCLES = st.tuples(PLACES, st.floats(0, 2) | st.floats(0, 180)).map(
    lambda c: (
        f"CIRCLE({c[0][0]!r}, {c[0][1]!r}, {c[1]!r})",
        Circle(UnitVector3d(LonLat.fromDegrees(*c[0])), Angle.fromDegrees(c[1])),
    )
)
POINTS = PLACES.map(
    lambda c: (
        f"POINT({c[0]!r}, {c[1]!r})",
        Circle(UnitVector3d(LonLat.fromDegrees(*c)), Angle.fromDegrees(0)),
    )
)
BOXES = st.tuples(PLACES, st.floats(0.01, 3), st.floats(0.01, 3)).map(
    lambda c: (f"BOX({c[0][0]!r}, {c[0][1]!r}, {c[1]!r}, {c[2]!r})", box(*c[0], c[1], c[2]))
)


@given(drawn=CIRCLES | POINTS | BOXES)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_element_is_found_where_brute_force_finds_it(
    registry: Registry, drawn: tuple[str, Region]
) -> None:
    text, region = drawn

    def found(element: str, where: str, *keys: str) -> set[Any]:
        rows = registry.query_dimension_records(element, where=where)
        return {row[keys[0]] if len(keys) == 1 else tuple(row[k] for k in keys) for row in rows}

    seen = {k for k, r in SKY.detectors.items() if touch(region, r)}
    assert found("visit_detector_region", f"visit_detector_region.region OVERLAPS {text}",
                 "visit", "detector") == seen  # fmt: skip
    visits = {v for v in VISITS if any(touch(region, r) for r in SKY.of_visit(v))}
    assert found("visit", f"visit OVERLAPS {text}", "id") == visits
    assert found("visit", f"visit.region NOT OVERLAPS {text}", "id") == set(VISITS) - visits
    assert found("tract", f"tract.region OVERLAPS {text}", "id") == {
        t for t, r in SKY.tracts.items() if touch(region, r)
    }
    assert found("patch", f"patch.region OVERLAPS {text} AND tract > 1", "tract", "id") == {
        k for k, r in SKY.patches.items() if touch(region, r) and k[0] > 1
    }
    assert found("exposure", f"exposure OVERLAPS {text} OR exposure = 1", "id") == {1} | {
        e
        for e, (ra, dec) in SKY.pointings.items()
        if region.contains(UnitVector3d(LonLat.fromDegrees(ra, dec)))
    }


def test_visits_meet_tracts_and_patches_where_their_regions_touch(registry: Registry) -> None:
    def found(*dimensions: str, where: str = "") -> set[tuple[Any, ...]]:
        ids = registry.query_data_ids(["instrument", "skymap", *dimensions], where=where)
        return {tuple(i[d] for d in dimensions) for i in ids}

    by_tract = {
        (v, t)
        for v in VISITS
        for t, r in SKY.tracts.items()
        if any(touch(r, mine) for mine in SKY.of_visit(v))
    }
    assert len(by_tract) > 5
    assert found("visit", "tract") == by_tract
    assert found("visit", "tract", where="visit IN (1..6)") == {p for p in by_tract if p[0] <= 6}
    assert found("visit", "detector", "tract") == {
        (v, d, t)
        for (v, d), mine in SKY.detectors.items()
        for t, r in SKY.tracts.items()
        if touch(r, mine)
    }
    by_patch = {
        (v, t, p)
        for v in VISITS
        for (t, p), r in SKY.patches.items()
        if any(touch(r, mine) for mine in SKY.of_visit(v))
    }
    assert len(by_patch) > 5
    assert found("visit", "tract", "patch") == by_patch
    detectors = found(
        "visit", "detector", "tract", "patch",
        where="visit_detector_region.region OVERLAPS patch.region",
    )  # fmt: skip
    assert detectors == {
        (v, d, t, p)
        for (v, d), mine in SKY.detectors.items()
        for (t, p), r in SKY.patches.items()
        if touch(r, mine)
    }


def test_regions_join_rows_that_no_other_key_joins(registry: Registry) -> None:
    with registry.read() as connection:
        pairs = sky.region_pairs(connection, "visit", "tract")
        assert len(pairs) == len(set(pairs))
        assert sky.keys_of("detector") is None


def test_what_has_no_place_on_the_sky_is_refused(registry: Registry) -> None:
    with pytest.raises(NoRegion, match="There is no region 'detector' here"):
        registry.query_dimension_records("detector", where="detector OVERLAPS POINT(1, 2)")
    with pytest.raises(
        UnrelatedDimension, match="Nothing relates 'patch' to instrument, detector; "
    ):
        registry.query_dimension_records("detector", where="patch OVERLAPS POINT(1, 2)")


def on_sides(corners: Sequence[UnitVector3d], steps: int = 100) -> Iterator[UnitVector3d]:
    """Walk around a polygon."""
    for n, corner in enumerate(corners):
        start = corners[n - 1]
        for k in range(steps):
            yield UnitVector3d(start * (1 - k / steps) + corner * (k / steps))


def on_meridians(region: Box, steps: int = 100) -> Iterator[UnitVector3d]:
    """Walk along the western and eastern side and the middle of a box."""
    south, north = region.getLat().getA().asDegrees(), region.getLat().getB().asDegrees()
    lon = region.getLon()
    for longitude in (lon.getA(), lon.getCenter(), lon.getB()):
        for k in range(steps + 1):
            latitude = min(max(south + (north - south) * k / steps, -90.0), 90.0)
            yield UnitVector3d(LonLat.fromDegrees(longitude.asDegrees(), latitude))


@given(place=NEAR, seed=st.integers(0, 10**6), size=st.tuples(*[st.floats(0.02, 3)] * 2))
@settings(max_examples=60, deadline=None)
def test_a_box_touches_a_polygon_where_a_walk_along_either_finds_it(
    place: tuple[float, float], seed: int, size: tuple[float, float]
) -> None:
    shape, drawn = polygon(random.Random(seed), *place), box(*place, *size)
    found = touch(drawn, shape)
    assert touch(shape, drawn) is found
    inside = any(drawn.contains(p) for p in on_sides(shape.getVertices()))
    assert found or not inside
    larger = box(*place, size[0] + 0.03, size[1] + 0.03)
    near = any(larger.contains(p) for p in on_sides(shape.getVertices()))
    assert near or any(shape.contains(p) for p in on_meridians(larger)) or not found


def test_tracts_that_were_there_before_the_index_are_indexed(database_url: str) -> None:
    with Registry.connect(database_url) as registry:
        SKY.fill(registry)
        expected = registry.to_dataframe("SELECT * FROM tract_pixel ORDER BY 1, 2, 3")
    deploy.downgrade(database_url, "0002")
    deploy.upgrade(database_url)
    with Registry.connect(database_url) as registry:
        found = registry.to_dataframe("SELECT * FROM tract_pixel ORDER BY 1, 2, 3")
        assert set(found["tract"]) == set(expected["tract"]) == set(SKY.tracts)
        for t, region in SKY.tracts.items():
            corner = LonLat(region.getVertices()[0])
            place = f"{corner.getLon().asDegrees()!r}, {corner.getLat().asDegrees()!r}"
            rows = registry.query_dimension_records(
                "tract", where=f"tract OVERLAPS CIRCLE({place}, 1e-6)"
            )
            assert t in {row["id"] for row in rows}
