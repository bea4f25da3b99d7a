"""Which row of a table that is kept with a definition tells more about a file or a data ID?

Such a table (CSV, ECSV or YAML) lies beside the definition's file.  Its rows are read into the
definition when that is read, and so are registered, compared and kept with each version of it.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from butler.instrument.errors import DefinitionError, Problem
from butler.instrument.rules import Ambiguous, RuleFault
from butler.instrument.source import Document, read_document_file, text_of
from registry.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["MAX_ROWS", "find_value", "with_kept_tables"]

MAX_ROWS = 10_000
"""A larger table belongs into the database, where a `query` finds its rows."""


def with_kept_tables(document: Document, folder: Path) -> Document:
    """Read the tables that are kept with a definition into it; those that have rows stay.

    Raises
    ------
    DefinitionError
        If one is absent, is no table, or is too large.
    """
    tables = document.value.get("tables") if isinstance(document.value, dict) else None
    if not isinstance(tables, dict):
        return document
    problems: list[Problem] = []
    read = {}
    for name, spec in tables.items():
        wanted = isinstance(spec, dict) and spec.get("kept") is True and "rows" not in spec
        if wanted and isinstance(spec.get("file"), str):
            try:
                read[name] = {**spec, "rows": _rows(folder, spec["file"])}
            except (OSError, ValueError) as error:
                problems.append(document.problem(("tables", str(name), "file"), f"{error}"))
    if problems:
        raise DefinitionError(document.source, problems)
    value = {**document.value, "tables": {**tables, **read}} if read else document.value
    return Document(value, document.source, document.lines)


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ValueError(f"{name} must lie beside the definition or in a folder below it")
    path = folder / name
    if not path.is_file():
        raise ValueError(f"there is no file {name} beside the definition, in {folder}")
    rows = _yaml_rows(path) if path.suffix in {".yaml", ".yml"} else _table_rows(path)
    if not rows:
        raise ValueError(f"{name} has no row")
    if len(rows) > MAX_ROWS:
        raise ValueError(
            f"{name} has {len(rows)} rows, and {MAX_ROWS} can be kept with a definition; load it "
            "into the database and use a `query`"
        )
    return rows


def _yaml_rows(path: Path) -> list[dict[str, Any]]:
    rows = read_document_file(path).value
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path.name} is no list of rows, each `column: value`")
    columns = list(rows[0]) if rows else []
    for i, row in enumerate(rows):
        if set(row) != set(columns):
            raise ValueError(
                f"row {i + 1} of {path.name} has the columns {', '.join(row)}, and the first has "
                f"{', '.join(columns)}"
            )
    return rows


def _table_rows(path: Path) -> list[dict[str, Any]]:
    from astropy.io import ascii as text_tables

    if path.suffix not in {".csv", ".ecsv"}:
        raise ValueError(f"{path.name} must end in .csv, .ecsv or .yaml")
    try:
        table = text_tables.read(path, format=path.suffix.lstrip("."))
    except (ValueError, TypeError, text_tables.InconsistentTableError) as error:
        raise ValueError(f"{path.name} cannot be read as a table: {error}") from error
    columns = [[_cell(value) for value in table[name]] for name in table.colnames]
    return [dict(zip(table.colnames, row, strict=True)) for row in zip(*columns, strict=True)]


def _cell(value: Any) -> Any:
    """Make a plain value of a cell; a masked one is None."""
    plain = value.item() if hasattr(value, "item") else value
    return None if getattr(value, "mask", False) is True or str(value) == "--" else plain


def find_value(
    name: str, rows: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any], column: str
) -> Any:
    """Find the content of a column in the rows where other columns have some contents.

    Parameters
    ----------
    name : str
        Of the table, for messages.
    wanted : mapping
        Column to content; compared as texts.

    Returns
    -------
    object
        None when there is no such row.

    Raises
    ------
    Ambiguous
        If there are several contents; names them.
    RuleFault
        If there is no such column.
    """
    for needed in (column, *wanted):
        if needed not in rows[0]:
            raise RuleFault(
                f"the table {name} has no column '{needed}'.{did_you_mean(needed, rows[0])}"
            )
    texts = {key: text_of(value) for key, value in wanted.items()}
    fits = [r for r in rows if all(text_of(r[key]) == text for key, text in texts.items())]
    found = list(dict.fromkeys(r[column] for r in fits if r[column] is not None))
    if len(found) > 1:
        told = " and ".join(f"{key} {value!r}" for key, value in wanted.items())
        further = [c for c in rows[0] if c != column and c not in wanted]
        hint = f" Columns that may tell them apart: {', '.join(further)}." if further else ""
        raise Ambiguous(told or f"the table {name}", found, hint)
    return found[0] if found else None
