"""How does one rule of a definition make a value out of a card, a file name, or other values?

A `Rule` is one source with what is done to its content; `Rules` are alternatives, of which the
first that gives a value counts.  Where contents come from is the business of a `Scope`: a file
that is translated, or a partial data ID that is completed.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from butler.instrument.expressions import Expression, template_fields
from butler.instrument.schema import SOURCES, UNITS
from butler.instrument.source import text_of
from butler.instrument.times import Instant, parse, unwrap_twelve_hours
from registry.errors import did_you_mean
from registry.selects import bound_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "VALUE_TYPES",
    "Absent",
    "Ambiguous",
    "Found",
    "Origin",
    "Rule",
    "RuleFault",
    "Rules",
    "Scope",
    "text_of",
]

VALUE_TYPES = {
    "exposure": "int",
    "visit": "int",
    "seq_num": "int",
    "day_obs": "int",
    "detector": "detector",
    "physical_filter": "filter",
    "exposure_time": "float",
    "dark_time": "float",
    "ra": "float",
    "dec": "float",
    "airmass": "float",
    "begin": "time",
    "middle": "time",
    "end": "time",
    "valid_begin": "time",
    "valid_end": "time",
}
"""What each value is; the others are texts."""


class RuleFault(ValueError):
    """A rule has a content that it cannot use; the caller adds the file's name."""


class Absent(LookupError):
    """Something that a rule names is not there."""


class Ambiguous(LookupError):
    """What is given means several things.

    Parameters
    ----------
    given : str
        What is given, as people write it.
    candidates : sequence
        What it could be.
    hint : str
        What would tell them apart.
    """

    def __init__(self, given: str, candidates: Sequence[Any], hint: str = "") -> None:
        self.candidates = tuple(candidates)
        shown = ", ".join(map(str, self.candidates[:_SHOWN]))
        more = ", ..." if len(self.candidates) > _SHOWN else ""
        super().__init__(f"{given} could be {shown}{more}.{hint}")


