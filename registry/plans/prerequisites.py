"""Which prerequisite does each quantum have, and which quanta lack one?

Calibrations are looked up for all quanta of a task by one statement, by the policy of their type:
the same answer as `registry.calibrations.find_calibrations` gives for one. What has a function of
its own is asked in `registry.plans.lookups`. The time, the filter
and the declared keys are those of the quantum's own exposure, else of the earliest exposure among
its inputs, else of its visit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.calibrations.lookup_of_rows import agreed_facts, ends_around, held_sql
from registry.calibrations.policies import get_policy
from registry.database import analyze_grown, json_field
from registry.finding import query_datasets_sql
from registry.identity import DIMENSIONS
from registry.keys import key_type
from registry.plans.blocking import block, count_of, is_doubtful, viable
from registry.plans.data_ids import identity_of
from registry.plans.lookups import look_up_by_function
from registry.plans.sources import columns_of_data_id
from registry.schema.dimensions import exposure, physical_filter, visit
from registry.schema.identity import data_id, dataset, dataset_type
from registry.schema.plans import planned_input, planned_output
from registry.schema.provenance import quantum

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.plans.tasks import LooksUp, PlannedTask, Search

__all__ = ["look_up"]


@dataclass(frozen=True)
class _Subject:
    """What is known of the quanta of a task, for a lookup."""

    base: Any
    columns: Mapping[str, Any]
    at: Any


def look_up(
    connection: sa.Connection, task: PlannedTask, search: Search, *, promised: bool
) -> None:
    """Insert the prerequisites of ready quanta, and block those that lack one.

    Parameters
    ----------
    promised : bool
        Whether those are meant that the run itself certified.
    """
    for wanted in task.looks_up:
        if wanted.promised is not promised:
            continue
        known = connection.execute(
            sa.select(dataset_type.c.id).where(dataset_type.c.name == wanted.kind.name)
        ).scalar()
        rows = None
        if wanted.function is not None:
            names = [c.name for c in search.collections] if known is not None else []
            look_up_by_function(connection, task, wanted, wanted.function, names)
        subject = _subject(connection, task, wanted)
        by_keys = known is not None and wanted.function is None
        if by_keys and wanted.kind.is_calibration:
            rows = _calibrations(connection, task, wanted, subject, search)
        elif by_keys:
            rows = _others(connection, task, wanted, subject, search)
        if rows is not None:
            into = ["quantum_id", "dataset_id", "connection"]
            done = connection.execute(sa.insert(planned_input).from_select(into, rows))
            analyze_grown(connection, planned_input, done.rowcount)
        if wanted.minimum > 0:
            _block_without(connection, task, wanted, subject, search)


def _subject(connection: sa.Connection, task: PlannedTask, wanted: LooksUp) -> _Subject:
    """Join the exposure or visit that tells when and through what a quantum was observed."""
    i = data_id.alias("i")
    base: Any = quantum.join(i, i.c.id == quantum.c.data_id)
    columns = columns_of_data_id(connection, i, task.dimensions)
    told: dict[str, list[Any]] = {}

    def observed(table: sa.Table, instrument: Any, key: Any) -> None:
        nonlocal base
        record = table.alias(f"taken_{table.name}")
        same = (record.c.instrument == instrument) & (record.c.id == key)
        base = base.outerjoin(record, same)
        for name in ("instrument", "day_obs", "physical_filter", "begin_tai_ns"):
            told.setdefault(name, []).append(record.c[name])
        if table is exposure:
            for d in (d for d in wanted.kind.dimensions if d not in DIMENSIONS):
                told[d] = [json_field(record.c.extra, d, key_type(connection, d))]

    if {"instrument", "exposure"} <= set(task.dimensions):
        observed(exposure, i.c.instrument, i.c.exposure)
    elif any("exposure" in r.kind.dimensions for r in task.reads):
        first = _earliest(connection, task)
        base = base.outerjoin(first, first.c.quantum_id == quantum.c.id)
        observed(exposure, first.c.instrument, first.c.exposure)
    if {"instrument", "visit"} <= set(task.dimensions) and "exposure" not in task.dimensions:
        observed(visit, i.c.instrument, i.c.visit)
    if not told:
        return _Subject(base, columns, sa.cast(sa.null(), sa.BigInteger))
    there = told["begin_tai_ns"][0].is_not(None)
    firsts = {
        d: c[0] if len(c) == 1 else sa.case((there, c[0]), else_=c[1]) for d, c in told.items()
    }
    at = firsts.pop("begin_tai_ns")
    columns = {**firsts, **columns}
    if "band" in wanted.kind.dimensions and "band" not in columns:
        f = physical_filter.alias("f")
        same = (f.c.instrument == columns["instrument"]) & (f.c.name == columns["physical_filter"])
        base = base.outerjoin(f, same)
        columns["band"] = f.c.band
    return _Subject(base, columns, at)


def _exposures_of(connection: sa.Connection, task: PlannedTask) -> sa.Subquery:
    """Select the exposures of the inputs of a task's quanta, each with its begin."""
    names = [r.name for r in task.reads if "exposure" in r.kind.dimensions]
    made_here = any(r.maker is not None for r in task.reads if r.name in names)
    di = data_id.alias("of_input")
    key: Any = dataset.c.data_id
    base = quantum.join(planned_input, planned_input.c.quantum_id == quantum.c.id)
    same = dataset.c.id == planned_input.c.dataset_id
    if made_here:
        own = planned_output.alias("own")
        base = base.outerjoin(own, own.c.dataset_id == planned_input.c.dataset_id)
        base = base.outerjoin(dataset, same)
        key = sa.func.coalesce(own.c.data_id, dataset.c.data_id)
    else:
        base = base.join(dataset, same)
    e = exposure.alias("e")
    base = base.join(di, di.c.id == key)
    base = base.join(e, (e.c.instrument == di.c.instrument) & (e.c.id == di.c.exposure))
    return (
        sa.select(
            quantum.c.id.label("quantum_id"),
            di.c.instrument,
            di.c.exposure,
            e.c.begin_tai_ns,
            di.c.identity_key,
        )
        .select_from(base)
        .where(
            quantum.c.task_id == task.id,
            quantum.c.state == "ready",
            planned_input.c.connection.in_(names),
            *([viable()] if any(is_doubtful(connection, r) for r in task.reads) else []),
        )
        .subquery("seen")
    )


