"""What does an auxiliary calibration registry of an older stack say?

LDM-152 describes it: an SQLite file beside the data, one table per type of calibration, one row per
calibration of a detector, with the keys by which it is looked up and the time over which it holds
(`calibRegistry.sqlite3`, `defectRegistry.sqlite3` of the ``obs_*`` packages).  Nothing is written
here; `registry.calibrations.importing` brings what was read into a registry.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import sqlite3
import zoneinfo
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from registry.errors import RegistryError, did_you_mean
from registry.identity import DataId
from registry.timespan import Timespan, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["DEFAULT_KEYS", "OldRange", "UnreadableRegistry", "read_registry"]

DEFAULT_KEYS = {
    "detector": ("detector", "extension", "ccd"),
    "physical_filter": ("physical_filter", "filter"),
}
"""Columns that are taken for a key of the data ID when nothing else is said, the first found."""

_BEGIN, _END = "validStart", "validEnd"
_IDENTITY = ("path", "calibDate")
_MADE = ("registered", "version")
_NOTHING = (None, "", "NONE", "None")
_SCALE = re.compile(r"tai|utc|tt|tdb")


class UnreadableRegistry(RegistryError, ValueError):
    """The file is not an auxiliary calibration registry as LDM-152 describes it."""

    code = "unreadable-registry"


@dataclass(frozen=True, slots=True)
class OldRange:
    """One row of an auxiliary registry.

    Parameters
    ----------
    dataset_type : str
        Its table.
    data_id : DataId
        What it holds for, the instrument included.
    validity : Timespan
        Over which time.
    identity : str
        What tells it from others of the same data ID: its path without suffixes, else its date,
        else the begin of its validity.
    made : tuple
        Orders the rows of a table by when they were made: by registration, version, begin and
        position in the table.
    path : str
        Where the old stack kept its file; empty when the registry does not say.
    """

    dataset_type: str
    data_id: DataId
    validity: Timespan
    identity: str
    made: tuple[Any, ...] = field(compare=False)
    path: str = ""


def read_registry(
    path: str | Path,
    instrument: str,
    *,
    keys: Mapping[str, str] | None = None,
    types: Sequence[str] | None = None,
    scale: str = "utc",
) -> list[OldRange]:
    """Read every validity range of an auxiliary registry.

    A key whose column says nothing in a whole table (NULL, empty or ``NONE``), such as the filter
    of a bias, is no key of that type.

    Parameters
    ----------
    path : path
        An SQLite file.
    instrument : str
        The camera that it is about.
    keys : mapping
        Column of each key of the data ID; ``bias.binning`` is a key of one table only.  In
        addition to `DEFAULT_KEYS`, whose keys may be given other columns here, or an empty one for
        none.
    types : sequence of str, optional
        Only these tables.
    scale : str
        What the times of the file are: ``utc``, ``tai``, ``tt``, ``tdb``, or a time zone such as
        ``America/Chicago`` when they are local times of the computer that wrote it.

    Returns
    -------
    list of OldRange
        By table, in the order of the file.

    Raises
    ------
    UnreadableRegistry
        If the file, a table, a column or a value is not as described; says which.
    """
    if not Path(path).is_file():
        raise UnreadableRegistry(f"There is no file {path}.")
    to_ns = _clock(scale)
    with contextlib.closing(_opened(path)) as connection:
        try:
            tables = _tables(connection)
            chosen = _chosen(path, tables, types)
            _check_columns(tables, chosen, keys or {})
            return [
                row
                for table in chosen
                for row in _rows(connection, table, tables[table], instrument, keys or {}, to_ns)
            ]
        except sqlite3.DatabaseError as error:
            raise UnreadableRegistry(f"{path} cannot be read by SQLite: {error}.") from error


def _opened(path: str | Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)


def _tables(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Columns of each table."""
    rows = connection.execute(
        "SELECT m.name, c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c "
        "WHERE m.type = 'table' ORDER BY m.name, c.cid"
    )
    tables: dict[str, list[str]] = {}
    for table, column in rows:
        tables.setdefault(table, []).append(column)
    return tables


def _chosen(
    path: str | Path, tables: Mapping[str, Sequence[str]], types: Sequence[str] | None
) -> list[str]:
    valid = [t for t, columns in tables.items() if {_BEGIN, _END} <= set(columns)]
    if not valid:
        raise UnreadableRegistry(
            f"{path} holds no table with the columns {_BEGIN} and {_END}, so it is no calibration "
            f"registry; its tables: {', '.join(tables) or 'none'}."
        )
    for name in types or ():
        if name not in valid:
            raise UnreadableRegistry(
                f"{path} has no calibrations of type '{name}'.{did_you_mean(name, valid)}"
            )
    return [t for t in valid if types is None or t in types]


