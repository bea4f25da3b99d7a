"""Which pictures show what a run made?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.errors import UnknownName
from registry.timespan import BEGINNING, END
from workflow.ccd.planes import bit, mask_of
from workflow.demo import pictures

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from butler.butler import Butler
    from registry.identity import DatasetRef

__all__ = ["draw", "final_products"]

_MOST = 8
"""Images in one picture."""
_FINAL = {"coadd": "Coadds of the exposures of each band", "stack": "Combined exposures"}


def found(butler: Butler, dataset_type: str, **options: Any) -> list[DatasetRef]:
    """List datasets; none of a type that the repository does not know."""
    try:
        return butler.query_datasets(dataset_type, **options)
    except UnknownName:
        return []


def final_products(butler: Butler) -> list[DatasetRef]:
    """List what a run was for: coadds or stacks, or else the calibrated exposures."""
    for name, order in (("coadd", ["band", "tract", "patch"]), ("stack", ["day_obs"])):
        refs = found(butler, name, order_by=order)
        if refs:
            return refs
    return found(butler, "calexp")


def draw(butler: Butler, folder: Path) -> list[Path]:
    """Draw exposures, products with their sources, calibrations in time, and a history.

    Parameters
    ----------
    butler : Butler
        With the output of a run as default collection.
    folder : Path
        For the PNG files.

    Returns
    -------
    list of Path
        What was drawn; a picture without content is left out.
    """
    made = []
    calexps = found(butler, "calexp", order_by=["instrument", _moment(butler), "detector"], limit=4)
    if calexps:
        made.append(folder / "calibrated.png")
        images = {_name(r): butler.get(r).data for r in calexps}
        pictures.draw_images(images, made[-1], "Calibrated exposures, the first of all")
    final = final_products(butler)
    kind = final[0].dataset_type.name if final else ""
    if kind in _FINAL:
        made += _draw_products(butler, final, kind, folder)
    coverage = butler.registry.report("calibration_coverage")
    ends = {*coverage["valid_begin_tai_ns"], *coverage["valid_end_tai_ns"]} - {BEGINNING, END}
    if len(ends) > 1:
        made.append(folder / "calibrations.png")
        pictures.draw_timeline(coverage, made[-1])
    if final:
        made.append(folder / "provenance.png")
        edges = butler.registry.provenance.ancestors(final[-1].id)
        pictures.draw_history(final[-1], edges, made[-1])
    return made


def _moment(butler: Butler) -> str:
    dimensions = butler.registry.dataset_type("calexp").dimensions
    return "visit" if "visit" in dimensions else "exposure"


@dataclass
class _Shown:
    """An image that is drawn: pixels (NaN where there are none), and where its sources are."""

    image: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]


def _draw_products(butler: Butler, refs: list[DatasetRef], kind: str, folder: Path) -> list[Path]:
    """Draw stacks one by one, and the patches of a tract in one picture as they lie on the sky."""
    groups: dict[str, list[DatasetRef]] = {}
    for ref in refs:
        groups.setdefault(_name(ref), []).append(ref)
    shown = {name: _mosaic(butler, members, kind) for name, members in list(groups.items())[:_MOST]}
    images = {name: s.image for name, s in shown.items()}
    made = [folder / f"{kind}.png"]
    circled = any(len(s.x) for s in shown.values())
    title = _FINAL[kind] + (", and the sources in them" if circled else "")
    pictures.draw_images(images, made[0], title, {n: (s.x, s.y) for n, s in shown.items()})
    spectra = {n: np.nansum(i, axis=0) for n, i in images.items() if i.shape[1] > 8 * i.shape[0]}
    if spectra:
        made.append(folder / "spectra.png")
        unit = butler.get(refs[0]).unit
        pictures.draw_spectra(spectra, made[-1], f"Summed along the slit [{unit}]")
    return made


def _mosaic(butler: Butler, refs: Sequence[DatasetRef], kind: str) -> _Shown:
    """Join the patches of a tract, whose pixels count in one projection."""
    products = [butler.get(ref) for ref in refs]
    corners = np.zeros((len(refs), 2), dtype=int)
    if len(refs) > 1:
        corners = np.array([np.rint(-p.wcs.wcs.crpix).astype(int) for p in products])
        corners -= corners.min(axis=0)
    width, height = (
        np.array([c + p.data.shape[::-1] for c, p in zip(corners, products, strict=True)])
        .max(axis=0)
        .tolist()
    )
    image = np.full((height, width), np.nan)
    x, y = [], []
    for ref, product, (left, low) in zip(refs, products, corners, strict=True):
        rows, columns = product.data.shape
        lost = (mask_of(product) & bit("NO_DATA")) != 0
        place = np.s_[low : low + rows, left : left + columns]
        image[place] = np.where(lost, np.nan, product.data)
        for sources in found(butler, f"{kind}_sources", data_id=ref.data_id):
            table = butler.get(sources)
            x.append(np.asarray(table["x"]) + left)
            y.append(np.asarray(table["y"]) + low)
    return _Shown(image, np.concatenate([*x, []]), np.concatenate([*y, []]))


def _name(ref: DatasetRef) -> str:
    hidden = ("instrument", "skymap", "physical_filter", "patch")
    keys = {k: v for k, v in ref.data_id.items() if k not in hidden}
    return ", ".join(f"{k} {v}" for k, v in keys.items())
