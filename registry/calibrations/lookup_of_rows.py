"""Which calibration is to be taken for each row of a table expression?

The rule of `registry.calibrations.lookup.find_calibrations`, for observations that a statement
selects, as when quanta are planned: nothing is sent, nothing is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.calibrations.lookup import step_into
from registry.database import JsonNumber, JsonText, table_of
from registry.schema.calibrations import calibration
from registry.schema.collections import collection
from registry.schema.dimensions import exposure
from registry.schema.identity import dataset_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry.calibrations.policies import Policy
    from registry.collections import Collection
    from registry.identity import DatasetType

__all__ = ["agreed_facts", "ends_around", "held_sql"]


def held_sql(
    connection: sa.Connection,
    kind: DatasetType,
    policy: Policy,
    asked: sa.Subquery,
    collections: Sequence[Collection],
    facts: sa.Subquery | None = None,
) -> sa.Subquery | None:
    """Select the calibration to be taken for each row.

    Parameters
    ----------
    asked : Subquery
        With the columns ``asker`` (any identity), ``d`` (row of ``data_id`` by the type's lookup
        dimensions) and ``t`` (TAI ns since 1970).
    collections : sequence of Collection
        Searched in order; only CALIBRATION ones count.
    facts : Subquery, optional
        What `agreed_facts` gives, when the policy compares facts.

    Returns
    -------
    Subquery or None
        With the columns ``asker`` and ``dataset_id``; None without a collection.
    """
    searched = [c.id for c in collections if c.type == "CALIBRATION"]
    if not searched:
        return None
    places = table_of(connection, {"c": (sa.BigInteger, searched)}, "searched")
    base: Any = asked.join(places, sa.true())
    values = {"d": asked.c.d, "t": asked.c.t, "c": places.c.c, "kind": _key_of(kind)}
    for i, tolerance in enumerate(policy.match.values()):
        values[f"tolerance{i}"] = sa.literal(tolerance, sa.Double)
    correlated: list[Any] = [asked, places]
    if facts is not None:
        base = base.join(facts, facts.c.asker == asked.c.asker)
        values |= {f.name: f for f in facts.c}
        correlated.append(facts)
    begin, end = calibration.c.valid_begin_tai_ns, calibration.c.valid_end_tai_ns
    at = asked.c.t
    sides = (False, True) if policy.selection == "nearest" else (False,)
    distance = sa.case((begin > at, begin - at), (end <= at, at - end), else_=0)
    invalid = sa.case((begin > at, 1), (end <= at, 1), else_=0)
    reach = policy.reach()
    parts = [
        sa.select(
            asked.c.asker,
            calibration.c.dataset_id,
            invalid.label("invalid"),
            distance.label("distance"),
            sa.literal(int(after)).label("later"),
            places.c.n.label("place"),
        )
        .select_from(
            base.join(
                calibration, calibration.c.id == step_into(policy, values, after, *correlated)
            )
        )
        .where(distance <= sa.literal(reach, sa.BigInteger))
        .where(*([end > at] if policy.selection == "valid" else []))
        for after in sides
    ]
    near = (parts[0] if len(parts) == 1 else sa.union_all(*parts)).subquery("near")
    best = sa.func.row_number().over(
        partition_by=near.c.asker,
        order_by=(near.c.invalid, near.c.distance, near.c.later, near.c.place),
    )
    ranked = sa.select(near.c.asker, near.c.dataset_id, best.label("nth")).subquery("ranked")
    return sa.select(ranked.c.asker, ranked.c.dataset_id).where(ranked.c.nth == 1).subquery("held")


def _key_of(kind: DatasetType) -> Any:
    return sa.select(dataset_type.c.id).where(dataset_type.c.name == kind.name).scalar_subquery()


def agreed_facts(observed: sa.Subquery, policy: Policy) -> sa.Subquery:
    """Select the facts that the exposures of each row have in common, as a policy names them.

    See `registry.calibrations.facts.agreed`: means of numbers, and texts that all share.

    Parameters
    ----------
    observed : Subquery
        With the columns ``quantum_id``, ``instrument`` and ``exposure``.

    Returns
    -------
    Subquery
        ``asker``, and ``v0``, ``x0``, ``v1``, ... for the facts in the order of the policy:
        the number, and the text.
    """
    e = exposure.alias("observation")
    columns: list[Any] = [observed.c.quantum_id.label("asker")]
    for i, name in enumerate(policy.match):
        number: Any
        text: Any
        if name in e.c:
            textual = isinstance(e.c[name].type, sa.String)
            number = sa.null() if textual else e.c[name]
            text = e.c[name] if textual else sa.null()
        else:
            number, text = JsonNumber(e.c.extra, name), JsonText(e.c.extra, name)
        columns += [_mean_of_all(number).label(f"v{i}"), _text_of_all(text).label(f"x{i}")]
    same = (e.c.instrument == observed.c.instrument) & (e.c.id == observed.c.exposure)
    return (
        sa.select(*columns)
        .select_from(observed.join(e, same))
        .group_by(observed.c.quantum_id)
        .subquery("facts")
    )


def _mean_of_all(value: Any) -> Any:
    value = sa.cast(value, sa.Double)
    return sa.case((sa.func.count(value) == sa.func.count(), sa.func.avg(value)))


def _text_of_all(value: Any) -> Any:
    value = sa.cast(value, sa.String) if isinstance(value, sa.sql.elements.Null) else value
    one = (sa.func.count(value) == sa.func.count()) & (sa.func.min(value) == sa.func.max(value))
    return sa.case((one, sa.func.min(value)))


def ends_around(
    kind: DatasetType, asked: sa.Subquery, collections: Sequence[Collection]
) -> tuple[Any, Any]:
    """Give the end of the last calibration before each row, and the begin of the first after it.

    Whatever a policy says of them, in the CALIBRATION ones among some collections.
    """
    c = calibration.alias("around")
    among = [one.id for one in collections if one.type == "CALIBRATION"]
    own = (c.c.dataset_type_id == _key_of(kind)) & (c.c.data_id == asked.c.d)
    own &= c.c.collection_id.in_(sa.select(collection.c.id).where(collection.c.id.in_(among)))
    end, begin = c.c.valid_end_tai_ns, c.c.valid_begin_tai_ns
    before = sa.select(sa.func.max(end)).where(own, end <= asked.c.t)
    after = sa.select(sa.func.min(begin)).where(own, begin > asked.c.t)
    return (
        before.correlate(asked).scalar_subquery(),
        after.correlate(asked).scalar_subquery(),
    )
