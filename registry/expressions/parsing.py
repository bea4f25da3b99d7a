"""What does the text of a `where` expression say?

Text becomes an immutable `Expression` here; nothing is looked up yet, so that names may be wrong
and types may not fit. The grammar is `where.lark` beside this module, what it recognises is made
into nodes by `registry.expressions.building`, and what it does not recognise is explained by
`registry.expressions.mistakes`.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from registry.expressions.errors import (
    ExpressionError,
    ExpressionSyntaxError,
    ExpressionTooLarge,
)
from registry.expressions.limits import MAX_PARENTHESES, MAX_TEXT
from registry.expressions.nodes import (
    Bind,
    Call,
    Connective,
    Expression,
    Name,
    NullTest,
    Overlaps,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Container

    from registry.expressions.nodes import Node

__all__ = ["binds", "columns_of", "names", "parse", "terms"]

_QUOTED_OR_PARENTHESIS = re.compile(r"'(?:[^']|'')*'|[()]")


def parse(text: str) -> Expression:
    """Read a `where` expression.

    Parameters
    ----------
    text : str
        The expression; an empty one is true of every row.

    Returns
    -------
    Expression
        The same object for the same text, while it is among the 512 last used.

    Raises
    ------
    ExpressionSyntaxError
        If the text does not follow the grammar; the message shows the place and what to write.
    InvalidLiteral
        If a number, range, time or UUID in it is malformed or out of range.
    ExpressionTooLarge
        If it is beyond the limits of `registry.expressions.limits`.

    Examples
    --------
    >>> parse("exposure IN (5..20:2) AND band = 'r'").root.operator
    'AND'
    """
    try:
        return _parsed(text)
    except ExpressionError as error:
        raise error.locate(text) from error.__cause__


@functools.lru_cache(maxsize=512)
def _parsed(text: str) -> Expression:
    _check_characters(text)
    if not text.strip():
        return Expression(text, None)
    _check_parentheses(text)
    from lark.exceptions import UnexpectedInput

    from registry.expressions.building import grammar

    try:
        return Expression(text, grammar().parse(text))  # type: ignore[arg-type]
    except UnexpectedInput as error:
        from registry.expressions.mistakes import explain

        raise explain(text, error) from None


def _check_characters(text: str) -> None:
    """Refuse what is too long or what no database takes."""
    if "\0" in text:
        at = text.index("\0")
        raise ExpressionSyntaxError("The expression holds a NUL byte; remove it.", at, at + 1)
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise ExpressionSyntaxError(
            "The expression holds half of a surrogate pair, which is no character; remove it.",
            error.start,
            error.end,
        ) from None
    if size > MAX_TEXT:
        raise ExpressionTooLarge(
            f"The expression has {size} bytes and the limit is {MAX_TEXT}; "
            "write a range (5..20) or a bound list (:ids) in place of many values."
        )


def _check_parentheses(text: str) -> None:
    """Refuse more levels than a person can read."""
    level = 0
    for match in _QUOTED_OR_PARENTHESIS.finditer(text):
        level += {"(": 1, ")": -1}.get(match[0], 0)
        if level > MAX_PARENTHESES:
            raise ExpressionTooLarge(
                f"More than {MAX_PARENTHESES} parentheses stand inside one another here.",
                match.start(),
                match.end(),
            )


def names(expression: Expression, bind: Container[str] = ()) -> frozenset[str]:
    """List the names that compiling the expression asks its resolver for.

    Parameters
    ----------
    expression : Expression
        A parsed expression.
    bind : container of str
        Names of the values that are bound, which may stand without a colon.

    Returns
    -------
    frozenset of str
        `exposure.timespan` stands as its two columns, `exposure.begin_tai_ns` and
        `exposure.end_tai_ns`; what stands beside a region in `OVERLAPS` stands as written.
    """
    found: set[str] = set()
    whole: set[int] = set()
    for node in walk(expression.root):
        if isinstance(node, Overlaps) and _spatial(node):
            whole.update((id(node.left), id(node.right)))
        elif isinstance(node, NullTest) and _is_region_name(node.operand):
            whole.add(id(node.operand))
        elif isinstance(node, Name) and node.name not in bind:
            found.update((node.name,) if id(node) in whole else columns_of(node.name))
    return frozenset(found)


def binds(expression: Expression) -> frozenset[str]:
    """List the bound values that the expression names with a colon."""
    root = expression.whole or expression.root
    return frozenset(node.name for node in walk(root) if isinstance(node, Bind))


def terms(expression: Expression) -> list[Expression]:
    """List the conditions that must all be true: what `AND` joins at the top.

    Returns
    -------
    list of Expression
        Of the same text, so that errors show the place in it; none for an empty one.

    Examples
    --------
    >>> text = "visit = 1 AND (band = 'r' OR tract = 0) AND NOT tract = 2"
    >>> [text[term.root.start : term.root.end] for term in terms(parse(text))]
    ['visit = 1', "band = 'r' OR tract = 0", 'NOT tract = 2']
    """
    root = expression.root
    if root is None:
        return []
    parts = root.operands if isinstance(root, Connective) and root.operator == "AND" else (root,)
    return [Expression(expression.text, part, expression.whole or root) for part in parts]


def columns_of(name: str) -> tuple[str, ...]:
    """Spell out a name of a time as the schema does; two columns for a timespan.

    Examples
    --------
    >>> columns_of("visit.timespan"), columns_of("visit.timespan.begin"), columns_of("visit.end")
    (('visit.begin_tai_ns', 'visit.end_tai_ns'), ('visit.begin_tai_ns',), ('visit.end_tai_ns',))
    """
    *owner, field = name.split(".")
    if field == "timespan":
        return tuple(".".join((*owner, f"{side}_tai_ns")) for side in ("begin", "end"))
    if field in ("begin", "end"):
        if owner and owner[-1] == "timespan":
            owner.pop()
        return (".".join((*owner, f"{field}_tai_ns")),)
    return (name,)


def _spatial(node: Overlaps) -> bool:
    return any(isinstance(side, Call) or _is_region_name(side) for side in node.children)


def _is_region_name(node: Node) -> bool:
    return isinstance(node, Name) and node.name.rpartition(".")[2] == "region"
