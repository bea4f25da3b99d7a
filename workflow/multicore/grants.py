"""How many cores, and how much memory, may this job use?

What it was given: by the process that started it, by the environment (SKYSPINE_CORES, or the batch
system's), and never more than the machine, its control group and the process's own affinity leave.
Work inside a worker has the worker's share, so that nested use does not oversubscribe.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from workflow.multicore.errors import BadGrant

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Grant", "granted", "hold", "use"]

CORES = "SKYSPINE_CORES"
MEMORY = "SKYSPINE_MEMORY_PER_CORE"
"""Environment variables with cores, and memory per core [MiB]."""
_BATCH_CORES = ("SLURM_CPUS_PER_TASK", "PBS_NP", "NSLOTS", "OMP_NUM_THREADS")
_BATCH_MEMORY = ("SLURM_MEM_PER_CPU",)
_LIBRARIES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
"""Environment variables that libraries read when they are loaded."""
_GROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Grant:
    """What a job may use.

    Parameters
    ----------
    cores : int
        How many cores.
    memory_per_core : int, optional
        Memory of each [byte]; None when nobody said.
    """

    cores: int
    memory_per_core: int | None = None

    def __post_init__(self) -> None:
        if self.cores < 1:
            raise BadGrant(f"A job has at least one core, not {self.cores}.")

    @property
    def memory(self) -> int | None:
        """All its memory [byte]."""
        return None if self.memory_per_core is None else self.cores * self.memory_per_core

    def workers_for(self, memory_per_item: int = 0) -> int:
        """Say how many items may be worked on at a time: as cores and memory allow, at least one.

        Parameters
        ----------
        memory_per_item : int
            What one needs while it is worked on [byte].
        """
        if self.memory is None or memory_per_item <= 0:
            return self.cores
        return max(1, min(self.cores, self.memory // memory_per_item))

    def limited(self, cores: int) -> Grant:
        """Give the same with no more than so many cores."""
        return Grant(min(self.cores, cores), self.memory_per_core)

    def share(self, workers: int) -> Grant:
        """Give what each of several workers may use."""
        cores = max(1, self.cores // workers)
        return Grant(cores, None if self.memory is None else self.memory // workers // cores)


_held: ContextVar[Grant | None] = ContextVar("grant", default=None)
_of_process: list[Grant] = []


def granted() -> Grant:
    """Say what this thread of this process may use.

    Raises
    ------
    BadGrant
        If a variable of the environment is not a number.
    """
    given = _held.get()
    if given is not None:
        return given
    if _of_process:
        return _of_process[-1]
    available = _available()
    cores = _number(CORES, *_BATCH_CORES) or available
    if CORES not in os.environ:
        cores = min(cores, available)
    memory = _number(MEMORY, *_BATCH_MEMORY)
    return Grant(cores, _memory_of_group(cores) if memory is None else memory << 20)


@contextmanager
def use(grant: Grant) -> Iterator[Grant]:
    """Let what this thread does in a block use so much."""
    token = _held.set(grant)
    try:
        yield grant
    finally:
        _held.reset(token)


def hold(grant: Grant) -> None:
    """Let this process use so much from now on, in all its threads.

    The libraries for linear algebra too, those that are loaded and those that will be.
    """
    _of_process[:] = [grant]
    os.environ.update(dict.fromkeys(_LIBRARIES, str(grant.cores)))
    if "numba" not in sys.modules:  # which does not bear a change once it has begun
        os.environ["NUMBA_NUM_THREADS"] = str(grant.cores)
    threadpool_limits(grant.cores)


def _number(*names: str) -> int | None:
    for name in names:
        text = os.environ.get(name, "").strip()
        if not text:
            continue
        if text.isdigit() and int(text) > 0:
            return int(text)
        if name in (CORES, MEMORY):
            raise BadGrant(f"{name} is a whole number above 0, not '{text}'.")
    return None


def _available() -> int:
    """Count the cores that this process may run on, or has the time of."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota, _, period = _group_file("cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        return max(1, min(cores or 1, int(quota) // int(period)))
    return cores or 1


def _memory_of_group(cores: int) -> int | None:
    limit = _group_file("memory.max")
    return int(limit) // cores if limit.isdigit() else None


def _group_file(name: str) -> str:
    try:
        return (_GROUP / name).read_text().strip()
    except OSError:  # no control group of this kind
        return ""
