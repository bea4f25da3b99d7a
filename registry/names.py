"""Which column does a name in an expression mean, and which tables must be joined for it?

`Names` is what `registry.expressions.compile_where` resolves names with: it starts from the columns
of some dimensions and joins a record's table when the first name that needs it occurs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.dimensions import ELEMENTS, element_table
from registry.errors import UnknownName
from registry.identity import DIMENSIONS
from registry.schema import dimensions as schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
}
_ALIASES = {"begin": "begin_tai_ns", "end": "end_tai_ns", "name": "full_name"}


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
    """

    def __init__(
        self,
        base: Any,
        dimensions: Mapping[str, Any],
        fields: Mapping[str, Any] | None = None,
        extra: Any = None,
    ) -> None:
        self.base = base
        self.dimensions = dict(dimensions)
        self.fields = dict(fields or {})
        self.extra = extra
        self._records: dict[str, Any] = {}

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
        for candidate in (field, _ALIASES.get(field, field)):
            if candidate in columns:
                return columns[candidate]
        raise UnknownField(name, self.known_names())

    def known_names(self) -> Sequence[str]:
        """List every name that may be used here."""
        known = [d for d in DIMENSIONS if self._reachable(d)] + list(self.fields)
        known += [d for d in self.dimensions if d not in DIMENSIONS]
        for element in _RECORD_KEYS:
            if element in ELEMENTS and self._reachable(element):
                known += [f"{element}.{c.name}" for c in ELEMENTS[element].columns]
        return sorted(set(known))

    def values(self, name: str) -> Sequence[str] | None:
        """Give no values: suggestions for values would need a query."""
        del name
        return None

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
                return self.record(element).c[name]
        return None


class UnknownField(UnknownName):
    """The expression uses a name that means nothing here."""

    code = "unknown-field"
    kind = "dimension or field"


def names_of_data_ids(
    base: Any, data_id: Any, dimensions: Sequence[str], fields: Mapping[str, Any] | None = None
) -> Names:
    """Names over rows of ``data_id`` (or an alias of it) of the given dimensions."""
    columns = {
        d: data_id.c[d] if d in DIMENSIONS else data_id.c.extra[d].as_string() for d in dimensions
    }
    return Names(base, columns, fields, data_id.c.extra)


def names_of_dimensions(dimensions: Sequence[str]) -> Names:
    """Names over every combination of records that the given dimensions allow.

    Detectors combine with the exposures or visits of their instrument; visits and detectors meet
    tracts and patches where their regions overlap.

    Raises
    ------
    UnknownName
        If a dimension has no records of its own.
    """
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

    if {"visit", "detector"} <= wanted and wanted & {"tract", "patch"}:
        keys = ("instrument", "visit", "detector", "skymap", "tract", "patch")
        add(schema.overlap.alias(), {k: k for k in keys})
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
    return Names(base, columns)


def names_of_element(element: str) -> Names:
    """Names over the records of one dimension element."""
    table = element_table(element).alias(f"{element}_record")
    keys = _RECORD_KEYS.get(element, {c.name: c.name for c in table.primary_key})
    columns = {d: table.c[c] for d, c in keys.items()}
    columns |= {d: table.c[d] for d in DIMENSIONS if d in table.c and d not in columns}
    names = Names(table, columns)
    names.adopt(element, table)
    return names
