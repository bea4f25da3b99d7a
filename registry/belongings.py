"""What must go along when datasets leave for another registry?

The dimension records that their data IDs need, directly or through other records, and their tags
and validity ranges.  Questions only; what is made of the answers is `butler.exchange`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import CHUNK, rows_of, table_of
from registry.identity import DataId, columns_of
from registry.schema import dimensions as schema
from registry.schema.calibrations import calibration
from registry.schema.collections import collection, tagged

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "ELEMENTS",
    "all_records",
    "key_columns",
    "ranges_of",
    "records_among",
    "records_of",
    "records_with",
    "same_records",
    "tags_of",
]

_KEYS: dict[str, dict[str, str]] = {
    "instrument": {"instrument": "name"},
    "skymap": {"skymap": "name"},
    "tract": {"skymap": "skymap", "tract": "id"},
    "patch": {"skymap": "skymap", "tract": "tract", "patch": "id"},
    "physical_filter": {"instrument": "instrument", "physical_filter": "name"},
    "detector": {"instrument": "instrument", "detector": "id"},
    "day_obs": {"instrument": "instrument", "day_obs": "id"},
    "exposure": {"instrument": "instrument", "exposure": "id"},
    "visit": {"instrument": "instrument", "visit": "id"},
    "visit_exposure": {"instrument": "instrument", "visit": "visit"},
    "visit_detector_region": {
        "instrument": "instrument",
        "visit": "visit",
        "detector": "detector",
    },
    "exposure_detector_region": {"instrument": "instrument", "exposure": "exposure"},
}
_STRINGS = frozenset({"instrument", "skymap", "physical_filter"})


def records_of(
    connection: sa.Connection, data_ids: Iterable[Mapping[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """List the dimension records that data IDs need.

    A visit brings its exposures, and either brings its night and its filter; an exposure brings
    where its detectors looked.

    Parameters
    ----------
    data_ids : iterable of mappings
        Of any dimensions.

    Returns
    -------
    dict
        Rows by table, in an order in which they can be inserted elsewhere.
    """
    return records_among(connection, columns_of([DataId.of(d) for d in data_ids] or [DataId({})]))


def records_among(
    connection: sa.Connection, data_ids: Mapping[str, Sequence[Any]]
) -> dict[str, list[dict[str, Any]]]:
    """List the dimension records that data IDs need, given by column; see `records_of`.

    Parameters
    ----------
    data_ids : mapping
        Values by dimension; None where a data ID lacks it.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for table in ("skymap", "tract", "patch", "instrument", "detector", "visit"):
        found[table] = _matching(connection, table, [data_ids])
    found["visit_detector_region"] = _matching(connection, "visit_detector_region", [data_ids])
    found["visit_exposure"] = _matching(connection, "visit_exposure", [data_ids])
    exposures = [data_ids, _columns(found["visit_exposure"])]
    found["exposure"] = _matching(connection, "exposure", exposures)
    found["exposure_detector_region"] = _matching(connection, "exposure_detector_region", exposures)
    of_nights = [data_ids, _columns(found["visit"]), _columns(found["exposure"])]
    found["day_obs"] = _matching(connection, "day_obs", of_nights)
    found["physical_filter"] = _matching(connection, "physical_filter", of_nights)
    return {table: found[table] for table in ELEMENTS if found[table]}


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


ELEMENTS = (
    "instrument",
    "physical_filter",
    "detector",
    "day_obs",
    "exposure",
    "visit",
    "visit_exposure",
    "visit_detector_region",
    "exposure_detector_region",
    "skymap",
    "tract",
    "patch",
)
"""Tables of dimension records, in an order in which they may be inserted."""


def all_records(
    connection: sa.Connection, names: Sequence[str] = ELEMENTS
) -> dict[str, list[dict[str, Any]]]:
    """List every dimension record of some tables, or of all, as `records_of` does."""
    found = {}
    for name in names:
        table = schema.instrument.metadata.tables[name]
        rows = connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()
        found[name] = [dict(row) for row in rows]
    return {table: rows for table, rows in found.items() if rows}


