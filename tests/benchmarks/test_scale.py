"""Do questions with answers of one size take the same time in a registry a hundred times as large?

    python -m pytest tests/benchmarks/test_scale.py --timed -s -p no:xdist --db postgresql

asks them of 100,000 and of 10,000,000 datasets, which are made in SQL, and prints medians. Without
``--timed`` both are small, to see that the answers are right.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import analyze
from registry.schema.collections import collection
from registry.schema.identity import data_id, dataset, dataset_type
from tests.benchmarks.test_registry import KIND, N_DETECTORS, observe

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry import Registry
    from tests.databases import Databases

SIZES = (1_000, 100_000)
SMALL_SIZES = (20, 60)
"""Exposures of 100 detectors."""
UUID_OF = {
    "sqlite": lambda key: sa.func.printf("%032x", key),
    "postgresql": lambda key: sa.cast(sa.func.lpad(sa.func.to_hex(key), 32, "0"), sa.Uuid),
    "mariadb": lambda key: sa.func.lpad(sa.func.hex(key), 32, "0"),
}


def fill(registry: Registry, n_exposures: int, backend: str) -> None:
    """Make a dataset for each detector of each exposure."""
    observe(registry, n_exposures)
    registry.register_dataset_type(KIND)
    runs = [f"run{n}" for n in range(5)]
    for name in runs:
        registry.register_collection(name)
    registry.chain("chain", runs)
    with registry.begin() as connection:
        both = sa.text(
            "INSERT INTO data_id (instrument, detector, exposure) "
            "SELECT e.instrument, d.id, e.id FROM exposure e CROSS JOIN detector d"
        )
        connection.execute(both)
        rows = sa.select(
            sa.type_coerce(UUID_OF[backend](data_id.c.id), dataset.c.id.type),
            sa.select(dataset_type.c.id).scalar_subquery(),
            sa.select(collection.c.id).where(collection.c.name == runs[-1]).scalar_subquery(),
            data_id.c.id,
            sa.literal(0),
        )
        connection.execute(sa.insert(dataset).from_select([c.name for c in dataset.c], rows))
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


def test_a_larger_registry_answers_as_fast(databases: Databases, backend: str, timed: bool) -> None:
    from registry import Registry

    medians: dict[str, list[float]] = {}
    for n_exposures in SIZES if timed else SMALL_SIZES:
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
    for name, (small, large) in medians.items():
        print(f"  {name:<34} {small:8.2f} ms {large:8.2f} ms")
