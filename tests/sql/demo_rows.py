"""The demo repository as rows only: known counts, times, sizes and identities, and a few mishaps.

What `skyspine demo` makes with pixels in a minute is here in a second on any database: two nights
of DemoCam with four detectors, its calibrations, calibrated frames, source lists and coadds, with
their provenance, files and copies.  What went wrong, so that questions have something to find:

- raw 202503110019 of detector 4 came two days late; raw 202503100005 of detector 2 is lost;
- exposure 202503100019 was rejected by the observers;
- exposure 202503110020 is in the log, but no file of it ever came;
- the flats in Demo r of the second night were certified too late for two of its exposures;
- the defects of detector 4 are certified, but were left out when its frames were calibrated;
- the sources of 202503100017 were found again with a lower threshold in run `demo/again`, where
  detector 3 failed twice.
"""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from butler import cameras
from butler.instrument import load_shipped
from registry import DatasetType, Timespan
from registry.database import analyze, insert_rows
from registry.quality import Bounds
from registry.regions import from_vertices
from registry.schema import files, metadata, provenance
from registry.schema.identity import dataset

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from registry import DatasetRef, Registry

NIGHTS = (20250310, 20250311)
FIRST_BEGIN = 1741644217000000000  # [TAI ns] begin of the first exposure, as the demo simulates it
DAY = 86_400_000_000_000
SECOND = 1_000_000_000
CAMERA = "DemoCam"
RAW_RUN, OUT, AGAIN = "DemoCam/raw", "demo/out/1", "demo/again"
FILTERS = ("Demo g", "Demo r")
CENTRE = (150.10, 2.20)  # ICRS [deg]
DITHERS = ((0.0, 0.0), (0.002029273522, -0.001361111111), (-0.001695694313, 0.002277777778))
CCD = 0.0284  # side of a detector on the sky [deg]
NOW = dt.datetime(2025, 3, 12, 12, tzinfo=dt.UTC)
SIZES = {
    "raw": 144_000, "defects": 230, "bias": 800_640, "dark": 800_640, "flat": 800_640,
    "calexp": 1_068_480, "sources": 14_400, "coadd": 937_440, "coadd_inputs": 5_760,
    "coadd_sources": 23_040,
}  # fmt: skip
TYPES = (
    DatasetType("bias", ("instrument", "detector", "day_obs"), "Exposure", is_calibration=True),
    DatasetType("dark", ("instrument", "detector", "day_obs"), "Exposure", is_calibration=True),
    DatasetType(
        "flat", ("instrument", "detector", "physical_filter", "day_obs"), "Exposure",
        is_calibration=True,
    ),
    DatasetType("calexp", ("instrument", "detector", "exposure"), "Exposure"),
    DatasetType("sources", ("instrument", "detector", "exposure"), "Table"),
    DatasetType("coadd", ("band", "skymap", "tract", "patch"), "Exposure"),
    DatasetType("coadd_inputs", ("band", "skymap", "tract", "patch"), "Table"),
    DatasetType("coadd_sources", ("band", "skymap", "tract", "patch"), "Table"),
)  # fmt: skip
TASKS = {
    "combineBias": ("workflow.ccd.combine.CombineBiasTask", 3.0),
    "combineDark": ("workflow.ccd.combine.CombineDarkTask", 2.0),
    "combineFlat": ("workflow.ccd.combine.CombineFlatTask", 2.5),
    "isr": ("workflow.ccd.isr.IsrTask", 0.5),
    "detect": ("workflow.ccd.detection.DetectSourcesTask", 1.0),
    "coadd": ("workflow.ccd.coadd.CoaddTask", 4.0),
    "detectCoadd": ("workflow.ccd.detection.DetectCoaddSourcesTask", 1.5),
}
"""Label of each task to its class and elapsed time per quantum [s]."""


