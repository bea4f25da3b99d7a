"""What must be rewritten in a file of SQL before a database understands it?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from registry.timespan import BEGINNING, END

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["standard_strings", "with_timestamps", "with_types"]

_TIMESTAMP = re.compile(r"TAI_TIMESTAMP\(((?:[^()]|\([^()]*\))*)\)")
_TIMESTAMPS = {
    # whole seconds and the rest apart, because SQLite computes dates in milliseconds
    "sqlite": (
        "datetime((({us}) + 9300000000000000) / 1000000 - 9300000000, 'unixepoch')"
        " || printf('.%06d', (({us}) + 9300000000000000) % 1000000)"
    ),
    "postgresql": "TIMESTAMP '1970-01-01 00:00:00' + ({us}) * INTERVAL '1 microsecond'",
    "mariadb": "TIMESTAMP'1970-01-01 00:00:00.000000' + INTERVAL ({us}) MICROSECOND",
}


def with_timestamps(text: str, dialect: str) -> str:
    """Write out ``TAI_TIMESTAMP(ns)`` in the text of a view for one database.

    The result is the timestamp of TAI nanoseconds since 1970-01-01T00:00:00 TAI, rounded down to
    microseconds and in TAI too, or NULL where a range has no limit.  SQLite gives it as text.
    """

    def written(found: re.Match[str]) -> str:
        ns = f"NULLIF(NULLIF({found[1]}, {BEGINNING}), {END})"
        division = "DIV" if dialect == "mariadb" else "/"
        us = f"({ns} - ({ns} % 1000 + 1000) % 1000) {division} 1000"
        return f"({_TIMESTAMPS[dialect].format(us=us)})"

    return _TIMESTAMP.sub(written, text)


_MARIADB_CASTS = {"AS DOUBLE PRECISION)": "AS DOUBLE)", "AS BIGINT)": "AS SIGNED)"}


def with_types(text: str, dialect: str) -> str:
    """Write the type names of standard SQL in CASTs as one database spells them."""
    if dialect == "mariadb":
        for standard, spelled in _MARIADB_CASTS.items():
            text = text.replace(standard, spelled)
    return text


def standard_strings(dialect: str) -> tuple[Sequence[str], Sequence[str]]:
    """Give what to say before and after a statement in which ``||`` joins texts.

    MariaDB takes ``||`` for OR, unless the session is told otherwise; the others need nothing.
    """
    if dialect not in ("mysql", "mariadb"):
        return (), ()
    return (
        (
            "SET @sql_mode_before = @@SESSION.sql_mode",
            "SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',PIPES_AS_CONCAT')",
        ),
        ("SET SESSION sql_mode = @sql_mode_before",),
    )
