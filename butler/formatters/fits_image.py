"""How do calibrated and raw images lie in FITS files?

Writes a CCDData as multi-extension FITS: the observation's header in an empty primary HDU, then
IMAGE (pixels, unit, WCS), MASK and the uncertainty, named for what it holds: VARIANCE, STDDEV or
INVVAR. Reads that, and what others write: raw frames, LSST calexps, ccdproc's files, tile-
compressed and gzipped images. Headers are sorted out in `butler.formatters.fits_header`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from butler.errors import MissingComponent
from butler.formatters.base import Formatter
from butler.formatters.fits_file import FitsFile, open_fits
from butler.formatters.fits_header import (
    celestial_wcs,
    file_cards,
    observation_header,
    provenance_cards,
    provenance_in,
    unit_card,
    unit_of,
    unit_text,
    wcs_cards,
)
from butler.formatters.fits_pixels import sign_bit, write_pixels
from butler.formatters.selections import selected_box

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    from astropy.io.fits import Card, Header, ImageHDU
    from astropy.nddata import CCDData, NDUncertainty
    from astropy.wcs import WCS

    from butler.formatters.source import Source

__all__ = ["FitsImageFormatter"]

_MASKS = ("MASK", "DQ")
_UNCERTAINTIES = {
    "VARIANCE": "VarianceUncertainty",
    "STDDEV": "StdDevUncertainty",
    "INVVAR": "InverseVariance",
    "UNCERT": "UnknownUncertainty",
}
_FOREIGN_UNCERTAINTIES = {"UNCERT": "StdDevUncertainty", "ERR": "StdDevUncertainty"}
Cut = tuple[slice, slice]


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
            hdus[0].header.set("EXTEND", True, after="NAXIS")
            try:
                self.pack(hdus, stream)
            except ValueError as error:
                raise self.refuse(_bad_card(primary) or str(error), "correct it") from error

    def pack(self, hdus: list[Any], stream: BinaryIO) -> None:
        """Write headers and pixels; cards that bend the standard stay as they came.

        Parameters
        ----------
        hdus : list of HDU
            Images, the first of them without pixels.
        stream : binary file
            New and empty.

        Raises
        ------
        ValueError
            A card cannot be written.
        """
        for hdu in hdus:
            pixels = hdu.data
            if pixels is not None and (bit := sign_bit(pixels.dtype)):
                zero = -bit if pixels.dtype.itemsize == 1 else bit
                hdu.header.set("BSCALE", 1, after="GCOUNT")
                hdu.header.set("BZERO", zero, after="BSCALE")
            stream.write(hdu.header.tostring().encode("ascii"))
            if pixels is not None:
                write_pixels(pixels, stream)

    def load(
        self,
        source: Source,
        component: str | None,
        parameters: Mapping[str, Any],
        *,
        trusted: bool,  # noqa: ARG002
    ) -> Any:
        """Read the image or a component of it; see `Formatter.load`."""
        path = source.name
        part = {"data": "image", "metadata": "header"}.get(component or "", component)
        with open_fits(source, whole=part not in {"wcs", "header"}) as file:
            image = _image_hdu_of(file.images)
            cut = (
                selected_box(parameters["bbox"], image.shape, path)
                if "bbox" in parameters
                else None
            )
            if part == "image":
                return file.pixels(image, cut)
            if part == "header":
                return _header(file.images, image, cut)
            if part == "wcs":
                return _given(_wcs(image, cut), "celestial WCS", path)
            if part == "mask":
                return _given(_mask(file, image, cut), "mask", path)
            if part in {"uncertainty", "variance"}:
                uncertainty = _given(_uncertainty(file, image, cut), "uncertainty", path)
                return uncertainty if part == "uncertainty" else _variance(uncertainty, path)
            return self.assembled(file, image, cut)

    def find_provenance(self, source: Source) -> dict[str, str]:
        """Read the ``SKYS_*`` cards of the primary header."""
        with open_fits(source, whole=False) as file:
            return provenance_in(file.primary)

    def assembled(self, file: FitsFile, image: Any, cut: Cut | None) -> Any:
        """Make the object of what the file has."""
        from butler.exposure import Exposure

        header = _header(file.images, image, cut)
        exposure = Exposure(
            file.pixels(image, cut),
            unit=unit_of(header),
            mask=_mask(file, image, cut),
            uncertainty=_uncertainty(file, image, cut),
            wcs=_wcs(image, cut),
            meta=header,
        )
        psf = next((hdu for hdu in file.images[1:] if hdu.name == "PSFIMAGE"), None)
        if psf is not None:
            exposure.psf = file.pixels(psf)
        return exposure

    def _image_hdu(self, obj: CCDData, projection: list[Card]) -> ImageHDU:
        from astropy.io.fits import Card, ImageHDU

        if obj.data is None or obj.data.ndim == 0:
            raise self.refuse("it has no pixels", "put an array of at least one axis")
        cards = [Card("EXTNAME", "IMAGE")]
        if obj.unit is not None:
            cards.append(unit_card(obj.unit, obj.meta))
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
            cards.append(Card("BUNIT", unit_text(obj.uncertainty.unit)))
        return _hdu(ImageHDU, self._storable(array, "uncertainty"), cards)

    def _storable(self, array: npt.NDArray[Any], what: str) -> npt.NDArray[Any]:
        """Give the pixels if they are of a type that FITS has."""
        if array.dtype.str[1:] in {"f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"}:
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


def _image_hdu_of(hdus: Sequence[Any]) -> Any:
    for hdu in hdus:
        if getattr(hdu, "is_image", False) and len(hdu.shape):
            return hdu
    raise ValueError("it has no image; a table is read by the formatter fits-table")


def _named(hdus: Sequence[Any], names: Any) -> Any:
    """Find the first image HDU that is called so by EXTNAME or, as LSST does, by EXTTYPE."""
    for hdu in hdus[1:]:
        header = hdu.header
        for name in (header.get("EXTNAME"), header.get("EXTTYPE")):
            if name in names and getattr(hdu, "is_image", False) and len(hdu.shape):
                return hdu, name
    return None, ""


def _header(hdus: Sequence[Any], image: Any, cut: Cut | None) -> Header:
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


def _wcs(image: Any, cut: Cut | None) -> WCS | None:
    wcs = celestial_wcs(image.header)
    return wcs if wcs is None or cut is None else wcs[(..., *cut)] if wcs.naxis > 2 else wcs[cut]


def _mask(file: FitsFile, image: Any, cut: Cut | None) -> npt.NDArray[Any] | None:
    hdu, _ = _named(file.images, _MASKS)
    if hdu is None:
        return None
    mask = _aligned(file, hdu, image, cut)
    kind = hdu.header.get("MASKKIND")
    bits = any(key.startswith("MP_") for key in hdu.header) or mask.dtype.kind != "u"
    if kind == "bool" or (kind is None and mask.dtype.itemsize == 1 and not bits):
        return mask.astype(bool)
    return mask


def _uncertainty(file: FitsFile, image: Any, cut: Cut | None) -> NDUncertainty | None:
    from astropy import nddata

    hdu, name = _named(file.images, {*_UNCERTAINTIES, *_FOREIGN_UNCERTAINTIES})
    if hdu is None:
        return None
    kind = hdu.header.get("UTYPE", _FOREIGN_UNCERTAINTIES.get(name, _UNCERTAINTIES.get(name)))
    if kind not in _UNCERTAINTIES.values():
        raise ValueError(f"its uncertainty is of the unknown type '{kind}'")
    unit = unit_of(hdu.header) if "BUNIT" in hdu.header else None
    found: NDUncertainty = getattr(nddata, kind)(
        _aligned(file, hdu, image, cut), unit=unit, copy=False
    )
    return found


def _aligned(file: FitsFile, hdu: Any, image: Any, cut: Cut | None) -> npt.NDArray[Any]:
    if hdu.shape != image.shape:
        raise ValueError(f"its {hdu.name} is {hdu.shape} and its image {image.shape}")
    return file.pixels(hdu, cut)


def _variance(uncertainty: NDUncertainty, path: str) -> NDUncertainty:
    from astropy.nddata import UnknownUncertainty, VarianceUncertainty

    if isinstance(uncertainty, UnknownUncertainty):
        raise MissingComponent(
            f"{path} has an uncertainty of unknown kind, which is not to be had as a variance.",
            path=path,
            name="variance",
        )
    return uncertainty.represent_as(VarianceUncertainty)


def _given(value: Any, what: str, path: str) -> Any:
    if value is None:
        raise MissingComponent(
            f"{path} has no {what}; read the whole dataset to see what it has.",
            path=path,
            name=what,
        )
    return value


def _bad_card(cards: list[Card]) -> str:
    """Find the card that astropy cannot format, after it has refused the whole header."""
    for card in cards:
        try:
            str(card)
        except ValueError as error:
            return f"header card '{card.keyword}': {error}"
    return ""
