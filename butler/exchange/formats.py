"""Which formatter of lsst-daf-butler reads what a formatter here writes?

Both are known by name only; nothing of lsst-daf-butler is imported.
"""

from __future__ import annotations

from butler.errors import UnknownStorageClass
from butler.storage_classes import get_storage_class

__all__ = ["formatter_here", "formatter_there"]

_THERE = {
    "ecsv": "lsst.daf.butler.formatters.astropyTable.AstropyTableFormatter",
    "json": "lsst.daf.butler.formatters.json.JsonFormatter",
    "parquet": "lsst.daf.butler.formatters.parquet.ParquetFormatter",
    "pickle": "lsst.daf.butler.formatters.pickle.PickleFormatter",
    "png": "lsst.daf.butler.formatters.matplotlib.MatplotlibFormatter",
    "yaml": "lsst.daf.butler.formatters.yaml.YamlFormatter",
}
_HERE = {there: here for here, there in _THERE.items()}


def formatter_here(there: str | None, storage_class: str) -> str:
    """Name the formatter that reads a file of another registry.

    Without an equivalent it is the storage class's own, or, where that is unknown here too, the
    other registry's name: the dataset can be found and exported again, and not read.

    Parameters
    ----------
    there : str or None
        Class as the export names it.
    storage_class : str
        Of the dataset type.
    """
    if there in _HERE:
        return _HERE[there]
    try:
        return get_storage_class(storage_class).default_formatter or there or storage_class
    except UnknownStorageClass:
        return there or storage_class


def formatter_there(here: str) -> str | None:
    """Name the class of lsst-daf-butler that reads a file; None where it must choose by itself."""
    if "." in here and ":" not in here:
        return here
    return _THERE.get(here)
