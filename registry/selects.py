"""May a question that a person wrote in SQL be asked here?

A camera's definition may derive keys of data IDs by a SELECT on the repository's own tables.  Such
a text is let through when it is one SELECT of words that mean the same on every database.  How it
is run: `registry.select_answers`.
"""

from __future__ import annotations

import re

from registry.errors import RegistryError

__all__ = ["RefusedSelect", "bound_names", "check_select", "tokens_of"]

_FUNCTIONS = frozenset(
    """abs avg cast coalesce count dense_rank first_value floor lag last_value lead length lower max
    min mod nullif rank replace round row_number substr sum trim upper""".split()  # noqa: SIM905 (one a line is a page)
)
"""Functions that SQLite, PostgreSQL and MariaDB have under one name and with one meaning."""
_BEFORE_PARENTHESIS = frozenset(
    """all and any as between by case distinct else except exists filter from having in intersect is
    join not on or over partition select then union using values when where with""".split()  # noqa: SIM905
)
_REFUSED = {
    "into": "writes somewhere",
    "insert": "changes the database",
    "update": "changes the database, or locks rows",
    "delete": "changes the database",
    "merge": "changes the database",
    "create": "changes the database",
    "alter": "changes the database",
    "drop": "changes the database",
    "truncate": "changes the database",
    "grant": "changes the database",
    "pragma": "is of SQLite only",
    "attach": "is of SQLite only",
    "copy": "is of PostgreSQL only",
    "call": "is of MariaDB only",
    "lock": "locks rows",
    "share": "locks rows",
    "like": "tells upper and lower case apart on PostgreSQL and not on SQLite; compare substr(...)",
    "ilike": "is of PostgreSQL only",
    "glob": "is of SQLite only",
    "regexp": "differs between databases",
    "returning": "belongs to a change",
}
_TOKEN = re.compile(
    r"(?P<blank>\s+)|(?P<text>'(?:[^'\\]|'')*')|(?P<bind>:[A-Za-z_]\w*)|(?P<number>\d+(?:\.\d*)?)"
    r"|(?P<word>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)|(?P<sign><=|>=|<>|!=|-(?!-)|[+*=<>(),])"
)


class RefusedSelect(RegistryError, ValueError):
    """A text is no SELECT that may be run here."""

    code = "refused-select"


def tokens_of(text: str) -> list[tuple[str, str]]:
    """Take a query apart into kinds (text, bind, number, word, sign) and what stands there.

    Raises
    ------
    RefusedSelect
        If something is none of these.
    """
    tokens: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise RefusedSelect(
                f"The query has {text[at : at + 12]!r} at character {at + 1}, which does not mean "
                "the same on every database or is none of a SELECT: comments, ';', '/', '||', "
                "backslashes and quoted names are not taken."
            )
        if match.lastgroup != "blank":
            tokens.append((str(match.lastgroup), match[0]))
        at = match.end()
    return tokens


def check_select(text: str) -> None:
    """Make sure that a text is one SELECT that only asks, in words that every database has.

    Raises
    ------
    RefusedSelect
        With the word or sign that is wrong.
    """
    tokens = tokens_of(text)
    first = tokens[0][1].lower() if tokens else ""
    if first not in {"select", "with"}:
        raise RefusedSelect(f"The query begins with '{first}'; only one SELECT is taken.")
    depth = 0
    for (kind, word), (_, following) in zip(tokens, [*tokens[1:], ("", "")], strict=True):
        low = word.lower()
        depth += (word == "(") - (word == ")")
        if depth < 0:
            raise RefusedSelect("The query has a ')' without '('.")
        if kind != "word":
            continue
        if low in _REFUSED:
            raise RefusedSelect(f"The query has '{word}', which {_REFUSED[low]}.")
        called = following == "(" and low not in _BEFORE_PARENTHESIS
        if called and low not in _FUNCTIONS and not _names_a_table(tokens, word):
            raise RefusedSelect(
                f"The query calls {word}(...), which not every database has; it may call "
                f"{', '.join(sorted(_FUNCTIONS))}."
            )
    if depth:
        raise RefusedSelect("The query has a '(' that is not closed.")


def _names_a_table(tokens: list[tuple[str, str]], word: str) -> bool:
    """Tell whether a name with columns in parentheses is that of a WITH: ``WITH t (a, b) AS``."""
    for i, (_, text) in enumerate(tokens):
        if text == word and i and tokens[i - 1][1].lower() in {"with", ",", "recursive"}:
            closing = next((j for j, (_, t) in enumerate(tokens) if j > i and t == ")"), None)
            if closing is not None and tokens[closing + 1 : closing + 2] != []:
                return tokens[closing + 1][1].lower() == "as"
    return False


def bound_names(text: str) -> tuple[str, ...]:
    """Give the names of the values that a query takes, ``:instrument`` and the like, once each."""
    return tuple(dict.fromkeys(t[1:] for kind, t in tokens_of(text) if kind == "bind"))