_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from.

    Parameters
    ----------
    rule : str
        Key path of the rule in the definition, for example ``translate.begin[1]``.
    kind : str
        Its source: card, group, field, template, expression, column, translator, value, default;
        ``derived`` where no rule was needed.
    name : str
        Name of the card, group, column, ...
    content : object
        What stood there.
    hdu : int or None
        Number of the header, for cards.
    """

    rule: str
    kind: str
    name: str = ""
    content: Any = None
    hdu: int | None = None

    def __str__(self) -> str:
        place = f" of HDU {self.hdu}" if self.hdu is not None else ""
        name = f" {self.name}" if self.name else ""
        return f"{self.kind}{name}{place} = {self.content!r} ({self.rule})"


@dataclass(frozen=True, slots=True)
class Found:
    """A value and where it came from; the value None is an explicit "there is none"."""

    value: Any
    origin: Origin


class Scope(Protocol):
    """Where rules get their contents; each raises `Absent` when there is none."""

    longitude: float | None

    def card(self, name: str, hdu: int | str | None) -> tuple[Any, int]:
        """Give the content of a card and the number of its header."""

    def group(self, name: str) -> str:
        """Give a named group of the file name."""

    def value(self, name: str) -> Any:
        """Give another value."""

    def column(self, table: str, name: str) -> Any:
        """Give a column of the matching row of an auxiliary table."""

    def translated(self, name: str) -> Any:
        """Give a value of the external translator."""

    def answer(self, query: str, values: Mapping[str, Any]) -> Any:
        """Give what the repository's database answers; `Ambiguous` when it is several values."""

    def night(self, when: Instant) -> int:
        """Give the night of a moment."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Parameters
    ----------
    where : str
        Its key path in the definition.
    spec : mapping
        As in the YAML, with lists and tables in one form: one of `SOURCES` and what is to be done.
    kind : str
        Type of the value: int, float, text, time, or any.
    source : str
        Which of `SOURCES` it uses.
    """

    where: str
    spec: Mapping[str, Any]
    kind: str
    source: str = ""

    @classmethod
    def of(cls, where: str, spec: Any, kind: str) -> Rule:
        """Read the YAML form: a constant or a mapping."""
        spec = dict(spec) if isinstance(spec, dict) else {"value": spec}
        for key in ("card", "missing"):
            if key in spec and not isinstance(spec[key], list):
                spec[key] = [spec[key]]
        spec["missing"] = {text_of(content) for content in spec.get("missing", ())}
        for key in ("lookup", "replace"):
            if key in spec:
                spec[key] = {text_of(content): value for content, value in spec[key].items()}
        return cls(where, spec, kind, next(s for s in SOURCES if s in spec))

    def names(self) -> tuple[tuple[str, str], ...]:
        """Give what the rule refers to: group, field, table or name, and which."""
        match self.source:
            case "group" | "field" as source:
                return ((source, str(self.spec[source])),)
            case "template":
                return tuple(
                    ("name", field)
                    for _, field, _ in template_fields(self.spec["template"])
                    if field
                )
            case "expression":
                return tuple(("name", name) for name in _expression(self.spec["expression"]).names)
            case "query":
                return tuple(("field", name) for name in bound_names(self.spec["query"]))
            case "column":
                return (("table", str(self.spec.get("table", ""))),)
        return ()

    def apply(self, scope: Scope) -> Found | None:
        """Make the value; None when there is nothing to make it of.

        Raises
        ------
        RuleFault
            If the content cannot be used.
        """
        try:
            content, origin = self._content(scope)
        except Absent:
            return self._default()
        if isinstance(content, str):
            content = content.strip()
        if content is None or content == "" or text_of(content) in self.spec["missing"]:
            return self._default()
        if "pattern" in self.spec:
            match = re.search(self.spec["pattern"], text_of(content))
            if match is None:
                return self._default()
            content = match[1] if match.re.groups else match[0]
            if content is None or content == "":
                return self._default()
        if "case" in self.spec:
            content = getattr(text_of(content), self.spec["case"])()
        if "replace" in self.spec:
            content = self.spec["replace"].get(text_of(content), content)
        if "lookup" in self.spec:
            known = self.spec["lookup"]
            key = text_of(content)
            if key not in known:
                if "default" in self.spec:
                    return self._default()
                raise RuleFault(
                    f"{origin.name or origin.kind} is {content!r}, which {self.where}.lookup does "
                    "not list."
                    f"{did_you_mean(key, known)} Add it to the table, or give the rule a `default`."
                )
            content = known[key]
        if content is None:
            return Found(None, origin)
        return Found(self._converted(content, origin, scope), origin)

    def _content(self, scope: Scope) -> tuple[Any, Origin]:
        source = self.source
        spec = self.spec[source]
        match source:
            case "value":
                return spec, Origin(self.where, "value", "", spec)
            case "card":
                for name in spec:
                    try:
                        content, hdu = scope.card(name, self.spec.get("hdu"))
                    except Absent:
                        continue
                    return content, Origin(self.where, "card", name, content, hdu)
                raise Absent(str(spec))
            case "group":
                content = scope.group(spec)
            case "field":
                content = scope.value(spec)
            case "column":
                content = scope.column(self.spec.get("table", ""), spec)
            case "translator":
                content = scope.translated(spec)
            case "query":
                values = {name: scope.value(name) for name in bound_names(spec)}
                content = scope.answer(spec, values)
            case "template":
                content = render(spec, lambda name: named(scope, name))
            case _:
                expression = _expression(spec)
                values = {name: named(scope, name) for name in expression.names}
                try:
                    content = expression.evaluate(values)
                except ValueError as error:
                    raise RuleFault(str(error)) from error
        return content, Origin(self.where, source, spec, content)

    def _default(self) -> Found | None:
        if "default" not in self.spec:
            return None
        value = self.spec["default"]
        return Found(value, Origin(self.where, "default", "", value))

    def _converted(self, content: Any, origin: Origin, scope: Scope) -> Any:
        try:
            kind = self.spec.get("convert", self.kind)
            if kind == "night":
                return scope.night(self._time(content, scope))
            if kind == "time" or (kind == "any" and "format" in self.spec):
                return self._time(content, scope)
            if kind in {"sexagesimal", "hours"}:
                return _sexagesimal(content) * (15 if kind == "hours" else 1)
            if kind == "float" or "unit" in self.spec:
                return _number(content) * UNITS[self.spec.get("unit", "s")]
            if kind == "int":
                return _integer(content)
            return text_of(content) if kind in {"text", "str"} else content
        except ValueError as error:
            what = f"{origin.kind} {origin.name}".strip()
            raise RuleFault(
                f"{what} = {origin.content!r} cannot be used for {self.where}: {error}. Correct "
                "the rule (`format`, "
                "`pattern`, `lookup`, `convert`), or list the content under `missing`."
            ) from error

    def _time(self, content: Any, scope: Scope) -> Instant:
        if isinstance(content, Instant):
            return content
        when = parse(
            content,
            self.spec.get("format", "isot"),
            self.spec.get("scale", "utc"),
            float(self.spec.get("utc_offset", 0)),
        )
        if "clock" in self.spec:
            if scope.longitude is None:
                raise ValueError("`clock: 12-hour` needs `site.longitude`")
            when = unwrap_twelve_hours(when, scope.longitude)
        return when


