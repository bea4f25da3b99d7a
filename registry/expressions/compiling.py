"""How does a parsed expression become a condition of SQLAlchemy?

Names are asked of a `Resolver`, which belongs to the query around the condition; values of the text
and of `bind` become bound parameters, so that nothing that a user writes stands in the SQL itself.
"""

from __future__ import annotations

import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import sqlalchemy as sa

from registry.errors import UnknownName, did_you_mean
from registry.expressions.arithmetic import calculated, signed
from registry.expressions.binding import bound
from registry.expressions.comparing import compared, is_null, matched, member, require_existing
from registry.expressions.errors import (
    ExpressionError,
    MissingBind,
    NoRegion,
    TypeMismatch,
    UnknownField,
)
from registry.expressions.nodes import (
    Arithmetic,
    Bind,
    Call,
    Comparison,
    Connective,
    Expression,
    Glob,
    InList,
    Literal,
    Moment,
    Name,
    Negation,
    Node,
    NullTest,
    Overlaps,
    Pair,
    Range,
    Sign,
)
from registry.expressions.operands import NUMERIC, Kind, Operand, Scope, joined, kind_of
from registry.expressions.overlapping import overlapping_times, timespan
from registry.expressions.parsing import binds, columns_of, parse
from registry.expressions.regions import region, region_of_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lsst.sphgeom import Region

__all__ = ["RegionResolver", "Resolver", "compile_where"]


class Resolver(Protocol):
    """What the query around a condition answers about names."""

    def column(self, name: str, position: int) -> sa.ColumnElement[Any]:
        """Give the column of a name.

        Parameters
        ----------
        name : str
            A dimension or a dotted field, with times as the schema names them
            (`exposure.begin_tai_ns`).
        position : int
            Where it stands in the text [characters].

        Raises
        ------
        registry.errors.UnknownName
            If there is none; the message that users see is made from `known_names`.
        """
        ...

    def known_names(self) -> Sequence[str]:
        """List the names that `column` knows, for suggestions."""
        ...

    def values(self, name: str) -> Sequence[str] | None:
        """List the strings that a name can be equal to (bands, instruments); None if any may be."""
        del name
        return None


@runtime_checkable
class RegionResolver(Protocol):
    """What a query answers in addition, if it can compare regions of the sky."""

    def region_overlaps(
        self, name: str, other: Region | str, position: int
    ) -> sa.ColumnElement[bool] | None:
        """Give the condition that the region of a name shares a point with another.

        Parameters
        ----------
        name : str
            What stands beside the region, as written: `visit`, `patch.region`.
        other : lsst.sphgeom.Region or str
            A region of the sky, ICRS, or the name of another region.
        position : int
            Where the comparison stands in the text [characters].

        Returns
        -------
        ColumnElement or None
            None if there is no region of that name here.
        """
        ...


def compile_where(
    expression: Expression | str, resolve: Resolver, bind: Mapping[str, object] | None = None
) -> sa.ColumnElement[bool]:
    """Compile an expression to a condition.

    Parameters
    ----------
    expression : Expression or str
        What `parse` returned, or its text; an empty one is true of every row.
    resolve : Resolver
        Gives the columns.
    bind : mapping of str to object, optional
        Values for `:name`, or for names without a colon: see `registry.expressions.binding`.

    Returns
    -------
    ColumnElement of bool
        With every value as a bound parameter; it can be compiled for SQLite, PostgreSQL and
        MariaDB.

    Raises
    ------
    ExpressionError
        One of its subclasses, with the place in the text.

    Examples
    --------
    >>> import sqlalchemy as sa
    >>> class Exposures(Resolver):
    ...     def column(self, name, position):
    ...         return sa.column(name, sa.BigInteger())
    ...     def known_names(self):
    ...         return ["exposure"]
    >>> str(compile_where("exposure IN (5..20)", Exposures()))
    'exposure BETWEEN :param_1 AND :param_2'
    """
    expression = parse(expression) if isinstance(expression, str) else expression
    if expression.root is None:
        return sa.true()
    try:
        compiler = _Compiler(expression, resolve, bind or {})
        whole = compiler.condition(expression.root, "A where expression")
        return compiler.scope.sql(whole)
    except ExpressionError as error:
        raise error.locate(expression.text) from error.__cause__


