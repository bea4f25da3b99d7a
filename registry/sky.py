"""Which rows lie in a part of the sky, and which rows of two kinds touch each other?

The candidates share a HEALPix pixel and are found in SQL; the exact test is sphgeom's.  The answer
is a set of keys, so that conditions made of it can be negated, joined and counted like any other.
How regions are stored and indexed: `registry.regions`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import rows_of
from registry.regions import decode, pixel_ranges, shares_pixel
from registry.schema import dimensions as schema
from registry.touching import touch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lsst.sphgeom import Region

__all__ = ["OBSERVED", "SKY", "keys_in", "keys_of", "region_pairs", "table_of_keys"]


@dataclass(frozen=True, slots=True)
class _Indexed:
    """An element with regions: its table, its pixel ranges, and how its key is named in each."""

    table: sa.Table
    pixels: sa.Table
    keys: dict[str, str]


_INDEXED = {
    "visit_detector_region": _Indexed(
        schema.visit_detector_region,
        schema.visit_detector_pixel,
        {"instrument": "instrument", "visit": "visit", "detector": "detector"},
    ),
    "visit": _Indexed(
        schema.visit, schema.visit_pixel, {"instrument": "instrument", "visit": "id"}
    ),
    "patch": _Indexed(
        schema.patch,
        schema.patch_pixel,
        {"skymap": "skymap", "tract": "tract", "patch": "id"},
    ),
    "tract": _Indexed(schema.tract, schema.tract_pixel, {"skymap": "skymap", "tract": "id"}),
}
_POINTS = {"exposure": {"instrument": "instrument", "exposure": "id"}}
OBSERVED = ("visit_detector_region", "visit")
"""Elements whose regions are of observations, the finest first."""
SKY = ("patch", "tract")
"""Elements whose regions divide the sky, the finest first."""


def keys_of(element: str) -> tuple[str, ...] | None:
    """Name the dimensions that identify a row of an element with a place on the sky, if it is."""
    found = _INDEXED.get(element)
    names = found.keys if found is not None else _POINTS.get(element)
    return tuple(names) if names is not None else None


def keys_in(connection: sa.Connection, element: str, region: Region) -> list[tuple[Any, ...]]:
    """List the rows of an element that share a point with a region.

    Parameters
    ----------
    element : str
        visit_detector_region, visit, patch or tract, by their regions, a visit without one by those
        of its detectors; or exposure, by its pointing.
    region : lsst.sphgeom.Region
        ICRS.

    Returns
    -------
    list of tuple
        Values of the dimensions that `keys_of` names.
    """
    if element == "exposure":
        return _pointings_in(connection, region)
    found = _overlapping(connection, element, region)
    if element == "visit":
        by_detector = _overlapping(connection, "visit_detector_region", region, _without_region())
        found += [key[:2] for key in by_detector]
    return list(dict.fromkeys(found))


def _without_region() -> sa.ColumnElement[bool]:
    """Select visit-detector regions whose visit has no region of its own."""
    of, visit = schema.visit_detector_region, schema.visit
    return (
        sa.select(visit.c.id)
        .where(
            visit.c.instrument == of.c.instrument,
            visit.c.id == of.c.visit,
            visit.c.region.is_(None),
        )
        .exists()
    )


def _overlapping(
    connection: sa.Connection,
    element: str,
    region: Region,
    *conditions: sa.ColumnElement[bool],
) -> list[tuple[Any, ...]]:
    indexed = _INDEXED[element]
    ranges = [{"b": begin, "e": end} for begin, end in pixel_ranges(region)]
    given = rows_of(connection, ranges, {"b": sa.BigInteger, "e": sa.BigInteger})
    pixels, table = indexed.pixels, indexed.table
    near = (
        sa.select(*(pixels.c[k] for k in indexed.keys))
        .join_from(given, pixels, shares_pixel(given.c.b, given.c.e, pixels))
        .distinct()
        .subquery("near")
    )
    same = sa.and_(*(near.c[k] == table.c[c] for k, c in indexed.keys.items()))
    candidates = sa.select(near, table.c.region).join_from(near, table, same).where(*conditions)
    return [
        tuple(row[:-1]) for row in connection.execute(candidates) if touch(region, decode(row[-1]))
    ]


def _pointings_in(connection: sa.Connection, region: Region) -> list[tuple[Any, ...]]:
    from lsst.sphgeom import LonLat, UnitVector3d

    box = region.getBoundingBox()
    low, high = (box.getLat().getA().asDegrees(), box.getLat().getB().asDegrees())
    e = schema.exposure
    # a tenth of a milliarcsecond, so that rounding in SQL loses no point of the border
    margin = 3e-8
    asked = sa.select(e.c.instrument, e.c.id, e.c.ra, e.c.dec).where(
        e.c.dec.between(low - margin, high + margin), e.c.ra.is_not(None)
    )
    return [
        (instrument, number)
        for instrument, number, ra, dec in connection.execute(asked)
        if math.isfinite(ra)
        and abs(dec) <= 90
        and region.contains(UnitVector3d(LonLat.fromDegrees(ra, dec)))
    ]


def region_pairs(connection: sa.Connection, observed: str, sky: str) -> list[tuple[Any, ...]]:
    """List which observations and parts of the sky share a point.

    Parameters
    ----------
    observed : str
        visit_detector_region, or visit: by its own region, or by those of its detectors when it
        has none.
    sky : str
        patch or tract.

    Returns
    -------
    list of tuple
        Values of the dimensions that `keys_of` names for the one and the other.
    """
    found = _touching(connection, observed, sky)
    if observed == "visit":
        by_detector = _touching(connection, "visit_detector_region", sky, _without_region())
        found += [(*key[:2], *key[3:]) for key in by_detector]
    return list(dict.fromkeys(found))


def _touching(
    connection: sa.Connection, observed: str, sky: str, *conditions: sa.ColumnElement[bool]
) -> list[tuple[Any, ...]]:
    one, other = _INDEXED[observed], _INDEXED[sky]
    meet = shares_pixel(one.pixels.c.pixel_begin, one.pixels.c.pixel_end, other.pixels)
    near = (
        sa.select(*(one.pixels.c[k] for k in one.keys), *(other.pixels.c[k] for k in other.keys))
        .join_from(one.pixels, other.pixels, meet)
        .distinct()
        .subquery("near")
    )
    candidates = (
        sa.select(near, one.table.c.region, other.table.c.region)
        .join_from(
            near, one.table, sa.and_(*(near.c[k] == one.table.c[c] for k, c in one.keys.items()))
        )
        .join(
            other.table,
            sa.and_(*(near.c[k] == other.table.c[c] for k, c in other.keys.items())),
        )
        .where(*conditions)
    )
    read = cache(decode)
    return [
        tuple(row[:-2])
        for row in connection.execute(candidates)
        if touch(read(bytes(row[-2])), read(bytes(row[-1])))
    ]


def table_of_keys(
    connection: sa.Connection, names: Sequence[str], keys: Iterable[tuple[Any, ...]], alias: str
) -> sa.Subquery:
    """Make a table expression of keys, with a column per dimension.

    Parameters
    ----------
    names : sequence of str
        Dimensions, in the order of the values.
    alias : str
        Two in one statement need two.
    """
    types = {n: sa.String if n in ("instrument", "skymap") else sa.BigInteger for n in names}
    items = [dict(zip(names, key, strict=True)) for key in keys]
    return rows_of(connection, items, types, alias)
