"""How does what the grammar recognises become nodes?

The only module that imports lark; `registry.expressions.parsing` imports it when the first
expression is parsed.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, TypeAlias

from lark import Lark, Token, Transformer, v_args

from registry.errors import did_you_mean
from registry.expressions import literals, times
from registry.expressions.errors import ExpressionSyntaxError, ExpressionTooLarge, UnknownField
from registry.expressions.limits import CHUNK, MAX_DEPTH, MAX_NAME
from registry.expressions.nodes import (
    Arithmetic,
    Bind,
    Call,
    Comparison,
    Connective,
    Glob,
    InList,
    Literal,
    Name,
    Negation,
    Node,
    NullTest,
    Overlaps,
    Pair,
    Range,
    Sign,
)

__all__ = ["FUNCTIONS", "grammar"]

Part: TypeAlias = "Token | Node | None"

ARITY = {
    "POINT": "2 arguments",
    "CIRCLE": "3 arguments",
    "BOX": "4 arguments",
    "POLYGON": "6 or more arguments, two for each vertex",
    "REGION": "1 argument",
    "UUID": "1 argument",
    "GLOB": "2 arguments",
}
FUNCTIONS = tuple(ARITY)
"""What may stand before a parenthesis, in capitals or not."""


@functools.cache
def grammar() -> Lark:
    """Read the grammar and make its tables, once in a process (some 20 ms)."""
    return Lark(
        Path(__file__).with_name("where.lark").read_text(encoding="utf-8"),
        parser="lalr",
        lexer="basic",
        transformer=Builder(),
    )


def place(first: Token | Node, last: Token | Node) -> tuple[int, int]:
    """Where a rule begins and ends in the text."""
    start = first.start_pos if isinstance(first, Token) else first.start
    end = last.end_pos if isinstance(last, Token) else last.end
    return int(start or 0), int(end or 0)


def nested(start: int, end: int, *parts: tuple[Node, int]) -> int:
    """Depth of a node whose parts stand behind so many entries of the parser's stack."""
    depth = max(part.depth + before for part, before in parts)
    if depth > MAX_DEPTH:
        raise ExpressionTooLarge(
            "The expression is nested too deeply here; "
            "put the deepest parenthesis first, or split it.",
            start,
            end,
        )
    return depth


