"""How is the sky divided into tracts and patches on which exposures are coadded?

A *skymap definition* is a small mapping (or YAML file): a name, and for each tract its centre,
pixel scale and size and how many patches it has. Each patch gets a tangent-plane pixel grid of
its own, as FITS WCS cards, and its region. `covering` writes the definition that the exposures of
a repository need.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from butler.errors import ButlerError
from registry import dimensions, plain_yaml
from registry.errors import did_you_mean
from registry.regions import decode, from_vertices

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa
    from lsst.sphgeom import Region

    from registry.registry import Registry

__all__ = ["SkymapError", "covering", "patches_of", "read", "register"]

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
    definition = source if isinstance(source, Mapping) else read(source)
    name = definition.get("name")
    tracts = definition.get("tracts")
    if not isinstance(name, str) or not isinstance(tracts, list) or not tracts:
        raise SkymapError("A skymap definition needs `name` and a list `tracts`.")
    rows = [(tract, patches_of(name, tract)) for tract in tracts]
    registry.database.transact(_store, name, dict(definition), rows)
    return name


def covering(
    registry: Registry, name: str, scale: float, *, patch_size: int = 2000, border: int = 10
) -> dict[str, Any]:
    """Write the definition of a skymap that covers every exposure with coordinates.

    Exposures that overlap, directly or through others, share a tract.

    Parameters
    ----------
    name : str
        Of the skymap.
    scale : float
        Size of a pixel [arcsec].
    patch_size : int
        Tracts larger than this are divided into patches not larger than this [pixel].
    border : int
        Left free around the exposures [pixel].

    Returns
    -------
    dict
        For `register`.

    Raises
    ------
    SkymapError
        If no exposure has a footprint on the sky, or the scale is not positive.
    """
    if not scale > 0:
        raise SkymapError(f"A pixel of {scale} arcsec is none; give a positive --scale.")
    rows = registry.query_dimension_records("visit_detector_region")
    if not rows:
        raise SkymapError(
            "No exposure in this repository has a footprint on the sky: its headers have no "
            "celestial coordinates, or the camera's definition says `region: none`."
        )
    groups = _connected([((r["instrument"], r["visit"]), decode(r["region"])) for r in rows])
    tracts = []
    for number, regions in enumerate(groups):
        ra, dec, width, height = _extent(regions)
        nx, ny = (int(side * 3600 / scale) + 2 * border for side in (width, height))
        tracts.append(
            {
                "id": number,
                "ra": round(ra, 6),
                "dec": round(dec, 6),
                "scale": scale,
                "size": [nx, ny],
                "patches": [-(-nx // patch_size), -(-ny // patch_size)],
            }
        )
    return {"name": name, "tracts": tracts}


def _connected(
    seen: Sequence[tuple[tuple[str, int], Region]],
) -> list[list[Region]]:
    """Group regions that overlap or belong to one visit, in the order in which they come."""
    groups: list[tuple[set[tuple[str, int]], list[Region]]] = []
    for visit, region in seen:
        visits, regions = {visit}, [region]
        apart = []
        for group in groups:
            if visit in group[0] or any(region.overlaps(p) is not False for p in group[1]):
                visits, regions = visits | group[0], [*group[1], *regions]
            else:
                apart.append(group)
        groups = [*apart, (visits, regions)]
    return [regions for _, regions in groups]


def _extent(regions: Sequence[Region]) -> tuple[float, float, float, float]:
    """Give the centre (ra, dec) of regions and their width and height around it [deg]."""
    import numpy as np
    from astropy.wcs import WCS

    sky = np.array([corner for region in regions for corner in _corners(region)])
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cdelt = [-1.0, 1.0]
    centre = sky[0]
    for _ in range(3):  # the middle of a projection depends on where it is projected from
        wcs.wcs.crval = centre
        wcs.wcs.set()
        flat = wcs.all_world2pix(sky, 0)
        low, high = flat.min(axis=0), flat.max(axis=0)
        centre = wcs.all_pix2world([(low + high) / 2], 0)[0]
    width, height = high - low
    return float(centre[0]), float(centre[1]), float(width), float(height)


def _corners(region: Region) -> list[tuple[float, float]]:
    """List corners that enclose a region: its own, or those of its bounding box [deg]."""
    from lsst.sphgeom import ConvexPolygon, LonLat

    if isinstance(region, ConvexPolygon):
        places = [LonLat(vertex) for vertex in region.getVertices()]
    else:
        box = region.getBoundingBox()
        places = [
            LonLat(lon, lat)
            for lon in (box.getLon().getA(), box.getLon().getB())
            for lat in (box.getLat().getA(), box.getLat().getB())
        ]
    return [(p.getLon().asDegrees(), p.getLat().asDegrees()) for p in places]


def read(source: Any) -> Mapping[str, Any]:
    """Read a skymap definition from a YAML file.

    Raises
    ------
    SkymapError
        If it cannot be read, or holds no mapping.
    """
    try:
        loaded = plain_yaml.load_file(source)
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
    """Give the region of the outer corners of pixel grids that share one projection."""
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