@dataclass(frozen=True, slots=True)
class Rules:
    """Alternatives for one value, in order."""

    where: str
    alternatives: tuple[Rule, ...]

    @classmethod
    def of(cls, where: str, spec: Any, kind: str) -> Rules:
        """Read the YAML form: a constant, one rule, or a list."""
        if isinstance(spec, list):
            return cls(where, tuple(Rule.of(f"{where}[{i}]", s, kind) for i, s in enumerate(spec)))
        return cls(where, (Rule.of(where, spec, kind),))

    def apply(self, scope: Scope) -> Found | None:
        """Make the value by the first alternative that can.

        Raises
        ------
        RuleFault
            If one has a content that it cannot use.
        """
        for rule in self.alternatives:
            found = rule.apply(scope)
            if found is not None:
                return found
        return None

    def wanted(self) -> list[str]:
        """Say what the alternatives look for: ``card DATE-OBS``, ``group night``, ..."""
        wanted = []
        for rule in self.alternatives:
            spec = rule.spec[rule.source]
            wanted += [
                f"{rule.source} {name}" for name in (spec if isinstance(spec, list) else [spec])
            ]
        return wanted


def named(scope: Scope, name: str) -> Any:
    """Give what a name stands for: a card when in upper case, else a value, else a group."""
    if name == name.upper() and any(c.isalpha() for c in name):
        return scope.card(name, None)[0]
    try:
        return scope.value(name)
    except Absent:
        return scope.group(name)


@lru_cache(maxsize=1024)
def _expression(text: str) -> Expression:
    return Expression(text)


def render(text: str, value_of: Callable[[str], Any]) -> str:
    """Fill a template in.

    Raises
    ------
    RuleFault
        If a value cannot be written in the format given.
    """
    parts: list[str] = []
    for literal, field, spec in template_fields(text):
        parts.append(literal)
        if field is not None:
            value = value_of(field)
            try:
                parts.append(format(_as_number(value, spec), spec) if spec else text_of(value))
            except (ValueError, TypeError) as error:
                raise RuleFault(
                    f"{field} = {value!r} cannot be written as {{{field}:{spec}}}: {error}"
                ) from error
    return "".join(parts)


def _as_number(value: Any, spec: str) -> Any:
    if isinstance(value, str) and spec[-1:] == "d":
        return _integer(value)
    return _number(value) if isinstance(value, str) and spec[-1:] in {"f", "e", "g"} else value


def _number(content: Any) -> float:
    if isinstance(content, bool):
        raise ValueError(f"{content!r} is no number")  # noqa: TRY004 (a content, not an argument)
    try:
        number = float(content)
    except (TypeError, ValueError):
        raise ValueError(f"{content!r} is no number") from None
    if not math.isfinite(number):
        raise ValueError(f"{content!r} is not a finite number")
    return number


def _integer(content: Any) -> int:
    if isinstance(content, int) and not isinstance(content, bool):
        return int(content)
    try:
        number = Decimal(str(content).strip())
    except InvalidOperation:
        raise ValueError(f"{content!r} is no integer") from None
    if isinstance(content, bool) or not number.is_finite() or number != number.to_integral_value():
        raise ValueError(f"{content!r} is no integer")
    return int(number)


def _sexagesimal(content: Any) -> float:
    if isinstance(content, int | float) and not isinstance(content, bool):
        return _number(content)
    parts: Sequence[str] = re.split(r"[:\s]+", str(content).strip())
    if len(parts) > 3 or not all(re.fullmatch(r"[-+]?\d+(\.\d*)?", p) for p in parts[:1]):
        raise ValueError(f"{content!r} is not written like 12:34:56.7")
    sign = -1.0 if parts[0].startswith("-") else 1.0
    total = 0.0
    for part, scale in zip(parts, (1, 60, 3600), strict=False):
        number = _number(part)
        if scale > 1 and not 0 <= number < 60:
            raise ValueError(f"{content!r} has minutes or seconds outside 0 to 60")
        total += abs(number) / scale
    return sign * total
