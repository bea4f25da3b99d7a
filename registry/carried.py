"""What does lsst-daf-butler record about its dimensions that has no column here?

Such facts are carried in the column ``extra`` of a record; expressions read them by name.  Elements
that have no table here at all are carried whole in the table ``carried_record``.  Names and types
are those of version 8 of its universe ``daf_butler``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import CHUNK, delete_rows, insert_rows, rows_of
from registry.schema.dimensions import carried_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "FIELDS",
    "IMPLIED",
    "RENAMED",
    "carried_among",
    "carried_records",
    "carry",
    "drop_carried",
]

FIELDS: dict[str, dict[str, type]] = {
    "instrument": {
        "visit_max": int,
        "visit_system": int,
        "exposure_max": int,
        "class_name": str,
    },
    "detector": {"name_in_raft": str},
    "exposure": {
        "group": str,
        "seq_start": int,
        "seq_end": int,
        "sky_angle": float,
        "azimuth": float,
        "zenith_angle": float,
        "has_simulated": bool,
        "can_see_sky": bool,
    },
    "visit": {
        "seq_num": int,
        "observation_reason": str,
        "science_program": str,
        "azimuth": float,
        "zenith_angle": float,
    },
    "patch": {"cell_x": int, "cell_y": int},
}
"""Fields in ``extra``, by element, with the type of their values."""

RENAMED: dict[str, dict[str, str]] = {"exposure": {"tracking_ra": "ra", "tracking_dec": "dec"}}
"""Fields that have a column of another name here."""

_FEW = (
    "visit_system",
    "subfilter",
    "ssp_hypothesis_table",
    "ssp_hypothesis_bundle",
    "ssp_balanced_index",
)
"""Elements without a table, of which there are few records; of groups and memberships many."""

IMPLIED: dict[str, tuple[str, ...]] = {"group": ("exposure",)}
"""Dimensions without a column of data IDs that the record of another one names."""


def carry(
    connection: sa.Connection,
    element: str,
    keys: Sequence[str],
    records: Iterable[Mapping[str, Any]],
) -> int:
    """Keep records of an element that has no table here; those that are kept already stay.

    Parameters
    ----------
    element : str
        For example visit_system.
    keys : sequence of str
        Fields that identify a record.
    records : iterable of mappings
        Of values that JSON can hold.

    Returns
    -------
    int
        How many are new.
    """
    rows = {_key(record[k] for k in keys): dict(record) for record in records}
    known: set[str] = set()
    names = list(rows)
    for start in range(0, len(names), CHUNK):
        part = [{"k": name} for name in names[start : start + CHUNK]]
        given = rows_of(connection, part, {"k": sa.String})
        found = sa.select(carried_record.c.record_key).where(
            carried_record.c.element == element,
            carried_record.c.record_key.in_(sa.select(given.c.k)),
        )
        known.update(connection.execute(found).scalars())
    new = [
        {"element": element, "record_key": key, "record": record}
        for key, record in rows.items()
        if key not in known
    ]
    insert_rows(connection, carried_record, new, skip_existing=True)
    return len(new)


def carried_records(
    connection: sa.Connection, element: str, keys: Iterable[Sequence[Any]] | None = None
) -> list[dict[str, Any]]:
    """List the records of an element that has no table here.

    Parameters
    ----------
    keys : iterable of sequences, optional
        Only those with these key values, in the element's order; all by default.
    """
    c = carried_record.c
    all_of_them = sa.select(c.record).where(c.element == element).order_by(c.record_key)
    if keys is None:
        return [dict(record) for record in connection.execute(all_of_them).scalars()]
    wanted = [_key(key) for key in keys]
    found: list[dict[str, Any]] = []
    for start in range(0, len(wanted), CHUNK):
        part = [{"k": name} for name in wanted[start : start + CHUNK]]
        given = rows_of(connection, part, {"k": sa.String})
        statement = all_of_them.join(given, given.c.k == c.record_key)
        found += [dict(record) for record in connection.execute(statement).scalars()]
    return found


def carried_among(
    connection: sa.Connection,
    data_ids: Mapping[str, Sequence[Any]],
    cameras: Iterable[str],
    visits: Iterable[tuple[str, int]],
) -> list[tuple[str, str, dict[str, Any]]]:
    """List the records without a table that data IDs, cameras and visits need.

    Parameters
    ----------
    data_ids : mapping
        Values by dimension, as `registry.belongings.records_among` takes them; ``extra`` is JSON.
    cameras : iterable of str
        All their visit systems are needed.
    visits : iterable of (camera, visit)
        Which visit systems they are in is needed.

    Returns
    -------
    list of (element, key, record)
        Rows of the table ``carried_record``.
    """
    c = carried_record.c
    rows = sa.select(c.element, c.record_key, c.record)
    few = connection.execute(rows.where(c.element.in_(_FEW)))
    further = [json.loads(text) if text else {} for text in data_ids.get("extra", ())]
    values = {v for extra in further for v in extra.values()} | set(data_ids.get("band", ()))
    known, systems, found = set(cameras), [], []
    for element, key, record in few:
        parts = json.loads(key)
        if element == "visit_system":
            if parts[0] in known:
                systems.append(parts)
                found.append((element, key, record))
        elif parts[-1] in values:
            found.append((element, key, record))
    of_cameras = zip(data_ids.get("instrument", ()), further, strict=False)
    keys: dict[str, set[tuple[Any, ...]]] = {
        "group": {(camera, extra["group"]) for camera, extra in of_cameras if "group" in extra},
        "visit_system_membership": {
            (camera, number, visit)
            for camera, visit in visits
            for of, number in systems
            if of == camera
        },
    }
    for element, wanted in keys.items():
        names = [_key(key) for key in sorted(wanted)]
        for start in range(0, len(names), CHUNK):
            part = [{"k": name} for name in names[start : start + CHUNK]]
            given = rows_of(connection, part, {"k": sa.String})
            asked = rows.join(given, given.c.k == c.record_key).where(c.element == element)
            found += [tuple(row) for row in connection.execute(asked)]
    return found


def drop_carried(connection: sa.Connection, element: str, keys: Iterable[Sequence[Any]]) -> None:
    """Remove records of an element that has no table here, by their key values."""
    wanted = [_key(key) for key in keys]
    c = carried_record.c
    for start in range(0, len(wanted), CHUNK):
        part = [{"e": element, "k": name} for name in wanted[start : start + CHUNK]]
        given = rows_of(connection, part, {"e": sa.String, "k": sa.String})
        delete_rows(connection, {c.element: given.c.e, c.record_key: given.c.k})


def _key(values: Iterable[Any]) -> str:
    return json.dumps(list(values), ensure_ascii=False)
