"""Which pixels, where on the sky, does a coadd have?

A `TanGrid` is a rectangle of square pixels in the gnomonic projection.  It is written as the FITS
cards that a patch record keeps (``patch.wcs``), it can cover given images, and it can be divided
into patches that share its projection.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from workflow.ccd.errors import NoSkyCoordinates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["TanGrid"]


@dataclass(frozen=True)
class TanGrid:
    """A rectangle of pixels in the gnomonic projection, north up, east left.

    Parameters
    ----------
    ra, dec : float
        Where the plane touches the sphere, ICRS [deg].
    scale : float
        Size of a pixel [arcsec].
    rows, columns : int
        Size of the rectangle.
    x, y : float
        The pixel, counted from 0, that lies on (ra, dec).
    """

    ra: float
    dec: float
    scale: float
    rows: int
    columns: int
    x: float
    y: float

    @classmethod
    def centred(cls, ra: float, dec: float, scale: float, rows: int, columns: int) -> Self:
        """Make the grid whose middle is at (ra, dec), ICRS [deg], with pixels of scale [arcsec]."""
        return cls(ra, dec, scale, rows, columns, (columns - 1) / 2, (rows - 1) / 2)

    @classmethod
    def covering(
        cls, images: Iterable[CCDData], scale: float | None = None, border: int = 1
    ) -> Self:
        """Make the smallest grid that covers some images.

        Parameters
        ----------
        images : iterable of astropy.nddata.CCDData
            With WCS.
        scale : float, optional
            Size of a pixel [arcsec]; the smallest of the images by default.
        border : int
            Pixels added on each side.

        Raises
        ------
        NoSkyCoordinates
            If an image has no WCS.
        """
        from astropy.coordinates import SkyCoord
        from astropy.wcs.utils import proj_plane_pixel_scales

        corners, scales = [], []
        for image in images:
            if image.wcs is None or not image.wcs.has_celestial:
                raise NoSkyCoordinates("An image without WCS cannot be put on a grid of the sky.")
            rows, columns = image.data.shape
            x = np.array([-0.5, columns - 0.5, columns - 0.5, -0.5])
            y = np.array([-0.5, -0.5, rows - 0.5, rows - 0.5])
            corners.append(image.wcs.celestial.pixel_to_world(x, y).icrs.cartesian.xyz.value.T)
            scales.append(3600.0 * float(np.mean(proj_plane_pixel_scales(image.wcs.celestial))))
        points = np.concatenate(corners)
        middle = SkyCoord(*points.mean(axis=0), representation_type="cartesian").spherical
        size = min(scales) if scale is None else scale
        grid = cls.centred(float(middle.lon.deg), float(middle.lat.deg), size, 1, 1)
        sky = SkyCoord(*points.T, representation_type="cartesian")
        px, py = grid.wcs().world_to_pixel(SkyCoord(sky.spherical.lon, sky.spherical.lat))
        left, low = np.floor(px.min()) - border, np.floor(py.min()) - border
        columns = int(np.ceil(px.max()) + border - left) + 1
        rows = int(np.ceil(py.max()) + border - low) + 1
        return replace(grid, rows=rows, columns=columns, x=grid.x - left, y=grid.y - low)

    @classmethod
    def from_cards(cls, cards: Mapping[str, Any]) -> Self:
        """Read the grid from FITS cards as `to_cards` writes them.

        Raises
        ------
        NoSkyCoordinates
            If a card is missing, or the pixels are not square with north up.
        """
        try:
            cd = [float(cards.get(k, 0.0)) for k in ("CD1_1", "CD1_2", "CD2_1", "CD2_2")]
            grid = cls(
                float(cards["CRVAL1"]),
                float(cards["CRVAL2"]),
                cd[3] * 3600.0,
                int(cards["NAXIS2"]),
                int(cards["NAXIS1"]),
                float(cards["CRPIX1"]) - 1,
                float(cards["CRPIX2"]) - 1,
            )
        except KeyError as error:
            raise NoSkyCoordinates(f"The grid of a patch needs the card {error}.") from None
        if cd[1] or cd[2] or cd[0] != -cd[3] or cards.get("CTYPE1", "RA---TAN") != "RA---TAN":
            raise NoSkyCoordinates(
                "The grid of a patch is a gnomonic projection of square pixels with north up."
            )
        return grid

    def to_cards(self) -> dict[str, Any]:
        """Write the grid as FITS cards, JSON ready."""
        degrees = self.scale / 3600.0
        return {
            "NAXIS1": self.columns,
            "NAXIS2": self.rows,
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CUNIT1": "deg",
            "CUNIT2": "deg",
            "CRVAL1": self.ra,
            "CRVAL2": self.dec,
            "CRPIX1": self.x + 1,
            "CRPIX2": self.y + 1,
            "CD1_1": -degrees,
            "CD1_2": 0.0,
            "CD2_1": 0.0,
            "CD2_2": degrees,
            "RADESYS": "ICRS",
        }

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return self.rows, self.columns

    def wcs(self) -> Any:
        """Return the grid as an `astropy.wcs.WCS`."""
        from astropy.wcs import WCS

        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval = [self.ra, self.dec]
        wcs.wcs.crpix = [self.x + 1, self.y + 1]
        wcs.wcs.cdelt = [-self.scale / 3600.0, self.scale / 3600.0]
        wcs.wcs.radesys = "ICRS"
        wcs.array_shape = self.shape
        wcs.wcs.set()
        return wcs

    def divide(self, across: int, up: int, overlap: int = 0) -> Iterator[TanGrid]:
        """Divide the grid into patches, row by row from the lower left.

        Parameters
        ----------
        across, up : int
            Number of patches along x and y.
        overlap : int
            Pixels by which each patch reaches into its neighbours, on each side.

        Yields
        ------
        TanGrid
            With pixels that coincide with those of the whole.
        """
        xs = np.linspace(0, self.columns, across + 1).round().astype(int)
        ys = np.linspace(0, self.rows, up + 1).round().astype(int)
        for y0, y1 in pairwise(ys):
            for x0, x1 in pairwise(xs):
                left, low = max(int(x0) - overlap, 0), max(int(y0) - overlap, 0)
                right = min(int(x1) + overlap, self.columns)
                high = min(int(y1) + overlap, self.rows)
                yield replace(
                    self, rows=high - low, columns=right - left, x=self.x - left, y=self.y - low
                )

    def corners(self) -> NDArray[np.float64]:
        """Return right ascension and declination [deg, ICRS] of the outer corners, shape (4, 2)."""
        x = np.array([-0.5, self.columns - 0.5, self.columns - 0.5, -0.5])
        y = np.array([-0.5, -0.5, self.rows - 0.5, self.rows - 0.5])
        sky = self.wcs().pixel_to_world(x, y)
        return np.column_stack([sky.ra.deg, sky.dec.deg])
