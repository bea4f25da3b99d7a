"""How do tables of pandas, Arrow and astropy lie in Parquet, so that all of each comes back?

One kind of file, three kinds of object: who reads says with the formatter which one. Columns and
ranges of rows are read alone; of a file behind a URL, no more than their pages and the footer are
fetched. Units lie in the metadata of the columns, where other programs find them.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from butler.errors import InvalidOption
from butler.formatters.base import PROVENANCE_KEY, Formatter
from butler.formatters.limits import require_memory
from butler.formatters.options import Option, choice, whole
from butler.formatters.selections import selected_names, selected_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq
    from astropy.table import Table

    from butler.formatters.source import Source

__all__ = ["ParquetArrowFormatter", "ParquetAstropyFormatter", "ParquetFormatter"]

_TOGETHER = 1 << 18
"""Bytes that are written at a time."""
_LEVELS = {"gzip": 9, "brotli": 11, "zstd": 22}
_HEADER = b"table_meta_yaml"
"""Where astropy, too, puts its description of a table."""


class _ParquetFormatter(Formatter):
    """What the three have in common."""

    extension: ClassVar[str] = ".parquet"
    components: ClassVar[frozenset[str]] = frozenset({"columns"})
    parameters: ClassVar[frozenset[str]] = frozenset({"columns", "rows"})
    keeps_provenance: ClassVar[bool] = True
    options: ClassVar[Mapping[str, Option]] = {
        "compression": Option(
            "snappy",
            choice("none", "snappy", "gzip", "brotli", "lz4", "zstd"),
            "How pages are compressed",
        ),
        "level": Option(None, whole(1, 22), "How hard gzip, brotli and zstd try"),
        "row_group": Option(
            1 << 16, whole(1, 1 << 30), "Rows of a group, which is the least that can be read"
        ),
    }

    def check_options(self) -> None:
        """Refuse a level that the compression has not."""
        compression, level = self.option("compression"), self.option("level")
        most = _LEVELS.get(compression, 0)
        if level is not None and level > most:
            told = f"levels from 1 to {most}" if most else "no levels"
            raise InvalidOption(
                f"The compression {compression} of the format {self.name} has {told}; choose "
                "another one with the option 'compression', or leave 'level' out.",
                name="level",
            )

    def dump(self, obj: Any, stream: BinaryIO, provenance: Mapping[str, str]) -> None:
        """Write the table; see `Formatter.dump`."""
        import pyarrow.parquet as pq

        table = self.to_arrow(obj)
        metadata = {
            key: value
            for key, value in (table.schema.metadata or {}).items()
            if not PROVENANCE_KEY.fullmatch(key.decode(errors="replace"))
        }
        with _in_large_pieces(stream) as together:
            pq.write_table(
                table.replace_schema_metadata({**metadata, **provenance}),
                together,
                row_group_size=self.option("row_group"),
                compression=self.option("compression"),
                compression_level=self.option("level"),
            )

    def load(
        self,
        source: Source,
        component: str | None,
        parameters: Mapping[str, Any],
        *,
        trusted: bool,  # noqa: ARG002
    ) -> Any:
        """Read the table, or a part of it; see `Formatter.load`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with source.open() as stream, pq.ParquetFile(stream, pre_buffer=True) as file:
                if component is not None:
                    return self.component(file.schema_arrow, component)
                names = self.names(file.schema_arrow)
                wanted = None
                if "columns" in parameters:
                    wanted = selected_names(parameters["columns"], names, source.name)
                rows = None
                if "rows" in parameters:
                    rows = selected_rows(parameters["rows"], file.metadata.num_rows, source.name)
                stored = None if wanted is None else self.stored(file.schema_arrow, wanted)
                return self.from_arrow(_read(file, stored, rows), wanted, rows)
        except (pa.ArrowNotImplementedError, pa.ArrowIndexError) as error:
            raise ValueError(str(error)) from error

    def find_provenance(self, source: Source) -> dict[str, str]:
        """Read the key/value metadata of the file."""
        import pyarrow.parquet as pq

        with source.open() as stream:
            metadata = pq.read_schema(stream).metadata or {}
        return {
            key.decode(): value.decode()
            for key, value in metadata.items()
            if PROVENANCE_KEY.fullmatch(key.decode(errors="replace"))
        }

    def component(self, schema: pa.Schema, component: str) -> Any:  # noqa: ARG002
        """Give a component that is had from the schema alone: the names of the columns."""
        return self.names(schema)

    def names(self, schema: pa.Schema) -> list[str]:
        """List the columns of the object."""
        return list(schema.names)

    def stored(self, schema: pa.Schema, wanted: list[str]) -> list[str]:  # noqa: ARG002
        """List the columns of the file that are needed for some of the object."""
        return wanted

    @abstractmethod
    def to_arrow(self, obj: Any) -> pa.Table:
        """Turn the object into an Arrow table that tells all of it."""

    @abstractmethod
    def from_arrow(self, table: pa.Table, wanted: list[str] | None, rows: slice | None) -> Any:
        """Turn what was read into an object."""


