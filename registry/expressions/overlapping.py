"""What does `OVERLAPS` compare: times with times, regions with regions?

Timespans are half open, `[begin, end)`, so that one that ends when the other begins does not
overlap it; a point in time overlaps the timespan that holds it.  Regions are handed to the
resolver, which knows how they are indexed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from registry.expressions.errors import InvalidLiteral, TypeMismatch
from registry.expressions.operands import Kind, Operand
from registry.timespan import iso

if TYPE_CHECKING:
    from registry.expressions.nodes import Overlaps, Pair
    from registry.expressions.operands import Scope

__all__ = ["overlapping_times", "timespan"]


def timespan(scope: Scope, node: Pair, begin: Operand, end: Operand) -> Operand:
    """Make a timespan of two times, of which NULL leaves one side open.

    Raises
    ------
    TypeMismatch
        If one of the two is not a time.
    InvalidLiteral
        If it does not begin before it ends.
    """
    for side in (begin, end):
        if side.kind not in (Kind.TIME, Kind.NULL):
            raise TypeMismatch(
                f"A timespan has two times, but {scope.shown(side)} is {side.what}; "
                "write (T'2020-01-01', T'2020-01-02').",
                side.node.start,
                side.node.end,
            )
    known = [side.value for side in (begin, end) if side.kind is Kind.TIME and side.constant]
    if len(known) == 2 and known[0] >= known[1]:
        raise InvalidLiteral(
            f"The timespan from {iso(known[0])} to {iso(known[1])} TAI "
            "does not begin before it ends.",
            node.start,
            node.end,
        )
    sides = tuple(None if side.kind is Kind.NULL else side for side in (begin, end))
    return Operand(Kind.TIMESPAN, node, value=sides)


def overlapping_times(scope: Scope, node: Overlaps, left: Operand, right: Operand) -> Operand:
    """Tell whether two timespans share a moment, or whether one holds a point in time.

    Raises
    ------
    TypeMismatch
        If a side is no time, or both are points.
    """
    for side in (left, right):
        if side.kind not in (Kind.TIME, Kind.TIMESPAN):
            hint = (
                f"; write {scope.shown(side)[1:-1]}.timespan"
                if side.kind in (Kind.INTEGER, Kind.STRING) and not side.constant
                else ""
            )
            raise TypeMismatch(
                f"OVERLAPS joins times or regions, but {scope.shown(side)} is {side.what}{hint}.",
                side.node.start,
                side.node.end,
            )
    if left.kind is right.kind is Kind.TIME:
        raise TypeMismatch(
            f"{scope.shown(left)} and {scope.shown(right)} are points in time; "
            "compare them with =, < or >.",
            node.start,
            node.end,
        )
    pairs = [(_begin(left), _end(right), right), (_begin(right), _end(left), left)]
    terms: list[sa.ColumnElement[bool]] = []
    for begin, end, ended in pairs:
        # The end of a point in time is the point itself, and belongs to it.
        end_is_point = ended.kind is Kind.TIME
        if begin is None or end is None:
            continue
        if begin.constant and end.constant:
            if not (begin.value <= end.value if end_is_point else begin.value < end.value):
                return Operand(Kind.CONDITION, node, value=node.negated)
            continue
        first, second = scope.sql(begin), scope.sql(end)
        terms.append(first <= second if end_is_point else first < second)
    if not terms:
        return Operand(Kind.CONDITION, node, value=not node.negated)
    condition = sa.and_(*terms)
    return Operand(Kind.CONDITION, node, sa.not_(condition) if node.negated else condition)


def _begin(operand: Operand) -> Operand | None:
    side: Operand | None = operand if operand.kind is Kind.TIME else operand.value[0]
    return side


def _end(operand: Operand) -> Operand | None:
    side: Operand | None = operand if operand.kind is Kind.TIME else operand.value[1]
    return side
