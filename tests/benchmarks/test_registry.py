"""How long do the registry's verbs and questions take on 100,000 datasets?

    python -m pytest tests/benchmarks/test_registry.py --timed -s -p no:xdist

prints medians.  Without ``--timed`` it runs at a small size, to see that the answers are right.
"""

from __future__ import annotations

import gc
import statistics
import time
from typing import TYPE_CHECKING

import sqlalchemy as sa

from registry import collections
from registry.identity import DatasetType
from registry.regions import from_vertices
from registry.removing import remove_datasets
from registry.schema.dimensions import overlap
from registry.touching import touch

if TYPE_CHECKING:
    from collections.abc import Callable

    from lsst.sphgeom import ConvexPolygon

    from registry import Registry

N_DETECTORS = 100
N_EXPOSURES = 1_000
SMALL = 20
BANDS = "ugrizy"
KIND = DatasetType("raw", ("instrument", "detector", "exposure"), "Exposure")


def told(what: str, verb: Callable[[int], object], repeat: int = 1) -> None:
    """Print the median time of a verb."""
    gc.collect()  # what others left is none of its business
    times = []
    for i in range(repeat):
        began = time.perf_counter()
        verb(i)
        times.append(time.perf_counter() - began)
    print(f"  {what:<40} {1000 * statistics.median(times):10.2f} ms")


def observe(registry: Registry, n_exposures: int) -> None:
    """Insert the records of a camera with 100 detectors and of exposures of ten nights."""
    registry.insert_dimension_records("instrument", [{"name": "Cam", "detector_max": N_DETECTORS}])
    registry.insert_dimension_records(
        "detector",
        [{"instrument": "Cam", "id": d, "full_name": f"D{d}"} for d in range(N_DETECTORS)],
    )
    registry.insert_dimension_records(
        "physical_filter", [{"instrument": "Cam", "name": f"f{b}", "band": b} for b in BANDS]
    )
    night_ns = 10**14
    registry.insert_dimension_records(
        "day_obs",
        [
            {
                "instrument": "Cam",
                "id": 20250101 + n,
                "begin_tai_ns": n * night_ns,
                "end_tai_ns": (n + 1) * night_ns,
            }
            for n in range(10)
        ],
    )
    registry.insert_dimension_records(
        "exposure",
        [
            {
                "instrument": "Cam",
                "id": e,
                "obs_id": str(e),
                "day_obs": 20250101 + e % 10,
                "physical_filter": f"f{BANDS[e % 6]}",
                "observation_type": "science",
                "exposure_time": 30.0,
                "begin_tai_ns": e % 10 * night_ns + e * 10**9,
                "end_tai_ns": e % 10 * night_ns + e * 10**9 + 30 * 10**9,
            }
            for e in range(n_exposures)
        ],
    )


