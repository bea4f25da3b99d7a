"""Which quanta are to be executed next, a page of them at a time?

The plan is in the database; only what is about to run is in memory. Quanta that nothing holds back
are read task by task; those that waited for others are found when these have ended.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from registry import plans
from workflow.quanta import Quantum, load

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from registry.database import Database

__all__ = ["PAGE", "Frontier"]

PAGE = 500
"""Quanta that are read at a time."""


class Frontier:
    """The quanta of some tasks that may begin.

    Parameters
    ----------
    database : Database
        It holds the plan.
    tasks : mapping of int to PlannedTask
        All tasks of the run, by key.
    here : collection of int
        Those whose quanta are to be executed now, in order.
    lossy : bool
        Whether some quantum of the run may have made less than was planned.
    """

    def __init__(
        self,
        database: Database,
        tasks: Mapping[int, plans.PlannedTask],
        here: Collection[int],
        *,
        lossy: bool,
    ) -> None:
        self._database = database
        self._tasks = tasks
        self._here = frozenset(here)
        makers = {r.maker[0] for task in tasks.values() for r in task.reads if r.maker}
        self._read = {tasks[key].label for key in makers}
        self._left = list(here)
        self._after = uuid.UUID(int=0)
        self._given: set[uuid.UUID] = set()
        self._ended: list[uuid.UUID] = []
        self.lossy = lossy

    def next(self) -> list[Quantum]:
        """Give the next page of quanta that nothing holds back; none when all were given.

        What reads from a quantum that is at work here is left to `heirs`: that one may have failed
        a moment ago, in its worker, and nobody has looked yet what it blocks.
        """
        while self._left:
            with self._database.read() as connection:
                ids = plans.next_ready(connection, self._left[0], self._after, PAGE)
                if ids:
                    self._after = ids[-1]
                if len(ids) < PAGE:
                    self._left.pop(0)
                    self._after = uuid.UUID(int=0)
                new = [i for i in ids if i not in self._given]
                if new and self._given:
                    held = plans.readers(connection, new, list(self._given))
                    new = [i for i in new if i not in held]
                if new:
                    return self._loaded(load(connection, new))
        return []

    def _loaded(self, quanta: Sequence[Quantum]) -> list[Quantum]:
        self._given.update(q.id for q in quanta)
        return list(quanta)

    def end(self, quantum: Quantum, *, whole: bool) -> None:
        """Note that a quantum has ended, and whether it made all that was planned."""
        self._given.discard(quantum.id)
        self.lossy = self.lossy or not whole
        if quantum.label in self._read:
            self._ended.append(quantum.id)

    @property
    def n_ended(self) -> int:
        """How many have ended whose heirs were not looked for."""
        return len(self._ended)

    def heirs(self) -> tuple[list[Quantum], int]:
        """Give the quanta that waited for what has ended, and how many were blocked by it."""
        ended, self._ended = self._ended, []
        if not ended:
            return [], 0
        if self.lossy:
            found, blocked = self._database.transact(plans.settle, self._tasks, ended, lossy=True)
        else:
            with self._database.read() as connection:
                found, blocked = plans.settle(connection, self._tasks, ended, lossy=False)
        new = [i for i, task in found.items() if task in self._here and i not in self._given]
        if not new:
            return [], len(blocked)
        with self._database.read() as connection:
            return self._loaded(load(connection, new)), len(blocked)
