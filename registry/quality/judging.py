"""Which values are not good enough?

Every value is compared once with each threshold that holds for it: a threshold that takes the place
of another compares anew.  What is found is in the same transaction as what was compared, so that
nothing is lost or counted twice, whoever is killed and however many ask at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import insert_missing, insert_rows, lock_rows, utc_now
from registry.identity import uuid7s
from registry.quality.incidents import worsen
from registry.schema.dimensions import exposure, visit
from registry.schema.identity import data_id
from registry.schema.provenance import quantum, quantum_metric, task
from registry.schema.quality import incident, quality_check, quality_threshold
from registry.schema.types import UtcDateTime

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Sequence

__all__ = ["Judgement", "judge"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a check found.

    Parameters
    ----------
    n_checked, n_warnings, n_failures : int
        Values that were compared now, and of these, how many are not good enough.
    incidents : tuple of uuid.UUID
        What these led to, or were added to.
    """

    n_checked: int
    n_warnings: int
    n_failures: int
    incidents: tuple[uuid.UUID, ...]


_T, _Q, _M, _K, _D, _C = (
    t.c for t in (quality_threshold, quantum, quantum_metric, task, data_id, quality_check)
)


def judge(connection: sa.Connection, run_ids: Sequence[int]) -> Judgement:
    """Compare what the tasks of some runs measured with the thresholds in force.

    Parameters
    ----------
    run_ids : sequence of int
        Keys of RUN collections.
    """
    in_force = sa.select(_T.id).where(_T.in_force == 1).order_by(_T.id)
    keys = list(connection.execute(lock_rows(in_force, connection)).scalars())
    if not keys or not run_ids:
        return Judgement(0, 0, 0, ())
    now = utc_now()
    columns = ["quantum_id", "threshold_id", "value", "verdict", "checked_at"]
    n_checked = insert_missing(connection, quality_check, _compared(run_ids, now), columns)
    if not n_checked:
        return Judgement(0, 0, 0, ())
    groups = connection.execute(_not_good_enough(keys)).mappings().all()
    if not groups:
        return Judgement(n_checked, 0, 0, ())
    found = _raise(connection, groups, now)
    _link(connection, keys)
    return Judgement(
        n_checked,
        sum(int(g["n_warnings"]) for g in groups),
        sum(int(g["n_failures"]) for g in groups),
        tuple(found),
    )


_OF_DATA = {
    "instrument": _D.instrument,
    "detector": _D.detector,
    "physical_filter": sa.func.coalesce(
        _D.physical_filter, exposure.c.physical_filter, visit.c.physical_filter
    ),
}
"""What a threshold may ask for, of the data of a quantum."""


def _holds(threshold: Any) -> sa.ColumnElement[bool]:
    """Write that a threshold is for the data of a quantum."""
    return sa.and_(
        *(threshold[key].is_(None) | (threshold[key] == has) for key, has in _OF_DATA.items())
    )


def _same(table: sa.Table, key: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.instrument == _D.instrument, table.c.id == _D[key])


def _compared(run_ids: Sequence[int], now: dt.datetime) -> sa.Select[Any]:
    """Write the values that no threshold in force was compared with yet, with their verdicts."""
    other = quality_threshold.alias("narrower")
    narrower = sa.exists().where(
        other.c.in_force == 1,
        other.c.task_label == _T.task_label,
        other.c.metric == _T.metric,
        other.c.n_keys > _T.n_keys,
        _holds(other.c),
    )
    done = sa.exists().where(_C.quantum_id == _Q.id, _C.threshold_id == _T.id)
    bad = sa.or_(_M.value < _T.fail_below, _M.value > _T.fail_above)
    poor = sa.or_(_M.value < _T.warn_below, _M.value > _T.warn_above)
    verdict = sa.case((bad, "failure"), (poor, "warning"), else_="passed")
    return (
        sa.select(
            _Q.id, _T.id, _M.value, verdict, sa.cast(sa.literal(now, UtcDateTime), UtcDateTime)
        )
        .select_from(quality_threshold)
        .join(task, sa.and_(_K.label == _T.task_label, _K.run_id.in_(run_ids)))
        .join(quantum, sa.and_(_Q.task_id == _K.id, _Q.state == "done"))
        .join(quantum_metric, sa.and_(_M.quantum_id == _Q.id, _M.name == _T.metric))
        .join(data_id, _D.id == _Q.data_id)
        .outerjoin(exposure, _same(exposure, "exposure"))
        .outerjoin(visit, _same(visit, "visit"))
        .where(_T.in_force == 1, _holds(_T), ~done, ~narrower)
    )


