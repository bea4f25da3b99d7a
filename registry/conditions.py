"""What do an expression and fixed keys say about the rows of some names?

A condition may name dimensions that the rows do not have, such as `tract` of an image: then one of
the tracts that it touches must fulfil the whole expression, and the row is still there once.  Such
conditions become one EXISTS, or IN where keys were found in Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.errors import InvalidDataId
from registry.expressions import compile_where, names, parse, terms
from registry.expressions.errors import UnrelatedDimension
from registry.expressions.nodes import Expression, Name, Overlaps, walk
from registry.identity import DIMENSIONS, DataId
from registry.joining import Joining
from registry.names import IMPLIED_BY, Names, dimensions_of
from registry.row_names import not_of_one_row
from registry.schema import dimensions as schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from registry.sky import Narrowing

__all__ = ["conditions_on", "dimensions_in", "narrowing_by"]


def conditions_on(
    rows: Names,
    where: str,
    bind: Mapping[str, Any] | None = None,
    data_id: Mapping[str, Any] | None = None,
) -> list[sa.ColumnElement[bool]]:
    """Give the conditions that rows fulfil.

    Parameters
    ----------
    rows : Names
        Of the rows.
    where, bind : str, mapping
        Expression, and its values.
    data_id : mapping, optional
        Keys that have these values.

    Raises
    ------
    ExpressionError
        If the expression cannot be used; among them `UnrelatedDimension`.
    InvalidDataId
        If nothing relates a fixed key to the rows.
    """
    bind = bind or {}
    expression = parse(where)
    fixed = DataId.of(data_id or {})
    beyond = {k for k in fixed if k in DIMENSIONS and not rows.reaches(k)}
    asked = terms(expression)
    own = [rows.column(k) == v for k, v in fixed.items() if k not in beyond]
    about_rows = _about_rows(rows, asked, bind)
    if about_rows and rows.rows is not None:
        for owner, about in about_rows.items():
            own.append(rows.rows.some_row(rows, owner, about, bind))
            asked = [term for term in asked if term not in about]
    parts = [(term, _missing(rows, names(term, bind))) for term in asked]
    wanted = {d for k in beyond for d in dimensions_of(k)}.union(*(missing for _, missing in parts))
    if not wanted and not about_rows:
        return [*own, compile_where(expression, rows, bind)] if where.strip() else own
    own += [compile_where(term, rows, bind) for term, missing in parts if not missing]
    if not wanted:
        return own
    inner = Names(None, {}, connection=rows.connection, outer=rows)
    joining = Joining(inner, wanted, set(rows.dimensions), narrowing_by(where, bind, fixed))
    lost = joining.unrelated()
    if lost is not None:
        raise _unrelated(rows, lost, expression)
    joining.run()
    rows.joined = True
    met = [(inner.column(d), rows.dimensions[d]) for d in _shared(rows, inner)]
    inside = [inner.column(k) == fixed[k] for k in beyond]
    inside += [compile_where(term, inner, bind) for term, missing in parts if missing]
    inside += inner.conditions
    if joining.listed and not inner.used_outer:
        here, there = zip(*met, strict=True)
        keys = sa.select(*here).select_from(inner.base).where(*inside)
        left = there[0] if len(there) == 1 else sa.tuple_(*there)
        return [*own, left.in_(keys)]
    if "instrument" in inner.dimensions and "instrument" not in rows.dimensions:
        # no condition, but a way into indexes, which begin with the instrument
        inside.append(inner.dimensions["instrument"].in_(sa.select(schema.instrument.c.name)))
    found: Any = sa.select(sa.literal_column("1")).select_from(inner.base)
    found = found.where(*(here == there for here, there in met), *inside)
    return [*own, found.correlate_except(*inner.tables).exists()]


def _about_rows(
    rows: Names, parts: Iterable[Expression], bind: Mapping[str, Any]
) -> dict[str, list[Expression]]:
    """Give the conditions that are about tables with many rows of a dataset, by what lies there."""
    found: dict[str, list[Expression]] = {}
    if rows.rows is None:
        return found
    for term in parts:
        used = names(term, bind)
        owners = rows.rows.with_many(used)
        if not owners:
            continue
        if len(owners) > 1 or _missing(rows, used):
            raise not_of_one_row(min(owners), term)
        found.setdefault(owners.pop(), []).append(term)
    return found


def dimensions_in(
    where: str, bind: Mapping[str, Any] | None = None, also: Iterable[str] = ()
) -> set[str]:
    """Give the dimensions that an expression and further names are about."""
    used = [*names(parse(where), bind or {}), *also]
    return {d for name in used for d in dimensions_of(name)}


def narrowing_by(
    where: str, bind: Mapping[str, Any] | None, data_id: Mapping[str, Any] | None
) -> Narrowing:
    """Give what every row fulfils of the columns of some dimensions alone."""

    def narrow(columns: Mapping[str, Any]) -> list[Any]:
        plain = Names(None, columns)
        found = [columns[k] == v for k, v in (data_id or {}).items() if k in columns]
        for term in terms(parse(where)):
            used = names(term, bind or {})
            of_regions = any(isinstance(node, Overlaps) for node in walk(term.root))
            if used and used <= set(columns) and not of_regions:
                found.append(compile_where(term, plain, bind or {}))
        return found

    return narrow


def _missing(rows: Names, used: Iterable[str]) -> set[str]:
    """Give the dimensions of what the rows have no single value of."""
    missing: set[str] = set()
    for name in used:
        element = name.partition(".")[0]
        of_rows = rows.rows is not None and rows.rows.knows(name)
        if name not in rows.fields and not of_rows and not rows.reaches(element):
            missing.update(dimensions_of(name))
    return missing


def _shared(rows: Names, inner: Names) -> list[str]:
    """Name the dimensions that hold an inner row and an outer one together."""
    both = [d for d in rows.dimensions if d in DIMENSIONS and inner.reaches(d)]
    return [
        d
        for d in both
        if d in inner.dimensions or not any(e in both for e in IMPLIED_BY.get(d, ()))
    ]


def _unrelated(rows: Names, name: str, expression: Expression) -> Exception:
    here = ", ".join(rows.dimensions) or "what has no key"
    of_sky = bool({"skymap", "tract", "patch"} & set(rows.dimensions))
    place = "name a visit or an exposure too, whose place on the sky does"
    hint = ""
    if name in ("skymap", "tract", "patch") and "instrument" in rows.dimensions:
        hint = f"; {place}"
        if set(rows.dimensions) & {"visit", "exposure"}:
            hint = "; name a tract or a patch of it too"
    elif of_sky and name != "healpix":
        hint = f"; {place}"
    sentence = f"Nothing relates '{name}' to {here}{hint}."
    for node in walk(expression.root):
        if isinstance(node, Name) and name in dimensions_of(node.name):
            return UnrelatedDimension(sentence, node.start, node.end).locate(expression.text)
    return InvalidDataId(sentence)
