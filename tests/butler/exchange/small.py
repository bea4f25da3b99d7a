"""A repository with a little of everything that an export may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry import Timespan
from registry.regions import from_vertices
from tests.registry.observatory import DAY_NS, exposure, noon

if TYPE_CHECKING:
    from butler import Butler

NIGHT = 20220920


def fill(butler: Butler) -> None:
    """Register a camera, a visit on a sky map, and datasets in collections of every type."""
    insert = butler.registry.insert_dimension_records
    insert("instrument", [{"name": "Cam", "detector_max": 2, "extra": {"class_name": "a.Cam"}}])
    insert(
        "detector",
        [{"instrument": "Cam", "id": i, "full_name": f"chip{i}", "raft": "R"} for i in (0, 1)],
    )
    insert("physical_filter", [{"instrument": "Cam", "name": "SDSS g", "band": "g"}])
    night = {"instrument": "Cam", "id": NIGHT}
    insert("day_obs", [night | {"begin_tai_ns": noon(NIGHT), "end_tai_ns": noon(NIGHT) + DAY_NS}])
    insert(
        "exposure",
        [
            exposure(
                n, NIGHT, "science", physical_filter="SDSS g", ra=10.0 + n, dec=-5.0, seq_num=n
            )
            for n in (1, 2)
        ],
    )
    square = from_vertices([(10, -6), (11, -6), (11, -5), (10, -5)])
    visit = {"instrument": "Cam", "id": 7, "name": "seven", "day_obs": NIGHT}
    begin = noon(NIGHT) + 3600 * 10**9
    times = {"begin_tai_ns": begin, "end_tai_ns": begin + 60 * 10**9}
    insert("visit", [visit | times | {"physical_filter": "SDSS g", "region": square}])
    insert("visit_exposure", [{"instrument": "Cam", "visit": 7, "exposure": 1}])
    insert(
        "visit_detector_region",
        [{"instrument": "Cam", "visit": 7, "detector": 0, "region": square}],
    )
    insert("skymap", [{"name": "sky", "definition": {"tract_max": 1}}])
    insert("tract", [{"skymap": "sky", "id": 0, "region": square}])
    insert(
        "patch",
        [{"skymap": "sky", "tract": 0, "id": 3, "region": square, "wcs": {},
          "extra": {"cell_x": 1, "cell_y": 0}}],
    )  # fmt: skip
    butler.register_dataset_type(
        "metrics", ("instrument", "exposure", "detector"), "StructuredDataDict"
    )
    butler.register_dataset_type(
        "flat", ("instrument", "detector"), "StructuredDataDict", is_calibration=True
    )
    butler.register_dataset_type("coadd", ("skymap", "tract", "patch"), "StructuredDataDict")
    for detector, run in ((0, "day"), (1, "day"), (0, "night")):
        seeing = 0.7 + 0.1 * (detector + 2 * (run == "night"))
        butler.put(
            {"seeing": round(seeing, 1)},
            "metrics",
            run=run,
            instrument="Cam",
            exposure=1,
            detector=detector,
        )
    flats = [
        butler.put({"level": d}, "flat", run="flats", instrument="Cam", detector=d) for d in (0, 1)
    ]
    butler.put({"depth": 25}, "coadd", run="day", skymap="sky", tract=0, patch=3)
    butler.collections.register("chosen", "TAGGED", "By hand")
    butler.collections.tag("chosen", flats[:1])
    butler.certify("calib", flats, Timespan(None, begin))
    butler.certify("calib", flats[:1], Timespan(begin, begin + DAY_NS))
    butler.collections.chain("all", ["night", "chosen", "day"])
