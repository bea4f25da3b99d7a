"""What are images in Python: exposures with mask and variance, and files of several HDUs?

The storage classes of images, and how one that lies in several files is put together.  What a
storage class is: `butler.storage_classes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from butler.errors import MissingComponent, StorageClassError, UnknownComponent
from butler.storage_classes import StorageClass, is_instance
from registry.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from butler.exposure import Exposure

__all__ = ["EXPOSURE", "HDU_LIST", "HEADER", "ND_DATA", "UNCERTAINTY", "WCS"]


class ExposureStorageClass(StorageClass):
    """An image with mask, uncertainty, WCS and header, in one file or one file for each part.

    Parts in files of their own: ``image`` (its header and WCS are those of the whole), ``mask``,
    and one of ``weight`` (inverse variance), ``variance`` and ``stddev``.
    """

    def assemble(self, parts: Mapping[str, Any]) -> Exposure:
        """Join an image with its mask and its weights.

        Parameters
        ----------
        parts : mapping of str to CCDData or array
            ``image`` must be there and be a CCDData.

        Returns
        -------
        `butler.exposure.Exposure`
            With unit, header and WCS of the image. An integer mask keeps its values.

        Raises
        ------
        MissingComponent
            There is no image.
        StorageClassError
            The shapes differ, or a part is not known.
        """
        from butler.exposure import Exposure

        known = ("image", "mask", *_UNCERTAINTY_OF_PART)
        for part, value in parts.items():
            if part not in known:
                raise UnknownComponent(
                    f"An Exposure has no part '{part}'.{did_you_mean(part, known)}", name=part
                )
            shape = getattr(value, "shape", None)
            if "image" in parts and shape != parts["image"].shape:
                raise StorageClassError(
                    f"The {part} is {shape} and the image {parts['image'].shape}; they are not of "
                    "one exposure.",
                    name=part,
                )
        if "image" not in parts:
            raise MissingComponent(
                f"The exposure has no image, only {', '.join(sorted(parts))}; ingest the image "
                "with the same data ID and the component 'image'.",
                name="image",
            )
        image = parts["image"]
        uncertainty = next(
            (_uncertainty(part, parts[part]) for part in _UNCERTAINTY_OF_PART if part in parts),
            image.uncertainty,
        )
        return Exposure(
            image.data,
            unit=image.unit,
            mask=_array(parts["mask"]) if "mask" in parts else image.mask,
            uncertainty=uncertainty,
            wcs=image.wcs,
            meta=image.meta,
        )

    def component(self, obj: Any, name: str) -> Any:
        """Take a component out of an exposure; see `StorageClass.component`."""
        return _as_asked(name, super().component(obj, name))

    def read_component(self, name: str, parts: Mapping[str, Callable[[str | None], Any]]) -> Any:
        """Read one component from the file that has it; see `StorageClass.read_component`."""
        self.component_class(name)
        if name == "mask" and "mask" in parts:
            return parts["mask"]("image")
        if name in {"uncertainty", "variance"}:
            for part in _UNCERTAINTY_OF_PART:
                if part in parts:
                    return _as_asked(name, _uncertainty(part, parts[part]("image")))
        if "image" not in parts:
            raise MissingComponent(
                f"The exposure has no file with its {name}, only {', '.join(sorted(parts))}.",
                name=name,
            )
        return parts["image"](name)


_UNCERTAINTY_OF_PART = {
    "weight": "InverseVariance",
    "variance": "VarianceUncertainty",
    "stddev": "StdDevUncertainty",
}


def _array(value: Any) -> Any:
    return getattr(value, "data", value) if is_instance(value, "astropy.nddata.NDData") else value


def _uncertainty(part: str, value: Any) -> Any:
    from astropy import nddata

    return getattr(nddata, _UNCERTAINTY_OF_PART[part])(_array(value), copy=False)


def _as_asked(name: str, uncertainty: Any) -> Any:
    from astropy.nddata import VarianceUncertainty

    return uncertainty.represent_as(VarianceUncertainty) if name == "variance" else uncertainty


class HduListStorageClass(StorageClass):
    """A list of HDUs; its headers are components."""

    def component(self, obj: Any, name: str) -> Any:
        """Take the headers, or the first, out of a list of HDUs."""
        self.component_class(name)
        headers = [hdu.header for hdu in obj]
        if name == "headers":
            return headers
        if not headers:
            raise MissingComponent(f"This {self.name} has no {name}.", name=name)
        return headers[0]


_IMAGE_COMPONENTS = {
    "image": "Array",
    "data": "Array",
    "mask": "Array",
    "uncertainty": "Uncertainty",
    "variance": "Uncertainty",
    "wcs": "Wcs",
    "header": "Header",
    "metadata": "Header",
}
EXPOSURE = ExposureStorageClass(
    "Exposure",
    "astropy.nddata.CCDData",
    "fits-image",
    _IMAGE_COMPONENTS,
    {
        "numpy.ndarray": "put CCDData(array, unit='adu')",
        "astropy.nddata.NDData": "put CCDData(nddata, unit='adu')",
        "astropy.io.fits.HDUList": "put CCDData(hdu.data, unit='adu', meta=hdu.header)",
        "astropy.io.fits.ImageHDU": "put CCDData(hdu.data, unit='adu', meta=hdu.header)",
        "builtins.str": "ingest the file if this is its name: butler.ingest(...)",
    },
    "An image with mask, uncertainty, WCS and header.",
    ("fits-image-gzip", "fits-image-tiles"),
    {"image": "data", "metadata": "header", "variance": "uncertainty"},
)
ND_DATA = ExposureStorageClass(
    "NDData",
    "astropy.nddata.NDData",
    "fits-nddata",
    _IMAGE_COMPONENTS,
    {
        "numpy.ndarray": "put NDData(array), or use storage class Array",
        "astropy.io.fits.HDUList": "use storage class HDUList",
    },
    "Values with mask, uncertainty, WCS and metadata; the unit may be unknown.",
    attributes={
        "header": "meta",
        "image": "data",
        "metadata": "meta",
        "variance": "uncertainty",
    },
)
HDU_LIST = HduListStorageClass(
    "HDUList",
    "astropy.io.fits.HDUList",
    "fits-hdus",
    {"header": "Header", "headers": "StructuredDataList"},
    {
        "astropy.io.fits.ImageHDU": "put HDUList([PrimaryHDU(), hdu])",
        "astropy.io.fits.PrimaryHDU": "put HDUList([hdu])",
        "astropy.io.fits.BinTableHDU": "put HDUList([PrimaryHDU(), hdu])",
        "astropy.nddata.CCDData": "use storage class Exposure, or put ccd.to_hdu()",
        "builtins.list": "put HDUList(hdus)",
    },
    "The HDUs of a FITS file, of any kind.",
)
UNCERTAINTY = StorageClass(
    "Uncertainty", "astropy.nddata.NDUncertainty", None, doc="Of an Exposure."
)
WCS = StorageClass("Wcs", "astropy.wcs.WCS", None, doc="World coordinates of an Exposure.")
HEADER = StorageClass("Header", "astropy.io.fits.Header", None, doc="Header of an Exposure.")