def _earliest(connection: sa.Connection, task: PlannedTask) -> sa.Subquery:
    seen = _exposures_of(connection, task)
    nth = sa.func.row_number().over(
        partition_by=seen.c.quantum_id, order_by=(seen.c.begin_tai_ns, seen.c.identity_key)
    )
    each = sa.select(
        seen.c.quantum_id, seen.c.instrument, seen.c.exposure, nth.label("nth")
    ).subquery("each_seen")
    return sa.select(each).where(each.c.nth == 1).subquery("first_seen")


def _ready(task: PlannedTask) -> Any:
    return (quantum.c.task_id == task.id) & (quantum.c.state == "ready")


def _calibrations(
    connection: sa.Connection,
    task: PlannedTask,
    wanted: LooksUp,
    subject: _Subject,
    search: Search,
) -> sa.Select[Any] | None:
    """Select the calibration of each quantum, or None when none can be found."""
    asked = _asked(connection, task, wanted, subject)
    if asked is None:
        return None
    policy = get_policy(connection, wanted.kind)
    facts = None
    if policy.match:
        facts = agreed_facts(_exposures_for_facts(connection, task), policy)
    held = held_sql(connection, wanted.kind, policy, asked, search.collections, facts)
    if held is None:
        return None
    return sa.select(held.c.asker, held.c.dataset_id, sa.literal(wanted.name, sa.String))


