"""Is a put in a transaction what it is without one, though its row is written later?

Puts that wait to be recorded together must be there for whoever asks, fail where they would fail
alone, and leave nothing when what they are part of is undone.
"""

from __future__ import annotations

import contextlib
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backbone.audit import check
from butler import Butler
from registry import DatasetType
from registry.database import writes_within
from registry.errors import (
    DatasetExists,
    DefinitionConflict,
    SkyspineError,
    UnknownDatasetType,
    UnknownDimensionValue,
)
from registry.schema.collections import collection
from registry.schema.files import file, replica
from registry.schema.identity import dataset
from tests.butler.putting import frame, put
from tests.nursery import moments_to_die

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.nursery import Nursery

FRAME = DatasetType("frame", ("instrument", "detector", "exposure"), "StructuredDataDict")
FLAT = DatasetType("flat", ("instrument", "detector"), "StructuredDataDict", is_calibration=True)
TARGET = DatasetType("of_target", ("instrument", "target"), "StructuredDataDict")
RUNS = ("a", "b")
N_DETECTORS = 40
UNKNOWN = 99
WHOLE = [*range(6), *range(8, 12)]


def day_of(instrument: str, n: int) -> dict[str, Any]:
    return {
        "instrument": instrument,
        "id": n,
        "obs_id": f"{instrument}-{n}",
        "day_obs": 20220920,
        "begin_tai_ns": n * 10**10,
        "end_tai_ns": n * 10**10 + 1,
        "observation_type": "science",
        "exposure_time": 1.0,
    }


def observe(butler: Butler, instrument: str, n_detectors: int = 3) -> None:
    """Register a camera with detectors, and exposures 1 and 2."""
    insert = butler.registry.insert_dimension_records
    insert("instrument", [{"name": instrument, "detector_max": n_detectors}])
    insert(
        "detector",
        [{"instrument": instrument, "id": n, "full_name": f"{n}"} for n in range(n_detectors)],
    )
    night = {"instrument": instrument, "id": 20220920, "begin_tai_ns": 0, "end_tai_ns": 10**15}
    insert("day_obs", [night])
    insert("exposure", [day_of(instrument, n) for n in (1, 2)])


@pytest.fixture
def root(tmp_path: Path, database_url: str) -> Path:
    """Folder of a repository with one camera."""
    with Butler.create(tmp_path / "repo", database_url) as butler:
        observe(butler, "Cam", N_DETECTORS)
        for kind in (FRAME, FLAT, TARGET):
            butler.registry.register_dataset_type(kind)
        butler.collections.register("a")
    return tmp_path / "repo"


@pytest.fixture
def butler(root: Path) -> Iterator[Butler]:
    with Butler(root, run="a", writeable=True) as opened:
        yield opened


def detectors(butler: Butler) -> list[int]:
    found = butler.query_datasets("frame", collections="*")
    return sorted(int(ref.data_id["detector"]) for ref in found)


def left(root: Path) -> list[str]:
    """Name what lies in the repository and belongs to no dataset, or belongs to one and is gone."""
    with Butler(root) as butler:
        report = check(butler.registry.database, root, grace=0.0, checksums=True)
    return sorted(finding.problem for finding in report.findings)


@contextlib.contextmanager
def statements(butler: Butler) -> Iterator[list[str]]:
    """Gather what is executed."""
    told: list[str] = []

    def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        told.append(statement)

    engine = butler.registry.database.engine
    sa.event.listen(engine, "before_cursor_execute", executed)
    yield told
    sa.event.remove(engine, "before_cursor_execute", executed)


