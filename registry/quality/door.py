"""How does a program that holds a registry ask and say what is good enough?

`Quality` is `registry.quality` on a `Registry`: one verb, one transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import collections
from registry.database import question
from registry.quality import incidents, judging, thresholds
from registry.schema.provenance import quantum, quantum_metric, task

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from registry.database import Database
    from registry.quality.incidents import Incident
    from registry.quality.judging import Judgement
    from registry.quality.thresholds import Bounds, Scope, Threshold, Wanted
    from registry.registry import Registry

__all__ = ["Quality"]


class Quality:
    """Thresholds, checks and incidents of one registry.

    Parameters
    ----------
    registry : Registry
        Where they are.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @property
    def database(self) -> Database:
        """Where they are."""
        return self._registry.database

    @question
    def metrics(self, output: str) -> list[dict[str, Any]]:
        """List what the tasks below a collection measured.

        Returns
        -------
        list of dict
            ``task``, ``metric``, ``n``, ``min``, ``mean``, ``max``, by task and metric.
        """
        value = quantum_metric.c.value
        with self._registry.read() as connection:
            asked = (
                sa.select(
                    task.c.label.label("task"),
                    quantum_metric.c.name.label("metric"),
                    sa.func.count().label("n"),
                    sa.func.min(value).label("min"),
                    sa.func.avg(value).label("mean"),
                    sa.func.max(value).label("max"),
                )
                .select_from(task)
                .join(quantum, quantum.c.task_id == task.c.id)
                .join(quantum_metric, quantum_metric.c.quantum_id == quantum.c.id)
                .where(task.c.run_id.in_(_runs(connection, output)), quantum.c.state == "done")
                .group_by(task.c.label, quantum_metric.c.name)
                .order_by(task.c.label, quantum_metric.c.name)
            )
            return [dict(row) for row in connection.execute(asked).mappings()]

    @question
    def thresholds(self, *, history: bool = False) -> list[Threshold]:
        """List the thresholds in force, or all that ever were."""
        with self._registry.read() as connection:
            return thresholds.listed(connection, history=history)

    def set(
        self,
        task: str,
        metric: str,
        bounds: Bounds,
        *,
        scope: Scope | None = None,
        reason: str | None = None,
    ) -> bool:
        """Say what is good enough for a metric of a task, in place of what was said of the same.

        Returns
        -------
        bool
            Whether this is new.

        Raises
        ------
        BadThreshold
            If the camera is unknown.
        """
        wanted = thresholds.Wanted(task, metric, scope or thresholds.Scope(), bounds, reason)
        new, _ = self.database.transact(thresholds.change, [wanted])
        return bool(new)

    def unset(self, task: str, metric: str, scope: Scope | None = None) -> Threshold:
        """Take a threshold back; see `registry.quality.thresholds.end`."""
        return self.database.transact(thresholds.end, task, metric, scope or thresholds.Scope())

    def load(self, document: Any, *, dry_run: bool = False) -> tuple[list[Wanted], list[Threshold]]:
        """Make the thresholds what a document says; see `registry.quality.thresholds.read_rules`.

        Returns
        -------
        tuple of list
            What is new, and what ended.
        """
        wanted = thresholds.read_rules(document)
        if dry_run:
            with self._registry.undone() as connection:
                return thresholds.change(connection, wanted, all_others_end=True)
        return self.database.transact(thresholds.change, wanted, all_others_end=True)

    def check(self, output: str) -> Judgement:
        """Compare what the tasks below a collection measured with the thresholds in force.

        Parameters
        ----------
        output : str
            A RUN, or a CHAINED collection with runs.
        """

        def verb(connection: sa.Connection) -> Judgement:
            return judging.judge(connection, _runs(connection, output))

        return self.database.transact(verb)

    @question
    def incidents(self, *, closed: bool = False) -> list[Incident]:
        """List the incidents, the last seen first; those that are closed too if asked."""
        with self._registry.read() as connection:
            return incidents.listed(connection, closed=closed)

    def acknowledge(self, ids: Sequence[uuid.UUID], note: str = "") -> int:
        """Take incidents up; see `registry.quality.incidents.acknowledge`."""
        return self.database.transact(incidents.acknowledge, ids, note)

    def close(self, ids: Sequence[uuid.UUID], note: str = "") -> int:
        """Close incidents; see `registry.quality.incidents.close`."""
        return self.database.transact(incidents.close, ids, note)


def _runs(connection: sa.Connection, output: str) -> list[int]:
    return [c.id for c in collections.flatten(connection, output) if c.type == "RUN"]
