"""A repository with a little of everything that an export may hold."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from registry import Timespan, carried
from registry.calibrations import record_facts
from registry.identity import uuid7
from registry.provenance import recording
from registry.regions import from_vertices
from tests.registry.observatory import DAY_NS, exposure, noon

if TYPE_CHECKING:
    import sqlalchemy as sa

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


def remember(butler: Butler) -> None:
    """Record how the coadd of `fill` was made from what was made from the metrics, and a failure.

    The metrics in between have no file any more.
    """
    (coadd,) = butler.query_datasets("coadd", collections="day")
    first, second = butler.query_datasets("metrics", collections="day", order_by=["detector"])
    butler.register_dataset_type("between", ("instrument", "visit"), "StructuredDataDict")
    between = butler.put({"n": 1}, "between", run="step/1", instrument="Cam", visit=7)
    butler.prune([between], unstore=True)
    butler.registry.register_collection("step/2")

    def record(connection: sa.Connection) -> None:
        packages = {"numpy": "2.0", "astropy": "7.0"}
        software = recording.record_environment(connection, "3.11", "Linux", packages, "abc")
        outcome = recording.Outcome("done", 1.5, 0.1, 10**7, {"n": 1, "ok": [True]}, {"n": 1.0})
        failed = recording.Outcome("failed", 0.1, 0.1, 10**6, {}, {}, "ValueError", "no light: ü")
        when = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, dt.UTC)
        history = [
            recording.HistoryEntry("threshold", "5.0", "default", "tasks.py:3"),
            recording.HistoryEntry("threshold", None, "file", "over.py:1", "me", when),
        ]
        for run, made, reads, good in (
            ("step/1", between, (first, second), True),
            ("step/2", coadd, (between,), True),
            ("step/2", None, (second,), False),
        ):
            values = [("threshold", None, "float"), ("name", repr(run), "str")]
            key = recording.record_config(
                connection, "tasks.Config", f"config.name={run!r}", values
            )
            label = "make" if good else "fail"
            task = recording.record_task(connection, run, label, "tasks.Make", key, history, "p: 1")
            inputs = tuple((f"in{n}", ref.id) for n, ref in enumerate(reads))
            quantum = recording.QuantumRow(uuid7(), (made or reads[0]).data_id, inputs)
            recording.insert_quanta(connection, task, [quantum])
            recording.start(connection, quantum.id, software, "host", 1)
            outputs = [("out", made.id)] if made is not None else []
            recording.finish(connection, quantum.id, outcome if good else failed, outputs)

    butler.registry.database.transact(record)


def complete(butler: Butler) -> None:
    """Fill a repository with a little of all that an export of this project may hold."""
    fill(butler)
    butler.register_instrument("demo")
    remember(butler)
    flat = butler.registry.dataset_type("flat")
    butler.registry.set_calibration_policy(
        flat, "nearest", limit_ns=10**15, match={"temperature": 1.5}
    )
    flats = butler.query_datasets("flat", collections="flats")

    def note(connection: sa.Connection) -> None:
        told: dict[str, float | str] = {"temperature": -90.5, "mode": "fast"}
        record_facts(connection, {ref.id: told for ref in flats})
        carried.carry(
            connection, "visit_system", ("instrument", "id"),
            [{"instrument": "Cam", "id": 0, "name": "one"}],
        )  # fmt: skip

    butler.registry.database.transact(note)
    butler.register_dataset_type("cut", ("instrument", "target", "number"), "StructuredDataDict")
    for n in (1, 2):
        keys = {"instrument": "Cam", "target": "M 31 é", "number": n}
        butler.put({"n": n}, "cut", keys, run="day")
    butler.collections.chain("above", ["all", "flats"])
