"""Which bounds hold for which metric, and which ever did?

A threshold in force is ended and another put in its place, never changed: values that were judged
keep the bounds that they were judged by.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import account, insert_rows, lock_rows, utc_now
from registry.errors import RegistryError, did_you_mean
from registry.schema.dimensions import instrument
from registry.schema.quality import quality_threshold

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["BadThreshold", "Bounds", "Scope", "Threshold", "change", "end", "listed", "read_rules"]

LIMITS = ("fail_below", "warn_below", "warn_above", "fail_above")
KEYS = ("instrument", "physical_filter", "detector")


class BadThreshold(RegistryError, ValueError):
    """A threshold that says nothing, or contradicts itself."""

    code = "bad-threshold"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is good enough; a bound that is None does not hold.

    Parameters
    ----------
    fail_below, warn_below, warn_above, fail_above : float, optional
        In the unit of the metric, in ascending order; the bound itself is good enough.

    Raises
    ------
    BadThreshold
        If there is none, one is no finite number, or they are not in order.
    """

    fail_below: float | None = None
    warn_below: float | None = None
    warn_above: float | None = None
    fail_above: float | None = None

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in LIMITS if getattr(self, name) is not None}
        if not given:
            raise BadThreshold(f"A threshold needs a bound: one of {', '.join(LIMITS)}.")
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise BadThreshold(f"{name} is {value!r}; a bound is a number.")
            if not math.isfinite(value):
                raise BadThreshold(f"{name} is {value}; leave a bound out that does not hold.")
        for (low, a), (high, b) in zip(given.items(), list(given.items())[1:], strict=False):
            if a > b:
                raise BadThreshold(f"{low} is {a:g} and {high} is {b:g}; nothing would pass.")

    def __str__(self) -> str:
        said = ((n.replace("_", " "), getattr(self, n)) for n in LIMITS)
        return ", ".join(f"{name} {value:g}" for name, value in said if value is not None)


@dataclass(frozen=True, slots=True)
class Scope:
    """For which data a threshold holds; what is None may be anything.

    Of several that hold for a value, those with most keys count.

    Parameters
    ----------
    instrument : str, optional
        Camera.
    physical_filter : str, optional
        Filter.
    detector : int, optional
        Detector.
    """

    instrument: str | None = None
    physical_filter: str | None = None
    detector: int | None = None

    @classmethod
    def of(cls, keys: Mapping[str, Any]) -> Scope:
        """Read a scope from keys and values.

        Raises
        ------
        BadThreshold
            If a key is none of the three, or a detector no number.
        """
        for key in keys:
            if key not in KEYS:
                raise BadThreshold(
                    f"A threshold holds for {', '.join(KEYS[:2])} or {KEYS[2]}, not for a "
                    f"'{key}'.{did_you_mean(key, KEYS)}"
                )
        given = dict(keys)
        if "detector" in given:
            try:
                given["detector"] = int(str(given["detector"]))
            except ValueError:
                raise BadThreshold(f"'{given['detector']}' is no number of a detector.") from None
        return cls(**given)

    @property
    def keys(self) -> dict[str, str | int]:
        """The keys that are given."""
        every = ((k, getattr(self, k)) for k in KEYS)
        return {k: v for k, v in every if v is not None}

    def __str__(self) -> str:
        return " ".join(f"{k}={v}" for k, v in self.keys.items())