def test_verbs_and_questions(registry: Registry, backend: str, timed: bool) -> None:
    n_exposures = N_EXPOSURES if timed else N_EXPOSURES // SMALL
    often, n_tagged, n_purged = (300, 10_000, 5_000) if timed else (3, 500, 250)
    observe(registry, n_exposures)
    registry.register_dataset_type(KIND)
    runs = [f"run{n}" for n in range(5)]
    for name in runs:
        registry.register_collection(name)
    registry.chain("chain", runs)
    registry.register_collection("tagged", "TAGGED")
    keys = [
        {"instrument": "Cam", "detector": d, "exposure": e}
        for e in range(n_exposures)
        for d in range(N_DETECTORS)
    ]
    total = len(keys)
    print(f"\n{backend}, {total} datasets:")
    told("insert all", lambda _: registry.insert_datasets(KIND, keys, runs[-1]))

    def one(i: int) -> dict[str, object]:
        return keys[i * 37 % total]

    found = registry.find_dataset(KIND, one(1), "chain")
    assert found is not None
    assert dict(found.data_id) == one(1)
    told("find one in a run", lambda i: registry.find_dataset(KIND, one(i), runs[-1]), often)
    told("find one in a chain of 5", lambda i: registry.find_dataset(KIND, one(i), "chain"), often)
    (full,) = registry.expand([one(1)])
    assert full["band"] == BANDS[one(1)["exposure"] % 6]  # type: ignore[operator]
    told("expand a data ID", lambda i: registry.expand([one(i)]), often)

    night = "day_obs = 20250103"
    refs = registry.query_datasets(KIND, runs[-1], where=night)
    assert len(refs) == total // 10
    for name, ask in (
        ("objects", registry.query_datasets),
        ("table", registry.table_of_datasets),
        ("counted by filter", lambda *a, **k: registry.count_datasets(*a, by=["band"], **k)),
    ):
        told(f"a tenth, by a where, {name}", lambda _, a=ask: a(KIND, runs[-1], where=night), 5)  # type: ignore[misc]
        told(f"all, {name}", lambda _, a=ask: a(KIND, runs[-1]), 3)  # type: ignore[misc]

    def tag(_: int) -> None:
        registry.database.transact(collections.tag, "tagged", refs[:n_tagged])

    told(f"tag {n_tagged}", tag)
    assert len(registry.query_datasets(KIND, "tagged")) == min(n_tagged, len(refs))
    last = registry.query_datasets(KIND, runs[-1], order_by=["-exposure"], limit=n_purged)
    told(
        f"purge {n_purged}",
        lambda _: registry.database.transact(remove_datasets, [ref.id for ref in last]),
    )
    assert registry.count_datasets(KIND, runs[-1]) == [{"n": total - n_purged}]


def box(ra: float, dec: float, half: float) -> ConvexPolygon:
    """Make a square of sky; middle and half of its side, ICRS [deg]."""
    corners = [(-half, -half), (half, -half), (half, half), (-half, half)]
    return from_vertices([(ra + x, dec + y) for x, y in corners])


def test_regions_and_their_overlaps(registry: Registry, backend: str, timed: bool) -> None:
    n_visits, n_tracts = (100, 30) if timed else (2, 10)
    observe(registry, n_visits)
    middles = [(10 + 0.05 * (v % 200), -5 + 0.2 * (v // 200)) for v in range(n_visits)]
    registry.insert_dimension_records(
        "visit",
        [
            {
                "instrument": "Cam",
                "id": v,
                "name": f"v{v}",
                "day_obs": 20250101,
                "begin_tai_ns": v,
                "end_tai_ns": v + 1,
                "region": box(*middle, 0.2),
            }
            for v, middle in enumerate(middles)
        ],
    )
    seen = [
        {
            "instrument": "Cam",
            "visit": v,
            "detector": d,
            "region": box(ra - 0.18 + 0.036 * (d % 10), dec - 0.18 + 0.036 * (d // 10), 0.018),
        }
        for v, (ra, dec) in enumerate(middles)
        for d in range(N_DETECTORS)
    ]
    tracts = [(10.5 + t % 10, -4.5 + t // 10) for t in range(n_tracts)]
    patches = [
        {
            "skymap": "sky",
            "tract": t,
            "id": p,
            "wcs": {},
            "region": box(ra - 0.44 + 0.22 * (p % 5), dec - 0.44 + 0.22 * (p // 5), 0.12),
        }
        for t, (ra, dec) in enumerate(tracts)
        for p in range(25)
    ]
    registry.insert_dimension_records("skymap", [{"name": "sky", "definition": {}}])
    registry.insert_dimension_records(
        "tract",
        [{"skymap": "sky", "id": t, "region": box(*at, 0.55)} for t, at in enumerate(tracts)],
    )
    registry.insert_dimension_records("patch", patches)
    print(f"\n{backend}, {len(patches)} patches:")
    told(
        f"insert {len(seen)} regions, with overlaps",
        lambda _: registry.insert_dimension_records("visit_detector_region", seen),
    )
    with registry.read() as connection:
        pairs = connection.execute(sa.select(overlap.c.visit, overlap.c.detector, overlap.c.patch))
        found = pairs.all()
    checked = seen[: 2 * N_DETECTORS]
    assert sorted(row for row in found if row.visit < 2) == sorted(
        (one["visit"], one["detector"], patch["id"])
        for one in checked
        for patch in patches
        if touch(one["region"], patch["region"])  # type: ignore[arg-type]
    )
