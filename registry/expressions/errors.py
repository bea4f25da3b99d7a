"""What can be wrong with a `where` expression, and how is the place shown?

::

    RegistryError
    └── ExpressionError (ValueError)        the text, the place and what to write instead
        ├── ExpressionSyntaxError           the text does not follow the grammar
        ├── UnknownField (UnknownName)      no such dimension, field or bound value
        ├── UnknownValue (LookupError)      a name is compared with a value that does not exist
        ├── MissingBind (KeyError)          `:name` without a value in `bind`
        ├── TypeMismatch (TypeError)        the two sides cannot be compared or combined
        ├── InvalidLiteral                  a number, time, UUID, pattern or region out of range
        ├── NoRegion (LookupError)          `OVERLAPS` asks for a region that is not there
        ├── UnrelatedDimension (LookupError)  no record relates a dimension to what is asked for
        └── ExpressionTooLarge              beyond the limits of `registry.expressions.limits`
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from registry.errors import RegistryError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ExpressionError",
    "ExpressionSyntaxError",
    "ExpressionTooLarge",
    "InvalidLiteral",
    "MissingBind",
    "NoRegion",
    "TypeMismatch",
    "UnknownField",
    "UnknownValue",
    "UnrelatedDimension",
]

WINDOW = 100
"""Widest part of a line that is shown [characters]."""
MARGIN = 40
"""How much of a long line is shown before the place [characters]."""


class ExpressionError(RegistryError, ValueError):
    """The where expression cannot be used.

    Parameters
    ----------
    sentence : str
        What is wrong and what to write instead.
    start, end : int
        The place in the text, half open [characters].
    expected : iterable of str
        What could have stood there, in words.
    suggestion : str
        What to write instead, if that is known.
    text : str
        The whole expression; `locate` fills it in where the raiser does not know it.
    """

    code = "expression"

    def __init__(
        self,
        sentence: str,
        start: int = 0,
        end: int | None = None,
        *,
        expected: Iterable[str] = (),
        suggestion: str = "",
        text: str | None = None,
    ) -> None:
        self.sentence = sentence
        self.start = start
        self.end = start + 1 if end is None else max(end, start + 1)
        self.expected = tuple(expected)
        self.suggestion = suggestion
        self.text = text
        # Not super(): the second parent of UnknownField would make a sentence of its own.
        RegistryError.__init__(self, sentence)
        if text is not None:
            self.locate(text)

    def locate(self, text: str) -> ExpressionError:
        """Add the text that the place refers to, unless one is known already."""
        self.text = text if self.text is None else self.text
        self.args = (f"{self.sentence}\n{self.picture}",)
        return self

    def __str__(self) -> str:
        return str(self.args[0])

    @property
    def line(self) -> int:
        """Line of the place, counted from 1."""
        return (self.text or "").count("\n", 0, self.start) + 1

    @property
    def column(self) -> int:
        """Column of the place in its line, counted from 1 [characters]."""
        return self.start - ((self.text or "").rfind("\n", 0, self.start) + 1) + 1

    @property
    def picture(self) -> str:
        """The line with the mistake, and under it carets that mark the place."""
        text = self.text or ""
        begin = self.start - self.column + 1
        stop = text.find("\n", begin)
        line = text[begin : len(text) if stop < 0 else stop]
        mark = self.column - 1
        cut = max(mark - MARGIN, 0) if len(line) > WINDOW else 0
        shown = line[cut : cut + WINDOW]
        before = "... " if cut else ""
        after = " ..." if cut + WINDOW < len(line) else ""
        lead = before + shown[: mark - cut]
        marked = shown[mark - cut : mark - cut + self.end - self.start]
        carets = "^" * max(_width(marked), 1)
        return f"  {_plain(before + shown + after)}\n  {' ' * _width(lead)}{carets}"


def _plain(text: str) -> str:
    """Replace what would move the cursor, so that the carets stay under their place."""
    return "".join(c if c.isprintable() else " " for c in text)


def _width(text: str) -> int:
    """Count the cells that a text takes on a terminal."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


class ExpressionSyntaxError(ExpressionError):
    """The expression does not follow the grammar."""

    code = "expression-syntax"


class UnknownField(ExpressionError, UnknownName):
    """The expression names a dimension, field or bound value that does not exist.

    Parameters
    ----------
    name : str
        The name, as written; the others are those of `ExpressionError`.
    """

    code = "expression-unknown-name"

    def __init__(
        self,
        sentence: str,
        start: int = 0,
        end: int | None = None,
        *,
        name: str = "",
        suggestion: str = "",
    ) -> None:
        ExpressionError.__init__(self, sentence, start, end, suggestion=suggestion)
        self.name = name


class UnknownValue(ExpressionError, LookupError):
    """A name is compared with a value that no record has."""

    code = "expression-unknown-value"


class MissingBind(ExpressionError, KeyError):
    """The expression refers to a bound value that was not given."""

    code = "expression-missing-bind"


class TypeMismatch(ExpressionError, TypeError):
    """Two values of types that do not go together are compared or combined."""

    code = "expression-type"


class InvalidLiteral(ExpressionError):
    """A number, time, UUID, pattern or region is malformed or out of range."""

    code = "expression-literal"


class NoRegion(ExpressionError, LookupError):
    """There is no region of this name to compare with."""

    code = "expression-no-region"


class UnrelatedDimension(ExpressionError, LookupError):
    """No record relates a dimension of the expression to what is asked for."""

    code = "expression-unrelated"


class ExpressionTooLarge(ExpressionError):
    """The expression is longer, deeper or has more values than is allowed."""

    code = "expression-too-large"