@contextmanager
def _in_large_pieces(stream: BinaryIO) -> Iterator[pa.BufferedOutputStream]:
    """Give what collects the pages of a file: each would go through Python alone otherwise."""
    import pyarrow as pa

    together = pa.BufferedOutputStream(pa.PythonFile(stream, mode="w"), _TOGETHER)
    try:
        yield together
        together.detach()
    except BaseException:
        with suppress(OSError):  # tried once more, or Arrow does it later and tells of it
            together.close()
        raise


class ParquetFormatter(_ParquetFormatter):
    """A pandas DataFrame as Parquet; index and attributes come back.

    Component: ``columns`` (the names). Parameters of a read: ``columns`` and ``rows = (start,
    stop)``; only those are read.
    """

    name = "parquet"
    python_types: ClassVar[tuple[str, ...]] = ("pandas.DataFrame",)

    def names(self, schema: pa.Schema) -> list[str]:
        """List the columns, without the index."""
        index = (schema.pandas_metadata or {}).get("index_columns", [])
        return [name for name in schema.names if name not in index]

    def stored(self, schema: pa.Schema, wanted: list[str]) -> list[str]:
        """List the wanted columns and those of the index."""
        index = (schema.pandas_metadata or {}).get("index_columns", [])
        return [*wanted, *(name for name in index if isinstance(name, str))]

    def to_arrow(self, obj: pd.DataFrame) -> pa.Table:
        """Convert the DataFrame, which must have text as column names."""
        import pyarrow as pa

        names: list[Any] = list(obj.columns)
        odd = [name for name in names if not isinstance(name, str)]
        if odd:
            raise self.refuse(
                f"the name of column {odd[0]!r} is of type {type(odd[0]).__name__}",
                "rename the columns: df.rename(columns=str)",
            )
        try:
            return pa.Table.from_pandas(obj)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise self.refuse(
                " ".join(str(part) for part in error.args), "give each column values of one type"
            ) from error

    def from_arrow(
        self, table: pa.Table, wanted: list[str] | None, rows: slice | None
    ) -> pd.DataFrame:
        """Make the DataFrame, with the part of its index that belongs to the rows."""
        import pandas as pd

        frame = table.to_pandas()
        if rows is not None:
            told = (table.schema.pandas_metadata or {}).get("index_columns", [])
            spans = [index for index in told if isinstance(index, dict)]
            first, step = (spans[0]["start"], spans[0]["step"]) if spans else (0, 1)
            if spans or not told:
                begin, end = first + rows.start * step, first + rows.stop * step
                name = spans[0]["name"] if spans else None
                frame.index = pd.RangeIndex(begin, end, step, name=name)
        return frame if wanted is None else frame[wanted]


class ParquetArrowFormatter(_ParquetFormatter):
    """An Arrow table as Parquet; types, nested ones too, and metadata come back.

    Component: ``columns`` (the names). Parameters of a read: ``columns`` and ``rows``.
    """

    name = "parquet-arrow"
    python_types: ClassVar[tuple[str, ...]] = ("pyarrow.Table",)

    def to_arrow(self, obj: pa.Table) -> pa.Table:
        """Give the table as it is."""
        names = list(obj.column_names)
        doubled = {name for name in names if names.count(name) > 1}
        if doubled:
            raise self.refuse(
                f"two of its columns are named '{min(doubled)}'", "rename one of them"
            )
        return obj

    def from_arrow(
        self,
        table: pa.Table,
        wanted: list[str] | None,
        rows: slice | None,  # noqa: ARG002
    ) -> pa.Table:
        """Give the table with its columns in the order in which they were asked for."""
        return table if wanted is None else table.select(wanted)


