"""How does a definition compute a number from others, without running code?

A small arithmetic over named values: numbers, texts, ``+ - * / // % **``, comparisons, ``and or
not``, ``a if c else b``, and a few functions.  The text is parsed by Python's own grammar and then
walked; nothing else of Python (attributes, subscripts, calls of other functions) is accepted.
`template_fields` reads the other form in which a rule combines values, texts with ``{names}``.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import string
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from registry.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["FUNCTIONS", "Expression", "template_fields"]

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "round": round,
    "int": int,
    "float": float,
    "str": str,
    "min": min,
    "max": max,
    "sqrt": math.sqrt,
    "sin": math.sin,
    "cos": math.cos,
    "radians": math.radians,
    "degrees": math.degrees,
}
"""What an expression may call; ``card("MJD-OBS")`` names a card that is no identifier."""

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_MAX_LENGTH = 2000
_MAX_EXPONENT = 64


class Expression:
    """A parsed expression.

    Parameters
    ----------
    text : str
        The expression.

    Raises
    ------
    ValueError
        If it is not one, with the place and what was expected.

    Examples
    --------
    >>> Expression("exposure_time + 5").evaluate({"exposure_time": 10.0})
    15.0
    """

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > _MAX_LENGTH:
            raise ValueError(f"is longer than {_MAX_LENGTH} characters")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except SyntaxError as error:
            raise ValueError(f"is no expression: {error.msg} at character {error.offset}") from None
        names: dict[str, None] = {}
        self._check(self._tree, names)
        self.names = tuple(names)

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """Compute the value.

        Parameters
        ----------
        values : mapping
            The value of each of `names`; times count as their seconds.

        Raises
        ------
        ValueError
            If the values do not allow it (a text minus a number, a division by zero).
        """
        try:
            return self._walk(self._tree, {k: _plain(v) for k, v in values.items()})
        except (TypeError, ArithmeticError, ValueError) as error:
            given = ", ".join(f"{name} = {values[name]!r}" for name in self.names)
            raise ValueError(f"{self.text!r} cannot be computed ({error}); {given}") from None

    def _check(self, node: ast.expr, names: dict[str, None]) -> None:
        if isinstance(node, ast.Name):
            names[node.id] = None
        elif isinstance(node, ast.Call):
            self._check_call(node, names)
        elif isinstance(node, ast.Constant):
            if not isinstance(node.value, int | float | str):
                raise self._refuse(node)
        elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            self._check_all((node.left, node.right), names)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd | ast.Not):
            self._check(node.operand, names)
        elif isinstance(node, ast.BoolOp):
            self._check_all(node.values, names)
        elif isinstance(node, ast.Compare) and all(type(op) in _COMPARE for op in node.ops):
            self._check_all((node.left, *node.comparators), names)
        elif isinstance(node, ast.IfExp):
            self._check_all((node.test, node.body, node.orelse), names)
        else:
            raise self._refuse(node)

    def _check_all(self, nodes: Any, names: dict[str, None]) -> None:
        for node in nodes:
            self._check(node, names)

    def _check_call(self, node: ast.Call, names: dict[str, None]) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        if name == "card" and len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
            names[str(node.args[0].value)] = None
            return
        if name not in FUNCTIONS or node.keywords:
            raise ValueError(
                f"calls {name}(), which is no function here.{did_you_mean(name, FUNCTIONS)}"
            )
        self._check_all(node.args, names)

    def _refuse(self, node: ast.expr) -> ValueError:
        return ValueError(
            f"holds '{ast.unparse(node)}' at character {node.col_offset + 1}; only names, "
            "numbers, texts, "
            f"arithmetic, comparisons and the functions {', '.join(FUNCTIONS)} are allowed"
        )

    def _walk(self, node: ast.expr, values: Mapping[str, Any]) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return values[name]
            case ast.Call(func=ast.Name(id="card"), args=[ast.Constant(value=name)]):
                return values[str(name)]
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return FUNCTIONS[name](*(self._walk(a, values) for a in arguments))
            case ast.BinOp(left=left, op=op, right=right):
                a, b = self._walk(left, values), self._walk(right, values)
                if isinstance(op, ast.Pow) and abs(b) > _MAX_EXPONENT:
                    raise ValueError(f"the exponent {b} is too large")
                if isinstance(op, ast.Mult | ast.Mod) and (
                    isinstance(a, str) or isinstance(b, str)
                ):
                    raise TypeError("a text cannot be multiplied or formatted")
                return _BINARY[type(op)](a, b)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not self._walk(operand, values)
            case ast.UnaryOp(op=op, operand=operand):
                value = self._walk(operand, values)
                return -value if isinstance(op, ast.USub) else +value
            case ast.BoolOp(op=op, values=operands):
                wanted = isinstance(op, ast.Or)
                result: Any = not wanted
                for part in operands:
                    result = self._walk(part, values)
                    if bool(result) is wanted:
                        break
                return result
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                a = self._walk(left, values)
                for comparison, comparator in zip(ops, comparators, strict=True):
                    b = self._walk(comparator, values)
                    if not _COMPARE[type(comparison)](a, b):
                        return False
                    a = b
                return True
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._walk(body if self._walk(test, values) else orelse, values)
        raise AssertionError(f"{ast.dump(node)} passed the check")


@lru_cache(maxsize=1024)
def template_fields(text: str) -> tuple[tuple[str, str | None, str], ...]:
    """Split a template into literal text, field name and format.

    Raises
    ------
    ValueError
        If it is not one.
    """
    fields = []
    for literal, field, spec, conversion in string.Formatter().parse(text):
        if conversion or (spec and re.search(r"[{}]|\d{4}", spec)):
            raise ValueError(f"the field {{{field}}} is formatted in a way that is not allowed")
        if field == "":
            raise ValueError("a field has no name; write {name}")
        fields.append((literal, field, spec or ""))
    return tuple(fields)


def _plain(value: Any) -> Any:
    """Give a time as seconds, which take part in arithmetic."""
    from butler.instrument.times import Instant

    return value.seconds if isinstance(value, Instant) else value
