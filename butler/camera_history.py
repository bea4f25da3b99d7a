"""How has the definition of a camera changed, and what does a change mean for what is stored?

Every version that was registered is kept.  What was taken in under which is told by the times: an
ingest uses the version in force.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import rows_of
from registry.schema.dimensions import exposure, instrument_definition
from registry.schema.identity import data_id, dataset, dataset_type
from registry.timespan import tai_ns

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from butler.instrument import InstrumentDefinition

__all__ = ["Change", "Version", "changes", "effects", "versions"]

_FOREVER = 2**63 - 1
_KEYS = {"detectors": "number", "filters": "physical_filter", "files": "name"}
"""Lists whose items are compared by this key, wherever they stand."""
_TRANSLATING = {"translate", "extra", "checks", "identify", "files", "translator", "tables"}


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a definition.

    Parameters
    ----------
    version : int
        1, 2, ... as registered.
    registered_at : datetime
        UTC.
    registered_by : str
        Account.
    digest : str
        SHA-256 of the content, hex.
    datasets : mapping of str to int
        By dataset type, how many datasets of its files were taken in while it was in force.
    """

    version: int
    registered_at: dt.datetime
    registered_by: str
    digest: str
    datasets: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two definitions: the key, and what stood and stands there."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        if self.old is None:
            return f"{self.key}: new, {self.new!r}"
        if self.new is None:
            return f"{self.key}: gone, was {self.old!r}"
        return f"{self.key}: {self.old!r} became {self.new!r}"


def versions(connection: sa.Connection, name: str, kinds: Sequence[str]) -> list[Version]:
    """List the versions of a camera's definition, the first one first.

    Parameters
    ----------
    name : str
        The instrument.
    kinds : sequence of str
        Dataset types of the camera's files.
    """
    from astropy.time import Time

    d = instrument_definition
    asked = sa.select(d.c.version, d.c.registered_at, d.c.registered_by, d.c.digest)
    found = connection.execute(asked.where(d.c.instrument == name).order_by(d.c.version)).all()
    begins = [tai_ns(Time(row.registered_at)) for row in found]
    ends = [*begins[1:], _FOREVER]
    spans = [
        {"version": row.version, "begins": begin if n else 0, "ends": end}
        for n, (row, begin, end) in enumerate(zip(found, begins, ends, strict=True))
    ]
    counts: dict[int, dict[str, int]] = {}
    for version, kind, n in connection.execute(_taken_sql(connection, name, kinds, spans)):
        counts.setdefault(version, {})[kind] = n
    return [Version(*row, counts.get(row.version, {})) for row in found]


def _taken_sql(
    connection: sa.Connection, name: str, kinds: Sequence[str], spans: list[dict[str, int]]
) -> sa.Select[Any]:
    """Count the datasets of some types that came while each version was in force."""
    whole = dict.fromkeys(("version", "begins", "ends"), sa.BigInteger)
    span = rows_of(connection, spans, whole)
    when = dataset.c.ingest_date_tai_ns
    within = (when >= span.c.begins) & (when < span.c.ends)
    return (
        sa.select(span.c.version, dataset_type.c.name, sa.func.count())
        .select_from(dataset)
        .join(dataset_type, dataset_type.c.id == dataset.c.dataset_type_id)
        .join(data_id, data_id.c.id == dataset.c.data_id)
        .join(span, within)
        .where(data_id.c.instrument == name, dataset_type.c.name.in_(list(kinds)))
        .group_by(span.c.version, dataset_type.c.name)
    )


def changes(old: InstrumentDefinition, new: InstrumentDefinition) -> list[Change]:
    """Compare two definitions key by key; detectors by number, filters and kinds of files by name.

    Returns
    -------
    list of Change
        In the order of the keys.
    """
    return _compared("", old.to_mapping(), new.to_mapping())


