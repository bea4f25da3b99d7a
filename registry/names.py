"""Which column does a name in an expression mean, and which tables must be joined for it?

`Names` is what `registry.expressions.compile_where` resolves names with: it starts from the columns
of some dimensions and joins a record's table when the first name that needs it occurs.  Which
tables bring further dimensions: `registry.joining`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import sky
from registry.carried import FIELDS, IMPLIED, RENAMED
from registry.database import json_field
from registry.dimensions import ELEMENTS, element_table
from registry.errors import RegistryError, UnknownName
from registry.identity import DIMENSIONS
from registry.keys import key_type
from registry.schema import dimensions as schema
from registry.schema.collections import collection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lsst.sphgeom import Region

    from registry.row_names import RowNames

__all__ = [
    "IMPLIED_BY",
    "RECORD_KEYS",
    "Names",
    "SeveralValues",
    "UnknownField",
    "dimensions_of",
    "names_of_data_ids",
    "names_of_element",
]

RECORD_KEYS: dict[str, dict[str, str]] = {
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
"""Column of each dimension that identifies a record, by element."""
IMPLIED_BY = {
    "day_obs": ("exposure", "visit"),
    "physical_filter": ("exposure", "visit"),
    "band": ("physical_filter",),
    **IMPLIED,
}
"""Elements whose records tell the value of a dimension."""
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
    outer : Names, optional
        Those of the statement around this one, which give what is not found here.

    Attributes
    ----------
    conditions : list
        What the rows of ``base`` fulfil beside the conditions of its joins.
    tables : list
        What `join` and `record` took.
    joined : bool
        Whether further dimensions were joined for a condition.
    used_outer : bool
        Whether a name was found in ``outer``.
    rows : RowNames or None
        Columns of the table in which the datasets lie that the rows are of.
    prefix : str
        Begins the aliases of tables, so that no other part of the statement has the same.
    """

    def __init__(
        self,
        base: Any,
        dimensions: Mapping[str, Any],
        fields: Mapping[str, Any] | None = None,
        connection: sa.Connection | None = None,
        outer: Names | None = None,
    ) -> None:
        self.connection = connection
        self.base = base
        self.dimensions = dict(dimensions)
        self.fields = dict(fields or {})
        self.outer = outer
        self.used_outer = False
        self.explaining: bool = outer is not None and outer.explaining
        self.conditions: list[sa.ColumnElement[bool]] = []
        self.tables: list[Any] = []
        self.joined = False
        self.prefix = "" if outer is None else "joined_"
        self.rows: RowNames | None = None
        self._records: dict[str, Any] = {}
        self._n_aliases = 0

    def column(self, name: str, position: int = 0) -> Any:
        """Give the column of a name, joining what it needs.

        Raises
        ------
        UnknownName
            If no column has this name.
        SeveralValues
            If a row here may have several.
        """
        if name in self.fields:
            return self.fields[name]
        if self.rows is not None and self.rows.knows(name):
            return self.rows.column(self, name)
        element, dot, field = name.partition(".")
        if name in self.dimensions:
            return self.dimensions[name]
        outer = self.outer
        if outer and not self.reaches(element) and (outer.reaches(element) or name in outer.fields):
            self.used_outer = True
            return outer.column(name, position)
        if not self.reaches(element):
            if dimensions_of(name) and (dot or element in DIMENSIONS):
                raise SeveralValues(name, self.dimensions)
            raise UnknownField(name, self.known_names())
        if not dot:
            return self._implied(name)
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
        alias = self.alias("sky")
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
        around = () if self.outer is None else (self.outer,)
        return all(
            any(names.reaches(d) for names in (self, *around))
            for d in sky.keys_of(element) or ("",)
        )

    def known_names(self) -> Sequence[str]:
        """List every name that may be used here."""
        known = [*DIMENSIONS, *self.dimensions, *self.fields]
        known += self.rows.known() if self.rows is not None else []
        known += self.outer.known_names() if self.outer is not None else []
        for element in RECORD_KEYS:
            if element in ELEMENTS:
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
            table = ELEMENTS[element].alias(f"{self.prefix}{element}_record")
            keys = RECORD_KEYS[element]
            condition = sa.and_(*(table.c[c] == self.column(d) for d, c in keys.items()))
            self.base = self.base.outerjoin(table, condition)
            self.tables.append(table)
            self._records[element] = table
        return self._records[element]

    def adopt(self, element: str, table: Any) -> None:
        """Take a table that is selected from already as the records of an element."""
        self._records[element] = table

    def join(self, table: Any, keys: Mapping[str, str]) -> None:
        """Join a table that has further dimensions, by those that are here already.

        Parameters
        ----------
        keys : mapping
            Its column of each dimension.
        """
        here = [d for d in keys if d in self.dimensions]
        shared = [table.c[keys[d]] == self.dimensions[d] for d in here]
        if not shared and self.dimensions:
            # always so: it says that every pair of rows is meant
            one, other = next(iter(self.dimensions.values())), table.c[next(iter(keys.values()))]
            shared = [one.is_not(None) == other.is_not(None)]
        self.base = table if self.base is None else self.base.join(table, sa.and_(*shared))
        self.dimensions |= {d: table.c[c] for d, c in keys.items() if d not in here}
        self.tables.append(table)

    def alias(self, name: str) -> str:
        """Make a name for a table that occurs nowhere else in the statement."""
        self._n_aliases += 1
        return f"{self.prefix}{name}{self._n_aliases}"

    def reaches(self, name: str) -> bool:
        """Tell whether each row has one value of a dimension, or one record of an element, here."""
        if name in self.dimensions:
            return True
        if name == "visit_detector_region":
            return self.reaches("visit") and self.reaches("detector")
        return any(self.reaches(e) for e in IMPLIED_BY.get(name, ()))

    def _implied(self, name: str) -> Any:
        element = next(e for e in IMPLIED_BY[name] if self.reaches(e))
        return self.column(f"{element}.{name}")


def dimensions_of(name: str) -> tuple[str, ...]:
    """Name the dimensions that a name in an expression is about; none for one that is unknown.

    Examples
    --------
    >>> dimensions_of("patch.cell_x"), dimensions_of("band"), dimensions_of("run")
    (('skymap', 'tract', 'patch'), ('band',), ())
    """
    element = name.partition(".")[0]
    if element in RECORD_KEYS:
        return tuple(RECORD_KEYS[element])
    return (element,) if name in ("band", "healpix") else ()


class UnknownField(UnknownName):
    """The expression uses a name that means nothing here."""

    code = "unknown-field"
    kind = "dimension or field"


class SeveralValues(UnknownName):
    """A name may have several values for what is asked for."""

    code = "several-values"

    def __init__(self, name: str, dimensions: Iterable[str]) -> None:
        self.name = name
        RegistryError.__init__(
            self,
            f"'{name}' may have several values for one {', '.join(dimensions)}: it may stand in "
            "a condition, but not be shown, counted by or sorted by. Ask for data IDs with it.",
        )


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
    return Names(base, columns, fields, connection)


def names_of_element(element: str, connection: sa.Connection | None = None) -> Names:
    """Names over the records of one dimension element."""
    table = element_table(element).alias(f"{element}_record")
    keys = RECORD_KEYS.get(element, {c.name: c.name for c in table.primary_key})
    columns = {d: table.c[c] for d, c in keys.items()}
    columns |= {d: table.c[d] for d in DIMENSIONS if d in table.c and d not in columns}
    names = Names(table, columns, connection=connection)
    names.adopt(element, table)
    return names
