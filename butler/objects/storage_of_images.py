"""What are images in Python: exposures with mask and variance, and files of several HDUs?

The storage classes of images, and how one that lies in several files, or in rows, is taken apart
and put together.  What a storage class is: `butler.storage_classes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from butler.errors import MissingComponent, StorageClassError, UnknownComponent
from butler.objects import image_parts
from butler.objects.image_parts import UNCERTAINTIES
from butler.storage_classes import Part, StorageClass
from registry.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

__all__ = ["EXPOSURE", "HDU_LIST", "HEADER", "ND_DATA", "UNCERTAINTY", "WCS"]


class ExposureStorageClass(StorageClass):
    """An image with mask, uncertainty, WCS, header and summary, in one place or in several.

    Parts in files of their own: ``image``, ``mask``, one of ``weight`` (inverse variance),
    ``variance`` and ``stddev``; in files or in tables: ``header``, ``wcs`` and ``summary``. Header
    and WCS are those of the image where they do not lie apart.
    """

    def split(
        self, obj: Any, wanted: Collection[str], provenance: Mapping[str, str]
    ) -> dict[str, tuple[str, Any]]:
        """Take an exposure apart; see `StorageClass.split`."""
        return image_parts.split(obj, wanted, provenance, self.image)

    def image(self, pixels: Any, **of_it: Any) -> Any:
        """Make an object of its pixels, and of the rest of it by keyword: mask, wcs, meta, ..."""
        from butler.exposure import Exposure

        return Exposure(pixels, **of_it)

    def from_storage(self, component: str, piece: Any, parameters: Mapping[str, Any]) -> Any:
        """Give a part as it is in memory; see `StorageClass.from_storage`."""
        return image_parts.from_storage(component, piece, parameters.get("bbox"))

    def parameters_of(
        self,
        component: str,
        parameters: Mapping[str, Any],
        *,
        alone: bool,  # noqa: ARG002
    ) -> Mapping[str, Any]:
        """Choose what is about a part: a box is cut out of pixels alone."""
        if component in image_parts.OF_PIXELS:
            return parameters
        return {name: value for name, value in parameters.items() if name != "bbox"}

    def assemble(self, parts: Mapping[str, Any]) -> Any:
        """Join an image with its mask and its weights.

        Parameters
        ----------
        parts : mapping of str to object
            ``image`` must be there and be a CCDData; the mask and the uncertainty are CCDData or
            arrays, the others what they are of an exposure.

        Returns
        -------
        object
            What `image` makes of them, with the unit of the image, and its header and WCS unless
            they are parts. An integer mask keeps its values.

        Raises
        ------
        MissingComponent
            There is no image.
        StorageClassError
            The shapes differ, or a part is not known.
        """
        known = (*image_parts.OF_PIXELS, *image_parts.BESIDE_PIXELS)
        for part, value in parts.items():
            if part not in known:
                raise UnknownComponent(
                    f"Storage class {self.name} has no part '{part}'.{did_you_mean(part, known)}",
                    name=part,
                )
            shape, of_image = _shape(value), _shape(parts.get("image"))
            of_pixels = part in image_parts.OF_PIXELS
            if of_pixels and "image" in parts and shape != of_image:
                raise StorageClassError(
                    f"The {part} is {shape} and the image {of_image}; they are not of one "
                    "exposure.",
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
            (image_parts.uncertainty(p, parts[p]) for p in UNCERTAINTIES if p in parts),
            image.uncertainty,
        )
        own = {"summary": parts["summary"]} if "summary" in parts else {}
        return self.image(
            image.data,
            unit=image.unit,
            mask=image_parts.mask(parts["mask"]) if "mask" in parts else image.mask,
            uncertainty=uncertainty,
            wcs=parts.get("wcs", image.wcs),
            meta=parts.get("header", image.meta),
            psf=getattr(image, "psf", None),
            **own,
        )

    def component(self, obj: Any, name: str) -> Any:
        """Take a component out of an exposure; see `StorageClass.component`."""
        return _as_asked(name, super().component(obj, name))

    def read_component(self, name: str, parts: Mapping[str, Callable[[str | None], Any]]) -> Any:
        """Read one component from the file that has it; see `StorageClass.read_component`."""
        self.component_class(name)
        if name == "mask" and "mask" in parts:
            return image_parts.mask(parts["mask"](None))
        if name in {"header", "metadata"} and "header" in parts:
            return parts["header"](None)
        if name in {"wcs", "summary"} and name in parts:
            return parts[name](None)
        if name in {"uncertainty", "variance"}:
            for part in UNCERTAINTIES:
                if part in parts:
                    return _as_asked(name, image_parts.uncertainty(part, parts[part](None)))
        if name == "summary" or "image" not in parts:
            raise MissingComponent(
                f"The exposure has nothing stored of its {name}, only {', '.join(sorted(parts))}.",
                name=name,
            )
        return parts["image"](name)


def _shape(pixels: Any) -> tuple[int, ...] | None:
    """Give the shape of an array, or of what has one as its data."""
    found: tuple[int, ...] | None = getattr(getattr(pixels, "data", pixels), "shape", None)
    return found


def _as_asked(name: str, uncertainty: Any) -> Any:
    from astropy.nddata import VarianceUncertainty

    return uncertainty.represent_as(VarianceUncertainty) if name == "variance" else uncertainty


class NDDataStorageClass(ExposureStorageClass):
    """Values with mask, uncertainty, WCS and metadata, in one place or in several."""

    def image(self, pixels: Any, **of_it: Any) -> Any:
        """Make an NDData; its metadata are a header when they come back."""
        from astropy.nddata import NDData

        return NDData(pixels, **of_it)


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
_PARTS = {
    "mask": Part("Exposure"),
    "uncertainty": Part("Exposure"),
    "header": Part("HDUList", rows="cards"),
    "wcs": Part("HDUList", rows="cards"),
}
EXPOSURE = ExposureStorageClass(
    "Exposure",
    "astropy.nddata.CCDData",
    "fits-image",
    {**_IMAGE_COMPONENTS, "summary": "StructuredDataDict"},
    {
        "numpy.ndarray": "put CCDData(array, unit='adu')",
        "astropy.nddata.NDData": "put CCDData(nddata, unit='adu')",
        "astropy.io.fits.HDUList": "put CCDData(hdu.data, unit='adu', meta=hdu.header)",
        "astropy.io.fits.ImageHDU": "put CCDData(hdu.data, unit='adu', meta=hdu.header)",
        "builtins.str": "ingest the file if this is its name: butler.ingest(...)",
    },
    "An image with mask, uncertainty, WCS, header and summary.",
    ("fits-image-gzip", "fits-image-tiles"),
    {"image": "data", "metadata": "header", "variance": "uncertainty"},
    {
        **_PARTS,
        "summary": Part("StructuredDataDict", rows="mapping", apart=True),
    },
    body="image",
)
ND_DATA = NDDataStorageClass(
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
    parts=_PARTS,
    body="image",
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
