"""Which calibration may be taken for an observation, beyond what is valid?

A policy belongs to a type of calibration.  Validity comes first: at distance zero a calibration
holds.  Where none does, ``nearest-earlier`` takes the one that ended last before the observation,
``nearest`` the one that is nearest on either side, both within a limit if there is one.  Only
calibrations that agree with the observation in every fact that the policy names are candidates.
Tables: `registry.schema.calibrations`; the lookup is in `registry.calibrations.lookup`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.calibrations.facts import record_facts_of_type
from registry.database import account, insert_rows, lock_rows, utc_now
from registry.durations import lasting
from registry.errors import InvalidDataId, RegistryError, UnknownDatasetType, did_you_mean
from registry.schema.calibrations import (
    SELECTIONS,
    calibration_policy,
    calibration_policy_match,
)
from registry.schema.identity import dataset_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.identity import DatasetType

__all__ = ["BadPolicy", "Policy", "all_policies", "get_policy", "remove_policy", "set_policy"]

SLACK = 1e-9
"""Two numbers that differ by a tolerance and this much more still agree: decimals are rounded."""


class BadPolicy(RegistryError, ValueError):
    """A calibration policy cannot be like this."""

    code = "bad-policy"


_LARGEST = 1e300


@dataclass(frozen=True, slots=True)
class Policy:
    """Which calibration may be taken.

    Parameters
    ----------
    selection : {"valid", "nearest-earlier", "nearest"}
        What may be taken beyond what is valid.
    limit_ns : int, optional
        How far outside its validity range the observation may be [ns].
    match : mapping
        Facts in which both agree, by name: the largest difference, or None when they must be equal.

    Raises
    ------
    BadPolicy
        If it makes no sense.
    """

    selection: str = "valid"
    limit_ns: int | None = None
    match: Mapping[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.selection not in SELECTIONS:
            raise BadPolicy(
                f"A calibration policy is one of {', '.join(SELECTIONS)}, not '{self.selection}'."
                f"{did_you_mean(self.selection, SELECTIONS)}"
            )
        if self.limit_ns is not None and self.selection == "valid":
            raise BadPolicy(
                "A limit says how far outside its validity a calibration may be, "
                "so it needs the policy nearest-earlier or nearest."
            )
        if self.limit_ns is not None and not 0 < self.limit_ns < 2**63:
            raise BadPolicy("The limit of a calibration policy must be longer than nothing.")
        for name, tolerance in self.match.items():
            if not name or len(name) > 128:
                raise BadPolicy(f"{name[:60]!r} cannot name a fact: use 1 to 128 characters.")
            if tolerance is not None and not 0 <= tolerance <= _LARGEST:
                raise BadPolicy(f"The tolerance of {name} must be 0 or more, not {tolerance}.")

    def __str__(self) -> str:
        parts = [self.selection]
        if self.limit_ns is not None:
            parts[0] += f" within {lasting(self.limit_ns)}"
        parts += [
            f"same {name}" if tolerance is None else f"{name} within {tolerance:g}"
            for name, tolerance in self.match.items()
        ]
        return ", ".join(parts)

    def reach(self) -> int:
        """Give the largest distance that is allowed [ns]."""
        if self.selection == "valid":
            return 0
        return 2**63 - 1 if self.limit_ns is None else self.limit_ns


VALID = Policy()
"""What is taken of a type without a policy: only what is valid."""


def set_policy(connection: sa.Connection, kind: DatasetType, policy: Policy) -> None:
    """Set the policy of a type of calibration, in place of the one before.

    The facts that it compares are stored with everything that is certified of the type, as far as
    exposures tell them.

    Raises
    ------
    InvalidDataId
        If the type is not a calibration type.
    UnknownDatasetType
        If it is not registered (any more).
    """
    if not kind.is_calibration:
        raise InvalidDataId(f"{kind.name} is not a calibration type, so it has no policy.")
    type_id = _locked(connection, kind)
    _remove(connection, type_id)
    row = {
        "dataset_type_id": type_id,
        "selection": policy.selection,
        "limit_ns": policy.limit_ns,
        "changed_at": utc_now(),
        "changed_by": account(),
    }
    insert_rows(connection, calibration_policy, [row])
    matches = [
        {"dataset_type_id": type_id, "name": name, "tolerance": tolerance}
        for name, tolerance in policy.match.items()
    ]
    insert_rows(connection, calibration_policy_match, matches)
    if matches:
        record_facts_of_type(connection, type_id, set(policy.match))


def remove_policy(connection: sa.Connection, kind: DatasetType) -> bool:
    """Return to plain validity; tell whether there was a policy."""
    return _remove(connection, _locked(connection, kind))


def _locked(connection: sa.Connection, kind: DatasetType) -> int:
    asked = sa.select(dataset_type.c.id).where(dataset_type.c.name == kind.name)
    key = connection.execute(lock_rows(asked, connection)).scalar()
    if key is None:
        raise UnknownDatasetType(kind.name, remedy="Register it first.")
    return int(key)


def _remove(connection: sa.Connection, type_id: int) -> bool:
    for table in (calibration_policy_match, calibration_policy):
        n = connection.execute(sa.delete(table).where(table.c.dataset_type_id == type_id)).rowcount
    return n > 0


def policies_sql() -> sa.Select[Any]:
    """Write the question for all policies: one row per fact that is compared, or one without."""
    p, m = calibration_policy.c, calibration_policy_match.c
    return (
        sa.select(dataset_type.c.name.label("kind"), p.selection, p.limit_ns, m.name, m.tolerance)
        .join(calibration_policy, p.dataset_type_id == dataset_type.c.id)
        .outerjoin(calibration_policy_match, m.dataset_type_id == p.dataset_type_id)
        .order_by(dataset_type.c.name, m.name)
    )


_ALL = policies_sql()
_ONE = _ALL.where(dataset_type.c.name == sa.bindparam("kind"))


def get_policy(connection: sa.Connection, kind: DatasetType) -> Policy:
    """Give the policy of a type; `VALID` when it has none."""
    found = _read(connection.execute(_ONE, {"kind": kind.name}))
    return found.get(kind.name, VALID)


def all_policies(connection: sa.Connection) -> dict[str, Policy]:
    """List the policies by type."""
    return _read(connection.execute(_ALL))


def _read(rows: Any) -> dict[str, Policy]:
    found: dict[str, tuple[str, int | None, dict[str, float | None]]] = {}
    for kind, selection, limit_ns, name, tolerance in rows:
        match = found.setdefault(kind, (selection, limit_ns, {}))[2]
        if name is not None:
            match[name] = tolerance
    return {kind: Policy(*parts) for kind, parts in found.items()}
