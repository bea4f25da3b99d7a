"""How do `=`, `<`, `IN`, `GLOB` and `IS NULL` become SQL, and which types go together?

NULL follows SQL: a comparison with it is neither true nor false.  Strings are ordered by code
points on every database.
"""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.errors import did_you_mean
from registry.expressions.constructs import CodePointOrder, Parentheses, glob_match
from registry.expressions.errors import (
    ExpressionTooLarge,
    TypeMismatch,
    UnknownValue,
)
from registry.expressions.limits import MAX_COPIES
from registry.expressions.nodes import Range, walk
from registry.expressions.operands import NUMERIC, Kind, Operand, bind_type, checked, joined
from registry.expressions.patterns import read_pattern
from registry.expressions.times import utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry.expressions.nodes import Comparison, Glob, InList, Node, NullTest
    from registry.expressions.operands import Scope

__all__ = ["compared", "is_null", "matched", "member", "require_existing"]

OPERATORS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
COMPARABLE = (
    *NUMERIC,
    Kind.STRING,
    Kind.CONDITION,
    Kind.TIME,
    Kind.UTC,
    Kind.UUID,
    Kind.ANY,
)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?", re.ASCII)


def compared(scope: Scope, node: Comparison, left: Operand, right: Operand) -> Operand:
    """Compare two operands.

    Raises
    ------
    TypeMismatch
        If their kinds do not go together, or have no order.
    """
    left, right = _matching(scope, left, right, node)
    ordering = node.operator not in ("=", "!=")
    if ordering and left.kind in (Kind.CONDITION, Kind.UUID):
        raise TypeMismatch(
            f"{scope.shown(left)} is {left.what}, which has no order; use = or !=.",
            node.start,
            node.end,
        )
    compare = OPERATORS[node.operator]
    if left.constant and right.constant:
        return Operand(Kind.CONDITION, node, value=bool(compare(left.value, right.value)))
    if left.kind is Kind.CONDITION:
        return Operand(Kind.CONDITION, node, _equivalent(scope, left, right, node.operator == "="))
    first, second = scope.sql(left, right), scope.sql(right, left)
    if ordering and left.kind is Kind.STRING:
        first, second = CodePointOrder(first), CodePointOrder(second)
    return Operand(Kind.CONDITION, node, compare(first, second))


def _equivalent(
    scope: Scope,
    left: Operand,
    right: Operand,
    same: bool,
) -> sa.ColumnElement[bool]:
    """Compare two conditions; with a constant on one side the other one says it all."""
    if left.constant or right.constant:
        known, other = (left, right) if left.constant else (right, left)
        condition = scope.sql(other)
        return condition if known.value == same else sa.not_(condition)
    first, second = _grouped(scope.sql(left)), _grouped(scope.sql(right))
    return first == second if same else first != second


def _matching(scope: Scope, left: Operand, right: Operand, node: Node) -> tuple[Operand, Operand]:
    """Bring two operands to kinds that the databases compare alike, or refuse them."""
    for operand in (left, right):
        _require_comparable(scope, operand)
    kinds = {left.kind, right.kind}
    if kinds == {Kind.UTC, Kind.TIME} and (left.constant or right.constant):
        return _as_date(left), _as_date(right)
    if kinds == {Kind.TIME, Kind.INTEGER} and (left.in_nanoseconds or right.in_nanoseconds):
        return left, right
    if not (len(kinds) == 1 or kinds <= set(NUMERIC) or Kind.ANY in kinds):
        raise _mismatch(scope, left, right, node)
    if Kind.INTEGER in kinds:
        left, right = _as_integer(left), _as_integer(right)
    return left, right


def _require_comparable(scope: Scope, operand: Operand) -> None:
    """Refuse kinds that cannot be compared with anything, each with what to write instead."""
    if operand.kind in COMPARABLE:
        return
    shown = scope.shown(operand)
    match operand.kind:
        case Kind.NULL:
            what = "Nothing is equal to NULL, not even NULL; write IS NULL or IS NOT NULL."
        case Kind.LIST:
            what = f"{shown} is a list; use IN ({shown[1:-1]})."
        case Kind.TIMESPAN:
            what = f"{shown} is a timespan; use OVERLAPS, or compare its begin or end."
        case Kind.REGION:
            what = f"{shown} is a region; use OVERLAPS."
        case _:
            what = f"{shown} is {operand.what}, which cannot be compared."
    raise TypeMismatch(what, operand.node.start, operand.node.end)


def _as_date(operand: Operand) -> Operand:
    """Turn a constant time into what a bookkeeping column holds, aware UTC to the microsecond."""
    if operand.kind is Kind.UTC:
        return operand
    return Operand(Kind.UTC, operand.node, value=utc(operand.value))