class Identities:
    """Gives UUIDs of version 7 that are the same in every repository."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def take(self, count: int) -> list[uuid.UUID]:
        return [
            uuid.UUID(int=(0x0195_8000_0000 << 80) | (7 << 76) | (2 << 62) | next(self._numbers))
            for _ in range(count)
        ]


def exposures() -> list[dict[str, Any]]:
    """Give the exposure records of both nights, in time order."""
    records: list[dict[str, Any]] = []
    for night, day_obs in enumerate(NIGHTS):
        plan: list[tuple[str, str | None, float, int | None]] = [("bias", None, 0.0, None)] * 5
        plan += [("dark", None, 120.0, None)] * (3 if night == 0 else 0)
        plan += [("flat", name, 5.0, None) for name in FILTERS for _ in range(4)]
        plan += [("science", name, 60.0, n) for name in FILTERS for n in range(3)]
        for n, (kind, name, seconds, dither) in enumerate(plan):
            begin = FIRST_BEGIN + night * DAY + n * 180 * SECOND
            begin += 18_000 * SECOND if kind == "science" else 0
            record: dict[str, Any] = {
                "instrument": CAMERA,
                "id": day_obs * 10_000 + n + 1,
                "obs_id": f"DC_{day_obs}_{n + 1:04d}",
                "day_obs": day_obs,
                "physical_filter": name,
                "observation_type": kind,
                "science_program": "demo",
                "seq_num": n + 1,
                "exposure_time": seconds,
                "dark_time": seconds,
                "begin_tai_ns": begin,
                "end_tai_ns": begin + int(seconds) * SECOND,
            }
            if dither is not None:
                ra, dec = (c + d for c, d in zip(CENTRE, DITHERS[dither], strict=True))
                airmass = round(1.2 + 0.01 * n - 0.03 * night, 3)
                record |= {"ra": ra, "dec": dec, "airmass": airmass, "target_name": "DEMO FIELD 1"}
            records.append(record)
    last = records[-1]
    late = last["begin_tai_ns"] + 180 * SECOND
    records.append(
        last
        | {"id": 202503110020, "obs_id": "DC_20250311_0020", "seq_num": 20}
        | {"begin_tai_ns": late, "end_tai_ns": late + 60 * SECOND}
    )
    for record in records:
        record["quality"] = "rejected" if record["id"] == 202503100019 else "good"
    return records


def square(ra: float, dec: float) -> Any:
    """Make the region of a detector or patch from its lower corner, ICRS [deg]."""
    return from_vertices(
        [(ra, dec), (ra + CCD, dec), (ra + CCD, dec + CCD), (ra, dec + CCD)],
    )


def corners() -> Iterator[tuple[float, float]]:
    """Give the lower corners of the four detectors about the pointing [deg]."""
    return itertools.product((-CCD, 0.0), (-CCD, 0.0))


class Repository:
    """Fills a registry; `fill` does all.

    Parameters
    ----------
    registry : Registry
        At the newest revision, without a row.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.identities = Identities()
        self.exposures = exposures()
        self.observed = self.exposures[:-1]
        self.refs: dict[str, list[DatasetRef]] = {}
        self.edges: list[tuple[str, dict[str, Any], list[DatasetRef], list[DatasetRef]]] = []

    def fill(self) -> None:
        """Write every row."""
        with self.registry.begin():
            self.dimensions()
            self.datasets()
            self.storage()
            self.history()
            self.calibrations()
            self.times()
            quality = self.registry.quality
            quality.set("isr", "background.level", Bounds(warn_above=140.0))
            quality.check("demo/out")
        with self.registry.begin() as connection:
            analyze(connection, *metadata.sorted_tables)

    def dimensions(self) -> None:
        camera = load_shipped("demo")
        cameras.register(self.registry, camera)
        insert = self.registry.insert_dimension_records
        insert("day_obs", [camera.day_obs_record(night) for night in NIGHTS])
        insert("exposure", self.exposures)
        science = [x for x in self.observed if x["observation_type"] == "science"]
        shared = ("instrument", "id", "day_obs", "physical_filter", "target_name", "exposure_time")
        visit = (*shared, "begin_tai_ns", "end_tai_ns", "ra", "dec")
        insert("visit", [{k: x[k] for k in visit} | {"name": x["obs_id"]} for x in science])
        key = {"instrument": CAMERA}
        insert("visit_exposure", [key | {"visit": x["id"], "exposure": x["id"]} for x in science])
        insert("skymap", [{"name": "demo", "definition": {"tracts": [{"id": 0}]}}])
        ra, dec = CENTRE
        whole = [(ra - 0.03, dec - 0.03), (ra + 0.03, dec - 0.03), (ra + 0.03, dec + 0.03),
                 (ra - 0.03, dec + 0.03)]  # fmt: skip
        tract = {"skymap": "demo", "id": 0, "region": from_vertices(whole)}
        insert("tract", [tract])
        insert(
            "patch",
            [
                {
                    "skymap": "demo",
                    "tract": 0,
                    "id": n,
                    "wcs": {},
                    "region": square(ra + x, dec + y),
                }
                for n, (x, y) in enumerate(corners())
            ],
        )
        insert(
            "visit_detector_region",
            [
                key | {"visit": v["id"], "detector": n, "region": square(v["ra"] + x, v["dec"] + y)}
                for v in science
                for n, (x, y) in enumerate(corners(), start=1)
            ],
        )

    def put(self, kind: str, data_ids: Sequence[dict[str, Any]], run: str) -> list[DatasetRef]:
        """Register datasets with identities of their own."""
        refs = self.registry.insert_datasets(
            kind, data_ids, run, ids=self.identities.take(len(data_ids))
        )
        self.refs.setdefault(kind, []).extend(refs)
        return refs

    def make(
        self, label: str, inputs: Sequence[DatasetRef], run: str = OUT, **outputs: dict[str, Any]
    ) -> list[DatasetRef]:
        """Register what one quantum made, by dataset type, and remember its edges."""
        made = [ref for kind, data_id in outputs.items() for ref in self.put(kind, [data_id], run)]
        self.edges.append((label, next(iter(outputs.values())), list(inputs), made))
        return made

    def datasets(self) -> None:
        register = self.registry.register_collection
        for name, kind in (
            (RAW_RUN, "RUN"), ("DemoCam/calib", "CALIBRATION"), (OUT, "RUN"),
            ("demo/out/calib", "CALIBRATION"), ("demo/out", "CHAINED"), (AGAIN, "RUN"),
        ):  # fmt: skip
            register(name, kind)
        self.registry.chain("demo/out", [OUT, "demo/out/calib", RAW_RUN, "DemoCam/calib"])
        for dataset_type in TYPES:
            self.registry.register_dataset_type(dataset_type)
        key: dict[str, Any] = {"instrument": CAMERA}
        detectors = (1, 2, 3, 4)
        defects = self.put("defects", [key | {"detector": d} for d in detectors], RAW_RUN)
        raw_ids = [
            key | {"detector": d, "exposure": x["id"]} for x in self.observed for d in detectors
        ]
        raws = {
            (r.data_id["exposure"], r.data_id["detector"]): r
            for r in self.put("raw", raw_ids, RAW_RUN)
        }

        def raw(kind: str, night: int, detector: int, name: str | None = None) -> list[DatasetRef]:
            return [
                raws[x["id"], detector]
                for x in self.observed
                if (x["observation_type"], x["day_obs"]) == (kind, night)
                and name in (None, x["physical_filter"])
            ]

        bias, dark, flat = {}, {}, {}
        for night, d in itertools.product(NIGHTS, detectors):
            mine = key | {"detector": d, "day_obs": night}
            (bias[night, d],) = self.make("combineBias", raw("bias", night, d), bias=mine)
        for d in detectors:
            night = NIGHTS[0]
            used = [*raw("dark", night, d), bias[night, d]]
            mine = key | {"detector": d, "day_obs": night}
            (dark[d],) = self.make("combineDark", used, dark=mine)
        for night, name, d in itertools.product(NIGHTS, FILTERS, detectors):
            used = [*raw("flat", night, d, name), bias[night, d], dark[d]]
            mine = key | {"detector": d, "physical_filter": name, "day_obs": night}
            (flat[night, name, d],) = self.make("combineFlat", used, flat=mine)
        calexps: dict[str, list[DatasetRef]] = {name: [] for name in FILTERS}
        for x in self.observed:
            if x["observation_type"] != "science":
                continue
            name, night = x["physical_filter"], x["day_obs"]
            for d in detectors:
                mine = key | {"detector": d, "exposure": x["id"]}
                used = [raws[x["id"], d], bias[night, d], dark[d], flat[night, name, d]]
                used += [] if d == 4 else [defects[d - 1]]
                made = self.make("isr", used, calexp=mine)
                calexps[name] += made
                self.make("detect", made, sources=mine)
        for name, n in itertools.product(FILTERS, range(4)):
            mine = {"band": name[-1], "skymap": "demo", "tract": 0, "patch": n}
            near = [r for r in calexps[name] if r.data_id["detector"] == n + 1]
            coadds = self.make("coadd", near, coadd=mine, coadd_inputs=mine)
            self.make("detectCoadd", coadds[:1], coadd_sources=mine)
        for ref in self.refs["calexp"][:4]:
            mine = dict(ref.data_id)
            if mine["detector"] == 3:
                self.edges.append(("detectAgain", mine, [ref], []))
            else:
                self.make("detectAgain", [ref], run=AGAIN, sources=mine)

    def storage(self) -> None:
        endpoints = [
            {"id": 1, "site_id": 1, "name": "root", "root": ".", "owned": True, "state": "online"},
            {"id": 2, "site_id": 2, "name": "tape", "root": "/tape", "owned": True,
             "state": "offline"},
        ]  # fmt: skip
        rows, replicas = [], []
        for n, ref in enumerate(itertools.chain(*self.refs.values()), start=1):
            kind, data_id = ref.dataset_type.name, ref.data_id
            name = "_".join(str(v).replace(" ", "") for v in data_id.values())
            image = SIZES[kind] > 100_000
            formatter = "fits-image" if image else "ecsv" if kind == "defects" else "fits-table"
            rows.append(
                {"id": n, "dataset_id": ref.id, "component": "", "formatter": formatter,
                 "path": f"{ref.run}/{kind}/{kind}_{name}.fits", "size_bytes": SIZES[kind],
                 "checksum": None if kind == "defects" else f"sha256:{n:064x}"}
            )  # fmt: skip
            lost = kind == "raw" and (data_id["exposure"], data_id["detector"]) == (202503100005, 2)
            state = "lost" if lost else "available"
            replicas.append({"file_id": n, "endpoint_id": 1, "state": state, "since": NOW})
            if kind == "raw" and int(data_id["exposure"]) // 10_000 == NIGHTS[0] and not lost:
                replicas.append({"file_id": n, "endpoint_id": 2, "state": state, "since": NOW})
        with self.registry.begin() as connection:
            sites = [{"id": 1, "name": "local", "doc": ""}, {"id": 2, "name": "vault", "doc": ""}]
            insert_rows(connection, files.site, sites)
            insert_rows(connection, files.endpoint, endpoints)
            insert_rows(connection, files.file, rows)
            insert_rows(connection, files.replica, replicas)

    def history(self) -> None:
        p = provenance
        labels = [*TASKS, "detectAgain"]
        runs = {c.name: c.id for c in self._collections()}
        tasks = []
        configs, values, told = [], [], []
        for n, label in enumerate(labels, start=1):
            again = label == "detectAgain"
            class_name = TASKS["detect" if again else label][0]
            configs.append(
                {"id": n, "digest": f"{n:064d}", "class_name": f"{class_name}.Config", "text": ""}
            )
            tasks.append(
                {"id": n, "run_id": runs[AGAIN if again else OUT], "config_id": n,
                 "label": "detect" if again else label, "class_name": class_name,
                 "pipeline": "demo.yaml", "created_at": NOW}
            )  # fmt: skip
            fields = [("do_dark", "True" if label in ("isr", "combineFlat") else "False", "bool")]
            if "detect" in label:
                fields = [("threshold", "3.0" if again else "5.0", "float")]
            for path, value, kind in fields:
                values.append({"config_id": n, "path": path, "value": value, "type": kind})
                told.append(
                    {"task_id": n, "path": path, "step": 0, "value": fields[0][1] if path
                     != "threshold" and value == "False" else "5.0" if kind == "float" else "False",
                     "origin_kind": "default", "origin": class_name, "set_by": None, "set_at": None}
                )  # fmt: skip
                if value in ("True", "3.0"):
                    kind_of = "command-line" if again else "pipeline"
                    told.append(
                        {"task_id": n, "path": path, "step": 1, "value": value,
                         "origin_kind": kind_of, "origin": "-c" if again else "demo.yaml:19",
                         "set_by": "observer", "set_at": NOW}
                    )  # fmt: skip
        software = [
            {"id": n, "digest": f"e{n:063d}", "python": "3.11.2", "platform": "Linux x86_64",
             "code_revision": None}
            for n in (1, 2)
        ]  # fmt: skip
        packages = [
            {"environment_id": n, "name": name, "version": version}
            for n, versions in enumerate(
                ({"astropy": "7.0.0", "numpy": "2.1.0"}, {"astropy": "7.1.0", "numpy": "2.1.0"}), 1
            )
            for name, version in versions.items()
        ]
        with self.registry.begin() as connection:
            for table, rows in (
                (p.environment, software), (p.environment_package, packages),
                (p.config, configs), (p.config_value, values), (p.task, tasks),
                (p.config_history, told),
            ):  # fmt: skip
                insert_rows(connection, table, rows)
        self._quanta(labels)

    def _collections(self) -> Sequence[Any]:
        from registry.schema.collections import collection

        with self.registry.read() as connection:
            return connection.execute(sa.select(collection.c.id, collection.c.name)).all()

    def _quanta(self, labels: Sequence[str]) -> None:
        from registry.datasets import insert_data_ids
        from registry.identity import DataId

        p = provenance
        started = NOW
        quanta, inputs, outputs, metrics = [], [], [], []
        with self.registry.begin() as connection:
            keys = insert_data_ids(connection, [DataId.of(e[1]) for e in self.edges])
            for n, (label, data_id, used, made) in enumerate(self.edges):
                (number,) = self.identities.take(1)
                again = label == "detectAgain"
                failed = not made
                wall = TASKS["detect" if again else label][1] + 0.001 * n
                quanta.append(
                    {"id": number, "task_id": labels.index(label) + 1,
                     "data_id": keys[DataId.of(data_id)],
                     "state": "failed" if failed else "done", "attempt": 2 if failed else 1,
                     "environment_id": 2 if again else 1,
                     "started_at": started + dt.timedelta(seconds=n),
                     "finished_at": started + dt.timedelta(seconds=n + wall),
                     "wall_s": wall, "cpu_s": wall / 2, "max_rss_bytes": (200 + n) * 2**20,
                     "host": "node1" if n % 2 else "node2", "pid": 1000 + n,
                     "exception_class": "ValueError" if failed else None,
                     "exception_message": "no source above the threshold" if failed else None,
                     "error_kind": "error" if failed else None,
                     "metadata": None}
                )  # fmt: skip
                inputs += [
                    {"quantum_id": number, "dataset_id": r.id, "connection": r.dataset_type.name}
                    for r in used
                ]
                outputs += [
                    {"quantum_id": number, "dataset_id": r.id, "connection": r.dataset_type.name}
                    for r in made
                ]
                if label == "isr":
                    level = 100.0 + data_id["detector"] + (50.0 if n % 7 == 0 else 0.0)
                    metrics.append(
                        {"quantum_id": number, "name": "background.level", "value": level}
                    )
                if label == "detect":
                    count = 40.0 + data_id["detector"]
                    metrics.append({"quantum_id": number, "name": "n_sources", "value": count})
            for table, rows in (
                (p.quantum, quanta), (p.quantum_input, inputs), (p.quantum_output, outputs),
                (p.quantum_metric, metrics),
            ):  # fmt: skip
                insert_rows(connection, table, rows)

    def calibrations(self) -> None:
        certify = self.registry.certify
        certify("DemoCam/calib", self.refs["defects"], Timespan(None, None))
        noon = load_shipped("demo").day_obs_record(NIGHTS[0])["begin_tai_ns"]
        first = [r for r in self.refs["bias"] if r.data_id["day_obs"] == NIGHTS[0]]
        second = [r for r in self.refs["bias"] if r.data_id["day_obs"] == NIGHTS[1]]
        certify("demo/out/calib", first, Timespan(noon, noon + DAY))
        certify("demo/out/calib", second, Timespan(noon + DAY, None))
        certify("demo/out/calib", self.refs["dark"], Timespan(noon, None))
        for night, name in itertools.product(NIGHTS, FILTERS):
            key = (night, name)
            flats = [
                r
                for r in self.refs["flat"]
                if (r.data_id["day_obs"], r.data_id["physical_filter"]) == key
            ]
            begin = noon + NIGHTS.index(night) * DAY
            late = 40_300 * SECOND if key == (NIGHTS[1], FILTERS[1]) else 0
            certify("demo/out/calib", flats, Timespan(begin + late, begin + DAY))

    def times(self) -> None:
        """Set when each dataset was registered: raw frames a minute after their exposure."""
        ends = {x["id"]: x["end_tai_ns"] for x in self.exposures}
        made = FIRST_BEGIN + 2 * DAY
        rows = []
        for ref in itertools.chain(*self.refs.values()):
            if ref.dataset_type.name == "raw":
                number, detector = ref.data_id["exposure"], ref.data_id["detector"]
                when = ends[number] + 60 * SECOND
                when += 2 * DAY if (number, detector) == (202503110019, 4) else 0
            else:
                when = FIRST_BEGIN - DAY if ref.dataset_type.name == "defects" else made
            rows.append({"_id": ref.id, "when": when})
        with self.registry.begin() as connection:
            connection.execute(
                sa.update(dataset)
                .where(dataset.c.id == sa.bindparam("_id"))
                .values(ingest_date_tai_ns=sa.bindparam("when")),
                rows,
            )


def fill(registry: Registry) -> Repository:
    """Fill an empty registry with the demo repository."""
    made = Repository(registry)
    made.fill()
    return made
