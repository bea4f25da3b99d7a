"""How do large arrays lie in chunks, of which a part of an array needs only some?

As a Zarr group (version 3) in one zip file, which other programs open as it is. Codecs that could
run code, or unpack without bound, are not taken from a file.
"""

from __future__ import annotations

import json
import math
import zipfile
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Self, cast

from butler.errors import UntrustedFormat
from butler.formatters.arrays import named_arrays, selected_part
from butler.formatters.base import PROVENANCE_KEY, Formatter
from butler.formatters.limits import require_memory
from butler.formatters.options import Option, choice, sides, whole
from butler.formatters.selections import selected_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from butler.formatters.source import Source

__all__ = ["ZarrFormatter"]

_SIDE = 256
_METADATA = "zarr.json"
_ABOUT = "skyspine"
_CODECS = {"blosc", "bytes", "crc32c", "sharding_indexed", "transpose", "zstd"}


class ZarrFormatter(Formatter):
    """Arrays of numbers by name as a Zarr group in a zip file, in chunks that are compressed.

    Component: ``names``. Parameters of a read: ``arrays``, names of those that are wanted; ``rows
    = (start, stop)`` of the first axis and ``bbox`` of the last two, of each of them. Only the
    chunks that are touched are read. Needs the package zarr: ``pip install 'skyspine[zarr]'``.
    """

    name = "zarr"
    extension: ClassVar[str] = ".zarr.zip"
    python_types: ClassVar[tuple[str, ...]] = ("builtins.dict",)
    components: ClassVar[frozenset[str]] = frozenset({"names"})
    parameters: ClassVar[frozenset[str]] = frozenset({"arrays", "bbox", "rows"})
    keeps_provenance: ClassVar[bool] = True
    options: ClassVar[Mapping[str, Option]] = {
        "chunk": Option(
            [_SIDE, _SIDE], sides(1 << 15), "Rows and columns of a chunk of the last two axes"
        ),
        "compression": Option("zstd", choice("zstd", "lz4", "blosclz"), "How they are compressed"),
        "level": Option(5, whole(0, 9), "How hard that tries"),
    }

    def dump(self, obj: Any, stream: BinaryIO, provenance: Mapping[str, str]) -> None:
        """Write the arrays; see `Formatter.dump`."""
        import zarr
        from zarr.codecs import BloscCodec

        arrays = named_arrays(self, obj)
        for name, array in arrays.items():
            if array.dtype.kind not in "biufc":
                raise self.refuse(
                    f"['{name}'] is of {array.dtype}", "use numbers, or the formatter npz"
                )
        chunks: dict[str, Any] = {}
        root = zarr.create_group(
            zarr.storage.MemoryStore(chunks),
            attributes={_ABOUT: {"complete": True, "provenance": dict(provenance)}},
        )
        for name, array in arrays.items():
            made = root.create_array(
                name,
                shape=array.shape,
                dtype=array.dtype.newbyteorder("="),
                chunks=_chunks(array.shape, self.option("chunk")),
                compressors=BloscCodec(
                    cname=self.option("compression"), clevel=self.option("level")
                ),
                config={"write_empty_chunks": True},
            )
            if array.size:
                made[...] = array
        with zipfile.ZipFile(stream, "w") as archive:
            for key in sorted(chunks):
                archive.writestr(key, chunks[key].to_bytes())

    def load(
        self,
        source: Source,
        component: str | None,
        parameters: Mapping[str, Any],
        *,
        trusted: bool,  # noqa: ARG002
    ) -> Any:
        """Read the arrays, or parts of them; see `Formatter.load`."""
        import numpy as np
        import zarr
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
        from fsspec.implementations.zip import ZipFileSystem
        from zarr.storage import FsspecStore

        with source.open() as stream:
            with zipfile.ZipFile(stream) as archive:
                known = dict(_arrays(archive, source.name))
                complete = _about(archive).get("complete") is True
                members = archive.namelist()
            if component == "names":
                return list(known)
            wanted = list(known)
            if "arrays" in parameters:
                wanted = selected_names(parameters["arrays"], known, source.name, "array")
            for name in wanted:
                _check(name, known[name], members if complete else None)
            stream.seek(0)
            files = AsyncFileSystemWrapper(ZipFileSystem(fo=_Lent(stream)), asynchronous=True)
            root = zarr.open_group(FsspecStore(files, read_only=True, path=""), mode="r")
            found = {}
            for name in wanted:
                array = cast("zarr.Array[Any]", root[name])
                require_memory(math.prod(array.shape) * array.dtype.itemsize, name)
                part = selected_part(_Whole(array), array.shape, parameters, source.name)
                found[name] = np.asarray(part.array[...] if isinstance(part, _Whole) else part)
            return found

    def find_provenance(self, source: Source) -> dict[str, str]:
        """Read the attributes of the group."""
        with source.open() as stream, zipfile.ZipFile(stream) as archive:
            told = _about(archive).get("provenance", {})
        return {key: str(value) for key, value in told.items() if PROVENANCE_KEY.fullmatch(key)}


