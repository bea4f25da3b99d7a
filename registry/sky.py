"""Which rows lie in a part of the sky, and which rows of two kinds touch each other?

The candidates share a HEALPix pixel and are found in SQL; the exact test is sphgeom's.  The answer
is a set of keys, so that conditions made of it can be negated, joined and counted like any other.
How regions are stored and indexed: `registry.regions`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import rows_of
from registry.errors import InvalidDataId
from registry.regions import HEALPIX_ORDER, covering_pixels, decode, pixel_ranges, shares_pixel
from registry.schema import dimensions as schema
from registry.touching import touch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lsst.sphgeom import Region

__all__ = [
    "OBSERVED",
    "SKY",
    "Narrowing",
    "keys_in",
    "keys_of",
    "pixels_of",
    "pointing_pairs",
    "region_pairs",
    "table_of_keys",
]

Narrowing = Callable[[Mapping[str, Any]], Sequence[Any]]
"""Gives conditions that all pairs asked for fulfil, for the columns of some dimensions."""
MAX_PIXELS = 1_000_000
"""More pixels than these are not listed for one question."""


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


def _all(_: Mapping[str, Any]) -> Sequence[Any]:
    return ()


def region_pairs(
    connection: sa.Connection, observed: str, sky: str, narrowing: Narrowing = _all
) -> list[tuple[Any, ...]]:
    """List which observations and parts of the sky share a point.

    Parameters
    ----------
    observed : str
        visit_detector_region, or visit: by its own region, or by those of its detectors when it
        has none.
    sky : str
        patch or tract.
    narrowing : callable, optional
        Says which pairs matter, for columns of the keys of both.

    Returns
    -------
    list of tuple
        Values of the dimensions that `keys_of` names for the one and the other.
    """
    found = _touching(connection, observed, sky, narrowing)
    if observed == "visit":
        finest = "visit_detector_region"
        by_detector = _touching(connection, finest, sky, narrowing, _without_region())
        found += [(*key[:2], *key[3:]) for key in by_detector]
    return list(dict.fromkeys(found))


def _touching(
    connection: sa.Connection,
    observed: str,
    sky: str,
    narrowing: Narrowing,
    *conditions: sa.ColumnElement[bool],
) -> list[tuple[Any, ...]]:
    one, other = _INDEXED[observed], _INDEXED[sky]
    meet = shares_pixel(one.pixels.c.pixel_begin, one.pixels.c.pixel_end, other.pixels)
    near = (
        sa.select(*(one.pixels.c[k] for k in one.keys), *(other.pixels.c[k] for k in other.keys))
        .join_from(one.pixels, other.pixels, meet)
        .where(*narrowing({k: i.pixels.c[k] for i in (one, other) for k in i.keys}))
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


def pointing_pairs(
    connection: sa.Connection, sky: str, narrowing: Narrowing = _all
) -> list[tuple[Any, ...]]:
    """List which exposures that belong to no visit point into which parts of the sky.

    Parameters
    ----------
    sky : str
        patch or tract.
    narrowing : callable, optional
        As for `region_pairs`.

    Returns
    -------
    list of tuple
        instrument, exposure, and the dimensions that `keys_of` names for the part.
    """
    import hpgeom
    from lsst.sphgeom import LonLat, UnitVector3d

    e, part = schema.exposure, _INDEXED[sky]
    known = {"instrument": e.c.instrument, "exposure": e.c.id}
    asked = sa.select(e.c.instrument, e.c.id, e.c.ra, e.c.dec).where(
        e.c.ra.is_not(None), e.c.dec.between(-90, 90), ~_in_a_visit(), *narrowing(known)
    )
    rows = [r for r in connection.execute(asked) if math.isfinite(r.ra)]
    if not rows:
        return []
    pixels = hpgeom.angle_to_pixel(2**HEALPIX_ORDER, [r.ra for r in rows], [r.dec for r in rows])
    places = {n: UnitVector3d(LonLat.fromDegrees(r.ra, r.dec)) for n, r in enumerate(rows)}
    given = rows_of(connection, [{"p": int(p)} for p in pixels], {"p": sa.BigInteger}, "pointing")
    near = (
        sa.select(given.c.n, *(part.pixels.c[k] for k in part.keys))
        .join_from(given, part.pixels, shares_pixel(given.c.p, given.c.p + 1, part.pixels))
        .where(*narrowing({k: part.pixels.c[k] for k in part.keys}))
        .distinct()
        .subquery("near")
    )
    same = sa.and_(*(near.c[k] == part.table.c[c] for k, c in part.keys.items()))
    candidates = sa.select(near, part.table.c.region).join_from(near, part.table, same)
    read = cache(decode)
    return [
        (rows[n].instrument, rows[n].id, *keys)
        for n, *keys, region in connection.execute(candidates)
        if read(bytes(region)).contains(places[n])
    ]


def _in_a_visit() -> sa.ColumnElement[bool]:
    e, link = schema.exposure, schema.visit_exposure
    same = (link.c.instrument == e.c.instrument, link.c.exposure == e.c.id)
    return sa.select(link.c.visit).where(*same).exists()


def pixels_of(
    connection: sa.Connection, element: str, narrowing: Narrowing = _all
) -> list[tuple[Any, ...]]:
    """List which HEALPix pixels the rows of an element share a point with.

    Parameters
    ----------
    element : str
        visit_detector_region, visit, patch, tract, or exposure, whose pointing counts.
    narrowing : callable, optional
        As for `region_pairs`.

    Returns
    -------
    list of tuple
        Values of the dimensions that `keys_of` names, and the pixel: nested, of order
        `registry.regions.HEALPIX_ORDER`.

    Raises
    ------
    InvalidDataId
        If there are more than `MAX_PIXELS`.
    """
    found: dict[tuple[Any, ...], None] = {}
    for pair in _pixels_of(connection, element, narrowing):
        found[pair] = None
        if len(found) > MAX_PIXELS:
            raise InvalidDataId(
                f"More than {MAX_PIXELS} pixels touch what is asked for; say which "
                f"{' or '.join(keys_of(element) or ())} you mean."
            )
    return list(found)


def _pixels_of(
    connection: sa.Connection, element: str, narrowing: Narrowing
) -> Iterator[tuple[Any, ...]]:
    if element == "exposure":
        import hpgeom

        e = schema.exposure
        known = {"instrument": e.c.instrument, "exposure": e.c.id}
        asked = sa.select(e.c.instrument, e.c.id, e.c.ra, e.c.dec).where(
            e.c.ra.is_not(None), e.c.dec.between(-90, 90), *narrowing(known)
        )
        for row in connection.execute(asked):
            if math.isfinite(row.ra):
                pixel = int(hpgeom.angle_to_pixel(2**HEALPIX_ORDER, row.ra, row.dec))
                yield (row.instrument, row.id, pixel)
        return
    yield from _pixels_of_regions(connection, element, narrowing)
    if element == "visit":
        finest = "visit_detector_region"
        for *key, pixel in _pixels_of_regions(connection, finest, narrowing, _without_region()):
            yield (*key[:2], pixel)


def _pixels_of_regions(
    connection: sa.Connection,
    element: str,
    narrowing: Narrowing,
    *conditions: sa.ColumnElement[bool],
) -> Iterator[tuple[Any, ...]]:
    from lsst.sphgeom import HealpixPixelization

    pixel_region = cache(HealpixPixelization(HEALPIX_ORDER).pixel)
    indexed = _INDEXED[element]
    table, keys = indexed.table, indexed.keys
    asked = sa.select(*(table.c[c] for c in keys.values()), table.c.region).where(
        table.c.region.is_not(None),
        *narrowing({k: table.c[c] for k, c in keys.items()}),
        *conditions,
    )
    for *key, stored in connection.execute(asked):
        region = decode(stored)
        for pixel in covering_pixels(region):
            if touch(region, pixel_region(pixel)):
                yield (*key, pixel)


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
