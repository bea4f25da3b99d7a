"""Do the products of real frames agree with what is known of them?

Of the sets that the project is tried on: masters and spectra that the observers made themselves,
noise that must average down, an exposure that is known to be bad, visits that show the same stars,
a table that says which exposures there are. What a folder does not hold is not compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from workflow.ccd.frames import robust_sigma
from workflow.ccd.planes import bad_pixels
from workflow.demo.album import found
from workflow.demo.compare import Check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from butler.butler import Butler

__all__ = ["compare_with_known"]


def compare_with_known(butler: Butler, data: Path) -> list[Check]:
    """Compare products with the known answers of the set that they were made from.

    Parameters
    ----------
    butler : Butler
        With the output of a run as default collection.
    data : Path
        Folder with the raw frames and what lies beside them.

    Returns
    -------
    list of Check
        Empty for a set of which nothing is known.
    """
    cameras = {r["name"] for r in butler.query_dimension_records("instrument")}
    return [
        check
        for name, checks in _KNOWN.items()
        if name in cameras
        for check in checks(butler, data)
    ]


_TRACE = slice(14, 78)
"""Rows of the window that the spectra of OHP T152 fill."""


def _read(path: Path) -> NDArray[Any]:
    from astropy.io import fits

    return np.asarray(fits.getdata(path), dtype=float)


def _ohp(butler: Butler, data: Path) -> Iterator[Check]:
    """Compare with the observers' masters and extracted spectra, night by night."""
    for path in sorted(data.rglob("reference/master_bias.fits*"))[:1]:
        for ref in found(butler, "superBias"):
            off = np.abs(butler.get(ref).data - _read(path))
            yield Check(
                "bias of all frames against the observers', median", np.median(off), 0, "adu"
            )
            yield Check("the same, maximum", off.max(), 0.7, "adu")
    for path in sorted(data.rglob("reference/master_flat.fits*")):
        night, wanted = path.parent.parent.name, _read(path)
        lit = wanted > 0.3
        for ref in found(butler, "flat", where=f"day_obs = {_digits(night)}"):
            relative = np.abs(butler.get(ref).data[lit] / wanted[lit] - 1)
            yield Check(f"flat of {night} against the observers'", np.median(relative), 1.5e-3, "")
    for path in sorted(data.rglob("reduced/Master_*_s1d.fit*")):
        night = path.parent.parent.name
        target = path.name.removeprefix("Master_").partition("_s1d")[0]
        where = f"day_obs = {_digits(night)} AND target = :target"
        for ref in found(butler, "stack", where=where, bind={"target": target}):
            [flat] = [
                butler.get(r) for r in found(butler, "flat", where=f"day_obs = {_digits(night)}")
            ]
            # The observers did not divide by the flat, and summed rows around the trace.
            spectrum = (butler.get(ref).data * flat.data)[_TRACE].sum(axis=0)
            alike = np.corrcoef(spectrum, _read(path))[0, 1]
            yield Check(f"spectrum of {target}, {night}: 1 - correlation", 1 - alike, 3e-3, "")


def _digits(night: str) -> str:
    return "".join(c for c in night if c.isdigit()) or "0"


def _tircam2(butler: Butler, _: Path) -> Iterator[Check]:
    """Let noise average down in differences, where the common flat drops out."""
    for ref in found(butler, "stack"):
        inputs = butler.get("stack_inputs", ref.data_id)
        names = {f"{r.data_id['instrument']}/{r.data_id['exposure']}/{r.data_id['detector']}": r
                 for r in found(butler, "calexp")}  # fmt: skip
        good = [butler.get(names[str(row["name"])]) for row in inputs if not row["outlier"]]
        first = [i for i, row in enumerate(inputs) if row["outlier"]]
        yield Check(
            "exposures left out that are not the first", len([i for i in first if i]), 0, ""
        )
        yield Check("the first exposure, which is bad, not left out", int(0 not in first), 0, "")
        if len(good) < 4:
            continue
        usable = ~np.any([bad_pixels(c) for c in good], axis=0)
        a, b, c, d = (np.asarray(frame.data)[usable] for frame in good[:4])
        single = np.mean([robust_sigma(x - y) for x, y in ((a, b), (c, d), (a, d))]) / 2**0.5
        halves = robust_sigma((a + c) / 2 - (b + d) / 2)
        what = "noise of half-stack differences over that of exposures, less 1"
        yield Check(what, halves / single - 1, 0.15, "")


def _obs_test(butler: Butler, _: Path) -> Iterator[Check]:
    """Match the stars of visits that overlap, and those of their coadds."""
    catalogues = {r.data_id["exposure"]: butler.get(r) for r in found(butler, "sources")}
    if {1, 2} <= set(catalogues):
        bright = catalogues[1][np.asarray(catalogues[1]["snr"]) > 20]
        lost, apart = _matched(bright, catalogues[2])
        yield Check("bright sources of visit 1 that visit 2 lacks", lost, 0.3, "")
        yield Check("distance of those that both have, median", apart, 0.1, "arcsec")
    coadds = [butler.get(r) for r in found(butler, "coadd_sources", where="band = 'g'")]
    if coadds and 1 in catalogues:
        from astropy.table import vstack

        bright = catalogues[1][np.asarray(catalogues[1]["snr"]) > 30]
        lost, apart = _matched(bright, vstack(coadds, metadata_conflicts="silent"))
        yield Check("bright sources of visit 1 that the coadd in g lacks", lost, 0.1, "")
        yield Check("their distance from those of the coadd, median", apart, 0.1, "arcsec")


def _matched(one: Any, other: Any) -> tuple[float, float]:
    """Give the part of one without counterpart within 1 arcsec, and the median distance."""
    from astropy.coordinates import SkyCoord

    places = SkyCoord(one["ra"], one["dec"], unit="deg")
    _, apart, _ = places.match_to_catalog_sky(SkyCoord(other["ra"], other["dec"], unit="deg"))
    near = apart.arcsec < 1.0
    return 1.0 - float(near.mean()), float(np.median(apart.arcsec[near])) if near.any() else np.inf


def _legacy_survey(butler: Butler, data: Path) -> Iterator[Check]:
    """Compare the visits that the coadds of a band name with the survey's table of CCDs."""
    from astropy.table import Table

    tables = sorted(data.rglob("survey-ccds-1.fits*"))
    if not tables:
        return
    wanted = [str(band).strip() for band in Table.read(tables[0])["filter"]]
    for band in sorted(set(wanted)):
        refs = found(butler, "coadd", where="band = :b", bind={"b": band})
        edges = butler.registry.provenance.ancestors(*(r.id for r in refs)) if refs else []
        named = {(e.input.data_id.get("instrument"), e.input.data_id.get("visit")) for e in edges}
        named = {n for n in named if n[1] is not None}
        what = f"visits in {band} that the coadds do not name"
        yield Check(what, wanted.count(band) - len(named), 0, "")


_KNOWN: dict[str, Callable[[Butler, Path], Iterator[Check]]] = {
    "OHP-T152": _ohp,
    "TIRCAM2": _tircam2,
    "obs_test": _obs_test,
    "90Prime": _legacy_survey,
}
