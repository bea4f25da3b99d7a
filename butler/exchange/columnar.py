"""How do the rows of an export lie in Parquet files, and which files are not believed?

One file for each table of `registry.portable`, its columns typed and commented.  Nothing in a file
is trusted: types, lengths, keys and references are checked column by column before a row is made,
and a file that would unpack to far more than it holds is refused.
"""

from __future__ import annotations

import io
import json
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from butler.errors import ExchangeError
from registry.database import canonical_json
from registry.portable import TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from registry.portable import Portable
    from registry.portable.taking import Row

__all__ = ["check_references", "from_parquet", "to_parquet"]

MOST_BYTES = 4 * 2**30
"""Largest table that is unpacked, whatever its file holds [byte]."""
FREE_BYTES = 256 * 2**20
"""Up to this size a table may be unpacked from the smallest file [byte]."""
MOST_RATIO = 1000
"""How many times larger than its file a table may be beyond that."""
_BATCH = 65_536
_MOST_TEXT = 16 * 2**20


def _types() -> dict[str, pa.DataType]:
    import pyarrow as pa

    return {
        "text": pa.string(),
        "uuid": pa.string(),
        "json": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "flag": pa.bool_(),
        "bytes": pa.binary(),
        "time": pa.timestamp("us", "UTC"),
    }


def _schema(portable: Portable) -> pa.Schema:
    import pyarrow as pa

    types = _types()
    return pa.schema(
        [
            pa.field(name, types[c.kind], not c.needed, {"comment": c.comment, "kind": c.kind})
            for name, c in portable.columns.items()
        ]
    )


def to_parquet(name: str, rows: Sequence[Row]) -> bytes:
    """Write the rows of a table as a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(TABLES[name])
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    stream = io.BytesIO()
    # what is different in every row gains nothing from a dictionary
    alike = [
        n for n, c in TABLES[name].columns.items() if c.kind not in ("uuid", "bytes", "number")
    ]
    pq.write_table(
        pa.Table.from_arrays(arrays, schema=schema),
        stream,
        compression="zstd",
        use_dictionary=alike,
    )
    return stream.getvalue()


def from_parquet(name: str, content: bytes, n_rows: int) -> list[Row]:
    """Read the rows of a table, and check all of them.

    Parameters
    ----------
    content : bytes
        Of the file.
    n_rows : int
        As the manifest says.

    Raises
    ------
    ExchangeError
        Says what is wrong with the file.
    """
    import pyarrow as pa

    try:
        table = _unpacked(name, content, n_rows)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, ExchangeError):
            raise
        raise ExchangeError(
            f"The table {name} of the export is damaged, or no Parquet: "
            f"{str(error).splitlines()[0][:200]}."
        ) from error
    portable = TABLES[name]
    for column in portable.columns:
        _check(portable, column, table.column(column))
    columns = [_values(portable, c, table.column(c).to_pylist()) for c in portable.columns]
    rows = list(zip(*columns, strict=True))
    key = itemgetter(*portable.positions(portable.key))
    if len({key(row) for row in rows}) < len(rows):
        raise ExchangeError(
            f"The table {name} of the export has two rows with the same {', '.join(portable.key)}."
        )
    return rows


def _unpacked(name: str, content: bytes, n_rows: int) -> pa.Table:
    """Read a file piece by piece, and stop when it grows beyond all measure."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = _schema(TABLES[name])
    given = set(pq.read_schema(pa.BufferReader(content)).names)
    texts = [f.name for f in wanted if f.type == pa.string() and f.name in given]
    file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts)
    found = file.schema_arrow
    unknown = [n for n in found.names if n not in wanted.names]
    if unknown:
        raise ExchangeError(
            f"The table {name} of the export has the column '{unknown[0]}', which is not known "
            "here: the export was written by another version of skyspine."
        )
    if file.metadata.num_rows != n_rows:
        raise ExchangeError(
            f"The table {name} of the export has {file.metadata.num_rows} rows; its manifest says "
            f"{n_rows}."
        )
    for field in wanted:
        if field.name in found.names:
            kind = found.field(field.name).type
            plain = kind.value_type if pa.types.is_dictionary(kind) else kind
            if plain != field.type:
                raise ExchangeError(
                    f"The column {field.name} of the table {name} of the export is of the type "
                    f"{plain}; {field.type} is expected."
                )
        elif not field.nullable:
            raise ExchangeError(f"The table {name} of the export lacks the column {field.name}.")
    most = min(MOST_BYTES, max(FREE_BYTES, MOST_RATIO * len(content)))
    if n_rows * len(wanted) > most:
        raise _too_large(name, len(content))
    size = 0
    pieces = []
    for batch in file.iter_batches(batch_size=_BATCH):
        size += sum(map(_decoded_bytes, batch.columns))
        if size > most:
            raise _too_large(name, len(content))
        pieces.append(
            pa.Table.from_batches([batch]).select([n for n in wanted.names if n in found.names])
        )
    table = pa.concat_tables(pieces) if pieces else found.empty_table()
    columns = [
        table.column(f.name).cast(f.type)
        if f.name in table.column_names
        else pa.nulls(table.num_rows, f.type)
        for f in wanted
    ]
    return pa.table(columns, schema=pa.schema([f.with_nullable(True) for f in wanted]))


