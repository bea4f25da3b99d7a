"""How long do calibrations take?  31,248 real ranges are loaded, then looked up, one and many.

``make bench`` prints it on SQLite, ``pytest -s tests/benchmarks/test_calibrations.py`` on all.  The
tests assert results and the use of the index only.
"""

from __future__ import annotations

import gzip
import random
import resource
import statistics
import time
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from registry import Registry, Timespan
from registry.calibrations import read_registry
from registry.errors import ValidityOverlap
from registry.timespan import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.databases import Databases

N_ONE = 200
N_MANY = 10_000
BEGIN, END = parse_time("2003-03-01"), parse_time("2012-10-01")


def milliseconds(verb: Callable[[int], object], n: int) -> float:
    """Give the median time of a verb [ms]."""
    times = []
    for i in range(n):
        began = time.perf_counter()
        verb(i)
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


@pytest.fixture(scope="module")
def loaded(
    databases: Databases, backend: str, test_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    """Registry with all ranges of the CFHT file."""
    packed = test_data / "cfht-megacam-calib-validity" / "calibRegistry.sqlite3.gz"
    path = tmp_path_factory.mktemp("elixir") / "calibRegistry.sqlite3"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with databases.migrated() as url, Registry.connect(url) as registry:
        began = time.perf_counter()
        rows = read_registry(path, "MegaPrime", scale="America/Chicago")
        read = time.perf_counter()
        with pytest.raises(ValidityOverlap) as caught:
            registry.import_calibrations("calib", rows, register=True)
        refused = time.perf_counter()
        done = registry.import_calibrations("calib", rows, register=True, resolve="latest")
        certified = time.perf_counter()
        assert len(caught.value.overlaps) == 2232
        assert (done.n_datasets, done.n_ranges) == (31_248, 30_384)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(
            f"\n{backend}: {len(rows):,} ranges read in {read - began:.2f} s, refused in "
            f"{refused - read:.2f} s, loaded in {certified - refused:.2f} s; {grown:.0f} MB more"
        )
        yield registry


def observations() -> list[tuple[dict[str, Any], int]]:
    """Raw frames of 36 detectors at random times."""
    moments = random.Random(7)
    return [
        ({"instrument": "MegaPrime", "detector": d, "physical_filter": "g", "exposure": n}, at)
        for n in range(N_MANY // 36 + 1)
        for at in [moments.randrange(BEGIN, END)]
        for d in range(1, 37)
    ][:N_MANY]


def test_lookup_of_one_and_many(loaded: Registry, backend: str, timed: bool) -> None:
    asked = observations()
    for selection in ("valid", "nearest"):
        loaded.set_calibration_policy("flat", selection)
        if selection == "valid":
            loaded.remove_calibration_policy("flat")
        many = loaded.find_calibrations("flat", asked, "calib")
        few = asked[:: N_MANY // N_ONE]
        one_by_one = [loaded.find_calibrations("flat", [o], "calib")[0] for o in few]
        assert one_by_one == many[:: N_MANY // N_ONE]
        n_found = sum(ref is not None for ref in many)
        assert n_found == N_MANY if selection == "nearest" else 0 < n_found < N_MANY
        one_ms = milliseconds(
            lambda i, few=few: loaded.find_calibrations("flat", [few[i]], "calib"),  # type: ignore[misc]
            N_ONE if timed else 1,
        )
        many_ms = milliseconds(
            lambda _: loaded.find_calibrations("flat", asked, "calib"), 5 if timed else 1
        )
        print(
            f"\n{backend}, {selection}: one raw {one_ms:.2f} ms, {N_MANY:,} raws {many_ms:.0f} ms"
        )
    loaded.remove_calibration_policy("flat")


PLAN = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN ", "mariadb": "EXPLAIN "}


@pytest.mark.parametrize("n", [1, 100])
def test_each_lookup_is_a_step_into_the_index(loaded: Registry, backend: str, n: int) -> None:
    seen: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "valid_begin_tai_ns <=" in statement:
            seen.append((statement, parameters))

    engine = loaded.database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    loaded.find_calibrations("flat", observations()[:n], "calib")
    sa.event.remove(engine, "before_cursor_execute", note)
    ((statement, parameters),) = seen
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(PLAN[backend] + statement, parameters).all()
    plan = "\n".join(" ".join(str(v) for v in row) for row in rows)
    assert "ix_calibration_lookup" in plan
    whole = {"sqlite": "SCAN one", "postgresql": "Seq Scan on calibration one"}
    assert whole.get(backend, "one ALL") not in plan


def test_decertification_cuts_every_detector(loaded: Registry, backend: str) -> None:
    span = Timespan.parse("2006-01-15", "2006-03-15")
    began = time.perf_counter()
    n = loaded.decertify("calib", "flat", span)
    seconds = time.perf_counter() - began
    asked = [(d, span.begin or 0) for d, _ in observations()[:36]]
    held = set(loaded.find_calibrations("flat", asked, "calib"))
    assert held == {None}
    assert n % 36 == 0
    print(f"\n{backend}: {n} ranges decertified in {1000 * seconds:.0f} ms")
