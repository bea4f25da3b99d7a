"""Which datasets exist, of which type, with which data ID, in which run?

Verbs: register a dataset type, remove it, insert datasets; `registry.removing` removes them.
Question: find one; many that fulfil a condition are found by `registry.finding`.
Tables: `registry.schema.identity`.  Where a dataset's files lie is `backbone.files`.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from itertools import repeat
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import collections as coll
from registry.database import (
    CHUNK,
    analyze_outgrown,
    check_by_index,
    hold_rows,
    in_written_order,
    insert_missing,
    insert_new,
    insert_rows,
    kind_of,
    lock_rows,
    many_objects,
    table_of,
    utc_now,
    whole_columns,
)
from registry.dimensions import missing_records
from registry.errors import (
    CollectionTypeError,
    Conflict,
    DatasetExists,
    DatasetRemoved,
    DefinitionConflict,
    InUse,
    InvalidDataId,
    UnknownDatasetType,
)
from registry.identity import DIMENSIONS, DataId, DatasetRef, DatasetType, columns_of, uuid7s
from registry.keys import check_keys
from registry.schema.calibrations import (
    calibration_policy,
    calibration_policy_match,
)
from registry.schema.collections import collection, tagged
from registry.schema.identity import data_id, dataset, dataset_type
from registry.schema.identity import data_id as data_id_table
from registry.schema.provenance import (
    removed_dataset,
)
from registry.timespan import tai_now_ns

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = [
    "all_there",
    "dataset_types",
    "find_dataset",
    "get_dataset_type",
    "get_refs",
    "insert_data_ids",
    "insert_datasets",
    "present_data_ids",
    "register_dataset_type",
    "remove_dataset_type",
    "require_current",
]

_GIVEN_TYPES: dict[str, Any] = {
    **{d: sa.String if kind is str else sa.BigInteger for d, kind in DIMENSIONS.items()},
    "extra": sa.JSON,
    "identity_key": sa.String,
    "dataset_id": sa.Uuid,
    "date": sa.BigInteger,
}
_BULK = 5_000
"""From this many inserted rows on, plans are made for them, and statistics refreshed."""


def register_dataset_type(connection: sa.Connection, kind: DatasetType) -> bool:
    """Register a dataset type.

    Returns
    -------
    bool
        Whether it is new.

    Raises
    ------
    DefinitionConflict
        If the name is registered with another definition.
    InvalidDataId
        If its dimensions cannot stand together.
    """
    if not kind.name or len(kind.name) > 128 or any(c in kind.name for c in " /|*?'\"\x00"):
        raise InvalidDataId(
            f"{kind.name[:60]!r} cannot name a dataset type: use letters, digits, _ and dots."
        )
    needs = {
        "detector": "instrument",
        "exposure": "instrument",
        "visit": "instrument",
        "day_obs": "instrument",
    }
    needs |= {"physical_filter": "instrument", "tract": "skymap", "patch": "tract"}
    for d in kind.dimensions:
        if d in needs and needs[d] not in kind.dimensions:
            raise InvalidDataId(
                f"The dataset type {kind.name} has {d} among its dimensions "
                f"and so needs {needs[d]} too."
            )
    row = {
        "name": kind.name,
        "dimensions": ",".join(kind.dimensions),
        "storage_class": kind.storage_class,
        "is_calibration": kind.is_calibration,
        "created_at": utc_now(),
    }
    found = _type_row(connection, kind.name)
    if found is None:
        if insert_new(connection, dataset_type, row):
            return True
        found = _type_row(connection, kind.name)
    if found is None:
        raise InUse(f"'{kind.name}' was there and is being removed by another process; repeat.")
    if _kind(found) != kind:
        raise DefinitionConflict(
            f"The dataset type '{kind.name}' is registered already as {_kind(found)}; "
            f"asked for: {kind}."
        )
    return False


def remove_dataset_type(connection: sa.Connection, name: str) -> None:
    """Remove a dataset type of which there is no dataset, with its calibration policy.

    Raises
    ------
    UnknownDatasetType
        With the nearest names.
    InUse
        If there are datasets of it.
    """
    found = connection.execute(lock_rows(_TYPE, connection), {"asked": name}).first()
    if found is None:
        raise _unknown(connection, name)
    one = sa.select(dataset.c.id).where(dataset.c.dataset_type_id == found.id).limit(1)
    if connection.execute(one).first() is not None:
        raise InUse(f"There are datasets of the type '{name}'; purge them first.")
    for table in (calibration_policy_match, calibration_policy):
        connection.execute(sa.delete(table).where(table.c.dataset_type_id == found.id))
    connection.execute(sa.delete(dataset_type).where(dataset_type.c.id == found.id))


_TYPE = sa.select(dataset_type).where(dataset_type.c.name == sa.bindparam("asked"))


def _type_row(connection: sa.Connection, name: str, *, hold: bool = False) -> Any:
    statement = hold_rows(_TYPE, connection) if hold else _TYPE
    return connection.execute(statement, {"asked": name}).first()


def _unknown(connection: sa.Connection, name: str) -> UnknownDatasetType:
    return UnknownDatasetType(name, connection.execute(sa.select(dataset_type.c.name)).scalars())


def _kind(row: Any) -> DatasetType:
    dimensions = tuple(row.dimensions.split(",")) if row.dimensions else ()
    return DatasetType(row.name, dimensions, row.storage_class, bool(row.is_calibration))


def get_dataset_type(connection: sa.Connection, name: str) -> DatasetType:
    """Look a dataset type up.

    Raises
    ------
    UnknownDatasetType
        With the nearest names.
    """
    row = _type_row(connection, name)
    if row is None:
        raise _unknown(connection, name)
    return _kind(row)


def require_current(connection: sa.Connection, kind: DatasetType) -> None:
    """Refuse a definition that is not the one in force: the type was registered anew meanwhile.

    Raises
    ------
    DefinitionConflict
        If it is another.
    """
    row = _type_row(connection, kind.name)
    if row is not None and _kind(row) != kind:
        raise DefinitionConflict(
            f"The dataset type '{kind.name}' is now registered as {_kind(row)}, and was asked for "
            f"as {kind}; look it up anew."
        )


def dataset_types(connection: sa.Connection) -> list[DatasetType]:
    """List all dataset types by name."""
    return [
        _kind(r) for r in connection.execute(sa.select(dataset_type).order_by(dataset_type.c.name))
    ]


def insert_data_ids(connection: sa.Connection, data_ids: Sequence[DataId]) -> dict[DataId, int]:
    """Make sure that data IDs have a row, and tell its key.

    Raises
    ------
    UnknownDimensionValue
        If one refers to a record that is not registered.
    """
    unique = list(dict.fromkeys(data_ids))
    keys: dict[DataId, int] = {}
    for start in range(0, len(unique), CHUNK):
        part = unique[start : start + CHUNK]
        keys.update(_known_data_ids(connection, part))
        new = [d for d in part if d not in keys]
        if new:
            with _told_what_is_missing(connection, new), connection.begin_nested():
                check_keys(connection, new)
                _insert_missing_data_ids(connection, _given(connection, columns_of(new)))
            keys.update(_known_data_ids(connection, new))
    return keys


_KEY_OF_ONE = sa.select(data_id.c.id).where(data_id.c.identity_key == sa.bindparam("identity"))


def _known_data_ids(connection: sa.Connection, data_ids: Sequence[DataId]) -> dict[DataId, int]:
    if len(data_ids) == 1:
        key = connection.execute(_KEY_OF_ONE, {"identity": data_ids[0].key}).scalar()
        return {} if key is None else {data_ids[0]: key}
    given = table_of(connection, {"k": (sa.String, columns_of(data_ids)["identity_key"])})
    found = connection.execute(
        sa.select(given.c.n, data_id.c.id).join_from(
            given, data_id, data_id.c.identity_key == given.c.k
        )
    )
    return {data_ids[n]: key for n, key in found}


def _given(connection: sa.Connection, columns: Mapping[str, Sequence[Any]]) -> sa.Subquery:
    """Send data IDs, column by column."""
    return table_of(connection, {c: (_GIVEN_TYPES[c], values) for c, values in columns.items()})


def _insert_missing_data_ids(connection: sa.Connection, given: sa.Subquery) -> None:
    columns = [c.name for c in given.c if c.name in DIMENSIONS or c.name == "extra"]
    known = sa.exists().where(data_id.c.identity_key == given.c.identity_key)
    missing = sa.select(*(given.c[c] for c in columns)).where(~known)
    insert_missing(connection, data_id, missing, columns, data_id.c.identity_key)


@contextlib.contextmanager
def _told_what_is_missing(connection: sa.Connection, data_ids: Sequence[DataId]) -> Iterator[None]:
    """Name the record that data IDs refer to and that is not there."""
    try:
        yield
    except sa.exc.IntegrityError as error:
        missing = missing_records(connection, data_ids) if kind_of(error) == "foreign" else None
        raise missing or error from error


def insert_datasets(
    connection: sa.Connection,
    kind: DatasetType,
    data_ids: Iterable[Mapping[str, Any]],
    run: str | coll.Collection,
    *,
    ids: Sequence[uuid.UUID] | None = None,
    dates: Sequence[int] | None = None,
) -> list[DatasetRef]:
    """Register datasets of one type in one run.

    Parameters
    ----------
    kind : DatasetType
        Registered.
    data_ids : iterable of mappings
        Exactly the keys of the dataset type.
    run : str or Collection
        A RUN collection.
    ids : sequence of UUID, optional
        Identities to give them, as when they come from another repository.
    dates : sequence of int, optional
        When each was registered there [TAI ns]; now by default.

    Returns
    -------
    list of DatasetRef
        In the same order.

    Raises
    ------
    DatasetExists
        If one exists already; nothing is inserted then.
    UnknownDimensionValue
        If a data ID refers to a record that is not registered.
    """
    with many_objects():
        checked = kind.data_ids(list(data_ids))
        when = list(dates) if dates is not None else [tai_now_ns()] * len(checked)
        return _insert_datasets(connection, kind, checked, run, ids, when)


def _insert_datasets(
    connection: sa.Connection,
    kind: DatasetType,
    checked: Sequence[DataId],
    run: str | coll.Collection,
    ids: Sequence[uuid.UUID] | None,
    dates: Sequence[int],
) -> list[DatasetRef]:
    target = run
    if not isinstance(target, coll.Collection):
        target = coll.get_collection(connection, target, hold=True)
    if target.type != "RUN":
        raise CollectionTypeError(
            f"'{target.name}' is a {target.type} collection; datasets are inserted into a RUN."
        )
    type_row = _type_row(connection, kind.name, hold=True)
    if type_row is None or _kind(type_row) != kind:
        raise UnknownDatasetType(kind.name, remedy="Register it first.")
    uuids = list(ids) if ids is not None else uuid7s(len(checked))
    fixed = (type_row.id, target.id)
    if len(checked) >= _BULK:
        check_by_index(connection)
    try:
        with _told_what_is_missing(connection, checked), connection.begin_nested():
            if len(checked) == 1:
                key = insert_data_ids(connection, checked)[checked[0]]
                row = dict(zip(_COLUMNS, (uuids[0], key, dates[0], *fixed), strict=True))
                insert_rows(connection, dataset, [row])
            elif checked:
                _insert_many(connection, kind, target, checked, uuids, dates, fixed)
    except sa.exc.IntegrityError as error:
        if kind_of(error) == "unique":
            raise _existing(connection, kind, target, checked) from error
        raise
    if len(checked) >= _BULK:
        analyze_outgrown(connection, data_id, dataset, n_new=len(checked))
    return list(map(DatasetRef, uuids, repeat(kind), checked, repeat(target.name)))


_COLUMNS = ("id", "data_id", "ingest_date_tai_ns", "dataset_type_id", "run_id")


def _insert_many(
    connection: sa.Connection,
    kind: DatasetType,
    run: coll.Collection,
    data_ids: Sequence[DataId],
    uuids: Sequence[uuid.UUID],
    dates: Sequence[int],
    fixed: tuple[int, int],
) -> None:
    """Insert data IDs that have no row and the datasets of all of them, in two statements a part.

    Raises
    ------
    DatasetExists
        If two of the data IDs are the same.
    """
    columns: dict[str, Sequence[Any]] = {
        **columns_of(data_ids),
        "dataset_id": uuids,
        "date": dates,
    }
    if len(set(columns["identity_key"])) < len(data_ids):
        twice = next(d for d, n in Counter(data_ids).items() if n > 1)
        raise DatasetExists(kind.name, run.name, twice)
    if "extra" in columns:
        check_keys(connection, data_ids)
    for start in range(0, len(data_ids), CHUNK):
        part = slice(start, start + CHUNK)
        given = _given(connection, {name: values[part] for name, values in columns.items()})
        _insert_missing_data_ids(connection, given)
        rows = sa.select(
            given.c.dataset_id,
            data_id.c.id,
            given.c.date,
            *(sa.literal(v, sa.BigInteger) for v in fixed),
        ).join_from(given, data_id, data_id.c.identity_key == given.c.identity_key)
        connection.execute(sa.insert(dataset).from_select(list(_COLUMNS), rows))


def _existing(
    connection: sa.Connection, kind: DatasetType, run: coll.Collection, data_ids: Sequence[DataId]
) -> Conflict:
    present = present_data_ids(connection, kind, data_ids, run.name)
    found = [d for d in data_ids if d in present]
    if not found and (gone := present_data_ids(connection, kind, data_ids, run.name, gone=True)):
        return DatasetRemoved(kind.name, run.name, next(d for d in data_ids if d in gone))
    return DatasetExists(kind.name, run.name, found[0] if found else None, len(found))


def present_data_ids(
    connection: sa.Connection,
    kind: DatasetType,
    data_ids: Sequence[DataId],
    run: str,
    *,
    gone: bool = False,
) -> set[DataId]:
    """Tell which of some data IDs have a dataset of a type in a run, or had one that is gone."""
    is_gone = sa.exists().where(removed_dataset.c.dataset_id == dataset.c.id)
    found: set[DataId] = set()
    for start in range(0, len(data_ids), CHUNK):
        part = data_ids[start : start + CHUNK]
        keys = columns_of(part)["identity_key"]
        given = table_of(connection, {"k": (sa.String, keys)})
        statement = (
            sa.select(given.c.n)
            .join_from(given, data_id, data_id.c.identity_key == given.c.k)
            .join(dataset, dataset.c.data_id == data_id.c.id)
            .join(dataset_type, dataset_type.c.id == dataset.c.dataset_type_id)
            .join(collection, collection.c.id == dataset.c.run_id)
            .where(dataset_type.c.name == kind.name, collection.c.name == run)
            .where(is_gone if gone else ~is_gone)
        )
        found.update(part[n] for n in connection.execute(statement).scalars())
    return found


def _ref(kind: DatasetType, row: Any) -> DatasetRef:
    values = row._mapping  # noqa: SLF001 (public in SQLAlchemy)
    items = {d: values[d] for d in kind.dimensions if d in DIMENSIONS}
    if len(items) < len(kind.dimensions):
        extra = values["extra"] or {}
        items |= {d: extra[d] for d in kind.dimensions if d not in DIMENSIONS}
    return DatasetRef(row[0], kind, DataId(items), row[1])


def find_dataset(
    connection: sa.Connection,
    kind: DatasetType,
    data_id: Mapping[str, Any],
    collections: str | Sequence[str],
) -> DatasetRef | None:
    """Find the first dataset of a type and data ID in collections, in their order.

    CALIBRATION collections are passed over: what holds there depends on the time, see
    `registry.calibrations.find_calibrations`.

    Parameters
    ----------
    collections : str or sequence of str
        Names or globs; chains are opened.

    Raises
    ------
    UnknownCollection
        If a name does not exist.
    DefinitionConflict
        If none is found, and the type has another definition now.
    """
    key = kind.data_id(data_id)
    asked = {
        "identity": key.key,
        "type": kind.name,
        "dimensions": ",".join(kind.dimensions),
        "storage": kind.storage_class,
        "calibrates": kind.is_calibration,
    }
    for _, name, _, made, tagged_as in coll.search(connection, collections, _HAVING, asked):
        if made is not None:
            return DatasetRef(made, kind, key, name)
        if tagged_as is not None:
            ref = get_refs(connection, [tagged_as]).get(tagged_as)
            if ref is not None:  # or another process has just purged it
                return ref
    require_current(connection, kind)
    return None


def _having() -> coll.Search:
    """Ask of each collection which dataset it has: made there, or tagged."""
    # by its whole definition: who asks may have looked the type up before it was registered anew
    of_type = (
        sa.select(dataset_type.c.id)
        .where(
            dataset_type.c.name == sa.bindparam("type", type_=sa.String),
            dataset_type.c.dimensions == sa.bindparam("dimensions", type_=sa.String),
            dataset_type.c.storage_class == sa.bindparam("storage", type_=sa.String),
            dataset_type.c.is_calibration == sa.bindparam("calibrates", type_=sa.Boolean),
        )
        .scalar_subquery()
    )
    of_data_id = (
        sa.select(data_id_table.c.id)
        .where(data_id_table.c.identity_key == sa.bindparam("identity", type_=sa.String))
        .scalar_subquery()
    )

    def in_table(table: sa.Table, id_: Any, belongs: Any, *also: Any) -> Callable[[Any], Any]:
        return lambda searched: (
            sa.select(id_)
            .where(
                belongs == searched.id,
                table.c.dataset_type_id == of_type,
                table.c.data_id == of_data_id,
                *also,
            )
            .scalar_subquery()
        )

    gone = sa.exists().where(removed_dataset.c.dataset_id == dataset.c.id)
    return coll.Search(
        in_table(dataset, dataset.c.id, dataset.c.run_id, ~gone),
        in_table(tagged, tagged.c.dataset_id, tagged.c.collection_id),
    )


_HAVING = _having()


def get_refs(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, DatasetRef]:
    """Look datasets up by identity; unknown ones are left out."""
    refs: dict[uuid.UUID, DatasetRef] = {}
    kinds: dict[str, DatasetType] = {}
    places: dict[str, list[tuple[str, int | None]]] = {}
    places_of_all = {d: n for n, d in enumerate(DIMENSIONS)}
    for start in range(0, len(ids), CHUNK):
        given = table_of(connection, {"id": (sa.Uuid, ids[start : start + CHUNK])})
        statement = (
            sa.select(
                given.c.n,
                collection.c.name,
                dataset_type.c.name,
                dataset_type.c.dimensions,
                dataset_type.c.storage_class,
                dataset_type.c.is_calibration,
                data_id_table.c.extra,
                *_all_columns(),
            )
            .join_from(given, dataset, dataset.c.id == given.c.id)
            .join(collection, collection.c.id == dataset.c.run_id)
            .join(data_id_table, data_id_table.c.id == dataset.c.data_id)
            .join(dataset_type, dataset_type.c.id == dataset.c.dataset_type_id)
        )
        for (
            place,
            run,
            name,
            dimensions,
            storage_class,
            is_calibration,
            extra,
            *values,
        ) in zip(*whole_columns(connection, in_written_order(statement)), strict=True):
            kind = kinds.get(name)
            if kind is None:
                keys = tuple(dimensions.split(",")) if dimensions else ()
                kind = kinds[name] = DatasetType(name, keys, storage_class, bool(is_calibration))
                places[name] = [(d, places_of_all.get(d)) for d in kind.dimensions]
            items = {d: extra[d] if n is None else values[n] for d, n in places[name]}
            known = ids[start + place]
            refs[known] = DatasetRef(known, kind, DataId(items), run)
    return refs


def all_there(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> list[DatasetRef] | None:
    """Look datasets up by identity, all or none: in their order, or None when one is unknown."""
    found = get_refs(connection, ids)
    return [found[i] for i in ids] if len(found) == len(ids) else None


def _all_columns() -> list[Any]:
    return [data_id_table.c[d] for d in DIMENSIONS]
