"""What goes when datasets or whole runs are removed, what depends on them, and what stays?

What something else was made from leaves a row behind, marked as removed: no search finds it, no
new dataset takes its identity, and histories go on through it.  Verbs and questions here are about
rows; files are `backbone.files`.  Table: `registry.schema.provenance.removed_dataset`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import collections as coll
from registry.database import (
    CHUNK,
    account,
    delete_among,
    in_written_order,
    insert_rows,
    rows_of,
    utc_now,
)
from registry.errors import CollectionTypeError, InUse
from registry.plans.pruning import PLANNED
from registry.provenance.graphs import reached_sql
from registry.provenance.variants import forget_unused
from registry.schema.calibrations import calibration, calibration_fact
from registry.schema.collections import collection, collection_chain, tagged
from registry.schema.identity import dataset, dataset_type
from registry.schema.plans import (
    given_quantum,
    graph_file,
    planned_run,
    reused_dataset,
    task_connection,
    task_need,
)
from registry.schema.provenance import (
    config_history,
    foreign_dataset,
    quantum,
    quantum_input,
    quantum_metric,
    quantum_output,
    removed_dataset,
    task,
    task_variant,
)
from registry.schema.quality import quality_check

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Removal", "dependents", "remove_datasets", "remove_runs", "removed", "runs_content"]


@dataclass(slots=True)
class Removal:
    """What goes with some datasets, and what depends on them.

    Parameters
    ----------
    datasets : dict of int
        How many go, by dataset type.
    kept : int
        Of these, how many leave a row behind, because something was made from them.
    tagged, certified : dict of int
        By collection, tags and validity ranges that go with them.
    chained : dict of list of str
        By run, the chains that it is taken out of.
    derived : dict of int
        By run, datasets elsewhere that were made from them, directly or through others.
    waiting : int
        Quanta elsewhere that would read one and have not run.
    tasks : int
        Tasks whose configuration and quanta go.
    """

    datasets: dict[str, int] = field(default_factory=dict)
    kept: int = 0
    tagged: dict[str, int] = field(default_factory=dict)
    certified: dict[str, int] = field(default_factory=dict)
    chained: dict[str, list[str]] = field(default_factory=dict)
    derived: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    tasks: int = 0

    @property
    def used(self) -> bool:
        """Whether anything outside depends on what goes."""
        return bool(self.tagged or self.certified or self.chained or self.derived or self.waiting)


def removed(
    connection: sa.Connection, ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, tuple[dt.datetime, str]]:
    """Tell which datasets were removed, when and by whom."""
    r = removed_dataset.c
    found: dict[uuid.UUID, tuple[dt.datetime, str]] = {}
    for given in _parts(connection, ids):
        asked = sa.select(r.dataset_id, r.removed_at, r.removed_by).join_from(
            given, removed_dataset, r.dataset_id == given.c.id
        )
        found.update((row[0], (row[1], row[2])) for row in connection.execute(asked))
    return found


def _parts(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> Iterator[sa.Subquery]:
    for start in range(0, len(ids), CHUNK):
        part = [{"id": i} for i in ids[start : start + CHUNK]]
        yield rows_of(connection, part, {"id": sa.Uuid})


def runs_content(connection: sa.Connection, names: Iterable[str]) -> list[uuid.UUID]:
    """List the datasets of some runs, those that were removed before too.

    Raises
    ------
    UnknownCollection
        If there is none of this name.
    CollectionTypeError
        If one is no RUN.
    """
    keys = [_run(connection, name).id for name in names]
    asked = sa.select(dataset.c.id).where(dataset.c.run_id.in_(keys)).order_by(dataset.c.id)
    return list(connection.execute(asked).scalars())


def _run(connection: sa.Connection, name: str, *, lock: bool = False) -> coll.Collection:
    found = coll.get_collection(connection, name, lock=lock)
    if found.type != "RUN":
        raise CollectionTypeError(
            f"'{name}' is a {found.type} collection, which holds no datasets of its own; a RUN is "
            "removed with its datasets."
        )
    return found


def dependents(
    connection: sa.Connection, ids: Sequence[uuid.UUID], runs: Sequence[str] = ()
) -> Removal:
    """Tell what goes with datasets, and what depends on them; nothing is changed.

    Parameters
    ----------
    runs : sequence of str
        Runs that go with all their datasets, which ``ids`` are then.
    """
    told = Removal()
    own_runs = [_run(connection, name).id for name in runs]
    for given in _parts(connection, ids):
        _count(connection, told, given)
    mine = set(ids)
    below: dict[uuid.UUID, str] = {}
    reached = reached_sql(connection, ids, up=False).subquery("below") if ids else None
    if reached is not None:
        asked = (
            sa.select(dataset.c.id, collection.c.name)
            .join_from(reached, dataset, dataset.c.id == reached.c.dataset_id)
            .join(collection, collection.c.id == dataset.c.run_id)
        )
        below = {i: run for i, run in connection.execute(asked) if i not in mine}
    for run in below.values():
        told.derived[run] = told.derived.get(run, 0) + 1
    told.kept = len(_kept(connection, ids, own_runs))
    if own_runs:
        told.tasks = connection.execute(
            sa.select(sa.func.count()).select_from(task).where(task.c.run_id.in_(own_runs))
        ).scalar_one()
        told.chained = _chains(connection, own_runs)
    told.waiting = _waiting(connection, ids, own_runs)
    return told


def _count(connection: sa.Connection, told: Removal, given: sa.Subquery) -> None:
    gone = sa.exists().where(removed_dataset.c.dataset_id == given.c.id)
    counted: tuple[tuple[dict[str, int], Any], ...] = (
        (
            told.datasets,
            sa.select(dataset_type.c.name, sa.func.count())
            .join_from(given, dataset, dataset.c.id == given.c.id)
            .join(dataset_type, dataset_type.c.id == dataset.c.dataset_type_id)
            .where(~gone)
            .group_by(dataset_type.c.name),
        ),
        (
            told.tagged,
            sa.select(collection.c.name, sa.func.count())
            .join_from(given, tagged, tagged.c.dataset_id == given.c.id)
            .join(collection, collection.c.id == tagged.c.collection_id)
            .group_by(collection.c.name),
        ),
        (
            told.certified,
            sa.select(collection.c.name, sa.func.count())
            .join_from(given, calibration, calibration.c.dataset_id == given.c.id)
            .join(collection, collection.c.id == calibration.c.collection_id)
            .group_by(collection.c.name),
        ),
    )
    for counts, statement in counted:
        for name, n in connection.execute(in_written_order(statement)):
            counts[name] = counts.get(name, 0) + n


def _chains(connection: sa.Connection, runs: Sequence[int]) -> dict[str, list[str]]:
    child, parent = collection.alias("child"), collection.alias("parent")
    rows = connection.execute(
        sa.select(child.c.name, parent.c.name)
        .join_from(collection_chain, child, child.c.id == collection_chain.c.child_id)
        .join(parent, parent.c.id == collection_chain.c.parent_id)
        .where(child.c.id.in_(runs))
        .order_by(child.c.name, parent.c.name)
    )
    found: dict[str, list[str]] = {}
    for run, chain in rows:
        found.setdefault(run, []).append(chain)
    return found


def _waiting(connection: sa.Connection, ids: Sequence[uuid.UUID], runs: Sequence[int]) -> int:
    quanta: set[uuid.UUID] = set()
    for given in _parts(connection, ids):
        asked = (
            sa.select(quantum.c.id)
            .join_from(given, quantum_input, quantum_input.c.dataset_id == given.c.id)
            .join(quantum, quantum.c.id == quantum_input.c.quantum_id)
            .join(task, task.c.id == quantum.c.task_id)
            .where(quantum.c.state.not_in(["done", "no_work"]), task.c.run_id.not_in(runs))
        )
        quanta.update(connection.execute(in_written_order(asked)).scalars())
    return len(quanta)


def _kept(
    connection: sa.Connection, ids: Sequence[uuid.UUID], runs: Sequence[int]
) -> set[uuid.UUID]:
    """Find the datasets whose rows must stay: read by a quantum that stays, or behind one of these.

    Parameters
    ----------
    runs : sequence of int
        Runs that go; what only their quanta read need not stay.
    """
    used: set[uuid.UUID] = set()
    for given in _parts(connection, ids):
        asked = (
            sa.select(given.c.id)
            .join_from(given, quantum_input, quantum_input.c.dataset_id == given.c.id)
            .join(quantum, quantum.c.id == quantum_input.c.quantum_id)
            .join(task, task.c.id == quantum.c.task_id)
            .where(task.c.run_id.not_in(runs))
            .distinct()
        )
        used.update(connection.execute(in_written_order(asked)).scalars())
    if not (used and runs):
        return used
    behind = connection.execute(reached_sql(connection, list(used), up=True)).scalars()
    return set(ids) & set(behind)


def remove_datasets(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> int:
    """Remove datasets with their tags and validity ranges; their files are gone already.

    Returns
    -------
    int
        How many left a row behind.

    Raises
    ------
    InUse
        If one is another repository's, and was read here: it is not here to be removed.
    """
    return len(_remove(connection, ids, _kept(connection, ids, [])))


def _remove(
    connection: sa.Connection, ids: Sequence[uuid.UUID], kept: set[uuid.UUID]
) -> set[uuid.UUID]:
    _refuse_foreign(connection, list(kept))
    for given in _parts(connection, ids):
        for column in (tagged.c.dataset_id, calibration.c.dataset_id):
            delete_among(connection, column, given.c.id)
    gone = [i for i in ids if i not in kept]
    for given in _parts(connection, gone):
        for column in (
            calibration_fact.c.dataset_id,
            quantum_output.c.dataset_id,
            foreign_dataset.c.dataset_id,
            removed_dataset.c.dataset_id,
            dataset.c.id,
        ):
            delete_among(connection, column, given.c.id)
    now, who = utc_now(), account()
    rows = [{"dataset_id": i, "removed_at": now, "removed_by": who} for i in sorted(kept)]
    insert_rows(connection, removed_dataset, rows, skip_existing=True)
    return kept


def _refuse_foreign(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> None:
    for given in _parts(connection, ids):
        asked = sa.select(given.c.id).join_from(
            given, foreign_dataset, foreign_dataset.c.dataset_id == given.c.id
        )
        found = connection.execute(asked.limit(1)).scalar()
        if found is not None:
            raise InUse(
                f"The dataset {found} is another repository's, and something here was made from "
                "it; it is removed where it is at home."
            )


def remove_runs(connection: sa.Connection, names: Sequence[str]) -> int:
    """Remove runs with their datasets, tasks and quanta; their files are gone already.

    They are taken out of chains.  A run stays, with no dataset that a search finds, when datasets
    of it leave rows behind; so do the quanta that made these.

    Returns
    -------
    int
        How many datasets left a row behind.
    """
    runs = [_run(connection, name, lock=True) for name in names]
    keys = [run.id for run in runs]
    ids = runs_content(connection, names)
    kept = _kept(connection, ids, keys)
    _remove_quanta(connection, keys, kept)
    _remove(connection, ids, kept)
    connection.execute(sa.delete(collection_chain).where(collection_chain.c.child_id.in_(keys)))
    staying = sa.select(dataset.c.run_id).where(dataset.c.run_id.in_(keys)).distinct()
    held = set(connection.execute(staying).scalars())
    tasks = sa.select(task.c.run_id).where(task.c.run_id.in_(keys)).distinct()
    held |= set(connection.execute(tasks).scalars())
    empty = [key for key in keys if key not in held]
    connection.execute(sa.delete(collection).where(collection.c.id.in_(empty)))
    return len(kept)


def _remove_quanta(connection: sa.Connection, runs: Sequence[int], kept: set[uuid.UUID]) -> None:
    """Remove the quanta of runs, apart from those that made what is kept; then empty tasks."""
    all_of_them = (
        sa.select(quantum.c.id)
        .join(task, task.c.id == quantum.c.task_id)
        .where(task.c.run_id.in_(runs))
    )
    makers: set[uuid.UUID] = set()
    for given in _parts(connection, list(kept)):
        asked = sa.select(quantum_output.c.quantum_id).join_from(
            given, quantum_output, quantum_output.c.dataset_id == given.c.id
        )
        makers.update(connection.execute(in_written_order(asked)).scalars())
    gone = [i for i in connection.execute(all_of_them).scalars() if i not in makers]
    for given in _parts(connection, gone):
        for column in (
            quantum_metric.c.quantum_id,
            quality_check.c.quantum_id,
            quantum_input.c.quantum_id,
            quantum_output.c.quantum_id,
            *PLANNED,
            given_quantum.c.quantum_id,
            quantum.c.id,
        ):
            delete_among(connection, column, given.c.id)
    of_runs = sa.select(task.c.id).where(task.c.run_id.in_(runs))
    forget_unused(connection, connection.execute(of_runs).scalars())
    left = sa.exists().where(quantum.c.task_id == task.c.id)
    varied = sa.exists().where(task_variant.c.task_id == task.c.id)
    empty = connection.execute(sa.select(task.c.id).where(task.c.run_id.in_(runs), ~left, ~varied))
    keys = list(empty.scalars())
    for column in (
        config_history.c.task_id,
        task_connection.c.task_id,
        reused_dataset.c.task_id,
        task_need.c.task_id,
    ):
        connection.execute(sa.delete(column.table).where(column.in_(keys)))
    connection.execute(sa.delete(planned_run).where(planned_run.c.run_id.in_(runs)))
    gave = sa.exists().where(given_quantum.c.graph_id == graph_file.c.id)
    connection.execute(sa.delete(graph_file).where(graph_file.c.run_id.in_(runs), ~gave))
    connection.execute(sa.delete(task).where(task.c.id.in_(keys)))
