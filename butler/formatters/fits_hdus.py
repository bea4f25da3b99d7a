"""How do several HDUs of any kind, and images without the habits of CCDs, lie in a FITS file?

A list of HDUs goes through as it is: images, tables and tile-compressed images with their headers.
An NDData lies as a CCDData does (`butler.formatters.fits_image`), but may lack a unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from butler.errors import InvalidParameter
from butler.formatters.base import PROVENANCE_KEY, Formatter
from butler.formatters.fits_file import open_fits, written_by_astropy
from butler.formatters.fits_header import provenance_cards, provenance_in
from butler.formatters.fits_image import FitsImageFormatter
from registry.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from astropy.io.fits import HDUList
    from astropy.nddata import NDData

    from butler.formatters.fits_file import FitsFile
    from butler.formatters.fits_image import Cut
    from butler.formatters.source import Source

__all__ = ["FitsHdusFormatter", "FitsNDDataFormatter"]


class FitsHdusFormatter(Formatter):
    """A list of HDUs as a FITS file; headers, images, tables, and what of it is compressed.

    Components: ``headers`` (a list), ``header`` (of the first HDU). Parameter of a read: ``hdus``,
    names or numbers of those that are wanted; only they are read, and one HDU without data stands
    before them where FITS asks for it.
    """

    name = "fits-hdus"
    extension: ClassVar[str] = ".fits"
    python_types: ClassVar[tuple[str, ...]] = ("astropy.io.fits.HDUList",)
    components: ClassVar[frozenset[str]] = frozenset({"header", "headers"})
    parameters: ClassVar[frozenset[str]] = frozenset({"hdus"})
    keeps_provenance: ClassVar[bool] = True

    def dump(self, obj: HDUList, stream: BinaryIO, provenance: Mapping[str, str]) -> None:
        """Write the HDUs; see `Formatter.dump`."""
        from astropy.io import fits

        if not obj or not isinstance(obj[0], fits.PrimaryHDU):
            raise self.refuse(
                "its first HDU is no PrimaryHDU", "put fits.HDUList([fits.PrimaryHDU(), ...])"
            )
        # astropy sets cards, and swaps bytes to and fro, in what it writes: not in the caller's.
        hdus = [_separate(hdu) for hdu in obj]
        header = hdus[0].header
        for key in [key for key in header if PROVENANCE_KEY.fullmatch(key)]:
            del header[key]
        header.extend(provenance_cards(provenance), end=True)
        header.set("SKYHDUS", len(hdus), "HDUs of this file, to find it cut short")
        with written_by_astropy():
            try:
                fits.HDUList(hdus).writeto(stream, output_verify="ignore")
            except ValueError as error:
                raise self.refuse(str(error).rstrip("."), "correct that header") from error

    def load(
        self,
        source: Source,
        component: str | None,
        parameters: Mapping[str, Any],
        *,
        trusted: bool,  # noqa: ARG002
    ) -> Any:
        """Read the HDUs or some of them; see `Formatter.load`."""
        from astropy.io import fits

        with open_fits(source, whole=component is None) as file:
            if component == "header":
                return file.primary.copy()
            if component == "headers":
                return [hdu.header.copy() for hdu in file.hdus]
            wanted = list(range(len(file.hdus)))
            if "hdus" in parameters:
                wanted = list(_numbers(parameters["hdus"], file.hdus, source.name))
            found = [_in_memory(file, file.hdus[number]) for number in wanted]
        if not found or not isinstance(found[0], fits.PrimaryHDU):
            found.insert(0, fits.PrimaryHDU())
        return fits.HDUList(found)

    def find_provenance(self, source: Source) -> dict[str, str]:
        """Read the ``SKYS_*`` cards of the first header."""
        with open_fits(source, whole=False) as file:
            return provenance_in(file.primary)


class FitsNDDataFormatter(FitsImageFormatter):
    """NDData as multi-extension FITS; its metadata are a header when they come back.

    Components and parameters are those of fits-image.
    """

    name = "fits-nddata"
    python_types: ClassVar[tuple[str, ...]] = ("astropy.nddata.NDData",)

    def dump(self, obj: NDData, stream: BinaryIO, provenance: Mapping[str, str]) -> None:
        """Write the image, its mask and its uncertainty; see `Formatter.dump`."""
        import numpy as np
        from astropy.nddata import NDData

        bare = NDData(
            np.asarray(obj.data),
            uncertainty=obj.uncertainty,
            mask=obj.mask,
            wcs=obj.wcs,
            meta=obj.meta,
            unit=obj.unit,
            psf=getattr(obj, "psf", None),
        )
        super().dump(bare, stream, provenance)

    def assembled(self, file: FitsFile, image: Any, cut: Cut | None) -> Any:
        """Make the NDData of what the file has."""
        from astropy.nddata import NDData

        exposure = super().assembled(file, image, cut)
        return NDData(
            exposure.data,
            uncertainty=exposure.uncertainty,
            mask=exposure.mask,
            wcs=exposure.wcs,
            meta=exposure.header,
            unit=exposure.unit if "BUNIT" in exposure.header else None,
            psf=exposure.psf,
        )


def _separate(hdu: Any) -> Any:
    """Make an HDU of the same data with a header of its own."""
    from astropy.io import fits

    if isinstance(hdu, fits.CompImageHDU):
        return hdu.copy()
    return type(hdu)(hdu.data, hdu.header.copy())


def _in_memory(file: FitsFile, hdu: Any) -> Any:
    """Read an HDU, so that the file may be closed."""
    if getattr(hdu, "is_image", False) and len(hdu.shape):
        hdu.data = file.pixels(hdu)
        return hdu
    file.check_table(hdu)
    if hdu.data is not None:
        for name in hdu.columns.names:
            hdu.data[name]
    return hdu


def _numbers(wanted: Any, hdus: HDUList, path: str) -> Iterator[int]:
    """Give the numbers of HDUs that are wanted by number or name."""
    names = [hdu.name for hdu in hdus]
    for one in [wanted] if isinstance(wanted, int | str) else list(wanted):
        if isinstance(one, str) and one.upper() in names:
            yield names.index(one.upper())
        elif isinstance(one, int) and 0 <= one < len(names):
            yield one
        else:
            raise InvalidParameter(
                f"{path} has no HDU {one!r}, but {len(names)} of them, from 0 on."
                f"{did_you_mean(str(one), [name for name in names if name])}",
                path=path,
                name="hdus",
            )