def _check_columns(
    tables: Mapping[str, Sequence[str]], chosen: Sequence[str], keys: Mapping[str, str]
) -> None:
    """Refuse a column that no table has; one that only some have is a key of those."""
    every = {c for table in chosen for c in tables[table]}
    for name, column in keys.items():
        if column and "." not in name and column not in every:
            raise UnreadableRegistry(
                f"no table has a column '{column}' for {name}.{did_you_mean(column, every)}"
            )


def _rows(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    instrument: str,
    keys: Mapping[str, str],
    to_ns: Callable[[str], int],
) -> Iterator[OldRange]:
    mapped = _mapped(table, columns, keys)
    quoted = '"{}"'.format(table.replace('"', '""'))
    rows = [
        dict(zip(columns, row, strict=True))
        for row in connection.execute(f"SELECT * FROM {quoted} ORDER BY rowid")  # noqa: S608 (quoted)
    ]
    used = {k: c for k, c in mapped.items() if any(row[c] not in _NOTHING for row in rows)}
    data_ids: dict[tuple[Any, ...], DataId] = {}
    moments: dict[Any, int] = {}
    for n, row in enumerate(rows):
        try:
            values = tuple(row[c] for c in used.values())
            data_id = data_ids.get(values)
            if data_id is None:
                given = {k: _value(v) for k, v in zip(used, values, strict=True)}
                data_id = data_ids[values] = DataId.of(given, instrument=instrument)
            for bound in (row[_BEGIN], row[_END]):
                if bound not in moments:
                    moments[bound] = to_ns(_iso(bound))
            begin = moments[row[_BEGIN]]
            validity = Timespan(begin, moments[row[_END]])
        except ValueError as error:
            raise UnreadableRegistry(f"Row {n + 1} of {table}: {error}") from error
        path = str(row.get("path") or "")
        yield OldRange(
            table,
            data_id,
            validity,
            _identity(row),
            (*(_comparable(row.get(c)) for c in _MADE), begin, n),
            path,
        )


def _iso(value: Any) -> str:
    try:
        dt.datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        shown = "NULL" if value is None else repr(value)
        raise ValueError(f"{shown} is not a time such as 2005-01-31T18:00:00.") from error
    return str(value)


def _mapped(table: str, columns: Sequence[str], keys: Mapping[str, str]) -> dict[str, str]:
    """Column of each key of one table."""
    mapped = {
        key: next(c for c in names if c in columns)
        for key, names in DEFAULT_KEYS.items()
        if any(c in columns for c in names)
    }
    for name, column in keys.items():
        of_table, _, key = name.rpartition(".")
        if of_table not in ("", table):
            continue
        mapped.pop(key, None)
        if column and column not in columns:
            if not of_table:
                continue
            raise UnreadableRegistry(
                f"{table} has no column '{column}' for {key}.{did_you_mean(column, columns)}"
            )
        if column:
            mapped[key] = column
    return mapped


def _value(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value == int(value) else repr(value)
    return value


def _comparable(value: Any) -> tuple[bool, Any]:
    """Sort what is missing first, and numbers before texts."""
    return (isinstance(value, str), value if value is not None else 0)


def _identity(row: Mapping[str, Any]) -> str:
    found = next((str(row[c]) for c in _IDENTITY if row.get(c) not in _NOTHING), str(row[_BEGIN]))
    plain = PurePosixPath(found)
    while plain.suffix in (".fits", ".fz", ".gz", ".fit"):
        plain = plain.with_suffix("")
    return str(plain)


def _clock(scale: str) -> Callable[[str], int]:
    """Give what turns a written time into TAI ns."""
    if _SCALE.fullmatch(scale.lower()):
        return lambda text: parse_time(f"{text}/{scale.lower()}")
    try:
        zone = zoneinfo.ZoneInfo(scale)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UnreadableRegistry(
            f"'{scale}' is no time scale: use utc, tai, tt, tdb or a time zone such as "
            "America/Chicago."
        ) from error

    def local(text: str) -> int:
        moment = dt.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        told = moment.astimezone(dt.UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
        return parse_time(f"{told}/utc")

    return local
