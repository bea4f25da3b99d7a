"""Which parts of a condition must each database spell in its own way?

A match with a pattern, the order of strings, double precision, and parentheses that stay.  They
are constructs of SQLAlchemy, so that one condition compiles for SQLite, PostgreSQL and MariaDB and
is cached like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from registry.expressions.patterns import CharacterSet, as_glob, as_like, as_regexp

if TYPE_CHECKING:
    from registry.expressions.patterns import Piece

__all__ = [
    "CodePointOrder",
    "DoublePrecision",
    "GlobMatch",
    "LikeMatch",
    "Parentheses",
    "glob_match",
]


class GlobMatch(sa.sql.functions.FunctionElement[bool]):
    """A text matches a pattern; its clauses are the text and the pattern in three languages."""

    inherit_cache = True
    type = sa.Boolean()
    name = "glob"


class LikeMatch(GlobMatch):
    """The same for a pattern without character sets: the third clause is for LIKE."""

    inherit_cache = True
    name = "glob_like"


def glob_match(operand: sa.ColumnElement[Any], pieces: tuple[Piece, ...]) -> GlobMatch:
    """Make the condition that a text matches a pattern.

    Parameters
    ----------
    operand : ColumnElement
        The text.
    pieces : tuple
        What `read_pattern` returned.

    Returns
    -------
    GlobMatch
        Compiles on SQLite, PostgreSQL and MariaDB; the pattern is a bound value on each.
    """
    if any(isinstance(piece, CharacterSet) for piece in pieces):
        return GlobMatch(
            operand,
            sa.literal(as_glob(pieces), sa.String()),
            sa.literal(as_regexp(pieces, postgresql=True), sa.String()),
            sa.literal(as_regexp(pieces, postgresql=False), sa.String()),
        )
    return LikeMatch(
        operand, sa.literal(as_glob(pieces), sa.String()), sa.literal(as_like(pieces), sa.String())
    )


def _infix(
    element: GlobMatch, compiler: Any, operator: str, which: int, tail: str = "", **kw: Any
) -> str:
    text, *patterns = element.clauses
    left = compiler.process(text.self_group(against=sa.sql.operators.like_op), **kw)
    return f"({left} {operator} {compiler.process(patterns[which], **kw)}{tail})"


@compiles(GlobMatch, "sqlite")
def _glob(element: GlobMatch, compiler: Any, **kw: Any) -> str:
    return _infix(element, compiler, "GLOB", 0, **kw)


@compiles(GlobMatch, "postgresql")
def _posix(element: GlobMatch, compiler: Any, **kw: Any) -> str:
    return _infix(element, compiler, "~", 1, **kw)


@compiles(GlobMatch, "mysql", "mariadb")
def _pcre(element: GlobMatch, compiler: Any, **kw: Any) -> str:
    return _infix(element, compiler, "REGEXP", 2, **kw)


@compiles(LikeMatch, "postgresql", "mysql", "mariadb")
def _like(element: LikeMatch, compiler: Any, **kw: Any) -> str:
    return _infix(element, compiler, "LIKE", 1, " ESCAPE '|'", **kw)


class CodePointOrder(sa.sql.functions.FunctionElement[str]):
    """A text that is ordered by code points, whatever the collation of the database."""

    inherit_cache = True
    type = sa.String()
    name = "code_point_order"


@compiles(CodePointOrder)
def _as_declared(element: CodePointOrder, compiler: Any, **kw: Any) -> str:
    return str(compiler.process(element.clauses, **kw))


@compiles(CodePointOrder, "postgresql")
def _collated(element: CodePointOrder, compiler: Any, **kw: Any) -> str:
    return f'({compiler.process(element.clauses, **kw)} COLLATE "C")'


class DoublePrecision(sa.sql.functions.FunctionElement[float]):
    """A number in double precision."""

    inherit_cache = True
    type = sa.Double()
    name = "double_precision"


@compiles(DoublePrecision)
def _cast(element: DoublePrecision, compiler: Any, **kw: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **kw)} AS DOUBLE PRECISION)"


@compiles(DoublePrecision, "mysql", "mariadb")
def _added(element: DoublePrecision, compiler: Any, **kw: Any) -> str:
    # SQLAlchemy leaves this CAST out where it does not know the version of the server.
    return f"CAST({compiler.process(element.clauses, **kw)} AS DOUBLE)"


class Parentheses(sa.sql.functions.FunctionElement[Any]):
    """A part in parentheses, which SQLAlchemy would take off from an AND within an AND."""

    inherit_cache = True
    name = "parentheses"

    def __init__(self, part: sa.ColumnElement[Any]) -> None:
        super().__init__(part)
        self.type = part.type


@compiles(Parentheses)
def _kept(element: Parentheses, compiler: Any, **kw: Any) -> str:
    return f"({compiler.process(element.clauses, **kw)})"
