"""How large may an expression be, and why not larger?

Text arrives from web forms and scripts, so it is refused in bounded time before it reaches a
database.  Nothing that a person writes comes near these numbers; what a program writes is better
said with a range or a bound list.
"""

from __future__ import annotations

__all__ = [
    "CHUNK",
    "INTEGER_MAX",
    "INTEGER_MIN",
    "MAX_COPIES",
    "MAX_DEPTH",
    "MAX_NAME",
    "MAX_PARENTHESES",
    "MAX_PATTERN",
    "MAX_TEXT",
    "MAX_VALUES",
]

MAX_TEXT = 65_536
"""Longest text [bytes in UTF-8]; 64 kB are parsed in about a second."""

MAX_PARENTHESES = 100
"""Most parentheses inside one another, whether they mean something or not."""

MAX_DEPTH = 60
"""Deepest nesting of the SQL that results, in entries on the stack of SQLite's parser.

That stack has 100 entries before SQLite 3.46; the rest is left for the statement around the
condition.  A level of `a AND (b OR (...))` takes three, a level of `((...) OR b) AND a` takes one.
"""

MAX_NAME = 256
"""Longest name [characters]."""

MAX_PATTERN = 1_000
"""Longest pattern of GLOB [characters]."""

MAX_VALUES = 20_000
"""Most values that one condition sends to the database.

SQLite takes 32,766 in one statement, MariaDB 65,535.
"""

MAX_COPIES = 20_000
"""Most terms into which the ranges of an IN list unfold, counted in nodes of its left side."""

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1
"""Range of the integers of all three databases."""

CHUNK = 50
"""Terms of one AND or OR that are joined directly; SQLite takes trees of 1,000 levels."""
