"""What kind of thing is each part of an expression, and how does it enter the SQL?

An `Operand` is a constant of Python or a piece of SQL, with its kind.  Constants are computed with
in Python and become bound values at the last moment, typed like what they are compared with.
"""

from __future__ import annotations

import datetime
import enum
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.expressions.constructs import Parentheses
from registry.expressions.errors import ExpressionTooLarge, InvalidLiteral
from registry.expressions.limits import CHUNK, INTEGER_MAX, INTEGER_MIN, MAX_VALUES
from registry.expressions.nodes import Bind, Name

if TYPE_CHECKING:
    from registry.expressions.nodes import Node

__all__ = ["NUMERIC", "Kind", "Operand", "Scope", "bind_type", "checked", "joined", "kind_of"]


class Kind(enum.Enum):
    """What an operand is; the value is how messages call it."""

    INTEGER = "a number"
    FLOAT = "a floating point number"
    STRING = "a string"
    CONDITION = "a condition"
    TIME = "a time"
    UTC = "a date"
    TIMESPAN = "a timespan"
    UUID = "a UUID"
    REGION = "a region"
    LIST = "a list"
    NULL = "NULL"
    BINARY = "binary data"
    ANY = "a value"


NUMERIC = (Kind.INTEGER, Kind.FLOAT)


@dataclass(frozen=True, slots=True)
class Operand:
    """A part of an expression.

    Parameters
    ----------
    kind : Kind
        What it is.
    node : Node
        Where it stands.
    sql : ColumnElement or None
        Its SQL, or None for a constant.
    value : object
        The constant: int (TAI ns for a time), float, str, bool or UUID; for a timespan two
        operands, None where a side is open; for a list its operands and ranges; for a region a
        `lsst.sphgeom.Region`.
    """

    kind: Kind
    node: Node
    sql: sa.ColumnElement[Any] | None = None
    value: Any = None

    @property
    def what(self) -> str:
        """How messages call it."""
        return self.kind.value

    @property
    def constant(self) -> bool:
        """Whether it is known without the database."""
        return self.sql is None

    @property
    def in_nanoseconds(self) -> bool:
        """Whether it is a time under its name in the schema, which says that plain integers fit."""
        return isinstance(self.node, Name) and self.node.name.endswith("_tai_ns")


@dataclass(slots=True)
class Scope:
    """The text being compiled and how many values it sends to the database so far."""

    text: str
    values: int = field(default=0)

    def shown(self, operand: Operand) -> str:
        """Quote the source of an operand in a message."""
        source = self.text[operand.node.start : operand.node.end]
        source = source if len(source) <= 40 else f"{source[:25]}...{source[-10:]}"
        named = isinstance(operand.node, Name | Bind) or not operand.constant
        return f"'{source}'" if named else source

    def count(self, node: Node, n: int = 1) -> None:
        """Note that `n` more values will be bound, and refuse too many."""
        self.values += n
        if self.values > MAX_VALUES:
            raise ExpressionTooLarge(
                f"The expression sends more than {MAX_VALUES} values to the database; "
                "write a range (5..20), or several queries.",
                node.start,
                node.end,
            )

    def sql(self, operand: Operand, like: Operand | None = None) -> sa.ColumnElement[Any]:
        """Give the SQL of an operand; a constant becomes a bound value.

        Parameters
        ----------
        operand : Operand
            A number, string, time, UUID or condition.
        like : Operand, optional
            What it is compared with; values that databases store differently take the type of that
            column.
        """
        if operand.sql is not None:
            return operand.sql
        if operand.kind is Kind.CONDITION:
            return sa.true() if operand.value else sa.false()
        self.count(operand.node)
        return sa.literal(checked(operand), bind_type(operand, like))


def checked(operand: Operand) -> Any:
    """Give the value of a constant that fits into a column."""
    value = operand.value
    if isinstance(value, int) and not INTEGER_MIN <= value <= INTEGER_MAX:
        raise InvalidLiteral(
            f"The integer {value} does not fit into 64 bits; "
            f"integers lie between {INTEGER_MIN} and {INTEGER_MAX}.",
            operand.node.start,
            operand.node.end,
        )
    return value


def bind_type(operand: Operand, like: Operand | None) -> sa.types.TypeEngine[Any]:
    """Choose the type under which a constant is bound."""
    if like is not None and like.sql is not None and like.kind is operand.kind:
        column = like.sql.type
        if operand.kind in (Kind.UUID, Kind.UTC) or isinstance(column, sa.types.TypeDecorator):
            return column
    value = operand.value
    if isinstance(value, float):
        return sa.Double()
    if isinstance(value, str):
        return sa.String()
    if isinstance(value, uuid.UUID):
        return sa.Uuid()
    if isinstance(value, datetime.datetime):
        return sa.DateTime(timezone=True)
    return sa.BigInteger()


def kind_of(column: sa.ColumnElement[Any]) -> Kind:
    """Tell the kind of a column from its type, through which decorators are looked.

    Integers are times if the schema calls them `*_tai_ns`, whatever they are called in the query.
    """
    type_ = column.type
    while isinstance(type_, sa.types.TypeDecorator):
        type_ = type_.impl_instance
    if isinstance(type_, sa.Integer):
        name = str(getattr(column, "name", ""))
        return Kind.TIME if name.endswith("_tai_ns") else Kind.INTEGER
    for known, kind in (
        (sa.Boolean, Kind.CONDITION),
        ((sa.Numeric, sa.Float), Kind.FLOAT),
        (sa.Uuid, Kind.UUID),
        (sa.String, Kind.STRING),
        (sa.DateTime, Kind.UTC),
        (sa.types.LargeBinary, Kind.BINARY),
    ):
        if isinstance(type_, known):
            return kind
    return Kind.ANY


def joined(operator: str, terms: list[sa.ColumnElement[bool]]) -> sa.ColumnElement[bool]:
    """Join conditions by AND or OR into a tree that stays shallow however many there are."""
    join = sa.and_ if operator == "AND" else sa.or_
    while len(terms) > CHUNK:
        terms = [Parentheses(join(*terms[i : i + CHUNK])) for i in range(0, len(terms), CHUNK)]
    return join(*terms) if len(terms) > 1 else terms[0]
