"""Which file formats are there, and how is one added?

A formatter writes one kind of file and reads it, or a part of it, back. It is chosen by name; the
name is recorded for each file in the database, so that files of many formats, and of formats that
are no longer written, lie side by side.

Which there are, for which storage classes, with which components and parameters, is a page of the
documentation that is made from them.

To add one, derive from `Formatter` and name it in any of two ways: as an entry point in the group
``skyspine.formatters`` of your package, under a name of your choice; or as ``module:Class``
wherever a formatter's name is asked for, as in an instrument definition. The names above cannot be
taken. Nothing is imported before it is used.
"""

from __future__ import annotations

from functools import cache

from butler.errors import PluginError, UnknownFormatter
from butler.formatters.base import PROVENANCE_KEY, Formatter, Written
from butler.formatters.source import Source
from butler.plugins import entry_point_references, load_reference
from registry.errors import did_you_mean

__all__ = [
    "PROVENANCE_KEY",
    "Formatter",
    "Source",
    "Written",
    "formatter_names",
    "get_formatter",
]

ENTRY_POINT_GROUP = "skyspine.formatters"

_BUILT_IN = {
    "asdf": "butler.formatters.asdf_tree:AsdfFormatter",
    "config": "butler.formatters.configuration:ConfigFormatter",
    "csv": "butler.formatters.tables:CsvFormatter",
    "ecsv": "butler.formatters.tables:EcsvFormatter",
    "fits-hdus": "butler.formatters.fits_hdus:FitsHdusFormatter",
    "fits-image": "butler.formatters.fits_image:FitsImageFormatter",
    "fits-image-gzip": "butler.formatters.fits_packed:FitsGzipFormatter",
    "fits-image-tiles": "butler.formatters.fits_packed:FitsTilesFormatter",
    "fits-nddata": "butler.formatters.fits_hdus:FitsNDDataFormatter",
    "fits-table": "butler.formatters.fits_table:FitsTableFormatter",
    "json": "butler.formatters.structured:JsonFormatter",
    "npy": "butler.formatters.arrays:NpyFormatter",
    "npz": "butler.formatters.arrays:NpzFormatter",
    "parquet": "butler.formatters.parquet:ParquetFormatter",
    "parquet-arrow": "butler.formatters.parquet:ParquetArrowFormatter",
    "parquet-astropy": "butler.formatters.parquet:ParquetAstropyFormatter",
    "pickle": "butler.formatters.objects:PickleFormatter",
    "png": "butler.formatters.objects:PngFormatter",
    "text": "butler.formatters.objects:TextFormatter",
    "yaml": "butler.formatters.structured:YamlFormatter",
    "zarr": "butler.formatters.zarr_store:ZarrFormatter",
}


def formatter_names() -> tuple[str, ...]:
    """List the names of all formatters: built in, and from installed packages.

    Returns
    -------
    tuple of str
        In alphabetical order.
    """
    return tuple(sorted({**entry_point_references(ENTRY_POINT_GROUP), **_BUILT_IN}))


@cache
def get_formatter(name: str) -> Formatter:
    """Give the formatter of a name.

    Parameters
    ----------
    name : str
        One of `formatter_names`, or ``module:Class`` of an installed package.

    Returns
    -------
    Formatter
        The same instance each time; it has no state.

    Raises
    ------
    UnknownFormatter
        There is none of this name.
    PluginError
        It is named, and cannot be imported or is no Formatter.

    Examples
    --------
    >>> get_formatter("yaml").extension
    '.yaml'
    """
    reference = _BUILT_IN.get(name)
    if reference is None:
        known = entry_point_references(ENTRY_POINT_GROUP)
        reference = known.get(name, name if ":" in name else None)
    if reference is None:
        raise UnknownFormatter(
            f"There is no formatter '{name}'.{did_you_mean(name, formatter_names())} One that a "
            "package offers is named by its entry point, or as module:Class.",
            name=name,
        )
    found = load_reference(reference)
    if not (isinstance(found, type) and issubclass(found, Formatter)):
        raise PluginError(
            f"'{reference}' is not a class that derives from butler.formatters.Formatter.",
            name=name,
        )
    formatter = found()
    formatter.name = name  # under which the database can find it again
    return formatter
