"""How does a statement make new UUIDs, and read the numbers and texts of a JSON column?

For INSERT ... SELECT, where no value comes from Python.  The dialects differ in every function that
this needs.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

__all__ = ["JsonNumber", "JsonText", "NewUuid", "joined"]


class joined(sa.sql.functions.FunctionElement[str]):  # noqa: N801 (functions of SQL are small)
    """The text that its arguments make one after the other; numbers are written as they are."""

    inherit_cache = True
    type = sa.String()
    name = "joined"


@compiles(joined)
def _joined_by_function(element: joined, compiler: Any, **how: Any) -> str:
    return f"concat({', '.join(_inner(compiler, part, how) for part in element.clauses)})"


@compiles(joined, "sqlite")
def _joined_by_bars(element: joined, compiler: Any, **how: Any) -> str:
    return f"({' || '.join(_inner(compiler, part, how) for part in element.clauses)})"


class NewUuid(sa.sql.expression.ColumnElement[Any]):
    """A UUID of version 7 (RFC 9562) for each row.

    Parameters
    ----------
    number : sqlalchemy.ColumnElement
        Of the row: the milliseconds since 1970 times 4096, and a count that goes on from row to
        row, so that the UUIDs sort as the rows are numbered.
    """

    inherit_cache = True
    type = sa.Uuid()
    _traverse_internals = [  # noqa: RUF012 (as SQLAlchemy declares it)
        ("number", sa.sql.visitors.InternalTraversal.dp_clauseelement)
    ]

    def __init__(self, number: sa.ColumnElement[int]) -> None:
        self.number = number


def _inner(compiler: Any, part: sa.ColumnElement[Any], how: dict[str, Any]) -> str:
    """Write a part of an expression, whose type is not that of the result."""
    passed = {k: v for k, v in how.items() if k != "add_to_result_map"}
    return str(compiler.process(part, **passed))


@compiles(NewUuid, "sqlite")
def _uuid_of_sqlite(element: NewUuid, compiler: Any, **how: Any) -> str:
    number = _inner(compiler, element.number, how)
    return (
        f"printf('%012x7%03x', ({number}) >> 12, ({number}) & 4095)"
        " || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(8))), 2)"
    )


@compiles(NewUuid, "postgresql")
def _uuid_of_postgresql(element: NewUuid, compiler: Any, **how: Any) -> str:
    number = _inner(compiler, element.number, how)
    # the tail of a random UUID, from its variant on, has the form that it has in one of version 7
    return (
        f"CAST(lpad(to_hex(({number}) >> 12), 12, '0') || '7' ||"
        f" lpad(to_hex(({number}) & 4095), 3, '0') ||"
        " substr(CAST(gen_random_uuid() AS text), 20) AS uuid)"
    )


@compiles(NewUuid, "mysql", "mariadb")
def _uuid_of_mariadb(element: NewUuid, compiler: Any, **how: Any) -> str:
    number = _inner(compiler, element.number, how)
    return (
        f"CAST(concat(lpad(lower(hex(({number}) >> 12)), 12, '0'), '7',"
        f" lpad(lower(hex(({number}) & 4095)), 3, '0'),"
        " elt(1 + floor(rand() * 4), '8', '9', 'a', 'b'),"
        " substr(lower(hex(random_bytes(8))), 2)) AS UUID)"
    )


class _JsonValue(sa.sql.expression.ColumnElement[Any]):
    """A value of an object in a JSON column, if it is of a kind; else NULL."""

    inherit_cache = True
    _traverse_internals = [  # noqa: RUF012 (as SQLAlchemy declares it)
        ("document", sa.sql.visitors.InternalTraversal.dp_clauseelement),
        ("name", sa.sql.visitors.InternalTraversal.dp_string),
    ]

    def __init__(self, document: sa.ColumnElement[Any], name: str) -> None:
        self.document = document
        self.name = name


class JsonNumber(_JsonValue):
    """A number; true counts as 1 and false as 0."""

    inherit_cache = True
    type = sa.Double()


class JsonText(_JsonValue):
    """A text."""

    inherit_cache = True
    type = sa.String()


def _value(element: _JsonValue, compiler: Any, how: Any) -> str:
    return _inner(compiler, element.document[element.name].as_string(), how)


@compiles(JsonNumber, "sqlite")
@compiles(JsonText, "sqlite")
def _json_of_sqlite(element: _JsonValue, compiler: Any, **how: Any) -> str:
    kinds = "'text'" if isinstance(element, JsonText) else "'integer', 'real', 'true', 'false'"
    document = _inner(compiler, element.document, how)
    path = _inner(compiler, sa.literal('$."' + element.name + '"', sa.String), how)
    return (
        f"CASE WHEN json_type({document}, {path}) IN ({kinds})"
        f" THEN json_extract({document}, {path}) END"
    )


@compiles(JsonNumber, "postgresql")
def _number_of_postgresql(element: JsonNumber, compiler: Any, **how: Any) -> str:
    value = _value(element, compiler, how)
    document = _inner(compiler, element.document, how)
    name = _inner(compiler, sa.literal(element.name, sa.String), how)
    return (
        f"CASE jsonb_typeof({document} -> {name}) WHEN 'number' THEN CAST({value} AS float8)"
        f" WHEN 'boolean' THEN CAST(({value} = 'true')::int AS float8) END"
    )


@compiles(JsonText, "postgresql")
def _text_of_postgresql(element: JsonText, compiler: Any, **how: Any) -> str:
    document = _inner(compiler, element.document, how)
    name = _inner(compiler, sa.literal(element.name, sa.String), how)
    value = _value(element, compiler, how)
    return f"CASE jsonb_typeof({document} -> {name}) WHEN 'string' THEN {value} END"


@compiles(JsonNumber, "mysql", "mariadb")
@compiles(JsonText, "mysql", "mariadb")
def _json_of_mariadb(element: _JsonValue, compiler: Any, **how: Any) -> str:
    document = _inner(compiler, element.document, how)
    path = _inner(compiler, sa.literal('$."' + element.name + '"', sa.String), how)
    kind = f"json_type(json_extract({document}, {path}))"
    value = f"json_unquote(json_extract({document}, {path}))"
    if isinstance(element, JsonText):
        return f"CASE WHEN {kind} = 'STRING' THEN {value} COLLATE utf8mb4_nopad_bin END"
    return (
        f"CASE WHEN {kind} IN ('INTEGER', 'DOUBLE', 'DECIMAL') THEN CAST({value} AS DOUBLE)"
        f" WHEN {kind} = 'BOOLEAN' THEN {value} = 'true' END"
    )