def _compared(key: str, old: Any, new: Any) -> list[Change]:
    if old == new:
        return []
    if key in _KEYS and isinstance(old, list) and isinstance(new, list):
        old, new = ({str(item[_KEYS[key]]): item for item in side} for side in (old, new))
        form = f"{key}[{{}}]"
    else:
        form = f"{key}.{{}}" if key else "{}"
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [Change(key, old, new)]
    found: list[Change] = []
    for name in dict.fromkeys([*old, *new]):
        found += _compared(form.format(name), old.get(name), new.get(name))
    return found


def effects(
    connection: sa.Connection, old: InstrumentDefinition, new: InstrumentDefinition
) -> list[str]:
    """Say what a new version means for what is stored, in sentences.

    Parameters
    ----------
    old, new : InstrumentDefinition
        The version in force, and the one that comes.
    """
    changed = changes(old, new)
    parts = {change.key.partition(".")[0].partition("[")[0] for change in changed}
    told = _of_detectors(connection, old, new) + _of_filters(connection, old, new)
    n_exposures = _count(connection, exposure, exposure.c.instrument == new.name)
    if parts & _TRANSLATING and n_exposures:
        told.append(
            f"{n_exposures} exposures were translated by earlier versions and keep their values; "
            "only files that are taken in from now on are read by the new rules."
        )
    if "templates" in parts and n_exposures:
        told.append("Files that are stored keep their paths; new ones get the new ones.")
    if "site" in parts and old.site.noon_ns != new.site.noon_ns and n_exposures:
        told.append("Nights that are recorded keep their begin and end.")
    if "visits" in parts and n_exposures:
        told.append(
            "Exposures keep the visits that they are in, until these are defined anew: "
            f"skyspine define-visits REPO {new.name}"
        )
    gone = sorted(set(old.keys) - set(new.keys))
    if gone:
        told.append(f"Data IDs that have {', '.join(gone)} keep it; new ones do not get it.")
    return told


def _of_detectors(
    connection: sa.Connection, old: InstrumentDefinition, new: InstrumentDefinition
) -> list[str]:
    before = {d.number: d for d in old.detectors}
    after = {d.number: d for d in new.detectors}
    told = []
    used = _datasets_by_detector(connection, new.name)
    for number, detector in before.items():
        n = used.get(number, 0)
        if number not in after:
            told.append(
                f"Detector {number} ({detector.name}) is no longer of the camera; its record and "
                f"the {n} datasets of it stay."
            )
        elif after[number].name != detector.name:
            told.append(
                f"Detector {number} is called {after[number].name} from now on, for the {n} "
                f"datasets of it too; {detector.name} finds it only if it is an alias."
            )
    return told


def _of_filters(
    connection: sa.Connection, old: InstrumentDefinition, new: InstrumentDefinition
) -> list[str]:
    after = {f.name: f for f in new.filters}
    e = exposure
    asked = sa.select(e.c.physical_filter, sa.func.count()).where(e.c.instrument == new.name)
    rows = connection.execute(asked.group_by(e.c.physical_filter))
    used = {str(name): int(n) for name, n in rows}
    told = []
    for one in old.filters:
        n = used.get(one.name, 0)
        if one.name not in after:
            told.append(
                f"The filter {one.name} is no longer of the camera; its record and the {n} "
                "exposures through it stay."
            )
        elif after[one.name].band != one.band:
            told.append(
                f"The filter {one.name} counts as band {after[one.name].band} from now on, not "
                f"{one.band}, for the {n} exposures through it too; data IDs that hold the band "
                "keep it."
            )
    return told


def _datasets_by_detector(connection: sa.Connection, name: str) -> dict[int, int]:
    column = data_id.c.detector
    asked = (
        sa.select(column, sa.func.count())
        .select_from(dataset)
        .join(data_id, data_id.c.id == dataset.c.data_id)
        .where(data_id.c.instrument == name, column.is_not(None))
        .group_by(column)
    )
    return {int(number): int(n) for number, n in connection.execute(asked)}


def _count(connection: sa.Connection, table: sa.Table, *conditions: Any) -> int:
    asked = sa.select(sa.func.count()).select_from(table).where(*conditions)
    return int(connection.execute(asked).scalar() or 0)
