"""Which calibration is to be taken for these data, at the time of observation?

`find_calibrations` answers for one or many observations with the same statements, by the policy of
the type (`registry.calibrations.policies`).  Why it is this one is told by
`registry.calibrations.explaining`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import dimensions
from registry.calibrations.facts import agreed, exposure_facts
from registry.calibrations.policies import SLACK, Policy, get_policy
from registry.database import CHUNK, rows_of
from registry.identity import DIMENSIONS, DataId, DatasetRef, DatasetType
from registry.schema.calibrations import calibration, calibration_fact
from registry.schema.collections import collection
from registry.schema.identity import data_id, dataset, dataset_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from registry.collections import Collection

__all__ = ["Observations", "find_calibrations", "lookup_sql", "observed"]


@dataclass(frozen=True, slots=True)
class Observations:
    """What calibrations are looked up for: three lists of one length.

    Parameters
    ----------
    keys : list of str
        Identity of the data ID by the type's lookup dimensions.
    times : list of int
        TAI ns since 1970.
    facts : list of mapping
        Circumstances that the policy compares, by name; those not known are left out.
    """

    keys: list[str]
    times: list[int]
    facts: list[Mapping[str, float | str]]


def find_calibrations(
    connection: sa.Connection,
    kind: DatasetType,
    observations: Sequence[tuple[Mapping[str, Any], int]],
    collections: Sequence[Collection],
    *,
    facts: Sequence[Mapping[str, Any]] | None = None,
) -> list[DatasetRef | None]:
    """Find the calibration to be taken for each of many observations.

    What is valid in the first collection that has something valid; else what the policy of the
    type allows, nearest first.  Of two that are equally near, the earlier one is taken; of those,
    the one in the first collection.

    Parameters
    ----------
    kind : DatasetType
        A calibration type.
    observations : sequence of (data ID, time)
        Data IDs with at least the type's lookup dimensions, or the exposure whose record tells
        them; and times [TAI ns since 1970].
    collections : sequence of Collection
        Searched in order; only CALIBRATION ones count.
    facts : sequence of mappings, optional
        For each observation, facts that a policy compares; by default those of its exposure.

    Returns
    -------
    list of DatasetRef or None
        In the same order; None where nothing may be taken.

    Raises
    ------
    InvalidDataId
        If a data ID lacks a lookup dimension, and no exposure tells it.
    """
    searched = [c.id for c in collections if c.type == "CALIBRATION"]
    if not searched or not observations:
        return [None] * len(observations)
    policy = get_policy(connection, kind)
    asked = observed(connection, kind, policy, observations, facts)
    statement = lookup_sql(connection, policy)
    document = json.dumps([{"c": c} for c in searched])
    reach = policy.reach()
    best: dict[int, tuple[tuple[Any, ...], int]] = {}
    for start in range(0, len(asked.keys), CHUNK):
        parameters = {
            "kind": kind.name,
            "searched_rows": document,
            "given_rows": _document(asked, policy, slice(start, start + CHUNK)),
            **{f"tolerance{i}": t for i, t in enumerate(policy.match.values()) if t is not None},
        }
        for n, place, candidate, begin, end in connection.execute(statement, parameters):
            at = asked.times[start + n]
            rank = (*rank_of(begin, end, at), place)
            found = best.get(start + n)
            if rank[1] <= reach and (found is None or rank < found[0]):
                best[start + n] = (rank, candidate)
    refs = _refs(connection, kind, {candidate for _, candidate in best.values()})
    return [refs[best[n][1]] if n in best else None for n in range(len(observations))]


def rank_of(begin: int, end: int, at: int) -> tuple[bool, int, bool]:
    """Say how good a range is for a moment: the least is the best.

    Returns
    -------
    tuple
        Whether it is not valid then; the distance to it [ns]; whether it comes after.
    """
    if begin > at:
        return True, begin - at, True
    return (True, at - end, False) if end <= at else (False, 0, False)


def observed(
    connection: sa.Connection,
    kind: DatasetType,
    policy: Policy,
    observations: Sequence[tuple[Mapping[str, Any], int]],
    facts: Sequence[Mapping[str, Any]] | None = None,
) -> Observations:
    """Complete what is known of observations by the records of their exposures, where needed."""
    names = kind.lookup_dimensions
    data_ids: Sequence[Mapping[str, Any]] = [d for d, _ in observations]
    times = [int(ns) for _, ns in observations]
    incomplete = [d for d in data_ids if any(k not in d for k in names)]
    compare = policy.match and facts is None
    records: Mapping[Any, Mapping[str, Any]] = {}
    if incomplete or compare:
        records = exposure_facts(
            connection,
            {
                (d["instrument"], d["exposure"])
                for d in (data_ids if compare else incomplete)
                if "instrument" in d and "exposure" in d
            },
        )
    if incomplete:
        data_ids = _completed(connection, names, data_ids, records)
    keys: list[str] = []
    known: dict[tuple[Any, ...], str] = {}
    for d in data_ids:
        values = tuple([d.get(k) for k in names])
        key = known.get(values)
        if key is None:
            key = known[values] = DataId.of(d).subset(names).key
        keys.append(key)
    if not policy.match:
        return Observations(keys, times, [])
    if facts is None:
        own = {key: agreed([record]) for key, record in records.items()}
        facts = [own.get((d.get("instrument"), d.get("exposure")), {}) for d in data_ids]
    return Observations(
        keys, times, [{k: f[k] for k in policy.match if f.get(k) is not None} for f in facts]
    )


def _completed(
    connection: sa.Connection,
    names: Iterable[str],
    data_ids: Sequence[Mapping[str, Any]],
    records: Mapping[Any, Mapping[str, Any]],
) -> list[Mapping[str, Any]]:
    """Add the filter, the band and the declared keys that exposures imply."""
    told = []
    for d in data_ids:
        record = records.get((d.get("instrument"), d.get("exposure")), {})
        facts = {**(record.get("extra") or {}), "physical_filter": record.get("physical_filter")}
        told.append({**{k: facts[k] for k in names if facts.get(k) is not None}, **d})
    if "band" in names and any("band" not in d and "physical_filter" in d for d in told):
        return list(dimensions.expand(connection, told))
    return list(told)


def _document(asked: Observations, policy: Policy, part: slice) -> str:
    """Write observations as the JSON that the statement takes for the table `given`."""
    rows = [{"k": k, "t": t} for k, t in zip(asked.keys[part], asked.times[part], strict=True)]
    for row, facts in zip(rows, asked.facts[part], strict=False):
        for i, name in enumerate(policy.match):
            value = facts.get(name)
            if value is not None:
                row[f"{'x' if isinstance(value, str) else 'v'}{i}"] = value
    return json.dumps(rows, ensure_ascii=False)


_statements: dict[tuple[Any, ...], sa.Select[Any] | sa.CompoundSelect[Any]] = {}


def lookup_sql(connection: sa.Connection, policy: Policy) -> Any:
    """Write the statement of `find_calibrations`, once per database and form of policy.

    For each observation and collection it gives at most two candidates, each by one step into the
    index ``ix_calibration_lookup``: the last that begins before, and the first that begins after.
    """
    form = (
        connection.dialect.name,
        policy.selection,
        *(tolerance is None for tolerance in policy.match.values()),
        *policy.match,
    )
    if form not in _statements:
        _statements[form] = _write(connection, policy)
    return _statements[form]


def _write(connection: sa.Connection, policy: Policy) -> Any:
    columns: dict[str, Any] = {"k": sa.String, "t": sa.BigInteger}
    for i in range(len(policy.match)):
        columns |= {f"v{i}": sa.Double, f"x{i}": sa.String}
    given = rows_of(connection, [], columns, "given")
    searched = rows_of(connection, [], {"c": sa.BigInteger}, "searched")
    kind_id = (
        sa.select(dataset_type.c.id)
        .where(dataset_type.c.name == sa.bindparam("kind", type_=sa.String))
        .scalar_subquery()
    )

    def side(after: bool) -> sa.Select[Any]:
        one, chosen = calibration.alias("one"), calibration.alias("chosen")
        begin = one.c.valid_begin_tai_ns
        agreeing = [
            _agrees(one, given, i, name, tolerance)
            for i, (name, tolerance) in enumerate(policy.match.items())
        ]
        step = (
            sa.select(one.c.id)
            .where(
                one.c.dataset_type_id == kind_id,
                one.c.data_id == data_id.c.id,
                one.c.collection_id == searched.c.c,
                begin > given.c.t if after else begin <= given.c.t,
                *agreeing,
            )
            .order_by(begin if after else begin.desc())
            .limit(1)
            .correlate(data_id, searched, given)
            .scalar_subquery()
        )
        selected = (
            sa.select(
                given.c.n,
                searched.c.n.label("place"),
                chosen.c.id,
                chosen.c.valid_begin_tai_ns,
                chosen.c.valid_end_tai_ns,
            )
            .join_from(given, data_id, data_id.c.identity_key == given.c.k)
            .join(searched, sa.true())
            .join(chosen, (chosen.c.id == step) & (chosen.c.collection_id == searched.c.c))
        )
        if policy.selection == "valid":
            return selected.where(chosen.c.valid_end_tai_ns > given.c.t)
        return selected

    if policy.selection == "nearest":
        return sa.union_all(side(False), side(True))
    return side(False)


def _agrees(
    one: Any, given: sa.Subquery, i: int, name: str, tolerance: float | None
) -> sa.ColumnElement[bool]:
    """Say that a calibration has a fact, and the observation the same within a tolerance."""
    fact = calibration_fact.c
    difference = sa.func.abs(fact.number_value - given.c[f"v{i}"])
    same: Any
    if tolerance is None:
        same = (fact.text_value == given.c[f"x{i}"]) | (difference <= SLACK)
    else:
        same = difference <= sa.bindparam(f"tolerance{i}", type_=sa.Double) + SLACK
    return sa.exists().where(fact.dataset_id == one.c.dataset_id, fact.name == name, same)


_ref_statements: dict[tuple[Any, ...], sa.Select[Any]] = {}


def _refs(connection: sa.Connection, kind: DatasetType, ids: set[int]) -> dict[int, DatasetRef]:
    """Look up the datasets of rows of ``calibration``."""
    form = (connection.dialect.name, kind.dimensions)
    if form not in _ref_statements:
        given = rows_of(connection, [], {"c": sa.BigInteger})
        columns = [data_id.c[d] for d in kind.dimensions if d in DIMENSIONS]
        if len(columns) < len(kind.dimensions):
            columns.append(data_id.c.extra)
        _ref_statements[form] = (
            sa.select(given.c.c, dataset.c.id, collection.c.name, *columns)
            .join_from(given, calibration, calibration.c.id == given.c.c)
            .join(dataset, dataset.c.id == calibration.c.dataset_id)
            .join(collection, collection.c.id == dataset.c.run_id)
            .join(data_id, data_id.c.id == dataset.c.data_id)
        )
    if not ids:
        return {}
    document = json.dumps([{"c": i} for i in ids])
    found: dict[int, DatasetRef] = {}
    n_columns = sum(d in DIMENSIONS for d in kind.dimensions)
    for key, uuid, run, *values in connection.execute(
        _ref_statements[form], {"given_rows": document}
    ):
        items = dict(zip(kind.dimensions, values[:n_columns], strict=False))
        if len(values) > n_columns:
            extra = values[-1] or {}
            items |= {d: extra[d] for d in kind.dimensions[n_columns:]}
        found[key] = DatasetRef(uuid, kind, DataId(items), run)
    return found
