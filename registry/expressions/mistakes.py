"""What did the writer of an expression mean, where the grammar stops?

Each habit that people bring from SQL, Python or C has its own sentence; what is left is told with
what the grammar would have taken at that place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from registry.expressions.building import grammar
from registry.expressions.errors import ExpressionSyntaxError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from lark import Token
    from lark.exceptions import UnexpectedInput

__all__ = ["explain"]

END: Final = "$END"
COMPARISONS: Final = frozenset(("EQ", "NE", "LT", "LE", "GT", "GE", "IN", "GLOB", "OVERLAPS", "IS"))
VALUES: Final = frozenset(
    ("NUMBER", "STRING", "TIME", "TRUE", "FALSE", "NULL", "NAME", "BIND", "LPAR")
)

SPELLINGS: Final = {
    "==": "Equality is written with one '=', not '=='.",
    "=>": "Write '>=' instead of '=>'.",
    "=<": "Write '<=' instead of '=<'.",
    "<>": "Write '!=' instead of '<>'.",
    "&&": "Write AND instead of '&&'.",
    "&": "Write AND instead of '&'.",
    "||": "Write OR instead of '||'.",
    "|": "Write OR instead of '|'.",
    "!": "Write NOT instead of '!'.",
    "~": "There is no '~'; match names with GLOB and the wildcards * and ?.",
    "**": "There is no power operator; multiply instead.",
    "^": "There is no power operator; multiply instead.",
    "[": "Lists stand in parentheses: IN (1, 5..20:2).",
    "{": "Bound values are written :name, and lists stand in parentheses.",
    "?": "Bound values are written :name.",
    "$": "Bound values are written :name.",
    "@": "Bound values are written :name.",
    ":": "A colon stands right before the name of a bound value (:name) "
    "or the step of a range (5..20:2).",
    "..": "A range joins two integers: 5..20, or 5..20:2 with a step.",
    ".": "A dot joins two names, such as exposure.target_name.",
    ";": "One expression only; remove the semicolon and what follows it.",
    "#": "There are no comments; remove it.",
    "\\": "There are no escapes; within a string two single quotes stand for one.",
    "≤": "Write '<=' instead of '≤'.",
    "≥": "Write '>=' instead of '≥'.",
    "≠": "Write '!=' instead of '≠'.",
    "−": "This is a typographic minus; write '-'.",
    "–": "This is a typographic dash; write '-'.",
    "×": "Write '*' instead of '×'.",
}
INSTEAD: Final = {
    "==": "=", "=>": ">=", "=<": "<=", "<>": "!=", "&&": "AND", "&": "AND", "||": "OR", "|": "OR",
    "!": "NOT", "≤": "<=", "≥": ">=", "≠": "!=", "−": "-", "–": "-", "×": "*",
}  # fmt: skip
_SPELLING = re.compile("|".join(re.escape(s) for s in sorted(SPELLINGS, key=len, reverse=True)))

_WORDS: Final = (
    ("NUMBER", "a value"),
    ("EQ", "a comparison"),
    ("PLUS", "an arithmetic operator"),
    ("IN", "IN"),
    ("GLOB", "GLOB"),
    ("OVERLAPS", "OVERLAPS"),
    ("IS", "IS"),
    ("AND", "AND"),
    ("OR", "OR"),
    ("COMMA", "','"),
    ("RPAR", "')'"),
    ("LPAR", "'('"),
    ("NULL", "NULL"),
    ("NOT", "NOT"),
    (END, "the end"),
)


class Mistake(NamedTuple):
    """A sentence, the place that it is about, and what to write there."""

    sentence: str
    start: int
    end: int
    suggestion: str = ""


def explain(text: str, error: UnexpectedInput) -> ExpressionSyntaxError:
    """Say what is wrong at the place where the grammar stopped.

    Parameters
    ----------
    text : str
        The expression.
    error : lark.exceptions.UnexpectedInput
        What lark raised.

    Returns
    -------
    ExpressionSyntaxError
        To be raised.
    """
    token: Token | None = getattr(error, "token", None)
    ended = token is not None and token.type == END
    start = len(text) if ended else int(getattr(error, "pos_in_stream", 0))
    parser = grammar().parse_interactive(text[:start])
    before = list(parser.exhaust_lexer())
    accepts: set[str] = parser.accepts()
    expected = _words(accepts)
    if token is None:
        mistake = _unreadable(text, start, before)
    elif ended:
        mistake = _ended(before, accepts)
    else:
        mistake = _misplaced(text, token, before, accepts)
    if mistake is None:
        found = text[start] if token is None else str(token)
        mistake = Mistake(
            f"{_quote(found)} does not fit here; expected {_joined(expected)}.",
            start,
            start + len(found),
        )
    return ExpressionSyntaxError(
        mistake.sentence,
        mistake.start,
        mistake.end,
        expected=expected,
        suggestion=mistake.suggestion,
    )


def _unreadable(text: str, start: int, before: Sequence[Token]) -> Mistake | None:
    """Explain characters that begin nothing."""
    rest = text[start:]
    if rest[0] == "'":
        line = rest.partition("\n")[0]
        return Mistake(
            "This string is never closed; put a ' at its end "
            "(inside a string two of them stand for one).",
            start,
            start + len(line),
        )
    if quoted := re.match("""["“”„`‘’´]([^"“”„`‘’´'\n]*)["“”„`‘’´]?""", rest):
        time = before and before[-1].end_pos == start and str(before[-1]) in ("T", "t")
        instead = f"{'T' * bool(time)}'{quoted[1]}'"
        return Mistake(
            f"Strings stand in single quotes; write {_shortened(instead)}.",
            start - bool(time),
            start + quoted.end(),
            instead,
        )
    if malformed := re.match(r"[0-9][\w.]*", rest):
        return Mistake(
            SPELLINGS[".."]
            if ".." in malformed[0]
            else f"{_quote(malformed[0])} is neither a number nor a name; "
            "names begin with a letter.",
            start,
            start + malformed.end(),
        )
    return _spelled(text, start)


def _ended(before: Sequence[Token], accepts: Collection[str]) -> Mistake | None:
    """Explain an expression that stops too early."""
    last = before[-1]
    start, end = _span(last)
    unclosed = _unclosed(before)
    if unclosed is not None and ("RPAR" in accepts or last is unclosed):
        return Mistake("This '(' is never closed.", *_span(unclosed))
    if "NUMBER" in accepts:
        return Mistake(
            f"The expression ends after {_quote(last)}, where a value should follow.", start, end
        )
    if (after := _after_keyword(before, accepts)) is not None:
        return after
    return Mistake(
        f"The expression ends after {_quote(last)}, "
        f"where {_joined(_words(accepts))} should follow.",
        start,
        end,
    )


def _misplaced(
    text: str, token: Token, before: Sequence[Token], accepts: Collection[str]
) -> Mistake | None:
    """Explain a token that is well formed and stands at the wrong place."""
    last = before[-1] if before else None
    start, end = _span(token)
    word = str(token).upper()
    for begin in (start - 1, start):
        if begin >= 0 and text[begin : begin + 2] in SPELLINGS:
            return _spelled(text, begin)
    if word in ("LIKE", "ILIKE", "RLIKE", "REGEXP", "SIMILAR", "MATCH", "MATCHES"):
        return _like(text, start, end)
    if word == "BETWEEN":
        return Mistake(
            "There is no BETWEEN; write x >= 1 AND x <= 5, or x IN (1..5) for integers.", start, end
        )
    if token.type == "RPAR" and _unclosed(before) is None:
        return Mistake("This ')' closes nothing; remove it, or open a '(' before it.", start, end)
    if token.type == "RANGE":
        return Mistake(
            f"A range such as {_quote(token)} stands only in the list of IN: "
            f"x IN ({_shortened(str(token))}).",
            start,
            end,
        )
    if (after := _after_keyword(before, accepts)) is not None:
        return after
    if "NUMBER" in accepts:
        return _value_missing(token, last)
    if token.type in COMPARISONS and "AND" in accepts:
        return Mistake(
            f"Comparisons do not chain; write a < b AND b < c, with AND before {_quote(token)}.",
            start,
            end,
        )
    if last is not None and last.type == "STRING" and last.end_pos == token.start_pos:
        return Mistake(
            "The string ends here; a single quote inside a string is written twice, as in 'it''s'.",
            end - len(token) - 1,
            end - len(token),
            "''",
        )
    if token.type in VALUES | {"NOT"} and last is not None and "AND" in accepts:
        return Mistake(
            f"Between {_quote(last)} and {_quote(token)} an operator is missing; "
            f"expected {_joined(_words(accepts))}.",
            start,
            end,
        )
    if token.type == "COMMA":
        return Mistake(
            "A comma stands only in the list of IN, between the two times of a timespan, "
            "or between the arguments of a function.",
            start,
            end,
        )
    return None


def _value_missing(token: Token, last: Token | None) -> Mistake:
    """Explain an operator, comma or parenthesis that stands where a value should."""
    start, end = _span(token)
    if token.type == "RPAR" and last is not None and last.type == "LPAR":
        return Mistake(
            "These parentheses are empty; a value or a condition stands inside.",
            _span(last)[0],
            end,
        )
    if last is None:
        return Mistake(f"A value is missing before {_quote(token)}.", start, end)
    return Mistake(f"A value is missing between {_quote(last)} and {_quote(token)}.", start, end)


def _after_keyword(before: Sequence[Token], accepts: Collection[str]) -> Mistake | None:
    """Explain what must follow IN, IS and NOT."""
    if not before or "NUMBER" in accepts:
        return None
    last = before[-1]
    start, end = _span(last)
    if last.type == "IN":
        return Mistake(
            "IN needs its list in parentheses: x IN (1, 5..20:2) or x IN (:ids).", start, end
        )
    if last.type == "IS" or [t.type for t in before[-2:]] == ["IS", "NOT"]:
        return Mistake(
            "IS stands only in IS NULL and IS NOT NULL; compare values with = or !=.", start, end
        )
    if last.type == "NOT":
        return Mistake(
            "After a value, NOT stands only before IN, GLOB and OVERLAPS; "
            "put it before the whole comparison: NOT x = 5.",
            start,
            end,
        )
    return None


def _like(text: str, start: int, end: int) -> Mistake:
    """Translate a pattern of LIKE into one of GLOB."""
    pattern = re.match(r"\s*('(?:[^']|'')*')", text[end:])
    if pattern is None or text[start:end].upper() not in ("LIKE", "ILIKE"):
        return Mistake(
            f"There is no {text[start:end].upper()}; use GLOB with the wildcards * and ?: "
            "name GLOB 'raw*'.",
            start,
            end,
        )
    instead = "GLOB " + pattern[1].replace("%", "*").replace("_", "?")
    return Mistake(
        f"There is no {text[start:end].upper()}; use GLOB with the wildcards * and ?: "
        f"{_shortened(instead)}.",
        start,
        end,
        instead,
    )


def _spelled(text: str, start: int) -> Mistake | None:
    """Explain an operator of another language."""
    match = _SPELLING.match(text, start)
    if match is None:
        return None
    return Mistake(SPELLINGS[match[0]], start, match.end(), INSTEAD.get(match[0], ""))


def _unclosed(before: Sequence[Token]) -> Token | None:
    """Find the innermost parenthesis that is open."""
    opened: list[Token] = []
    for token in before:
        if token.type == "LPAR":
            opened.append(token)
        elif token.type == "RPAR":
            opened.pop()
    return opened[-1] if opened else None


def _span(token: Token) -> tuple[int, int]:
    return int(token.start_pos or 0), int(token.end_pos or 0)


def _words(accepts: Collection[str]) -> tuple[str, ...]:
    """Say in words what the grammar takes; a value stands for everything that may begin one."""
    words = dict(_WORDS)
    if "NUMBER" in accepts:
        kept = [k for k in words if k in accepts and k in ("NUMBER", "RPAR", END)]
    else:
        # After a name an opening parenthesis would make a function of it, which nobody misses.
        kept = [k for k in words if k in accepts and not (k == "LPAR" and "AND" in accepts)]
    return tuple(words[k] for k in kept)


def _joined(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _quote(found: str) -> str:
    shown = _shortened(str(found))
    return shown if shown.startswith("'") else f"'{shown}'"


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:25]}...{text[-10:]}"
