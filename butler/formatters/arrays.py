"""How do bare arrays lie in files: one as npy, several by name as npz?

Both are numpy's own formats. Nothing that is pickled is ever read or written here, and a header
that says more than the file has is not believed. Arrays in chunks are in
`butler.formatters.zarr_store`.
"""

from __future__ import annotations

import json
import math
import tokenize
import zipfile
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, cast

from butler.errors import InvalidParameter
from butler.formatters.base import PROVENANCE_KEY, Formatter
from butler.formatters.limits import require_memory
from butler.formatters.raw_array import read_array, read_box
from butler.formatters.selections import selected_box, selected_names, selected_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from butler.formatters.source import Source

__all__ = ["NpyFormatter", "NpzFormatter", "plain_array", "selected_part"]

_ENDING = ".npy"
_MOST = 1100
"""Deflate packs 1032 bytes into one at the best."""


class NpyFormatter(Formatter):
    """An array of numbers, texts of fixed length or records, as numpy writes it.

    Parameters of a read: ``rows = (start, stop)`` of the first axis, ``bbox = (x_min, y_min,
    x_max, y_max)`` of the last two; no more is read from the file.
    """

    name = "npy"
    extension: ClassVar[str] = ".npy"
    python_types: ClassVar[tuple[str, ...]] = ("numpy.ndarray",)
    parameters: ClassVar[frozenset[str]] = frozenset({"bbox", "rows"})

    def dump(self, obj: npt.NDArray[Any], stream: BinaryIO, provenance: Mapping[str, str]) -> None:  # noqa: ARG002
        """Write the array; see `Formatter.dump`."""
        _write(stream, plain_array(self, obj, "it"))

    def load(
        self,
        source: Source,
        component: str | None,  # noqa: ARG002
        parameters: Mapping[str, Any],
        *,
        trusted: bool,  # noqa: ARG002
    ) -> Any:
        """Read the array or a part of it; see `Formatter.load`."""
        with source.open() as stream:
            shape, in_c_order, kind = _header(stream)
            start, size = stream.tell(), math.prod(shape) * kind.itemsize
            end = stream.seek(0, 2)
            if end != start + size:
                raise ValueError(f"it has {end} bytes, and its header asks for {start + size}")
            require_memory(size if not parameters else 0, "its header")
            if not in_c_order:
                whole = read_array(stream, start, kind, shape[::-1]).T
                return selected_part(whole, shape, parameters, source.name).copy(order="K")
            if set(parameters) == {"bbox"}:
                cut = selected_box(parameters["bbox"], shape, source.name)
                return read_box(stream, start, kind, shape, cut)
            if "rows" in parameters:
                rows = selected_rows(parameters["rows"], (*shape, 0)[0], source.name)
                start += rows.start * math.prod(shape[1:]) * kind.itemsize
                shape = (rows.stop - rows.start, *shape[1:])
            found = read_array(stream, start, kind, shape)
            rest = {key: value for key, value in parameters.items() if key != "rows"}
            return selected_part(found, shape, rest, source.name)


class NpzFormatter(Formatter):
    """Arrays by name, as numpy's archive of them; not compressed, so that they are read fast.

    Component: ``names``. Parameter of a read: ``arrays``, the names of those that are wanted; only
    they are read. Compressed archives of others are read too.
    """

    name = "npz"
    extension: ClassVar[str] = ".npz"
    python_types: ClassVar[tuple[str, ...]] = ("builtins.dict",)
    components: ClassVar[frozenset[str]] = frozenset({"names"})
    parameters: ClassVar[frozenset[str]] = frozenset({"arrays"})
    keeps_provenance: ClassVar[bool] = True

    def dump(self, obj: Any, stream: BinaryIO, provenance: Mapping[str, str]) -> None:
        """Write the arrays; see `Formatter.dump`."""
        arrays = named_arrays(self, obj)
        # Without a way back, the archive is written from its beginning to its end, and hashed so.
        with zipfile.ZipFile(cast("BinaryIO", _Forward(stream)), "w", allowZip64=True) as archive:
            for name, array in arrays.items():
                with archive.open(name + _ENDING, "w", force_zip64=True) as member:
                    _write(cast("BinaryIO", member), array)
            archive.comment = json.dumps(dict(provenance)).encode() if provenance else b""

    def load(
        self,
        source: Source,
        component: str | None,
        parameters: Mapping[str, Any],
        *,
        trusted: bool,  # noqa: ARG002
    ) -> Any:
        """Read the arrays, or some of them; see `Formatter.load`."""
        with source.open() as stream, zipfile.ZipFile(stream) as archive:
            members = {info.filename.removesuffix(_ENDING): info for info in archive.infolist()}
            if component == "names":
                return list(members)
            wanted = list(members)
            if "arrays" in parameters:
                wanted = selected_names(parameters["arrays"], members, source.name, "array")
            return {name: _member(archive, members[name]) for name in wanted}

    def find_provenance(self, source: Source) -> dict[str, str]:
        """Read the comment of the archive."""
        with source.open() as stream, zipfile.ZipFile(stream) as archive:
            told = json.loads(archive.comment or b"{}")
        return {key: str(value) for key, value in told.items() if PROVENANCE_KEY.fullmatch(key)}


