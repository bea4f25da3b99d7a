"""How do `+ - * / %` compute, so that three databases give the same number?

Division is true division in double precision, the remainder has the sign of the dividend and takes
integers only, a division by zero gives NULL.  A time plus or minus a number moves it by seconds;
two times differ by seconds.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.expressions.constructs import DoublePrecision
from registry.expressions.errors import InvalidLiteral, TypeMismatch
from registry.expressions.operands import NUMERIC, Kind, Operand, checked

if TYPE_CHECKING:
    from registry.expressions.nodes import Arithmetic, Sign
    from registry.expressions.operands import Scope

__all__ = ["calculated", "signed"]

NANOSECONDS = 1_000_000_000
_PLAIN = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def signed(scope: Scope, node: Sign, operand: Operand) -> Operand:
    """Apply a unary plus or minus."""
    _require_numbers(scope, node.operator, operand)
    if node.operator == "+":
        return Operand(operand.kind, node, operand.sql, operand.value)
    if operand.constant:
        return Operand(operand.kind, node, value=-operand.value)
    return Operand(operand.kind, node, -_widened(scope, operand))


def calculated(scope: Scope, node: Arithmetic, left: Operand, right: Operand) -> Operand:
    """Compute with two operands.

    Raises
    ------
    TypeMismatch
        If an operand is neither a number nor a time, or `%` meets a floating point number.
    InvalidLiteral
        If a constant divisor is zero, or a constant result does not fit.
    """
    if Kind.TIME in (left.kind, right.kind):
        return _with_times(scope, node, left, right)
    for operand in (left, right):
        _require_numbers(scope, node.operator, operand)
    if node.operator == "%":
        for operand in (left, right):
            if operand.kind is Kind.FLOAT:
                raise TypeMismatch(
                    f"'%' needs integers, but {scope.shown(operand)} is a floating point number.",
                    operand.node.start,
                    operand.node.end,
                )
    if node.operator in "/%" and right.constant and right.value == 0:
        raise InvalidLiteral(
            f"{scope.shown(right)} is zero; nothing can be divided by it.",
            right.node.start,
            right.node.end,
        )
    whole = node.operator != "/" and left.kind is right.kind is Kind.INTEGER
    kind = Kind.INTEGER if whole else Kind.FLOAT
    if left.constant and right.constant:
        return Operand(kind, node, value=_constant(node, kind, left.value, right.value))
    return Operand(kind, node, _in_sql(scope, node.operator, left, right))


def _constant(node: Arithmetic, kind: Kind, left: Any, right: Any) -> int | float:
    """Compute in Python what needs no database."""
    try:
        if node.operator == "/":
            value = left / right
        elif node.operator == "%":
            value = abs(left) % abs(right) * (1 if left >= 0 else -1)
        else:
            value = _PLAIN[node.operator](left, right)
        fits = kind is Kind.INTEGER or math.isfinite(value)
    except OverflowError:
        fits = False
    if not fits:
        raise InvalidLiteral(
            f"The result of '{node.operator}' is too large; the largest number is 1.797e308.",
            node.start,
            node.end,
        )
    result = Operand(kind, node, value=value)
    return checked(result) if kind is Kind.INTEGER else float(value)


def _in_sql(scope: Scope, symbol: str, left: Operand, right: Operand) -> sa.ColumnElement[Any]:
    if symbol == "/":
        divisor = _double(scope, right)
        safe = divisor if right.constant else sa.func.nullif(divisor, 0.0, type_=sa.Double())
        return sa.type_coerce(_double(scope, left) / safe, sa.Double())
    first, second = (_widened(scope, o) for o in (left, right))
    if symbol == "%":
        remainder = first % (
            second if right.constant else sa.func.nullif(second, 0, type_=sa.BigInteger())
        )
        return sa.type_coerce(remainder, sa.BigInteger())
    result = _PLAIN[symbol](first, second)
    if left.kind is right.kind is Kind.INTEGER:
        return sa.type_coerce(result, sa.BigInteger())
    return sa.type_coerce(result, sa.Double())


def _double(scope: Scope, operand: Operand) -> sa.ColumnElement[Any]:
    """Give a number in double precision, where PostgreSQL would take a constant as a decimal."""
    if operand.constant:
        operand = Operand(Kind.FLOAT, operand.node, value=float(operand.value))
    return DoublePrecision(scope.sql(operand))


def _widened(scope: Scope, operand: Operand) -> sa.ColumnElement[Any]:
    """Give SQL that computes in 64 bits, where PostgreSQL would compute in the 32 of the column."""
    if operand.kind is Kind.FLOAT and operand.constant:
        return _double(scope, operand)
    column = scope.sql(operand)
    if operand.kind is Kind.INTEGER and not isinstance(column.type, sa.BigInteger):
        return sa.cast(column, sa.BigInteger())
    return column


def _with_times(scope: Scope, node: Arithmetic, left: Operand, right: Operand) -> Operand:
    """Move a time by seconds, or take the seconds between two."""
    if node.operator == "-" and left.kind is right.kind is Kind.TIME:
        if left.constant and right.constant:
            return Operand(Kind.FLOAT, node, value=(left.value - right.value) / NANOSECONDS)
        difference = DoublePrecision(scope.sql(left) - scope.sql(right))
        return Operand(Kind.FLOAT, node, difference / sa.literal(float(NANOSECONDS), sa.Double()))
    swapped = node.operator == "+" and right.kind is Kind.TIME
    time, seconds = (right, left) if swapped else (left, right)
    if node.operator not in "+-" or time.kind is not Kind.TIME or seconds.kind not in NUMERIC:
        raise TypeMismatch(
            f"'{node.operator}' cannot join {scope.shown(left)}, {left.what}, "
            f"and {scope.shown(right)}, {right.what}; "
            "a time plus or minus seconds is a time, and a time minus a time is seconds.",
            node.start,
            node.end,
        )
    shift = _nanoseconds(scope, seconds)
    if time.constant and shift.constant:
        moved = _PLAIN[node.operator](time.value, shift.value)
        return Operand(Kind.TIME, node, value=checked(Operand(Kind.TIME, node, value=moved)))
    moved = _PLAIN[node.operator](scope.sql(time), scope.sql(shift))
    return Operand(Kind.TIME, node, sa.type_coerce(moved, sa.BigInteger()))


def _nanoseconds(scope: Scope, seconds: Operand) -> Operand:
    """Turn seconds into whole nanoseconds."""
    if seconds.constant:
        exact = seconds.value * NANOSECONDS
        whole = exact if isinstance(exact, int) else round(exact) if math.isfinite(exact) else 2**64
        value = checked(Operand(Kind.INTEGER, seconds.node, value=whole))
        return Operand(Kind.INTEGER, seconds.node, value=value)
    product = scope.sql(seconds) * sa.literal(float(NANOSECONDS), sa.Double())
    return Operand(Kind.INTEGER, seconds.node, sa.cast(sa.func.round(product), sa.BigInteger()))


def _require_numbers(scope: Scope, symbol: str, operand: Operand) -> None:
    if operand.kind not in (*NUMERIC, Kind.ANY):
        raise TypeMismatch(
            f"'{symbol}' computes with numbers, but {scope.shown(operand)} is {operand.what}.",
            operand.node.start,
            operand.node.end,
        )