class ParquetAstropyFormatter(_ParquetFormatter):
    """An astropy Table as Parquet, with units, descriptions, masks, times and nested metadata.

    Components: ``columns`` (the names), ``meta``. Parameters of a read: ``columns`` and ``rows``.
    Parquet files that others wrote are read as tables too, with the units that lie where this
    formatter writes them.
    """

    name = "parquet-astropy"
    python_types: ClassVar[tuple[str, ...]] = ("astropy.table.Table",)
    components: ClassVar[frozenset[str]] = frozenset({"columns", "meta"})

    def component(self, schema: pa.Schema, component: str) -> Any:
        """Give the names of the columns, or the metadata of the table."""
        if component == "columns":
            return self.names(schema)
        meta = dict(_header(schema).get("meta") or {})
        meta.pop("__serialized_columns__", None)
        return meta

    def names(self, schema: pa.Schema) -> list[str]:
        """List the columns, where one of times or coordinates is one."""
        parts = _parts(_header(schema))
        owner = {part: name for name, needed in parts.items() for part in needed}
        return list(dict.fromkeys(owner.get(name, name) for name in schema.names))

    def stored(self, schema: pa.Schema, wanted: list[str]) -> list[str]:
        """List the columns that the wanted ones are made of."""
        parts = _parts(_header(schema))
        return [part for name in wanted for part in parts.get(name, [name])]

    def to_arrow(self, obj: Table) -> pa.Table:
        """Convert the table."""
        import pyarrow as pa
        import yaml
        from astropy.io.misc.yaml import dump
        from astropy.table import MaskedColumn, meta, serialize
        from astropy.utils.data_info import serialize_context_as

        table = obj.copy(copy_data=False)
        table.meta = {k: v for k, v in obj.meta.items() if not PROVENANCE_KEY.fullmatch(str(k))}
        for column in table.itercols():
            if isinstance(column, MaskedColumn):
                column.info.serialize_method["parquet"] = "null_value"
        with serialize_context_as("parquet"):
            plain = serialize.represent_mixins_as_columns(table)
        try:
            dump(plain.meta)
            told = "\n".join(meta.get_yaml_from_table(plain))
        except (yaml.YAMLError, TypeError, ValueError) as error:
            raise self.refuse(
                f"its metadata: {' '.join(str(error).split()).rstrip('.')}", "change them"
            ) from error
        fields, arrays = [], []
        for column in plain.itercols():
            try:
                array = _arrow_array(column)
            except (pa.ArrowException, ValueError, TypeError) as error:
                raise self.refuse(
                    f"column '{column.info.name}' is of type {column.info.dtype}",
                    "store it as numbers or text",
                ) from error
            facts = {"dtype": column.dtype.str, "shape": json.dumps(column.shape[1:])}
            if column.info.unit is not None:
                facts["unit"] = str(column.info.unit)
            if isinstance(column, MaskedColumn):
                facts["masked"] = "1"
            fields.append(pa.field(column.info.name, array.type, metadata=facts))
            arrays.append(array)
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields, {_HEADER: told.encode()}))

    def from_arrow(
        self,
        table: pa.Table,
        wanted: list[str] | None,
        rows: slice | None,  # noqa: ARG002
    ) -> Table:
        """Make the table."""
        from astropy.table import Table, serialize

        header = _header(table.schema)
        made = Table()
        facts = {told["name"]: told for told in header.get("datatype", [])}
        for field, values in zip(table.schema, table.columns, strict=True):
            made[field.name] = _astropy_column(field, values, facts.get(field.name, {}))
        made.meta = dict(header.get("meta") or {})
        mixins = made.meta.get("__serialized_columns__")
        if mixins is not None:
            named = set(made.colnames)
            kept = {n: told for n, told in mixins.items() if set(_named(told)) <= named}
            made.meta["__serialized_columns__"] = kept
            made = serialize._construct_mixins_from_columns(made)  # noqa: SLF001
        for key, value in (table.schema.metadata or {}).items():
            if PROVENANCE_KEY.fullmatch(key.decode(errors="replace")):
                made.meta[key.decode()] = value.decode()
        return made if wanted is None else made[wanted]


