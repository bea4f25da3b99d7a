"""How is the sky divided into tracts and patches on which exposures are coadded?

A *skymap definition* is a small mapping (or YAML file): a name, and for each tract its centre,
pixel scale and size and how many patches it has. Each patch gets a tangent-plane pixel grid of
its own, as FITS WCS cards, and its region.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from butler.errors import ButlerError
from registry import dimensions
from registry.errors import did_you_mean
from registry.regions import from_vertices

if TYPE_CHECKING:
    import sqlalchemy as sa

    from registry.registry import Registry

__all__ = ["SkymapError", "patches_of", "register"]

_TRACT_KEYS = {"id", "ra", "dec", "scale", "size", "patches"}


class SkymapError(ButlerError, ValueError):
    """A skymap definition cannot be used."""

    code = "skymap"


def register(registry: Registry, source: Any) -> str:
    """Register a skymap with its tracts and patches; the same one may be registered again.

    Parameters
    ----------
    source : mapping, str or path-like
        ``name``, and ``tracts``: a list of mappings with ``id``, ``ra`` and ``dec`` of the centre
        (ICRS [deg]), ``scale`` [arcsec/pixel], ``size`` (nx, ny [pixel]) and ``patches`` (mx, my);
        or a YAML file with it.

    Returns
    -------
    str
        Its name.

    Raises
    ------
    SkymapError
        If a key is missing, unknown or has no sensible value.
    """
    definition = source if isinstance(source, Mapping) else _read(source)
    name = definition.get("name")
    tracts = definition.get("tracts")
    if not isinstance(name, str) or not isinstance(tracts, list) or not tracts:
        raise SkymapError("A skymap definition needs `name` and a list `tracts`.")
    rows = [(tract, patches_of(name, tract)) for tract in tracts]
    registry.database.transact(_store, name, dict(definition), rows)
    return name


def _read(source: Any) -> Mapping[str, Any]:
    try:
        loaded = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise SkymapError(
            f"{source} cannot be read as a skymap definition: {error}", path=source
        ) from error
    if not isinstance(loaded, Mapping):
        raise SkymapError(f"{source} holds no mapping with `name` and `tracts`.", path=source)
    return loaded


def patches_of(skymap: str, tract: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Divide a tract into patches.

    Parameters
    ----------
    skymap : str
        Name of the skymap.
    tract : mapping
        As in the definition.

    Returns
    -------
    list of dict
        Rows of the patch table: region (lsst.sphgeom) and ``wcs`` (FITS cards with NAXIS1, NAXIS2).

    Raises
    ------
    SkymapError
        If a key is missing, unknown or has no sensible value.
    """
    for key in tract:
        if key not in _TRACT_KEYS:
            raise SkymapError(
                f"A tract has no key '{key}'.{did_you_mean(key, _TRACT_KEYS)}", name=key
            )
    try:
        number = int(tract["id"])
        ra, dec, scale = float(tract["ra"]), float(tract["dec"]), float(tract["scale"]) / 3600
        nx, ny = (int(n) for n in tract["size"])
        mx, my = (int(n) for n in tract.get("patches", (1, 1)))
    except (KeyError, TypeError, ValueError) as error:
        raise SkymapError(
            f"The tract {dict(tract)} lacks a value, or has a wrong one: {error}."
        ) from error
    if min(nx, ny, mx, my) < 1 or scale <= 0 or not -90 <= dec <= 90:
        raise SkymapError(f"The tract {dict(tract)} has no pixels, or lies outside the sky.")
    xs = [round(i * nx / mx) for i in range(mx + 1)]
    ys = [round(j * ny / my) for j in range(my + 1)]
    rows = []
    for j in range(my):
        for i in range(mx):
            cards = {
                "CTYPE1": "RA---TAN",
                "CTYPE2": "DEC--TAN",
                "CRVAL1": ra,
                "CRVAL2": dec,
                "CRPIX1": nx / 2 + 0.5 - xs[i],
                "CRPIX2": ny / 2 + 0.5 - ys[j],
                "CD1_1": -scale,
                "CD1_2": 0.0,
                "CD2_1": 0.0,
                "CD2_2": scale,
                "NAXIS1": xs[i + 1] - xs[i],
                "NAXIS2": ys[j + 1] - ys[j],
            }
            row = {"skymap": skymap, "tract": number, "id": j * mx + i, "wcs": cards}
            rows.append(row | {"region": _region([cards])})
    return rows


def _region(grids: list[dict[str, Any]]) -> Any:
    """Give the polygon of the outer corners of pixel grids that share one projection."""
    from astropy.io.fits import Header
    from astropy.wcs import WCS

    first = grids[0]
    wcs = WCS(Header({k: v for k, v in first.items() if not k.startswith("NAXIS")}))
    low_x, low_y, high_x, high_y = 0.5, 0.5, first["NAXIS1"] + 0.5, first["NAXIS2"] + 0.5
    for grid in grids[1:]:
        x = first["CRPIX1"] - grid["CRPIX1"]
        y = first["CRPIX2"] - grid["CRPIX2"]
        low_x, low_y = min(low_x, x + 0.5), min(low_y, y + 0.5)
        high_x = max(high_x, x + grid["NAXIS1"] + 0.5)
        high_y = max(high_y, y + grid["NAXIS2"] + 0.5)
    corners = [(low_x, low_y), (high_x, low_y), (high_x, high_y), (low_x, high_y)]
    return from_vertices(wcs.all_pix2world(corners, 1).tolist())


def _store(
    connection: sa.Connection,
    name: str,
    definition: dict[str, Any],
    rows: list[tuple[Mapping[str, Any], list[dict[str, Any]]]],
) -> None:
    dimensions.insert_dimension_records(
        connection, "skymap", [{"name": name, "definition": definition}], "skip"
    )
    for tract, patches in rows:
        whole = {
            "skymap": name,
            "id": int(tract["id"]),
            "region": _region([p["wcs"] for p in patches]),
        }
        dimensions.insert_dimension_records(connection, "tract", [whole], "skip")
        dimensions.insert_dimension_records(connection, "patch", patches, "skip")
