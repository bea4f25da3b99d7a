"""Are log records stored once, found by what they are about, and pruned?"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from registry import logs, provenance
from registry.errors import UnknownCollection
from registry.expressions import ExpressionError
from registry.identity import uuid7
from registry.schema.logs import log_process, log_record
from tests.registry import observatory

if TYPE_CHECKING:
    import uuid

    from registry import Registry

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
ENTRY = logs.LogEntry(1, NOON, 20, "skyspine.isr", "begun", "isr.py:7 run", "MainThread")


def process() -> logs.LogProcess:
    return logs.LogProcess(
        uuid7(), "node7", 4711, "skyspine run", "me", NOON - dt.timedelta(days=1)
    )


def stored(registry: Registry, *entries: logs.LogEntry, n_dropped: int = 0) -> int:
    """Write records as a process of its own; give its key."""
    with registry.begin() as connection:
        key = logs.register_process(connection, process())
        logs.insert_entries(connection, key, entries, n_dropped)
    return key


def messages(registry: Registry, **asked: Any) -> list[str]:
    return [row["message"] for row in registry.logs.records(**asked)]


@pytest.fixture
def quanta(registry: Registry) -> dict[str, uuid.UUID]:
    """Quanta of two tasks in a run, on two exposures."""
    observatory.fill(registry)
    registry.register_collection("u/run")
    made: dict[str, uuid.UUID] = {}
    with registry.begin() as connection:
        for label, numbers in (("isr", (3, 4)), ("find", (3,))):
            config = provenance.record_config(connection, "some.Config", "", [])
            key = provenance.record_task(connection, "u/run", label, "some.Task", config, [])
            rows = [
                provenance.QuantumRow(uuid7(), observatory.RAW.data_id(observatory.raw_id(n)))
                for n in numbers
            ]
            provenance.insert_quanta(connection, key, rows)
            made |= {f"{label}{n}": row.id for n, row in zip(numbers, rows, strict=True)}
    return made


def test_a_batch_that_is_sent_again_is_stored_once(registry: Registry) -> None:
    who = process()
    first = [replace(ENTRY, number=n, message=f"{n}") for n in (1, 2)]
    for entries, dropped in ((first, 3), ([*first, replace(ENTRY, number=7)], 0)):
        with registry.begin() as connection:
            key = logs.register_process(connection, who)
            logs.insert_entries(connection, key, entries, dropped)
    found = registry.logs.records()
    assert [(r["number"], r["message"]) for r in found] == [(1, "1"), (2, "2"), (7, "begun")]
    assert {(r["identity"], r["host"], r["pid"]) for r in found} == {(who.identity, "node7", 4711)}
    assert [d["n_dropped"] for d in registry.logs.drops()] == [3]


def test_records_come_back_as_they_were(registry: Registry) -> None:
    context = {"seeing": 0.7, "filter": "r’", "flags": True, "none": None}
    trace = 'Traceback:\n  File "x"\nValueError: é'
    stored(registry, replace(ENTRY, context=context, exception=trace, message="ünï\n💫"))
    (row,) = registry.logs.records()
    assert (row["context"], row["exception"], row["message"]) == (context, trace, "ünï\n💫")
    assert (row["logged_at"], row["level"], row["logger"]) == (NOON, 20, "skyspine.isr")
    assert (row["place"], row["thread"], row["quantum_id"]) == ("isr.py:7 run", "MainThread", None)


def test_records_of_quanta_are_found_by_run_label_quantum_and_data(
    registry: Registry, quanta: dict[str, uuid.UUID]
) -> None:
    named = [
        replace(ENTRY, number=n, message=name, quantum_id=quanta[name])
        for n, name in enumerate(("isr3", "isr4", "find3"))
    ]
    stored(registry, *named, replace(ENTRY, number=9, message="alone"))
    assert messages(registry, run="u/run") == ["isr3", "isr4", "find3"]
    assert messages(registry, run="u/run", label="isr") == ["isr3", "isr4"]
    assert messages(registry, quanta=[quanta["isr4"], quanta["find3"]]) == ["isr4", "find3"]
    assert messages(registry, where="exposure = 3") == ["isr3", "find3"]
    assert messages(registry, where="exposure.target_name = :t", bind={"t": "M33"}) == ["isr4"]
    assert messages(registry, label="isr", where="exposure IN (3)") == ["isr3"]
    assert {(r["run"], r["label"]) for r in registry.logs.records(label="find")} == {
        ("u/run", "find")
    }
    assert registry.logs.labels("u/run") == registry.logs.labels() == ["find", "isr"]
    with pytest.raises(UnknownCollection):
        registry.logs.records(run="u/rum")
    with pytest.raises(ExpressionError, match="Did you mean 'exposure'"):
        registry.logs.records(where="exposur = 3")


def test_data_that_are_bound_count_before_those_of_the_quantum(
    registry: Registry, quanta: dict[str, uuid.UUID]
) -> None:
    registry.register_collection("raw")
    registry.insert_datasets(observatory.RAW, [observatory.raw_id(2)], "raw")
    about = {"number": 0, "quantum_id": quanta["isr3"]}
    cases: list[dict[str, Any]] = [
        {"message": "bound", "context": observatory.raw_id(2)},
        {"message": "unknown", "context": {**observatory.raw_id(3), "patch": 5}, **about},
        {"message": "nonsense", "context": {"exposure": "all"}, **about},
        {"message": "nothing", "context": {"exposure": 99999}},
    ]
    stored(registry, *(replace(ENTRY, **{**c, "number": n}) for n, c in enumerate(cases)))
    assert messages(registry, where="exposure = 2") == ["bound"]
    assert messages(registry, where="exposure = 3") == ["unknown", "nonsense"]
    assert messages(registry) == ["bound", "unknown", "nonsense", "nothing"]


def test_records_are_found_by_level_component_and_time(registry: Registry) -> None:
    cases = [
        (10, "skyspine.isr", 0),
        (30, "skyspine.isr.overscan", 1),
        (40, "skyspine.isrx", 2),
        (20, "sky%pine.isr", 3),
    ]
    minute = dt.timedelta(minutes=1)
    stored(
        registry,
        *(
            replace(
                ENTRY, number=n, level=lv, logger=name, message=name, logged_at=NOON + n * minute
            )
            for lv, name, n in cases
        ),
    )
    assert messages(registry, logger="skyspine.isr") == ["skyspine.isr", "skyspine.isr.overscan"]
    assert messages(registry, logger="sky%pine") == ["sky%pine.isr"]
    assert messages(registry, level=30) == ["skyspine.isr.overscan", "skyspine.isrx"]
    span = {"since": NOON + minute, "until": NOON + 3 * minute}
    assert messages(registry, **span) == ["skyspine.isr.overscan", "skyspine.isrx"]
    assert messages(registry, limit=2) == ["skyspine.isrx", "sky%pine.isr"]


def test_old_records_are_pruned_with_processes_that_have_no_other(registry: Registry) -> None:
    hour = dt.timedelta(hours=1)
    old = [replace(ENTRY, number=n, logged_at=NOON - hour) for n in range(250)]
    stored(registry, *old)
    kept = stored(registry, replace(ENTRY, logged_at=NOON - hour), replace(ENTRY, number=2))
    assert registry.logs.count_before(NOON) == 251
    with registry.begin() as connection:  # records of one instant go together
        assert logs.prune_oldest(connection, NOON, 100) == 251
        assert logs.prune_oldest(connection, NOON, 100) == 0
    with registry.read() as connection:
        left = connection.execute(sa.select(log_record.c.process_id, log_record.c.number)).all()
        assert [tuple(row) for row in left] == [(kept, 2)]
        assert connection.execute(sa.select(log_process.c.id)).scalars().all() == [kept]
    stored(registry, *(replace(ENTRY, number=n, logged_at=NOON - n * hour) for n in range(1, 50)))
    with registry.begin() as connection:
        assert logs.prune_oldest(connection, NOON, 10) == 11
    assert registry.logs.prune(NOON) == 38
    assert registry.logs.prune(NOON) == 0
    assert len(registry.logs.records()) == 1


def test_what_comes_late_is_followed_too_and_nothing_twice(registry: Registry) -> None:
    second = dt.timedelta(seconds=1)

    def more(_: float) -> None:
        """Write a record that is older than the last one seen, and one that is newer."""
        for message, at in (("late", NOON + second), ("new", NOON + 3 * second)):
            stored(registry, replace(ENTRY, message=message, logged_at=at))

    stored(registry, replace(ENTRY, message="before", logged_at=NOON - second))
    stored(registry, replace(ENTRY, message="first", logged_at=NOON + 2 * second))
    following = registry.logs.follow(since=NOON, wait=more)
    assert [next(following)["message"] for _ in range(5)] == ["first", "late", "new", "late", "new"]
