"""Which exposures make a visit, and may that still change?

Set-based: the exposures of a night, the visits that they are in, whether anything was made of
these, and their replacement by others.  By which rule exposures belong together, and the verb:
`butler.visits`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import dimensions, regions
from registry.carried import carried_records, carry, drop_carried
from registry.database import CHUNK, delete_rows, insert_missing, lock_rows, rows_of
from registry.schema import dimensions as schema
from registry.schema import metadata
from registry.schema.identity import data_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "SYSTEMS",
    "exposures_of_night",
    "hold_camera",
    "in_use",
    "put_regions",
    "remove",
    "visits_of",
    "write",
]

SYSTEMS = {
    "one-to-one": 0,
    "by-group-metadata": 1,
    "by-seq-start-end": 2,
    "back-to-back": 3,
}
"""Ways to define visits, with the numbers that visit systems have in an lsst-daf-butler."""

_SYSTEM = "visit_system"
_MEMBERSHIP = "visit_system_membership"
_REGION = "visit_detector_region"


def hold_camera(connection: sa.Connection, camera: str) -> None:
    """Let no other process define visits of a camera until the transaction ends."""
    mine = sa.select(schema.instrument.c.name).where(schema.instrument.c.name == camera)
    connection.execute(lock_rows(mine, connection)).all()


def exposures_of_night(connection: sa.Connection, camera: str, night: int) -> list[dict[str, Any]]:
    """List the exposures of a night, records as in the table, in the order of their begin."""
    e = schema.exposure
    asked = (
        sa.select(e)
        .where(e.c.instrument == camera, e.c.day_obs == night)
        .order_by(e.c.begin_tai_ns, e.c.id)
    )
    return [dict(row) for row in connection.execute(asked).mappings()]


def visits_of(
    connection: sa.Connection, camera: str, exposures: Iterable[int], ids: Iterable[int]
) -> tuple[dict[int, set[int]], dict[int, str]]:
    """Tell which visits some exposures are in, and which of some numbers are those of visits.

    Returns
    -------
    members : dict of int to set of int
        By visit all its exposures.
    systems : dict of int to str
        By visit the name of its visit system, where one is known.
    """
    m, v = schema.visit_exposure, schema.visit
    found: set[int] = set()
    for table, key, number, wanted in (
        (m, m.c.exposure, m.c.visit, exposures),
        (v, v.c.id, v.c.id, ids),
    ):
        for given in _given(connection, camera, wanted):
            same = (table.c.instrument == given.c.instrument) & (key == given.c.number)
            found.update(
                connection.execute(sa.select(number).join_from(given, table, same)).scalars()
            )
    members: dict[int, set[int]] = {visit: set() for visit in found}
    for given in _given(connection, camera, found):
        same = (m.c.instrument == given.c.instrument) & (m.c.visit == given.c.number)
        asked = sa.select(m.c.visit, m.c.exposure).join_from(given, m, same)
        for visit, exposure in connection.execute(asked):
            members[visit].add(exposure)
    return members, _systems_of(connection, camera, found)


def _systems(connection: sa.Connection, camera: str) -> dict[int, str]:
    return {
        record["id"]: str(record["name"])
        for record in carried_records(connection, _SYSTEM)
        if record["instrument"] == camera
    }


def _systems_of(connection: sa.Connection, camera: str, visits: Iterable[int]) -> dict[int, str]:
    names = _systems(connection, camera)
    keys = [(camera, system, visit) for visit in visits for system in names]
    found = carried_records(connection, _MEMBERSHIP, keys) if keys else []
    return {record["visit"]: names[record[_SYSTEM]] for record in found}


def in_use(connection: sa.Connection, camera: str, visits: Iterable[int]) -> set[int]:
    """Tell of which visits something was made or is planned: something has their data IDs."""
    used: set[int] = set()
    for given in _given(connection, camera, visits):
        asked = sa.select(data_id.c.visit).join_from(given, data_id, _of_visit(given))
        used.update(connection.execute(asked.where(_referred_to()).distinct()).scalars())
    return used


def _of_visit(given: Any) -> sa.ColumnElement[bool]:
    return sa.and_(data_id.c.instrument == given.c.instrument, data_id.c.visit == given.c.number)


def _referred_to() -> sa.ColumnElement[bool]:
    columns = [
        column
        for table in metadata.tables.values()
        for column in table.columns
        if any(key.column is data_id.c.id for key in column.foreign_keys)
    ]
    return sa.or_(*(sa.exists().where(column == data_id.c.id) for column in columns))


def remove(connection: sa.Connection, camera: str, visits: Iterable[int]) -> None:
    """Remove visits of which nothing was made; exposures keep what their detectors saw."""
    visits = sorted(visits)
    for given in _given(connection, camera, visits):
        _leave_regions(connection, given)
        unused = sa.select(data_id.c.id).join_from(given, data_id, _of_visit(given))
        left = connection.execute(unused).scalars().all()
        if left:
            keys = rows_of(connection, [{"id": i} for i in left], {"id": sa.BigInteger}, "left")
            delete_rows(connection, {data_id.c.id: keys.c.id})
        for table in (
            schema.overlap,
            schema.visit_detector_pixel,
            schema.visit_detector_region,
            schema.visit_pixel,
            schema.visit_exposure,
            schema.visit,
        ):
            number = table.c.id if table is schema.visit else table.c.visit
            delete_rows(
                connection,
                {table.c.instrument: given.c.instrument, number: given.c.number},
            )
    systems = _systems(connection, camera)
    drop_carried(connection, _MEMBERSHIP, [(camera, s, v) for v in visits for s in systems])


def _leave_regions(connection: sa.Connection, given: Any) -> None:
    """Give exposures that have no regions of their own those of their visit."""
    m, r = schema.visit_exposure, schema.visit_detector_region
    table = schema.exposure_detector_region
    mine = sa.and_(m.c.instrument == given.c.instrument, m.c.visit == given.c.number)
    same = sa.and_(m.c.instrument == r.c.instrument, m.c.visit == r.c.visit)
    seen = (
        sa.select(m.c.instrument, m.c.exposure, r.c.detector, r.c.region)
        .select_from(given)
        .join(m, mine)
        .join(r, same)
    )
    insert_missing(connection, table, seen, [c.name for c in table.columns])


def write(
    connection: sa.Connection,
    camera: str,
    system: str,
    visits: Sequence[Mapping[str, Any]],
    members: Mapping[int, Sequence[int]],
) -> None:
    """Insert visits that are new, with their exposures, and say in which visit system they are."""
    if not visits:
        return
    rows = [{"visit": v, "exposure": e} for v, exposures in members.items() for e in exposures]
    dimensions.insert_dimension_records(connection, "visit", visits)
    dimensions.insert_dimension_records(
        connection, "visit_exposure", [{"instrument": camera, **row} for row in rows]
    )
    known = _systems(connection, camera)
    number = next((n for n, name in known.items() if name == system), None)
    if number is None:
        number = SYSTEMS[system] if SYSTEMS[system] not in known else max(known) + 1
        record = {"instrument": camera, "id": number, "name": system}
        carry(connection, _SYSTEM, ("instrument", "id"), [record])
    carry(
        connection,
        _MEMBERSHIP,
        ("instrument", _SYSTEM, "visit"),
        [{"instrument": camera, _SYSTEM: number, "visit": v} for v in members],
    )


def put_regions(
    connection: sa.Connection, camera: str, members: Mapping[int, Sequence[int]]
) -> None:
    """Let visits cover what their exposures do, detector by detector.

    The region of a detector is that of its only exposure, or the convex hull of those of all.

    Parameters
    ----------
    members : mapping of int to sequence of int
        Exposures by visit.
    """
    wanted = _wanted_regions(connection, camera, members)
    table = schema.visit_detector_region
    known: dict[tuple[int, int], bytes] = {}
    for given in _given(connection, camera, members):
        same = (table.c.instrument == given.c.instrument) & (table.c.visit == given.c.number)
        asked = sa.select(table.c.visit, table.c.detector, table.c.region)
        for visit, detector, region in connection.execute(asked.join_from(given, table, same)):
            known[visit, detector] = bytes(region)
    changed = {key: region for key, region in wanted.items() if known.get(key) != region}
    stale = [key for key in changed if key in known]
    for start in range(0, len(stale), CHUNK):
        part = [{"i": camera, "v": v, "d": d} for v, d in stale[start : start + CHUNK]]
        types = {"i": sa.String, "v": sa.BigInteger, "d": sa.BigInteger}
        old = rows_of(connection, part, types)
        for gone in (schema.overlap, schema.visit_detector_pixel, table):
            keys = (gone.c.instrument, gone.c.visit, gone.c.detector)
            delete_rows(connection, dict(zip(keys, (old.c.i, old.c.v, old.c.d), strict=True)))
    dimensions.insert_dimension_records(
        connection,
        _REGION,
        [
            {"instrument": camera, "visit": v, "detector": d, "region": region}
            for (v, d), region in sorted(changed.items())
        ],
    )


def _wanted_regions(
    connection: sa.Connection, camera: str, members: Mapping[int, Sequence[int]]
) -> dict[tuple[int, int], bytes]:
    visit_of = {e: v for v, exposures in members.items() for e in exposures}
    table = schema.exposure_detector_region
    seen: dict[tuple[int, int], list[bytes]] = defaultdict(list)
    for given in _given(connection, camera, visit_of):
        same = (table.c.instrument == given.c.instrument) & (table.c.exposure == given.c.number)
        asked = sa.select(table.c.exposure, table.c.detector, table.c.region)
        for exposure, detector, region in connection.execute(asked.join_from(given, table, same)):
            seen[visit_of[exposure], detector].append(bytes(region))
    return {key: _around(sorted(set(found))) for key, found in seen.items()}


def _around(found: Sequence[bytes]) -> bytes:
    """Give the convex hull of polygons; of a single one, itself."""
    if len(found) == 1:
        return found[0]
    from lsst.sphgeom import ConvexPolygon

    polygons: list[Any] = [regions.decode(one) for one in found]
    corners = [corner for polygon in polygons for corner in polygon.getVertices()]
    return regions.encode(ConvexPolygon.convexHull(corners))


def _given(connection: sa.Connection, camera: str, numbers: Iterable[int]) -> Iterator[Any]:
    """Make table expressions of numbers of a camera, each once, some thousands in each."""
    listed = sorted(set(numbers))
    for start in range(0, len(listed), CHUNK):
        part = [{"instrument": camera, "number": n} for n in listed[start : start + CHUNK]]
        yield rows_of(connection, part, {"instrument": sa.String, "number": sa.BigInteger})
