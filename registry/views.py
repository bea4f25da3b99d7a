"""Which columns does a reporting view promise: their names, types, units and meaning?

The header of a view's file says it, for people and for programs: a question, its row key, and below
``-- Columns:`` a line per column (name, type, unit in brackets, UCD in braces, meaning).  What is
read here becomes the comments on databases that know them, the pages of the docs, and the types
with which `registry.reports` reads a view.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from registry.errors import RegistryError
from registry.schema.types import UtcDateTime

__all__ = ["TYPES", "View", "ViewColumn", "comments", "parse"]

TYPES: dict[str, type[sa.types.TypeEngine[Any]]] = {
    "text": sa.String,
    "integer": sa.BigInteger,
    "double": sa.Double,
    "timestamp": sa.DateTime,
    "utc": UtcDateTime,
    "uuid": sa.Uuid,
}
"""Types of columns: timestamp is TAI, utc an aware UTC time, both to the microsecond."""

_LINE = re.compile(
    r"--   (?P<name>\w+) +(?P<type>\w+)(?: +\[(?P<unit>[^\]]+)\])?(?: +\{(?P<ucd>[^}]+)\})?"
    r" +(?P<doc>\S.*)"
)


class BadHeader(RegistryError):
    """The header of a view's file cannot be read."""

    code = "bad-view-header"


@dataclass(frozen=True, slots=True)
class ViewColumn:
    """A column of a view: its type is one of `TYPES`, its unit as in FITS (empty: none)."""

    name: str
    type: str
    unit: str
    ucd: str
    doc: str

    @property
    def comment(self) -> str:
        """Meaning and unit in one text."""
        return f"{self.doc} [{self.unit}]" if self.unit else self.doc


@dataclass(frozen=True, slots=True)
class View:
    """What the header of a view's file says.

    Parameters
    ----------
    name : str
        Name of the view.
    question : str
        What it answers.
    notes : tuple of str
        Further lines: row key, conventions.
    columns : tuple of ViewColumn
        In their order; empty for views that do not declare them.
    """

    name: str
    question: str
    notes: tuple[str, ...]
    columns: tuple[ViewColumn, ...]

    @property
    def table(self) -> sa.TableClause:
        """Handle to select from, with typed columns; not a table of the schema's metadata."""
        return sa.table(self.name, *(sa.column(c.name, TYPES[c.type]()) for c in self.columns))


def parse(name: str, text: str) -> View:
    """Read the header of a view.

    Parameters
    ----------
    name : str
        Name of the view.
    text : str
        Its file.

    Raises
    ------
    BadHeader
        If a line below ``-- Columns:`` is not one of a column, or its type is unknown.
    """
    header = [line for line in text.partition("\nWITH")[0].splitlines() if line.startswith("--")]
    question = header[0].removeprefix("-- ")
    start = header.index("-- Columns:") if "-- Columns:" in header else len(header)
    columns = []
    for line in header[start + 1 :]:
        found = _LINE.fullmatch(line)
        if found is None or found["type"] not in TYPES:
            raise BadHeader(
                f"In sql/views/{name}.sql this does not declare a column: '{line}'. Write: "
                f"--   name  type  [unit]  {{ucd}}  meaning; types: {', '.join(TYPES)}."
            )
        columns.append(ViewColumn(**{k: v or "" for k, v in found.groupdict().items()}))
    notes = tuple(line.removeprefix("-- ") for line in header[1:start])
    return View(name, question, notes, tuple(columns))


def comments(view: View) -> list[str]:
    """Write the statements that comment a view and its columns, where a database knows them."""

    def quoted(text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    return [
        f"COMMENT ON VIEW {view.name} IS {quoted(view.question)}",
        *(f"COMMENT ON COLUMN {view.name}.{c.name} IS {quoted(c.comment)}" for c in view.columns),
    ]
