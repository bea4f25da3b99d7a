"""What does one quantum need of the machine, and how long may it take?

A SuperTask declares it, and ``resources`` in a pipeline says otherwise for one task.  Who counts
and enforces it is `workflow.processes`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NEEDS", "Needs", "check_needs"]

_LEAST = {"ranks": 1, "cores": 1, "memory_per_core": 0}
NEEDS = (*_LEAST, "walltime_guess", "timeout")
"""The names, as class attributes of a SuperTask and as keys of ``resources``."""


@dataclass(frozen=True)
class Needs:
    """What a quantum of a task needs.

    Parameters
    ----------
    ranks, cores : int
        Ranks, and cores of each, that it can make good use of.
    memory_per_core : int
        What it may use for each of them [MiB]; 0 if nobody said.
    walltime_guess : float
        How long a usual quantum takes [s]; 0 if nobody said.
    timeout : float
        After how long it is given up [s]; 0 if never.
    """

    ranks: int = 1
    cores: int = 1
    memory_per_core: int = 0
    walltime_guess: float = 0.0
    timeout: float = 0.0

    @property
    def all_cores(self) -> int:
        """The cores of all ranks together."""
        return self.ranks * self.cores

    @property
    def memory(self) -> int:
        """The memory of all cores together [byte]; 0 if nobody said."""
        return (self.all_cores * self.memory_per_core) << 20


def check_needs(given: Mapping[str, Any]) -> str:
    """Say what is wrong with needs; empty when nothing is."""
    for name, value in given.items():
        least = _LEAST.get(name)
        if least is None:
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                return f"{name} is a time in seconds, not {value!r}."
            if not 0 <= value < math.inf:
                return f"{name} is a time in seconds from 0 on, not {value!r}."
        elif isinstance(value, bool) or not isinstance(value, int) or value < least:
            return f"{name} is a whole number from {least} on, not {value!r}."
    return ""
