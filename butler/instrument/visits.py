"""Which exposures does a camera take for one visit?

`VisitRule` is what a definition says under `visits`; it sorts the exposures of one night into
groups, whatever the order in which they came.  The visits that are made of them: `butler.visits`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["EXPOSURE_FIELDS", "NOT_ON_SKY", "VisitGroup", "VisitRule", "field_of"]

NOT_ON_SKY = frozenset({"bias", "dark", "flat", "arc"})
"""Observation types without a footprint on the sky, whatever their headers say."""

EXPOSURE_FIELDS = (
    "obs_id",
    "observation_reason",
    "target_name",
    "science_program",
    "seq_num",
)
"""Fields of exposures, beside further facts, that may tell which of them belong together."""

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class VisitGroup:
    """Exposures that make one visit.

    Parameters
    ----------
    name : str
        What the visit will be called.
    exposures : tuple of mapping
        Records of the exposures, in the order of their begin.
    waits : bool
        Whether the first of the sequence has not come, so that it is no visit yet.
    """

    name: str
    exposures: tuple[Mapping[str, Any], ...]
    waits: bool = False


@dataclass(frozen=True, slots=True)
class VisitRule:
    """How visits are made of the exposures of a night.

    Parameters
    ----------
    system : str
        one-to-one, by-group-metadata, by-seq-start-end or back-to-back.
    types : frozenset of str or None
        Observation types that make visits; by default all but bias, dark, flat and arc, and with
        one-to-one all.
    group : str
        by-group-metadata: the fact that the exposures of a visit share.
    start, end : str
        by-seq-start-end: the facts that tell the first and last sequence number of a visit.
    number : str or None
        The fact that numbers the visit; the first exposure's number by default.
    gap : float
        back-to-back: from the end of an exposure to the begin of the next, at most [s].
    count : int or None
        back-to-back: exposures of a visit, at most.
    at_ingest : bool
        Whether an ingest of raw files defines visits.
    """

    system: str
    types: frozenset[str] | None = None
    group: str = "group"
    start: str = "seq_start"
    end: str = "seq_end"
    number: str | None = None
    gap: float = 0.0
    count: int | None = None
    at_ingest: bool = True

    @property
    def needs(self) -> dict[str, str]:
        """The facts of exposures that the rule reads, by the key that names them."""
        named: dict[str, str] = {} if self.number is None else {"number": self.number}
        if self.system == "by-group-metadata":
            named["group"] = self.group
        if self.system == "by-seq-start-end":
            named |= {"start": self.start, "end": self.end}
        return named

    def takes(self, exposure: Mapping[str, Any]) -> bool:
        """Tell whether an exposure may be part of a visit: not rejected, and of the right type."""
        kind = exposure["observation_type"]
        if self.types is not None:
            wanted = kind in self.types
        else:
            wanted = self.system == "one-to-one" or kind not in NOT_ON_SKY
        return wanted and exposure["quality"] != "rejected"

    def groups(self, exposures: Iterable[Mapping[str, Any]]) -> list[VisitGroup]:
        """Sort the exposures of one night that may be part of visits into groups.

        An exposure of which the facts that the rule reads are not known is alone.

        Parameters
        ----------
        exposures : iterable of mapping
            Records of exposures, with their further facts under ``extra``.
        """
        taken = sorted(
            (e for e in exposures if self.takes(e)), key=lambda e: (e["begin_tai_ns"], e["id"])
        )
        if self.system == "back-to-back":
            return [_named(group) for group in self._runs(taken)]
        sorted_out: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
        for exposure in taken:
            key = self._key(exposure)
            alone = (None, exposure["id"])
            sorted_out.setdefault(alone if None in key else key, []).append(exposure)
        return [self._of_key(key, group) for key, group in sorted_out.items()]

    def _key(self, exposure: Mapping[str, Any]) -> tuple[Any, ...]:
        if self.system == "by-group-metadata":
            return (field_of(exposure, self.group),)
        if self.system == "by-seq-start-end":
            return (field_of(exposure, self.start), field_of(exposure, self.end))
        return (exposure["id"],)

    def _of_key(self, key: tuple[Any, ...], group: list[Mapping[str, Any]]) -> VisitGroup:
        if self.system == "by-group-metadata" and key[0] is not None:
            return VisitGroup(str(key[0]), tuple(group))
        if self.system == "by-seq-start-end" and key[0] is not None:
            return _named(group, waits=all(str(e["seq_num"]) != str(key[0]) for e in group))
        return _named(group)

    def _runs(self, exposures: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
        runs: list[list[Mapping[str, Any]]] = []
        for exposure in exposures:
            full = self.count is not None and bool(runs) and len(runs[-1]) >= self.count
            if runs and not full and self._follows(runs[-1][-1], exposure):
                runs[-1].append(exposure)
            else:
                runs.append([exposure])
        return runs

    def _follows(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Tell whether an exposure was taken back to back with the one before it."""
        numbers = (one["seq_num"], other["seq_num"])
        return (
            all(one[k] == other[k] for k in ("physical_filter", "target_name", "observation_type"))
            and (None in numbers or numbers[0] + 1 == numbers[1])
            and other["begin_tai_ns"] - one["end_tai_ns"] <= round(self.gap * _SECOND_NS)
        )


def _named(group: Sequence[Mapping[str, Any]], *, waits: bool = False) -> VisitGroup:
    return VisitGroup(str(group[0]["obs_id"]), tuple(group), waits)


def field_of(exposure: Mapping[str, Any], name: str) -> Any:
    """Give a fact of an exposure: a field of its record, or one of its further facts."""
    return exposure[name] if name in EXPOSURE_FIELDS else (exposure["extra"] or {}).get(name)
