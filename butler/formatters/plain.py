"""Which values do YAML and JSON hold, and what becomes of those that they do not?

Numbers of numpy become Python's, paths and UUIDs text, tuples lists; everything else that is not a
plain value is refused with its place in the structure and what to do.
"""

from __future__ import annotations

import datetime as dt
import os
import uuid
from collections.abc import Mapping
from typing import Any

__all__ = ["Inexpressible", "plain"]

_SCALARS = frozenset({str, int, float, bool, type(None)})
_REMEDIES = {
    "numpy.ndarray": "store its .tolist()",
    "numpy.datetime64": "store str() of it",
    "set": "store sorted() of it",
    "frozenset": "store sorted() of it",
    "complex": "store its real and its imaginary part",
    "bytes": "store its .hex(), or use the formatter yaml",
    "datetime": "store its .isoformat()",
    "pandas": "store its .isoformat(), or .to_dict()",
    "astropy.units": "store its .value, and the name of its unit",
    "astropy.time": "store its .isot, and its scale",
    "astropy.coordinates": "store its .ra.deg and .dec.deg",
}


class Inexpressible(ValueError):
    """A value that cannot be written.

    Parameters
    ----------
    what : str
        What it is, as a clause.
    remedy : str
        What to do, as a clause in the imperative.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy
        self.where = ""

    def inside(self, key: object) -> Inexpressible:
        """Say that it lies under a key or index; called from the inside out."""
        self.where = f"[{key!r}]{self.where}"
        return self


def plain(value: Any, *, string_keys: bool, native: tuple[type, ...] = ()) -> Any:
    """Copy a structure as plain dicts, lists and scalars.

    Parameters
    ----------
    value : object
        Mappings, lists and tuples of scalars; numpy scalars, paths, UUIDs, dates.
    string_keys : bool
        Keys must be strings, as in JSON.
    native : tuple of type, optional
        Further types that the format has and that stay as they are. Dates become ISO 8601 text
        if they are not among them.

    Returns
    -------
    dict, list or scalar
        Shares nothing that can change with `value`.

    Raises
    ------
    Inexpressible
        Names the place, what lies there, and what to do.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if isinstance(value, Mapping):
        out: dict[Any, Any] = {}
        for key, item in value.items():
            try:
                name = (
                    key if type(key) is str else _key(key, string_keys=string_keys, native=native)
                )
                out[name] = (
                    item
                    if type(item) in _SCALARS
                    else plain(item, string_keys=string_keys, native=native)
                )
            except Inexpressible as error:
                raise error.inside(key) from None
        if len(out) != len(value):
            raise Inexpressible("has keys that become equal as text", "rename one of them")
        return out
    if isinstance(value, list | tuple):
        items = []
        for index, item in enumerate(value):
            try:
                items.append(
                    item
                    if type(item) in _SCALARS
                    else plain(item, string_keys=string_keys, native=native)
                )
            except Inexpressible as error:
                raise error.inside(index) from None
        return items
    return _scalar(value, native=native)


def _key(key: Any, *, string_keys: bool, native: tuple[type, ...]) -> Any:
    name = _scalar(key, native=native) if type(key) not in _SCALARS else key
    if string_keys and type(name) is not str:
        raise Inexpressible(
            f"is a key of type {type(key).__name__}, and JSON has only text",
            "use str() on the keys, or the formatter yaml",
        )
    return name


def _scalar(value: Any, *, native: tuple[type, ...]) -> Any:
    if type(value) in native:
        return value
    if isinstance(value, dt.date) and not native:
        return value.isoformat()
    if isinstance(value, os.PathLike | uuid.UUID):
        return str(value)
    for kind in (bool, int, float, str):
        if isinstance(value, kind):  # a subclass: numpy.float64, IntEnum, StrEnum
            return kind.__str__(value) if kind is str else kind(value)
    name = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    if name.startswith("numpy.") and getattr(value, "shape", None) == ():
        item = value.item()
        if type(item) in _SCALARS and value.dtype.kind in "biuf":
            return item
    remedy = next(
        (text for prefix, text in _REMEDIES.items() if name.startswith(prefix)),
        "store it as numbers or text, or use another storage class",
    )
    raise Inexpressible(f"is of type {name}", remedy)
