"""Did the pipeline measure what was put into the simulated frames?"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workflow.ccd.planes import bit
from workflow.demo.simulate import CENTRE, SIZE, Truth

if TYPE_CHECKING:
    from astropy.table import Table

    from butler.butler import Butler

__all__ = ["Check", "compare"]

BRIGHT = 21.0
"""Stars down to this magnitude in r are expected to be found."""


class Check(NamedTuple):
    """One comparison: what, as measured, the limit of its absolute value, and the unit."""

    what: str
    measured: float
    limit: float
    unit: str

    @property
    def passed(self) -> bool:
        """Whether the limit is kept."""
        return abs(self.measured) <= self.limit


def compare(butler: Butler, collection: str, truth: Truth) -> list[Check]:
    """Compare what is in a collection with the truth.

    Parameters
    ----------
    collection : str
        Output of the demo pipeline.
    truth : Truth
        What `simulate` put in.

    Returns
    -------
    list of Check
    """
    return [
        _bias(butler, collection),
        _dark(butler, collection, truth),
        _flat(butler, collection, truth),
        *_masks(butler, collection, truth),
        *_sources(butler, collection, truth),
        *_coadd_sources(butler, collection, truth),
    ]


def _bias(butler: Butler, collection: str) -> Check:
    levels = [
        float(np.median(butler.get(ref).data))
        for ref in butler.query_datasets("bias", collections=collection)
    ]
    return Check("bias left after the overscan is subtracted", max(levels, key=abs), 0.25, "adu")


def _dark(butler: Butler, collection: str, truth: Truth) -> Check:
    worst = 0.0
    for ref in butler.query_datasets("dark", collections=collection):
        dark = butler.get(ref)
        expected = truth.detectors[int(ref.data_id["detector"])]["dark"]
        good = dark.data if dark.mask is None else dark.data[np.asarray(dark.mask) == 0]
        worst = max(worst, abs(float(np.median(good)) - expected), key=abs)
    return Check("dark current off by", worst, 0.01, "electron/s")


def _flat(butler: Butler, collection: str, truth: Truth) -> Check:
    worst = 0.0
    for ref in butler.query_datasets("flat", collections=collection):
        flat = butler.get(ref)
        ratio = flat.data / truth.detectors[int(ref.data_id["detector"])]["response"]
        ratio /= np.median(ratio)
        middle = 1.4826 * float(np.median(np.abs(ratio - 1)))
        worst = max(worst, middle)
    return Check("flat against the pixel response, scatter", worst, 0.006, "")


def _masks(butler: Butler, collection: str, truth: Truth) -> list[Check]:
    """Compare cosmic rays, and the saturated star, with the masks of calibrated exposures."""
    from scipy.ndimage import binary_dilation

    missed = hits = wrong = marked = unsaturated = bright = 0
    brightest = truth.stars[int(np.argmin(truth.stars["mag_r"]))]
    for ref in butler.query_datasets("calexp", collections=collection):
        calexp = butler.get(ref)
        rays = truth.cosmic_rays[
            (truth.cosmic_rays["exposure"] == ref.data_id["exposure"])
            & (truth.cosmic_rays["detector"] == ref.data_id["detector"])
        ]
        hit = np.zeros(calexp.data.shape, dtype=bool)
        hit[rays["y"], rays["x"]] = True
        otherwise_bad = (calexp.mask & bit("BAD", "SAT")) != 0
        found = (calexp.mask & bit("CR")) != 0
        hits += int(np.count_nonzero(hit & ~otherwise_bad))
        missed += int(np.count_nonzero(hit & ~found & ~otherwise_bad))
        marked += int(np.count_nonzero(found))
        # A marked neighbour of a hit is no mistake.
        wrong += int(np.count_nonzero(found & ~binary_dilation(hit, np.ones((3, 3), bool))))
        x, y = (
            round(float(v)) for v in calexp.wcs.all_world2pix(brightest["ra"], brightest["dec"], 0)
        )
        if 0 <= x < SIZE and 0 <= y < SIZE:
            bright += 1
            unsaturated += not calexp.mask[y, x] & bit("SAT", "BAD")
    return [
        Check("pixels hit by cosmic rays and not marked", missed / hits, 0.05, ""),
        Check("pixels marked as cosmic rays wrongly", wrong / marked, 0.1, ""),
        Check("exposures with the brightest star not marked", unsaturated / bright, 0.0, ""),
    ]


def _sources(butler: Butler, collection: str, truth: Truth) -> list[Check]:
    """Match the sources of every frame with the stars that fell on it."""
    separations: list[float] = []
    magnitudes: list[float] = []
    found = expected = 0
    refs = butler.query_datasets(
        "sources", collections=collection, where="physical_filter = 'Demo r'"
    )
    for ref in refs:
        sources: Table = butler.get(ref)
        wcs = butler.get("calexp", ref.data_id, component="wcs", collections=collection)
        x, y = wcs.all_world2pix(truth.stars["ra"], truth.stars["dec"], 0)
        inside = (x > 8) & (x < SIZE - 9) & (y > 8) & (y < SIZE - 9)
        for star in truth.stars[inside]:
            dra = (sources["ra"] - star["ra"]) * np.cos(np.deg2rad(CENTRE[1])) * 3600
            ddec = (sources["dec"] - star["dec"]) * 3600
            distance = np.hypot(np.asarray(dra), np.asarray(ddec))
            near = int(np.argmin(distance)) if len(distance) else -1
            matched = near >= 0 and distance[near] < 1.0
            if star["mag_r"] < BRIGHT:
                expected += 1
                found += bool(matched)
            if matched and star["mag_r"] < BRIGHT:
                separations.append(float(distance[near]))
                magnitudes.append(float(sources["mag"][near] - star["mag_r"]))
    return [
        Check("stars found off their place, median", float(np.median(separations)), 0.1, "arcsec"),
        Check("their magnitudes off, median", float(np.median(magnitudes)), 0.05, "mag"),
        Check(f"stars brighter than {BRIGHT:.0f} mag missed", 1 - found / expected, 0.1, ""),
    ]


def _coadd_sources(butler: Butler, collection: str, truth: Truth) -> list[Check]:
    """Match the sources of the coadds in r with the stars; what single frames miss is there."""
    magnitudes: list[float] = []
    errors: list[float] = []
    found = expected = 0
    for ref in butler.query_datasets("coadd_sources", collections=collection, where="band = 'r'"):
        sources: Table = butler.get(ref)
        coadd = butler.get("coadd", ref.data_id, collections=collection)
        covered = (coadd.mask & bit("NO_DATA")) == 0
        x, y = coadd.wcs.all_world2pix(truth.stars["ra"], truth.stars["dec"], 0)
        for star, column, row in zip(truth.stars, np.rint(x), np.rint(y), strict=True):
            reach = np.s_[int(row) - 6 : int(row) + 7, int(column) - 6 : int(column) + 7]
            within = 8 <= column < coadd.data.shape[1] - 8 and 8 <= row < coadd.data.shape[0] - 8
            if not within or not covered[reach].all():
                continue
            away = np.hypot(
                (sources["ra"] - star["ra"]) * np.cos(np.deg2rad(CENTRE[1])),
                sources["dec"] - star["dec"],
            )
            near = int(np.argmin(away))
            expected += 1
            if 3600 * away[near] < 1.0:
                found += 1
                magnitudes.append(float(sources["mag"][near] - star["mag_r"]))
                errors.append(float(sources["mag_err"][near]))
    off = np.array(magnitudes)
    return [
        Check("stars missed in the coadd, all magnitudes", 1 - found / expected, 0.05, ""),
        Check("magnitudes in the coadd off, median", float(np.median(off)), 0.02, "mag"),
        Check(
            "their scatter in units of the error, less 1",
            1.4826 * float(np.median(np.abs(off / errors))) - 1,
            0.4,
            "",
        ),
    ]
