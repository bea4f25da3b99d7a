"""How do the dimensions of lsst-daf-butler become those of this schema, and back?

Records of version 8 of its universe ``daf_butler`` are translated both ways; those of older
versions are brought up to it first.  What has no column goes into the column ``extra``, what has no
table into `registry.carried`.  Nothing here touches the database.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from butler.errors import ExchangeError
from butler.exchange.document import EncodedRegion, TaiTime
from registry.carried import FIELDS, RENAMED
from registry.database import canonical_json
from registry.timespan import BEGINNING, END, Timespan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from butler.exchange.document import Document

__all__ = ["CARRIED", "COLUMNS", "Translation", "required", "to_records"]

COLUMNS: dict[str, tuple[str, ...]] = {
    "instrument": ("name", "detector_max"),
    "physical_filter": ("instrument", "name", "band"),
    "detector": ("instrument", "id", "full_name", "raft", "purpose"),
    "day_obs": ("instrument", "id"),
    "exposure": (
        "instrument",
        "id",
        "physical_filter",
        "obs_id",
        "exposure_time",
        "dark_time",
        "observation_type",
        "observation_reason",
        "day_obs",
        "seq_num",
        "target_name",
        "science_program",
        "ra",
        "dec",
    ),
    "visit": (
        "instrument",
        "id",
        "physical_filter",
        "name",
        "day_obs",
        "exposure_time",
        "target_name",
        "region",
    ),
    "visit_definition": ("instrument", "visit", "exposure"),
    "visit_detector_region": ("instrument", "visit", "detector", "region"),
    "skymap": ("name",),
    "tract": ("skymap", "id", "region"),
    "patch": ("skymap", "tract", "id", "region"),
}
"""Columns here that the elements with a table have, in an order in which they may be inserted."""

CARRIED: dict[str, tuple[str, ...]] = {
    "group": ("instrument", "name"),
    "visit_system": ("instrument", "id"),
    "visit_system_membership": ("instrument", "visit_system", "visit"),
    "subfilter": ("band", "id"),
    "ssp_hypothesis_table": ("name",),
    "ssp_hypothesis_bundle": ("ssp_hypothesis_table", "id"),
    "ssp_balanced_index": ("ssp_hypothesis_table", "id"),
}
"""Keys of the elements without a table."""

_TEMPORAL = ("day_obs", "exposure", "visit")
_IMPLIED = {
    "exposure": {"physical_filter", "group", "day_obs"},
    "visit": {"physical_filter", "day_obs"},
    "physical_filter": {"band"},
}
_NEEDED_BY = {"band": ("subfilter",)}
_SKYMAP = ("tract_max", "patch_nx_max", "patch_ny_max")
_UNSET = "unset"
"""In ``extra``: fields that the other registry leaves open, and that must have a value here."""
_DAY_NS = 86_400_000_000_000


def required(dimensions: Iterable[str]) -> tuple[str, ...]:
    """Keep the dimensions that identify, without those that the records of others name.

    Examples
    --------
    >>> required(["band", "instrument", "physical_filter", "detector"])
    ('instrument', 'physical_filter', 'detector')
    """
    all_of_them = list(dict.fromkeys(dimensions))
    implied: set[str] = set().union(*(_IMPLIED.get(d, set()) for d in all_of_them))
    implied -= {d for d, users in _NEEDED_BY.items() if any(u in all_of_them for u in users)}
    return tuple(d for d in all_of_them if d not in implied)


@dataclass(slots=True)
class Translation:
    """Dimension records of a document, as they are inserted here.

    Parameters
    ----------
    rows : dict
        Rows by table, in an order in which they may be inserted.
    carried : dict
        Records by element of those that have no table.
    notes : Counter
        What was not taken as it is, with how often.
    """

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    carried: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, document: Document) -> Translation:
        """Translate the records of a document.

        Raises
        ------
        ExchangeError
            If a record lacks what it cannot do without.
        """
        made = cls()
        records: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for part in document.of_type("dimension"):
            records[part["element"]] += [dict(record) for record in part.get("records") or ()]
        made._bring_up(records, document.universe_version)
        unknown = sorted(set(records) - set(COLUMNS) - set(CARRIED))
        if unknown:
            raise ExchangeError(
                f"The export has records of {', '.join(unknown)}, which is no dimension element of "
                "the universe daf_butler."
            )
        made.carried = {element: records[element] for element in CARRIED if element in records}
        rows = {e: [made._row(e, record) for record in records.get(e, ())] for e in COLUMNS}
        for element in ("exposure", "visit"):
            made._add_nights(element, rows[element], rows["day_obs"])
        made.rows = {
            "visit_exposure" if e == "visit_definition" else e: found
            for e, found in rows.items()
            if found
        }
        return made

    def _bring_up(self, records: dict[str, list[dict[str, Any]]], version: int) -> None:
        """Bring the records of an older universe up to the newest."""
        visits, exposures = records.get("visit", []), records.get("exposure", [])
        if version < 2:
            members = [v for v in visits if v.get("visit_system") is not None]
            if members:
                records["visit_system_membership"] += [
                    {k: v[k] for k in ("instrument", "visit_system")} | {"visit": v["id"]}
                    for v in members
                ]
            for visit in visits:
                visit.pop("visit_system", None)
        for visit in visits:
            if visit.pop("seeing", None) is not None:
                self.notes["visit.seeing has no place in newer universes and was left out"] += 1
            if version < 1 and "day_obs" not in visit:
                visit["day_obs"] = _night(visit.get("datetime_begin"))
        for exposure in exposures:
            if "group_name" in exposure:
                exposure["group"] = exposure.pop("group_name")
                exposure.pop("group_id", None)
        known = {(g["instrument"], g["name"]) for g in records.get("group", [])}
        groups = {
            (e["instrument"], e.get("group")) for e in exposures if e.get("group") is not None
        }
        if new := sorted(groups - known):
            records["group"] += [{"instrument": i, "name": name} for i, name in new]

    def _row(self, element: str, record: dict[str, Any]) -> dict[str, Any]:
        """Translate one record; what is missing and needed is filled in and marked."""
        row: dict[str, Any] = dict.fromkeys(COLUMNS[element])
        extra: dict[str, Any] = {}
        unset: list[str] = []
        renamed = RENAMED.get(element, {})
        for name, value in record.items():
            column = renamed.get(name, name)
            if column in row:
                row[column] = bytes(value) if isinstance(value, EncodedRegion) else value
            elif name in FIELDS.get(element, {}):
                if value is not None:
                    extra[name] = value
            elif name not in ("datetime_begin", "datetime_end", "timespan", "hash", *_SKYMAP):
                self.notes[f"{element}.{name} is no field of the universe and was left out"] += 1
        if element in _TEMPORAL:
            row |= self._times(element, record, unset)
        if element == "skymap":
            row["definition"] = _definition(record)
        if element == "patch":
            row["wcs"] = {}
        for column, fill in _FILLED.get(element, {}).items():
            if row[column] is None:
                row[column] = fill(row)
                unset.append(column)
        if "region" in row and row["region"] is None and element != "visit":
            raise ExchangeError(f"A {element} record lacks its region: {record!r:.200}.")
        if unset:
            extra[_UNSET] = unset
        if extra:
            row["extra"] = extra
        return row

    def _times(self, element: str, record: dict[str, Any], unset: list[str]) -> dict[str, Any]:
        span = record.get("timespan")
        if isinstance(span, Timespan):
            begin, end = span.bounds
        elif "datetime_begin" in record or "datetime_end" in record:
            first, last = record.get("datetime_begin"), record.get("datetime_end")
            begin = BEGINNING if first is None else int(first)
            end = END if last is None else int(last)
        else:
            unset.append("timespan")
            night = record["id"] if element == "day_obs" else record.get("day_obs")
            begin, end = _noon_to_noon(night)
            self.notes[f"{element} without times: noon to noon TAI of its night is assumed"] += 1
        return {"begin_tai_ns": begin, "end_tai_ns": end}

    def _add_nights(
        self, element: str, rows: Sequence[Mapping[str, Any]], nights: list[dict[str, Any]]
    ) -> None:
        """Make sure that the nights of exposures or visits have records."""
        known = {(night["instrument"], night["id"]) for night in nights}
        for instrument, number in sorted({(r["instrument"], r["day_obs"]) for r in rows} - known):
            begin, end = _noon_to_noon(number)
            nights.append(
                {
                    "instrument": instrument,
                    "id": number,
                    "begin_tai_ns": begin,
                    "end_tai_ns": end,
                    "extra": {_UNSET: ["timespan"]},
                }
            )
            self.notes[f"nights of {element}s without a record: noon to noon TAI is assumed"] += 1


_FILLED: dict[str, dict[str, Callable[[dict[str, Any]], Any]]] = {
    "detector": {
        "full_name": lambda row: str(row["id"]),
        "purpose": lambda _: "unknown",
    },
    "exposure": {
        "obs_id": lambda row: str(row["id"]),
        "observation_type": lambda _: "unknown",
        "day_obs": lambda row: _night(row["begin_tai_ns"]),
    },
    "visit": {
        "name": lambda row: str(row["id"]),
        "day_obs": lambda row: _night(row["begin_tai_ns"]),
    },
}
"""What must have a value here, and which one it gets when the other registry has none."""


def _night(begin: int | None) -> int:
    """Name the day of a moment, YYYYMMDD."""
    if begin is None or not BEGINNING < begin < END:
        raise ExchangeError("An exposure or visit has neither a night nor a begin.")
    day = dt.date(1970, 1, 1) + dt.timedelta(days=int(begin) // _DAY_NS)
    return int(day.strftime("%Y%m%d"))


def _noon_to_noon(night: Any) -> tuple[int, int]:
    try:
        day = dt.datetime.strptime(str(night), "%Y%m%d").date()  # noqa: DTZ007
    except ValueError as error:
        raise ExchangeError(f"'{night}' is not a night of the form YYYYMMDD.") from error
    begin = (day - dt.date(1970, 1, 1)).days * _DAY_NS + _DAY_NS // 2
    return begin, begin + _DAY_NS


def _definition(record: Mapping[str, Any]) -> dict[str, Any]:
    made = {k: record[k] for k in _SKYMAP if record.get(k) is not None}
    value = record.get("hash")
    if value is not None:
        made["hash"] = bytes(value).hex()
    return made


def to_records(element: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Translate rows of a table here to records of the universe.

    Parameters
    ----------
    element : str
        One of `COLUMNS`.
    rows : sequence of mappings
        Of the table.
    """
    back = {column: name for name, column in RENAMED.get(element, {}).items()}
    made = []
    for row in rows:
        extra = dict(row.get("extra") or {})
        unset = extra.pop(_UNSET, [])
        record: dict[str, Any] = {}
        for column in COLUMNS[element]:
            value = None if column in unset else row[column]
            if column == "region":
                value = None if value is None else EncodedRegion(value)
            record[back.get(column, column)] = value
        record |= {name: extra.get(name) for name in FIELDS.get(element, ())}
        if element == "skymap":
            record |= _skymap(row)
        if element in _TEMPORAL and "timespan" not in unset:
            begin, end = row["begin_tai_ns"], row["end_tai_ns"]
            record["datetime_begin"] = None if begin <= BEGINNING else TaiTime(begin)
            record["datetime_end"] = None if end >= END else TaiTime(end)
        made.append(record)
    return made


def _skymap(row: Mapping[str, Any]) -> dict[str, Any]:
    definition = dict(row["definition"])
    digest = definition.get("hash")
    if digest is None:
        digest = hashlib.sha1(
            canonical_json(definition).encode(), usedforsecurity=False
        ).hexdigest()
    return {"hash": bytes.fromhex(digest)} | {k: definition.get(k) for k in _SKYMAP}