class _Compiler:
    """One walk over an expression."""

    def __init__(
        self, expression: Expression, resolve: Resolver, bind: Mapping[str, object]
    ) -> None:
        self.scope = Scope(expression.text)
        self.resolve = resolve
        self.bind = bind
        self.with_colon = binds(expression)

    @cached_property
    def known(self) -> frozenset[str]:
        """The names that the resolver knows, asked for once and only where they matter."""
        return frozenset(self.resolve.known_names())

    def condition(self, node: Node, wanted_by: str) -> Operand:
        """Compile a node that must be true or false."""
        operand = self.operand(node)
        if operand.kind is not Kind.CONDITION:
            shown = self.scope.shown(operand)
            example = {Kind.INTEGER: "5", Kind.FLOAT: "5.0", Kind.STRING: "'x'"}.get(operand.kind)
            hint = f", as in {node.name} = {example}" if isinstance(node, Name) and example else ""
            if operand.kind in (Kind.REGION, Kind.TIMESPAN):
                hint = " by OVERLAPS"
            raise TypeMismatch(
                f"{wanted_by} needs a condition, but {shown} is {operand.what}; "
                f"compare it with something{hint}.",
                node.start,
                node.end,
            )
        return operand

    def operand(self, node: Node) -> Operand:
        """Compile any node."""
        match node:
            case Literal():
                return _literal(node)
            case Name():
                return self.name(node)
            case Bind():
                return self.bound(node)
            case Sign():
                return signed(self.scope, node, self.operand(node.operand))
            case Arithmetic():
                return calculated(
                    self.scope, node, self.operand(node.left), self.operand(node.right)
                )
            case Comparison():
                return self.comparison(node)
            case InList():
                return self.in_list(node)
            case Glob():
                return matched(
                    self.scope, node, self.operand(node.operand), self.operand(node.pattern)
                )
            case NullTest():
                return is_null(node, self.tested(node.operand))
            case Negation():
                return self.negation(node)
            case Connective():
                return self.connective(node)
            case Overlaps():
                return self.overlaps(node)
            case Pair():
                return timespan(
                    self.scope, node, self.operand(node.begin), self.operand(node.finish)
                )
            case Call():
                return Operand(Kind.REGION, node, value=self.region(node))
            case _:
                raise AssertionError(f"{type(node).__name__} stands only inside another node")

    def name(self, node: Name) -> Operand:
        """Compile a name: a bound value, a timespan, or a column."""
        if self.is_bound(node):
            return bound(node.name, self.bind[node.name], node)
        columns = [self.column(name, node) for name in columns_of(node.name)]
        if len(columns) == 2:
            sides = tuple(Operand(Kind.TIME, node, column) for column in columns)
            return Operand(Kind.TIMESPAN, node, value=sides)
        (column,) = columns
        kind = Kind.TIME if columns_of(node.name)[0].endswith("_tai_ns") else kind_of(column)
        return Operand(kind, node, column)

    def is_bound(self, node: Node) -> bool:
        """Tell whether a name without a colon stands for a bound value."""
        if not isinstance(node, Name) or node.name not in self.bind:
            return False
        if node.name not in self.known:
            return True
        if node.name in self.with_colon:
            return False
        raise UnknownField(
            f"'{node.name}' is a name here and a bound value too; "
            f"write :{node.name} for the value, or bind it under another name.",
            node.start,
            node.end,
            name=node.name,
            suggestion=f":{node.name}",
        )

    def column(self, name: str, node: Name) -> sa.ColumnElement[Any]:
        """Ask the resolver for a column."""
        try:
            return self.resolve.column(name, node.start)
        except ExpressionError:
            raise
        except UnknownName as error:
            raise self.unknown(node) from error

    def unknown(self, node: Name) -> UnknownField:
        """Explain a name that the resolver does not know, by what stands nearest to it."""
        known = set(self.known)
        for name in tuple(known):
            if name.endswith("begin_tai_ns"):
                stem = name.removesuffix("begin_tai_ns")
                known |= {f"{stem}begin", f"{stem}end", f"{stem}timespan"}
        owner, _, field = node.name.rpartition(".")
        owners = {name.rpartition(".")[0] for name in known if "." in name}
        alone = {name for name in known if "." not in name} | owners
        if node.name.lower() in ("nan", "inf", "infinity"):
            sentence = (
                f"'{node.name}' is not a number with which anything can be compared; use IS NULL."
            )
        elif owner in owners:
            fields = {
                name.removeprefix(f"{owner}.") for name in known if name.startswith(f"{owner}.")
            }
            sentence = f"'{owner}' has no field '{field}'.{did_you_mean(field, fields)}"
        elif owner:
            sentence = f"There is no dimension '{owner}' here.{did_you_mean(owner, owners)}"
        else:
            near = did_you_mean(node.name, alone)
            dotted = sorted(name for name in known if name.endswith(f".{node.name}"))
            if dotted and not near.startswith(" Did"):
                near = f" Did you mean {' or '.join(map(repr, dotted[:3]))}?"
            near = near if near.startswith(" Did") else did_you_mean(node.name, known)
            sentence = f"There is no dimension, field or bound value '{node.name}' here.{near}"
            if not near.startswith(" Did"):
                sentence += " A string stands in single quotes."
        return UnknownField(sentence, node.start, node.end, name=node.name)

    def bound(self, node: Bind) -> Operand:
        """Look up `:name`."""
        if node.name not in self.bind:
            raise MissingBind(
                f"No value is bound to ':{node.name}'; pass bind={{'{node.name}': ...}}."
                f"{did_you_mean(node.name, self.bind)}",
                node.start,
                node.end,
            )
        return bound(node.name, self.bind[node.name], node)

    def comparison(self, node: Comparison) -> Operand:
        left, right = self.operand(node.left), self.operand(node.right)
        result = compared(self.scope, node, left, right)
        if node.operator in ("=", "!="):
            for name, other in ((left, right), (right, left)):
                self.require_existing(name, [other])
        return result

    def require_existing(self, name: Operand, constants: Sequence[Operand]) -> None:
        """Refuse strings that a name never has, where the resolver knows them all."""
        if isinstance(name.node, Name) and name.kind is Kind.STRING and not name.constant:
            require_existing(self.scope, name, constants, self.resolve.values(name.node.name))

    def in_list(self, node: InList) -> Operand:
        left = self.operand(node.operand)
        items: list[Operand | Range] = []
        for item in node.items:
            if isinstance(item, Range):
                items.append(item)
                continue
            operand = self.operand(item)
            items.extend(operand.value if operand.kind is Kind.LIST else (operand,))
        result = member(self.scope, node, left, items)
        self.require_existing(left, [item for item in items if isinstance(item, Operand)])
        return result

    def tested(self, node: Node) -> Operand:
        """Compile the left side of IS NULL, where a region is its column."""
        if isinstance(node, Name) and _names_region(node) and not self.is_bound(node):
            return Operand(Kind.BINARY, node, self.column(node.name, node))
        return self.operand(node)

    def negation(self, node: Negation) -> Operand:
        inner = self.condition(node.operand, "NOT")
        if inner.sql is None:
            return Operand(Kind.CONDITION, node, value=not inner.value)
        return Operand(Kind.CONDITION, node, sa.not_(inner.sql))

    def connective(self, node: Connective) -> Operand:
        """Join conditions; constant ones decide, or drop out."""
        operands = [self.condition(part, node.operator) for part in node.operands]
        deciding = node.operator == "OR"
        if any(o.constant and o.value is deciding for o in operands):
            return Operand(Kind.CONDITION, node, value=deciding)
        terms = [o.sql for o in operands if o.sql is not None]
        if not terms:
            return Operand(Kind.CONDITION, node, value=not deciding)
        return Operand(Kind.CONDITION, node, joined(node.operator, terms))

    def overlaps(self, node: Overlaps) -> Operand:
        """Compile OVERLAPS: of regions if one side is a region, else of times."""
        left, right = self.spatial(node.left), self.spatial(node.right)
        if left is None and right is None:
            return overlapping_times(
                self.scope, node, self.operand(node.left), self.operand(node.right)
            )
        sides = [
            side.name if found is None and isinstance(side, Name) else found
            for side, found in ((node.left, left), (node.right, right))
        ]
        named = [side for side in sides if isinstance(side, str)]
        if None in sides or not named:
            raise TypeMismatch(
                "OVERLAPS of regions has a name on one side at least, "
                "such as visit OVERLAPS CIRCLE(ra, dec, radius).",
                node.start,
                node.end,
            )
        name, other = (sides[0], sides[1]) if isinstance(sides[0], str) else (sides[1], sides[0])
        condition = (
            self.resolve.region_overlaps(str(name), other, node.start)
            if isinstance(self.resolve, RegionResolver)
            else None
        )
        if condition is None:
            place = node.left if sides[0] == name else node.right
            known = [n for n in self.known if n.endswith("region")]
            raise NoRegion(
                f"There is no region '{name}' here that could be compared with "
                f"{'another' if isinstance(other, str) else 'a part of the sky'}."
                f"{did_you_mean(str(name), known)}",
                place.start,
                place.end,
            )
        return Operand(Kind.CONDITION, node, sa.not_(condition) if node.negated else condition)

    def spatial(self, node: Node) -> Any:
        """Give the region that a side of OVERLAPS is, or its name; None if it is neither."""
        if isinstance(node, Call):
            return self.region(node)
        if isinstance(node, Bind) or self.is_bound(node):
            found = self.operand(node)
            return found.value if found.kind is Kind.REGION else None
        return node.name if isinstance(node, Name) and _names_region(node) else None

    def region(self, node: Call) -> Region:
        """Build the region of a function call from constant numbers."""
        arguments = [self.operand(argument) for argument in node.arguments]
        wanted = (Kind.STRING,) if node.function == "REGION" else NUMERIC
        for argument in arguments:
            if not argument.constant or argument.kind not in wanted:
                what = argument.what if argument.constant else "not constant"
                needs = "a string" if node.function == "REGION" else "numbers in degrees"
                raise TypeMismatch(
                    f"{node.function} takes {needs}, but {self.scope.shown(argument)} is {what}.",
                    argument.node.start,
                    argument.node.end,
                )
        values = [argument.value for argument in arguments]
        if node.function == "REGION":
            return region_of_text(values[0], node.start, node.end)
        return region(node.function, [float(v) for v in values], node.start, node.end)


def _names_region(node: Name) -> bool:
    return node.name.rpartition(".")[2] == "region"


def _literal(node: Literal) -> Operand:
    value = node.value
    if value is None:
        return Operand(Kind.NULL, node)
    if isinstance(value, Moment):
        return Operand(Kind.TIME, node, value=value.ns)
    for type_, kind in (
        (bool, Kind.CONDITION),
        (int, Kind.INTEGER),
        (float, Kind.FLOAT),
        (str, Kind.STRING),
        (uuid.UUID, Kind.UUID),
    ):
        if isinstance(value, type_):
            return Operand(kind, node, value=value)
    raise AssertionError(f"{type(value).__name__} is no literal")
