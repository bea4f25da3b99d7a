"""How does an author test a task, or a pipeline, without data?

`run_task` runs a task on objects in memory; `SuperTaskTests` is a class of tests that a task's own
tests inherit; `mocked` turns a pipeline into one of the same shape whose tasks compute nothing, and
fail, sleep or die where they are told to.
"""

from __future__ import annotations

from workflow.testing.conformance import SuperTaskTests
from workflow.testing.memory import Made, MemoryQuantum, run_task
from workflow.testing.mocks import Behaviour, mocked, parse_behaviour

__all__ = [
    "Behaviour",
    "Made",
    "MemoryQuantum",
    "SuperTaskTests",
    "mocked",
    "parse_behaviour",
    "run_task",
]
