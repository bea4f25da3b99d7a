"""Over which time is a calibration declared to hold?

Verbs: `certify` and `decertify`.  Question: `validity_of`.  What is found for an observation is in
`registry.calibrations.lookup`; how overlaps are resolved in `registry.calibrations.conflicts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import collections as coll
from registry.calibrations import conflicts
from registry.calibrations.facts import record_facts_for_policies
from registry.database import (
    CHUNK,
    account,
    analyze_outgrown,
    insert_rows,
    kind_of,
    rows_of,
    table_of,
    utc_now,
)
from registry.datasets import get_refs, insert_data_ids
from registry.errors import CollectionTypeError, InvalidDataId, ValidityOverlap
from registry.identity import DataId, DatasetRef, DatasetType
from registry.schema.calibrations import calibration
from registry.schema.collections import collection
from registry.schema.identity import data_id, dataset_type
from registry.timespan import BEGINNING, END, Timespan

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

__all__ = [
    "Overlap",
    "certify",
    "certify_again",
    "certify_each",
    "decertify",
    "refused",
    "validity_of",
]

_KEY = ("collection_id", "dataset_type_id", "data_id")
_BOUNDS = ("valid_begin_tai_ns", "valid_end_tai_ns")
_BULK = 5_000
"""From this many inserted rows on, the planner's statistics are refreshed."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two ranges of one key that share a moment.

    Parameters
    ----------
    new, old : DatasetRef
        The calibration that was to be certified, and the one that holds already or was given
        before it.
    new_span, old_span : Timespan
        Their validity.
    """

    new: DatasetRef
    new_span: Timespan
    old: DatasetRef
    old_span: Timespan

    @property
    def told(self) -> tuple[str, str]:
        """The two, for a message."""
        return (
            f"{self.new.data_id!r} of '{self.new.run}' over {self.new_span}",
            f"{self.old.data_id!r} of '{self.old.run}' over {self.old_span}",
        )


def certify(
    connection: sa.Connection,
    name: str,
    refs: Sequence[DatasetRef],
    timespan: Timespan,
    *,
    resolve: str | None = None,
) -> int:
    """Declare that calibrations hold over one range of time.

    To certify again what holds over the very same range already changes nothing.

    Parameters
    ----------
    name : str
        A CALIBRATION collection; it is registered when it does not exist.
    refs : sequence of DatasetRef
        Datasets of calibration types; each holds for its data ID without exposure, visit and
        day_obs.
    timespan : Timespan
        Half open; stored to the microsecond.
    resolve : {"latest", "earliest", "split"}, optional
        How to cut ranges that overlap; see `registry.calibrations.conflicts.RESOLUTIONS`.  What
        holds already counts as made before what is given, and of that each before the next.

    Returns
    -------
    int
        How many ranges of these calibrations hold now.

    Raises
    ------
    ValidityOverlap
        If another calibration of the same key holds in a part of the range, and ``resolve`` is not
        given; both are named.
    CollectionTypeError
        If the collection is of another type.
    InvalidDataId
        If a dataset type is not a calibration type.
    """
    return certify_each(connection, name, [(ref, timespan) for ref in refs], resolve=resolve)


def certify_each(
    connection: sa.Connection,
    name: str,
    ranges: Sequence[tuple[DatasetRef, Timespan]],
    *,
    resolve: str | None = None,
) -> int:
    """Declare that calibrations hold, each over a range of its own; see `certify`."""
    if resolve is not None and resolve not in conflicts.RESOLUTIONS:
        raise conflicts.UnknownResolution(resolve)
    coll.register(connection, name, "CALIBRATION")
    target = coll.get_collection(connection, name, lock=True)
    _check_certifiable(ranges)
    rows = _rows(connection, target, ranges)
    given = [_range(row, (1, n)) for n, row in enumerate(rows)]
    n_held = 0
    if resolve is not None:
        rows, n_held = _resolved(connection, rows, given, resolve)
    elif inside := [
        Overlap(*ranges[later], *ranges[earlier])
        for pair in conflicts.overlaps(given)
        for earlier, later in [sorted(pair)]
    ]:
        raise refused(name, [*inside, *_stored_overlaps(connection, ranges, rows)])
    try:
        with connection.begin_nested():
            _insert(connection, rows)
    except sa.exc.DBAPIError as error:
        if kind_of(error) != "overlap":
            raise
        found = _stored_overlaps(connection, ranges, rows)
        same = {
            (o.new.id, o.new_span.bounds)
            for o in found
            if o.new.id == o.old.id and o.new_span.bounds == o.old_span.bounds
        }
        if len(same) < len(found) or not same:
            raise refused(name, found, ranges[0][0].dataset_type.name) from error
        missing = [
            r
            for r, (ref, span) in zip(rows, ranges, strict=True)
            if (ref.id, span.bounds) not in same
        ]
        n_held = len(rows) - len(missing)
        rows = missing
        _insert(connection, rows)
    if len(rows) >= _BULK:
        analyze_outgrown(connection, calibration, n_new=len(rows))
    record_facts_for_policies(connection, [ref for ref, _ in ranges])
    made = {ref.id for ref, _ in ranges}
    return n_held + sum(row["dataset_id"] in made for row in rows)


def certify_again(
    connection: sa.Connection,
    name: str,
    ranges: Sequence[tuple[DatasetRef, Timespan, dt.datetime, str]],
) -> None:
    """Declare that calibrations hold as another registry says, with when and by whom.

    Parameters
    ----------
    name : str
        A CALIBRATION collection that exists.
    ranges : sequence of (DatasetRef, Timespan, datetime, str)
        None of them is stored already.

    Raises
    ------
    ValidityOverlap
        If another calibration of the same key holds in a part of a range.
    CollectionTypeError
        If the collection is of another type.
    InvalidDataId
        If a dataset type is not a calibration type.
    """
    target = coll.get_collection(connection, name, lock=True)
    if target.type != "CALIBRATION":
        raise CollectionTypeError(
            f"'{name}' is a {target.type} collection; certify into a CALIBRATION one."
        )
    spans = [(ref, span) for ref, span, _, _ in ranges]
    _check_certifiable(spans)
    rows = [
        {**row, "certified_at": at, "certified_by": by}
        for row, (_, _, at, by) in zip(_rows(connection, target, spans), ranges, strict=True)
    ]
    try:
        with connection.begin_nested():
            insert_rows(connection, calibration, rows)
    except sa.exc.DBAPIError as error:
        if kind_of(error) != "overlap":
            raise
        raise refused(name, _stored_overlaps(connection, spans, rows)) from error
    if len(rows) >= _BULK:
        analyze_outgrown(connection, calibration, n_new=len(rows))


def _check_certifiable(ranges: Sequence[tuple[DatasetRef, Timespan]]) -> None:
    for ref, _ in ranges:
        if not ref.dataset_type.is_calibration:
            raise InvalidDataId(
                f"{ref.dataset_type.name} is not a calibration type, so it cannot be certified; "
                "register it with is_calibration=True."
            )


def _rows(
    connection: sa.Connection,
    target: coll.Collection,
    ranges: Sequence[tuple[DatasetRef, Timespan]],
) -> list[dict[str, Any]]:
    # references to one data ID mostly share one object, and comparing objects is quicker
    distinct = {(id(r.data_id), r.dataset_type.name): r for r, _ in ranges}
    lookups = {n: r.data_id.subset(r.dataset_type.lookup_dimensions) for n, r in distinct.items()}
    known = insert_data_ids(connection, list(lookups.values()))
    keys = {n: known[lookup] for n, lookup in lookups.items()}
    type_ids = _type_ids(connection, {ref.dataset_type.name for ref, _ in ranges})
    now, who = utc_now(), account()
    return [
        {
            "collection_id": target.id,
            "dataset_type_id": type_ids[ref.dataset_type.name],
            "data_id": keys[id(ref.data_id), ref.dataset_type.name],
            "dataset_id": ref.id,
            "valid_begin_tai_ns": span.bounds[0],
            "valid_end_tai_ns": span.bounds[1],
            "certified_at": now,
            "certified_by": who,
        }
        for ref, span in ranges
    ]


def _insert(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert ranges, in one statement for each time and account of certification."""
    certified: dict[tuple[Any, Any], list[Mapping[str, Any]]] = {}
    for row in rows:
        certified.setdefault((row["certified_at"], row["certified_by"]), []).append(row)
    names = (*_KEY, "dataset_id", *_BOUNDS)
    for (at, by), members in certified.items():
        for start in range(0, len(members), CHUNK):
            part = members[start : start + CHUNK]
            given = table_of(
                connection,
                {
                    c: (sa.Uuid if c == "dataset_id" else sa.BigInteger, [row[c] for row in part])
                    for c in names
                },
            )
            source = sa.select(
                *(given.c[c] for c in names),
                sa.literal(at, calibration.c.certified_at.type),
                sa.literal(by, sa.String),
            )
            columns = [*names, "certified_at", "certified_by"]
            connection.execute(sa.insert(calibration).from_select(columns, source))