class Side:
    """One of two that do the same, each with its own camera and runs, in one repository."""

    def __init__(self, butler: Butler, name: str) -> None:
        self.butler, self.name = butler, name
        observe(butler, name)

    def see(self, step: Sequence[Any]) -> Any:
        """Do a step, and tell what is seen of it."""
        verb, *arguments = step
        try:
            return getattr(self, verb)(*arguments)
        except (SkyspineError, KeyError) as error:
            said, _, _others = str(error).partition(" Did you mean")
            return type(error).__name__, said.replace(self.name, "?")

    def _key(self, detector: int, exposure: int) -> dict[str, Any]:
        return {"instrument": self.name, "detector": detector, "exposure": exposure}

    def _run(self, run: str) -> str:
        return f"{self.name}/{run}"

    def put(self, run: str, detector: int, exposure: int) -> Any:
        key = self._key(detector, exposure)
        ref = self.butler.put({"in": run, **key}, "frame", key, run=self._run(run))
        return ref.dataset_type.name, ref.run.replace(self.name, "?"), detector, exposure

    def put_flat(self, run: str, detector: int) -> Any:
        key = {"instrument": self.name, "detector": detector}
        return self.butler.put({"in": run}, FLAT, key, run=self._run(run)).dataset_type

    def put_other(self, run: str, what: str) -> Any:
        if what == "target":
            key: dict[str, Any] = {"instrument": self.name, "target": "M31"}
            return self.butler.put({}, "of_target", key, run=self._run(run)).dataset_type
        kind: Any = {
            "unknown": "nothing",
            "other": DatasetType("frame", ("instrument", "detector"), "StructuredDataDict"),
        }[what]
        return self.butler.put({}, kind, instrument=self.name, detector=1, run=self._run(run)).id

    def get(self, run: str, detector: int, exposure: int) -> Any:
        got = self.butler.get("frame", self._key(detector, exposure), collections=self._run(run))
        return {**got, "instrument": "?"}

    def exists(self, run: str, detector: int, exposure: int) -> Any:
        key = self._key(detector, exposure)
        return self.butler.exists("frame", key, collections=self._run(run))

    def query(self) -> Any:
        found = self.butler.query_datasets("frame", collections=f"{self.name}/*")
        return sorted((r.run[-1], r.data_id["detector"], r.data_id["exposure"]) for r in found)

    def rows(self) -> Any:
        asked = (
            sa.select(sa.func.count(dataset.c.id), sa.func.count(replica.c.file_id))
            .join_from(dataset, collection, collection.c.id == dataset.c.run_id)
            .outerjoin(file, file.c.dataset_id == dataset.c.id)
            .outerjoin(replica, replica.c.file_id == file.c.id)
            .where(collection.c.name.startswith(self.name))
        )
        with self.butler.registry.read() as connection:
            return tuple(connection.execute(asked).one())

    def prune(self, run: str, exposure: int, purge: bool) -> Any:
        where = f"instrument = '{self.name}' AND exposure = {exposure}"
        found = self.butler.query_datasets("frame", collections=self._run(run), where=where)
        self.butler.prune(found, purge=purge)
        return len(found)

    def register(self, run: str) -> Any:
        return self.butler.collections.register(self._run(run))

    def see_more(self, exposure: int) -> Any:
        records = [day_of(self.name, exposure)]
        return self.butler.registry.insert_dimension_records("exposure", records, "skip")

    def part(self, savepoint: bool, steps: Sequence[Any], fails: bool) -> Any:
        seen: list[Any] = []
        with contextlib.suppress(ZeroDivisionError), contextlib.ExitStack() as stack:
            connection = stack.enter_context(self.butler.transaction())
            if savepoint:
                stack.enter_context(connection.begin_nested())
            seen += map(self.see, steps)
            if fails:
                raise ZeroDivisionError
        return seen


