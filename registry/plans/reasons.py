"""Why can a quantum not run, in a sentence?

The facts were kept when it was blocked; the sentence is made when somebody asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.calibrations.policies import VALID, all_policies
from registry.identity import DIMENSIONS, TEMPORAL, DataId
from registry.schema.identity import data_id, dataset_type
from registry.schema.plans import quantum_block, task_connection
from registry.schema.provenance import quantum, task
from registry.timespan import iso

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping

    from registry.calibrations.policies import Policy

__all__ = ["Blocked", "blocked_quanta"]


@dataclass(frozen=True, slots=True)
class Blocked:
    """A quantum that cannot run.

    Parameters
    ----------
    id : uuid.UUID
        Its identity.
    label : str
        Its task.
    data_id : DataId
        Its data ID.
    reason : str
        One sentence.
    """

    id: uuid.UUID
    label: str
    data_id: DataId
    reason: str


def blocked_quanta(
    connection: sa.Connection, run_id: int, limit: int | None = None
) -> list[Blocked]:
    """List the blocked quanta of a run, each with the reason.

    Parameters
    ----------
    limit : int, optional
        At most so many.
    """
    b, t, q = quantum_block.c, task_connection.c, quantum.c
    of_connection = (t.task_id == q.task_id) & (t.name == b.connection)
    rows = connection.execute(
        sa.select(
            q.id,
            task.c.label,
            q.exception_message,
            b.cause,
            b.connection,
            b.n_found,
            b.at_tai_ns,
            b.before_tai_ns,
            b.after_tai_ns,
            b.text,
            t.dataset_type,
            t.minimum,
            dataset_type.c.is_calibration,
            *(data_id.c[d] for d in DIMENSIONS),
            data_id.c.extra,
        )
        .select_from(quantum)
        .join(task, task.c.id == q.task_id)
        .join(data_id, data_id.c.id == q.data_id)
        .outerjoin(quantum_block, b.quantum_id == q.id)
        .outerjoin(task_connection, of_connection)
        .outerjoin(dataset_type, dataset_type.c.name == t.dataset_type)
        .where(task.c.run_id == run_id, q.state == "blocked")
        .order_by(task.c.id, q.id)
        .limit(limit)
    ).mappings()
    policies = all_policies(connection)
    found = []
    for row in rows:
        keys = {d: row[d] for d in DIMENSIONS if row[d] is not None} | (row["extra"] or {})
        own = DataId.of(keys)
        found.append(Blocked(row["id"], row["label"], own, _sentence(dict(row), own, policies)))
    return found


def _sentence(row: Mapping[str, Any], own: DataId, policies: Mapping[str, Policy]) -> str:
    if row["cause"] == "refused":
        return str(row["text"])
    if row["cause"] != "no_prerequisite":
        return str(row["exception_message"])
    kind, at = row["dataset_type"], row["at_tai_ns"]
    if row["is_calibration"] is None:
        return f"No {kind} was found: nothing of this type was ever registered here."
    if not row["is_calibration"] or at is None:
        return f"No {kind} for {own!r} was found."
    whose = ", ".join(f"{k} {v}" for k, v in own.items() if k not in TEMPORAL)
    around = []
    if row["before_tai_ns"] is not None:
        around.append(f"the nearest before ends {iso(row['before_tai_ns'])}")
    if row["after_tai_ns"] is not None:
        around.append(f"the nearest after begins {iso(row['after_tai_ns'])}")
    nearest = " and ".join(around) or "none is certified for it at any time in what was searched"
    policy = policies.get(kind, VALID)
    how = "is valid" if policy == VALID else f"may be taken by its policy ({policy})"
    return f"No {kind} {how} at {iso(at)} TAI for {whose}; {nearest}."
