"""Which part of the sky does an image cover, as its header's world coordinate system says?

The corners of the pixel area through wcslib (every projection and distortion that it knows: TAN,
SIP, TPV, ...), as ICRS degrees.  A header without celestial axes has no footprint.  For pixels and
full WCS objects: the formatters. Paper II: Calabretta & Greisen 2002, A&A 395, 1077; TPV:
https://fits.gsfc.nasa.gov/registry/tpvwcs.html
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from butler.instrument.cards import Header

__all__ = ["PixelFrame", "footprint"]

_CELESTIAL = {
    ("RA", "DEC"),
    ("DEC", "RA"),
    ("GLON", "GLAT"),
    ("GLAT", "GLON"),
    ("ELON", "ELAT"),
    ("ELAT", "ELON"),
}


@dataclass(frozen=True, slots=True)
class PixelFrame:
    """The pixels that see the sky, where they are not those of the file.

    Parameters
    ----------
    crpix_offset : tuple of float
        Added to CRPIX1 and CRPIX2, for cards that count in another frame [pixel].
    ncols, nrows : int, optional
        Size of the area once what sees no sky is cut off [pixel]; that of the image by default.
    """

    crpix_offset: tuple[float, float] = (0.0, 0.0)
    ncols: int | None = None
    nrows: int | None = None


def footprint(header: Header, frame: PixelFrame | None = None) -> NDArray[np.float64] | None:
    """Compute the sky polygon of an image.

    Parameters
    ----------
    header : Header
        Of the unit that holds the image.
    frame : PixelFrame, optional
        Which pixels see the sky; those of the image as the header describes them by default.

    Returns
    -------
    array of float, shape (4, 2), or None
        Right ascension (0 to 360) and declination of the outer corners of the corner pixels, ICRS
        [deg], in the order (1,1), (nx,1), (nx,ny), (1,ny); None when the header has no celestial
        WCS.

    Raises
    ------
    ValueError
        If the WCS is there and cannot be used: a singular matrix, an unknown projection, corners
        off the sky.
    """
    axes = (_axis(header.get("CTYPE1")), _axis(header.get("CTYPE2")))
    shape = header.shape
    if axes not in _CELESTIAL or len(shape) < 2:
        return None
    from astropy.wcs import WCS, WcsError, Wcsprm

    frame = frame or PixelFrame()
    nx, ny = frame.ncols or shape[0], frame.nrows or shape[1]
    pixels = np.array([[0.5, 0.5], [nx + 0.5, 0.5], [nx + 0.5, ny + 0.5], [0.5, ny + 0.5]])
    pixels -= frame.crpix_offset
    text = header.raw or _written(header)
    try:
        # SIP coefficients without '-SIP' in CTYPE: astropy applies them, wcslib need not.
        if "A_ORDER" in header and not str(header.get("CTYPE1")).endswith("-SIP"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                wcs: Any = WCS(text.decode("latin-1"), naxis=2)
            world = wcs.all_pix2world(pixels, 1)
            return _icrs(world, wcs.wcs)
        prm = Wcsprm(header=text, relax=True, warnings=False)
        if prm.naxis > 2:
            prm = prm.sub([1, 2])
        prm.fix()  # units such as 'degree', dates, cylindrical ranges: as astropy does
        world = prm.p2s(pixels, 1)["world"]
    except (WcsError, ValueError, MemoryError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    return _icrs(world, prm)


def _axis(ctype: object) -> str:
    return str(ctype).partition("-")[0].strip().upper() if isinstance(ctype, str) else ""


def _written(header: Header) -> bytes:
    """Write a header that was given as a mapping as cards."""
    from astropy.io import fits

    cards = fits.Header()
    for key, value in header.items():
        if isinstance(value, str | int | float) and len(key) <= 8:
            cards[key] = value
    return str(cards.tostring(endcard=False, padding=False)).encode("latin-1", "replace")


def _icrs(world: NDArray[np.float64], prm: Any) -> NDArray[np.float64]:
    lng, lat = world[:, prm.lng], world[:, prm.lat]
    if not np.isfinite(world).all():
        raise ValueError("the corners of the image lie outside the projection")
    radesys = (prm.radesys or "").strip().upper()
    equinox = prm.equinox
    equatorial = prm.lngtyp == "RA"
    if equatorial and (
        radesys == "ICRS" or (not radesys and (np.isnan(equinox) or equinox >= 1984))
    ):
        result = np.column_stack([lng % 360, lat])
    elif equatorial and radesys == "FK5" and (np.isnan(equinox) or equinox == 2000):
        result = _fk5_to_icrs(lng, lat)
    else:
        result = _through_astropy(prm, lng, lat)
    return np.ascontiguousarray(result, dtype=np.float64)


def _fk5_to_icrs(lng: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotate FK5 J2000 to the ICRS, by 0.02 arcsec (ESA 1997, Hipparcos vol. 1, section 1.5)."""
    import erfa

    to_hipparcos, _ = erfa.fk5hip()
    vectors = erfa.s2c(np.radians(lng), np.radians(lat)) @ np.asarray(to_hipparcos).T
    ra, dec = erfa.c2s(vectors)
    return np.column_stack([np.degrees(ra) % 360, np.degrees(dec)])


def _through_astropy(
    prm: Any, lng: NDArray[np.float64], lat: NDArray[np.float64]
) -> NDArray[np.float64]:
    from astropy.coordinates import SkyCoord
    from astropy.wcs import WCS
    from astropy.wcs.utils import wcs_to_celestial_frame

    wcs = WCS(naxis=2)
    wcs.wcs = prm
    points = SkyCoord(lng, lat, unit="deg", frame=wcs_to_celestial_frame(wcs)).icrs
    return np.column_stack([points.ra.deg, points.dec.deg])
