"""What does a log call cost the one who makes it, and how many records does the database take?

``make bench`` prints it; without ``--timed`` it runs small, to see that it works.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from registry import Registry
from workflow import logs
from workflow.logs import context
from workflow.logs.buffer import Background
from workflow.logs.sinks import DatabaseSink

if TYPE_CHECKING:
    from collections.abc import Callable

N_CALLS = 1_000_000
N_RECORDS = 50_000
ROUNDS = 5_000
SMALL = 200
log = logging.getLogger("skyspine.benchmark")


def nothing(n: int) -> None:
    """Go round without a call."""
    for _ in range(n):
        pass


def constant(n: int) -> None:
    debug = log.debug
    for _ in range(n):
        debug("a constant")


def attribute(n: int) -> None:
    for _ in range(n):
        log.debug("a constant")


def two_arguments(n: int) -> None:
    for _ in range(n):
        log.debug("%s %d", "text", 7)


def guarded(n: int) -> None:
    for _ in range(n):
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s %d", "text", 7)


def nanoseconds(verb: Callable[[int], None], n: int) -> float:
    """Time one round: processor time, the best of many, less the loop [ns]."""
    times = []
    for what in (verb, nothing):
        best = float("inf")
        for _ in range(n // ROUNDS):
            began = time.thread_time_ns()
            what(ROUNDS)
            best = min(best, time.thread_time_ns() - began)
        times.append(best / ROUNDS)
    return times[0] - times[1]


def test_disabled_messages(timed: bool) -> None:
    n = N_CALLS if timed else N_CALLS // SMALL
    logs.configure(logs.settings_from(environment=False))
    with logs.bound(instrument="DemoCam", exposure=7, detector=3):
        costs = {
            f.__name__: nanoseconds(f, n) for f in (constant, attribute, two_arguments, guarded)
        }
    logs.close()
    assert not log.isEnabledFor(logging.DEBUG)
    told = ", ".join(f"{name} {ns:.0f}" for name, ns in costs.items())
    print(f"\ndisabled message [ns]: {told}")


def test_records_into_the_database(database_url: str, backend: str, timed: bool) -> None:
    n = N_RECORDS if timed else N_RECORDS // SMALL
    context.on_every_record()
    handler = Background(DatabaseSink(database_url), capacity=n + 1)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    began, cpu = time.perf_counter(), time.thread_time()
    with logs.bound(instrument="DemoCam", exposure=7, detector=3, run="u/run", label="isr"):
        for i in range(n):
            log.info("pixel %d of %s", i, "image")
    cpu = time.thread_time() - cpu
    handler.flush(600)
    written = time.perf_counter()
    assert handler.finish(60) == ""
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)
    with Registry.connect(database_url) as registry:
        found = time.perf_counter()
        assert len(registry.logs.records(logger="skyspine.benchmark", limit=n + 1)) == n
        read = time.perf_counter()
    print(
        f"\n{backend}: {1e6 * cpu / n:.1f} µs of the caller's processor time a call, "
        f"{n / (written - began):,.0f} records/s written, {n / (read - found):,.0f} records/s read"
    )