class _Whole:
    """An array of which nothing was read yet."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __getitem__(self, index: Any) -> Any:
        return self.array[index]


def _chunks(shape: tuple[int, ...], box: list[int]) -> tuple[int, ...]:
    """Choose boxes of the last two axes; of a list, what is as large."""
    if len(shape) == 1:
        return (max(1, min(shape[0], box[0] * box[1])),)
    last = tuple(max(1, min(n, side)) for n, side in zip(shape[-2:], box, strict=False))
    return (1,) * (len(shape) - len(last)) + last


class _Lent:
    """A stream that stays open when who has borrowed it is forgotten, which may be much later."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it open."""

    def close(self) -> None:
        """Leave it open."""


def _about(archive: zipfile.ZipFile) -> dict[str, Any]:
    """Give what was written of the group; nothing if others wrote it."""
    root = json.loads(archive.read(_METADATA))
    told = root.get("attributes", {}).get(_ABOUT, {})
    return told if isinstance(told, dict) else {}


def _arrays(archive: zipfile.ZipFile, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Find the arrays of an archive, none of which may need a codec that is not known."""
    for name in archive.namelist():
        if name.rpartition("/")[2] in {".zarray", ".zgroup"}:
            raise ValueError("it is of version 2 of Zarr; only version 3 is read")
        if name.rpartition("/")[2] != _METADATA:
            continue
        told = json.loads(archive.read(name))
        if told.get("zarr_format") != 3:
            raise ValueError(f"{name} is not of version 3 of Zarr")
        if told.get("node_type") != "array":
            continue
        strange = set(_codecs(told)) - _CODECS
        if strange:
            raise UntrustedFormat(
                f"{path} needs the codec '{min(strange)}', which is not run for a file: it could "
                f"run code or unpack without bound. Write it again with one of "
                f"{', '.join(sorted(_CODECS))}.",
                path=path,
                name=min(strange),
            )
        yield name.removesuffix(f"/{_METADATA}"), told


def _codecs(told: Any) -> Iterator[str]:
    """Give the names of all codecs that an array asks for, those inside of others too."""
    if isinstance(told, dict):
        for key, value in told.items():
            if key in {"codecs", "index_codecs", "storage_transformers"}:
                for codec in value:
                    yield str(codec["name"] if isinstance(codec, dict) else codec)
            yield from _codecs(value)
    elif isinstance(told, list):
        for value in told:
            yield from _codecs(value)


def _check(name: str, told: dict[str, Any], members: list[str] | None) -> None:
    """Compare the shape of an array with the chunks that are there: what lacks reads as zeros."""
    shape, grid = told["shape"], told["chunk_grid"]["configuration"]["chunk_shape"]
    if any(n < 0 for n in shape) or any(n < 1 for n in grid) or len(shape) != len(grid):
        raise ValueError(f"'{name}' says that its shape is {shape}, in chunks of {grid}")
    if members is None:
        return
    wanted = math.prod(-(-n // c) for n, c in zip(shape, grid, strict=True))
    has = sum(member.startswith(f"{name}/c/") or member == f"{name}/c" for member in members)
    if has != wanted:
        raise ValueError(f"'{name}' has {has} chunks and needs {wanted}")
