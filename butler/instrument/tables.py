"""Which row of an auxiliary table tells more about a file?

Surveys publish facts of exposures (zero points, seeing) in a table beside the images.  It is
sought by name beside the file and in the folders above, read once, and indexed by the columns that
the definition matches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from butler.instrument.errors import BadValue
from butler.instrument.source import text_of
from registry.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["AuxiliaryTable", "find_table", "open_table"]

_LEVELS_UP = 8
_COMPRESSED = ("", ".gz")
_open_tables: dict[tuple[str, int, int, tuple[str, ...]], AuxiliaryTable] = {}


class AuxiliaryTable:
    """A table in memory, with its rows found by the texts of some columns.

    Parameters
    ----------
    path : path-like
        FITS, ECSV, CSV or whatever else astropy knows by name.
    keys : tuple of str
        The columns that identify a row.

    Raises
    ------
    BadValue
        If it cannot be read, or lacks a column.
    """

    def __init__(self, path: Path, keys: tuple[str, ...]) -> None:
        from astropy.table import Table

        self.path = path
        self.keys = keys
        try:
            self._table = Table.read(path)
        except (OSError, ValueError, TypeError) as error:
            raise BadValue(path, f"cannot be read as a table: {error}") from error
        for key in keys:
            self._require(key)
        columns = [[_plain(v) for v in self._table[key]] for key in keys]
        self._rows: dict[tuple[str, ...], list[int]] = {}
        for i, values in enumerate(zip(*columns, strict=True)):
            self._rows.setdefault(tuple(text_of(v) for v in values), []).append(i)

    def row(self, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
        """Find the row with these contents.

        Raises
        ------
        BadValue
            If there are several.
        """
        rows = self._rows.get(tuple(text_of(wanted[key]) for key in self.keys), [])
        if len(rows) > 1:
            text = ", ".join(f"{k} = {v!r}" for k, v in wanted.items())
            raise BadValue(
                self.path,
                f"has {len(rows)} rows with {text}. Match further columns in the definition's "
                "`tables`.",
            )
        return (
            {name: _plain(self._table[name][rows[0]]) for name in self._table.colnames}
            if rows
            else None
        )

    def _require(self, column: str) -> None:
        if column not in self._table.colnames:
            hint = did_you_mean(column, self._table.colnames)
            raise BadValue(
                self.path, f"has no column '{column}'.{hint} Correct the definition's `tables`."
            )


def find_table(name: str, beside: Path) -> Path | None:
    """Seek a file by name beside another and in the folders above; gzipped too."""
    folder = beside.absolute().parent
    for place in [folder, *folder.parents][:_LEVELS_UP]:
        for suffix in _COMPRESSED:
            candidate = place / f"{name}{suffix}"
            if candidate.is_file():
                return candidate
    return None


def open_table(path: Path, keys: tuple[str, ...]) -> AuxiliaryTable:
    """Read a table, or take it from memory when the file has not changed since."""
    stat = path.stat()
    key = (str(path), stat.st_mtime_ns, stat.st_size, keys)
    table = _open_tables.get(key)
    if table is None:
        table = _open_tables[key] = AuxiliaryTable(path, keys)
    return table


def _plain(value: Any) -> Any:
    """Make a Python value of a cell; a masked one is None."""
    if value is np.ma.masked:
        return None
    if hasattr(value, "tolist"):
        value = value.tolist()
    return value.decode("utf-8", "replace").rstrip() if isinstance(value, bytes) else value
