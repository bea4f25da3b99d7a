"""How is a sky region told to people and to the Virtual Observatory?

As the text that IVOA tables carry (``POLYGON ICRS ra dec ...``), its middle and its size.  They are
computed from the stored bytes when a region is inserted, thousands at once.  Where regions are and
what they touch: `registry.regions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["COLUMNS", "describe", "with_footprints"]

COLUMNS = ("stc_s", "center_ra", "center_dec", "diameter_deg")
"""Columns of a row with a region that tell it."""

_VECTOR = 24  # bytes of three doubles


def with_footprints(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Complete rows that have a ``region`` (bytes) by the columns that tell it.

    What a row gives for these columns itself is kept.
    """
    told = describe([row["region"] for row in rows])
    return [
        {**row, **{k: v for k, v in more.items() if row.get(k) is None}}
        for row, more in zip(rows, told, strict=True)
    ]


def describe(regions: Sequence[bytes]) -> list[Mapping[str, Any]]:
    """Tell regions as text, middle and size.

    Parameters
    ----------
    regions : sequence of bytes
        In the encoding of `lsst.sphgeom`, ICRS.

    Returns
    -------
    list of mapping
        With `COLUMNS`: the region as STC-S text (None for shapes other than polygon and circle),
        its middle, ICRS [deg], and the diameter of a circle around it [deg].  The middle of a
        polygon is the mean of its corners.
    """
    told: list[Mapping[str, Any]] = [{}] * len(regions)
    polygons: dict[int, list[int]] = {}
    for n, region in enumerate(regions):
        if region[:1] == b"p" and len(region) % _VECTOR == 1:
            polygons.setdefault(len(region), []).append(n)
        else:
            told[n] = _other(bytes(region))
    for size, places in polygons.items():
        corners = np.frombuffer(b"".join(bytes(regions[n])[1:] for n in places), "<f8")
        vectors = corners.reshape(len(places), (size - 1) // _VECTOR, 3)
        for n, row in zip(places, _polygons(vectors), strict=True):
            told[n] = row
    return told


def _polygons(vectors: NDArray[np.float64]) -> list[Mapping[str, Any]]:
    middle = vectors.sum(axis=1)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    chords = np.linalg.norm(vectors - middle[:, None, :], axis=2).max(axis=1)
    diameters = np.degrees(4 * np.arcsin(np.minimum(chords / 2, 1)))
    corners = _lon_lat(vectors).reshape(len(vectors), -1)
    pattern = "POLYGON ICRS" + " %.7f" * corners.shape[1]
    return [
        dict(zip(COLUMNS, (pattern % tuple(corner), ra, dec, diameter), strict=True))
        for corner, (ra, dec), diameter in zip(
            corners.tolist(), _lon_lat(middle).tolist(), diameters.tolist(), strict=True
        )
    ]


def _lon_lat(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.stack(
        [np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))], -1
    )


def _other(region: bytes) -> Mapping[str, Any]:
    from lsst.sphgeom import Circle, LonLat, Region

    shape = Region.decode(region)
    around = shape.getBoundingCircle()
    middle = LonLat(around.getCenter())
    ra, dec = middle.getLon().asDegrees(), middle.getLat().asDegrees()
    radius = around.getOpeningAngle().asDegrees()
    text = f"CIRCLE ICRS {ra:.7f} {dec:.7f} {radius:.7f}" if isinstance(shape, Circle) else None
    return dict(zip(COLUMNS, (text, ra, dec, 2 * radius), strict=True))
