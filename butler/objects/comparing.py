"""Are two objects that were read from files of two formats the same?

Values, types, units, masks, coordinates and metadata are compared, and the first place that
differs is named.  Floating-point values may differ by as much as is allowed: by default, nothing.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from butler.formatters.base import PROVENANCE_KEY
from butler.formatters.fits_header import is_of_wcs
from butler.storage_classes import is_instance

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["difference"]


def difference(one: Any, other: Any, tolerance: float = 0.0, place: str = "") -> str:
    """Say where two objects differ, and by how much; empty when they are the same.

    Parameters
    ----------
    tolerance : float
        By how much floating-point values may differ, in their own unit.
    place : str
        What the two are within something larger, for the answer.
    """
    if type(one) is not type(other):
        return f"{place or 'it'} is {type(one).__name__} and becomes {type(other).__name__}"
    parts = _parts(one), _parts(other)
    if parts[0] is not None and parts[1] is not None:
        names = [name for name in {**parts[0], **parts[1]} if not PROVENANCE_KEY.fullmatch(name)]
        for name in names:
            here = f"{place}.{name}" if place else name
            if name not in parts[0] or name not in parts[1]:
                return f"{here} is only in {'one' if name in parts[0] else 'the other'} of them"
            found = difference(parts[0][name], parts[1][name], tolerance, here)
            if found:
                return found
        return ""
    if is_instance(one, "numpy.ndarray"):
        return _of_arrays(one, other, tolerance, place or "it")
    if isinstance(one, float):
        same = one == other or (one != one and other != other)  # noqa: PLR0124 (nan)
        same = same or abs(one - other) <= tolerance
    else:
        same = bool(one == other)
    return "" if same else f"{place or 'it'} is {one!r:.60} and becomes {other!r:.60}"


def _of_arrays(one: Any, other: Any, tolerance: float, place: str) -> str:
    import numpy as np

    if (one.dtype.newbyteorder("="), one.shape) != (other.dtype.newbyteorder("="), other.shape):
        return (
            f"{place} is {one.dtype} of shape {one.shape} and becomes {other.dtype} of shape "
            f"{other.shape}"
        )
    if one.dtype.kind == "O":
        pairs = zip(one.ravel().tolist(), other.ravel().tolist(), strict=True)
        return next((found for a, b in pairs if (found := difference(a, b, tolerance, place))), "")
    if one.dtype.kind not in "fc":
        return "" if np.array_equal(one, other) else f"{place} has other values"
    if np.array_equal(one, other, equal_nan=True):
        return ""
    unequal = ~((one == other) | (np.isnan(one) & np.isnan(other)))
    with np.errstate(invalid="ignore"):
        distance = np.abs(one[unequal].astype("c16") - other[unequal].astype("c16"))
    if not np.isnan(distance).any() and distance.max() <= tolerance:
        return ""
    return f"{place} has values that differ by up to {np.nanmax(distance, initial=0):.6g}"


def _parts(obj: Any) -> dict[str, Any] | None:
    """Take an object apart; None if it has no parts, or says itself what is equal to it."""
    if isinstance(obj, dict):
        return {str(key): value for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return {f"[{n}]": value for n, value in enumerate(obj)}
    for kind, take in (
        ("pandas.DataFrame", _of_frame),
        ("pyarrow.Table", _of_arrow),
        ("astropy.table.Table", _of_table),
        ("astropy.nddata.NDData", _of_image),
        ("astropy.nddata.NDUncertainty", _of_uncertainty),
        ("astropy.wcs.WCS", _of_wcs),
        ("astropy.io.fits.Header", _of_header),
        ("astropy.io.fits.HDUList", _of_hdus),
    ):
        if is_instance(obj, kind):
            return dict(take(obj))
    if is_dataclass(obj) and not isinstance(obj, type):
        return {one.name: getattr(obj, one.name) for one in fields(obj)}
    compares = getattr(type(obj), "__eq__", None)
    if compares is getattr(object, "__eq__", None) and hasattr(obj, "__dict__"):
        return dict(vars(obj))
    return None


def _of_frame(frame: Any) -> Iterator[tuple[str, Any]]:
    yield "the names of its columns", [str(name) for name in frame.columns]
    yield "its index", [str(frame.index.dtype), *frame.index.tolist()]
    yield "its attributes", dict(frame.attrs)
    for n, name in enumerate(frame.columns):
        column = frame.iloc[:, n]
        yield f"column {name}: type", str(column.dtype)
        missing = column.isna().to_numpy()
        yield f"column {name}: missing", missing
        yield f"column {name}", column[~missing].to_numpy()


def _of_arrow(table: Any) -> Iterator[tuple[str, Any]]:
    yield "the names of its columns", list(table.column_names)
    for name, column in zip(table.column_names, table.columns, strict=True):
        yield f"column {name}: type", str(column.type)
        yield f"column {name}", column.to_pylist()


def _of_table(table: Any) -> Iterator[tuple[str, Any]]:
    import numpy as np
    from astropy.table import serialize

    plain = serialize.represent_mixins_as_columns(table)
    yield "the names of its columns", list(plain.colnames)
    yield "metadata", dict(table.meta)
    for name in plain.colnames:
        column = plain[name]
        mask = np.array(np.ma.getmaskarray(column)) if hasattr(column, "mask") else None
        if mask is not None and mask.any():
            yield f"column {name}: mask", mask
        yield f"column {name}: unit", str(column.unit)
        values = np.asarray(column)
        yield f"column {name}", values if mask is None else values[~mask]


def _of_image(image: Any) -> Iterator[tuple[str, Any]]:
    import numpy as np

    yield "image", np.asarray(image.data)
    yield "unit", str(image.unit)
    yield "mask", None if image.mask is None else np.asarray(image.mask)
    yield "uncertainty", image.uncertainty
    yield "wcs", image.wcs
    # what the header says of the WCS may be written in another way, as PC for CD
    without_wcs = {
        key: value
        for key, value in image.meta.items()
        if image.wcs is None or not is_of_wcs(str(key))
    }
    yield "header", without_wcs
    yield "summary", getattr(image, "summary", None)


def _of_uncertainty(uncertainty: Any) -> Iterator[tuple[str, Any]]:
    import numpy as np

    yield "kind", uncertainty.uncertainty_type
    yield "unit", str(uncertainty.unit)
    yield "values", np.asarray(uncertainty.array)


def _of_wcs(wcs: Any) -> Iterator[tuple[str, Any]]:
    yield from _of_header(wcs.to_header(relax=True))


def _of_header(header: Any) -> Iterator[tuple[str, Any]]:
    for key in dict.fromkeys(header):
        if key:
            yield key, str(header[key])


def _of_hdus(hdus: Any) -> Iterator[tuple[str, Any]]:
    for n, hdu in enumerate(hdus):
        yield f"HDU {n}: header", hdu.header
        yield f"HDU {n}: data", hdu.data
