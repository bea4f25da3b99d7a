"""Which constant does a Python value in `bind` stand for?

Numbers, strings, truth values, UUIDs, times (astropy, aware datetime, `Timespan`), regions of
lsst.sphgeom, NumPy scalars, and lists, sets, ranges, arrays or Series of those for IN.
"""

from __future__ import annotations

import datetime
import math
import sys
import uuid
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from registry.expressions.errors import ExpressionTooLarge, InvalidLiteral, TypeMismatch
from registry.expressions.limits import INTEGER_MAX, INTEGER_MIN, MAX_VALUES
from registry.expressions.nodes import Moment, Range
from registry.expressions.operands import Kind, Operand
from registry.timespan import YEARS, Timespan, exact_ns

if TYPE_CHECKING:
    from registry.expressions.nodes import Node

__all__ = ["bound"]


def bound(name: str, value: object, node: Node) -> Operand:
    """Make an operand of a bound value.

    Parameters
    ----------
    name : str
        Its name, for error messages.
    value : object
        What `bind` holds.
    node : Node
        Where it is used.

    Raises
    ------
    InvalidLiteral
        If it is None, not a number, infinite, beyond 64 bits, or a text that no database takes.
    TypeMismatch
        If it is of a type that has no meaning in an expression.
    """
    operand = _scalar(name, value, node)
    if operand is not None:
        return operand
    if isinstance(value, range):
        return Operand(Kind.LIST, node, value=_range(name, value, node))
    if hasattr(value, "tolist") and not isinstance(value, bytes | bytearray | memoryview):
        # NumPy scalars and arrays, and pandas Series, give plain Python values.
        plain = value.tolist()
        return (
            bound(name, plain, node)
            if type(plain) is not type(value)
            else _refused(name, value, node)
        )
    if isinstance(value, Collection) and not isinstance(
        value, str | bytes | bytearray | memoryview | Mapping
    ):
        if len(value) > MAX_VALUES:
            raise ExpressionTooLarge(
                f"The bound list '{name}' has {len(value)} values and the limit is {MAX_VALUES}; "
                "bind a range, or run several queries.",
                node.start,
                node.end,
            )
        items = []
        for item in value:
            inner = _scalar(name, item.item() if hasattr(item, "item") else item, node)
            items.append(_refused(name, item, node) if inner is None else inner)
        return Operand(Kind.LIST, node, value=items)
    return _refused(name, value, node)


def _scalar(name: str, value: object, node: Node) -> Operand | None:
    """Make an operand of a single value, or None if it is not one."""
    if value is None:
        raise InvalidLiteral(
            f"The bound value '{name}' is None; ask for missing values with IS NULL.",
            node.start,
            node.end,
        )
    if isinstance(value, bool):
        return Operand(Kind.CONDITION, node, value=value)
    if isinstance(value, int):
        if not INTEGER_MIN <= value <= INTEGER_MAX:
            raise InvalidLiteral(
                f"The bound value '{name}' does not fit into 64 bits; "
                f"integers lie between {INTEGER_MIN} and {INTEGER_MAX}.",
                node.start,
                node.end,
            )
        return Operand(Kind.INTEGER, node, value=int(value))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidLiteral(
                f"The bound value '{name}' is {value}, with which nothing can be compared; "
                "leave such values out, or ask with IS NULL.",
                node.start,
                node.end,
            )
        return Operand(Kind.FLOAT, node, value=float(value))
    if isinstance(value, str):
        return Operand(Kind.STRING, node, value=_text(name, str(value), node))
    if isinstance(value, uuid.UUID):
        return Operand(Kind.UUID, node, value=value)
    return _time(name, value, node) or _region(value, node)


def _text(name: str, value: str, node: Node) -> str:
    """Refuse texts that PostgreSQL cannot store and the others would compare in their own ways."""
    if "\0" in value:
        raise InvalidLiteral(f"The bound value '{name}' holds a NUL byte.", node.start, node.end)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidLiteral(
            f"The bound value '{name}' holds half of a surrogate pair, which is no character.",
            node.start,
            node.end,
        ) from None
    return value


def _time(name: str, value: object, node: Node) -> Operand | None:
    if isinstance(value, Moment):
        return Operand(Kind.TIME, node, value=value.ns)
    if isinstance(value, Timespan):
        sides = tuple(
            None if ns is None else Operand(Kind.TIME, node, value=ns)
            for ns in (value.begin, value.end)
        )
        return Operand(Kind.TIMESPAN, node, value=sides)
    if isinstance(value, datetime.datetime) and value.tzinfo is None:
        raise InvalidLiteral(
            f"The bound time '{name}' has no time zone; make it aware, or bind an astropy Time.",
            node.start,
            node.end,
        )
    aware = isinstance(value, datetime.datetime)
    astropy_time = sys.modules.get("astropy.time")
    if not aware and (astropy_time is None or not isinstance(value, astropy_time.Time)):
        return None
    return Operand(Kind.TIME, node, value=_nanoseconds(name, value, node))


def _nanoseconds(name: str, value: Any, node: Node) -> int:
    from astropy.time import Time

    aware = isinstance(value, datetime.datetime)
    time = Time(value.astimezone(datetime.UTC), scale="utc") if aware else value
    if not time.isscalar or time.masked:
        raise TypeMismatch(f"The bound time '{name}' is not a single time.", node.start, node.end)
    ns = exact_ns(time)
    if ns is None:
        raise InvalidLiteral(
            f"The bound time '{name}' is out of range; {YEARS}.", node.start, node.end
        )
    return ns


def _region(value: object, node: Node) -> Operand | None:
    sphgeom = sys.modules.get("lsst.sphgeom")
    if sphgeom is None or not isinstance(value, sphgeom.Region):
        return None
    return Operand(Kind.REGION, node, value=value)


def _range(name: str, value: range, node: Node) -> list[Range]:
    """Take a range of Python as a range of the language, without writing it out."""
    if not value:
        return []
    first, last = min(value[0], value[-1]), max(value[0], value[-1])
    for end in (first, last):
        _scalar(name, end, node)
    return [Range(node.start, node.end, 1, first, last, abs(value.step))]


def _refused(name: str, value: object, node: Node) -> Operand:
    raise TypeMismatch(
        f"The bound value '{name}' is of type {type(value).__name__}, "
        "which has no meaning in an expression; bind numbers, strings, truth values, UUIDs, "
        "times, timespans, regions, or lists of them.",
        node.start,
        node.end,
    )
