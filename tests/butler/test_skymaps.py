"""Does a skymap that is made for the exposures of a repository cover them, and nothing else?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from butler.skymaps import SkymapError, covering, patches_of
from registry.regions import from_vertices

if TYPE_CHECKING:
    from registry import Registry

RADIUS = 0.05


def square(ra: float, dec: float) -> Any:
    """Give a square of 0.1 degrees; right ascension in degrees on the equator."""
    return from_vertices(
        [(ra + x * RADIUS, dec + y * RADIUS) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    )


@pytest.fixture
def seen(registry: Registry) -> Registry:
    """Two visits that overlap across the meridian of 0 h, a third that stands alone."""
    registry.insert_dimension_records("instrument", [{"name": "Cam", "detector_max": 4}])
    registry.insert_dimension_records(
        "physical_filter", [{"instrument": "Cam", "name": "g", "band": "g"}]
    )
    registry.insert_dimension_records(
        "detector", [{"instrument": "Cam", "id": n, "full_name": f"D{n}"} for n in (1, 2)]
    )
    night = {"instrument": "Cam", "id": 20200101, "begin_tai_ns": 0, "end_tai_ns": 10}
    registry.insert_dimension_records("day_obs", [night])
    visit = {"instrument": "Cam", "day_obs": 20200101, "physical_filter": "g"}
    times = {"exposure_time": 1.0, "begin_tai_ns": 1, "end_tai_ns": 2}
    registry.insert_dimension_records(
        "visit", [{**visit, **times, "id": n, "name": str(n)} for n in (1, 2, 3)]
    )
    places = {(1, 1): 359.98, (1, 2): 0.09, (2, 1): 0.02, (3, 1): 40.0}
    registry.insert_dimension_records(
        "visit_detector_region",
        [
            {"instrument": "Cam", "visit": v, "detector": d, "region": square(ra, 0.0)}
            for (v, d), ra in places.items()
        ],
    )
    return registry


def test_one_tract_for_each_group_of_exposures_that_overlap(seen: Registry) -> None:
    one, two = sorted(
        covering(seen, "sky", 1.0, patch_size=400, border=5)["tracts"], key=lambda t: t["size"]
    )
    assert (one["ra"], one["dec"]) == (pytest.approx(40.0, abs=1e-5), pytest.approx(0, abs=1e-5))
    assert one["size"] == [370, 370]
    assert one["patches"] == [1, 1]
    # From 359.93 to 0.14 degrees.
    assert two["ra"] == pytest.approx(0.035, abs=1e-5)
    assert two["size"] == [766, 370]
    assert two["patches"] == [2, 1]


def test_every_exposure_lies_in_the_patches(seen: Registry) -> None:
    definition = covering(seen, "sky", 1.0, patch_size=400)
    patches = [p["region"] for t in definition["tracts"] for p in patches_of("sky", t)]
    for row in seen.query_dimension_records("visit_detector_region"):
        corners = square(
            {(1, 1): 359.98, (1, 2): 0.09, (2, 1): 0.02, (3, 1): 40.0}[
                row["visit"], row["detector"]
            ],
            0.0,
        ).getVertices()
        assert all(any(p.contains(corner) for p in patches) for corner in corners)


def test_pixels_need_a_size(seen: Registry) -> None:
    with pytest.raises(SkymapError, match="positive --scale"):
        covering(seen, "sky", 0.0)


def test_a_repository_without_coordinates(registry: Registry) -> None:
    with pytest.raises(SkymapError, match="footprint on the sky"):
        covering(registry, "sky", 1.0)