def _range(row: Mapping[str, Any], order: Any) -> conflicts.Range:
    return conflicts.Range(
        (row["dataset_type_id"], row["data_id"]),
        row["valid_begin_tai_ns"],
        row["valid_end_tai_ns"],
        order,
    )


def _type_ids(connection: sa.Connection, names: set[str]) -> dict[str, int]:
    rows = connection.execute(
        sa.select(dataset_type.c.name, dataset_type.c.id).where(dataset_type.c.name.in_(names))
    )
    return dict(rows.all())


def refused(name: str, overlapping: Sequence[Overlap], kind: str | None = None) -> ValidityOverlap:
    """Make the error that names ranges that overlap."""
    kinds = dict.fromkeys(o.new.dataset_type.name for o in overlapping)
    return ValidityOverlap(
        name,
        ", ".join(kinds) or kind or "calibrations",
        [o.told for o in overlapping],
        overlaps=overlapping,
    )


def _stored_overlaps(
    connection: sa.Connection,
    ranges: Sequence[tuple[DatasetRef, Timespan]],
    rows: Sequence[Mapping[str, Any]],
) -> list[Overlap]:
    """Find each new range with each stored one that it overlaps."""
    found: list[Any] = []
    for start in range(0, len(rows), CHUNK):
        given = rows_of(
            connection, rows[start : start + CHUNK], dict.fromkeys(_KEY + _BOUNDS, sa.BigInteger)
        )
        c = calibration.c
        same = sa.and_(
            *(c[k] == given.c[k] for k in _KEY),
            c.valid_begin_tai_ns < given.c.valid_end_tai_ns,
            given.c.valid_begin_tai_ns < c.valid_end_tai_ns,
        )
        selected = sa.select(
            given.c.n + start, c.dataset_id, c.valid_begin_tai_ns, c.valid_end_tai_ns
        ).join_from(given, calibration, same)
        found += connection.execute(selected.order_by(given.c.n, c.valid_begin_tai_ns)).all()
    old = get_refs(connection, list({r.dataset_id for r in found}))
    return [
        Overlap(ranges[n][0], ranges[n][1], old[dataset_id], Timespan(begin, end))
        for n, dataset_id, begin, end in found
    ]


