"""Do threads and processes do the same, within what they were given, and end with their owner?"""

from __future__ import annotations

import os
import signal
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest

from tests.workflow.multicore import kernels
from workflow.multicore import (
    CannotTravel,
    Grant,
    MultiCoreError,
    WorkerLost,
    Workers,
    pmap,
    use,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.nursery import Nursery

BOTH = pytest.mark.parametrize("way", ["threads", "processes"])
NIGHT: ContextVar[str] = ContextVar("NIGHT", default="none")


@pytest.fixture(autouse=True)
def _three_cores() -> Iterator[None]:
    with use(Grant(3)):
        yield


@BOTH
@pytest.mark.parametrize("chunk", [1, 4])
def test_results_are_in_the_order_of_the_items(way: str, chunk: int) -> None:
    items = iter(range(11))
    assert pmap(kernels.square, items, backend=way, chunk=chunk) == [n * n for n in range(11)]


@BOTH
def test_no_items_give_no_results(way: str) -> None:
    assert pmap(kernels.square, [], backend=way) == []


@BOTH
def test_the_first_item_that_fails_is_told_as_it_is(way: str) -> None:
    with pytest.raises(LookupError, match="not 3"):
        pmap(kernels.picky, range(9), backend=way)


@BOTH
def test_there_are_never_more_workers_than_cores_or_than_fit(way: str) -> None:
    with Workers(way, 50) as pool:
        assert pool.count == 3
        assert len(set(pool.map(kernels.who, range(40)))) <= 3
    with use(Grant(3, 1 << 20)), Workers(way, memory_per_item=2 << 20) as pool:
        assert pool.count == 1
        assert set(pool.map(kernels.who, range(5))) == {kernels.who(0)}


@BOTH
def test_a_worker_has_its_share_and_nests_within_it(way: str) -> None:
    for cores, blas, count, workers in pmap(kernels.nested, range(3), backend=way):
        assert (cores, blas, count) == (1, 1, 1)
        assert len(workers) == 1


def test_two_workers_of_five_cores_have_two_each() -> None:
    with use(Grant(5)):
        for cores, blas, count, _ in pmap(kernels.nested, range(2), workers=2):
            assert (cores, count) == (2, 2)
            assert blas <= 2


def test_threads_know_the_context_they_were_called_from() -> None:
    token = NIGHT.set("20220920")
    try:
        assert pmap(lambda _: NIGHT.get(), range(4)) == ["20220920"] * 4
    finally:
        NIGHT.reset(token)


def test_processes_stay_for_several_calls() -> None:
    with Workers("processes", 2) as pool:
        first = set(pool.map(kernels.who, range(20)))
        second = set(pool.map(kernels.who, range(20)))
        assert pool.peak_memory > 1 << 20
    assert len(first | second) <= 2
    assert os.getpid() not in {pid for pid, _ in first}


def test_a_killed_worker_is_an_error_not_a_wait() -> None:
    with pytest.raises(WorkerLost, match="One of 3 worker processes was killed"):
        pmap(kernels.die, range(4), backend="processes")


def test_what_cannot_travel_is_told_before_anything_starts() -> None:
    with pytest.raises(CannotTravel, match="define it at the top of a module"):
        pmap(lambda n: n, range(3), backend="processes")


def test_an_unknown_back_end_is_refused() -> None:
    with pytest.raises(MultiCoreError, match="no back end 'fibres'"):
        pmap(kernels.square, [1], backend="fibres")


def test_workers_end_with_the_process_that_is_killed(nursery: Nursery) -> None:
    child = nursery.start("tests.workflow.multicore.kernels:pool_that_is_orphaned")
    pids = [int(line) for line in child if line.isdigit()]
    assert child.wait() == -signal.SIGKILL  # returns when no process of it is left
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
