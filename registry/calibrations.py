"""Which calibration holds for these data at this time?

Verbs: certify and decertify with validity ranges.  Questions: the calibrations for many
observations at once, and what is nearest when there is none.  Table and invariant:
`registry.schema.calibrations`.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import collections as coll
from registry.database import CHUNK, account, insert_rows, kind_of, rows_of, utc_now
from registry.datasets import get_refs, insert_data_ids
from registry.errors import CollectionTypeError, InvalidDataId, ValidityOverlap
from registry.identity import DataId, DatasetRef, DatasetType
from registry.schema.calibrations import calibration
from registry.schema.collections import collection
from registry.schema.identity import data_id, dataset_type
from registry.timespan import BEGINNING, END, Timespan, iso

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["certify", "certify_each", "decertify", "find_calibrations", "nearest", "validity_of"]


def certify(
    connection: sa.Connection, name: str, refs: Sequence[DatasetRef], timespan: Timespan
) -> None:
    """Declare that calibrations hold over one range of time.

    Parameters
    ----------
    name : str
        A CALIBRATION collection; it is registered when it does not exist.
    refs : sequence of DatasetRef
        Datasets of calibration types; each holds for its data ID without exposure, visit and
        day_obs.
    timespan : Timespan
        Half open; stored to the microsecond.

    Raises
    ------
    ValidityOverlap
        If another calibration of the same key holds in a part of the range; both are named.
    CollectionTypeError
        If the collection is of another type.
    InvalidDataId
        If a dataset type is not a calibration type.
    """
    certify_each(connection, name, [(ref, timespan) for ref in refs])


def certify_each(
    connection: sa.Connection, name: str, ranges: Sequence[tuple[DatasetRef, Timespan]]
) -> None:
    """Declare that calibrations hold, each over a range of its own; see `certify`."""
    coll.register(connection, name, "CALIBRATION")
    target = coll.get_collection(connection, name, lock=True)
    for ref, _ in ranges:
        if not ref.dataset_type.is_calibration:
            raise InvalidDataId(
                f"{ref.dataset_type.name} is not a calibration type, so it cannot be certified; "
                "register it with is_calibration=True."
            )
    lookups = [ref.data_id.subset(ref.dataset_type.lookup_dimensions) for ref, _ in ranges]
    keys = insert_data_ids(connection, lookups)
    type_ids = _type_ids(connection, {ref.dataset_type.name for ref, _ in ranges})
    now, who = utc_now(), account()
    rows = [
        {
            "collection_id": target.id,
            "dataset_type_id": type_ids[ref.dataset_type.name],
            "data_id": keys[lookup],
            "dataset_id": ref.id,
            "valid_begin_tai_ns": span.bounds[0],
            "valid_end_tai_ns": span.bounds[1],
            "certified_at": now,
            "certified_by": who,
        }
        for (ref, span), lookup in zip(ranges, lookups, strict=True)
    ]
    try:
        with connection.begin_nested():
            insert_rows(connection, calibration, rows)
    except sa.exc.DBAPIError as error:
        if kind_of(error) != "overlap":
            raise
        raise ValidityOverlap(
            name, ranges[0][0].dataset_type.name, _overlapping(connection, ranges, rows)
        ) from error


def _type_ids(connection: sa.Connection, names: set[str]) -> dict[str, int]:
    rows = connection.execute(
        sa.select(dataset_type.c.name, dataset_type.c.id).where(dataset_type.c.name.in_(names))
    )
    return dict(rows.all())


def _overlapping(
    connection: sa.Connection,
    ranges: Sequence[tuple[DatasetRef, Timespan]],
    rows: Sequence[Mapping[str, Any]],
) -> list[tuple[str, str]]:
    """Name each new range and the old or new one that it overlaps."""
    columns = (
        "collection_id",
        "dataset_type_id",
        "data_id",
        "valid_begin_tai_ns",
        "valid_end_tai_ns",
    )
    given = rows_of(connection, rows, dict.fromkeys(columns, sa.BigInteger))
    same = sa.and_(
        *(calibration.c[c] == given.c[c] for c in columns[:3]),
        calibration.c.valid_begin_tai_ns < given.c.valid_end_tai_ns,
        given.c.valid_begin_tai_ns < calibration.c.valid_end_tai_ns,
    )
    found = connection.execute(
        sa.select(
            given.c.n,
            calibration.c.dataset_id,
            calibration.c.valid_begin_tai_ns,
            calibration.c.valid_end_tai_ns,
        ).join_from(given, calibration, same)
    ).all()
    old = get_refs(connection, [r.dataset_id for r in found])
    pairs = [
        (_shown(*ranges[n]), _shown(old[dataset_id], Timespan(begin, end)))
        for n, dataset_id, begin, end in found
    ]
    by_key: dict[tuple[int, int], list[int]] = {}
    for n, row in enumerate(rows):
        by_key.setdefault((row["dataset_type_id"], row["data_id"]), []).append(n)
    for members in by_key.values():
        members.sort(key=lambda n: ranges[n][1].bounds)
        for one, other in itertools.pairwise(members):
            if ranges[one][1].overlaps(ranges[other][1]):
                pairs.append((_shown(*ranges[other]), _shown(*ranges[one])))
    return pairs


def _shown(ref: DatasetRef, span: Timespan) -> str:
    return f"{ref.data_id!r} of '{ref.run}' over {span}"


def decertify(
    connection: sa.Connection,
    name: str,
    kind: DatasetType,
    timespan: Timespan,
    data_ids: Sequence[Mapping[str, Any]] | None = None,
) -> int:
    """Declare that calibrations do not hold over a range; what sticks out of it stays valid.

    Parameters
    ----------
    kind : DatasetType
        The type to decertify.
    data_ids : sequence of mappings, optional
        Only these, by the type's lookup dimensions; all by default.

    Returns
    -------
    int
        How many ranges were cut or removed.
    """
    target = coll.get_collection(connection, name, lock=True)
    if target.type != "CALIBRATION":
        raise CollectionTypeError(f"'{name}' is a {target.type} collection, not a CALIBRATION one.")
    begin, end = timespan.bounds
    type_id = _type_ids(connection, {kind.name}).get(kind.name)
    conditions: list[Any] = [
        calibration.c.collection_id == target.id,
        calibration.c.dataset_type_id == type_id,
        calibration.c.valid_begin_tai_ns < end,
        calibration.c.valid_end_tai_ns > begin,
    ]
    if data_ids is not None:
        wanted = [DataId.of(d).subset(kind.lookup_dimensions).key for d in data_ids]
        given = rows_of(connection, [{"k": k} for k in wanted], {"k": sa.String})
        keys = sa.select(data_id.c.id).join(given, given.c.k == data_id.c.identity_key)
        conditions.append(calibration.c.data_id.in_(keys))
    hit = connection.execute(sa.select(calibration).where(*conditions)).mappings().all()
    rests = []
    for row in hit:
        whole = {k: v for k, v in row.items() if k != "id"}
        if row["valid_begin_tai_ns"] < begin:
            rests.append({**whole, "valid_end_tai_ns": begin})
        if row["valid_end_tai_ns"] > end:
            rests.append({**whole, "valid_begin_tai_ns": end})
    gone = rows_of(connection, [{"k": row["id"]} for row in hit], {"k": sa.BigInteger})
    connection.execute(sa.delete(calibration).where(calibration.c.id.in_(sa.select(gone.c.k))))
    insert_rows(connection, calibration, rests)
    return len(hit)


def find_calibrations(
    connection: sa.Connection,
    kind: DatasetType,
    observations: Sequence[tuple[Mapping[str, Any], int]],
    collections: Sequence[coll.Collection],
) -> list[DatasetRef | None]:
    """Find the calibration that holds for each of many observations.

    Parameters
    ----------
    kind : DatasetType
        A calibration type.
    observations : sequence of (data ID, time)
        Data IDs with at least the type's lookup dimensions, and times [TAI ns since 1970].
    collections : sequence of Collection
        Searched in order; only CALIBRATION ones count.

    Returns
    -------
    list of DatasetRef or None
        In the same order; None where nothing holds.
    """
    searched = [c for c in collections if c.type == "CALIBRATION"]
    if not searched or not observations:
        return [None] * len(observations)
    dimensions = kind.lookup_dimensions
    places = {c.id: n for n, c in enumerate(searched)}
    best: dict[int, tuple[int, Any]] = {}
    for start in range(0, len(observations), CHUNK):
        part = observations[start : start + CHUNK]
        items = [{"k": DataId.of(d).subset(dimensions).key, "t": int(ns)} for d, ns in part]
        given = rows_of(connection, items, {"k": sa.String, "t": sa.BigInteger})
        holds = sa.and_(
            calibration.c.data_id == data_id.c.id,
            calibration.c.collection_id.in_(places),
            calibration.c.valid_begin_tai_ns <= given.c.t,
            calibration.c.valid_end_tai_ns > given.c.t,
        )
        rows = connection.execute(
            sa.select(given.c.n, calibration.c.collection_id, calibration.c.dataset_id)
            .join_from(given, data_id, data_id.c.identity_key == given.c.k)
            .join(calibration, holds)
            .join(dataset_type, dataset_type.c.id == calibration.c.dataset_type_id)
            .where(dataset_type.c.name == kind.name)
        )
        for n, collection_id, dataset_id in rows:
            found = (places[collection_id], dataset_id)
            if start + n not in best or found[0] < best[start + n][0]:
                best[start + n] = found
    refs = get_refs(connection, list({dataset_id for _, dataset_id in best.values()}))
    return [refs[best[n][1]] if n in best else None for n in range(len(observations))]


def nearest(
    connection: sa.Connection,
    kind: DatasetType,
    observation: Mapping[str, Any],
    at: int,
    collections: Sequence[coll.Collection],
) -> str:
    """Say what is nearest when no calibration holds at a time.

    Returns
    -------
    str
        A sentence for an error message.
    """
    searched = [c.id for c in collections if c.type == "CALIBRATION"]
    if not searched:
        return "No CALIBRATION collection was searched; name one, or certify into one first."
    key = DataId.of(observation).subset(kind.lookup_dimensions)
    mine = (
        sa.select(
            calibration.c.valid_begin_tai_ns, calibration.c.valid_end_tai_ns, collection.c.name
        )
        .join(data_id, data_id.c.id == calibration.c.data_id)
        .join(dataset_type, dataset_type.c.id == calibration.c.dataset_type_id)
        .join(collection, collection.c.id == calibration.c.collection_id)
        .where(
            data_id.c.identity_key == key.key,
            dataset_type.c.name == kind.name,
            calibration.c.collection_id.in_(searched),
        )
    )
    before = mine.where(calibration.c.valid_end_tai_ns <= at)
    after = mine.where(calibration.c.valid_begin_tai_ns > at)
    last = connection.execute(
        before.order_by(calibration.c.valid_end_tai_ns.desc()).limit(1)
    ).first()
    first = connection.execute(after.order_by(calibration.c.valid_begin_tai_ns).limit(1)).first()
    told = []
    if last is not None:
        told.append(f"the nearest before ends {iso(last[1])} ('{last[2]}')")
    if first is not None:
        told.append(f"the nearest after begins {iso(first[0])} ('{first[2]}')")
    if not told:
        return f"No {kind.name} is certified for {key!r} at any time."
    return f"No {kind.name} is valid at {iso(at)} TAI; {' and '.join(told)}."


def validity_of(
    connection: sa.Connection, kind: DatasetType, name: str
) -> list[tuple[DatasetRef, Timespan]]:
    """List the certified ranges of one type in one collection, by time."""
    rows = connection.execute(
        sa.select(
            calibration.c.dataset_id,
            calibration.c.valid_begin_tai_ns,
            calibration.c.valid_end_tai_ns,
        )
        .join(collection, collection.c.id == calibration.c.collection_id)
        .join(dataset_type, dataset_type.c.id == calibration.c.dataset_type_id)
        .where(collection.c.name == name, dataset_type.c.name == kind.name)
        .order_by(calibration.c.valid_begin_tai_ns, calibration.c.id)
    ).all()
    refs = get_refs(connection, list({r[0] for r in rows}))
    return [
        (refs[i], Timespan(None if b <= BEGINNING else b, None if e >= END else e))
        for i, b, e in rows
    ]