run = st.sampled_from(RUNS)
detector = st.sampled_from([0, 1, 2, 2, UNKNOWN])
exposure = st.sampled_from([1, 1, 2, 3])
puts = st.tuples(st.just("put"), run, detector, exposure)
step = st.one_of(
    puts,
    puts,
    puts,
    st.tuples(st.just("put_flat"), run, detector),
    st.tuples(st.just("put_other"), run, st.sampled_from(["target", "unknown", "other"])),
    st.tuples(st.sampled_from(["get", "exists"]), run, detector, exposure),
    st.tuples(st.sampled_from(["query", "rows"])),
    st.tuples(st.just("prune"), run, exposure, st.booleans()),
    st.tuples(st.just("register"), run),
    st.tuples(st.just("see_more"), st.just(3)),
)
part = st.tuples(st.just("part"), st.booleans(), st.lists(step, max_size=6), st.booleans())
steps = st.lists(st.one_of(step, step, step, part), min_size=4, max_size=24)
numbers = itertools.count()


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=steps, first=st.booleans())
def test_each_step_sees_what_it_sees_alone(
    steps: list[Any], first: bool, butler: Butler, root: Path
) -> None:
    n = next(numbers)
    alone, together = Side(butler, f"Alone{n}"), Side(butler, f"Joint{n}")

    def do(side: Side) -> Any:
        around = butler.transaction() if side is together else contextlib.nullcontext()
        with around:
            seen = [side.see(each) for each in steps]
        return *seen, side.query(), side.rows()

    sides = (alone, together) if first else (together, alone)
    seen = {side.name: do(side) for side in sides}
    assert seen[together.name] == seen[alone.name]
    for ref in butler.query_datasets("frame", collections=[f"{together.name}/*"]):
        with contextlib.suppress(SkyspineError):  # unstored
            assert butler.get(ref)["detector"] == ref.data_id["detector"]
    assert list(root.rglob("*.part")) == []


def test_many_are_recorded_by_few_statements(butler: Butler) -> None:
    put(butler, *range(10))
    with statements(butler) as told, butler.transaction():
        put(butler, *range(10, N_DETECTORS))
    assert detectors(butler) == list(range(N_DETECTORS))
    assert len(told) < (N_DETECTORS - 10) * 3 / 2


def test_what_waits_is_refused_where_it_is_put(butler: Butler, root: Path) -> None:
    put(butler, *range(20))
    with butler.transaction():
        put(butler, *range(20, 35))
        for there in (7, 30):
            with pytest.raises(DatasetExists, match=f"detector: {there}"):
                put(butler, there)
        with pytest.raises(UnknownDimensionValue, match=f"detector '{UNKNOWN}'"):
            put(butler, UNKNOWN)
        with pytest.raises(UnknownDatasetType, match="nothing"):
            butler.put({}, "nothing", instrument="Cam")
        put(butler, 35)
    assert detectors(butler) == list(range(36))
    assert left(root) == []