class _Forward:
    """A file that is only written, from its beginning to its end."""

    def __init__(self, stream: BinaryIO) -> None:
        self.write, self.flush = stream.write, stream.flush


def plain_array(formatter: Formatter, obj: Any, what: str) -> npt.NDArray[Any]:
    """Give an array that holds nothing but what a file of numbers can.

    Parameters
    ----------
    formatter : Formatter
        Who writes it, for the message.
    obj : array
        What is to be written.
    what : str
        What it is called in the message.

    Raises
    ------
    CannotWrite
        It has a unit or a mask, which would be lost, or holds Python objects.
    """
    import numpy as np

    if type(obj) not in {np.ndarray, np.memmap}:
        raise formatter.refuse(
            f"{what} is of type {type(obj).__module__}.{type(obj).__qualname__}",
            "put a plain array: np.asarray(values), or .value and .filled() where there is a unit "
            "or a mask",
        )
    if obj.dtype.hasobject:
        raise formatter.refuse(
            f"{what} holds Python objects", "give it a type of numbers or of text"
        )
    found: npt.NDArray[Any] = obj
    return found


def named_arrays(formatter: Formatter, obj: Mapping[Any, Any]) -> dict[str, npt.NDArray[Any]]:
    """Check names and arrays; see `plain_array`."""
    for name in obj:
        if not isinstance(name, str) or not name or name[0] == "/" or ".." in name.split("/"):
            raise formatter.refuse(
                f"{name!r} cannot be the name of an array", "use a text like 'gain' or 'amp1/gain'"
            )
    return {name: plain_array(formatter, array, f"['{name}']") for name, array in obj.items()}


def selected_part(
    array: Any, shape: tuple[int, ...], parameters: Mapping[str, Any], path: str
) -> Any:
    """Cut rows and a box out of anything that can be sliced like an array."""
    rows = [selected_rows(parameters["rows"], (*shape, 0)[0], path)] if "rows" in parameters else []
    if "bbox" not in parameters:
        return array[tuple(rows)] if rows else array
    box = selected_box(parameters["bbox"], shape, path)
    if rows and len(shape) < 3:
        raise InvalidParameter(
            f"{path} has rows on one of the axes of its box; give rows or bbox, not both.",
            path=path,
            name="rows",
        )
    return array[(*rows, ..., *box)]


def _write(stream: BinaryIO, array: npt.NDArray[Any]) -> None:
    import numpy as np

    np.lib.format.write_array(stream, array, allow_pickle=False)


def _header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read what an npy file says of its array."""
    import numpy as np

    version = np.lib.format.read_magic(stream)
    readers: dict[tuple[int, int], Any] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"npy files of version {version} are not read")
    try:
        shape, fortran, kind = readers[version](stream)
    except tokenize.TokenError as error:
        raise ValueError(f"its header cannot be made out: {error}") from error
    if kind.hasobject:
        raise ValueError("it holds pickled objects, which are not read")
    if any(n < 0 for n in shape):
        raise ValueError(f"it says that its shape is {shape}")
    return shape, not fortran, kind


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> npt.NDArray[Any]:
    """Read an array of an archive, if its header agrees with the archive's."""
    import numpy as np

    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ValueError(f"{info.filename} is compressed by method {info.compress_type}")
    with archive.open(info) as member:
        shape, _, kind = _header(cast("BinaryIO", member))
        size = math.prod(shape) * kind.itemsize
        if member.tell() + size != info.file_size or size > _MOST * (info.compress_size + 1):
            raise ValueError(f"{info.filename} says that it holds {size} bytes, and has not")
        require_memory(size, info.filename)
        member.seek(0)
        found: npt.NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):  # the check sum is compared at the end
            raise ValueError(f"{info.filename} is longer than it says")
    return found
