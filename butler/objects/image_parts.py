"""What are the parts of an exposure that lie apart from its pixels, and how do they fit together?

A mask and an uncertainty are images of their own.  Header and WCS are header cards: rows of a
table, or the header of a FITS file without pixels.  A summary is a mapping of scalars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from butler.errors import CannotWrite
from butler.formatters.fits_header import (
    celestial_wcs,
    file_cards,
    observation_header,
    provenance_cards,
    unit_card,
    wcs_cards,
)
from butler.formatters.selections import selected_box
from butler.objects.taking_apart import cards
from butler.storage_classes import is_instance

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from astropy.io.fits import Header
    from astropy.nddata import CCDData, NDData, NDUncertainty
    from astropy.wcs import WCS

__all__ = [
    "BESIDE_PIXELS",
    "OF_CARDS",
    "OF_PIXELS",
    "UNCERTAINTIES",
    "from_storage",
    "mask",
    "split",
    "uncertainty",
]

UNCERTAINTIES = {
    "weight": "InverseVariance",
    "variance": "VarianceUncertainty",
    "stddev": "StdDevUncertainty",
}
"""Which class of astropy an uncertainty is of, by the component that it is recorded as."""
OF_PIXELS = ("image", "mask", *UNCERTAINTIES)
OF_CARDS = ("header", "wcs")
BESIDE_PIXELS = (*OF_CARDS, "summary")
_AXIS = "IMAXIS"
"""Keyword, before the number, of how many pixels an axis of the image has that a WCS is of."""


def split(
    obj: NDData, wanted: Collection[str], provenance: Mapping[str, str], image: Callable[..., Any]
) -> dict[str, tuple[str, Any]]:
    """Take an exposure apart; see `butler.storage_classes.StorageClass.split`.

    The image keeps what is not wanted apart, and its WCS for as long as it keeps its header.

    Parameters
    ----------
    image : callable
        Makes it of its pixels, and of what it keeps by keyword.

    Raises
    ------
    CannotWrite
        If the header, the WCS or the summary holds what cannot lie apart.
    """
    pieces: dict[str, tuple[str, Any]] = {}
    kinds = {kind: part for part, kind in UNCERTAINTIES.items()}
    kind = kinds.get(type(obj.uncertainty).__name__)
    if "mask" in wanted and obj.mask is not None:
        pieces["mask"] = "mask", _mask_image(obj)
    if "uncertainty" in wanted and kind is not None:
        pieces[kind] = "uncertainty", _uncertainty_image(obj)
    try:
        if "header" in wanted:
            pieces["header"] = "header", _whole_header(obj, provenance)
        if "wcs" in wanted and obj.wcs is not None:
            pieces["wcs"] = "wcs", _cards_of(obj.wcs, obj.data.shape)
    except ValueError as error:
        raise CannotWrite(
            f"The header of this exposure cannot lie apart from it: {error}; remove it, or give it "
            "a plain value."
        ) from error
    if getattr(obj, "summary", None) and "summary" in wanted:
        pieces["summary"] = "summary", _plain(obj.summary)
    if not pieces:
        return {}
    bare = {"header", "wcs"} <= set(pieces)
    body = image(
        obj.data,
        unit=obj.unit,
        mask=None if "mask" in pieces else obj.mask,
        uncertainty=None if kind in pieces else obj.uncertainty,
        wcs=None if bare else obj.wcs,
        meta={} if "header" in pieces else obj.meta,
        psf=getattr(obj, "psf", None),
    )
    return {"image": ("image", body), **pieces}


def from_storage(component: str, piece: Any, box: Any) -> Any:
    """Give a part as it is in memory, of a box of pixels if one is asked for."""
    if component not in OF_CARDS:
        return piece
    piece = cards(piece)
    if component == "wcs":
        return _wcs(piece, box)
    if box is not None:
        piece = piece.copy()
        for axis, start in ((1, box[0]), (2, box[1])):
            if f"CRPIX{axis}" in piece:
                piece[f"CRPIX{axis}"] -= int(start)
    return piece


def mask(found: Any) -> Any:
    """Give the array of a mask that was read from a file of its own."""
    if not is_instance(found, "astropy.nddata.NDData"):
        return found
    return found.data.astype(bool) if found.meta.get("MASKKIND") == "bool" else found.data


def uncertainty(component: str, found: Any) -> NDUncertainty:
    """Give the uncertainty that was read from a file of its own."""
    from astropy import nddata

    unit = None
    if is_instance(found, "astropy.nddata.NDData"):
        unit = found.unit if "UTYPE" in found.meta else None
        found = found.data
    made: NDUncertainty = getattr(nddata, UNCERTAINTIES[component])(found, unit=unit, copy=False)
    return made


def _mask_image(obj: NDData) -> CCDData:
    import numpy as np
    from astropy.nddata import CCDData

    array = np.asarray(obj.mask)
    if array.shape != obj.data.shape:
        raise CannotWrite(
            f"The mask is {array.shape} and the image {obj.data.shape}; give the mask the shape of "
            "the image."
        )
    kind = "bool" if array.dtype == bool else "bits"
    array = array.view(np.uint8) if kind == "bool" else array
    return CCDData(array, unit="", meta={"MASKKIND": kind})


def _uncertainty_image(obj: NDData) -> CCDData:
    from astropy.nddata import CCDData

    array = obj.uncertainty.array
    if getattr(array, "shape", None) != obj.data.shape:
        raise CannotWrite(
            f"The uncertainty is {getattr(array, 'shape', None)} and the image {obj.data.shape}; "
            "give the uncertainty the shape of the image."
        )
    kind = type(obj.uncertainty).__name__
    return CCDData(array, unit=obj.uncertainty.unit or "", meta={"UTYPE": kind})


def _whole_header(obj: NDData, provenance: Mapping[str, str]) -> Header:
    """Give the header that the file of the whole exposure would give."""
    from astropy.io.fits import Header

    primary = file_cards(obj.meta, without_wcs=obj.wcs is not None)
    primary += provenance_cards(provenance)
    own = [] if obj.unit is None else [unit_card(obj.unit, obj.meta)]
    own += [] if obj.wcs is None else wcs_cards(obj.wcs)
    return observation_header(Header(primary), Header(own))


def _cards_of(wcs: WCS, shape: tuple[int, ...]) -> Header:
    from astropy.io.fits import Card, Header

    axes = [
        Card(f"{_AXIS}{n}", length, "axis of the image [pixel]")
        for n, length in enumerate(reversed(shape), 1)
    ]
    return Header([*wcs_cards(wcs), *axes])


def _wcs(header: Header, box: Any) -> WCS | None:
    wcs = celestial_wcs(header)
    if wcs is None:
        return None
    lengths = [header[key] for key in header if key.startswith(_AXIS)]
    if len(lengths) == wcs.naxis:
        wcs.pixel_shape = tuple(lengths)
    if box is None:
        return wcs
    cut = selected_box(box, tuple(reversed(lengths)), "of this exposure")
    return wcs[(..., *cut)] if wcs.naxis > 2 else wcs[cut]


def _plain(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Give the scalars of a summary as Python's own."""
    found: dict[str, Any] = {}
    for name, value in summary.items():
        plain = value.item() if is_instance(value, "numpy.generic") else value
        if plain is not None and not isinstance(plain, bool | int | float | str):
            raise CannotWrite(
                f"'{name}' of the summary is a {type(value).__name__}, and a summary holds truth "
                "values, numbers and texts: give it as one, or as several.",
                name=str(name),
            )
        found[str(name)] = plain
    return found
