"""Does what is put fit into the columns of a table, and how do its values lie there?

A type may be narrower than the declared one, and comes back as it was; nothing is rounded or cut.
Each refusal names the column and says what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backbone.row_values import arrow_type
from butler.errors import CannotWrite
from registry.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from registry.row_tables import RowColumn, RowTable

__all__ = ["as_declared", "refuse"]

_UNIT = b"unit"
"""Where Parquet files have the unit of a column, in the metadata of its field."""


def as_declared(given: pa.Table, table: RowTable, form: str) -> tuple[pa.Table, pa.Schema]:
    """Bring a table into the types of the declared columns.

    Parameters
    ----------
    form : str
        How it was put, for what to do: ``rows-pandas``, ``rows-astropy`` or ``rows-arrow``.

    Returns
    -------
    pyarrow.Table, pyarrow.Schema
        With the declared columns; and the schema by which it is made as it was again, with the
        declared units where none were given.

    Raises
    ------
    CannotWrite
        If it does not fit.
    """
    import pyarrow as pa

    declared = {column.name: column for column in table.columns}
    for name in given.column_names:
        if name not in declared:
            raise refuse(
                table,
                name,
                f"is not declared there.{did_you_mean(name, declared)} Leave it out"
                f"{_index_hint(name)}, or declare a table that has it: skyspine table add",
            )
    for name, column in declared.items():
        if name not in given.column_names and not column.nullable:
            raise refuse(
                table,
                name,
                f"is declared there and is missing; it has {', '.join(given.column_names)}"
                f"{_index_hint_of(given)}",
            )
    arrays = [
        _values(given[name], column, table, form)
        if name in given.column_names
        else pa.nulls(given.num_rows, arrow_type(column))
        for name, column in declared.items()
    ]
    fields = [_with_unit(field, declared[field.name], table) for field in given.schema]
    return (
        pa.Table.from_arrays(arrays, list(declared)),
        pa.schema(fields, given.schema.metadata),
    )


def refuse(table: RowTable, name: str, why: str) -> CannotWrite:
    """Make the error that says why a table cannot hold something, and what to do.

    Parameters
    ----------
    name : str
        Of the column.
    why : str
        Clauses that follow it.
    """
    return CannotWrite(f"The table {table.name} cannot hold it: column '{name}' {why}.", name=name)


def _index_hint(name: str) -> str:
    return " (df.reset_index(drop=True))" if name.startswith("__index_level_") else ""


def _index_hint_of(given: pa.Table) -> str:
    """Say how an index becomes a column; pandas keeps evenly spaced numbers in none."""
    told = (given.schema.pandas_metadata or {}).get("index_columns", [])
    spans = [index for index in told if isinstance(index, dict) and index.get("name")]
    return " (an index is put as a column by df.reset_index())" if spans else ""


def _values(
    given: pa.ChunkedArray, column: RowColumn, table: RowTable, form: str
) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if given.null_count and not column.nullable:
        raise refuse(
            table,
            column.name,
            f"has {given.null_count} missing values and is not declared nullable; fill them, or "
            "declare it with nullable: true",
        )
    empty = not given.length() and not pa.types.is_nested(given.type)
    if not (empty or _fits(given.type, column)):
        raise refuse(
            table,
            column.name,
            f"is {given.type} and is declared as {column.type}; "
            f"{_remedy(given.type, column, form)}",
        )
    try:
        kind = arrow_type(column)
        values = pa.chunked_array([], kind) if empty else given.cast(kind)
    except pa.ArrowInvalid as error:
        raise refuse(
            table, column.name, f"does not fit {column.type} ({' '.join(str(error).split())})"
        ) from error
    if column.type == "text":
        if column.length is not None and values.length():
            longest = pc.max(pc.utf8_length(values)).as_py() or 0
            if longest > column.length:
                raise refuse(
                    table,
                    column.name,
                    f"has a text of {longest} characters and is declared with length: "
                    f"{column.length}; shorten it, or declare a longer one",
                )
        if pc.any(pc.match_substring(values, "\0")).as_py():
            raise refuse(table, column.name, "has a text with the character NUL; remove it")
    return values


def _fits(kind: pa.DataType, column: RowColumn) -> bool:
    """Tell whether all values of a type are values of a column."""
    import pyarrow as pa

    is_ = pa.types
    if is_.is_null(kind):
        return True
    if column.type == "bool":
        return bool(is_.is_boolean(kind))
    if column.is_float:
        return bool(is_.is_floating(kind)) and kind.bit_width <= arrow_type(column).bit_width
    if column.type == "text":
        return bool(is_.is_string(kind) or is_.is_large_string(kind) or is_.is_string_view(kind))
    if column.type == "bytes":
        return bool(
            is_.is_binary(kind) or is_.is_large_binary(kind) or is_.is_fixed_size_binary(kind)
        )
    if column.type == "timestamp":
        return bool(is_.is_timestamp(kind)) and kind.tz is None
    wanted = arrow_type(column)
    if not is_.is_integer(kind):
        return False
    signed, wide = is_.is_signed_integer(kind), is_.is_signed_integer(wanted)
    if signed == wide:
        return bool(kind.bit_width <= wanted.bit_width)
    return bool(wide and kind.bit_width < wanted.bit_width)


def _remedy(kind: pa.DataType, column: RowColumn, form: str) -> str:
    """Say how values become those of a column."""
    import pyarrow as pa

    if pa.types.is_nested(kind):
        return "a table of the database holds one value in each place: make several columns of it"
    if pa.types.is_timestamp(kind) and kind.tz is not None and column.type == "timestamp":
        return "take the time zone away: .dt.tz_convert('UTC').dt.tz_localize(None)"
    name = column.name
    if form == "rows-astropy":
        return f"convert it: table['{name}'] = table['{name}'].astype('{_numpy_name(column)}')"
    if form == "rows-arrow":
        return f"convert it: column.cast('{arrow_type(column)}')"
    return f"convert it: df = df.astype({{'{name}': '{_pandas_name(column)}'}})"


def _numpy_name(column: RowColumn) -> str:
    names: Mapping[str, str] = {
        "text": "str",
        "bytes": "bytes",
        "timestamp": "datetime64[ns]",
        "tai": "int64",
    }
    return names.get(column.type, column.type)


def _pandas_name(column: RowColumn) -> str:
    """Name the type of pandas; one that knows missing integers where they may be."""
    if column.nullable and "int" in column.type:
        return column.type.replace("uint", "UInt").replace("int", "Int")
    if column.nullable and column.type == "bool":
        return "boolean"
    return {"bytes": "object"}.get(column.type, _numpy_name(column))


def _with_unit(field: Any, column: RowColumn, table: RowTable) -> Any:
    """Give a field the declared unit, unless it has the same one."""
    facts = dict(field.metadata or {})
    given = facts.get(_UNIT, b"").decode()
    if given == column.unit or not column.unit:
        if given and not column.unit:
            raise refuse(
                table,
                field.name,
                f"is in {given} and is declared without a unit; declare it with unit: {given}",
            )
        return field
    if given and not _same_unit(given, column.unit):
        raise refuse(
            table,
            field.name,
            f"is in {given} and is declared in {column.unit}; convert it: table['{field.name}'] = "
            f"table['{field.name}'].to('{column.unit}')",
        )
    return field.with_metadata({**facts, _UNIT: facts.get(_UNIT, column.unit.encode())})


def _same_unit(one: str, other: str) -> bool:
    """Tell whether two texts are one unit, as ``s-1`` and ``1 / s``."""
    from astropy import units

    try:
        return bool(units.Unit(one) == units.Unit(other))
    except ValueError:
        return False