def _unexplained(keys: Sequence[int], *columns: Any) -> sa.Select[Any]:
    return (
        sa.select(*columns)
        .select_from(quality_check)
        .join(quality_threshold, _T.id == _C.threshold_id)
        .join(quantum, _Q.id == _C.quantum_id)
        .join(data_id, _D.id == _Q.data_id)
        .where(
            _C.threshold_id.in_(keys), _C.incident_id.is_(None), _C.verdict != sa.literal("passed")
        )
    )


_DETECTOR = sa.func.coalesce(sa.cast(_D.detector, sa.String(16)), "")
_SUBJECT = (
    _T.task_label
    + sa.literal("/")
    + _T.metric
    + sa.literal("/")
    + sa.func.coalesce(_D.instrument, "")
    + sa.literal("/")
    + _DETECTOR
)


def _not_good_enough(keys: Sequence[int]) -> sa.Select[Any]:
    """Count what led to no incident yet, by what an incident is about."""
    failures = sa.func.sum(sa.case((_C.verdict == "failure", 1), else_=0))
    warnings = sa.func.sum(sa.case((_C.verdict == "warning", 1), else_=0))
    subject = _SUBJECT.label("subject")
    return (
        _unexplained(keys, subject, failures.label("n_failures"), warnings.label("n_warnings"))
        .group_by(subject)
        .order_by(subject)
    )


def _raise(
    connection: sa.Connection, groups: Sequence[sa.RowMapping], now: dt.datetime
) -> list[uuid.UUID]:
    """Open incidents, and add to those that are open."""
    i = incident.c
    about = [g["subject"] for g in groups]
    open_ones = (
        sa.select(i.id, i.subject)
        .where(i.kind == "quality", i.live == 1, i.subject.in_(about))
        .order_by(i.subject)
    )
    known = {r.subject: r.id for r in connection.execute(lock_rows(open_ones, connection))}
    new = [g for g in groups if g["subject"] not in known]
    rows = [
        {
            "id": key,
            "kind": "quality",
            "subject": g["subject"],
            "severity": "failure" if g["n_failures"] else "warning",
            "state": "open",
            "n_seen": int(g["n_failures"] + g["n_warnings"]),
            "opened_at": now,
            "last_seen_at": now,
            "live": 1,
        }
        for key, g in zip(uuid7s(len(new)), new, strict=True)
    ]
    insert_rows(connection, incident, rows)
    again = [
        {
            "id": known[g["subject"]],
            "n": int(g["n_failures"] + g["n_warnings"]),
            "failed": bool(g["n_failures"]),
        }
        for g in groups
        if g["subject"] in known
    ]
    worsen(connection, again, now)
    return [row["id"] for row in rows] + [row["id"] for row in again]


def _link(connection: sa.Connection, keys: Sequence[int]) -> None:
    """Tell of each value that is not good enough what it led to."""
    i = incident.c
    of_it = (
        sa.select(i.id)
        .select_from(incident)
        .join(quantum, _Q.id == _C.quantum_id)
        .join(data_id, _D.id == _Q.data_id)
        .join(quality_threshold, _T.id == _C.threshold_id)
        .where(i.kind == "quality", i.live == 1, i.subject == _SUBJECT)
        .correlate(quality_check)
        .scalar_subquery()
    )
    connection.execute(
        sa.update(quality_check)
        .where(
            _C.threshold_id.in_(keys), _C.incident_id.is_(None), _C.verdict != sa.literal("passed")
        )
        .values(incident_id=of_it)
    )
