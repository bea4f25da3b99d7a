"""Which dimension records exist, and what does a data ID imply?

Insertion of instruments, detectors, filters, nights, exposures, visits, skymaps and their regions;
expansion of data IDs by what the records say (exposure -> night and filter -> band).  Tables:
`registry.schema.dimensions`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import footprints, overlaps, regions
from registry.database import (
    analyze_outgrown,
    insert_rows,
    kind_of,
    many_objects,
    rows_of,
    violated,
)
from registry.errors import (
    Conflict,
    DefinitionConflict,
    InvalidDataId,
    UnknownDimensionValue,
    UnknownName,
)
from registry.identity import DataId
from registry.schema import dimensions as schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "ELEMENTS",
    "absent_keys",
    "element_table",
    "expand",
    "insert_dimension_records",
    "missing_records",
]

ELEMENTS: dict[str, sa.Table] = {
    table.name: table
    for table in (
        schema.instrument,
        schema.physical_filter,
        schema.detector,
        schema.day_obs,
        schema.exposure,
        schema.visit,
        schema.visit_exposure,
        schema.visit_detector_region,
        schema.exposure_detector_region,
        schema.skymap,
        schema.tract,
        schema.patch,
    )
}
"""The elements that have records, by name."""

_DEFAULTS: dict[str, dict[str, Any]] = {
    "instrument": {"definition_version": 0, "doc": ""},
    "detector": {"purpose": "science"},
    "exposure": {"quality": "good"},
}


_BULK = 50
"""From this many inserted records on, the planner's statistics are refreshed.

Of a hundred detectors too: without them, PostgreSQL takes two indexes that begin with the camera
for equally good, and reads all its detectors to check the foreign key of each data ID.
"""


def element_table(element: str) -> sa.Table:
    """Give the table of a dimension element.

    Raises
    ------
    UnknownName
        If there is no such element.
    """
    try:
        return ELEMENTS[element]
    except KeyError:
        raise UnknownElement(element, ELEMENTS) from None


class UnknownElement(UnknownName):
    """There is no dimension element of this name."""

    code = "unknown-element"
    kind = "dimension element"


@many_objects()
def insert_dimension_records(
    connection: sa.Connection, element: str, rows: Any, on_conflict: str = "fail"
) -> int:
    """Insert records of one dimension element, all in one statement.

    Parameters
    ----------
    element : str
        instrument, physical_filter, detector, day_obs, exposure, visit, visit_exposure,
        visit_detector_region, exposure_detector_region, skymap, tract or patch.
    rows : iterable of mappings, or pandas.DataFrame
        Columns as in the table of that name; regions as `lsst.sphgeom` objects.
    on_conflict : {"fail", "skip"}
        What to do with a record whose key exists already.

    Returns
    -------
    int
        How many records were given.

    Raises
    ------
    UnknownName
        If the element or a column does not exist.
    DefinitionConflict
        If a key exists and ``on_conflict`` is ``"fail"``.
    UnknownDimensionValue
        If a record refers to another one that is missing.
    InvalidDataId
        If a value is missing, of the wrong type, too long, or breaks a rule of the table.
    Conflict
        If two records contradict each other.
    """
    table = element_table(element)
    records = _records(table, rows)
    if not records:
        return 0
    existing = _existing_keys(connection, table, records)
    keys = [c.name for c in table.primary_key]
    if existing and on_conflict == "fail":
        shown = ", ".join(str(dict(zip(keys, key, strict=True))) for key in list(existing)[:3])
        raise DefinitionConflict(
            f"{len(existing)} record(s) of {element} exist already, for example {shown}; "
            "leave them out, or insert with on_conflict='skip'."
        )
    new = [r for r in records if tuple(r[k] for k in keys) not in existing]
    if "stc_s" in table.c:
        new = footprints.with_footprints(new)
    try:
        with connection.begin_nested():
            insert_rows(connection, table, new, skip_existing=on_conflict == "skip")
    except sa.exc.IntegrityError as error:
        raise _refused(connection, table, new, error) from error
    if len(new) >= _BULK:
        analyze_outgrown(connection, table, n_new=len(new))
    overlaps.index_regions(connection, element, new)
    return len(new)


def _records(table: sa.Table, rows: Any) -> list[dict[str, Any]]:
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        rows = rows.to_dict("records")
    rows = list(rows)
    names = [c.name for c in table.columns]
    given = set().union(*rows)
    if not given <= set(names):
        unknown = next(name for row in rows for name in row if name not in names)
        raise UnknownColumn(unknown, names, element=table.name)
    columns = {}
    for column in table.columns:
        default = _DEFAULTS.get(table.name, {}).get(column.name)
        columns[column.name] = (
            _values(column, [row.get(column.name) for row in rows], default)
            if column.name in given
            else [default] * len(rows)
        )
    records = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for column in table.columns:
        if not column.nullable and None in columns[column.name]:
            record = next(r for r in records if r[column.name] is None)
            known = {k: v for k, v in record.items() if v is not None}
            raise InvalidDataId(
                f"A record of {table.name} needs a value for {column.name} "
                f"({column.comment}); got {known}."
            )
    return records


def _values(column: sa.Column[Any], values: list[Any], default: Any) -> list[Any]:
    """Check the values of a column, together where they are plainly of its type."""
    python, limit = _kind_of_value(column)
    if set(map(type, values)) == {python} and python is not object:
        size: Any = {str: len, int: abs}.get(python)
        fits = limit == 0 or max(map(size, values)) <= limit
        if fits and (python is not float or all(map(math.isfinite, values))):
            return values
    stored = map(_stored, values)
    return [default if v is None else _fitting(column, (python, limit), v) for v in stored]


class UnknownColumn(UnknownName):
    """A record has a field that its element lacks."""

    code = "unknown-column"

    def __init__(self, name: str, known: Iterable[str], *, element: str) -> None:
        self.kind = f"field of {element}"  # type: ignore[misc]
        super().__init__(name, known)


_LARGEST = 2**1023
_WORDS = {int: "an integer", str: "a text", float: "a number", bool: "true or false"}


def _kind_of_value(column: sa.Column[Any]) -> tuple[type, int]:
    """Tell the Python type of a column's values, and the largest number or length, 0 for any."""
    for kind, python, limit in (
        (sa.BigInteger, int, 2**63 - 1),
        (sa.Integer, int, 2**31 - 1),
        (sa.Boolean, bool, 0),
        (sa.Float, float, 0),
        (sa.String, str, getattr(column.type, "length", None) or 0),
    ):
        if isinstance(column.type, kind):
            return python, limit
    return object, 0


