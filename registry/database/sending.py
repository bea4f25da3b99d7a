"""How do many values go along with a statement?

As one table expression, from bound values: a JSON text on SQLite and MariaDB; an array for each
column on PostgreSQL, which reads it four times as fast and plans for as many rows as there are.
What is the same in all rows goes once, where a database takes one value as it is.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.errors import UnstorableValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["rows_of", "table_of"]

_TEXT = sa.String()
_ARRAYS = {
    sa.String: "text",
    sa.BigInteger: "bigint",
    sa.Double: "double precision",
    sa.Uuid: "uuid",
    sa.JSON: "text",
}
"""Type of PostgreSQL of each kind of value."""
_PATHS = {
    sa.String: "VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
    sa.BigInteger: "BIGINT",
    sa.Double: "DOUBLE",
    sa.Uuid: "CHAR(32)",
    sa.JSON: "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
}
"""Type of MariaDB."""


def rows_of(
    connection: sa.Connection,
    items: Sequence[Mapping[str, Any]],
    columns: Mapping[str, Any],
    name: str = "given",
) -> sa.Subquery:
    """Make a table expression of values, sent as bound parameters.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Says which database it is for.
    items : sequence of mappings
        The values by column name; a missing one is NULL.  UUIDs are sent as they are.
    columns : mapping
        SQLAlchemy type (String, BigInteger, Double, Uuid, or JSON given as text; as a class) of
        each column.
    name : str
        Alias of the table; two in one statement need two names.

    Returns
    -------
    sqlalchemy.Subquery
        With the columns named, and ``n``, the position from 0.
    """
    values = {c: (kind, [item.get(c) for item in items]) for c, kind in columns.items()}
    return table_of(connection, values, name)


def table_of(
    connection: sa.Connection,
    columns: Mapping[str, tuple[Any, Sequence[Any]]],
    name: str = "given",
) -> sa.Subquery:
    """Make the table expression of `rows_of` from whole columns.

    Parameters
    ----------
    columns : mapping
        By name the type, as `rows_of` takes it, and the values; all of one length.  A UUID may be
        given as its 32 hex digits too.
    """
    kinds = {c: kind for c, (kind, _) in columns.items()}
    once = _alike(columns) if connection.dialect.name != "mariadb" else {}
    sent = {
        c: [v if v is None or type(v) is str else f"{v.int:032x}" for v in values]
        if kind is sa.Uuid
        else values
        for c, (kind, values) in columns.items()
        if c not in once
    }
    texts: dict[str, Any] = {f"{name}_{c}": value for c, value in once.items()}
    if connection.dialect.name == "postgresql":
        texts |= {f"{name}_{c}": _array(values) for c, values in sent.items()}
        arrays = ", ".join(f"CAST(:{name}_{c} AS {_ARRAYS[kinds[c]]}[])" for c in sent)
        parts = {c: f"CAST(:{name}_{c} AS {_ARRAYS[kinds[c]]})" if c in once else c for c in kinds}
        taken = ", ".join(
            f"CAST({part} AS json) AS {c}" if kinds[c] is sa.JSON else f"{part} AS {c}"
            for c, part in parts.items()
        )
        body = (
            f"SELECT n - 1 AS n, {taken} "  # noqa: S608 (names are ours)
            f"FROM unnest({arrays}) WITH ORDINALITY AS r({', '.join(sent)}, n)"
        )
    else:
        texts[f"{name}_rows"] = _document(zip(*sent.values(), strict=True))
        if connection.dialect.name == "sqlite":
            # of the rows, so that no plan begins elsewhere with what it takes for a constant
            parts = {c: f"CASE WHEN key IS NOT NULL THEN :{name}_{c} END" for c in once}
            parts |= {c: f"value->>{i}" for i, c in enumerate(sent)}
            taken = ", ".join(f"{parts[c]} AS {c}" for c in kinds)
            body = f"SELECT key AS n, {taken} FROM json_each(:{name}_rows)"  # noqa: S608
        else:
            typed = ", ".join(
                f"{c} {_PATHS[kind]} PATH '$[{i}]'" for i, (c, kind) in enumerate(kinds.items())
            )
            taken = ", ".join(
                f"CAST({c} AS UUID) AS {c}" if kind is sa.Uuid else c for c, kind in kinds.items()
            )
            body = (
                f"SELECT n - 1 AS n, {taken} FROM "  # noqa: S608
                f"JSON_TABLE(:{name}_rows, '$[*]' COLUMNS (n FOR ORDINALITY, {typed})) AS r"
            )
    bound = (
        sa.bindparam(k, v, sa.BigInteger if isinstance(v, int) else sa.String)
        for k, v in texts.items()
    )
    text = sa.text(body).bindparams(*bound)
    return text.columns(
        sa.column("n", sa.BigInteger),
        *(sa.column(c, _TEXT if kind is sa.JSON else kind()) for c, kind in kinds.items()),
    ).subquery(name)


def _alike(columns: Mapping[str, tuple[Any, Sequence[Any]]]) -> dict[str, Any]:
    """Give the value of each column that has only one; not of all columns, nor of a single row."""
    found = {
        c: getattr(values[0], "hex", values[0]) if kind is sa.Uuid else values[0]
        for c, (kind, values) in columns.items()
        if kind is not sa.Double  # in which 0 and -0 are the same
        and len(values) > 1
        and values[0] == values[-1]
        and values.count(values[0]) == len(values)
    }
    if len(found) == len(columns):
        found.popitem()
    return found


def _document(rows: Iterable[Sequence[Any]]) -> str:
    """Write rows as JSON."""
    try:
        text = json.dumps(list(rows), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        raise  # told where errors of drivers are
    except ValueError as error:
        raise _no_number() from error
    return text


def _array(values: Sequence[Any]) -> str:
    """Write values as PostgreSQL reads an array: what is no plain number in quotes."""
    kinds = set(map(type, values))
    if kinds <= {int}:
        return f"{{{','.join(map(str, values))}}}"
    if kinds == {str}:
        joined = "\0".join(values)
        if not ('"' in joined or "\\" in joined or joined.count("\0") >= len(values)):
            return '{"' + joined.replace("\0", '","') + '"}'
    if any(isinstance(v, float) and not math.isfinite(v) for v in values):
        raise _no_number()
    return f"{{{','.join(map(_element, values))}}}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _no_number() -> UnstorableValue:
    return UnstorableValue("NaN and infinity are no numbers that a database takes here.")