def same_records(
    connection: sa.Connection, name: str, records: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """List the records of a table that have the keys of given ones."""
    table = schema.instrument.metadata.tables[name]
    keys = {c.name: c for c in table.primary_key}
    types = {
        k: sa.String if isinstance(c.type, sa.String) else sa.BigInteger for k, c in keys.items()
    }
    found: list[dict[str, Any]] = []
    for start in range(0, len(records), CHUNK):
        given = rows_of(connection, records[start : start + CHUNK], types)
        same = sa.and_(*(given.c[k] == c for k, c in keys.items()))
        rows = connection.execute(sa.select(table).join_from(given, table, same)).mappings()
        found += [dict(row) for row in rows]
    return found


def _matching(
    connection: sa.Connection, name: str, asked: Sequence[Mapping[str, Sequence[Any]]]
) -> list[dict[str, Any]]:
    names = _KEYS[name]
    values: set[tuple[Any, ...]] = set()
    for columns in asked:
        if all(d in columns for d in names):
            values.update(zip(*(columns[d] for d in names), strict=True))
    keys = {
        d: [v[n] for v in sorted(v for v in values if None not in v)] for n, d in enumerate(names)
    }
    return records_with(connection, name, keys)


def key_columns(name: str) -> Mapping[str, str]:
    """Tell which column of a table of records holds each dimension of its key."""
    return _KEYS[name]


def records_with(
    connection: sa.Connection, name: str, keys: Mapping[str, Sequence[Any]]
) -> list[dict[str, Any]]:
    """List the records of a table that have some keys.

    Parameters
    ----------
    keys : mapping
        Values of the key by dimension (``instrument``, ``exposure``, ...), each combination once.
    """
    table = schema.instrument.metadata.tables[name]
    names = _KEYS[name]
    types = {d: sa.String if d in _STRINGS else sa.BigInteger for d in names}
    rows: list[dict[str, Any]] = []
    for start in range(0, len(next(iter(keys.values()))), CHUNK):
        part = {d: (types[d], keys[d][start : start + CHUNK]) for d in names}
        given = table_of(connection, part)
        same = sa.and_(*(given.c[d] == table.c[c] for d, c in names.items()))
        statement = sa.select(table).join_from(given, table, same).order_by(*table.primary_key)
        rows += [dict(row) for row in connection.execute(statement).mappings()]
    return rows


def tags_of(
    connection: sa.Connection, ids: Sequence[uuid.UUID], names: Sequence[str]
) -> list[tuple[str, uuid.UUID]]:
    """List in which of some TAGGED collections datasets are.

    Returns
    -------
    list of (collection, dataset)
    """
    found: list[tuple[str, uuid.UUID]] = []
    for start in range(0, len(ids), CHUNK):
        given = rows_of(
            connection, [{"id": i} for i in ids[start : start + CHUNK]], {"id": sa.Uuid}
        )
        statement = (
            sa.select(collection.c.name, tagged.c.dataset_id)
            .join_from(given, tagged, tagged.c.dataset_id == given.c.id)
            .join(collection, collection.c.id == tagged.c.collection_id)
            .where(collection.c.name.in_(names))
            .order_by(collection.c.name, tagged.c.dataset_id)
        )
        found += [tuple(row) for row in connection.execute(statement)]
    return found


def ranges_of(
    connection: sa.Connection, ids: Sequence[uuid.UUID], names: Sequence[str]
) -> list[tuple[str, uuid.UUID, int, int]]:
    """List over which times datasets are certified in some CALIBRATION collections.

    Returns
    -------
    list of (collection, dataset, begin, end)
        Times as stored [TAI ns].
    """
    c = calibration.c
    found: list[tuple[str, uuid.UUID, int, int]] = []
    for start in range(0, len(ids), CHUNK):
        given = rows_of(
            connection, [{"id": i} for i in ids[start : start + CHUNK]], {"id": sa.Uuid}
        )
        statement = (
            sa.select(collection.c.name, c.dataset_id, c.valid_begin_tai_ns, c.valid_end_tai_ns)
            .join_from(given, calibration, c.dataset_id == given.c.id)
            .join(collection, collection.c.id == c.collection_id)
            .where(collection.c.name.in_(names))
            .order_by(collection.c.name, c.valid_begin_tai_ns, c.valid_end_tai_ns, c.dataset_id)
        )
        found += [tuple(row) for row in connection.execute(statement)]
    return found