def _resolved(
    connection: sa.Connection,
    rows: Sequence[dict[str, Any]],
    given: Sequence[conflicts.Range],
    how: str,
) -> tuple[list[dict[str, Any]], int]:
    """Cut new ranges and those stored, and remove stored ones that are cut.

    Returns
    -------
    tuple
        All rows to insert, and how many ranges of the new calibrations hold already.
    """
    stored = _stored_near(connection, rows)
    every = [*stored, *rows]
    compared = [_range(row, (0, row["certified_at"], row["id"])) for row in stored]
    wanted = [
        every[p.n] | {"valid_begin_tai_ns": p.begin, "valid_end_tai_ns": p.end}
        for p in conflicts.resolved([*compared, *given], how)
    ]
    what = (*_KEY, *_BOUNDS, "dataset_id")
    held = {tuple(row[k] for k in what): row["id"] for row in stored}
    new = [
        {k: v for k, v in row.items() if k != "id"}
        for row in wanted
        if held.pop(tuple(row[k] for k in what), None) is None
    ]
    _delete(connection, list(held.values()))
    made = {row["dataset_id"] for row in rows}
    n_made = sum(row["dataset_id"] in made for row in wanted)
    return new, n_made - sum(row["dataset_id"] in made for row in new)


def _stored_near(
    connection: sa.Connection, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Read the stored ranges between the first begin and the last end of each key."""
    hulls: dict[tuple[int, ...], tuple[int, int]] = {}
    for row in rows:
        key = tuple(row[k] for k in _KEY)
        begin, end = hulls.get(key, (END, BEGINNING))
        hulls[key] = (min(begin, row[_BOUNDS[0]]), max(end, row[_BOUNDS[1]]))
    items = [dict(zip(_KEY + _BOUNDS, key + hull, strict=True)) for key, hull in hulls.items()]
    given = rows_of(connection, items, dict.fromkeys(_KEY + _BOUNDS, sa.BigInteger))
    c = calibration.c
    near = sa.and_(
        *(c[k] == given.c[k] for k in _KEY),
        c.valid_begin_tai_ns < given.c.valid_end_tai_ns,
        given.c.valid_begin_tai_ns < c.valid_end_tai_ns,
    )
    found = connection.execute(sa.select(calibration).join_from(given, calibration, near))
    return [dict(r) for r in found.mappings()]


def _delete(connection: sa.Connection, ids: Sequence[int]) -> None:
    # a list of values: MariaDB searches a subquery anew for each row of the table
    for start in range(0, len(ids), CHUNK):
        gone = calibration.c.id.in_(ids[start : start + CHUNK])
        connection.execute(sa.delete(calibration).where(gone))


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
    c = calibration.c
    hit: list[Any] = [
        c.collection_id == target.id,
        c.dataset_type_id == _type_ids(connection, {kind.name}).get(kind.name),
        c.valid_begin_tai_ns < end,
        c.valid_end_tai_ns > begin,
    ]
    if data_ids is not None:
        wanted = {DataId.of(d).subset(kind.lookup_dimensions).key for d in data_ids}
        given = rows_of(connection, [{"k": k} for k in wanted], {"k": sa.String})
        known = sa.select(data_id.c.id).join_from(
            given, data_id, data_id.c.identity_key == given.c.k
        )
        hit.append(c.data_id.in_(list(connection.execute(known).scalars())))
    reaching_out = sa.or_(c.valid_begin_tai_ns < begin, c.valid_end_tai_ns > end)
    cut = connection.execute(sa.select(calibration).where(*hit, reaching_out)).mappings().all()
    n = connection.execute(sa.delete(calibration).where(*hit)).rowcount
    rests = []
    for row in cut:
        whole = {k: v for k, v in row.items() if k != "id"}
        if row["valid_begin_tai_ns"] < begin:
            rests.append({**whole, "valid_end_tai_ns": begin})
        if row["valid_end_tai_ns"] > end:
            rests.append({**whole, "valid_begin_tai_ns": end})
    _insert(connection, rests)
    return n


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