def test_they_do_not_wait_without_bounds(butler: Butler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("butler.pending._MOST", 4)
    with butler.transaction():
        put(butler, *range(10))
    assert detectors(butler) == list(range(10))


def test_who_holds_the_connection_sees_them(butler: Butler) -> None:
    asked = sa.select(sa.func.count(dataset.c.id))
    with butler.transaction() as connection:
        for n in range(5):
            put(butler, n)
            assert connection.execute(asked).scalar_one() == n + 1
            put(butler, n + 10)
            sql = "SELECT count(*) FROM file"
            assert connection.exec_driver_sql(sql).scalar_one() == n + 2
            put(butler, n + 20)
            connection.execute(sa.delete(replica).where(replica.c.file_id < 0))
            connection.execute(sa.delete(file).where(file.c.id < 0))
            butler.prune(butler.query_datasets("frame", data_id=frame(n + 10)), purge=True)
            put(butler, n + 10)
            butler.prune(butler.query_datasets("frame", where=f"detector > {n}"), purge=True)
    assert detectors(butler) == list(range(5))


@pytest.mark.parametrize("savepoint", [False, True])
def test_what_fails_and_is_caught_leaves_nothing(
    butler: Butler, root: Path, *, savepoint: bool
) -> None:
    removed: list[str] = []

    def fails() -> None:
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(butler.transaction())
            if savepoint:
                stack.enter_context(connection.begin_nested())
            put(butler, 2, 3, 4)
            butler.after_commit(lambda: removed.append("never"))
            raise KeyError

    with butler.transaction():
        put(butler, 0, 1)
        with pytest.raises(KeyError):
            fails()
        put(butler, 2, 5)
    assert detectors(butler) == [0, 1, 2, 5]
    assert butler.get("frame", frame(2)) == {"n": 2}
    assert left(root) == []
    assert removed == []


def test_a_put_that_makes_its_type_takes_it_along(butler: Butler) -> None:
    butler.policy.set(dataset_type="made", create=True)
    with butler.transaction():
        with pytest.raises(UnknownDimensionValue):
            butler.put({}, "made", instrument="Cam", detector=UNKNOWN)
        put(butler, 1)
    assert "made" not in {kind.name for kind in butler.registry.dataset_types()}
    assert detectors(butler) == [1]


def test_what_another_puts_meanwhile_is_told(butler: Butler, root: Path, backend: str) -> None:
    """On a server it comes first, and the transaction fails; on SQLite it waits, and fails."""

    def other() -> None:
        with Butler(root, run="a", writeable=True) as another:
            put(another, 2)

    def one(then: Callable[[], object]) -> None:
        with butler.transaction():
            put(butler, 0, 1, 2, 3)
            then()
            put(butler, 4)

    with ThreadPoolExecutor(1) as pool:
        if backend == "sqlite":
            asked = []
            one(lambda: asked.append(pool.submit(other)))
            with pytest.raises(DatasetExists, match="detector: 2"):
                asked[0].result()
            assert detectors(butler) == [0, 1, 2, 3, 4]
        else:

            def meanwhile() -> None:
                pool.submit(other).result()
                with pytest.raises(DatasetExists, match="detector: 2"):
                    detectors(butler)

            with pytest.raises(DatasetExists, match="detector: 2"):
                one(meanwhile)
            assert detectors(butler) == [2]
    assert left(root) == []


def test_a_type_that_is_made_anew_is_not_what_it_was(butler: Butler) -> None:
    other = DatasetType("flat", ("instrument",), "StructuredDataDict")
    with butler.transaction():
        butler.put({}, FLAT, instrument="Cam", detector=0)
        butler.put({}, FLAT, instrument="Cam", detector=1)
        butler.prune(butler.query_datasets("flat"), purge=True)
        butler.registry.remove_dataset_type("flat")
        butler.registry.register_dataset_type(other)
        with pytest.raises((UnknownDatasetType, DefinitionConflict), match="flat"):
            butler.put({}, FLAT, instrument="Cam", detector=2)
        butler.put({}, "flat", instrument="Cam")
    assert [dict(ref.data_id) for ref in butler.query_datasets("flat")] == [{"instrument": "Cam"}]


@pytest.mark.parametrize(
    ("program", "wholes"),
    [("killed", [[], WHOLE]), ("killed_alone", [[], [0], [0, 1], [0, 1, 2]])],
)
def test_what_is_killed_is_there_whole_or_not_at_all(
    butler: Butler, root: Path, nursery: Nursery, program: str, wholes: list[list[int]]
) -> None:
    this = f"tests.butler.putting:{program}"
    status, said = nursery.run(this, str(root), "whole", 0)
    assert status == 0
    assert detectors(butler) == wholes[-1]
    for n, last in enumerate(moments_to_die(int(said[-1]), kills=3)):
        nursery.kill(this, str(root), f"killed/{n}", last)
        found = butler.query_datasets("frame", collections="killed/*")
        assert sorted(int(r.data_id["detector"]) for r in found) in wholes
        assert all(butler.get(ref)["n"] == ref.data_id["detector"] for ref in found)
        butler.prune(found, purge=True)
    assert set(left(root)) <= {"unfinished", "orphan"}
    check(butler.registry.database, root, grace=0.0, repair=True)
    assert left(root) == []


def test_a_put_alone_is_one_statement_where_one_can_hold_others(butler: Butler, root: Path) -> None:
    put(butler, 0)
    with statements(butler) as told:
        put(butler, 1)
    assert len(told) == 1 if writes_within(butler.registry.database.engine) else 5
    butler.put({}, "of_target", instrument="Cam", target="M31", run="new")
    for there in (0, 1):
        with pytest.raises(DatasetExists, match=f"detector: {there}"):
            put(butler, there)
    with pytest.raises(UnknownDimensionValue):
        put(butler, UNKNOWN)
    with pytest.raises(UnknownDatasetType):
        butler.put({}, "nothing", instrument="Cam")
    assert detectors(butler) == [0, 1]
    assert left(root) == []
