"""Do questions with answers of one size take the same time in a registry a hundred times as large?

    python -m pytest tests/benchmarks/test_scale.py --timed -s -p no:xdist --db postgresql

asks them of 100,000 and of 10,000,000 datasets, which are made in SQL, and prints medians;
``--millions 50`` asks them of 50,000,000. Without ``--timed`` both are small, to see that the
answers are right. However many there are, no question may read a large table from end to end.
"""

from __future__ import annotations

import re
import statistics
import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import Timespan
from registry.database import analyze
from registry.identity import DatasetType
from registry.schema.collections import collection
from registry.schema.identity import data_id, dataset, dataset_type
from tests.benchmarks.test_registry import KIND, N_DETECTORS, observe

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry import Registry
    from tests.databases import Databases

SMALL_SIZES = (20, 60)
"""Exposures of 100 detectors."""
BIAS = DatasetType("bias", ("instrument", "detector"), "Exposure", is_calibration=True)
UUID_OF = {
    "sqlite": lambda key: sa.func.printf("%032x", key),
    "postgresql": lambda key: sa.cast(sa.func.lpad(sa.func.to_hex(key), 32, "0"), sa.Uuid),
    "mariadb": lambda key: sa.func.lpad(sa.func.hex(key), 32, "0"),
}
BULK = {
    "sqlite": ("PRAGMA foreign_keys = OFF", "PRAGMA cache_size = -1000000"),
    "postgresql": (
        "SET session_replication_role = replica",
        "SET work_mem = '256MB'",
        "SET maintenance_work_mem = '1GB'",
    ),
    "mariadb": ("SET foreign_key_checks = OFF",),
}
"""What is made is sound; to look each of its references up would take most of the time."""
BOTH = """
    INSERT INTO data_id (instrument, detector, exposure)
    SELECT e.instrument, d.id, e.id
    FROM (SELECT id FROM detector ORDER BY CAST(id AS CHAR(20))) AS d
    CROSS JOIN (SELECT instrument, id FROM exposure ORDER BY CAST(id AS CHAR(20))) AS e
"""
"""Every detector of every exposure, in the order of the texts by which a data ID is unique."""
EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN ", "mariadb": "EXPLAIN "}
SEQUENTIAL = re.compile(
    r"SCAN (dataset|data_id|i|exposure_record)\b|Seq Scan on (dataset|data_id|exposure)\b"
)
MANY = 20_000
"""Rows that no question needs to look at."""


def fill(registry: Registry, n_exposures: int, backend: str) -> None:
    """Make a dataset for each detector of each exposure."""
    observe(registry, n_exposures)
    registry.register_dataset_type(KIND)
    runs = [f"run{n}" for n in range(5)]
    for name in runs:
        registry.register_collection(name)
    registry.chain("chain", runs)
    registry.register_collection("calib", "CALIBRATION")
    registry.register_dataset_type(BIAS)
    biases = [{"instrument": "Cam", "detector": d} for d in range(N_DETECTORS)]
    registry.certify("calib", registry.insert_datasets(BIAS, biases, runs[0]), Timespan(0, 10**18))
    (by_exposure,) = (i for i in data_id.indexes if i.name == "ix_data_id_exposure")
    engine = sa.create_engine(registry.database.engine.url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        for setting in BULK[backend]:
            connection.exec_driver_sql(setting)
        if backend != "mariadb":  # where a foreign key needs it
            by_exposure.drop(connection)
        connection.exec_driver_sql(BOTH)
        rows = sa.select(
            sa.type_coerce(UUID_OF[backend](data_id.c.id), dataset.c.id.type),
            sa.select(dataset_type.c.id).where(dataset_type.c.name == KIND.name).scalar_subquery(),
            sa.select(collection.c.id).where(collection.c.name == runs[-1]).scalar_subquery(),
            data_id.c.id,
            sa.literal(0),
        ).where(data_id.c.exposure.is_not(None))
        connection.execute(sa.insert(dataset).from_select([c.name for c in dataset.c], rows))
        if backend != "mariadb":
            by_exposure.create(connection)
        connection.commit()
    with registry.begin() as connection:
        analyze(connection, data_id, dataset)


def questions(registry: Registry) -> dict[str, tuple[int, Callable[[int], object]]]:
    """Name questions whose answers do not grow with the registry, and how often each is asked."""

    def key(i: int) -> dict[str, Any]:
        return {"instrument": "Cam", "detector": i * 37 % N_DETECTORS, "exposure": i * 7 % 20}

    ten = "exposure IN (3..12)"
    return {
        "find one in a run": (200, lambda i: registry.find_dataset(KIND, key(i), "run4")),
        "find one in a chain of 5": (200, lambda i: registry.find_dataset(KIND, key(i), "chain")),
        "expand a data ID": (200, lambda i: registry.expand([key(i)])),
        "calibration for one raw": (
            200,
            lambda i: registry.find_calibrations(BIAS, [(key(i), i * 10**9)], "calib"),
        ),
        "1,000 by a where, in a run": (
            5,
            lambda _: registry.query_datasets(KIND, "run4", where=ten),
        ),
        "1,000 by a where, in a chain": (
            5,
            lambda _: registry.query_datasets(KIND, "chain", where=ten),
        ),
        "the same counted by filter": (
            5,
            lambda _: registry.count_datasets(KIND, "run4", where=ten, by=["physical_filter"]),
        ),
    }


def reads_whole(registry: Registry, backend: str, ask: Callable[[int], object]) -> list[str]:
    """Ask a question, and list the large tables that a plan of its statements reads whole."""
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    engine = registry.database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    ask(1)
    sa.event.remove(engine, "before_cursor_execute", note)
    assert asked
    with engine.connect() as connection:
        plans = [
            connection.exec_driver_sql(EXPLAIN[backend] + statement, parameters).all()
            for statement, parameters in asked
            if statement.lstrip().startswith(("SELECT", "WITH"))
        ]
    rows = [row for plan in plans for row in plan]
    if backend == "mariadb":
        return [str(row) for row in rows if (row.rows or 0) > MANY]
    return [str(row) for row in rows if SEQUENTIAL.search(str(row))]


def test_a_larger_registry_answers_as_fast(
    databases: Databases, backend: str, timed: bool, millions: int
) -> None:
    from registry import Registry

    medians: dict[str, list[float]] = {}
    sizes = (1_000, millions * 1_000_000 // N_DETECTORS)
    for n_exposures in sizes if timed else SMALL_SIZES:
        with databases.migrated() as url, Registry.connect(url) as registry:
            began = time.perf_counter()
            fill(registry, n_exposures, backend)
            seconds = time.perf_counter() - began
            print(f"\n{backend}: {n_exposures * N_DETECTORS} datasets made in {seconds:.0f} s")
            assert len(registry.query_datasets(KIND, "chain", where="exposure IN (3..12)")) == 1000
            for name, (often, ask) in questions(registry).items():
                times = []
                for i in range(often if timed else 1):
                    began = time.perf_counter()
                    ask(i)
                    times.append(time.perf_counter() - began)
                medians.setdefault(name, []).append(1000 * statistics.median(times))
                if n_exposures > 1_000:
                    assert not reads_whole(registry, backend, ask), name
    for name, (small, large) in medians.items():
        print(f"  {name:<34} {small:8.2f} ms {large:8.2f} ms")
