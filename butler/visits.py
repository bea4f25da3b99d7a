"""Which visits do the exposures of a camera make?

The rule of its definition sorts the exposures of each night into groups, and the visits that are
there are brought to what it says: what is new is added, a visit of which nothing was made yet takes
a late snap, one of which something was made stays and is told.  The answer depends on the
exposures alone, not on the order in which they came.  The rule: `butler.instrument.visits`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from butler import cameras
from butler.errors import ConflictingVisit, VisitError, VisitInUse
from butler.instrument.visits import field_of
from registry import visits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import sqlalchemy as sa

    from butler.butler import Butler
    from butler.instrument import InstrumentDefinition
    from butler.instrument.visits import VisitGroup, VisitRule

__all__ = ["DefinedVisits", "define_visits", "define_visits_of"]

_SHOWN = 5
_LARGEST = 2**63


@dataclass(slots=True)
class DefinedVisits:
    """What became of the exposures that were asked for.

    Parameters
    ----------
    new : list of int
        Visits that were not there.
    changed : list of int
        Visits that have other exposures than before.
    unchanged : list of int
        Visits that were as the rule says.
    removed : list of int
        Visits that no exposure makes any more: their exposures were rejected, or make another.
    waiting : list of int
        Exposures whose visit is defined when the first of its sequence comes.
    refused : list of VisitError
        What could not be done, and what to do.
    """

    new: list[int] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    unchanged: list[int] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    refused: list[VisitError] = field(default_factory=list)

    def add(self, other: DefinedVisits) -> None:
        """Add what became of others."""
        for name in ("new", "changed", "unchanged", "removed", "waiting", "refused"):
            getattr(self, name).extend(getattr(other, name))


def define_visits(
    butler: Butler,
    instrument: str,
    *,
    where: str = "",
    bind: Mapping[str, Any] | None = None,
    dry_run: bool = False,
) -> DefinedVisits:
    """Make visits of exposures as the definition of the camera says; repeatable.

    One transaction for each night, so that it may be cut short and called again.

    Parameters
    ----------
    instrument : str
        The camera.
    where : str
        Condition on exposures; what goes with them into a visit is taken too.
    bind : mapping, optional
        Values of names in the condition.
    dry_run : bool
        Only tell what would become of them.

    Returns
    -------
    DefinedVisits

    Raises
    ------
    UnknownDimensionValue
        If the camera is not registered, or has no definition.
    VisitError
        If its definition does not say which exposures make a visit.
    """
    definition = cameras.load(butler.registry, instrument)
    if definition.visits is None:
        raise VisitError(
            f"The definition of {instrument} does not say which exposures make a visit, so that "
            "each became one when it was taken in; write it under `visits`, and register the "
            f"definition again (`skyspine instrument show REPO {instrument}` gives it)."
        )
    asked = butler.registry.query_dimension_records(
        "exposure", where=where, bind=bind, data_id={"instrument": instrument}
    )
    nights: dict[int, list[int]] = defaultdict(list)
    for record in asked:
        nights[record["day_obs"]].append(record["id"])
    done = DefinedVisits()
    database = butler.registry.database
    for night, exposures in sorted(nights.items()):
        act = database.ask if dry_run else database.transact
        done.add(act(_define, definition, night, exposures, dry_run=dry_run))
    return done


def define_visits_of(
    connection: sa.Connection, definition: InstrumentDefinition, exposures: Mapping[int, set[int]]
) -> DefinedVisits:
    """Define the visits of some exposures within a transaction that holds the camera.

    Parameters
    ----------
    exposures : mapping of int to set of int
        Exposures by night.
    """
    done = DefinedVisits()
    for night, of_night in sorted(exposures.items()):
        done.add(_define(connection, definition, night, of_night, dry_run=False))
    return done


def _define(
    connection: sa.Connection,
    definition: InstrumentDefinition,
    night: int,
    asked: Iterable[int],
    *,
    dry_run: bool,
) -> DefinedVisits:
    rule = definition.visits
    assert rule is not None  # noqa: S101 (the callers have looked)
    camera = definition.name
    if not dry_run:
        visits.hold_camera(connection, camera)
    wanted = set(asked)
    done = DefinedVisits()
    numbered: dict[int, list[VisitGroup]] = defaultdict(list)
    left: set[int] = set()
    for group in rule.groups(visits.exposures_of_night(connection, camera, night)):
        ids = {e["id"] for e in group.exposures}
        if not ids & wanted:
            continue
        wanted |= ids
        if group.waits:
            done.waiting += sorted(ids)
            left |= ids
            continue
        try:
            number = _number(rule, group, camera)
            _check_agree(group, camera)
        except ConflictingVisit as error:
            done.refused.append(error)
            left |= ids
            continue
        numbered[number].append(group)
    for number, found in numbered.items():
        if len(found) > 1:
            names = " and ".join(f"'{group.name}'" for group in found[:_SHOWN])
            done.refused.append(
                ConflictingVisit(
                    f"The visits {names} of {camera} in the night {night} would all have the "
                    f"number {number}: correct visits.number in the definition, or the rule of "
                    f"'{rule.number}'."
                )
            )
            left.update(e["id"] for group in found for e in group.exposures)
    groups = {number: found[0] for number, found in numbered.items() if len(found) == 1}
    wanted -= left
    plan = _Plan(connection, definition, wanted, groups)
    plan.settle(done)
    if not dry_run:
        visits.remove(connection, camera, plan.stale)
        members = {v: [e["id"] for e in groups[v].exposures] for v in plan.kept}
        visits.write(
            connection,
            camera,
            rule.system,
            [_record(v, groups[v], definition) for v in plan.written],
            {v: members[v] for v in plan.written},
        )
        visits.put_regions(connection, camera, members)
    return done


class _Plan:
    """What is to be done about the visits that there are.

    Parameters
    ----------
    wanted : set of int
        Exposures that are looked at.
    groups : mapping of int to VisitGroup
        What shall be, by the number of the visit.

    Attributes
    ----------
    stale : set of int
        Visits to be removed.
    written : list of int
        Visits to be inserted, those that take the place of stale ones among them.
    kept : list of int
        All that will be as the rule says.
    """

    def __init__(
        self,
        connection: sa.Connection,
        definition: InstrumentDefinition,
        wanted: set[int],
        groups: Mapping[int, VisitGroup],
    ) -> None:
        self._camera = definition.name
        self._groups = groups
        self._members, systems = visits.visits_of(connection, definition.name, wanted, groups)
        own = definition.visits.system if definition.visits is not None else ""
        self._others = {v for v, system in systems.items() if system != own}
        self._shall = {v: {e["id"] for e in group.exposures} for v, group in groups.items()}
        self._touched = {
            v: members
            for v, members in self._members.items()
            if v not in self._others and members & wanted
        }
        self._used = visits.in_use(connection, definition.name, self._outdated())
        self.stale: set[int] = set()
        self.written: list[int] = []
        self.kept: list[int] = []

    def _outdated(self) -> set[int]:
        """List the visits whose exposures are not those of the group of their number."""
        return {v for v, members in self._touched.items() if self._shall.get(v) != members}

    def settle(self, done: DefinedVisits) -> None:
        """Decide, and tell it; what cannot be is left as it is."""
        old_of: dict[int, set[int]] = {
            v: {o for o, members in self._touched.items() if members & shall and o != v}
            | ({v} & self._outdated())
            for v, shall in self._shall.items()
        }
        blocked = {v: self._why(v, old) for v, old in old_of.items()}
        refused = {v: why for v, why in blocked.items() if why is not None}
        held = {o for v in refused for o in old_of[v]}
        while more := {v for v, old in old_of.items() if v not in refused and old & held}:
            for v in more:
                shared = min(old_of[v] & held)
                refused[v] = VisitInUse(
                    f"Exposures of the visit {v} of {self._camera} are in the visit {shared}, "
                    "which stays as it is for the sake of another that cannot change."
                )
            held = {o for v in refused for o in old_of[v]}
        done.refused += [refused[v] for v in sorted(refused)]
        self.kept = sorted(set(self._groups) - set(refused))
        self.written = [
            v for v in self.kept if old_of[v] or v not in self._touched or v in self._outdated()
        ]
        self._settle_orphans(done, {o for old in old_of.values() for o in old})
        self.stale |= {o for v in self.kept for o in old_of[v]}
        done.new += [v for v in self.written if v not in self._touched]
        done.changed += [v for v in self.written if v in self._touched]
        done.unchanged += [v for v in self.kept if v not in self.written]
        done.removed += sorted(self.stale - set(self.written))

    def _settle_orphans(self, done: DefinedVisits, taken: set[int]) -> None:
        """Let go visits none of whose exposures makes one any more."""
        for v in sorted(self._outdated() - taken - set(self._groups)):
            if v in self._used:
                done.refused.append(self._in_use(v, set()))
            else:
                self.stale.add(v)

    def _why(self, number: int, old: set[int]) -> VisitError | None:
        """Tell why a visit cannot become what it shall be."""
        if number in self._members and number not in self._touched:
            return ConflictingVisit(
                f"{self._camera} has a visit {number} already, of the exposures "
                f"{_listed(self._members[number])}: let visits.number in the definition give "
                "other numbers."
            )
        used = sorted(old & self._used)
        return self._in_use(used[0], self._shall[number]) if used else None

    def _in_use(self, visit: int, shall: set[int]) -> VisitInUse:
        now = self._touched[visit]
        told = [
            f"{word} {_listed(exposures)}"
            for word, exposures in (("gain", shall - now), ("lose", now - shall))
            if exposures
        ]
        return VisitInUse(
            f"The visit {visit} of {self._camera} would {' and '.join(told)}, and something was "
            f"made of it. Remove the runs with it (`skyspine query-datasets REPO TYPE --where "
            f'"visit = {visit}" --by run` names those with one type of dataset, `skyspine '
            "remove-runs REPO RUN` removes one), and define the visits again."
        )


def _listed(exposures: Iterable[int]) -> str:
    found = sorted(exposures)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(map(str, found[:_SHOWN])) + more


def _number(rule: VisitRule, group: VisitGroup, camera: str) -> int:
    first = group.exposures[0]
    if rule.number is None:
        return int(first["id"])
    told = {field_of(e, rule.number) for e in group.exposures} - {None}
    if not told:
        return int(first["id"])
    try:
        (number,) = {int(value) for value in told}
    except (ValueError, TypeError):
        number = _LARGEST
    if not -_LARGEST <= number < _LARGEST:
        ids = _listed(e["id"] for e in group.exposures)
        raise ConflictingVisit(
            f"The exposures {ids} of {camera} make one visit, and their '{rule.number}', "
            f"{', '.join(sorted(map(repr, told)))}, is not one integer of 64 bits to number it by; "
            f"correct visits.number in the definition, or the rule of '{rule.number}'."
        )
    return number


def _check_agree(group: VisitGroup, camera: str) -> None:
    """Make sure that the exposures of a visit were taken through one filter."""
    filters: dict[Any, list[int]] = defaultdict(list)
    for exposure in group.exposures:
        filters[exposure["physical_filter"]].append(exposure["id"])
    if len(filters) > 1:
        told = "; ".join(f"{name or 'none'}: {_listed(ids)}" for name, ids in filters.items())
        raise ConflictingVisit(
            f"The exposures of the visit '{group.name}' of {camera} have several filters ({told}), "
            "so that they make no visit. Correct what tells them together, the header or `visits` "
            "in the definition."
        )


def _record(number: int, group: VisitGroup, definition: InstrumentDefinition) -> dict[str, Any]:
    exposures = group.exposures
    times = [e["exposure_time"] for e in exposures]
    ra, dec = _middle(exposures)
    told = {name: _same(exposures, name) for name in ("observation_reason", "science_program")}
    extra = {"seq_num": exposures[0]["seq_num"], **told}
    return {
        "instrument": definition.name,
        "id": number,
        "name": group.name,
        "day_obs": exposures[0]["day_obs"],
        "physical_filter": exposures[0]["physical_filter"],
        "target_name": _same(exposures, "target_name"),
        "exposure_time": None if None in times else math.fsum(times),
        "begin_tai_ns": min(e["begin_tai_ns"] for e in exposures),
        "end_tai_ns": max(e["end_tai_ns"] for e in exposures),
        "ra": ra,
        "dec": dec,
        "extra": {k: v for k, v in extra.items() if v is not None} or None,
    }


def _same(exposures: Sequence[Mapping[str, Any]], name: str) -> Any:
    """Give what all exposures have; None when they differ."""
    values = Counter(e[name] for e in exposures)
    return next(iter(values)) if len(values) == 1 else None


def _middle(exposures: Sequence[Mapping[str, Any]]) -> tuple[float | None, float | None]:
    """Give the middle of where exposures point, ICRS [deg]; None when it is not known of all."""
    places = {(e["ra"], e["dec"]) for e in exposures}
    if any(None in place for place in places):
        return None, None
    if len(places) == 1:
        return next(iter(places))
    vectors = [
        (math.cos(d) * math.cos(r), math.cos(d) * math.sin(r), math.sin(d))
        for r, d in ((math.radians(ra), math.radians(dec)) for ra, dec in places)
    ]
    x, y, z = (math.fsum(part) for part in zip(*vectors, strict=True))
    return math.degrees(math.atan2(y, x)) % 360, math.degrees(math.atan2(z, math.hypot(x, y)))