def _read(file: pq.ParquetFile, columns: list[str] | None, rows: slice | None) -> pa.Table:
    """Read columns of the groups that have the rows, and cut the rows out."""
    groups, begin, first = [], 0, None
    for number in range(file.num_row_groups):
        end = begin + file.metadata.row_group(number).num_rows
        if rows is None or (begin < rows.stop and rows.start < end):
            groups.append(number)
            first = begin if first is None else first
        begin = end
    schema = file.schema_arrow
    kept = schema if columns is None else [schema.field(name) for name in columns]
    n_rows = sum(file.metadata.row_group(number).num_rows for number in groups)
    require_memory(n_rows * sum(_width(field.type) for field in kept), "its footer")
    # The columns of a struct are leaves of the file: asked for by name, all of them come.
    table = file.read_row_groups(groups, columns=columns, use_pandas_metadata=True)
    if rows is None:
        return table
    return table.slice(rows.start - (first or 0), rows.stop - rows.start)


def _width(kind: pa.DataType) -> int:
    """Give the bytes that a value takes at least."""
    try:
        return int(kind.bit_width) // 8
    except ValueError:
        return 1


def _header(schema: pa.Schema) -> dict[str, Any]:
    """Give astropy's description of a table; empty for a file that others wrote."""
    from astropy.table import meta

    told = (schema.metadata or {}).get(_HEADER)
    if told is None:
        return {}
    try:
        found: dict[str, Any] = meta.get_header_from_yaml(told.decode().split("\n"))
    except meta.YamlParseError as error:
        raise ValueError("its description as a table is no YAML") from error
    return found


def _parts(header: Mapping[str, Any]) -> dict[str, list[str]]:
    """Give the columns of the file that make up a column of times, coordinates or quantities."""
    mixins = (header.get("meta") or {}).get("__serialized_columns__") or {}
    return {name: list(_named(told)) for name, told in mixins.items()}


def _named(told: Any) -> Iterable[str]:
    """Find the names of columns in the description of one that is made of them."""
    from astropy.table.serialize import SerializedColumn

    if isinstance(told, SerializedColumn) and isinstance(told.get("name"), str):
        yield told["name"]
    elif isinstance(told, dict):
        for value in told.values():
            yield from _named(value)


def _arrow_array(column: Any) -> pa.Array:
    """Convert a column; one of vectors becomes lists of fixed length."""
    import numpy as np
    import pyarrow as pa

    values = np.asarray(column)
    if values.dtype.kind not in "biufSU":
        raise TypeError(values.dtype)
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    mask = getattr(column, "mask", None)
    mask = None if mask is None else np.ascontiguousarray(mask).reshape(-1)
    flat = np.ascontiguousarray(values).reshape(-1)
    array = pa.array(flat.astype(object) if flat.dtype.kind in "SU" else flat, mask=mask)
    if flat.dtype.kind in "SU" and pa.types.is_null(array.type):
        array = array.cast(pa.string() if flat.dtype.kind == "U" else pa.binary())
    if values.ndim == 1:
        return array
    return pa.FixedSizeListArray.from_arrays(array, int(np.prod(values.shape[1:])))


def _astropy_column(field: pa.Field, values: pa.ChunkedArray, told: Mapping[str, Any]) -> Any:
    """Convert a column with what is known of it."""
    import numpy as np
    import pyarrow as pa
    from astropy.table import Column, MaskedColumn

    facts = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
    shape = tuple(json.loads(facts.get("shape", "[]")))
    n_rows = len(values)
    flat = values.combine_chunks()
    if isinstance(flat, pa.ChunkedArray):
        flat = pa.concat_arrays(flat.chunks) if flat.num_chunks else pa.array([], field.type)
    if pa.types.is_fixed_size_list(flat.type):
        shape = shape or (flat.type.list_size,)
        flat = flat.flatten()
    mask = np.asarray(flat.is_null()) if flat.null_count or "masked" in facts else None
    if flat.null_count and "dtype" in facts:
        zero: Any = {"U": "", "S": b"", "b": False}.get(np.dtype(facts["dtype"]).kind, 0)
        flat = flat.fill_null(pa.scalar(zero, flat.type))
    array = np.asarray(flat.to_numpy(zero_copy_only=False))
    if "dtype" in facts:
        array = array.astype(np.dtype(facts["dtype"]).newbyteorder("="), copy=True)
    elif array.dtype.kind == "O" and pa.types.is_string(flat.type):
        array = np.array(["" if text is None else text for text in array], np.str_)
    unit = told.get("unit") or facts.get("unit")
    about = {key: told.get(key) for key in ("description", "format", "meta")}
    made = array.reshape(n_rows, *shape)
    if mask is not None:
        return MaskedColumn(made, mask=mask.reshape(made.shape), unit=unit, **about)
    return Column(made if made.flags.writeable else made.copy(), unit=unit, **about)
