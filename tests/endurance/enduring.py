"""How are the processes started, and what is told of them at the end?"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.endurance import judging, world
from tests.endurance.world import N_READERS, N_WRITERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.nursery import Nursery

PROGRAMS = ("tests.endurance.writing", "tests.endurance.reading")
LIBRARIES = ("pyarrow", "pandas", "butler.intake.ingest", "butler.formatters.fits_image")
"""What the nursery imports, so that no child waits for it while it is measured."""


@dataclass(slots=True)
class Endured:
    """What happened on one database.

    Parameters
    ----------
    seconds : float
        For how long the processes worked.
    times : dict of list of float
        How long each deed and question of a kind took [s].
    errors : Counter
        How often a kind met an expected error, by kind and class.
    repeated : int
        How often something was repeated for a deadlock or a conflict.
    faults : list of str
        What must not happen, and did.
    """

    seconds: float
    times: dict[str, list[float]] = field(default_factory=dict)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    repeated: int = 0
    faults: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Tell it as a table, and the faults below."""
        total = sum(map(len, self.times.values()))
        told = [
            f"{total:,} deeds and questions in {self.seconds:.0f} s: {total / self.seconds:,.0f} "
            f"per second; repeated: {self.repeated:,}; faults: {len(self.faults)}",
            f"{'':<14} {'number':>8} {'per s':>8} {'median ms':>10} {'worst ms':>10}  refused",
        ]
        for name, took in sorted(self.times.items()):
            refused = ", ".join(f"{k} {n:,}" for (w, k), n in self.errors.items() if w == name)
            told.append(
                f"{name:<14} {len(took):>8,} {len(took) / self.seconds:>8.1f} "
                f"{1000 * statistics.median(took):>10.1f} {1000 * max(took):>10.0f}  {refused}"
            )
        return [*told, *self.faults]


def endure(
    nursery: Nursery, folder: Path, url: str, seconds: float, frames: Sequence[Path], seed: int
) -> Endured:
    """Let the writers and readers work on a new repository, and judge what they leave.

    Parameters
    ----------
    folder : Path
        Empty; for the repository and the notes of the processes.
    url : str
        Of an empty database.
    """
    root = folder / "repo"
    world.fill(root, url, frames)
    programs = [
        *((f"{PROGRAMS[0]}:write", n) for n in range(1, N_WRITERS + 1)),
        *((f"{PROGRAMS[1]}:read", n) for n in range(1, N_READERS + 1)),
    ]
    children = []
    for program, number in programs:
        child = nursery.start(program, str(root), number, seconds, seed)
        children.append((child, iter(child)))
        if number == N_WRITERS:
            for _, said in children:  # readers ask of what every writer has made
                next(said, None)
    faults = []
    for child, said in children:
        faults += list(said)
        child.wait()
    found = Endured(seconds, faults=[line for line in faults if line != "ready"])
    for log in world.notes(folder).values():
        for note in log:
            if note["what"] == "end":
                found.repeated += note["repeated"]
                for name, took in note["times"].items():
                    found.times.setdefault(name, []).extend(took)
                for name, kind, n in note["errors"]:
                    found.errors[name, kind] += n
    found.faults += judging.judge(root)
    return found


def new_seed() -> int:
    """Choose what the dice begin with."""
    return time.time_ns() % 1_000_000