def _fitting(column: sa.Column[Any], kind: tuple[type, int], value: Any) -> Any:
    """Refuse a value that is not of its column's type, which SQLite would store as it is.

    Raises
    ------
    InvalidDataId
        Names the field, what it takes and what it was given.
    """
    python, limit = kind
    if python is int and isinstance(value, float) and value.is_integer():
        value = int(value)  # a DataFrame has floats in columns of integers where some are missing
    numbers = (int, float) if python is float else (python,)
    if python is float and isinstance(value, int) and abs(value) > _LARGEST:
        value = str(value)  # no float is as large
    wrong = not isinstance(value, numbers) or (isinstance(value, bool) and python in (int, float))
    if not wrong and limit:
        wrong = len(value) > limit if python is str else not -limit <= value <= limit
    if wrong:
        at_most = f" of at most {limit} characters" if python is str and limit else ""
        raise InvalidDataId(
            f"A record of {column.table.name} takes {_WORDS[python]}{at_most} for {column.name} "
            f"({column.comment}); got {str(value)[:40]!r}."
        )
    return value


def _stored(value: Any) -> Any:
    if hasattr(value, "encode") and not isinstance(value, (str, bytes)):
        return regions.encode(value)
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _key_types(table: sa.Table) -> dict[str, Any]:
    return {
        c.name: sa.String if isinstance(c.type, sa.String) else sa.BigInteger
        for c in table.primary_key
    }


def _existing_keys(
    connection: sa.Connection, table: sa.Table, records: Sequence[Mapping[str, Any]]
) -> set[tuple[Any, ...]]:
    types = _key_types(table)
    given = rows_of(connection, records, types)
    same = sa.and_(*(table.c[k] == given.c[k] for k in types))
    found = connection.execute(
        sa.select(*(table.c[k] for k in types)).join_from(given, table, same)
    )
    return {tuple(row) for row in found}


