"""Does a job use what it was given, and no more?"""

from __future__ import annotations

import os
import threading

import pytest

from workflow.multicore import BadGrant, Grant, granted, use

VARIABLES = ("SKYSPINE_CORES", "SKYSPINE_MEMORY_PER_CORE", "SLURM_CPUS_PER_TASK",
             "SLURM_MEM_PER_CPU", "PBS_NP", "NSLOTS", "OMP_NUM_THREADS")  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_without_a_word_it_is_what_the_process_may_run_on() -> None:
    everything = os.sched_getaffinity(0)
    assert 1 <= granted().cores <= len(everything)
    try:
        os.sched_setaffinity(0, {min(everything)})
        assert granted().cores == 1
    finally:
        os.sched_setaffinity(0, everything)


def test_the_batch_system_may_give_less_but_not_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "2048")
    assert granted() == Grant(1, 2048 << 20)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4096")
    assert granted().cores <= len(os.sched_getaffinity(0))
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1(x3)")  # as it is for tasks of several nodes
    assert granted().cores >= 1


def test_who_starts_the_job_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    monkeypatch.setenv("SKYSPINE_CORES", "12")
    monkeypatch.setenv("SKYSPINE_MEMORY_PER_CORE", "100")
    assert granted() == Grant(12, 100 << 20)


@pytest.mark.parametrize(("name", "text"), [("SKYSPINE_CORES", "many"), ("SKYSPINE_CORES", "0"),
                                            ("SKYSPINE_MEMORY_PER_CORE", "2G")])  # fmt: skip
def test_words_that_are_no_numbers_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(BadGrant, match=f"{name} is a whole number above 0, not '{text}'"):
        granted()


def test_a_block_is_limited_in_its_thread_only() -> None:
    seen = []
    before = granted()
    with use(Grant(3, 1 << 30)):
        other = threading.Thread(target=lambda: seen.append(granted()))
        other.start()
        other.join()
        with use(granted().limited(2)):
            assert granted() == Grant(2, 1 << 30)
        assert granted() == Grant(3, 1 << 30)
    assert granted() == before
    assert seen == [before]


@pytest.mark.parametrize(
    ("cores", "memory_per_core", "item", "workers"),
    [(8, None, 1 << 40, 8), (8, 1 << 30, 0, 8), (8, 1 << 30, 1 << 30, 8), (8, 1 << 30, 3 << 30, 2),
     (8, 1 << 30, 9 << 30, 1), (1, 1 << 30, 1, 1)],
)  # fmt: skip
def test_many_cores_with_little_memory_take_fewer_items_at_a_time(
    cores: int, memory_per_core: int | None, item: int, workers: int
) -> None:
    assert Grant(cores, memory_per_core).workers_for(item) == workers


def test_shares_add_up_to_no_more_than_the_whole() -> None:
    whole = Grant(7, 1000)
    for workers in range(1, 8):
        share = whole.share(workers)
        assert share.cores * workers <= whole.cores
        assert (share.memory or 0) * workers <= (whole.memory or 0)
    assert whole.share(20).cores == 1


def test_no_cores_are_no_grant() -> None:
    with pytest.raises(BadGrant, match="at least one core"):
        Grant(0)
