"""What does a reader ask, and what of the answers must always hold?"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from butler.errors import MissingFile
from registry.errors import (
    MissingDataset,
    RegistryError,
    UnknownCollection,
    UnknownDatasetType,
)
from tests.endurance.world import (
    CAMERA,
    N_EXPOSURES,
    N_PUT,
    N_RUNS,
    N_WRITERS,
    NIGHTS,
    SHARED,
    Worker,
)
from tests.endurance.writing import POLICY, REMADE, TYPE

if TYPE_CHECKING:
    from typing import Any


class Reader(Worker):
    """A process that asks everything that can be asked."""

    def __init__(self, root: str, number: int, seed: int) -> None:
        super().__init__(root, f"reader{number}", number, seed, writeable=False)
        self.registry = self.butler.registry

    def _runs(self) -> list[str]:
        return self.dice.sample([f"shared/{n}" for n in range(N_RUNS)], k=2)

    def _frame(self) -> dict[str, Any]:
        detector = self.dice.randrange(N_WRITERS + 1)
        return {**CAMERA, "detector": detector, "exposure": self.dice.randrange(1, N_PUT)}

    def find(self) -> None:
        asked, runs = self._frame(), self._runs()
        ref = self.butler.find_dataset("frame", asked, collections=runs)
        if ref is not None and (dict(ref.data_id) != asked or ref.run not in runs):
            self.fault("find", f"{asked} in {runs}: {ref}")

    def get(self) -> None:
        asked = self._frame()
        found = self.butler.get("frame", asked, collections=self._runs())
        if {k: found[k] for k in asked} != asked:
            self.fault("get", f"{asked}: {found}")

    def query(self) -> None:
        detector = self.dice.randrange(N_WRITERS + 1)
        found = self.butler.query_datasets(
            "row",
            collections=self._runs(),
            where="detector = :d AND exposure.exposure_time > 2 "
            "AND exposure.observation_type = 'flat'",
            bind={"d": detector},
            order_by=["exposure"],
        )
        ids = [ref.data_id for ref in found]
        times = [int(i["exposure"]) for i in ids]
        if len(set(ids)) < len(ids) or times != sorted(times):
            self.fault("query", f"{found}")
        if any(i["detector"] != detector or int(i["exposure"]) % 7 <= 2 for i in ids):
            self.fault("query", f"not what was asked: {ids}")

    def stream(self) -> None:
        found = self.registry.stream_datasets("row", ["chain/*", "shared/*"])
        seen = [ref.data_id for ref in islice(found, 500)]
        if len(set(seen)) < len(seen):
            self.fault("stream", "a data ID came twice")

    def count(self) -> None:
        for row in self.registry.count_datasets("frame", "shared/*", by=["detector"]):
            if not 0 < row["n"] < N_EXPOSURES:
                self.fault("count", f"{row}")

    def table(self) -> None:
        table = self.registry.table_of_datasets("row", self._runs(), where="detector = 1")
        if len(set(table.column("dataset_id").to_pylist())) < table.num_rows:
            self.fault("table", "an identity came twice")

    def data_ids(self) -> None:
        found = self.registry.query_data_ids(
            ["exposure", "detector"], datasets="row", collections="shared/*"
        )
        if len(set(found)) < len(found):
            self.fault("data_ids", "a data ID came twice")

    def calibrations(self) -> None:
        asked = [
            ({**CAMERA, "detector": d}, 1000 * self.dice.randrange(1000))
            for d in range(N_WRITERS + 1)
        ]
        found = self.registry.find_calibrations("flat", asked, "calib")
        for (keys, _), ref in zip(asked, found, strict=True):
            if ref is not None and ref.data_id["detector"] != keys["detector"]:
                self.fault("calibrations", f"{keys}: {ref}")

    def explain(self) -> None:
        keys = {**CAMERA, "detector": SHARED}
        self.registry.explain_calibration("flat", keys, 1000 * self.dice.randrange(1000), "calib")

    def ancestors(self) -> None:
        run = f"flats/{1 + self.dice.randrange(N_WRITERS)}"
        keys = {**CAMERA, "detector": SHARED, "day_obs": NIGHTS[0]}
        ref = self.registry.find_dataset("flat", keys, run)
        if ref is None:
            self.fault("ancestors", f"no flat in {run}")
        elif self.registry.provenance.ancestors(ref.id):
            self.fault("ancestors", "a flat that nothing made has ancestors")
        else:
            self.registry.provenance.descendants(ref.id)

    def report(self) -> None:
        self.registry.report("dataset_summary")

    def _beacon(self) -> int:
        return 1 + self.dice.randrange(N_WRITERS)

    def _seen(self, kind: int, which: str, version: int, wanted: int, writer: int) -> None:
        if version < wanted:
            self.fault("stale", f"{which} {kind} of writer {writer}: saw {version} after {wanted}")

    def policy(self) -> None:
        writer = self._beacon()
        wanted = self.beacons.at_least(writer, POLICY)
        policies = self.registry.calibration_policies()
        if wanted:
            seen = policies[f"beacon{writer}"].limit_ns or 0
            self._seen(POLICY, "policy", seen, wanted, writer)

    def remade(self) -> None:
        writer = self._beacon()
        wanted = self.beacons.at_least(writer, REMADE)
        for found in self.registry.collections(f"beacon/{writer}/remade"):
            self._seen(REMADE, "collection", int(found.doc), wanted, writer)

    def turned(self) -> None:
        """Look up by name, with a Butler that has looked it up before, what is registered anew."""
        writer = self._beacon()
        name, place = f"turned{writer}", f"quanta/{writer}"
        before = self.beacons.at_least(writer, TYPE)
        kind = self.registry.dataset_type(name)
        number = kind.dimensions[1].removeprefix("v")
        after = self.beacons.at_least(writer, TYPE)
        # in force was one from `before` to the one that is being made after `after`
        if int(number) not in {v % 50 for v in range(before, after + 2)}:
            self.fault("stale", f"{name} is {kind.dimensions} after {before}, before {after}")
        keys = {**CAMERA, kind.dimensions[1]: 1}
        try:
            self.butler.find_dataset(name, keys, collections=place)
        except RegistryError as error:
            now = self.registry.dataset_type(name)
            if now == kind:
                self.fault("stale", f"{name} is {kind.dimensions}, and refused {keys}: {error}")


def read(root: str, number: int, seconds: float, seed: int) -> None:
    """Work as a reader; started as a process."""
    reader = Reader(root, number, seed)
    print("ready", flush=True)  # noqa: T201
    r = reader
    reader.work(
        seconds,
        [
            (20, r.find, ()),
            (8, r.get, (MissingDataset, MissingFile)),
            (10, r.query, ()),
            (4, r.stream, ()),
            (4, r.count, ()),
            (3, r.table, ()),
            (3, r.data_ids, ()),
            (10, r.calibrations, ()),
            (4, r.explain, ()),
            (6, r.ancestors, ()),
            (1, r.report, ()),
            (6, r.policy, ()),
            (6, r.remade, ()),
            (6, r.turned, (UnknownDatasetType, UnknownCollection)),
        ],
    )
