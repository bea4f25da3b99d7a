"""Which part of the sky does a new row cover, and which other rows does it touch?

The pixel ranges of a region are written when it is inserted, and the overlaps of visit-detector
regions with patches once, when either side is.  Candidates share a pixel and are found in SQL; the
exact test is `registry.touching`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import CHUNK, insert_missing, table_of
from registry.regions import covers, shares_pixel
from registry.schema.dimensions import (
    overlap,
    patch,
    patch_pixel,
    tract_pixel,
    visit_detector_pixel,
    visit_detector_region,
    visit_pixel,
)
from registry.touching import touching

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["index_regions"]

_VISIT = {"instrument": "instrument", "visit": "visit", "detector": "detector"}
_PATCH = {"skymap": "skymap", "tract": "tract", "patch": "id"}
_INDEXES = {
    "visit_detector_region": (visit_detector_pixel, _VISIT),
    "patch": (patch_pixel, _PATCH),
    "visit": (visit_pixel, {"instrument": "instrument", "visit": "id"}),
    "tract": (tract_pixel, {"skymap": "skymap", "tract": "id"}),
}
"""Of each element with regions its table of ranges, and how its key is named there and here."""
_OPPOSITE = {
    "visit_detector_region": ("patch", patch),
    "patch": ("visit_detector_region", visit_detector_region),
}


def index_regions(
    connection: sa.Connection, element: str, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Index new regions; of visit-detector regions and patches, record which touch each other.

    What others touch is asked when it matters.

    Parameters
    ----------
    element : str
        What the rows are; an element without regions is passed over, and a row without one.
    """
    if element not in _INDEXES:
        return
    index, names = _INDEXES[element]
    seen = [row for row in rows if row["region"] is not None]
    if not seen:
        return
    keys = {key: [row[name] for row in seen] for key, name in names.items()}
    regions = [row["region"] for row in seen]
    which, begins, ends = covers(regions, index)
    ranges = {"pixel_begin": begins, "pixel_end": ends}
    _insert(connection, index, {**_taken(keys, which), **ranges})
    if element in _OPPOSITE:
        mine, others = _touched(connection, element, regions, {"which": which, **ranges})
        _insert(connection, overlap, {**_taken(keys, mine), **others})


def _taken(columns: Mapping[str, Sequence[Any]], places: Sequence[int]) -> dict[str, list[Any]]:
    return {name: [values[n] for n in places] for name, values in columns.items()}


def _insert(
    connection: sa.Connection, table: sa.Table, columns: Mapping[str, Sequence[Any]]
) -> None:
    """Insert whole columns into a table of keys and numbers, leaving out rows that are there."""
    types = {name: table.c[name].type for name in columns}
    kinds = {n: sa.String if isinstance(t, sa.String) else sa.BigInteger for n, t in types.items()}
    for start in range(0, len(next(iter(columns.values()))), CHUNK):
        part = slice(start, start + CHUNK)
        given = table_of(connection, {n: (kinds[n], v[part]) for n, v in columns.items()})
        chosen = sa.select(*(given.c[name] for name in columns))
        insert_missing(connection, table, chosen, list(columns))


def _touched(
    connection: sa.Connection,
    element: str,
    regions: Sequence[bytes],
    ranges: Mapping[str, Sequence[int]],
) -> tuple[list[int], dict[str, list[Any]]]:
    """Find what new regions touch on the other side.

    Parameters
    ----------
    ranges : mapping
        The pixel ranges, and under ``which`` the place of their region.

    Returns
    -------
    list of int
        Place of the region.
    dict
        By column the keys of the row that it touches.
    """
    opposite, table = _OPPOSITE[element]
    index, names = _INDEXES[opposite]
    found: list[Any] = []
    for start in range(0, len(ranges["which"]), CHUNK):
        part = slice(start, start + CHUNK)
        new = table_of(connection, {n: (sa.BigInteger, v[part]) for n, v in ranges.items()})
        meet = shares_pixel(new.c.pixel_begin, new.c.pixel_end, index)
        near = (
            sa.select(new.c.which, *(index.c[key] for key in names))
            .join_from(new, index, meet)
            .distinct()
            .subquery("near")
        )
        same = sa.and_(*(near.c[key] == table.c[name] for key, name in names.items()))
        found += connection.execute(sa.select(near, table.c.region).join(table, same)).all()
    touch = touching([regions[row[0]] for row in found], [row[-1] for row in found])
    chosen = [row for row, touches in zip(found, touch, strict=True) if touches]
    columns = list(zip(*chosen, strict=True)) or [()] * (len(names) + 2)
    return list(columns[0]), {k: list(v) for k, v in zip(names, columns[1:-1], strict=True)}
