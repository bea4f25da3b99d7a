"""How is the form of a YAML document declared and checked?

Small composable types: `Record` (fixed keys), `MapOf` (free keys), `ListOf`, scalars, and `Either`
of the three kinds of YAML.  Each checks a value, adds every mistake to a list, and describes
itself for people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from butler.instrument.expressions import Expression, template_fields
from butler.instrument.times import check_format
from registry.errors import did_you_mean
from registry.selects import RefusedSelect, check_select

if TYPE_CHECKING:
    from collections.abc import Iterator

    from butler.instrument.errors import Problem
    from butler.instrument.source import Document, KeyPath

__all__ = [
    "Boolean",
    "Choice",
    "Content",
    "Either",
    "ExpressionText",
    "Integer",
    "Key",
    "ListOf",
    "MapOf",
    "Number",
    "Record",
    "Regex",
    "Scalar",
    "SelectText",
    "TemplateText",
    "Text",
    "TimeFormat",
]


class Content(Protocol):
    """What may stand at a key."""

    def check(self, value: Any, at: KeyPath, document: Document, problems: list[Problem]) -> None:
        """Add what is wrong with ``value`` to ``problems``."""

    def describe(self) -> str:
        """Say in a few words what is expected."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a `Record`: what may stand there and what it means."""

    content: Content
    doc: str
    required: bool = False


