"""How does an object become rows of a table, and rows an object?

By way of Arrow: the conversions of tables are those of Parquet (`butler.formatters.parquet`), so
that indexes, units, masks and metadata come back; those of mappings and headers are
`butler.tables.rows_of_parts`.  What the table cannot hold as it is, is refused, with
the name of the column.  Where the rows lie is `backbone.rows`; which dataset types lie in tables is
`butler.storing`.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from backbone import row_values, rows
from backbone.files import NewFile
from butler.errors import (
    CannotWrite,
    DamagedFile,
    InvalidParameter,
    MissingFile,
    StorageClassError,
    UnknownComponent,
)
from butler.formatters import get_formatter
from butler.formatters.parquet import (
    ParquetArrowFormatter,
    ParquetAstropyFormatter,
    ParquetFormatter,
)
from butler.formatters.selections import selected_names, selected_rows
from butler.storage_classes import get_storage_class
from butler.tables.columns_as_declared import as_declared
from butler.tables.rows_of_parts import CARDS, MAPPING, CardsForm, MappingForm
from butler.tables.times_in_columns import as_numbers, as_times
from registry.errors import did_you_mean
from registry.expressions import compile_where
from registry.names import UnknownField
from registry.row_declarations import CARD_COLUMNS, WrongDeclaration
from registry.row_tables import ROW_NUMBER, core_table, described

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    import sqlalchemy as sa

    from backbone.files import Stored
    from butler.formatters import Formatter
    from butler.storage_classes import Part
    from registry.database import Database
    from registry.row_tables import RowTable

__all__ = [
    "FORMS",
    "PART_FORMS",
    "as_rows",
    "form_of",
    "form_of_file",
    "form_of_part",
    "made_again",
    "read",
    "require_parts",
]

TABLE_FORMS: Mapping[str, ParquetFormatter | ParquetArrowFormatter | ParquetAstropyFormatter] = {
    "rows-pandas": ParquetFormatter(),
    "rows-arrow": ParquetArrowFormatter(),
    "rows-astropy": ParquetAstropyFormatter(),
}
PART_FORMS: Mapping[str, MappingForm | CardsForm] = {MAPPING: MappingForm(), CARDS: CardsForm()}
FORMS: Mapping[str, Any] = {**TABLE_FORMS, **PART_FORMS}
"""What the database records as the formatter of rows, and the conversion that it names."""
PARAMETERS = ("columns", "rows", "where", "bind")
_LAYOUT_LIMIT = 64 << 20


def form_of(python_type: str) -> str | None:
    """Name the conversion for objects of a type; None if they are no tables."""
    return next((name for name, form in FORMS.items() if python_type in form.python_types), None)


def form_of_part(part: Part) -> str:
    """Name the conversion for a part that lies in rows.

    Raises
    ------
    StorageClassError
        It should be a table, and is none.
    """
    if part.rows != "table":
        return f"rows-{part.rows}"
    held = get_storage_class(part.storage_class)
    form = form_of(held.python_type)
    if form is None or form not in TABLE_FORMS:
        raise StorageClassError(
            f"A part of storage class {held.name} is said to lie in a table as one, and "
            f"{held.python_type.removeprefix('builtins.')} is none; leave rows= out.",
            name=held.name,
        )
    return form


def form_of_file(name: str) -> Formatter:
    """Give the formatter of files that hold all that rows of a conversion say."""
    return TABLE_FORMS[name] if name in TABLE_FORMS else get_formatter("yaml")


def require_parts(table: RowTable, storage_classes: Mapping[str, str]) -> None:
    """Make sure that what is declared for a component can hold one.

    Parameters
    ----------
    storage_classes : mapping of str to str
        Of dataset types that are registered; of others it is not known yet.

    Raises
    ------
    WrongDeclaration
        If the storage class has no such component for a table, or other columns are needed.
    UnknownStorageClass
        If it is declared for one that there is not.
    """
    for use in table.uses:
        of_kind = storage_classes.get(use.name) if use.kind == "dataset_type" else use.name
        if not use.component or of_kind is None:
            continue
        parts = get_storage_class(of_kind).parts
        known = [name for name, part in parts.items() if part.rows]
        if use.component not in known:
            told = did_you_mean(use.component, known) if known else " It has none."
            raise WrongDeclaration(
                f"Storage class {of_kind} has no component '{use.component}' that could lie in a "
                f"table.{told}"
            )
        form = form_of_part(parts[use.component])
        cards = form == CARDS
        if cards != (table.columns == CARD_COLUMNS):
            raise WrongDeclaration(
                f"The component '{use.component}' has "
                + ("a row for each card; write columns: cards" if cards else "columns of its own")
                + "."
            )
        if form == MAPPING and not table.one_row:
            raise WrongDeclaration(
                f"The component '{use.component}' is one row of each dataset; add one_row: true, "
                "and its columns can be shown and sorted by."
            )


def as_rows(
    obj: Any, dataset_id: uuid.UUID, table: RowTable, python_type: str, component: str = ""
) -> tuple[NewFile, rows.NewRows]:
    """Make rows of an object, and what is recorded of them.

    Parameters
    ----------
    component : str
        What the object is of the dataset; empty for all of it.

    Raises
    ------
    CannotWrite
        If the table cannot hold it; names the column and what to do.
    """
    form = form_of(python_type)
    if form is None:
        raise CannotWrite(
            f"The table {table.name} holds tables and mappings, and a {python_type} is neither; "
            "put it as a file: endpoint='root'.",
            name=table.name,
        )
    told: dict[bytes, bytes] = {}
    if form == "rows-astropy":
        obj, told = as_numbers(obj, table)
    given: pa.Table
    if form in PART_FORMS:
        given = PART_FORMS[form].to_arrow(obj, table)
    else:
        given = TABLE_FORMS[form].to_arrow(obj)
    given = given.replace_schema_metadata({**(given.schema.metadata or {}), **told})
    content, schema = as_declared(given, table, form)
    if table.one_row and content.num_rows != 1:
        raise CannotWrite(
            f"The table {table.name} holds one row of each dataset, and this has "
            f"{content.num_rows}.",
            name=table.name,
        )
    size, digest = row_values.size_and_checksum(table, content)
    layout = zlib.compress(schema.serialize().to_pybytes())
    path = f"{table.name}/{dataset_id.hex}"
    return (
        NewFile(dataset_id, component, path, size, digest, form),
        rows.NewRows(dataset_id, component, table, content, layout),
    )


def made_again(new: rows.NewRows, formatter: str) -> Any:
    """Make the object again of rows that are not stored yet."""
    form = FORMS[formatter]
    schema = _schema(new.layout, new.table.name)
    made = form.from_arrow(_as_put(new.rows, schema, schema.names), None, None)
    return as_times(made, schema.metadata or {}) if formatter == "rows-astropy" else made


def read(
    database: Database,
    copy: Stored,
    component: str | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Any:
    """Read an object, or a part of it, from its rows.

    Parameters
    ----------
    component : str, optional
        ``columns``, or ``meta`` of an astropy Table.
    parameters : mapping, optional
        ``columns``, ``rows`` (begin and end, or a slice), ``where`` with ``bind``: all are
        selected by the database.

    Raises
    ------
    InvalidParameter, UnknownComponent
        With what there is.
    ChangedFile
        If the rows are not those that were recorded.
    MissingFile
        If they lie there no more: they were removed or converted after they were looked up.
    """
    with database.snapshot() as connection:
        return _read(connection, copy, component, parameters)


def _read(
    connection: sa.Connection,
    copy: Stored,
    component: str | None,
    parameters: Mapping[str, Any] | None,
) -> Any:
    form = FORMS[copy.formatter]
    what = rows.placed(connection, [copy.file_id]).get(copy.file_id)
    if what is None:
        raise MissingFile(
            f"The dataset {copy.dataset_id} lies no more in the table "
            f"{copy.path.partition('/')[0]}; get it again.",
            path=copy.path,
        )
    table = described(connection)[what.table]
    schema = _schema(what.layout, table.name)
    if component is not None:
        if component not in form.components:
            raise UnknownComponent(
                f"A dataset in the table {table.name} has no component '{component}'."
                f"{did_you_mean(component, form.components)}",
                name=component,
            )
        return form.component(schema, component)
    given = {key: value for key, value in (parameters or {}).items() if value is not None}
    _require_known(given, table)
    shown = f"the dataset in {table.name}"
    wanted = None
    if "columns" in given:
        wanted = selected_names(given["columns"], form.names(schema), shown)
    span = None
    if "rows" in given:
        span = selected_rows(_begin_end(given["rows"], what.n_rows), what.n_rows, shown)
    condition = None
    if "where" in given:
        condition = compile_where(given["where"], _Columns(table), given.get("bind"))
    names = schema.names if wanted is None else form.stored(schema, wanted)
    found = rows.read(connection, table, what, names, span, condition)
    made = form.from_arrow(_as_put(found, schema, names), wanted, span)
    if copy.formatter == "rows-astropy":
        made = as_times(made, schema.metadata or {})
    return made


def _require_known(given: Mapping[str, Any], table: RowTable) -> None:
    for key in given:
        if key not in PARAMETERS:
            raise InvalidParameter(
                f"A dataset in the table {table.name} cannot be read with the parameter '{key}'."
                f"{did_you_mean(key, PARAMETERS)}",
                name=key,
            )


def _begin_end(wanted: Any, n_rows: int) -> Any:
    """Take a slice as the range that it means, which a pair is already."""
    if not isinstance(wanted, slice):
        return wanted
    begin, end, step = wanted.indices(n_rows)
    if step != 1:
        raise InvalidParameter(
            f"rows is {wanted}; give a slice without a step, or one of 1.", name="rows"
        )
    return begin, max(begin, end)


def _schema(layout: bytes | None, name: str) -> pa.Schema:
    import pyarrow as pa

    try:
        unpacked = zlib.decompressobj().decompress(layout or b"", _LAYOUT_LIMIT)
        return pa.ipc.read_schema(pa.py_buffer(unpacked))
    except (zlib.error, pa.ArrowException, OSError) as error:
        raise DamagedFile(
            f"What is recorded of the rows in {name} cannot be understood: {error}."
        ) from error


def _as_put(found: pa.Table, schema: pa.Schema, names: Sequence[str]) -> pa.Table:
    """Give the columns the order, types and metadata that they were put with."""
    import pyarrow as pa

    fields = [field for field in schema if field.name in names]
    arrays = [found[field.name].cast(field.type) for field in fields]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, schema.metadata))


class _Columns:
    """The names that a condition on the rows of a table may use."""

    def __init__(self, table: RowTable) -> None:
        core = core_table(table)
        self._known = {column.name: core.c[column.name] for column in table.columns}
        self._known[ROW_NUMBER] = core.c[ROW_NUMBER]

    def column(self, name: str, position: int) -> Any:
        """Give the column of a name; see `registry.expressions.Resolver`."""
        del position
        if name not in self._known:
            raise UnknownField(name, self._known)
        return self._known[name]

    def known_names(self) -> Sequence[str]:
        """List the columns."""
        return list(self._known)

    def values(self, name: str) -> None:
        """Leave it open what a column may be equal to."""
        del name
