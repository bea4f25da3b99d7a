"""What can go wrong with definitions and the files they translate, and what to do about it.

::

    ButlerError
    └── InstrumentError
        ├── DefinitionError (ValueError)        mistakes: file, line, key, what was expected
        ├── UnknownInstrument (LookupError)     no shipped definition of this name
        ├── MissingTranslator                   astro-metadata-translator, or its class, is absent
        ├── UnsafePath (ValueError)             a template or its values leave the repository
        ├── InconsistentDataId (ValueError)     given and derived key/value pairs contradict
        ├── ConflictingExposure (ValueError)    two files of one exposure disagree on what it was
        └── TranslationError (ValueError)       a file could not be translated; carries its path
            ├── NotFits                         not a FITS file at all
            ├── TruncatedFits                   the file ends before its header says so
            ├── UnmatchedFile (LookupError)     its name fits no pattern of the definition
            ├── WrongInstrument                 the header says that another camera took it
            ├── MissingCard (LookupError)       a required value has nothing to come from
            ├── BadValue                        a card or name part cannot be read as it should be
            ├── UnknownDetector (LookupError)   the definition has no such detector
            ├── UnknownFilter (LookupError)     nor such a filter
            ├── IncompleteComposite (LookupError)  parts of a dataset of several files are absent
            └── FailedCheck                     a cross-check of the definition does not hold
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from butler.errors import ButlerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

__all__ = [
    "BadValue",
    "ConflictingExposure",
    "DefinitionError",
    "FailedCheck",
    "IncompleteComposite",
    "InconsistentDataId",
    "InstrumentError",
    "MissingCard",
    "MissingTranslator",
    "NotFits",
    "Problem",
    "TranslationError",
    "TruncatedFits",
    "UnknownDetector",
    "UnknownFilter",
    "UnknownInstrument",
    "UnmatchedFile",
    "UnsafePath",
    "WrongInstrument",
]


class InstrumentError(ButlerError):
    """An instrument definition could not be used."""

    code = "instrument"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a definition: where it is and what was expected.

    Parameters
    ----------
    key : str
        Path of the key, for example ``files[0].pattern``; empty for the whole document.
    message : str
        What is wrong and what was expected.
    line : int or None
        Line in the file, counted from 1; None when the definition did not come from text.
    """

    key: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        place = f"line {self.line}, " if self.line is not None else ""
        return f"{place}{self.key or 'the document'}: {self.message}"


_LONG = 400
"""Of a problem that repeats what was written, so much is shown [characters]."""


class DefinitionError(InstrumentError, ValueError):
    """The instrument definition has mistakes."""

    code = "instrument-definition"

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        shown = [p if len(p) <= _LONG else f"{p[:_LONG]} ..." for p in map(str, self.problems[:8])]
        if len(self.problems) > len(shown):
            shown.append(f"... and {len(self.problems) - len(shown)} more")
        head = f"The instrument definition {source} has {_count(len(self.problems), 'mistake')}"
        super().__init__(
            f"{head}: {shown[0]}" if len(shown) == 1 else "\n  ".join([f"{head}:", *shown])
        )


class UnknownInstrument(InstrumentError, LookupError):
    """No instrument definition of this name ships with skyspine."""

    code = "unknown-instrument"


class MissingTranslator(InstrumentError):
    """The header translator that the definition names is not installed."""

    code = "missing-translator"


class UnsafePath(InstrumentError, ValueError):
    """A path would leave the repository or cannot be a path."""

    code = "unsafe-path"


class InconsistentDataId(InstrumentError, ValueError):
    """Two key/value pairs contradict each other."""

    code = "inconsistent-data-id"


class ConflictingExposure(InstrumentError, ValueError):
    """Two files give one exposure different facts."""

    code = "conflicting-exposure"


class TranslationError(InstrumentError, ValueError):
    """A file could not be translated.

    Parameters
    ----------
    path : path-like
        The file; empty when no file is concerned.
    message : str
        What is wrong and what to do next; the path is put in front.
    """

    code = "translation"

    def __init__(self, path: str | PathLike[str], message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message, path=path)


class NotFits(TranslationError):
    """The file is not a FITS file."""

    code = "not-fits"


class TruncatedFits(TranslationError):
    """The file ends before its header says so."""

    code = "truncated-fits"


class UnmatchedFile(TranslationError, LookupError):
    """The name of the file fits no pattern of the definition."""

    code = "unmatched-file"


class WrongInstrument(TranslationError):
    """The file comes from another camera."""

    code = "wrong-instrument"


class MissingCard(TranslationError, LookupError):
    """A required value has nothing to come from."""

    code = "missing-card"

    def __init__(
        self,
        path: str | PathLike[str],
        message: str,
        *,
        rule: str = "",
        cards: Sequence[str] = (),
    ) -> None:
        self.rule = rule
        self.cards = tuple(cards)
        super().__init__(path, message)


class BadValue(TranslationError):
    """A value cannot be read as what it should be."""

    code = "bad-value"

    def __init__(
        self, path: str | PathLike[str], message: str, *, rule: str = "", value: object = None
    ) -> None:
        self.rule = rule
        self.value = value
        super().__init__(path, message)


class UnknownDetector(TranslationError, LookupError):
    """The definition has no such detector."""

    code = "unknown-detector"


class UnknownFilter(TranslationError, LookupError):
    """The definition has no such filter."""

    code = "unknown-filter"


class IncompleteComposite(TranslationError, LookupError):
    """Files of a dataset of several parts are absent."""

    code = "incomplete-composite"

    def __init__(
        self, path: str | PathLike[str], message: str, *, missing: Sequence[str] = ()
    ) -> None:
        self.missing = tuple(missing)
        super().__init__(path, message)


class FailedCheck(TranslationError):
    """A cross-check of the definition does not hold for the file."""

    code = "failed-check"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")
