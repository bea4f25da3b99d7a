"""What does a writer do, and what does it remember of it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry import DatasetType, Timespan, provenance
from registry.errors import (
    CollectionTypeError,
    Conflict,
    DatasetExists,
    DefinitionConflict,
    InUse,
    UnknownCollection,
    UnknownDatasetType,
    ValidityOverlap,
)
from registry.identity import DataId, uuid7
from registry.provenance import Outcome, QuantumRow
from tests.endurance.world import (
    CAMERA,
    FRAMES,
    N_EXPOSURES,
    N_PUT,
    N_RUNS,
    N_WRITERS,
    NIGHTS,
    SHARED,
    Worker,
    exposure,
)

if TYPE_CHECKING:
    from pathlib import Path

    from registry.identity import DatasetRef

US = 1000
N_CHAINS, N_POOL = 3, 3
TYPE, POLICY, REMADE = range(3)
"""The definitions of which a writer tells the version."""


class Writer(Worker):
    """A process that changes everything that can be changed."""

    def __init__(self, root: str, number: int, seed: int) -> None:
        super().__init__(root, f"writer{number}", number, seed, writeable=True)
        self.registry = self.butler.registry
        self.mine: list[DatasetRef] = []
        self.flats: list[DatasetRef] = []
        self.version = 0
        self.n_quanta = 0
        self.frames: list[Path] = sorted((self.folder / FRAMES).iterdir())
        self.begin()

    def begin(self) -> None:
        """Make what belongs to this writer alone."""
        me = self.number
        for name in (f"flats/{me}", f"quanta/{me}"):
            self.butler.collections.register(name)
        ids = [{**CAMERA, "detector": d, "day_obs": n} for d in (me, SHARED) for n in NIGHTS]
        self.flats = self.registry.insert_datasets("flat", ids, f"flats/{me}")
        for ref in self.flats:
            self.note("stored", id=ref.id.hex, files=False)
        kind = DatasetType(f"beacon{me}", ("instrument", "detector"), "StructuredDataDict", True)
        self.registry.register_dataset_type(kind)
        with self.registry.begin() as connection:
            config = provenance.record_config(connection, "a.Config", "", [("a", "1", "int")])
            self.task = provenance.record_task(
                connection, f"quanta/{me}", "reduce", "a.Task", config, []
            )
            self.environment = provenance.record_environment(
                connection, "3.11", "Linux", {"numpy": "2.0", "astropy": "7.0"}
            )

    def _run(self) -> str:
        return f"shared/{self.dice.randrange(N_RUNS)}"

    def _frame(self, detector: int | None = None) -> dict[str, Any]:
        chosen = self.dice.choice((self.number, SHARED)) if detector is None else detector
        return {
            **CAMERA,
            "detector": chosen,
            "exposure": self.dice.randrange(1, N_PUT),
        }

    def _keep(self, refs: list[DatasetRef], *, files: bool) -> None:
        for ref in refs:
            self.note("stored", id=ref.id.hex, files=files)
        self.mine = [*self.mine, *refs][-200:]

    def put(self) -> None:
        keys = self._frame()
        ref = self.butler.put({"by": self.number, **keys}, "frame", keys, run=self._run())
        self._keep([ref], files=True)

    def insert(self) -> None:
        run = self._run()
        first = self.dice.randrange(1, N_EXPOSURES - 20)
        detector = self.dice.choice((self.number, SHARED))
        ids = [{**CAMERA, "detector": detector, "exposure": first + n} for n in range(20)]
        self._keep(self.registry.insert_datasets("row", ids, run), files=False)

    def purge(self) -> None:
        gone = [self.mine.pop(self.dice.randrange(len(self.mine))) for _ in self.mine[:8]]
        for ref in gone:
            self.note("going", id=ref.id.hex)
        self.butler.prune(gone, purge=True)
        for ref in gone:
            self.note("gone", id=ref.id.hex)

    def unstore(self) -> None:
        gone = [ref for ref in self.mine if ref.dataset_type.name == "frame"][-2:]
        self.butler.prune(gone)
        for ref in gone:
            self.note("unstored", id=ref.id.hex)

    def tag(self) -> None:
        refs = {(r.dataset_type.name, r.data_id): r for r in self.dice.sample(self.mine, k=5)}
        self.butler.collections.tag("tags", list(refs.values()))
        for ref in refs.values():
            self.note("tagged", id=ref.id.hex, key=[ref.dataset_type.name, dict(ref.data_id)])

    def untag(self) -> None:
        refs = self.dice.sample(self.mine, k=5)
        self.butler.collections.untag("tags", refs)
        for ref in refs:
            self.note("untagged", id=ref.id.hex)

    def certify(self) -> None:
        ref = self.dice.choice(self.flats)
        begin = self.dice.randrange(1000)
        span = begin * US, (begin + self.dice.randrange(1, 30)) * US
        self.registry.certify("calib", [ref], Timespan(*span))
        self.note("certified", id=ref.id.hex, detector=ref.data_id["detector"], span=span)

    def resolve(self) -> None:
        ref = self.dice.choice([r for r in self.flats if r.data_id["detector"] == SHARED])
        begin = self.dice.randrange(1000)
        span = begin * US, (begin + 100) * US
        self.registry.certify("calib", [ref], Timespan(*span), resolve="latest")
        self.note("certified", id=ref.id.hex, detector=SHARED, span=span)

    def decertify(self) -> None:
        detector = self.dice.choice((self.number, SHARED))
        begin = self.dice.randrange(1000)
        span = begin * US, (begin + self.dice.randrange(1, 100)) * US
        keys = [{**CAMERA, "detector": detector}]
        self.registry.decertify("calib", "flat", Timespan(*span), keys)
        self.note("decertified", detector=detector, span=span)

    def chain(self) -> None:
        name = f"chain/{self.dice.randrange(N_CHAINS)}"
        runs = [f"shared/{n}" for n in range(N_RUNS)]
        children = self.dice.sample(runs, k=self.dice.randrange(1, N_RUNS))
        self.butler.collections.chain(name, children)
        self.note("chained", name=name, children=children)

    def circle(self) -> None:
        """Chain chains to one another, so that circles are tried all the time."""
        one, other = self.dice.sample(range(N_RUNS), k=2)
        self.butler.collections.chain(f"ring/{one}", [f"ring/{other}"])

    def records(self) -> None:
        first = N_EXPOSURES + self.dice.randrange(300)
        rows = [exposure(first + n) for n in range(5)]
        self.registry.insert_dimension_records("exposure", rows, "skip")
        self.note("records", exposures=[r["id"] for r in rows])

    def record(self) -> None:
        row = exposure(N_EXPOSURES + 400 + self.dice.randrange(100))
        self.registry.insert_dimension_records("exposure", [row])
        self.note("new", what_new=f"exposure {row['id']}", n=1)

    def type_pool(self) -> None:
        name = f"pool{self.dice.randrange(N_POOL)}"
        extra = self.dice.choice(((), ("detector",)))
        kind = DatasetType(name, ("instrument", *extra), "StructuredDataDict")
        if self.dice.random() < 0.5:
            new = self.registry.register_dataset_type(kind)
            self.note("new", what_new=f"type {name}", n=int(new))
        else:
            self.registry.remove_dataset_type(name)
            self.note("new", what_new=f"type {name}", n=-1)

    def run_pool(self) -> None:
        name = f"pool/{self.dice.randrange(N_POOL)}"
        way = self.dice.random()
        if way < 0.4:
            new = self.butler.collections.register(name)
            self.note("new", what_new=f"collection {name}", n=int(new))
        elif way < 0.7:
            self.butler.collections.remove(name)
            self.note("new", what_new=f"collection {name}", n=-1)
        else:
            refs = self.registry.insert_datasets("row", [self._frame()], name)
            self._keep(refs, files=False)
            self.butler.prune(refs, purge=True)
            self.mine.remove(refs[0])
            self.note("gone", id=refs[0].id.hex)

    def beacon(self) -> None:
        """Change definitions that readers have looked up before; then tell which is in force."""
        me = self.number
        self.version += 1
        self.registry.set_calibration_policy(f"beacon{me}", "nearest", limit_ns=self.version)
        self.beacons.raise_to(me, POLICY, self.version)
        name = f"beacon/{me}/remade"
        if self.version > 1:
            self.butler.collections.remove(name)
            self.registry.remove_dataset_type(f"turned{me}")
        self.butler.collections.register(name, "TAGGED", doc=str(self.version))
        self.beacons.raise_to(me, REMADE, self.version)
        keys = ("instrument", f"v{self.version % 50}")
        kind = DatasetType(f"turned{me}", keys, "StructuredDataDict")
        self.registry.register_dataset_type(kind)
        ref = self.butler.put(
            {}, f"turned{me}", {**CAMERA, keys[1]: self.version}, run=f"quanta/{me}"
        )
        self.butler.prune([ref], purge=True)
        self.beacons.raise_to(me, TYPE, self.version)

    def quantum(self) -> None:
        source = self.dice.choice(self.flats)
        self.n_quanta += 1
        pixel = self.number + (N_WRITERS + 1) * self.n_quanta
        data_id = DataId.of(CAMERA, healpix=pixel)
        key = uuid7()
        row = QuantumRow(key, data_id, (("flat", source.id),))
        database = self.registry.database
        database.transact(provenance.insert_quanta, self.task, [row])
        database.transact(provenance.start, key, self.environment, "host", 42)
        outcome = Outcome("no_work", 1.0, 1.0, 1, {}, {"n": 1.0})
        database.transact(provenance.finish, key, outcome)
        self.note("quantum", id=key.hex)

    def ingest(self) -> None:
        run = f"raw/{self.dice.randrange(50)}"
        taken = self.butler.ingest_raws(self.frames, run=run)
        for _, error in taken.errors:
            self.fault("ingest", repr(error))
        for ref in taken.refs:
            self.note("stored", id=ref.id.hex, files=True)


def write(root: str, number: int, seconds: float, seed: int) -> None:
    """Work as a writer; started as a process."""
    writer = Writer(root, number, seed)
    print("ready", flush=True)  # noqa: T201
    w = writer
    few = (ValueError,)  # of a sample, when it has not yet made enough
    writer.work(
        seconds,
        [
            (20, w.put, (DatasetExists,)),
            (10, w.insert, (DatasetExists,)),
            (6, w.purge, few),
            (2, w.unstore, ()),
            (8, w.tag, few),
            (4, w.untag, few),
            (10, w.certify, (ValidityOverlap,)),
            (2, w.resolve, ()),
            (5, w.decertify, ()),
            (6, w.chain, ()),
            (4, w.circle, (CollectionTypeError,)),
            (4, w.records, ()),
            (3, w.record, (Conflict, DefinitionConflict)),
            (5, w.type_pool, (DefinitionConflict, UnknownDatasetType, InUse)),
            (8, w.run_pool, (DatasetExists, InUse, UnknownCollection)),
            (4, w.beacon, ()),
            (4, w.quantum, ()),
            (1, w.ingest, ()),
        ],
    )