@v_args(inline=True)
class Builder(Transformer[Token, Node]):
    """One method per rule of the grammar; positions are those of the first and the last part."""

    def connective(self, *parts: Any) -> Node:
        operands: list[Node] = []
        operator = parts[1].type
        for part in parts[::2]:
            same = isinstance(part, Connective) and part.operator == operator
            operands.extend(part.operands if same else (part,))
        start, end = place(parts[0], parts[-1])
        extra = 3 * (len(operands) > CHUNK) + 3 * (len(operands) > CHUNK * CHUNK)
        first, *others = operands
        depth = nested(start, end, (first, 1 + extra), *((o, 3 + extra) for o in others))
        return Connective(start, end, depth, operator, tuple(operands))

    def negation(self, sign: Token, operand: Node) -> Node:
        start, end = place(sign, operand)
        return Negation(start, end, nested(start, end, (operand, 2)), operand)

    def comparison(self, left: Node, operator: Token, right: Node) -> Node:
        start, end = place(left, right)
        depth = nested(start, end, (left, 1), (right, 3))
        return Comparison(start, end, depth, str(operator), left, right)

    def in_list(self, operand: Node, negated: Part, *parts: Any) -> Node:
        _, _, *listed, close = parts
        items = tuple(part for part in listed if not isinstance(part, Token))
        start, end = place(operand, close)
        depth = nested(start, end, (operand, 12), *((item, 8) for item in items))
        return InList(start, end, depth, operand, items, negated is not None)

    def glob(self, operand: Node, negated: Part, _: Token, pattern: Node) -> Node:
        start, end = place(operand, pattern)
        depth = nested(start, end, (operand, 3), (pattern, 4))
        return Glob(start, end, depth, operand, pattern, negated is not None)

    def overlaps(self, left: Node, negated: Part, _: Token, right: Node) -> Node:
        start, end = place(left, right)
        depth = nested(start, end, (left, 6), (right, 6))
        return Overlaps(start, end, depth, left, right, negated is not None)

    def null_test(self, operand: Node, _: Token, negated: Part, null: Token) -> Node:
        start, end = place(operand, null)
        return NullTest(start, end, nested(start, end, (operand, 3)), operand, negated is not None)

    def range(self, sign: Part, token: Token) -> Node:
        start, end = place(sign or token, token)
        first, last, step = literals.text_range(str(token), "-" if sign else "", start, end)
        return Range(start, end, 1, first, last, step)

    def arithmetic(self, left: Node, operator: Token, right: Node) -> Node:
        start, end = place(left, right)
        depth = nested(start, end, (left, 3 if operator == "/" else 1), (right, 8))
        return Arithmetic(start, end, depth, str(operator), left, right)

    def sign(self, operator: Token, operand: Node) -> Node:
        start, end = place(operator, operand)
        return Sign(start, end, nested(start, end, (operand, 2)), str(operator), operand)

    def number(self, token: Token) -> Node:
        start, end = place(token, token)
        return Literal(start, end, 1, literals.number(str(token), start, end))

    def string(self, token: Token) -> Node:
        return Literal(*place(token, token), 1, literals.quoted(str(token)))

    def time(self, token: Token) -> Node:
        start, end = place(token, token)
        text = literals.quoted(str(token)[1:])
        return Literal(start, end, 1, times.moment(text, start, end))

    def truth(self, token: Token) -> Node:
        return Literal(*place(token, token), 1, token.type == "TRUE")

    def null(self, token: Token) -> Node:
        return Literal(*place(token, token), 1, None)

    def name(self, token: Token) -> Node:
        start, end = place(token, token)
        if end - start > MAX_NAME:
            raise ExpressionTooLarge(f"This name is longer than {MAX_NAME} characters.", start, end)
        return Name(start, end, 1, str(token))

    def bind(self, token: Token) -> Node:
        start, end = place(token, token)
        if end - start > MAX_NAME:
            raise ExpressionTooLarge(f"This name is longer than {MAX_NAME} characters.", start, end)
        return Bind(start, end, 1, str(token)[1:])

    def call(self, function: Token, _: Token, *parts: Any) -> Node:
        *listed, close = parts
        arguments = tuple(p for p in listed if p is not None and not isinstance(p, Token))
        start, end = place(function, close)
        name = function.upper()
        if name not in ARITY:
            raise UnknownField(
                f"There is no function '{function}'.{did_you_mean(name, FUNCTIONS)}",
                *place(function, function),
                name=str(function),
            )
        enough = len(arguments) >= 6 and len(arguments) % 2 == 0
        if not (enough if name == "POLYGON" else len(arguments) == int(ARITY[name][0])):
            raise ExpressionSyntaxError(
                f"{name} takes {ARITY[name]}, not {len(arguments)}: {USAGE[name]}.",
                start,
                end,
                suggestion=USAGE[name],
            )
        if name == "GLOB":
            operand, pattern = arguments
            return Glob(
                start, end, nested(start, end, (operand, 3), (pattern, 4)), operand, pattern, False
            )
        if name == "UUID":
            return self._uuid(arguments[0], start, end)
        return Call(start, end, nested(start, end, *((a, 3) for a in arguments)), name, arguments)

    def _uuid(self, argument: Node, start: int, end: int) -> Node:
        if not (isinstance(argument, Literal) and isinstance(argument.value, str)):
            raise ExpressionSyntaxError(
                f"UUID takes a string in single quotes: {USAGE['UUID']}.", start, end
            )
        return Literal(
            start, end, 1, literals.unique_id(argument.value, argument.start, argument.end)
        )

    def group(self, _: Token, inner: Node, __: Token) -> Node:
        return inner

    def pair(self, opening: Token, begin: Node, _: Token, finish: Node, close: Token) -> Node:
        start, end = place(opening, close)
        return Pair(start, end, nested(start, end, (begin, 3), (finish, 3)), begin, finish)


USAGE = {
    "POINT": "POINT(ra, dec)",
    "CIRCLE": "CIRCLE(ra, dec, radius)",
    "BOX": "BOX(ra, dec, width, height)",
    "POLYGON": "POLYGON(ra1, dec1, ra2, dec2, ra3, dec3, ...)",
    "REGION": "REGION('CIRCLE 55.7 -32.3 0.5')",
    "UUID": "UUID('0190b5a8-7e3c-7000-8000-0123456789ab')",
    "GLOB": "GLOB(name, 'raw*')",
}
