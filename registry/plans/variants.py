"""Which quanta of a task have a configuration of their own, by their data IDs?

A task is configured by expressions as well as as a whole: a quantum has what all the expressions
say that its data ID fulfils.  `combinations` tells which of them hold together, `assign` writes for
each quantum the variant that goes with its own.  Both are one statement for all quanta; how a
variant is configured is in `workflow.variants`, and recorded in `registry.provenance.variants`.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.conditions import conditions_on
from registry.database import analyze_grown
from registry.expressions import NoRegion, UnrelatedDimension, parse
from registry.expressions.nodes import Name, walk
from registry.identity import DIMENSIONS
from registry.joining import NeedsConnection
from registry.names import dimensions_of, names_of_data_ids
from registry.schema.identity import data_id
from registry.schema.provenance import quantum, quantum_variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from registry.plans.tasks import PlannedTask

__all__ = ["assign", "check_selection", "combinations"]

_MEET = frozenset({"instrument", "exposure", "visit", "skymap", "tract", "patch"})
"""Dimensions that meet each other: an exposure belongs to a visit, and both touch patches."""
_BITS = 62
"""So many expressions are told in one number."""
_CASES = 1000
"""So many variants are written by one statement: a list of cases is quicker than a join."""


def check_selection(dimensions: Sequence[str], where: str) -> None:
    """Refuse an expression that no data ID of some dimensions could be asked.

    It may be about what the data ID determines, and about what an observation and a part of the sky
    have in common; a whole exposure has no detector. What depends on the sky, or on keys that a
    camera declares, is compared by a registry only.

    Raises
    ------
    ExpressionError
        If it has a mistake, or is about something else.
    """
    rows = names_of_data_ids(data_id, data_id, dimensions)
    if set(dimensions) <= set(DIMENSIONS):
        with contextlib.suppress(NoRegion, NeedsConnection):
            conditions_on(rows, where)
    expression = parse(where)
    for node in walk(expression.root):
        about = dimensions_of(node.name) if isinstance(node, Name) else ()
        beyond = [d for d in about if not rows.reaches(d)]
        if (
            isinstance(node, Name)
            and beyond
            and not (_MEET & set(dimensions) and {*beyond} <= _MEET)
        ):
            raise UnrelatedDimension(
                f"The data ID of a quantum has {', '.join(dimensions) or 'no keys'}, and no "
                f"'{beyond[0]}' that could choose a configuration.",
                node.start,
                node.end,
            ).locate(where)


def combinations(
    connection: sa.Connection, task: PlannedTask, expressions: Sequence[str]
) -> dict[tuple[int, ...], int]:
    """Tell which expressions hold together for quanta of a task that are planned.

    Parameters
    ----------
    expressions : sequence of str
        Conditions on data IDs.

    Returns
    -------
    dict
        Places of expressions that hold together, and no others with them, to the number of quanta.

    Raises
    ------
    ExpressionError
        If one of them cannot be used.
    """
    fulfilled = _fulfilled(connection, task, expressions)
    words = [column for column in fulfilled.c if column.name != "id"]
    rows = connection.execute(sa.select(*words, sa.func.count()).group_by(*words))
    return dict(sorted((_places(found), int(n)) for *found, n in rows))


def assign(
    connection: sa.Connection,
    task: PlannedTask,
    expressions: Sequence[str],
    variants: Mapping[tuple[int, ...], int],
) -> None:
    """Give quanta their variants.

    Parameters
    ----------
    expressions : sequence of str
        As for `combinations`.
    variants : mapping
        Key of the variant by the places of the expressions that hold.
    """
    fulfilled = _fulfilled(connection, task, expressions)
    words = [column for column in fulfilled.c if column.name != "id"]
    cases = [
        (sa.and_(*(c == w for c, w in zip(words, _words(places, len(words)), strict=True))), key)
        for places, key in variants.items()
    ]
    for start in range(0, len(cases), _CASES):
        variant = sa.case(*cases[start : start + _CASES]).label("variant")
        told = sa.select(fulfilled.c.id, variant).subquery("told")
        chosen = sa.select(told).where(told.c.variant.is_not(None))
        done = connection.execute(
            sa.insert(quantum_variant).from_select(["quantum_id", "task_id"], chosen)
        )
        analyze_grown(connection, quantum_variant, done.rowcount)


def _words(places: Sequence[int], n: int) -> list[int]:
    """Write places as bits of numbers."""
    return [sum(1 << place % _BITS for place in places if place // _BITS == w) for w in range(n)]


def _places(words: Sequence[int]) -> tuple[int, ...]:
    """Read the places that `_words` wrote."""
    return tuple(
        w * _BITS + bit for w, word in enumerate(words) for bit in range(_BITS) if word >> bit & 1
    )


def _fulfilled(
    connection: sa.Connection, task: PlannedTask, expressions: Sequence[str]
) -> sa.Subquery:
    """Select the planned quanta that fulfil some expressions, with a bit for each of these.

    What the data ID alone answers is asked of all quanta in one pass; each expression that needs
    further tables has a pass of its own.
    """
    i = data_id.alias("i")
    base = quantum.join(i, i.c.id == quantum.c.data_id)
    planned = (quantum.c.task_id == task.id) & quantum.c.state.in_(("ready", "blocked"))
    n = -(-len(expressions) // _BITS)
    plain: list[list[Any]] = [[] for _ in range(n)]
    parts: list[sa.Select[Any]] = []
    for place, where in enumerate(expressions):
        names = names_of_data_ids(base, i, task.dimensions, None, connection)
        conditions = conditions_on(names, where)
        bit = 1 << place % _BITS
        if names.base is base and not names.joined:
            plain[place // _BITS].append(sa.case((sa.and_(*conditions), bit), else_=0))
            continue
        words = [bit if w == place // _BITS else 0 for w in range(n)]
        parts.append(
            _with_words([sa.literal(word, sa.BigInteger) for word in words])
            .select_from(names.base)
            .where(planned, *conditions)
            .distinct()
        )
    if any(plain):
        sums = [functools.reduce(operator.add, w, sa.literal(0, sa.BigInteger)) for w in plain]
        parts.append(_with_words(sums).select_from(base).where(planned))
    every = sa.union_all(*parts).subquery("every")
    words_of = [sa.cast(sa.func.sum(c), sa.BigInteger) for c in every.c if c.name != "id"]
    told = (
        sa.select(every.c.id, *(w.label(f"w{n}") for n, w in enumerate(words_of)))
        .group_by(every.c.id)
        .subquery("told")
    )
    some = sa.or_(*(c != 0 for c in told.c if c.name != "id"))
    return sa.select(told).where(some).subquery("fulfilled")


def _with_words(words: Sequence[Any]) -> sa.Select[Any]:
    return sa.select(
        quantum.c.id, *(sa.cast(w, sa.BigInteger).label(f"w{n}") for n, w in enumerate(words))
    )
