"""How long does the history of one product take on a graph of a million quanta?

One database at a time, with the plan of the walk::

    python -m pytest tests/benchmarks/test_provenance.py --timed -s -p no:xdist --db postgresql

Without ``--timed`` a thousand quanta are made, to see that the answers are right.  The graph is
generated in SQL: per exposure a raw frame, a calexp (from the raw frame and three of a thousand
calibrations, each made from 30 raw frames) and its sources, coadds of 12 calexps; then one quantum
that reads 10,000 calexps, and a chain in which each quantum reads what the one before made.
"""

from __future__ import annotations

import statistics
import time
import uuid
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import DatasetType
from registry.database import analyze
from registry.provenance import graphs, record_config, record_environment, record_task
from registry.schema import provenance as schema
from registry.schema.identity import data_id, dataset

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry import Registry

QUANTA = 1_000_000
SMALL = 1_000
PER_CALIBRATION = 30
PER_COADD = 12

# Kinds of datasets, and of the quanta that make them, are told apart by the leading digits of keys.
RAW, CALIBRATION, CALEXP, SOURCES, COADD, WIDE, CHAIN = (n * 10**9 for n in range(1, 8))


class Sizes:
    """How many of each kind make the wanted number of quanta."""

    def __init__(self, quanta: int) -> None:
        self.chain = min(5_000, quanta // 20)
        self.calibrations = min(999, quanta // 20) // 3 * 3
        left = quanta - self.chain - self.calibrations - 1
        self.coadds = left // (2 * PER_COADD + 1)
        self.calexps = (left - self.coadds) // 2
        self.sources = left - self.coadds - self.calexps
        self.wide = min(10_000, self.calexps)
        self.raws = max(self.calexps, PER_CALIBRATION * self.calibrations)


class Dialect:
    """The three ways to count, to make a UUID of a number, and to leave keys unchecked."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self.name = connection.dialect.name

    def numbers(self, n: int) -> str:
        if self.name == "postgresql":
            return f"(SELECT generate_series(0, {n - 1}) AS n) AS s"
        if self.name == "sqlite":
            return (
                "(WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c "  # noqa: S608
                f"WHERE n < {n - 1}) SELECT n FROM c) AS s"
            )
        return f"(SELECT seq AS n FROM seq_0_to_{n - 1}) AS s"  # noqa: S608

    def key(self, number: str) -> str:
        if self.name == "postgresql":
            return f"CAST(lpad(to_hex(CAST({number} AS bigint)), 32, '0') AS uuid)"
        if self.name == "sqlite":
            return f"printf('%032x', {number})"
        return f"CAST(lpad(hex({number}), 32, '0') AS UUID)"

    def unchecked(self) -> None:
        if self.name == "postgresql":
            self.run("SET LOCAL session_replication_role = replica")
        elif self.name != "sqlite":
            self.run("SET SESSION foreign_key_checks = 0, unique_checks = 0")

    def checked(self) -> None:
        if self.name not in {"postgresql", "sqlite"}:
            self.run("SET SESSION foreign_key_checks = 1, unique_checks = 1")

    def run(self, statement: str) -> None:
        self.connection.execute(sa.text(statement.replace(":", r"\:")))


def generate(registry: Registry, sizes: Sizes) -> None:
    """Fill a new registry."""
    registry.insert_dimension_records("instrument", [{"name": "Cam", "detector_max": 1}])
    registry.register_collection("run")
    kinds = ("raw", "calibration", "calexp", "sources", "coadd", "wide", "chain")
    for kind in kinds:
        registry.register_dataset_type(
            DatasetType(kind, ("instrument", "healpix"), "StructuredDataDict")
        )
    with registry.begin() as connection:
        d = Dialect(connection)
        config = record_config(connection, "a.Config", "", [])
        software = record_environment(connection, "3.11.7", "Linux", {"numpy": "2.0"})
        task = {
            k: record_task(connection, "run", k, f"a.{k}", config, []) for k in kinds if k != "raw"
        }
        d.unchecked()
        everything = max(sizes.raws, sizes.calexps)
        d.run(
            f"INSERT INTO data_id (id, instrument, healpix) SELECT n + 1, 'Cam', n "  # noqa: S608
            f"FROM {d.numbers(everything)}"
        )

        def datasets(kind: str, base: int, n: int) -> None:
            d.run(
                "INSERT INTO dataset (id, dataset_type_id, run_id, data_id, ingest_date_tai_ns) "  # noqa: S608
                f"SELECT {d.key(f'{base} + n')}, t.id, c.id, n + 1, 0 FROM {d.numbers(n)}, "
                f"dataset_type AS t, collection AS c WHERE t.name = '{kind}' AND c.name = 'run'"
            )

        def quanta(kind: str, base: int, n: int) -> None:
            d.run(
                "INSERT INTO quantum (id, task_id, data_id, state, attempt, environment_id, "  # noqa: S608
                "started_at, finished_at, host, pid) "
                f"SELECT {d.key(f'{base} + n')}, {task[kind]}, n + 1, 'done', 1, {software}, "
                f"'2026-01-01 00:00:00', '2026-01-01 00:00:01', 'host', 1 FROM {d.numbers(n)}"
            )
            d.run(
                "INSERT INTO quantum_output (dataset_id, quantum_id, connection) "  # noqa: S608
                f"SELECT {d.key(f'{base} + n')}, {d.key(f'{base} + n')}, 'out' FROM {d.numbers(n)}"
            )

        def reads(base: int, n: int, source: str, where: str = "1 = 1") -> None:
            d.run(
                "INSERT INTO quantum_input (quantum_id, dataset_id, connection) "  # noqa: S608
                f"SELECT {d.key(f'{base} + n')}, {d.key(source)}, 'in' FROM {d.numbers(n)} "
                f"WHERE {where}"
            )

        datasets("raw", RAW, sizes.raws)
        for kind, base, n in (
            ("calibration", CALIBRATION, sizes.calibrations),
            ("calexp", CALEXP, sizes.calexps),
            ("sources", SOURCES, sizes.sources),
            ("coadd", COADD, sizes.coadds),
            ("wide", WIDE, 1),
            ("chain", CHAIN, sizes.chain),
        ):
            datasets(kind, base, n)
            quanta(kind, base, n)
        third = sizes.calibrations // 3
        for i in range(PER_CALIBRATION):
            reads(CALIBRATION, sizes.calibrations, f"{RAW} + n * {PER_CALIBRATION} + {i}")
        reads(CALEXP, sizes.calexps, f"{RAW} + n")
        for i in range(3):
            reads(CALEXP, sizes.calexps, f"{CALIBRATION} + {i * third} + n % {third}")
        reads(SOURCES, sizes.sources, f"{CALEXP} + n % {sizes.calexps}")
        for i in range(PER_COADD):
            reads(COADD, sizes.coadds, f"{CALEXP} + (n * {PER_COADD} + {i}) % {sizes.calexps}")
        d.run(
            "INSERT INTO quantum_input (quantum_id, dataset_id, connection) "  # noqa: S608
            f"SELECT {d.key(str(WIDE))}, {d.key(f'{CALEXP} + n')}, 'in' "
            f"FROM {d.numbers(sizes.wide)}"
        )
        reads(CHAIN, sizes.chain, f"{CHAIN} + n - 1", "n > 0")
        d.checked()
        analyze(
            connection,
            schema.quantum,
            schema.quantum_input,
            schema.quantum_output,
            dataset,
            data_id,
        )


def key(base: int, n: int = 0) -> uuid.UUID:
    return uuid.UUID(int=base + n)


def measured(
    question: Callable[[uuid.UUID], Any], ids: list[uuid.UUID]
) -> tuple[float, float, int]:
    """Give median and worst time [ms], and the size of the last answer."""
    times = []
    answer: Any = ()
    for i in ids:
        began = time.perf_counter()
        answer = question(i)
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times), max(times), len(answer)


def test_history_of_one_product(registry: Registry, backend: str, timed: bool) -> None:
    quanta = QUANTA if timed else SMALL
    sizes = Sizes(quanta)
    began = time.perf_counter()
    generate(registry, sizes)
    print(f"\n{backend}: {quanta:,} quanta generated in {time.perf_counter() - began:.0f} s")
    up, down = registry.provenance.ancestors, registry.provenance.descendants
    spread = [sizes.coadds * i // 40 for i in range(40)]
    third = sizes.calibrations // 3
    middle = sizes.chain // 2
    questions: list[tuple[str, Callable[[uuid.UUID], Any], list[uuid.UUID], int]] = [
        (
            "history of sources",
            up,
            [key(SOURCES, n) for n in spread],
            1 + 4 + 3 * PER_CALIBRATION,
        ),
        (
            "history of a coadd",
            up,
            [key(COADD, n) for n in spread],
            PER_COADD * 5 + 3 * PER_COADD * PER_CALIBRATION,
        ),
        ("products of a raw frame", down, [key(RAW, sizes.raws - 1)] * 5, -1),
        ("products of a calibration", down, [key(CALIBRATION, n) for n in range(5)], -1),
        (
            f"wide: {sizes.wide:,} inputs, one step",
            lambda i: up(i, depth=1),
            [key(WIDE)] * 5,
            sizes.wide,
        ),
        (
            "wide: its whole history",
            up,
            [key(WIDE)] * 3,
            sizes.wide * 5 + 3 * min(third, sizes.wide) * PER_CALIBRATION,
        ),
        ("deep: chain of 40", up, [key(CHAIN, 40)] * 5, 40),
        ("deep: half the chain", up, [key(CHAIN, middle)] * 5, middle),
        (
            "deep: half the chain, downwards",
            down,
            [key(CHAIN, middle)] * 5,
            sizes.chain - 1 - middle,
        ),
    ]
    print(f"{'question':34} {'median ms':>10} {'worst ms':>10} {'steps':>8}")
    for name, question, ids, expected in questions:
        if timed:
            question(ids[0])
        median, worst, steps = measured(question, ids if timed else ids[:1])
        print(f"{name:34} {median:10.1f} {worst:10.1f} {steps:8,}")
        assert expected in {-1, steps}, name
    with registry.read() as connection:
        statement = graphs.reached_sql(connection, [key(COADD)], up=True)
        for line in explained(connection, statement):
            print("   ", line)


def explained(connection: sa.Connection, statement: sa.Select[Any]) -> list[str]:
    """Show the plan of a statement."""
    word = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    compiled = statement.compile(connection, compile_kwargs={"render_postcompile": True})
    parameters = tuple(compiled.params[p] for p in compiled.positiontup or ()) or compiled.params
    rows = connection.exec_driver_sql(f"{word} {compiled}", parameters).all()
    return [" | ".join(str(c) for c in row) for row in rows]