def _exposures_for_facts(connection: sa.Connection, task: PlannedTask) -> sa.Subquery:
    """Select each quantum with the exposures that a policy compares it by, each once."""
    if {"instrument", "exposure"} <= set(task.dimensions):
        i = data_id.alias("i")
        return (
            sa.select(quantum.c.id.label("quantum_id"), i.c.instrument, i.c.exposure)
            .join(i, i.c.id == quantum.c.data_id)
            .where(_ready(task))
            .subquery("facing")
        )
    seen = _exposures_of(connection, task)
    return (
        sa.select(seen.c.quantum_id, seen.c.instrument, seen.c.exposure)
        .distinct()
        .subquery("facing")
    )


def _asked(
    connection: sa.Connection, task: PlannedTask, wanted: LooksUp, subject: _Subject
) -> sa.Subquery | None:
    """Select quanta with the row of ``data_id`` that calibrations are kept by, and the time."""
    lookup = wanted.kind.lookup_dimensions
    if not set(lookup) <= set(subject.columns):
        return None
    row = data_id.alias("kept_by")
    # a calibration's key is in the table when one was certified; its columns are those asked for
    kept = columns_of_data_id(connection, row, lookup)
    declared = [d for d in lookup if d not in DIMENSIONS]
    if declared:
        same = [kept[d] == subject.columns[d] for d in lookup]
        same += [row.c[d].is_(None) for d in DIMENSIONS if d not in lookup]
    else:
        same = [row.c.identity_key == identity_of({d: subject.columns[d] for d in lookup})]
    return (
        sa.select(quantum.c.id.label("asker"), row.c.id.label("d"), subject.at.label("t"))
        .select_from(subject.base.join(row, sa.and_(*same)))
        .where(_ready(task), subject.at.is_not(None))
        .subquery("asked")
    )


def _others(
    connection: sa.Connection,
    task: PlannedTask,
    wanted: LooksUp,
    subject: _Subject,
    search: Search,
) -> sa.Select[Any] | None:
    """Select what is no calibration: by all its keys, or for a list by those that are known."""
    kind = wanted.kind
    shared = [d for d in kind.dimensions if d in subject.columns]
    if len(shared) < len(kind.dimensions) and not wanted.multiple:
        return None
    statement = query_datasets_sql(kind, search.collections, connection=connection)
    if statement is None:
        return None
    there = statement.order_by(None).subquery("there")
    own = columns_of_data_id(connection, there, kind.dimensions)
    # without a key in common all are meant: that identities differ always holds
    same = [own[d] == subject.columns[d] for d in shared] or [there.c.id != quantum.c.id]
    return (
        sa.select(quantum.c.id, there.c.id, sa.literal(wanted.name, sa.String))
        .select_from(subject.base.join(there, sa.and_(*same)))
        .where(_ready(task))
    )


def _block_without(
    connection: sa.Connection,
    task: PlannedTask,
    wanted: LooksUp,
    subject: _Subject,
    search: Search,
) -> None:
    """Block the quanta without a prerequisite; keep when, and between which calibrations."""
    n = count_of([wanted.name])
    facts: dict[str, Any] = {"n_found": n}
    if wanted.function is None:
        facts["at_tai_ns"] = subject.at
    by_time = wanted.kind.is_calibration and wanted.function is None
    asked = _asked(connection, task, wanted, subject) if by_time else None
    base = subject.base
    if asked is not None:
        before, after = ends_around(wanted.kind, asked, search.collections)
        base = base.outerjoin(asked, asked.c.asker == quantum.c.id)
        facts |= {"before_tai_ns": before, "after_tai_ns": after}
    what = "valid" if by_time else "there"
    block(
        connection,
        "no_prerequisite",
        wanted.name,
        base,
        (f"{wanted.name}: no {wanted.kind.name} is {what} for it.",),
        quantum.c.task_id == task.id,
        n < wanted.minimum,
        **facts,
    )
