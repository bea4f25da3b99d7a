"""What will a planned run read, where does that lie, and how long will it take?

All of it are questions on the plan; nothing is read but rows. How long a quantum takes is what the
same task with the same configuration took in earlier runs, else the same task with another one,
else what its class guesses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.collections import get_collection
from registry.plans.walking import TO_COME
from registry.provenance.variants import has_quanta
from registry.schema.files import endpoint, file, replica
from registry.schema.identity import dataset, dataset_type
from registry.schema.plans import planned_input, task_need
from registry.schema.provenance import quantum, task

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["inputs_by_endpoint", "to_stage", "work_to_do"]

_RECENT = 20
"""Of so many earlier runs of a task at most are times taken."""


def _needed(run_id: int) -> sa.Subquery:
    """Select the datasets that exist and that quanta which are to be executed will read."""
    return (
        sa.select(planned_input.c.dataset_id.label("id"))
        .distinct()
        .join_from(task, quantum, quantum.c.task_id == task.c.id)
        .join(planned_input, planned_input.c.quantum_id == quantum.c.id)
        .where(task.c.run_id == run_id, quantum.c.state.in_(TO_COME))
        .subquery("needed")
    )


def _readable() -> Any:
    return (replica.c.file_id == file.c.id) & (replica.c.state == "available")


def inputs_by_endpoint(connection: sa.Connection, run: str) -> list[dict[str, Any]]:
    """Tell how much of what a run will read lies where.

    Returns
    -------
    list of dict
        dataset_type, endpoint (None: nowhere), n_datasets, n_files, size_bytes, n_only_here (files
        that lie at no other endpoint).
    """
    needed = _needed(get_collection(connection, run).id)
    copies = (
        sa.select(replica.c.file_id, sa.func.count().label("n"))
        .join_from(needed, file, file.c.dataset_id == needed.c.id)
        .join(replica, _readable())
        .group_by(replica.c.file_id)
        .subquery("copies")
    )
    only = sa.case((copies.c.n == 1, 1), else_=0)
    rows = connection.execute(
        sa.select(
            dataset_type.c.name.label("dataset_type"),
            endpoint.c.name.label("endpoint"),
            sa.func.count(sa.distinct(needed.c.id)).label("n_datasets"),
            sa.func.count(file.c.id).label("n_files"),
            sa.func.coalesce(sa.func.sum(file.c.size_bytes), 0).label("size_bytes"),
            sa.func.coalesce(sa.func.sum(only), 0).label("n_only_here"),
        )
        .join_from(needed, dataset, dataset.c.id == needed.c.id)
        .join(dataset_type, dataset_type.c.id == dataset.c.dataset_type_id)
        .outerjoin(file, file.c.dataset_id == needed.c.id)
        .outerjoin(replica, _readable())
        .outerjoin(endpoint, endpoint.c.id == replica.c.endpoint_id)
        .outerjoin(copies, copies.c.file_id == file.c.id)
        .group_by(dataset_type.c.name, endpoint.c.name)
        .order_by(dataset_type.c.name, endpoint.c.name)
    ).mappings()
    return [
        {**row, "size_bytes": int(row["size_bytes"]), "n_only_here": int(row["n_only_here"])}
        for row in rows
    ]


def to_stage(connection: sa.Connection, run: str, near: Sequence[str]) -> list[dict[str, Any]]:
    """List the files that a run will read and that lie at none of some endpoints.

    Parameters
    ----------
    near : sequence of str
        Endpoints from which the run's processes read without bringing anything.

    Returns
    -------
    list of dict
        dataset_id, dataset_type, path, size_bytes, endpoint (one that has it; None: lost).
    """
    needed = _needed(get_collection(connection, run).id)
    here, there = replica.alias("here"), replica.alias("there")
    held = (
        sa.select(here.c.file_id)
        .join(endpoint, endpoint.c.id == here.c.endpoint_id)
        .where(here.c.file_id == file.c.id, here.c.state == "available", endpoint.c.name.in_(near))
        .correlate(file)
    )
    source = (
        sa.select(sa.func.min(endpoint.c.name))
        .join_from(there, endpoint, endpoint.c.id == there.c.endpoint_id)
        .where(there.c.file_id == file.c.id, there.c.state == "available")
        .where(endpoint.c.state == "online")
        .correlate(file)
        .scalar_subquery()
    )
    rows = connection.execute(
        sa.select(
            needed.c.id.label("dataset_id"),
            dataset_type.c.name.label("dataset_type"),
            file.c.path,
            file.c.size_bytes,
            source.label("endpoint"),
        )
        .join_from(needed, dataset, dataset.c.id == needed.c.id)
        .join(dataset_type, dataset_type.c.id == dataset.c.dataset_type_id)
        .join(file, file.c.dataset_id == needed.c.id)
        .where(~held.exists())
        .order_by(source, file.c.path)
    ).mappings()
    return [dict(row) for row in rows]


def work_to_do(connection: sa.Connection, run: str) -> list[dict[str, Any]]:
    """Tell of each task how much is to be done, what a quantum needs and how long it takes.

    Returns
    -------
    list of dict
        task, n_to_do, n_done, n_failed, n_blocked, cores, memory_mib (of a quantum; 0: nobody
        said), seconds_each (of a quantum; None: nobody knows), known_from (``same configuration``,
        ``other configuration``, ``guess``, or empty).
    """
    state = quantum.c.state

    def number(name: str, *states: str) -> Any:
        return sa.func.count(sa.case((state.in_(states), 1))).label(name)

    kept = (
        *(task.c[name] for name in ("id", "label", "class_name", "config_id")),
        *(task_need.c[name] for name in ("ranks", "cores", "memory_per_core_mib")),
        task_need.c.walltime_guess_s,
    )
    rows = connection.execute(
        sa.select(
            *kept,
            number("n_to_do", *TO_COME),
            number("n_done", "done", "no_work"),
            number("n_failed", "failed"),
            number("n_blocked", "blocked"),
        )
        .join_from(task, task_need, task_need.c.task_id == task.c.id)
        .outerjoin(quantum, quantum.c.task_id == task.c.id)
        .where(task.c.run_id == get_collection(connection, run).id)
        .group_by(*kept)
        .order_by(task.c.id)
    ).all()
    known = _seconds(connection, {row.class_name for row in rows})
    return [_foreseen(row, known) for row in rows]


def _foreseen(row: Any, known: dict[tuple[str, int | None], float]) -> dict[str, Any]:
    candidates = (
        (known.get((row.class_name, row.config_id)), "same configuration"),
        (known.get((row.class_name, None)), "other configuration"),
        (row.walltime_guess_s or None, "guess"),
        (None, ""),
    )
    seconds, source = next(c for c in candidates if c[0] is not None or not c[1])
    cores = row.ranks * row.cores
    return {
        "task": row.label,
        "n_to_do": row.n_to_do,
        "n_done": row.n_done,
        "n_failed": row.n_failed,
        "n_blocked": row.n_blocked,
        "cores": cores,
        "memory_mib": cores * row.memory_per_core_mib,
        "seconds_each": seconds,
        "known_from": source,
    }


def _seconds(
    connection: sa.Connection, classes: Collection[str]
) -> dict[tuple[str, int | None], float]:
    """Read how long quanta took, by class and configuration, and by class alone (None)."""
    order = sa.func.row_number().over(partition_by=task.c.class_name, order_by=task.c.id.desc())
    recent = (
        sa.select(task.c.id, task.c.class_name, task.c.config_id, order.label("n"))
        .where(task.c.class_name.in_(classes), has_quanta())
        .subquery("recent")
    )
    rows = connection.execute(
        sa.select(
            recent.c.class_name,
            recent.c.config_id,
            sa.func.sum(quantum.c.wall_s),
            sa.func.count(quantum.c.wall_s),
        )
        .join(quantum, quantum.c.task_id == recent.c.id)
        .where(recent.c.n <= _RECENT, quantum.c.state == "done", quantum.c.wall_s.is_not(None))
        .group_by(recent.c.class_name, recent.c.config_id)
    )
    sums: dict[tuple[str, int | None], tuple[float, int]] = {}
    for name, config, total, n in rows:
        sums[name, config] = (float(total), n)
        before = sums.get((name, None), (0.0, 0))
        sums[name, None] = (before[0] + float(total), before[1] + n)
    return {key: total / n for key, (total, n) in sums.items()}