@dataclass(frozen=True, slots=True)
class Threshold:
    """Bounds of a metric of a task, and who set them when and why.

    ``ended_at`` is None while it is in force.
    """

    id: int
    task: str
    metric: str
    scope: Scope
    bounds: Bounds
    reason: str | None
    set_at: dt.datetime
    set_by: str
    ended_at: dt.datetime | None
    ended_by: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A threshold that is to hold."""

    task: str
    metric: str
    scope: Scope
    bounds: Bounds
    reason: str | None = None

    @property
    def place(self) -> tuple[str, str, str]:
        """What it holds for: one threshold at a time does."""
        return self.task, self.metric, str(self.scope)


_T = quality_threshold.c


def listed(connection: sa.Connection, *, history: bool = False) -> list[Threshold]:
    """List the thresholds in force, or all that ever were, by task, metric, scope and time."""
    asked = sa.select(quality_threshold).order_by(_T.task_label, _T.metric, _T.scope, _T.id)
    if not history:
        asked = asked.where(_T.in_force == 1)
    return [
        Threshold(
            row.id,
            row.task_label,
            row.metric,
            Scope(row.instrument, row.physical_filter, row.detector),
            Bounds(*(getattr(row, name) for name in LIMITS)),
            row.reason,
            row.set_at,
            row.set_by,
            row.ended_at,
            row.ended_by,
        )
        for row in connection.execute(asked)
    ]


def change(
    connection: sa.Connection, wanted: Sequence[Wanted], *, all_others_end: bool = False
) -> tuple[list[Wanted], list[Threshold]]:
    """Put thresholds in force, in place of those for the same.

    Parameters
    ----------
    wanted : sequence of Wanted
        What is to hold.
    all_others_end : bool
        Whether what is in force besides is ended.

    Returns
    -------
    tuple of list
        What is new, and what ended.  What holds already is in neither.

    Raises
    ------
    BadThreshold
        If two are for the same, or a camera is unknown.
    """
    _check(connection, wanted)
    connection.execute(lock_rows(sa.select(_T.id).where(_T.in_force == 1), connection))
    now_in_force = {(t.task, t.metric, str(t.scope)): t for t in listed(connection)}
    new = [
        w
        for w in wanted
        if w.place not in now_in_force
        or (now_in_force[w.place].bounds, now_in_force[w.place].reason) != (w.bounds, w.reason)
    ]
    places = {w.place for w in new}
    kept = {w.place for w in wanted}
    ended = [
        t
        for place, t in now_in_force.items()
        if place in places or (all_others_end and place not in kept)
    ]
    _end(connection, ended)
    by, now = account(), utc_now()
    rows = [
        {
            "task_label": w.task,
            "metric": w.metric,
            **dataclasses.asdict(w.scope),
            "scope": str(w.scope),
            "n_keys": len(w.scope.keys),
            **dataclasses.asdict(w.bounds),
            "reason": w.reason,
            "set_at": now,
            "set_by": by,
            "in_force": 1,
        }
        for w in new
    ]
    insert_rows(connection, quality_threshold, rows)
    return new, ended


def end(connection: sa.Connection, task: str, metric: str, scope: Scope) -> Threshold:
    """Take a threshold back.

    Raises
    ------
    BadThreshold
        If none is in force for this.
    """
    known = {(t.task, t.metric, str(t.scope)): t for t in listed(connection)}
    found = known.get((task, metric, str(scope)))
    if found is None:
        near = [f"{t} {m} {s}".strip() for t, m, s in known]
        asked = f"{task} {metric} {scope}".strip()
        raise BadThreshold(
            f"There is no threshold in force for '{asked}'.{did_you_mean(asked, near)}"
        )
    _end(connection, [found])
    return found


def _end(connection: sa.Connection, ended: Sequence[Threshold]) -> None:
    if ended:
        connection.execute(
            sa.update(quality_threshold)
            .where(_T.id.in_([t.id for t in ended]), _T.in_force == 1)
            .values(in_force=None, ended_at=utc_now(), ended_by=account())
        )


def _check(connection: sa.Connection, wanted: Sequence[Wanted]) -> None:
    places = [w.place for w in wanted]
    twice = next((p for i, p in enumerate(places) if p in places[:i]), None)
    if twice is not None:
        raise BadThreshold(f"'{' '.join(twice).strip()}' has two thresholds; one can hold.")
    known = set(connection.execute(sa.select(instrument.c.name)).scalars())
    for w in wanted:
        if w.scope.instrument is not None and w.scope.instrument not in known:
            raise BadThreshold(
                f"There is no camera '{w.scope.instrument}' here."
                f"{did_you_mean(w.scope.instrument, known)}"
            )


_ENTRIES = ("task", "metric", "for", "warn", "fail", "reason")


def read_rules(document: Any) -> list[Wanted]:
    """Read thresholds from a document: a mapping with a list ``thresholds``.

    Each has ``task``, ``metric``, ``warn`` and ``fail`` as ``[lowest, highest]`` (null: no bound),
    and may have ``for`` (a mapping of keys) and ``reason``.

    Raises
    ------
    BadThreshold
        With the place of what cannot be read.
    """
    if not isinstance(document, dict) or set(document) != {"thresholds"}:
        raise BadThreshold("The file has to be a mapping with one entry, 'thresholds', a list.")
    rules = document["thresholds"]
    if not isinstance(rules, list):
        raise BadThreshold("'thresholds' has to be a list.")
    return [_rule(n, rule) for n, rule in enumerate(rules, 1)]


def _rule(n: int, rule: Any) -> Wanted:
    try:
        if not isinstance(rule, dict):
            raise BadThreshold(f"it has to be a mapping of {', '.join(_ENTRIES)}.")
        for name in rule:
            if name not in _ENTRIES:
                raise BadThreshold(f"it has no '{name}'.{did_you_mean(str(name), _ENTRIES)}")
        for name in ("task", "metric"):
            if not isinstance(rule.get(name), str):
                raise BadThreshold(f"'{name}' is missing, or no text.")
        if not isinstance(rule.get("for", {}), dict):
            raise BadThreshold(f"'for' has to be a mapping of {', '.join(KEYS)}.")
        warn, fail = (_pair(rule, name) for name in ("warn", "fail"))
        reason = rule.get("reason")
        return Wanted(
            rule["task"],
            rule["metric"],
            Scope.of(rule.get("for", {})),
            Bounds(fail[0], warn[0], warn[1], fail[1]),
            None if reason is None else str(reason),
        )
    except BadThreshold as error:
        raise BadThreshold(f"Threshold {n}: {error}") from None


def _pair(rule: Mapping[str, Any], name: str) -> tuple[Any, Any]:
    given = rule.get(name, [None, None])
    if not isinstance(given, list) or len(given) != 2:
        raise BadThreshold(f"'{name}' has to be [lowest, highest]; null where there is no bound.")
    return given[0], given[1]


def as_rules(thresholds: Iterable[Threshold]) -> dict[str, Any]:
    """Write thresholds as the document that `read_rules` reads."""
    rules = []
    for t in thresholds:
        b = t.bounds
        rule: dict[str, Any] = {"task": t.task, "metric": t.metric}
        if t.scope.keys:
            rule["for"] = t.scope.keys
        if (b.warn_below, b.warn_above) != (None, None):
            rule["warn"] = [b.warn_below, b.warn_above]
        if (b.fail_below, b.fail_above) != (None, None):
            rule["fail"] = [b.fail_below, b.fail_above]
        if t.reason is not None:
            rule["reason"] = t.reason
        rules.append(rule)
    return {"thresholds": rules}