def _found(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return repr(value)


class Scalar:
    """A text, number, truth value, or nothing; its kinds say more."""

    expected = "a text, number or null"

    def fits(self, value: Any) -> bool:
        """Tell whether the value is of the type."""
        return not isinstance(value, dict | list)

    def fault(self, value: Any) -> str:
        """Say what is wrong with a value of the right type; empty when nothing is."""
        del value
        return ""

    def check(self, value: Any, at: KeyPath, document: Document, problems: list[Problem]) -> None:
        """Add what is wrong with ``value`` to ``problems``."""
        if not self.fits(value):
            problems.append(
                document.problem(at, f"expected {self.describe()}, found {_found(value)}")
            )
        elif fault := self.fault(value):
            problems.append(document.problem(at, fault))

    def describe(self) -> str:
        """Say in a few words what is expected."""
        return self.expected


class Boolean(Scalar):
    """``true`` or ``false``."""

    expected = "true or false"

    def fits(self, value: Any) -> bool:
        """Tell whether the value is of the type."""
        return isinstance(value, bool)


class Text(Scalar):
    """A text that is not empty.

    Parameters
    ----------
    pattern : str
        Regular expression that it must match as a whole.
    maximum : int
        Its greatest length.
    """

    expected = "a text"

    def __init__(self, pattern: str = "", maximum: int = 100_000) -> None:
        self._pattern = pattern
        self._maximum = maximum

    def fits(self, value: Any) -> bool:
        """Tell whether the value is of the type."""
        return isinstance(value, str)

    def fault(self, value: Any) -> str:
        """Say what is wrong with a text."""
        if not value.strip():
            return "is empty"
        if len(value) > self._maximum:
            return f"is longer than {self._maximum} characters"
        if self._pattern and not re.fullmatch(self._pattern, value):
            return f"{value!r} is not of the form {self._pattern}"
        return ""


class Regex(Text):
    """A regular expression."""

    expected = "a regular expression"

    def fault(self, value: Any) -> str:
        """Say what is wrong with the expression."""
        try:
            re.compile(value)
        except re.error as error:
            where = f" at character {error.pos + 1}" if error.pos is not None else ""
            return f"is no regular expression: {error.msg}{where}"
        return super().fault(value)


class ExpressionText(Text):
    """An arithmetic expression."""

    expected = "an expression"

    def fault(self, value: Any) -> str:
        """Say what is wrong with the expression."""
        try:
            Expression(value)
        except ValueError as error:
            return str(error)
        return ""


class SelectText(Text):
    """One SELECT that only asks."""

    expected = "one SELECT"

    def fault(self, value: Any) -> str:
        """Say what is wrong with the statement."""
        try:
            check_select(value)
        except RefusedSelect as error:
            return str(error)
        return ""


class TemplateText(Text):
    """A text with ``{names}``."""

    expected = "a text with {names}"

    def fault(self, value: Any) -> str:
        """Say what is wrong with the template."""
        try:
            template_fields(value)
        except ValueError as error:
            return f"is no template: {error}"
        return super().fault(value)


class TimeFormat(Text):
    """A named time format or a strptime pattern."""

    expected = "isot, mjd, jd, unix or a strptime pattern"

    def fault(self, value: Any) -> str:
        """Say what is wrong with the format."""
        try:
            check_format(value)
        except ValueError as error:
            return str(error)
        return ""


class Number(Scalar):
    """A number within limits."""

    expected = "a number"

    def __init__(self, minimum: float = float("-inf"), maximum: float = float("inf")) -> None:
        self._minimum = minimum
        self._maximum = maximum

    def fits(self, value: Any) -> bool:
        """Tell whether the value is of the type."""
        return isinstance(value, int | float) and not isinstance(value, bool)

    def fault(self, value: Any) -> str:
        """Say what is wrong with a number."""
        if self._minimum <= value <= self._maximum:
            return ""
        if self._maximum == float("inf"):
            return f"{value} is too small: at least {self._minimum:g} is expected"
        return f"{value} lies outside {self._minimum:g} to {self._maximum:g}"


class Integer(Number):
    """An integer, not less than a minimum."""

    expected = "an integer"

    def fits(self, value: Any) -> bool:
        """Tell whether the value is of the type."""
        return isinstance(value, int) and not isinstance(value, bool)


class Choice(Scalar):
    """One of a few texts."""

    def __init__(self, *choices: str) -> None:
        self.choices = choices

    def fits(self, value: Any) -> bool:
        """Tell whether the value is of the type."""
        return isinstance(value, str)

    def fault(self, value: Any) -> str:
        """Say what is wrong with a text."""
        if value in self.choices:
            return ""
        return (
            f"{value!r} is not one of {', '.join(self.choices)}.{did_you_mean(value, self.choices)}"
        )

    def describe(self) -> str:
        """Say in a few words what is expected."""
        return ("one of " if len(self.choices) > 1 else "") + ", ".join(self.choices)


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list with items of one kind."""

    item: Content
    minimum: int = 0

    def check(self, value: Any, at: KeyPath, document: Document, problems: list[Problem]) -> None:
        """Add what is wrong with ``value`` to ``problems``."""
        if not isinstance(value, list):
            problems.append(
                document.problem(at, f"expected {self.describe()}, found {_found(value)}")
            )
            return
        if len(value) < self.minimum:
            problems.append(document.problem(at, f"needs at least {self.minimum} item"))
        for i, item in enumerate(value):
            self.item.check(item, (*at, i), document, problems)

    def describe(self) -> str:
        """Say in a few words what is expected."""
        return f"list: {self.item.describe()}"


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping with free keys, which `key` names for people."""

    value: Content
    key: str = "key"

    def check(self, value: Any, at: KeyPath, document: Document, problems: list[Problem]) -> None:
        """Add what is wrong with ``value`` to ``problems``."""
        if not isinstance(value, dict):
            problems.append(
                document.problem(at, f"expected {self.describe()}, found {_found(value)}")
            )
            return
        for name, item in value.items():
            self.value.check(item, (*at, str(name)), document, problems)

    def describe(self) -> str:
        """Say in a few words what is expected."""
        return f"mapping of {self.key}: {self.value.describe()}"


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with fixed keys.

    Parameters
    ----------
    keys : dict
        Name to `Key`.
    one_of : tuple of str
        Exactly one of these must be there.
    """

    keys: dict[str, Key]
    one_of: tuple[str, ...] = ()

    def check(self, value: Any, at: KeyPath, document: Document, problems: list[Problem]) -> None:
        """Add what is wrong with ``value`` to ``problems``."""
        if not isinstance(value, dict):
            problems.append(
                document.problem(at, f"expected {self.describe()}, found {_found(value)}")
            )
            return
        for name, item in value.items():
            if name not in self.keys:
                hint = did_you_mean(str(name), self.keys) or f" Known: {', '.join(self.keys)}."
                problems.append(document.problem((*at, str(name)), f"is no key here.{hint}"))
            else:
                self.keys[name].content.check(item, (*at, name), document, problems)
        for name, key in self.keys.items():
            if key.required and name not in value:
                problems.append(document.problem(at, f"needs the key '{name}': {key.doc}"))
        given = [name for name in self.one_of if name in value]
        if self.one_of and len(given) != 1:
            what = "has " + " and ".join(given) if given else "has none"
            problems.append(
                document.problem(at, f"needs exactly one of {', '.join(self.one_of)}; it {what}")
            )

    def describe(self) -> str:
        """Say in a few words what is expected."""
        return "rule" if self.one_of else "mapping"

    def rows(self, prefix: str) -> Iterator[tuple[str, str, str]]:
        """Give path, content and meaning of every key below."""
        for name, key in self.keys.items():
            path = f"{prefix}{name}"
            yield (
                path,
                key.content.describe(),
                key.doc + (" **(required)**" if key.required else ""),
            )
            inner: Any = key.content
            while isinstance(inner, ListOf | MapOf):
                path += "[]" if isinstance(inner, ListOf) else f".<{inner.key}>"
                inner = inner.item if isinstance(inner, ListOf) else inner.value
            if isinstance(inner, Record) and not inner.one_of:
                yield from inner.rows(f"{path}.")


@dataclass(frozen=True, slots=True)
class Either:
    """What may stand there by kind of YAML: a scalar, a list or a mapping."""

    scalar: Content | None = None
    sequence: Content | None = None
    mapping: Content | None = None

    def check(self, value: Any, at: KeyPath, document: Document, problems: list[Problem]) -> None:
        """Add what is wrong with ``value`` to ``problems``."""
        kind = (
            self.mapping
            if isinstance(value, dict)
            else self.sequence
            if isinstance(value, list)
            else self.scalar
        )
        if kind is None:
            problems.append(
                document.problem(at, f"expected {self.describe()}, found {_found(value)}")
            )
        else:
            kind.check(value, at, document, problems)

    def describe(self) -> str:
        """Say in a few words what is expected."""
        if self.mapping is not None:
            return "rule" + (" or list of rules" if self.sequence is not None else "")
        return " or ".join(
            kind.describe() for kind in (self.scalar, self.sequence) if kind is not None
        )
