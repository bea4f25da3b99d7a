"""How is a format written: which options does a formatter have, and is a value one of them?

A formatter declares its options; a policy or a put gives values. What they were can be read from
the file, and is recorded with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Option", "choice", "number", "sides", "whole"]


@dataclass(frozen=True, slots=True)
class Option:
    """One way in which a format may be written.

    Parameters
    ----------
    default : object
        What is taken when nothing is said.
    check : callable
        Takes a value and gives it as it is kept; raises ValueError with what is expected instead,
        as in ``"a whole number from 1 to 9"``.
    doc : str
        One line: what it does, with unit.
    """

    default: Any
    check: Callable[[Any], Any]
    doc: str


def choice(*names: str) -> Callable[[Any], str]:
    """Take one of some names."""

    def check(value: Any) -> str:
        if value not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return str(value)

    return check


def whole(least: int, most: int) -> Callable[[Any], int]:
    """Take a whole number between two, both included."""

    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return value

    return check


def number(least: float, most: float) -> Callable[[Any], float]:
    """Take a number between two, both included."""

    def check(value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not least <= value <= most:
            raise ValueError(f"a number from {least:g} to {most:g}")
        return float(value)

    return check


def sides(most: int) -> Callable[[Any], list[int]]:
    """Take the two sides of a box [pixel]: rows and columns, or one number for both."""
    side = whole(1, most)

    def check(value: Any) -> list[int]:
        given = [value, value] if isinstance(value, int) else value
        try:
            rows, columns = given
            return [side(rows), side(columns)]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"a whole number from 1 to {most}, or two of them: rows and columns"
            ) from error

    return check