def _as_integer(operand: Operand) -> Operand:
    """Write a whole floating point constant as an integer, which all databases compare exactly."""
    if operand.kind is Kind.FLOAT and operand.constant and operand.value.is_integer():
        whole = int(operand.value)
        if -(2**63) <= whole < 2**63:
            return Operand(Kind.INTEGER, operand.node, value=whole)
    return operand


def _mismatch(scope: Scope, left: Operand, right: Operand, node: Node) -> TypeMismatch:
    """Say which two kinds meet, and how to write the constant one of them."""
    place = next((o for o in (right, left) if o.constant), right)
    other = left if place is right else right
    source = scope.shown(place).strip("'")
    suggestion = _rewritten(place, other, source)
    hint = f"write {suggestion}" if suggestion else "they cannot be compared"
    start, end = (place.node.start, place.node.end) if place.constant else (node.start, node.end)
    return TypeMismatch(
        f"{scope.shown(left)} is {left.what} and {scope.shown(right)} is {right.what}; {hint}.",
        start,
        end,
        suggestion=suggestion,
    )


def _rewritten(place: Operand, other: Operand, source: str) -> str:
    """Write a constant as the kind that the other side has, if that is possible."""
    if not place.constant:
        return ""
    if other.kind is Kind.STRING and place.kind in NUMERIC:
        return f"'{source}'"
    if other.kind in (Kind.TIME, Kind.UTC):
        if place.kind is Kind.STRING and place.value[:4].isdigit():
            return f"T'{place.value[:30]}'"
        return f"T'mjd/{source}'" if place.kind in NUMERIC else ""
    if other.kind is Kind.CONDITION and place.kind is Kind.INTEGER and place.value in (0, 1):
        return "TRUE" if place.value else "FALSE"
    if place.kind is Kind.STRING:
        if other.kind in NUMERIC and _NUMBER.fullmatch(place.value):
            return str(place.value)
        if other.kind is Kind.UUID:
            return f"UUID('{place.value[:40]}')"
    return ""


def require_existing(
    scope: Scope, name: Operand, constants: Sequence[Operand], values: Sequence[str] | None
) -> None:
    """Refuse to compare a name with a string that no record has.

    Parameters
    ----------
    scope : Scope
        What is being compiled.
    name : Operand
        The name.
    constants : sequence of Operand
        What it is compared with; only constant strings are looked at.
    values : sequence of str or None
        What exists, or None if the resolver does not say.
    """
    if values is None:
        return
    known = frozenset(values)
    for operand in constants:
        if operand.constant and operand.kind is Kind.STRING and operand.value not in known:
            shown = operand.value if len(operand.value) <= 60 else operand.value[:60] + "..."
            raise UnknownValue(
                f"There is no {scope.shown(name).strip(chr(39))} '{shown}'."
                f"{did_you_mean(operand.value, known)}",
                operand.node.start,
                operand.node.end,
            )


def member(scope: Scope, node: InList, left: Operand, items: Sequence[Operand | Range]) -> Operand:
    """Tell whether an operand is one of a list of values, ranges and expressions.

    Ranges become BETWEEN and a remainder, so that their length costs nothing.

    Raises
    ------
    TypeMismatch
        If an item cannot be compared with the left side, or a range meets something that is no
        integer.
    """
    _require_comparable(scope, left)
    if left.kind in (Kind.TIME, Kind.UTC, Kind.CONDITION):
        instead = {Kind.TIME: "OVERLAPS (T'...', T'...')", Kind.UTC: "< and >"}.get(left.kind, "=")
        raise TypeMismatch(
            f"{scope.shown(left)} is {left.what}, for which IN has no use; write {instead}.",
            node.start,
            node.end,
        )
    ranges = [item for item in items if isinstance(item, Range)]
    values = [item for item in items if isinstance(item, Operand)]
    matched_values = [_matching(scope, left, item, item.node)[1] for item in values]
    if ranges and left.kind not in (Kind.INTEGER, Kind.ANY):
        bad = ranges[0]
        hint = "; use >= and <=" if left.kind is Kind.FLOAT else ""
        raise TypeMismatch(
            f"A range holds integers, but {scope.shown(left)} is {left.what}{hint}.",
            bad.start,
            bad.end,
        )
    if left.constant and all(item.constant for item in matched_values):
        found = any(item.value == left.value for item in matched_values) or any(
            r.first <= left.value <= r.last and (left.value - r.first) % r.step == 0 for r in ranges
        )
        return Operand(Kind.CONDITION, node, value=found is not node.negated)
    terms = [
        *_equal_to_any(scope, left, [item for item in matched_values if item.constant]),
        *_within(scope, node, left, ranges),
        *(scope.sql(left) == scope.sql(item) for item in matched_values if not item.constant),
    ]
    if not terms:
        return Operand(Kind.CONDITION, node, value=node.negated)
    condition = joined("OR", terms)
    return Operand(Kind.CONDITION, node, sa.not_(condition) if node.negated else condition)


