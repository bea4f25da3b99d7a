"""Why is it this calibration, and not another one?

`explain_calibration` lays every calibration of a key beside the rules of its policy: which one is
taken and, for each other one, the reason why it is not.  It agrees with what
`registry.calibrations.lookup.find_calibrations` finds, which asks the database only for the best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.calibrations.facts import facts_of
from registry.calibrations.lookup import observed, rank_of
from registry.calibrations.policies import SLACK, VALID, Policy, get_policy
from registry.datasets import get_refs
from registry.durations import lasting
from registry.identity import DataId, DatasetRef, DatasetType
from registry.schema.calibrations import calibration
from registry.schema.collections import collection
from registry.schema.identity import data_id, dataset_type
from registry.timespan import BEGINNING, END, Timespan, iso

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from registry import collections as coll

__all__ = ["Candidate", "Explanation", "explain_calibration", "nearest"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A calibration of the key that was asked for.

    Parameters
    ----------
    ref : DatasetRef
        The calibration.
    collection : str
        CALIBRATION collection that certifies it.
    validity : Timespan
        Over which time.
    distance_ns : int
        How far the observation is outside of that [ns]; 0 inside, and at its very end.
    facts : mapping
        Its facts that the policy compares, by name.
    chosen : bool
        Whether it is the one that is taken.
    reason : str
        Why it is, or is not.
    """

    ref: DatasetRef
    collection: str
    validity: Timespan
    distance_ns: int
    facts: Mapping[str, float | str]
    chosen: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was asked for, by which rules, and what became of every candidate.

    Parameters
    ----------
    dataset_type : str
        Type of calibration.
    key : DataId
        What it is looked up by.
    at : int
        Time of the observation [TAI ns since 1970].
    facts : mapping
        Facts of the observation that the policy compares.
    policy : Policy
        The rules.
    collections : tuple of str
        CALIBRATION collections searched, in order.
    candidates : tuple of Candidate
        Best first: the one that is taken, those that might be in its place, then the others.
    """

    dataset_type: str
    key: DataId
    at: int
    facts: Mapping[str, float | str]
    policy: Policy
    collections: tuple[str, ...]
    candidates: tuple[Candidate, ...]

    @property
    def chosen(self) -> Candidate | None:
        """The calibration that is taken, if any."""
        return next((c for c in self.candidates if c.chosen), None)

    def __str__(self) -> str:
        facts = "".join(f", {k} {_shown(v)}" for k, v in self.facts.items())
        asked = f"{self.dataset_type} for {self.key!r} at {iso(self.at)} TAI{facts}"
        places = ", ".join(f"'{c}'" for c in self.collections) or "no CALIBRATION collection"
        found = self.chosen
        answer = (
            f"{found.ref.data_id!r} of '{found.ref.run}': {found.reason}"
            if found
            else f"none of {len(self.candidates)} candidates may be taken"
            if self.candidates
            else "nothing is certified for it at any time"
        )
        return f"{asked}; policy: {self.policy}; searched: {places}: {answer}."


def explain_calibration(
    connection: sa.Connection,
    kind: DatasetType,
    observation: Mapping[str, Any],
    at: int,
    collections: Sequence[coll.Collection],
    *,
    facts: Mapping[str, Any] | None = None,
) -> Explanation:
    """Say which calibration is taken for an observation, and why no other one.

    Parameters
    ----------
    kind, collections
        As for `registry.calibrations.find_calibrations`.
    observation : mapping
        Its data ID.
    at : int
        Its time [TAI ns since 1970].
    facts : mapping, optional
        Its facts that a policy compares; by default those of its exposure.

    Returns
    -------
    Explanation
        With every calibration of the same key, those of collections that were not searched
        included.
    """
    policy = get_policy(connection, kind)
    given = None if facts is None else [facts]
    asked = observed(connection, kind, policy, [(observation, at)], given)
    known = asked.facts[0] if asked.facts else {}
    searched = [c for c in collections if c.type == "CALIBRATION"]
    places = {c.id: n for n, c in enumerate(searched)}
    rows = connection.execute(_ranges_sql(kind, asked.keys[0])).all()
    refs = get_refs(connection, list({r.dataset_id for r in rows}))
    compared = facts_of(connection, list(refs)) if policy.match else {}

    def judged(row: Any) -> tuple[Any, ...]:
        own = {k: v for k, v in compared.get(row.dataset_id, {}).items() if k in policy.match}
        rank = rank_of(row.valid_begin_tai_ns, row.valid_end_tai_ns, at)
        place = places.get(row.collection_id)
        refusal = _refusal(policy, rank, known, own)
        if place is None:
            refusal = f"'{row.name}' was not searched"
        return (bool(refusal), place is None, *rank, place or 0, row.id), row, own, refusal

    candidates: list[Candidate] = []
    best: tuple[Any, Any] | None = None
    for order, row, own, refusal in sorted((judged(r) for r in rows), key=lambda item: item[0]):
        chosen = best is None and not refusal
        _, _, invalid, distance, after, _, _ = order
        if chosen:
            best = (order, row)
            reason = "valid" if not invalid else _nearness(distance, after)
            reason += "".join(
                f", same {k}" if t is None else f", {k} within {t:g}"
                for k, t in policy.match.items()
            )
        else:
            reason = refusal or _beaten(best, order, row)
        candidates.append(
            Candidate(
                refs[row.dataset_id],
                row.name,
                _span(row.valid_begin_tai_ns, row.valid_end_tai_ns),
                distance,
                own,
                chosen,
                reason,
            )
        )
    return Explanation(
        kind.name,
        _key(kind, observation, candidates),
        at,
        known,
        policy,
        tuple(c.name for c in searched),
        tuple(candidates),
    )


def _ranges_sql(kind: DatasetType, key: str) -> sa.Select[Any]:
    c = calibration.c
    return (
        sa.select(
            c.id,
            c.collection_id,
            collection.c.name,
            c.dataset_id,
            c.valid_begin_tai_ns,
            c.valid_end_tai_ns,
        )
        .join(data_id, data_id.c.id == c.data_id)
        .join(dataset_type, dataset_type.c.id == c.dataset_type_id)
        .join(collection, collection.c.id == c.collection_id)
        .where(data_id.c.identity_key == key, dataset_type.c.name == kind.name)
    )


def _key(
    kind: DatasetType, observation: Mapping[str, Any], candidates: Sequence[Candidate]
) -> DataId:
    names = kind.lookup_dimensions
    if candidates:
        return candidates[0].ref.data_id.subset(names)
    return DataId.of({k: observation[k] for k in names if k in observation})


def _span(begin: int, end: int) -> Timespan:
    return Timespan(None if begin <= BEGINNING else begin, None if end >= END else end)


def _nearness(distance: int, after: bool) -> str:
    if after:
        return f"begins {lasting(distance)} after the observation"
    return f"ended {lasting(distance)} before the observation" if distance else "ended just then"


def _refusal(
    policy: Policy,
    rank: tuple[bool, int, bool],
    known: Mapping[str, float | str],
    own: Mapping[str, float | str],
) -> str:
    """Say why a calibration may not be taken, whatever else there is; empty when it may."""
    for name, tolerance in policy.match.items():
        problem = _disagreement(name, tolerance, known.get(name), own.get(name))
        if problem:
            return problem
    invalid, distance, after = rank
    if not invalid:
        return ""
    near = _nearness(distance, after)
    if policy.selection == "valid":
        return f"not valid: {near}"
    if after and policy.selection == "nearest-earlier":
        return f"{near}, and only earlier ones may be taken"
    if distance > policy.reach():
        return f"{near}, farther than {lasting(policy.reach())}"
    return ""


def _disagreement(
    name: str, tolerance: float | None, known: float | str | None, own: float | str | None
) -> str:
    if known is None:
        return f"{name} of the observation is not known"
    if own is None:
        return f"its {name} is not known"
    numbers = not isinstance(known, str) and not isinstance(own, str)
    difference = abs(float(own) - float(known)) if numbers else math.inf
    if tolerance is None:
        same = difference <= SLACK if numbers else own == known
        return "" if same else f"its {name} is {_shown(own)}, not {_shown(known)}"
    if not numbers:
        return f"its {name} {_shown(own)} and {_shown(known)} are not both numbers"
    if difference <= tolerance + SLACK:
        return ""
    return f"its {name} is {_shown(own)}, more than {tolerance:g} from {_shown(known)}"


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _beaten(best: tuple[Any, Any] | None, order: tuple[Any, ...], row: Any) -> str:
    """Say why a calibration that might be taken gives way to the best one."""
    assert best is not None  # noqa: S101 (the first that may be taken is the best)
    (_, _, best_invalid, best_distance, best_after, _, _), best_row = best
    _, _, invalid, distance, after, _, _ = order
    if not invalid or ((distance, after) == (best_distance, best_after) and best_invalid):
        return f"'{row.name}' is searched after '{best_row.name}'"
    near = _nearness(distance, after)
    if not best_invalid:
        return f"{near}, and the one taken is valid"
    if distance == best_distance:
        return f"{near}, and an earlier one is as near"
    return f"{near}, and another one is nearer"


def nearest(
    connection: sa.Connection,
    kind: DatasetType,
    observation: Mapping[str, Any],
    at: int,
    collections: Sequence[coll.Collection],
    *,
    facts: Mapping[str, Any] | None = None,
) -> str:
    """Say what is nearest when no calibration may be taken.

    Returns
    -------
    str
        A sentence for an error message.
    """
    if not any(c.type == "CALIBRATION" for c in collections):
        return "No CALIBRATION collection was searched; name one, or certify into one first."
    told = explain_calibration(connection, kind, observation, at, collections, facts=facts)
    candidates = [c for c in told.candidates if c.collection in told.collections]
    if not candidates:
        return f"No {kind.name} is certified for {told.key!r} at any time."
    if told.policy != VALID:
        shown = "; ".join(f"{c.ref.data_id!r} of '{c.ref.run}': {c.reason}" for c in candidates[:3])
        return (
            f"No {kind.name} may be taken at {iso(at)} TAI by its policy ({told.policy}): {shown}."
        )
    before = max(
        (c for c in candidates if c.validity.bounds[1] <= at),
        default=None,
        key=lambda c: c.validity.bounds[1],
    )
    after = min(
        (c for c in candidates if c.validity.bounds[0] > at),
        default=None,
        key=lambda c: c.validity.bounds[0],
    )
    around = []
    if before is not None:
        around.append(f"the nearest before ends {iso(before.validity.end)} ('{before.collection}')")
    if after is not None:
        around.append(
            f"the nearest after begins {iso(after.validity.begin)} ('{after.collection}')"
        )
    return f"No {kind.name} is valid at {iso(at)} TAI; {' and '.join(around)}."
