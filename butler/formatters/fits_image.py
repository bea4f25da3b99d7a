"""How do calibrated and raw images lie in FITS files?

Writes a CCDData as multi-extension FITS: the observation's header in an empty primary HDU, then
IMAGE (pixels, unit, WCS), MASK and the uncertainty, named for what it holds: VARIANCE, STDDEV or
INVVAR. Reads that, and what others write: raw frames, LSST calexps, ccdproc's files, tile-
compressed and gzipped images. Headers are sorted out in `butler.formatters.fits_header`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from butler.errors import InvalidParameter, MissingComponent
from butler.formatters.base import Formatter
from butler.formatters.fits_file import open_fits
from butler.formatters.fits_header import (
    celestial_wcs,
    file_cards,
    observation_header,
    provenance_cards,
    provenance_in,
    unit_of,
    wcs_cards,
)
from butler.formatters.fits_pixels import read_pixels

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import numpy.typing as npt
    from astropy.io.fits import Card, HDUList, Header, ImageHDU
    from astropy.nddata import CCDData, NDUncertainty
    from astropy.wcs import WCS

__all__ = ["FitsImageFormatter"]

_MASKS = ("MASK", "DQ")
_UNCERTAINTIES = {
    "VARIANCE": "VarianceUncertainty",
    "STDDEV": "StdDevUncertainty",
    "INVVAR": "InverseVariance",
    "UNCERT": "UnknownUncertainty",
}
_FOREIGN_UNCERTAINTIES = {"UNCERT": "StdDevUncertainty", "ERR": "StdDevUncertainty"}
_CUT = tuple[slice, slice]


class FitsImageFormatter(Formatter):
    """CCDData as multi-extension FITS.

    Components: ``image`` (or ``data``; array), ``mask`` (array), ``uncertainty`` (as it is
    stored), ``variance`` (the uncertainty as a variance), ``wcs``, ``header`` (or ``metadata``).

    Parameters of a read: ``bbox = (x_min, y_min, x_max, y_max)``, in pixels counted from 0, the
    maxima not included: ``data[y_min:y_max, x_min:x_max]``; leading axes are read whole.

    A boolean mask and one of integer bit planes both come back as they were; the planes are named
    by ``MP_<name> = <bit>`` cards of the header, as LSST does. Pixels are float32, float64 or
    integers as they were put, in the machine's byte order.
    """

    name = "fits-image"
    extension: ClassVar[str] = ".fits"
    python_types: ClassVar[tuple[str, ...]] = ("astropy.nddata.CCDData",)
    components: ClassVar[frozenset[str]] = frozenset(
        {"image", "data", "mask", "uncertainty", "variance", "wcs", "header", "metadata"}
    )
    parameters: ClassVar[frozenset[str]] = frozenset({"bbox"})
    keeps_provenance: ClassVar[bool] = True

    def dump(self, obj: CCDData, stream: BinaryIO, provenance: Mapping[str, str]) -> None:
        """Write the image, its mask and its uncertainty; see `Formatter.dump`."""
        import warnings

        from astropy.io import fits
        from astropy.utils.exceptions import AstropyWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            try:
                primary = file_cards(obj.meta, without_wcs=obj.wcs is not None)
                primary += provenance_cards(provenance)
                projection = [] if obj.wcs is None else wcs_cards(obj.wcs)
            except ValueError as error:
                raise self.refuse(str(error), "remove it, or give it a plain value") from error
            hdus = [_hdu(fits.PrimaryHDU, None, primary), self._image_hdu(obj, projection)]
            if obj.mask is not None:
                hdus.append(self._mask_hdu(obj))
            if obj.uncertainty is not None:
                hdus.append(self._uncertainty_hdu(obj))
            if obj.psf is not None:
                hdus.append(_hdu(fits.ImageHDU, obj.psf, [fits.Card("EXTNAME", "PSFIMAGE")]))
            count = fits.Card("SKYHDUS", len(hdus), "HDUs of this file, to find it cut short")
            hdus[0].header.append(count, end=True)
            try:
                # "ignore" leaves cards of the instrument that bend the standard as they came.
                fits.HDUList(hdus).writeto(stream, output_verify="ignore")
            except ValueError as error:
                raise self.refuse(_bad_card(primary) or str(error), "correct it") from error

    def load(
        self,
        path: str,
        component: str | None,
        parameters: Mapping[str, Any],
        *,
        trusted: bool,  # noqa: ARG002
    ) -> Any:
        """Read the image or a component of it; see `Formatter.load`."""
        part = {"data": "image", "metadata": "header"}.get(component or "", component)
        with open_fits(path, whole=part not in {"wcs", "header"}) as hdus:
            image = _image_hdu_of(hdus)
            cut = _cut(parameters["bbox"], image.shape, path) if "bbox" in parameters else None
            if part == "image":
                return read_pixels(image, cut)
            if part == "header":
                return _header(hdus, image, cut)
            if part == "wcs":
                return _given(_wcs(image, cut), "celestial WCS", path)
            if part == "mask":
                return _given(_mask(hdus, image, cut), "mask", path)
            if part in {"uncertainty", "variance"}:
                uncertainty = _given(_uncertainty(hdus, image, cut), "uncertainty", path)
                return uncertainty if part == "uncertainty" else _variance(uncertainty, path)
            return _exposure(hdus, image, cut)

    def read_provenance(self, path: str | os.PathLike[str]) -> dict[str, str]:
        """Read the ``SKYS_*`` cards of the primary header."""
        with open_fits(str(path), whole=False) as hdus:
            return provenance_in(hdus[0].header)

    def _image_hdu(self, obj: CCDData, projection: list[Card]) -> ImageHDU:
        from astropy.io.fits import Card, ImageHDU

        if obj.data is None or obj.data.ndim == 0:
            raise self.refuse("it has no pixels", "put an array of at least one axis")
        cards = [Card("EXTNAME", "IMAGE"), Card("BUNIT", _unit_text(obj.unit))]
        return _hdu(ImageHDU, self._storable(obj.data, "pixels"), cards + projection)

    def _mask_hdu(self, obj: CCDData) -> ImageHDU:
        import numpy as np
        from astropy.io.fits import Card, ImageHDU

        mask = np.asarray(obj.mask)
        if mask.shape != obj.data.shape:
            raise self.refuse(
                f"its mask is {mask.shape} and its image {obj.data.shape}",
                "give the mask the shape of the image",
            )
        cards = [Card("EXTNAME", "MASK")]
        if mask.dtype == bool:
            cards.append(Card("MASKKIND", "bool", "nonzero is masked"))
            return _hdu(ImageHDU, mask.view(np.uint8), cards)
        if mask.dtype.kind not in "iu":
            raise self.refuse(
                f"its mask is of {mask.dtype}", "make the mask boolean or integer bit planes"
            )
        cards.append(Card("MASKKIND", "bits", "bit planes, named by MP_ cards"))
        cards += [
            Card(f"HIERARCH {key}" if len(key) > 8 else key, value)
            for key, value in obj.meta.items()
            if key.startswith("MP_")
        ]
        return _hdu(ImageHDU, self._storable(mask, "mask"), cards)

    def _uncertainty_hdu(self, obj: CCDData) -> ImageHDU:
        from astropy.io.fits import Card, ImageHDU

        kind = type(obj.uncertainty).__name__
        extname = {v: k for k, v in _UNCERTAINTIES.items()}.get(kind)
        array = obj.uncertainty.array
        if extname is None or getattr(array, "shape", None) != obj.data.shape:
            raise self.refuse(
                f"its uncertainty is of type {kind} and shape {getattr(array, 'shape', None)}",
                "use astropy's StdDevUncertainty, VarianceUncertainty or InverseVariance, of the "
                "shape of the image",
            )
        cards = [Card("EXTNAME", extname), Card("UTYPE", kind, "class of astropy.nddata")]
        if obj.uncertainty.unit is not None:
            cards.append(Card("BUNIT", _unit_text(obj.uncertainty.unit)))
        return _hdu(ImageHDU, self._storable(array, "uncertainty"), cards)

    def _storable(self, array: npt.NDArray[Any], what: str) -> npt.NDArray[Any]:
        """Give pixels in FITS's byte order; astropy would swap the caller's array to and fro."""
        if array.dtype.str[1:] in {"f4", "f8", "i2", "i4", "i8"}:
            return array.astype(array.dtype.newbyteorder(">"), copy=False)
        if array.dtype.str[1:] in {"u1", "u2", "u4", "u8", "i1"}:
            return array
        raise self.refuse(
            f"its {what} are of {array.dtype}, which FITS does not have",
            "convert them to float32, float64 or an integer type",
        )


def _hdu(kind: type[Any], data: Any, cards: list[Card]) -> Any:
    from astropy.io.fits import Header

    hdu = kind(data)
    hdu.header = Header([*hdu.header.cards, *cards])  # ten times faster than extending it
    return hdu


def _image_hdu_of(hdus: HDUList) -> Any:
    for hdu in hdus:
        if getattr(hdu, "is_image", False) and len(hdu.shape):
            return hdu
    raise ValueError("it has no image; a table is read by the formatter fits-table")


def _named(hdus: HDUList, names: Any) -> Any:
    """Find the first image HDU that is called so by EXTNAME or, as LSST does, by EXTTYPE."""
    for hdu in hdus[1:]:
        header = hdu.header
        for name in (header.get("EXTNAME"), header.get("EXTTYPE")):
            if name in names and getattr(hdu, "is_image", False) and len(hdu.shape):
                return hdu, name
    return None, ""


def _cut(bbox: Any, shape: tuple[int, ...], path: str) -> _CUT:
    ny, nx = (1, *shape)[-2:]
    try:
        x_min, y_min, x_max, y_max = (int(value) for value in bbox)
    except (TypeError, ValueError) as error:
        raise InvalidParameter(
            f"bbox is {bbox!r}; give four integers (x_min, y_min, x_max, y_max).",
            path=path,
            name="bbox",
        ) from error
    if len(shape) < 2 or not (0 <= x_min < x_max <= nx and 0 <= y_min < y_max <= ny):
        raise InvalidParameter(
            f"bbox ({x_min}, {y_min}, {x_max}, {y_max}) does not lie in the image {path}, whose "
            f"pixels are (0, 0, {nx}, {ny}), the last two not included.",
            path=path,
            name="bbox",
        )
    return slice(y_min, y_max), slice(x_min, x_max)


def _header(hdus: HDUList, image: Any, cut: _CUT | None) -> Header:
    planes: list[Card] = []
    if image is not hdus[0]:
        mask, _ = _named(hdus, _MASKS)
        if mask is not None:
            planes = [card for card in mask.header.cards if card.keyword.startswith("MP_")]
    header = observation_header(hdus[0].header, image.header, planes)
    if cut is not None:
        header = header.copy()
        for axis, span in ((1, cut[1]), (2, cut[0])):
            if f"CRPIX{axis}" in header:
                header[f"CRPIX{axis}"] -= span.start
    return header


def _wcs(image: Any, cut: _CUT | None) -> WCS | None:
    wcs = celestial_wcs(image.header)
    return wcs if wcs is None or cut is None else wcs[(..., *cut)] if wcs.naxis > 2 else wcs[cut]


def _mask(hdus: HDUList, image: Any, cut: _CUT | None) -> npt.NDArray[Any] | None:
    hdu, _ = _named(hdus, _MASKS)
    if hdu is None:
        return None
    mask = _aligned(hdu, image, cut)
    kind = hdu.header.get("MASKKIND")
    bits = any(key.startswith("MP_") for key in hdu.header) or mask.dtype.kind != "u"
    if kind == "bool" or (kind is None and mask.dtype.itemsize == 1 and not bits):
        return mask.astype(bool)
    return mask


def _uncertainty(hdus: HDUList, image: Any, cut: _CUT | None) -> NDUncertainty | None:
    from astropy import nddata

    hdu, name = _named(hdus, {*_UNCERTAINTIES, *_FOREIGN_UNCERTAINTIES})
    if hdu is None:
        return None
    kind = hdu.header.get("UTYPE", _FOREIGN_UNCERTAINTIES.get(name, _UNCERTAINTIES.get(name)))
    if kind not in _UNCERTAINTIES.values():
        raise ValueError(f"its uncertainty is of the unknown type '{kind}'")
    unit = unit_of(hdu.header) if "BUNIT" in hdu.header else None
    found: NDUncertainty = getattr(nddata, kind)(_aligned(hdu, image, cut), unit=unit, copy=False)
    return found


def _aligned(hdu: Any, image: Any, cut: _CUT | None) -> npt.NDArray[Any]:
    if hdu.shape != image.shape:
        raise ValueError(f"its {hdu.name} is {hdu.shape} and its image {image.shape}")
    return read_pixels(hdu, cut)


def _variance(uncertainty: NDUncertainty, path: str) -> NDUncertainty:
    from astropy.nddata import UnknownUncertainty, VarianceUncertainty

    if isinstance(uncertainty, UnknownUncertainty):
        raise MissingComponent(
            f"{path} has an uncertainty of unknown kind, which is not to be had as a variance.",
            path=path,
            name="variance",
        )
    return uncertainty.represent_as(VarianceUncertainty)


def _exposure(hdus: HDUList, image: Any, cut: _CUT | None) -> CCDData:
    from butler.exposure import Exposure

    header = _header(hdus, image, cut)
    wcs = _wcs(image, cut)
    exposure = Exposure(
        read_pixels(image, cut),
        unit=unit_of(image.header),
        mask=_mask(hdus, image, cut),
        uncertainty=_uncertainty(hdus, image, cut),
        wcs=wcs,
        meta=header,
    )
    psf = next((hdu for hdu in hdus[1:] if hdu.name == "PSFIMAGE"), None)
    if psf is not None:
        exposure.psf = read_pixels(psf)
    return exposure


def _given(value: Any, what: str, path: str) -> Any:
    if value is None:
        raise MissingComponent(
            f"{path} has no {what}; read the whole dataset to see what it has.",
            path=path,
            name=what,
        )
    return value


def _unit_text(unit: Any) -> str:
    try:
        return str(unit.to_string("fits"))
    except ValueError:
        return str(unit.to_string())


def _bad_card(cards: list[Card]) -> str:
    """Find the card that astropy cannot format, after it has refused the whole header."""
    for card in cards:
        try:
            str(card)
        except ValueError as error:
            return f"header card '{card.keyword}': {error}"
    return ""
