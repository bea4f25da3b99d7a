"""Which calibration is to be taken for these data, at the time of observation?

`find_calibrations` answers for one or many observations with the same statements, by the policy of
the type (`registry.calibrations.policies`).  Why it is this one is told by
`registry.calibrations.explaining`.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import dimensions
from registry.calibrations.facts import agreed, exposure_facts
from registry.calibrations.policies import SLACK, VALID, Policy, get_policy
from registry.database import CHUNK, many_objects, table_of, whole_columns
from registry.identity import DIMENSIONS, DataId, DatasetRef, DatasetType, refs_of
from registry.schema.calibrations import calibration, calibration_fact, calibration_policy
from registry.schema.collections import collection
from registry.schema.identity import data_id, dataset, dataset_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from registry.collections import Collection

__all__ = ["Observations", "find_calibrations", "lookup_sql", "observed", "step_into"]


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


@many_objects()
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
    if len(observations) == 1 and facts is None:
        answered, ref = _one(connection, kind, *observations[0], searched)
        if answered:
            return [ref]
    policy = get_policy(connection, kind)
    asked = observed(connection, kind, policy, observations, facts)
    while True:
        candidates = _candidates(connection, kind, policy, searched, asked)
        wanted = {candidate for *_, candidate in candidates}
        known = _certified(connection, kind, list(wanted))
        if wanted <= known.keys():
            return _best(policy, asked.times, candidates, known)
        # another process has cut a range since: what took its place is found anew


def _best(
    policy: Policy,
    times: Sequence[int],
    candidates: Sequence[tuple[int, int, int]],
    known: Mapping[int, tuple[DatasetRef, int, int]],
) -> list[DatasetRef | None]:
    """Choose for each observation among its candidates; see `rank_of`."""
    chosen: list[DatasetRef | None] = [None] * len(times)
    ranks: dict[int, tuple[Any, ...]] = {}
    valid_only, later = policy.selection == "valid", policy.selection == "nearest"
    reach = policy.reach()
    for n, place, candidate in candidates:
        ref, begin, end = known[candidate]
        at = times[n]
        if valid_only and not begin <= at < end:
            continue
        rank = (*rank_of(begin, end, at), place)
        if rank[2] and not later:
            continue
        if rank[1] <= reach and (n not in ranks or rank < ranks[n]):
            ranks[n], chosen[n] = rank, ref
    return chosen


def _candidates(
    connection: sa.Connection,
    kind: DatasetType,
    policy: Policy,
    searched: Sequence[int],
    asked: Observations,
) -> list[tuple[int, int, int]]:
    """List the observation's number, the collection's place and the key of a range."""
    places = {c: n for n, c in enumerate(searched)}
    parameters = {
        "kind": kind.name,
        "searched": list(places),
        **{f"tolerance{i}": t for i, t in enumerate(policy.match.values()) if t is not None},
    }
    ids = _data_ids(connection, list(set(asked.keys)))
    found: list[tuple[int, int, int]] = []
    for start in range(0, len(asked.keys), CHUNK):
        statement = lookup_sql(connection, policy, asked, ids, slice(start, start + CHUNK))
        rows = zip(*whole_columns(connection, statement, parameters), strict=True)
        found += [(start + n, places[c], one) for n, c, one in rows if one is not None]
    return found


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
    values_of = operator.itemgetter(*names) if names else lambda _: ()
    data_ids: Sequence[Mapping[str, Any]] = [d for d, _ in observations]
    times = [int(ns) for _, ns in observations]
    compare = bool(policy.match) and facts is None
    records: Mapping[Any, Mapping[str, Any]] = {}
    try:
        values = [values_of(d) for d in data_ids]
        incomplete = False
    except KeyError:
        incomplete = True
    if incomplete or compare:
        exposures = [d for d in data_ids if "instrument" in d and "exposure" in d]
        records = exposure_facts(connection, [(d["instrument"], d["exposure"]) for d in exposures])
    if incomplete:
        data_ids = _completed(connection, names, data_ids, records)
        values = [tuple([d.get(k) for k in names]) for d in data_ids]
    firsts = dict(zip(reversed(values), reversed(data_ids), strict=True))
    known = {v: _key(d, names) for v, d in firsts.items()}
    keys = [known[v] for v in values]
    if not policy.match:
        return Observations(keys, times, [])
    if facts is None:
        own = {key: agreed([record]) for key, record in records.items()}
        facts = [own.get((d.get("instrument"), d.get("exposure")), {}) for d, _ in observations]
    return Observations(
        keys, times, [{k: f[k] for k in policy.match if f.get(k) is not None} for f in facts]
    )


def _key(data_id: Mapping[str, Any], names: Sequence[str]) -> str:
    return DataId.of({k: data_id[k] for k in names if k in data_id}).subset(names).key


def _completed(
    connection: sa.Connection,
    names: Iterable[str],
    data_ids: Sequence[Mapping[str, Any]],
    records: Mapping[Any, Mapping[str, Any]],
) -> list[Mapping[str, Any]]:
    """Add the filter, the band and the declared keys that exposures imply."""
    told = []
    wanted = {*names, "instrument", "physical_filter"}
    for d in data_ids:
        record = records.get((d.get("instrument"), d.get("exposure")), {})
        known = {
            **(record.get("extra") or {}),
            "physical_filter": record.get("physical_filter"),
            **d,
        }
        told.append({k: known[k] for k in wanted if known.get(k) is not None})
    if "band" in names and any("band" not in d and "physical_filter" in d for d in told):
        return list(dimensions.expand(connection, told))
    return list(told)


_SEARCHED = collection.alias("searched")
_KIND_ID = (
    sa.select(dataset_type.c.id)
    .where(dataset_type.c.name == sa.bindparam("kind", type_=sa.String))
    .scalar_subquery()
)
_IN_SEARCHED = _SEARCHED.c.id.in_(sa.bindparam("searched", expanding=True))


def lookup_sql(
    connection: sa.Connection,
    policy: Policy,
    asked: Observations,
    ids: Mapping[str, int],
    part: slice = slice(None),
) -> Any:
    """Write the statement that `find_calibrations` runs for many observations.

    For each observation and collection it gives at most two ranges, each by one step into the
    index ``ix_calibration_lookup``: the last that begins before, and the first that begins after.

    Parameters
    ----------
    ids : mapping
        Rows of ``data_id`` by key.
    part : slice
        Of the observations.
    """
    columns: dict[str, tuple[Any, Sequence[Any]]] = {
        "d": (sa.BigInteger, [ids.get(key) for key in asked.keys[part]]),
        "t": (sa.BigInteger, asked.times[part]),
    }
    for i, name in enumerate(policy.match):
        values = [facts.get(name) for facts in asked.facts[part]]
        texts = [isinstance(value, str) for value in values]
        columns[f"v{i}"] = sa.Double, _where(values, texts, False)
        columns[f"x{i}"] = sa.String, _where(values, texts, True)
    given = table_of(connection, columns)
    named = {**dict(given.c), "c": _SEARCHED.c.id}
    sides = (False, True) if policy.selection == "nearest" else (False,)
    parts = [
        sa.select(given.c.n, _SEARCHED.c.id, step_into(policy, named, after, given)).where(
            # the first condition always holds: it says that all pairs are meant
            given.c.n >= -_SEARCHED.c.id,
            _IN_SEARCHED,
        )
        for after in sides
    ]
    return parts[0] if len(parts) == 1 else sa.union_all(*parts)


def _where(values: Sequence[Any], texts: Sequence[bool], wanted: bool) -> list[Any]:
    return [v if text is wanted else None for v, text in zip(values, texts, strict=True)]


def step_into(policy: Policy, values: Any, after: bool, *tables: Any) -> Any:
    """Write the step into the index: the key of the range next to an observation, in a subquery.

    Parameters
    ----------
    values : mapping
        Columns or values ``d`` (row of ``data_id``), ``t`` (time) and ``c`` (collection) of the
        observation, and ``v0``, ``x0``, ... its facts, as numbers and as texts; ``kind`` (key of
        the type) and ``tolerance0``, ... are parameters where they are left out.
    after : bool
        Whether the first range that begins after is meant, or the last that begins before.
    *tables
        Those that the columns are of.
    """
    one = calibration.alias("one")
    begin = one.c.valid_begin_tai_ns
    return (
        sa.select(one.c.id)
        .where(
            one.c.dataset_type_id == values.get("kind", _KIND_ID),
            one.c.data_id == values["d"],
            one.c.collection_id == values["c"],
            begin > values["t"] if after else begin <= values["t"],
            *(
                _agrees(one, values, i, name, tolerance)
                for i, (name, tolerance) in enumerate(policy.match.items())
            ),
        )
        .order_by(begin if after else begin.desc())
        .limit(1)
        .correlate(_SEARCHED, *tables)
        .scalar_subquery()
    )


_KEYS = sa.select(data_id.c.identity_key, data_id.c.id).where(
    data_id.c.identity_key.in_(sa.bindparam("keys", expanding=True))
)


def _data_ids(connection: sa.Connection, keys: Sequence[str]) -> dict[str, int]:
    """Look up data IDs by their identity; unknown ones are left out."""
    found: dict[str, int] = {}
    for start in range(0, len(keys), CHUNK):
        rows = connection.execute(_KEYS, {"keys": keys[start : start + CHUNK]})
        found.update(rows.all())
    return found


def _agrees(
    one: Any, values: Any, i: int, name: str, tolerance: float | None
) -> sa.ColumnElement[bool]:
    """Say that a calibration has a fact, and the observation the same within a tolerance."""
    fact = calibration_fact.c
    difference = sa.func.abs(fact.number_value - values[f"v{i}"])
    same: Any
    if tolerance is None:
        same = (fact.text_value == values[f"x{i}"]) | (difference <= SLACK)
    else:
        own = sa.bindparam(f"tolerance{i}", type_=sa.Double)
        same = difference <= values.get(f"tolerance{i}", own) + SLACK
    agreeing = sa.select(fact.name).where(
        fact.dataset_id == one.c.dataset_id, fact.name == name, same
    )
    return agreeing.correlate_except(calibration_fact).exists()


_RANGES = (
    sa.select(
        calibration.c.id,
        calibration.c.valid_begin_tai_ns,
        calibration.c.valid_end_tai_ns,
        dataset.c.id,
        sa.select(collection.c.name).where(collection.c.id == dataset.c.run_id).scalar_subquery(),
    )
    .join(dataset, dataset.c.id == calibration.c.dataset_id)
    .join(data_id, data_id.c.id == dataset.c.data_id)
)
_ranges: dict[tuple[str, ...], Any] = {}
_one_sql: dict[tuple[Any, ...], Any] = {}


def _ranges_sql(kind: DatasetType) -> Any:
    """Write the question for certified ranges with all that makes a reference."""
    statement = _ranges.get(kind.dimensions)
    if statement is None:
        columns = [data_id.c[d] for d in kind.dimensions if d in DIMENSIONS]
        if len(columns) < len(kind.dimensions):
            columns.append(data_id.c.extra)
        statement = _ranges[kind.dimensions] = _RANGES.add_columns(*columns)
    return statement


def _ref(kind: DatasetType, uuid: Any, run: str, values: Sequence[Any]) -> DatasetRef:
    items = dict(zip([d for d in kind.dimensions if d in DIMENSIONS], values, strict=False))
    if len(items) < len(kind.dimensions):
        extra = values[-1] or {}
        items |= {d: extra[d] for d in kind.dimensions if d not in DIMENSIONS}
    return DatasetRef(uuid, kind, DataId(items), run)


def _certified(
    connection: sa.Connection, kind: DatasetType, ids: Sequence[int]
) -> dict[int, tuple[DatasetRef, int, int]]:
    """Look up certified ranges: the calibration, and begin and end of its validity."""
    key, begin, end, id_, *more = _ranges_sql(kind).selected_columns
    columns = (key, begin, end, sa.type_coerce(id_, sa.String), *more)
    found: dict[int, tuple[DatasetRef, int, int]] = {}
    for start in range(0, len(ids), CHUNK):
        given = table_of(connection, {"k": (sa.BigInteger, ids[start : start + CHUNK])})
        statement = (
            _ranges_sql(kind)
            .join(given, given.c.k == calibration.c.id)
            .with_only_columns(*columns, maintain_column_froms=True)
        )
        keys, begins, ends, texts, runs, *values = whole_columns(connection, statement)
        refs = refs_of(kind, texts, runs, values)
        found.update(zip(keys, zip(refs, begins, ends, strict=True), strict=True))
    return found


def _one(
    connection: sa.Connection,
    kind: DatasetType,
    observation: Mapping[str, Any],
    at: int,
    searched: Sequence[int],
) -> tuple[bool, DatasetRef | None]:
    """Find the calibration for one observation by constant statements.

    The first asks for what is valid and for a policy; mostly it is the only one.

    Returns
    -------
    tuple
        Whether this is the answer: not when the policy compares facts, or keys are to be completed.
    """
    if any(d not in observation for d in kind.lookup_dimensions):
        return False, None
    parameters = {
        "kind": kind.name,
        "searched": searched,
        "k": _key(observation, kind.lookup_dimensions),
        "t": int(at),
    }
    many = len(searched) > 1
    if not many:
        parameters["c"] = searched[0]
    rows = connection.execute(_valid_sql(kind, many), parameters).all()
    policy = VALID if rows and rows[0][-1] is None else get_policy(connection, kind)
    if policy.match:
        return False, None
    if policy.selection != "valid" and not rows:
        rows = connection.execute(_around_sql(kind, many), parameters).all()
    candidates = [(0, searched.index(row[-2]), row[0]) for row in rows]
    known = {row[0]: (_ref(kind, row[3], row[4], row[5:-2]), row[1], row[2]) for row in rows}
    return True, _best(policy, [int(at)], candidates, known)[0]


def _of_one(kind: DatasetType, many: bool, after: bool, *conditions: Any) -> Any:
    """Write the question for the range next to one observation in each collection.

    What needs no join is no join: PostgreSQL would plan for longer than it works.
    """
    wanted = data_id.alias("wanted")
    key = sa.bindparam("k", type_=sa.String)
    values = {
        "d": sa.select(wanted.c.id).where(wanted.c.identity_key == key).scalar_subquery(),
        "t": sa.bindparam("t", type_=sa.BigInteger),
        "c": _SEARCHED.c.id if many else sa.bindparam("c", type_=sa.Integer),
    }
    step = calibration.c.id == step_into(VALID, values, after)
    policy = (
        sa.select(calibration_policy.c.dataset_type_id)
        .where(calibration_policy.c.dataset_type_id == calibration.c.dataset_type_id)
        .scalar_subquery()
    )
    statement = _ranges_sql(kind).add_columns(calibration.c.collection_id, policy)
    if not many:
        return statement.where(step, *conditions)
    of_searched = (_SEARCHED.c.id == calibration.c.collection_id) & step
    return statement.join(_SEARCHED, of_searched).where(_IN_SEARCHED, *conditions)


def _valid_sql(kind: DatasetType, many: bool) -> Any:
    form = ("valid", many, kind.dimensions)
    if form not in _one_sql:
        now = sa.bindparam("t", type_=sa.BigInteger)
        _one_sql[form] = _of_one(kind, many, False, calibration.c.valid_end_tai_ns > now)
    return _one_sql[form]


def _around_sql(kind: DatasetType, many: bool) -> Any:
    form = ("around", many, kind.dimensions)
    if form not in _one_sql:
        _one_sql[form] = sa.union_all(_of_one(kind, many, False), _of_one(kind, many, True))
    return _one_sql[form]
