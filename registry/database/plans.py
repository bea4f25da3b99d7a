"""How does a statement look, and how does the database go about it?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ClauseElement, Executable

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["plan_of", "shown_sql"]


def shown_sql(connection: sa.Connection, statement: Any) -> str:
    """Write a statement with its values in it, for reading."""
    compiled = statement.compile(
        dialect=connection.dialect, compile_kwargs={"render_postcompile": True}
    )
    text, values = str(compiled), compiled.params
    if compiled.positional:
        shown = [_shown(values[name]) for name in compiled.positiontup or ()]
        pieces = text.split("?")
        return "".join(a + b for a, b in zip(pieces, [*shown, ""], strict=True))
    return _PARAMETER.sub(lambda found: _shown(values[found[1]]) if found[1] else "%", text)


_PARAMETER = re.compile(r"%(?:\((\w+)\)s|%)")


def _shown(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, (bool, int, float)):
        return str(value)
    quoted = str(value).replace("'", "''")
    return f"'{quoted}'"


class _Explained(Executable, ClauseElement):
    """A statement that the database explains instead of running it."""

    inherit_cache = False

    def __init__(self, word: str, statement: Any) -> None:
        self.word = word
        self.statement = statement


@compiles(_Explained)
def _explained(element: _Explained, compiler: Any, **how: Any) -> str:
    return f"{element.word} {compiler.process(element.statement, **how)}"


def plan_of(connection: sa.Connection, statement: Any) -> str:
    """Let the database tell how it would run a statement, without running it."""
    word = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    with connection.execute(_Explained(word, statement)) as result:
        # the columns are those of a plan, not of the statement
        names = [column[0] for column in result.cursor.description]
        rows = result.cursor.fetchall()
    if connection.dialect.name == "sqlite":
        return "\n".join(str(row[-1]) for row in rows)
    if connection.dialect.name == "postgresql":
        return "\n".join(str(row[0]) for row in rows)
    return "\n".join(
        ", ".join(f"{k}={v}" for k, v in zip(names, row, strict=True) if v is not None)
        for row in rows
    )
