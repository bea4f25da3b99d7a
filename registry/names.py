"""Which column does a name in an expression mean, and which tables must be joined for it?

`Names` is what `registry.expressions.compile_where` resolves names with: it starts from the columns
of some dimensions and joins a record's table when the first name that needs it occurs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import sky
from registry.carried import FIELDS, IMPLIED, RENAMED
from registry.database import json_field
from registry.dimensions import ELEMENTS, element_table
from registry.errors import InvalidDataId, UnknownName
from registry.identity import DIMENSIONS
from registry.keys import key_type
from registry.schema import dimensions as schema
from registry.schema.collections import collection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lsst.sphgeom import Region

__all__ = ["Names", "names_of_data_ids", "names_of_dimensions", "names_of_element"]

_RECORD_KEYS: dict[str, dict[str, str]] = {
    "instrument": {"instrument": "name"},
    "physical_filter": {"instrument": "instrument", "physical_filter": "name"},
    "detector": {"instrument": "instrument", "detector": "id"},
    "day_obs": {"instrument": "instrument", "day_obs": "id"},
    "exposure": {"instrument": "instrument", "exposure": "id"},
    "visit": {"instrument": "instrument", "visit": "id"},
    "visit_detector_region": {
        "instrument": "instrument",
        "visit": "visit",
        "detector": "detector",
    },
    "skymap": {"skymap": "name"},
    "tract": {"skymap": "skymap", "tract": "id"},
    "patch": {"skymap": "skymap", "tract": "tract", "patch": "id"},
}
_IMPLIED_BY = {
    "day_obs": ("exposure", "visit"),
    "physical_filter": ("exposure", "visit"),
    "band": ("physical_filter",),
    **IMPLIED,
}
_MAX_VALUES = 1000
"""Up to so many different values of a field are looked through for one that is like another."""
_ALIASES = {
    "begin": "begin_tai_ns",
    "end": "end_tai_ns",
    "timespan.begin": "begin_tai_ns",
    "timespan.end": "end_tai_ns",
    "name": "full_name",
}


class Names:
    """The names that an expression over some dimensions may use.

    Parameters
    ----------
    base : sqlalchemy.FromClause
        What is selected from.
    dimensions : mapping
        Column of each dimension that the rows have.
    fields : mapping
        Further names, such as those of datasets.
    connection : sqlalchemy.Connection, optional
        Asked which rows lie in a part of the sky; without it no region can be compared.
    """

    def __init__(
        self,
        base: Any,
        dimensions: Mapping[str, Any],
        fields: Mapping[str, Any] | None = None,
        extra: Any = None,
        connection: sa.Connection | None = None,
    ) -> None:
        self.connection = connection
        self.base = base
        self.dimensions = dict(dimensions)
        self.fields = dict(fields or {})
        self.extra = extra
        self.explaining = False
        self._records: dict[str, Any] = {}
        self._n_regions = 0

    def column(self, name: str, position: int = 0) -> Any:
        """Give the column of a name, joining what it needs.

        Raises
        ------
        UnknownName
            If no column has this name.
        """
        del position
        if name in self.fields:
            return self.fields[name]
        element, dot, field = name.partition(".")
        if not dot:
            found = self._dimension(name)
            if found is None:
                raise UnknownField(name, self.known_names())
            return found
        if not self._reachable(element):
            raise UnknownField(name, self.known_names())
        columns = self.record(element).c
        renamed = RENAMED.get(element, {}).get(field, field)
        for candidate in (field, renamed, _ALIASES.get(field, field)):
            if candidate in columns:
                return columns[candidate]
        if field in FIELDS.get(element, {}):
            return json_field(columns.extra, field, FIELDS[element][field])
        raise UnknownField(name, self.known_names())

    def region_overlaps(
        self, name: str, other: Region | str, position: int
    ) -> sa.ColumnElement[bool] | None:
        """Give the condition that a row lies in a part of the sky, or touches another row.

        Parameters
        ----------
        name : str
            visit_detector_region, visit, patch or tract, with or without ``.region``, or exposure,
            whose pointing counts.
        other : lsst.sphgeom.Region or str
            Where, or an element of the other kind: observations touch parts of sky maps.
        position : int
            Not needed here.
        """
        del position
        element = name.removesuffix(".region")
        if self.connection is None or not self._has_place(element):
            return None
        alias = f"sky{self._n_regions}"
        self._n_regions += 1
        if not isinstance(other, str):
            dimensions = sky.keys_of(element) or ()
            found = sky.keys_in(self.connection, element, other)
        else:
            pair = {element, other.removesuffix(".region")}
            observed = next((e for e in sky.OBSERVED if e in pair), "")
            part = next((e for e in sky.SKY if e in pair), "")
            if not (self._has_place(observed) and self._has_place(part)):
                return None
            dimensions = (*(sky.keys_of(observed) or ()), *(sky.keys_of(part) or ()))
            found = sky.region_pairs(self.connection, observed, part)
        given = sky.table_of_keys(self.connection, dimensions, found, alias)
        mine = sa.tuple_(*(self.column(d) for d in dimensions))
        return mine.in_(sa.select(*(given.c[d] for d in dimensions)))

    def _has_place(self, element: str) -> bool:
        return all(self._reachable(d) for d in sky.keys_of(element) or ("",))

    def known_names(self) -> Sequence[str]:
        """List every name that may be used here."""
        known = [d for d in DIMENSIONS if self._reachable(d)] + list(self.fields)
        known += [d for d in self.dimensions if d not in DIMENSIONS]
        for element in _RECORD_KEYS:
            if element in ELEMENTS and self._reachable(element):
                known += [f"{element}.{c.name}" for c in ELEMENTS[element].columns]
                known += [f"{element}.{name}" for name in FIELDS.get(element, ())]
        return sorted(set(known))

    def values(self, name: str) -> Sequence[str] | None:
        """List the texts that a name is equal to in some record; None for too many, or a number.

        They are asked for only when it is to be explained why nothing was found.
        """
        column = self._kept(name) if self.explaining else None
        if column is None or self.connection is None or not isinstance(column.type, sa.String):
            return None
        asked = sa.select(column).where(column.is_not(None)).distinct().limit(_MAX_VALUES + 1)
        found = self.connection.execute(asked).scalars().all()
        return found if len(found) <= _MAX_VALUES else None

    def _kept(self, name: str) -> Any:
        """Give the column of records that has the values of a name."""
        if name == "run":
            return collection.c.name
        element, dot, field = name.partition(".")
        if not dot:
            kept = {"band": schema.physical_filter.c.band}
            kept |= {e: ELEMENTS[e].c.name for e in ("instrument", "physical_filter", "skymap")}
            return kept.get(name)
        columns: Any = ELEMENTS[element].c if element in ELEMENTS else {}
        return columns.get(field, columns.get(_ALIASES.get(field, field)))

    def record(self, element: str) -> Any:
        """Join the records of an element, once, and give their table."""
        if element not in self._records:
            table = ELEMENTS[element].alias(f"{element}_record")
            keys = _RECORD_KEYS[element]
            condition = sa.and_(*(table.c[c] == self.column(d) for d, c in keys.items()))
            self.base = self.base.outerjoin(table, condition)
            self._records[element] = table
        return self._records[element]

    def adopt(self, element: str, table: Any) -> None:
        """Take a table that is selected from already as the records of an element."""
        self._records[element] = table

    def _reachable(self, name: str) -> bool:
        if name in self.dimensions:
            return True
        if name == "visit_detector_region":
            return self._reachable("visit") and "detector" in self.dimensions
        return any(self._reachable(e) for e in _IMPLIED_BY.get(name, ()))

    def _dimension(self, name: str) -> Any:
        if name in self.dimensions:
            return self.dimensions[name]
        for element in _IMPLIED_BY.get(name, ()):
            if self._reachable(element):
                return self.column(f"{element}.{name}")
        return None


class UnknownField(UnknownName):
    """The expression uses a name that means nothing here."""

    code = "unknown-field"
    kind = "dimension or field"


def names_of_data_ids(
    base: Any,
    data_id: Any,
    dimensions: Sequence[str],
    fields: Mapping[str, Any] | None = None,
    connection: sa.Connection | None = None,
) -> Names:
    """Names over rows of ``data_id`` (or an alias of it) of the given dimensions."""

    def extra(key: str) -> Any:
        kind = str if connection is None else key_type(connection, key)
        return json_field(data_id.c.extra, key, kind)

    columns = {d: data_id.c[d] if d in DIMENSIONS else extra(d) for d in dimensions}
    return Names(base, columns, fields, data_id.c.extra, connection)


def names_of_dimensions(
    dimensions: Sequence[str], connection: sa.Connection | None = None
) -> Names:
    """Names over every combination of records that the given dimensions allow.

    Detectors combine with the exposures or visits of their instrument; visits, alone or with
    detectors, meet tracts and patches where their regions overlap.

    Raises
    ------
    UnknownName
        If a dimension has no records of its own.
    """
    if not dimensions:
        raise InvalidDataId("Data IDs of no dimensions were asked for; name at least one.")
    wanted = set(dimensions)
    unknown = [d for d in dimensions if d not in DIMENSIONS or d == "healpix"]
    if unknown:
        raise UnknownField(unknown[0], [d for d in DIMENSIONS if d != "healpix"])
    columns: dict[str, Any] = {}
    base: Any = None

    def add(table: Any, own: Mapping[str, str], also: Sequence[Any] = ()) -> None:
        nonlocal base
        shared = [table.c[c] == columns[d] for d, c in own.items() if d in columns]
        condition = sa.and_(sa.true(), *shared, *also)
        base = table if base is None else base.join(table, condition)
        columns.update({d: table.c[c] for d, c in own.items() if d not in columns})

    if "visit" in wanted and wanted & {"tract", "patch"}:
        observed = "visit_detector_region" if "detector" in wanted else "visit"
        part = "patch" if "patch" in wanted else "tract"
        keys = (*(sky.keys_of(observed) or ()), *(sky.keys_of(part) or ()))
        if connection is None or (observed, part) == ("visit_detector_region", "patch"):
            add(schema.overlap.alias(), {k: k for k in keys})
        else:
            pairs = sky.region_pairs(connection, observed, part)
            add(sky.table_of_keys(connection, keys, pairs, "touching"), {k: k for k in keys})
    if {"visit", "exposure"} <= wanted:
        add(schema.visit_exposure.alias(), {k: k for k in ("instrument", "visit", "exposure")})
    for element in (
        "exposure",
        "visit",
        "patch",
        "tract",
        "detector",
        "day_obs",
        "physical_filter",
    ):
        if element in wanted and element not in columns:
            implied = any(e in columns for e in _IMPLIED_BY.get(element, ()))
            if not implied:
                add(ELEMENTS[element].alias(), _RECORD_KEYS[element])
    if "band" in wanted and not wanted & {"physical_filter", "exposure", "visit"}:
        bands = (
            sa.select(schema.physical_filter.c.band)
            .distinct()
            .where(schema.physical_filter.c.band.is_not(None))
        )
        table = bands.subquery("bands")
        base = table if base is None else base.join(table, sa.true())
        columns["band"] = table.c.band
    for element in ("instrument", "skymap"):
        if element in wanted and element not in columns:
            add(ELEMENTS[element].alias(), {element: "name"})
    return Names(base, columns, connection=connection)


def names_of_element(element: str, connection: sa.Connection | None = None) -> Names:
    """Names over the records of one dimension element."""
    table = element_table(element).alias(f"{element}_record")
    keys = _RECORD_KEYS.get(element, {c.name: c.name for c in table.primary_key})
    columns = {d: table.c[c] for d, c in keys.items()}
    columns |= {d: table.c[d] for d in DIMENSIONS if d in table.c and d not in columns}
    names = Names(table, columns, connection=connection)
    names.adopt(element, table)
    return names
