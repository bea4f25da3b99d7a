"""Which part of the sky does a new row cover, and which other rows does it touch?

The pixel ranges of a region are written when it is inserted, and the overlaps of visit-detector
regions with patches once, when either side is.  Candidates share a pixel and are found in SQL; the
exact test is `registry.touching`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from registry.covering import covers
from registry.database import CHUNK, hold_rows, insert_missing, lock_rows, table_of
from registry.regions import LONGEST, shares_pixel
from registry.schema.dimensions import (
    overlap,
    patch,
    patch_pixel,
    tract_pixel,
    visit_detector_pixel,
    visit_detector_region,
    visit_pixel,
)
from registry.schema.identity import repository
from registry.touching import touching

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

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
    ranges = {"pixel_begin": begins.tolist(), "pixel_end": ends.tolist()}
    _insert(connection, index, {**_taken(keys, which.tolist()), **ranges})
    if element in _OPPOSITE:
        _await_the_other_side(connection, element)
        mine, others = _touched(connection, element, regions, (which, begins, ends))
        _insert(connection, overlap, {**_taken(keys, mine), **others})


def _await_the_other_side(connection: sa.Connection, element: str) -> None:
    """See what the other side inserts at the same time, or let it see what is inserted here.

    Either would miss the other's rows while they are not committed.  Those who insert visits may
    do so together; patches wait for them, and they for patches.
    """
    held = lock_rows if element == "patch" else hold_rows
    connection.execute(held(sa.select(repository.c.one), connection))


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
    ranges: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
) -> tuple[list[int], dict[str, list[Any]]]:
    """Find what new regions touch on the other side.

    Parameters
    ----------
    ranges : tuple of array
        The place of a region, and its ranges of pixels.

    Returns
    -------
    list of int
        Place of the region.
    dict
        By column the keys of the row that it touches.
    """
    opposite, table = _OPPOSITE[element]
    index, names = _INDEXES[opposite]
    nearest_first = np.argsort(ranges[1])
    which, begins, ends = (column[nearest_first] for column in ranges)
    touched: dict[tuple[Any, ...], None] = {}
    for start in range(0, len(which), CHUNK):
        part = slice(start, start + CHUNK)
        stored = _stored_in(connection, index, names, table, begins[part], ends[part])
        if not stored:
            continue
        there, those = _sharing(begins[part], ends[part], stored)
        keys = {row[2:-1]: n for n, row in enumerate(stored)}
        one_of = np.array([keys[row[2:-1]] for row in stored])
        met = np.unique(which[part][those] * len(stored) + one_of[there])
        pairs = list(zip(*(side.tolist() for side in divmod(met, len(stored))), strict=True))
        close = touching([regions[n] for n, _ in pairs], [stored[row][-1] for _, row in pairs])
        touched |= {
            (n, *stored[row][2:-1]): None
            for (n, row), touch in zip(pairs, close, strict=True)
            if touch
        }
    columns = list(zip(*touched, strict=True)) or [()] * (len(names) + 1)
    return list(columns[0]), {k: list(v) for k, v in zip(names, columns[1:], strict=True)}


def _stored_in(
    connection: sa.Connection,
    index: sa.Table,
    names: Mapping[str, str],
    table: sa.Table,
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> list[Any]:
    """List the stored ranges in a part of the sky, with the key and the region of their row.

    The part is that of sorted ranges and of the gaps between them that are short.
    """
    reach = np.maximum.accumulate(ends)
    firsts = np.flatnonzero(np.append(True, begins[1:] - reach[:-1] > LONGEST[index.name]))
    lasts = np.append(firsts[1:], len(begins)) - 1
    sky = {
        "pixel_begin": (sa.BigInteger, begins[firsts].tolist()),
        "pixel_end": (sa.BigInteger, reach[lasts].tolist()),
    }
    new = table_of(connection, sky)
    near = (
        sa.select(index.c.pixel_begin, index.c.pixel_end, *(index.c[key] for key in names))
        .join_from(new, index, shares_pixel(new.c.pixel_begin, new.c.pixel_end, index))
        .distinct()
        .subquery("near")
    )
    same = sa.and_(*(near.c[key] == table.c[name] for key, name in names.items()))
    return list(connection.execute(sa.select(near, table.c.region).join(table, same)).all())


def _sharing(
    begins: NDArray[np.int64], ends: NDArray[np.int64], stored: Sequence[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair stored ranges with those of the new ones, sorted by their begin, that share a pixel."""
    span = int((ends - begins).max())
    others = np.array([row[:2] for row in stored])
    first = np.searchsorted(begins, others[:, 0] - span, "right")
    n_near = np.searchsorted(begins, others[:, 1]) - first
    there = np.repeat(np.arange(len(stored)), n_near)
    nth = np.arange(len(there)) - np.repeat(np.cumsum(n_near) - n_near, n_near)
    those = first[there] + nth
    share = ends[those] > others[there, 0]
    return there[share], those[share]
