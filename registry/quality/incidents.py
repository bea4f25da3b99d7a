"""What must somebody look after, and how does its state change?

An incident changes its state only along `TRANSITIONS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import account, rows_of, utc_now
from registry.errors import InvalidState, UnknownName
from registry.schema.quality import incident

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Sequence

__all__ = ["TRANSITIONS", "Incident", "UnknownIncident", "acknowledge", "close", "listed", "worsen"]

TRANSITIONS = {
    ("open", "acknowledge", "acknowledged"),
    ("open", "close", "closed"),
    ("acknowledged", "worsen", "open"),
    ("acknowledged", "close", "closed"),
}
"""(from, verb, to): the only ways in which an incident's state changes.

It worsens when a failure comes to what were warnings; more of the same leaves it as it is.
"""


class UnknownIncident(UnknownName):
    """There is no incident of this identity."""

    code = "unknown-incident"
    kind = "incident"
    remedy = "`skyspine qc incidents REPO --all` lists them."


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that somebody has to look after; columns as in the table `incident`."""

    id: uuid.UUID
    kind: str
    subject: str
    severity: str
    state: str
    n_seen: int
    opened_at: dt.datetime
    last_seen_at: dt.datetime
    acknowledged_at: dt.datetime | None
    acknowledged_by: str | None
    closed_at: dt.datetime | None
    closed_by: str | None
    note: str | None


_I = incident.c


def listed(connection: sa.Connection, *, closed: bool = False) -> list[Incident]:
    """List the incidents, the last seen first; those that are closed too if asked."""
    columns = [c for c in incident.c if c.name != "live"]
    asked = sa.select(*columns).order_by(_I.last_seen_at.desc(), _I.id)
    if not closed:
        asked = asked.where(_I.state.in_(("open", "acknowledged")))
    return [Incident(*row) for row in connection.execute(asked)]


def acknowledge(connection: sa.Connection, ids: Sequence[uuid.UUID], note: str = "") -> int:
    """Take incidents up: somebody looks after them.

    Returns
    -------
    int
        How many were open; those that were acknowledged before stay as they are.

    Raises
    ------
    UnknownIncident
        If there is none of an identity.
    InvalidState
        If one is closed.
    """
    states = _states(connection, ids)
    if closed := [i for i, state in states.items() if state == "closed"]:
        raise InvalidState(f"The incident {closed[0]} is closed; nobody has to look after it.")
    return _move(
        connection,
        ids,
        "acknowledge",
        note,
        acknowledged_at=utc_now(),
        acknowledged_by=account(),
    )


def close(connection: sa.Connection, ids: Sequence[uuid.UUID], note: str = "") -> int:
    """Close incidents; should it be found again, another one is opened.

    Returns
    -------
    int
        How many were not closed before.

    Raises
    ------
    UnknownIncident
        If there is none of an identity.
    """
    _states(connection, ids)
    return _move(
        connection, ids, "close", note, closed_at=utc_now(), closed_by=account(), live=None
    )


def _states(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    asked = sa.select(_I.id, _I.state).where(_I.id.in_(list(ids)))
    found = {row.id: row.state for row in connection.execute(asked)}
    for key in ids:
        if key not in found:
            raise UnknownIncident(str(key), map(str, found))
    return found


def _move(
    connection: sa.Connection, ids: Sequence[uuid.UUID], verb: str, note: str, **values: Any
) -> int:
    n = 0
    for before, _, after in sorted(t for t in TRANSITIONS if t[1] == verb):
        said = {"note": note} if note else {}
        moved = connection.execute(
            sa.update(incident)
            .where(_I.id.in_(list(ids)), _I.state == before)
            .values(state=after, **said, **values)
        )
        n += int(moved.rowcount)
    return n


def worsen(connection: sa.Connection, again: Sequence[dict[str, Any]], now: dt.datetime) -> None:
    """Add to incidents that are not closed what was found again.

    Parameters
    ----------
    again : sequence of mappings
        ``id``, ``n`` (how often) and ``failed`` (whether one of these is a failure).
    """
    if not again:
        return
    given = rows_of(
        connection,
        [{"i": g["id"], "more": g["n"], "worse": int(g["failed"])} for g in again],
        {"i": sa.Uuid, "more": sa.BigInteger, "worse": sa.BigInteger},
    )
    worse = sa.and_(given.c.worse == 1, _I.severity == "warning")
    connection.execute(
        sa.update(incident)
        .where(_I.id == given.c.i)
        .values(
            n_seen=_I.n_seen + given.c.more,
            last_seen_at=now,
            state=sa.case((worse, "open"), else_=_I.state),
            severity=sa.case((given.c.worse == 1, "failure"), else_=_I.severity),
        )
    )
