"""Which named questions are there, and what do they answer on a repository?

Each is a file under ``sql/queries`` in plain SQL that runs on every database; its header says the
question, who asks it, and its parameters with the values that fit the demo repository.  Questions
that take no parameters and that many ask are views (`registry.reports`).
"""

from __future__ import annotations

import functools
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import deploy
from registry.database import standard_strings, with_timestamps, with_types
from registry.errors import RegistryError, UnknownName, did_you_mean
from registry.reports import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd

__all__ = [
    "TYPES",
    "BadParameter",
    "Parameter",
    "Question",
    "UnknownQuestion",
    "questions",
    "read",
    "run",
    "statement",
]


class UnknownQuestion(UnknownName):
    """There is no named question of this name."""

    code = "unknown-question"
    kind = "question"
    remedy = "`skyspine query` lists them."


class BadParameter(RegistryError, ValueError):
    """A parameter of a named question is unknown, or its value is not of the type."""

    code = "bad-parameter"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a question, with the value that fits the demo repository."""

    name: str
    type: str
    example: str
    doc: str

    def value(self, given: Any) -> Any:
        """Convert what was given, as text or as it is."""
        try:
            return _CONVERT[self.type](given)
        except (TypeError, ValueError) as error:
            raise BadParameter(
                f"'{given}' is not a value for {self.name} ({self.doc}): it is of type {self.type}."
            ) from error


@dataclass(frozen=True, slots=True)
class Question:
    """A named question.

    Parameters
    ----------
    name : str
        Name of its file.
    question : str
        In words.
    asked_by : str
        Who asks it, and when.
    reads : str
        ``by key`` when its cost depends on what it answers, ``whole tables`` when on their size.
    parameters : tuple of Parameter
        In the order of the header.
    sql : str
        The statement, with ``:name`` for parameters.
    """

    name: str
    question: str
    asked_by: str
    reads: str
    parameters: tuple[Parameter, ...]
    sql: str


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "text": str,
    "integer": int,
    "double": float,
    "uuid": lambda given: given if isinstance(given, uuid.UUID) else uuid.UUID(str(given)),
}
TYPES: dict[str, Any] = {
    "text": sa.String(),
    "integer": sa.BigInteger(),
    "double": sa.Double(),
    "uuid": sa.Uuid(),
}
"""Types that a parameter may have."""
_PARAMETER = re.compile(
    r"--   (?P<name>\w+) +(?P<type>text|integer|double|uuid) +(?P<example>'[^']*'|\S+) +(?P<doc>.+)"
)
_HEX = re.compile(r"[0-9a-f]{32}")


@functools.cache
def questions() -> dict[str, Question]:
    """Read all named questions, by name."""
    return {path.stem: _parse(path.stem, path.read_text("utf-8")) for path in deploy.query_files()}


def _parse(name: str, text: str) -> Question:
    lines = text.splitlines()
    header = [line for line in lines if line.startswith("--")]
    facts = dict(
        line.removeprefix("-- ").split(": ", 1)
        for line in header[1:]
        if re.match(r"-- \w", line) and not line.endswith(":")
    )
    found = [_PARAMETER.fullmatch(line) for line in header if line.startswith("--   ")]
    if None in found or {"Asked by", "Reads"} - facts.keys() or not header[0].endswith("?"):
        raise RegistryError(f"The header of sql/queries/{name}.sql does not say what it must.")
    return Question(
        name,
        header[0].removeprefix("-- "),
        facts["Asked by"],
        facts["Reads"],
        tuple(
            Parameter(p["name"], p["type"], p["example"].strip("'"), p["doc"]) for p in found if p
        ),
        "\n".join(line for line in lines if not line.startswith("--")).strip(),
    )


def read(name: str) -> Question:
    """Look a question up.

    Raises
    ------
    UnknownQuestion
        With the nearest names.
    """
    if name not in questions():
        raise UnknownQuestion(name, questions())
    return questions()[name]


def statement(question: Question, values: Mapping[str, Any], dialect: str) -> sa.TextClause:
    """Write a question for one database, its parameters bound.

    Raises
    ------
    BadParameter
        If a parameter is unknown or missing, or a value is not of its type.
    """
    known = {p.name: p for p in question.parameters}
    for name in values:
        if name not in known:
            raise BadParameter(
                f"'{question.name}' has no parameter '{name}'.{did_you_mean(name, known)}"
            )
    absent = [p for p in question.parameters if p.name not in values]
    if absent:
        wanted = ", ".join(f"{p.name} ({p.doc}), for example {p.example}" for p in absent)
        raise BadParameter(f"'{question.name}' needs a value for {wanted}.")
    dialect = "mariadb" if dialect == "mysql" else dialect
    text = with_types(with_timestamps(question.sql, dialect), dialect)
    return sa.text(text).bindparams(
        *(sa.bindparam(n, p.value(values[n]), TYPES[p.type]) for n, p in known.items())
    )


def run(connection: sa.Connection, name: str, **values: Any) -> pd.DataFrame:
    """Answer a named question.

    Parameters
    ----------
    name : str
        One of `questions`.
    **values
        Its parameters, as text or as they are.

    Raises
    ------
    UnknownQuestion, BadParameter
        With what is known.
    """
    import pandas as pd

    asked = statement(read(name), values, connection.dialect.name)
    before, after = standard_strings(connection.dialect.name)
    for preparation in before:
        connection.exec_driver_sql(preparation)
    try:
        result = connection.execute(asked)
        names = list(result.keys())
        rows = [tuple(_told(n, v) for n, v in zip(names, row, strict=True)) for row in result]
    finally:
        for repair in after:
            connection.exec_driver_sql(repair)
    return pd.DataFrame(rows, columns=names, dtype=object)


def _told(name: str, value: Any) -> Any:
    """Show identities alike: SQLite keeps them as 32 digits."""
    if name.endswith("_id") and isinstance(value, str) and _HEX.fullmatch(value):
        return str(uuid.UUID(value))
    return plain(value)
