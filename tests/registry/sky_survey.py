"""A small survey, and what any question about it must answer: by looking at every combination.

Exposures 1 to 5 make visits 11 to 14 (exposure 2 is in two), exposure 6 points at the sky without a
visit, 7 and 8 do neither; the parts of the sky and the regions of visits are where a generator of
random numbers put them.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any

from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d

from registry.identity import DatasetType
from registry.touching import touch
from tests.registry import observatory
from tests.registry.test_regions import polygon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from registry import Registry

Row = dict[str, Any]
DETECTORS = (0, 1)
NIGHTS = (20220920, 20220921)
BANDS = {"SDSS g": "g", "SDSS r": "r", "Ha": None}
EXPOSURES: dict[int, tuple[int, str | None]] = {
    1: (NIGHTS[0], "SDSS g"),
    2: (NIGHTS[0], "SDSS g"),
    3: (NIGHTS[0], "SDSS r"),
    4: (NIGHTS[0], "SDSS r"),
    5: (NIGHTS[1], "SDSS g"),
    6: (NIGHTS[1], "SDSS r"),
    7: (NIGHTS[0], None),
    8: (NIGHTS[1], "Ha"),
}
VISITS = {11: (1, 2), 12: (2,), 13: (3, 4), 14: (5,)}
OF_CAMERA = {"instrument", "detector", "physical_filter", "exposure", "visit", "day_obs"}
OF_SKY = {"skymap", "tract", "patch"}
TYPES = {
    "raw": ("instrument", "detector", "exposure"),
    "calexp": ("instrument", "detector", "visit"),
    "flat": ("instrument", "detector", "physical_filter"),
    "bias": ("instrument", "detector", "day_obs"),
    "coadd": ("skymap", "tract", "patch", "band"),
    "visit_summary": ("instrument", "visit"),
}


class Survey:
    """What is in the registry, for brute force."""

    def __init__(self) -> None:
        rng = random.Random(23)
        place = [(150.0, 2.0), (151.2, 2.1), (150.4, 2.9)]
        self.detectors = {
            (v, d): polygon(rng, *place[v % len(place)]) for v in VISITS for d in DETECTORS
        }
        # visit 12 has no region of its own
        self.visits = {
            v: ConvexPolygon([c for d in DETECTORS for c in self.detectors[v, d].getVertices()])
            for v in VISITS
            if v != 12
        }
        self.tracts = {t: polygon(rng, *place[t]) for t in range(3)}
        self.patches = {(t, p): polygon(rng, *place[t]) for t in range(3) for p in (0, 1)}
        centre = UnitVector3d(self.patches[0, 1].getCentroid())
        self.pointing = LonLat(centre)
        self.datasets: dict[str, list[Row]] = {name: [] for name in TYPES}
        for row in self.rows({"detector", "exposure"}):
            if rng.random() < 0.7:
                self.datasets["raw"].append(row)
        for name, chance in (("calexp", 0.7), ("flat", 0.6), ("bias", 0.6), ("visit_summary", 0.5)):
            keys = set(TYPES[name])
            self.datasets[name] = [row for row in self.rows(keys) if rng.random() < chance]
        self.datasets["coadd"] = [
            {"tract": t, "patch": p, "band": b}
            for t, p in self.patches
            for b in "gr"
            if rng.random() < 0.6
        ]

    def fill(self, registry: Registry) -> None:
        """Insert it all."""
        camera = {"instrument": "Cam"}
        insert = registry.insert_dimension_records
        insert("instrument", [{"name": "Cam", "detector_max": 2}])
        insert("detector", [camera | {"id": d, "full_name": f"D{d}"} for d in DETECTORS])
        insert("physical_filter", [camera | {"name": f, "band": b} for f, b in BANDS.items()])
        insert(
            "day_obs",
            [
                camera | {"id": n, "begin_tai_ns": begin, "end_tai_ns": begin + observatory.DAY_NS}
                for n in NIGHTS
                for begin in [observatory.noon(n)]
            ],
        )
        place = {
            "ra": self.pointing.getLon().asDegrees(),
            "dec": self.pointing.getLat().asDegrees(),
        }
        insert(
            "exposure",
            [
                observatory.exposure(e, night, "science", physical_filter=filter_)
                | (place if e == 6 else {})
                for e, (night, filter_) in EXPOSURES.items()
            ],
        )
        insert("skymap", [{"name": "sky", "definition": {"made": "x"}}])
        insert("tract", [{"skymap": "sky", "id": t, "region": r} for t, r in self.tracts.items()])
        insert(
            "patch",
            [
                {"skymap": "sky", "tract": t, "id": p, "region": r, "wcs": {}}
                for (t, p), r in self.patches.items()
            ],
        )
        insert(
            "visit",
            [
                camera
                | {
                    "id": v,
                    "name": f"v{v}",
                    "day_obs": EXPOSURES[members[0]][0],
                    "physical_filter": EXPOSURES[members[0]][1],
                    "begin_tai_ns": 0,
                    "end_tai_ns": 1,
                    "region": self.visits.get(v),
                }
                for v, members in VISITS.items()
            ],
        )
        insert(
            "visit_exposure",
            [
                camera | {"visit": v, "exposure": e}
                for v, made_of in VISITS.items()
                for e in made_of
            ],
        )
        insert(
            "visit_detector_region",
            [
                camera | {"visit": v, "detector": d, "region": r}
                for (v, d), r in self.detectors.items()
            ],
        )
        registry.register_collection("one")
        registry.register_collection("two")
        registry.chain("all", ["one", "two"])
        for name, dimensions in TYPES.items():
            kind = DatasetType(name, dimensions, "StructuredDataDict")
            registry.register_dataset_type(kind)
            keys = [self.data_id(dimensions, row) for row in self.datasets[name]]
            registry.insert_datasets(kind, keys[::2], "one")
            registry.insert_datasets(kind, keys[1::2] + keys[::4], "two")

    @staticmethod
    def data_id(dimensions: tuple[str, ...] | list[str], row: Mapping[str, Any]) -> Row:
        """Give the data ID of a combination, which leaves out what has no value."""
        known = {"instrument": "Cam", "skymap": "sky", **row}
        return {d: known[d] for d in dimensions if known[d] is not None}

    def rows(self, wanted: set[str]) -> Iterator[Row]:
        """Give every combination of some dimensions that records allow."""
        domains: dict[str, list[Any]] = {
            "detector": list(DETECTORS),
            "exposure": list(EXPOSURES),
            "visit": list(VISITS),
            "place": [*self.patches] if "patch" in wanted else [(t, None) for t in self.tracts],
        }
        asked: list[str] = [d for d in ("detector", "exposure", "visit") if d in wanted]
        asked += ["place"] if wanted & {"tract", "patch"} else []
        for values in itertools.product(*(domains[d] for d in asked)):
            row = dict(zip(asked, values, strict=True))
            if not self.fits(row):
                continue
            row["tract"], row["patch"] = row.pop("place", (None, None))
            yield from self.with_facts({k: v for k, v in row.items() if v is not None}, wanted)

    def fits(self, row: Row) -> bool:
        """Tell whether exposures, visits and places go together."""
        visit, exposure = row.get("visit"), row.get("exposure")
        if visit and exposure and exposure not in VISITS[visit]:
            return False
        if "place" not in row or not (visit or exposure):
            return True
        tract, patch = row["place"]
        part = self.tracts[tract] if patch is None else self.patches[tract, patch]
        visits = [visit] if visit else [v for v, made_of in VISITS.items() if exposure in made_of]
        if not visits:
            return exposure == 6 and part.contains(UnitVector3d(self.pointing))
        return any(touch(r, part) for v in visits for r in self.regions(v, row.get("detector")))

    def regions(self, visit: int, detector: int | None) -> list[Any]:
        """Give the regions of a visit, or of a detector in it."""
        if detector is not None:
            return [self.detectors[visit, detector]]
        alone = [self.detectors[visit, d] for d in DETECTORS]
        return [self.visits[visit]] if visit in self.visits else alone

    @staticmethod
    def with_facts(row: Row, wanted: set[str]) -> Iterator[Row]:
        """Add the night, filter and band of what was observed, or each there is."""
        seen = row.get("exposure") or (VISITS[row["visit"]][0] if "visit" in row else None)
        nights = [EXPOSURES[seen][0]] if seen else list(NIGHTS) if "day_obs" in wanted else [None]
        filters: list[str | None] = list(BANDS) if "physical_filter" in wanted else [None]
        if seen:
            filters = [EXPOSURES[seen][1]]
        for night, filter_ in itertools.product(nights, filters):
            bands = [BANDS.get(filter_ or "")]
            if not seen and "physical_filter" not in wanted:
                bands = ["g", "r"] if "band" in wanted else [None]
            for band in bands:
                yield row | {"day_obs": night, "physical_filter": filter_, "band": band}

    def joint(
        self, wanted: set[str], kinds: tuple[str, ...], fulfils: Callable[[Row], bool]
    ) -> list[Row]:
        """Give the combinations with which datasets of all kinds go, of a condition."""
        wanted = wanted.union(*(TYPES[k] for k in kinds))
        held = [(k, self.keys(k)) for k in kinds]
        return [
            row
            for row in self.rows(wanted)
            if all(self.key(k, row) in keys for k, keys in held) and fulfils(row)
        ]

    def keys(self, kind: str) -> set[tuple[Any, ...]]:
        """Give the keys of the datasets of a kind."""
        return {self.key(kind, row) for row in self.datasets[kind]}

    @staticmethod
    def key(kind: str, row: Row) -> tuple[Any, ...]:
        """Give the key that a dataset of a kind would have."""
        return tuple(row[d] for d in TYPES[kind] if d not in ("instrument", "skymap"))


SURVEY = Survey()