def _decoded_bytes(column: pa.Array) -> int:
    """Tell how large a column is when each text of its dictionary is written out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).cast(pa.int64())
    each = pc.take(lengths, column.indices)
    return int(pc.sum(each).as_py() or 0) + 4 * len(column)


def _too_large(name: str, size: int) -> ExchangeError:
    return ExchangeError(
        f"The table {name} of the export would unpack from {size} bytes to more than "
        f"{MOST_RATIO} times as many, which no table of an export does; it is not read."
    )


def _check(portable: Portable, name: str, values: pa.ChunkedArray) -> None:
    """Check the values of a column: none is missing, too large, or of the wrong form."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = portable.columns[name]
    what = f"The column {name} of the table {portable.name} of the export"
    if column.needed and values.null_count:
        raise ExchangeError(f"{what} lacks {values.null_count} values, and must have all.")
    if column.kind == "integer" and len(values):
        extremes = pc.min_max(values).as_py()
        if any(v is not None and abs(v) > column.limit for v in extremes.values()):
            raise ExchangeError(f"{what} has numbers beyond {column.limit}.")
    elif column.kind == "number" and pc.any(pc.invert(pc.is_finite(values))).as_py():
        raise ExchangeError(f"{what} has values that are no finite numbers.")
    elif column.kind == "bytes":
        _check_regions(what, values)
    elif values.type == pa.string() and len(values):
        limit = column.limit or _MOST_TEXT
        if (pc.max(pc.utf8_length(values)).as_py() or 0) > limit:
            raise ExchangeError(f"{what} has texts of more than {limit} characters.")
        if pc.any(pc.match_substring(values, "\x00")).as_py():
            raise ExchangeError(f"{what} has texts with a zero byte.")
        if column.kind == "uuid" and not pc.all(pc.match_substring_regex(values, _UUID)).as_py():
            raise ExchangeError(f"{what} has values that are no identity.")


def _check_regions(what: str, values: pa.ChunkedArray) -> None:
    """Check that bytes are regions of the sky, as all bytes of an export are."""
    from lsst.sphgeom import Region

    for region in set(values.to_pylist()) - {None}:
        try:
            Region.decode(region)
        except (RuntimeError, ValueError) as error:
            raise ExchangeError(f"{what} has bytes that are no region of the sky.") from error


_UUID = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


def _values(portable: Portable, name: str, values: list[Any]) -> list[Any]:
    """Bring JSON into the one form in which equal documents are equal texts."""
    if portable.columns[name].kind != "json":
        return values
    known: dict[str | None, str | None] = {None: None}
    for text in set(values) - {None}:
        try:
            known[text] = canonical_json(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise ExchangeError(
                f"The column {name} of the table {portable.name} of the export has a value that "
                f"is no JSON: {text[:60]!r}."
            ) from error
    return [known[text] for text in values]


def check_references(rows: Mapping[str, Sequence[Row]]) -> None:
    """Check that whatever a row names is in the export.

    Raises
    ------
    ExchangeError
        Names the first row that is missing.
    """
    there: dict[tuple[str, tuple[str, ...]], set[Any]] = {}
    for name, portable in TABLES.items():
        for columns, target in portable.refers.items():
            if target not in there:
                read = itemgetter(*TABLES[target[0]].positions(target[1]))
                there[target] = {read(row) for row in rows.get(target[0], ())}
            named = itemgetter(*portable.positions(columns))
            missing = {named(row) for row in rows.get(name, ())} - there[target] - {None}
            if missing:
                shown = min(missing, key=str)
                raise ExchangeError(
                    f"The table {name} of the export names the {target[0]} {shown}, which its "
                    f"table {target[0]} lacks."
                )
