"""What does a pattern of GLOB say, and how is it written in the languages of the databases?

A pattern is read once into pieces and written again: as GLOB of SQLite, as LIKE when it has no
character sets, and as a regular expression when it has.  All are case-sensitive and match the whole
text; `registry.expressions.constructs` chooses among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from registry.expressions.errors import InvalidLiteral
from registry.expressions.limits import MAX_PATTERN

__all__ = ["CharacterSet", "Piece", "Wild", "as_glob", "as_like", "as_regexp", "read_pattern"]


@dataclass(frozen=True, slots=True)
class Wild:
    """`*` (any number of characters) or `?` (one)."""

    many: bool


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """`[a-z_]`: one character out of ranges of code points, ends included, or none of them."""

    ranges: tuple[tuple[str, str], ...]
    negated: bool


Piece: TypeAlias = "str | Wild | CharacterSet"


def read_pattern(pattern: str, start: int = 0, end: int | None = None) -> tuple[Piece, ...]:
    r"""Split a pattern into its pieces.

    Parameters
    ----------
    pattern : str
        `*` and `?` as in a shell, `[abc]`, `[a-z]`, `[!a-z]` or `[^a-z]`; a backslash takes the
        next character as it is.
    start, end : int
        Its place in the expression, for error messages.

    Returns
    -------
    tuple of str (one character each), Wild or CharacterSet
        Stars that follow each other are one.

    Raises
    ------
    InvalidLiteral
        If a `[` is not closed, a range runs backwards, or the pattern ends with a backslash.

    Examples
    --------
    >>> read_pattern("a*")
    ('a', Wild(many=True))
    """
    if len(pattern) > MAX_PATTERN:
        raise InvalidLiteral(
            f"The pattern has {len(pattern)} characters and the limit is {MAX_PATTERN}.", start, end
        )
    pieces: list[Piece] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            if at + 1 == len(pattern):
                raise InvalidLiteral(
                    r"The pattern ends with a backslash; write \\ for the backslash itself.",
                    start,
                    end,
                )
            pieces.append(pattern[at + 1])
            at += 2
        elif character == "[":
            found, at = _read_set(pattern, at, start, end)
            pieces.append(found)
        else:
            if character == "*":
                if not (pieces and pieces[-1] == Wild(many=True)):
                    pieces.append(Wild(many=True))
            else:
                pieces.append(Wild(many=False) if character == "?" else character)
            at += 1
    return tuple(pieces)


def _read_set(pattern: str, at: int, start: int, end: int | None) -> tuple[CharacterSet, int]:
    """Read `[...]` that begins at `at`; a `]` right after the opening belongs to the set."""
    inside = at + 1
    negated = pattern[inside : inside + 1] in ("!", "^") and inside < len(pattern)
    inside += negated
    close = pattern.find("]", inside + 1)
    if close < 0:
        raise InvalidLiteral(
            r"In the pattern a '[' is not closed; write \[ for the bracket itself.", start, end
        )
    ranges: list[tuple[str, str]] = []
    while inside < close:
        low = high = pattern[inside]
        if pattern[inside + 1] == "-" and inside + 2 < close:
            high = pattern[inside + 2]
            inside += 2
        inside += 1
        if low > high:
            raise InvalidLiteral(
                f"The range {low}-{high} of the pattern runs backwards; write {high}-{low}.",
                start,
                end,
            )
        ranges.append((low, high))
    return CharacterSet(tuple(ranges), negated), close + 1


def as_glob(pieces: tuple[Piece, ...]) -> str:
    """Write the pattern as GLOB of SQLite reads it, which knows no backslash."""
    return "".join(
        ("*" if piece.many else "?")
        if isinstance(piece, Wild)
        else _glob_set(piece)
        if isinstance(piece, CharacterSet)
        else f"[{piece}]"
        if piece in "*?["
        else piece
        for piece in pieces
    )


def _glob_set(piece: CharacterSet) -> str:
    """Write a set for SQLite, where `]` must come first, `-` right after it and `^` not first."""
    special: set[str] = set()
    plain = ""
    for low, high in piece.ranges:
        while low in "]^-" and low <= high:
            special.add(low)
            low = chr(ord(low) + 1)
        if low <= high:
            plain += low if low == high else f"{low}-{high}"
    if special == {"^"} and not plain and not piece.negated:
        return "^"
    ordered = "".join(c for c in "]-" if c in special) + plain + "^" * ("^" in special)
    return f"[{'^' * piece.negated}{ordered}]"


def as_like(pieces: tuple[Piece, ...]) -> str:
    """Write a pattern without sets for LIKE with the escape character `|`."""
    return "".join(
        ("%" if piece.many else "_")
        if isinstance(piece, Wild)
        else f"|{piece}"
        if piece in ("%", "_", "|")
        else str(piece)
        for piece in pieces
    )


def as_regexp(pieces: tuple[Piece, ...], *, postgresql: bool) -> str:
    """Write the pattern as a regular expression in which every character stands by its number."""

    def one(character: str) -> str:
        if character.isascii() and character.isalnum():
            return character
        return f"\\U{ord(character):08X}" if postgresql else f"\\x{{{ord(character):X}}}"

    body = "".join(
        (".*" if piece.many else ".")
        if isinstance(piece, Wild)
        else f"[{'^' * piece.negated}"
        + "".join(
            one(low) if low == high else f"{one(low)}-{one(high)}" for low, high in piece.ranges
        )
        + "]"
        if isinstance(piece, CharacterSet)
        else one(piece)
        for piece in pieces
    )
    return f"^{body}$" if postgresql else rf"(?s)\A{body}\z"
