"""How long did processors work on something, here and in the server of the database?

On a busy machine these are the times that can be compared. A server's are read from the system
that it runs on, which must be this one.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import sqlalchemy as sa

if TYPE_CHECKING:
    from registry import Registry

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Stopwatch:
    """Measures a block.

    Attributes
    ----------
    elapsed, here, server : float
        By the clock, of the processor in this process, and in the server [s].
    """

    registry: Registry
    backend: str
    elapsed: float = 0.0
    here: float = 0.0
    server: float = 0.0
    _before: dict[int, float] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._before = self._of_server()
        self.elapsed, self.here = -time.perf_counter(), -time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.elapsed += time.perf_counter()
        self.here += time.process_time()
        after = self._of_server()
        self.server = sum(s - self._before.get(pid, 0.0) for pid, s in after.items())

    def __str__(self) -> str:
        """Say them in one line."""
        return (
            f"{self.elapsed:.2f} s (load {os.getloadavg()[0]:.0f}), of the processor "
            f"{self.here:.2f} s here and {self.server:.2f} s in the server"
        )

    def _of_server(self) -> dict[int, float]:
        """Read what each process of the server has used so far [s]."""
        found = {}
        for pid in self._processes():
            values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found[pid] = (int(values[11]) + int(values[12])) / TICKS
        return found

    def _processes(self) -> list[int]:
        if self.backend == "sqlite":
            return []
        with self.registry.read() as connection:
            if self.backend == "mariadb":
                file = connection.execute(sa.text("SELECT @@pid_file")).scalar_one()
                return [int(Path(file).read_text())]
            of_database = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            return list(connection.execute(sa.text(of_database)).scalars())
