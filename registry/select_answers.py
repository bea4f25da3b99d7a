"""What does a question that a person wrote in SQL answer, without being able to change anything?

It is run as a subquery, in which no database changes anything, on a connection that may not change
anything either.  Which texts are let through: `registry.selects`.
"""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import may_be_repeated, was_lost
from registry.selects import RefusedSelect, bound_names, check_select, tokens_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from registry.database import Database

__all__ = ["MOST", "answer"]

MOST = 21
"""So many values are fetched: more than one says that the question is ambiguous."""


def answer(database: Database, text: str, values: Mapping[str, Any]) -> list[Any]:
    """Run a SELECT of one column, and give its different values.

    Parameters
    ----------
    text : str
        As `check_select` lets it through.
    values : mapping
        By name, all that it takes.

    Returns
    -------
    list
        At most 21 values, sorted; NULL is left out.

    Raises
    ------
    RefusedSelect
        If the text is no such SELECT, or the database cannot run it.
    """
    check_select(text)
    names = bound_names(text)
    inner = "".join(_written(kind, piece) for kind, piece in tokens_of(text))
    asked = sa.text(f"SELECT DISTINCT * FROM ({inner}) AS answer LIMIT {MOST}")  # noqa: S608 (checked above)

    def ask() -> tuple[int, list[Any]]:
        with database.read_only() as connection, _kept_apart(connection):
            try:
                result = connection.execute(asked, {n: values[n] for n in names})
                return len(result.keys()), list(result)
            except sa.exc.DBAPIError as error:
                if was_lost(error) or may_be_repeated(error):
                    raise
                reason = str(error.orig).splitlines()[0]
                raise RefusedSelect(f"The query cannot be run: {reason}. It is: {text}") from error

    width, rows = database.repeated(ask)
    if width != 1:
        raise RefusedSelect(f"The query gives {width} columns, and one is needed: {text}")
    return sorted({_plain(row[0]) for row in rows if row[0] is not None}, key=str)


def _written(kind: str, piece: str) -> str:
    """Write a token with the blank before it, which MariaDB wants none of behind a function."""
    piece = piece.replace(":", "\\:") if kind == "text" else piece
    return piece if piece == "(" else f" {piece}"


def _kept_apart(connection: sa.Connection) -> AbstractContextManager[Any]:
    """Let a statement that fails not end the transaction around it."""
    if connection.get_execution_options().get("writing"):
        return connection.begin_nested()
    return contextlib.nullcontext()


def _plain(value: Any) -> Any:
    """Make a whole Decimal, as sums are on MariaDB and PostgreSQL, the integer that it is."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value
