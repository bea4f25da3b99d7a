"""What of an export is new here, what is there already, and what contradicts it?

Rows are the same when their keys are; then all that they say must be equal, but for who noted it
when.  Nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from registry import belongings
from registry.portable.tables import ELEMENTS, TABLES
from registry.portable.taking import Row, columns_among, columns_of_records, packed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import sqlalchemy as sa

__all__ = ["Contradiction", "Incoming", "compare", "told_apart"]

DIFFERENT_THERE = ("calibration_policy", "calibration_policy_match")
"""Tables in which each repository decides for itself: what is here stays."""
_MAY_STAY = frozenset(
    {
        *ELEMENTS,
        "calibration_fact",
        "carried_record",
        "collection_chain",
        "file",
        "instrument_definition",
    }
)
_MOST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Something that an export says otherwise than this registry.

    Parameters
    ----------
    table : str
        Where.
    key : tuple
        Of the row.
    column : str
        What differs.
    here, there : object
        The two values.
    """

    table: str
    key: tuple[Any, ...]
    column: str
    here: Any
    there: Any

    def __str__(self) -> str:
        return self.told("here", "in the export")

    def told(self, here: str, there: str) -> str:
        """Tell it in a sentence, with the places of the two values."""
        named = ", ".join(str(k) for k in self.key)
        return (
            f"{self.table} {named}: {self.column} is {_shown(self.here)} {here}, "
            f"and {_shown(self.there)} {there}"
        )

    @property
    def essential(self) -> bool:
        """Whether what is here cannot simply be kept: one name means two things."""
        return self.table not in _MAY_STAY


def _shown(value: Any) -> str:
    text = "nothing" if value is None else f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


@dataclass(slots=True)
class Incoming:
    """The rows of an export beside what is here.

    Parameters
    ----------
    rows : mapping
        By table, as `registry.portable.taking.Row`.
    new : dict of str to list of tuple
        Rows whose key is not here.
    present : dict of str to int
        How many are here already, by table.
    contradictions : list of Contradiction
        In the order of the tables.
    """

    rows: Mapping[str, Sequence[Row]]
    new: dict[str, list[Row]] = field(default_factory=dict)
    present: dict[str, int] = field(default_factory=dict)
    contradictions: list[Contradiction] = field(default_factory=list)


def compare(connection: sa.Connection, rows: Mapping[str, Sequence[Row]]) -> Incoming:
    """Compare the rows of an export with what is here.

    Parameters
    ----------
    rows : mapping
        By table of `TABLES`; a table that is missing counts as empty.
    """
    found = Incoming(rows)
    for name in TABLES:
        given = rows.get(name, ())
        here = _here(connection, name, given) if given else {}
        new, differing = told_apart(name, given, here)
        found.new[name] = new
        found.present[name] = len(given) - len(new)
        if name not in DIFFERENT_THERE:
            found.contradictions += differing
    return found


def _here(connection: sa.Connection, name: str, given: Sequence[Row]) -> dict[Any, Row]:
    """Read the rows that are here under the keys of some rows."""
    portable = TABLES[name]
    key = itemgetter(*portable.positions(portable.key))
    if name in ELEMENTS:
        columns = belongings.key_columns(name)
        places = portable.positions(tuple(columns.values()))
        keys = {d: [row[p] for row in given] for d, p in zip(columns, places, strict=True)}
        found = belongings.records_with(connection, name, keys)
        here = packed(name, columns_of_records(name, found))
    else:
        first = portable.key[0]
        (place,) = portable.positions((first,))
        here = packed(name, columns_among(connection, name, first, (r[place] for r in given)))
    return {key(row): row for row in here}


def told_apart(
    name: str, given: Sequence[Row], here: Mapping[Any, Row]
) -> tuple[list[Row], list[Contradiction]]:
    """Tell which rows are new beside others (by key), and what is told otherwise of the others."""
    portable = TABLES[name]
    if not here:
        return list(given), []
    if name == "collection_chain":
        return _chains_apart(name, given, here)
    key = itemgetter(*portable.positions(portable.key))
    told = [
        (n, column)
        for n, column in enumerate(portable.columns)
        if column not in portable.passing and column not in portable.key
    ]
    new: list[Row] = []
    differing: list[Contradiction] = []
    for row in given:
        other = here.get(key(row))
        if other is None:
            new.append(row)
            continue
        if row == other:
            continue
        shown = tuple(row[p] for p in portable.positions(portable.key))
        differing += [
            Contradiction(name, shown, column, other[n], row[n])
            for n, column in told
            if row[n] != other[n]
        ]
    return new, differing


def _chains_apart(
    name: str, given: Sequence[Row], here: Mapping[Any, Row]
) -> tuple[list[Row], list[Contradiction]]:
    """Take the children of a chain together: one that is here has exactly these, or others."""
    held: dict[str, list[str]] = {}
    asked: dict[str, list[str]] = {}
    for rows, chains in ((sorted(here.values()), held), (given, asked)):
        for parent, _, child in rows:
            chains.setdefault(parent, []).append(child)
    differing = [
        Contradiction(name, (parent,), "children", ", ".join(held[parent]), ", ".join(children))
        for parent, children in asked.items()
        if parent in held and held[parent] != children
    ]
    return [row for row in given if row[0] not in held], differing