def _refused(
    connection: sa.Connection,
    table: sa.Table,
    records: Sequence[Mapping[str, Any]],
    error: sa.exc.IntegrityError,
) -> Exception:
    """Say which rule of the table the records break, or which record they refer to is missing."""
    name = violated(error)
    for rule in table.constraints:
        if isinstance(rule, sa.CheckConstraint) and rule.name == name:
            return InvalidDataId(f"A record of {table.name} must have {rule.sqltext}.")
    if kind_of(error) == "unique":
        uniques = [table.primary_key, *table.constraints]
        keys = [list(u.columns.keys()) for u in uniques if isinstance(u, _UNIQUE)]
        twice = next((k for k in keys if _repeated(records, k)), None)
        shown = " and ".join(twice or ["key"])
        whose = "Two records given" if twice else "A record given and one that is there"
        return Conflict(f"{whose} of {table.name} have the same {shown}: {name}.")
    return _dangling(connection, table, records, error)


_UNIQUE = (sa.PrimaryKeyConstraint, sa.UniqueConstraint)


def _repeated(records: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> bool:
    values = [tuple(r[k] for k in keys) for r in records]
    return len(set(values)) < len(values)


def _dangling(
    connection: sa.Connection,
    table: sa.Table,
    records: Sequence[Mapping[str, Any]],
    error: Exception,
) -> Exception:
    """Find out which referred record is missing, so that the error can name it."""
    constraints = sorted(table.foreign_key_constraints, key=lambda c: len(c.elements))
    for constraint in constraints:
        columns = [e.parent.name for e in constraint.elements]
        asked = {tuple(r[c] for c in columns) for r in records}
        target = constraint.referred_table
        absent = absent_keys(
            connection,
            [target.c[e.column.name] for e in constraint.elements],
            {key for key in asked if None not in key},
        )
        if absent:
            *whose, name = (str(v) for v in absent[0])
            return UnknownDimensionValue(
                target.name,
                name,
                of=", ".join(whose),
                remedy=f"A record of {table.name} refers to it; insert the {target.name} first.",
            )
    return Conflict(f"The records of {table.name} contradict each other or what exists: {error}")


def absent_keys(
    connection: sa.Connection, columns: Sequence[Any], asked: Iterable[tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    """List which keys have no row.

    Parameters
    ----------
    columns : sequence of sqlalchemy.Column
        Columns of one table that make its key.
    asked : iterable of tuple
        Values of these columns.
    """
    wanted = set(asked)
    if not wanted:
        return []
    names = [f"k{i}" for i in range(len(columns))]
    kinds = [sa.String if isinstance(c.type, sa.String) else sa.BigInteger for c in columns]
    given = rows_of(
        connection,
        [dict(zip(names, key, strict=True)) for key in wanted],
        dict(zip(names, kinds, strict=True)),
    )
    same = sa.and_(*(c == given.c[n] for c, n in zip(columns, names, strict=True)))
    found = connection.execute(sa.select(*columns).join_from(given, columns[0].table, same))
    return sorted(wanted - {tuple(row) for row in found}, key=str)


def expand(connection: sa.Connection, data_ids: Sequence[Mapping[str, Any]]) -> list[DataId]:
    """Add to data IDs what their records imply.

    An exposure or visit implies its night and its filter, a filter its band.

    Parameters
    ----------
    data_ids : sequence of mappings
        Each with ``instrument`` and ``exposure``, ``visit`` or ``physical_filter`` for anything to
        be implied.

    Returns
    -------
    list of DataId
        In the same order.

    Raises
    ------
    UnknownDimensionValue
        If an exposure, visit or filter is not registered.
    """
    expanded = [DataId.of(d) for d in data_ids]
    for key, implied in _IMPLIED.items():
        expanded = _implied(connection, expanded, key, implied)
    return expanded


class _Implied:
    """What a record says of data IDs that have its key, and how that is asked."""

    def __init__(self, table: sa.Table, key: Any, columns: Sequence[Any], *more: Any) -> None:
        self.names = tuple(column.name for column in columns)
        self._table, self._more = table, more
        self._key = (table.c.instrument, key)
        self._asked = sa.select(*self._key, *columns)
        self._of_one = self._from(table).where(
            table.c.instrument == sa.bindparam("of"), key == sa.bindparam("value")
        )

    def _from(self, source: Any) -> sa.Select[Any]:
        return self._asked.select_from(source.outerjoin(*self._more) if self._more else source)

    def ask(self, connection: sa.Connection, asked: set[tuple[Any, Any]]) -> dict[Any, Any]:
        """Give what is implied, by instrument and key; without what has no value."""
        if len(asked) == 1:
            ((instrument, value),) = asked
            rows = connection.execute(self._of_one, {"of": instrument, "value": value})
        else:
            wanted = rows_of(
                connection,
                [{"instrument": i, "value": v} for i, v in asked],
                {"instrument": sa.String, "value": type(self._key[1].type)},
            )
            same = (self._key[0] == wanted.c.instrument) & (self._key[1] == wanted.c.value)
            rows = connection.execute(self._from(wanted.join(self._table, same)))
        return {
            (row[0], row[1]): {
                c: v for c, v in zip(self.names, row[2:], strict=True) if v is not None
            }
            for row in rows
        }


def _implied_by(table: sa.Table) -> _Implied:
    """Say that an exposure or visit implies its night, its filter, and the band of that."""
    f = schema.physical_filter.alias("filter")
    same = (f.c.instrument == table.c.instrument) & (f.c.name == table.c.physical_filter)
    columns = (table.c.day_obs, table.c.physical_filter, f.c.band)
    return _Implied(table, table.c.id, columns, f, same)


_FILTER = schema.physical_filter
_IMPLIED = {
    "exposure": _implied_by(schema.exposure),
    "visit": _implied_by(schema.visit),
    "physical_filter": _Implied(_FILTER, _FILTER.c.name, (_FILTER.c.band,)),
}


def _implied(
    connection: sa.Connection, data_ids: Sequence[DataId], key: str, implied: _Implied
) -> list[DataId]:
    asked = {
        (d["instrument"], d[key])
        for d in data_ids
        if key in d and "instrument" in d and not all(c in d for c in implied.names)
    }
    if not asked:
        return list(data_ids)
    known = implied.ask(connection, asked)
    for instrument, value in asked - set(known):
        raise UnknownDimensionValue(key, f"{value}", of=str(instrument))

    def with_implied(d: DataId) -> DataId:
        more = known.get((d.get("instrument"), d[key]), {})
        if "physical_filter" in d and key != "physical_filter":
            more = {c: v for c, v in more.items() if c != "band"}  # the filter given tells it
        return DataId.of({**more, **d})

    return [with_implied(d) if key in d else d for d in data_ids]


def missing_records(
    connection: sa.Connection, data_ids: Sequence[DataId]
) -> UnknownDimensionValue | None:
    """Find the first key of data IDs that refers to no record, as the error that says so."""
    checks = (
        ("instrument", schema.instrument, {"instrument": "name"}),
        ("skymap", schema.skymap, {"skymap": "name"}),
        ("detector", schema.detector, {"instrument": "instrument", "detector": "id"}),
        (
            "physical_filter",
            schema.physical_filter,
            {"instrument": "instrument", "physical_filter": "name"},
        ),
        ("exposure", schema.exposure, {"instrument": "instrument", "exposure": "id"}),
        ("visit", schema.visit, {"instrument": "instrument", "visit": "id"}),
        ("day_obs", schema.day_obs, {"instrument": "instrument", "day_obs": "id"}),
        ("tract", schema.tract, {"skymap": "skymap", "tract": "id"}),
        ("patch", schema.patch, {"skymap": "skymap", "tract": "tract", "patch": "id"}),
    )
    for dimension, table, keys in checks:
        columns = [table.c[c] for c in keys.values()]
        asked = {tuple(d[k] for k in keys) for d in data_ids if all(k in d for k in keys)}
        for key in absent_keys(connection, columns, asked):
            others = zip(columns[:-1], key[:-1], strict=True)
            same = sa.and_(sa.true(), *(c == v for c, v in others))
            asked_names = sa.select(columns[-1]).where(sa.true(), same).distinct().limit(1000)
            names = connection.execute(asked_names).scalars()
            return UnknownDimensionValue(
                dimension,
                str(key[-1]),
                [str(n) for n in names],
                of=", ".join(str(k) for k in key[:-1]),
                remedy="Register it first.",
            )
    return None


def flag_rejected(connection: sa.Connection, exposures: Sequence[tuple[str, int]]) -> None:
    """Note that observers rejected some exposures, given as (instrument, exposure)."""
    given = rows_of(
        connection,
        [{"instrument": i, "exposure": e} for i, e in exposures],
        {"instrument": sa.String, "exposure": sa.BigInteger},
    )
    e = schema.exposure
    same = (given.c.instrument == e.c.instrument) & (given.c.exposure == e.c.id)
    connection.execute(sa.update(e).where(same).values(quality="rejected"))
