"""What is a parsed expression made of?

Immutable nodes that know where they stand in the text (`start`, `end`: half open, in characters)
and how deep their SQL will nest (`depth`, see `registry.expressions.limits.MAX_DEPTH`).  They hold
no SQL: `registry.expressions.parsing` makes them and `registry.expressions.compiling` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator

__all__ = [
    "Arithmetic",
    "Bind",
    "Call",
    "Comparison",
    "Connective",
    "Expression",
    "Glob",
    "InList",
    "Literal",
    "Moment",
    "Name",
    "Negation",
    "Node",
    "NullTest",
    "Overlaps",
    "Pair",
    "Range",
    "Sign",
    "walk",
]


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expression and its place in the text."""

    start: int
    end: int
    depth: int

    parts: ClassVar[tuple[str, ...]] = ()

    @property
    def children(self) -> tuple[Node, ...]:
        """The nodes that it is made of, in the order of the text."""
        found: list[Node] = []
        for name in self.parts:
            part = getattr(self, name)
            found.extend(part if isinstance(part, tuple) else (part,))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time, `T'...'`: `ns` [TAI nanoseconds since 1970-01-01T00:00:00 TAI]."""

    ns: int


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A number, string, truth value, time or UUID; None stands for NULL."""

    value: bool | int | float | str | Moment | uuid.UUID | None


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A dimension, a dotted field, or a bound value without its colon."""

    name: str


@dataclass(frozen=True, slots=True)
class Bind(Node):
    """`:name`, a bound value."""

    name: str


@dataclass(frozen=True, slots=True)
class Sign(Node):
    """Unary minus, or a plus that does nothing."""

    operator: str
    operand: Node

    parts: ClassVar[tuple[str, ...]] = ("operand",)


@dataclass(frozen=True, slots=True)
class Arithmetic(Node):
    """`left + - * / % right`."""

    operator: str
    left: Node
    right: Node

    parts: ClassVar[tuple[str, ...]] = ("left", "right")


@dataclass(frozen=True, slots=True)
class Comparison(Node):
    """`left = != < <= > >= right`."""

    operator: str
    left: Node
    right: Node

    parts: ClassVar[tuple[str, ...]] = ("left", "right")


@dataclass(frozen=True, slots=True)
class Negation(Node):
    """`NOT operand`."""

    operand: Node

    parts: ClassVar[tuple[str, ...]] = ("operand",)


@dataclass(frozen=True, slots=True)
class Connective(Node):
    """Two or more operands joined by `AND`, or by `OR`."""

    operator: str
    operands: tuple[Node, ...]

    parts: ClassVar[tuple[str, ...]] = ("operands",)


@dataclass(frozen=True, slots=True)
class Range(Node):
    """`first..last:step` in the list of IN; both ends belong to it."""

    first: int
    last: int
    step: int


@dataclass(frozen=True, slots=True)
class InList(Node):
    """`operand [NOT] IN (items)`."""

    operand: Node
    items: tuple[Node, ...]
    negated: bool

    parts: ClassVar[tuple[str, ...]] = ("operand", "items")


@dataclass(frozen=True, slots=True)
class Glob(Node):
    """`operand [NOT] GLOB pattern` or `GLOB(operand, pattern)`."""

    operand: Node
    pattern: Node
    negated: bool

    parts: ClassVar[tuple[str, ...]] = ("operand", "pattern")


@dataclass(frozen=True, slots=True)
class NullTest(Node):
    """`operand IS [NOT] NULL`."""

    operand: Node
    negated: bool

    parts: ClassVar[tuple[str, ...]] = ("operand",)


@dataclass(frozen=True, slots=True)
class Overlaps(Node):
    """`left [NOT] OVERLAPS right`, of times or of regions."""

    left: Node
    right: Node
    negated: bool

    parts: ClassVar[tuple[str, ...]] = ("left", "right")


@dataclass(frozen=True, slots=True)
class Pair(Node):
    """`(begin, end)`, a timespan; NULL leaves a side open."""

    begin: Node
    finish: Node

    parts: ClassVar[tuple[str, ...]] = ("begin", "finish")


@dataclass(frozen=True, slots=True)
class Call(Node):
    """`CIRCLE(...)` and the other regions, by name in capitals."""

    function: str
    arguments: tuple[Node, ...]

    parts: ClassVar[tuple[str, ...]] = ("arguments",)


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression.

    Parameters
    ----------
    text : str
        What was parsed.
    root : Node or None
        Its meaning; None for an empty text, which is true of every row.
    whole : Node or None
        For a term of an expression, the meaning of all of it.
    """

    text: str
    root: Node | None
    whole: Node | None = None

    def __str__(self) -> str:
        return self.text


def walk(root: Node | None) -> Iterator[Node]:
    """Visit a node and everything below it, without recursion."""
    waiting = [] if root is None else [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(node.children))