def _equal_to_any(
    scope: Scope, left: Operand, constants: Sequence[Operand]
) -> list[sa.ColumnElement[bool]]:
    """Make one IN for the constants of each Python type."""
    by_type: dict[type, dict[Any, Operand]] = {}
    for operand in constants:
        by_type.setdefault(type(operand.value), {})[checked(operand)] = operand
    terms = []
    for same in by_type.values():
        first = next(iter(same.values()))
        scope.count(first.node, len(same))
        column = scope.sql(left, first)
        type_ = bind_type(first, left)
        terms.append(
            column.in_(sa.bindparam(None, list(same), type_=type_, expanding=True, unique=True))
            if len(same) > 1
            else column == sa.literal(first.value, type_)
        )
    return terms


def _within(
    scope: Scope, node: InList, left: Operand, ranges: Sequence[Range]
) -> list[sa.ColumnElement[bool]]:
    """Make a condition for each range."""
    if ranges and len(ranges) * sum(1 for _ in walk(left.node)) > MAX_COPIES:
        raise ExpressionTooLarge(
            f"The list has {len(ranges)} ranges, which is too many for so long a left side.",
            node.start,
            node.end,
        )
    terms = []
    for r in dict.fromkeys((r.first, r.last, r.step) for r in ranges):
        first, last, step = r
        scope.count(node, 5)
        value = scope.sql(left)
        if step > last - first:
            terms.append(value == sa.literal(first, sa.BigInteger()))
            continue
        inside = value.between(
            sa.literal(first, sa.BigInteger()), sa.literal(last, sa.BigInteger())
        )
        terms.append(inside if step == 1 else sa.and_(inside, _on_step(value, first, step)))
    return terms


def _on_step(value: sa.ColumnElement[Any], first: int, step: int) -> sa.ColumnElement[bool]:
    """Tell whether an integer is whole steps away from the first, without leaving 64 bits."""
    remainder = first % step
    divisor = sa.literal(step, sa.BigInteger())
    if first >= 0 or remainder == 0:
        return value % divisor == sa.literal(remainder, sa.BigInteger())
    # The remainder of a negative integer is negative in SQL.
    return (value % divisor).in_(
        sa.bindparam(
            None, [remainder, remainder - step], type_=sa.BigInteger(), expanding=True, unique=True
        )
    )


def matched(scope: Scope, node: Glob, operand: Operand, pattern: Operand) -> Operand:
    """Match a string with a pattern.

    Raises
    ------
    TypeMismatch
        If one of them is not a string.
    InvalidLiteral
        If the pattern is malformed, or not constant.
    """
    for side in (operand, pattern):
        if side.kind not in (Kind.STRING, Kind.ANY):
            raise TypeMismatch(
                f"GLOB matches strings, but {scope.shown(side)} is {side.what}.",
                side.node.start,
                side.node.end,
            )
    if not pattern.constant:
        raise TypeMismatch(
            "The pattern of GLOB is a string in quotes or a bound value, "
            f"but {scope.shown(pattern)} is a name.",
            pattern.node.start,
            pattern.node.end,
        )
    if operand.constant:
        raise TypeMismatch(
            "GLOB has a name on its left and the pattern on its right.",
            operand.node.start,
            operand.node.end,
        )
    pieces = read_pattern(pattern.value, pattern.node.start, pattern.node.end)
    scope.count(pattern.node)
    condition: sa.ColumnElement[bool] = glob_match(scope.sql(operand), pieces)
    return Operand(Kind.CONDITION, node, sa.not_(condition) if node.negated else condition)


def is_null(node: NullTest, operand: Operand) -> Operand:
    """Tell whether an operand has no value; a timespan has none if one of its ends has none."""
    if operand.kind is Kind.NULL:
        return Operand(Kind.CONDITION, node, value=not node.negated)
    sides = [side for side in operand.value if side] if operand.kind is Kind.TIMESPAN else [operand]
    terms: list[sa.ColumnElement[bool]] = [
        _grouped(side.sql).is_(None) for side in sides if side.sql is not None
    ]
    if not terms:
        return Operand(Kind.CONDITION, node, value=node.negated)
    condition = joined("OR", terms)
    return Operand(Kind.CONDITION, node, sa.not_(condition) if node.negated else condition)


def _grouped(part: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Put parentheses around what is not a column; the databases bind IS and = differently."""
    return part if isinstance(part, sa.ColumnClause) else Parentheses(part)
