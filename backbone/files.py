"""Which files does a dataset have, and where are their copies?

Verbs: record new files, discard them, begin and end the deletion of copies.  Question: where to
read a dataset.  Tables:
`registry.schema.files`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from backbone import endpoints
from backbone.endpoints import IN_TABLES, Endpoint
from backbone.one_file import COPY_COLUMNS, record_one
from backbone.rows import forget as forget_rows
from registry.database import (
    CHUNK,
    ShortStatement,
    analyze_outgrown,
    canonical_json,
    delete_among,
    in_written_order,
    lock_rows,
    rows_of,
    table_of,
    utc_now,
    whole_columns,
    writes_within,
)
from registry.identity import uuid7, uuids_of
from registry.schema.files import endpoint, file, replica, trash

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "NewFile",
    "Stored",
    "add_replicas",
    "all_copies",
    "begin_deletion",
    "components",
    "copies",
    "copies_of_whole",
    "discard",
    "end_deletion",
    "end_deletion_at",
    "locate",
    "record",
    "stored",
]

_BULK = 1_000
"""So many new files make a planner that does not know of them go through all for each of them."""


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be recorded.

    Parameters
    ----------
    dataset_id : uuid.UUID
        Dataset that it holds.
    component : str
        Component that it holds; empty for all of it.
    path : str
        Below the endpoint's root.
    size : int
        [byte].
    checksum : str or None
        ``sha256:`` and hex digits.
    formatter : str
        Name of what reads it.
    options : mapping, optional
        With which options it was written, as far as they are not the formatter's own choice.
    """

    dataset_id: uuid.UUID
    component: str
    path: str
    size: int
    checksum: str | None
    formatter: str
    options: Mapping[str, Any] | None = None

    def row(self) -> dict[str, Any]:
        """Give its values by column of the table ``file``."""
        return {
            "dataset_id": self.dataset_id,
            "component": self.component,
            "path": self.path,
            "size_bytes": self.size,
            "checksum": self.checksum,
            "formatter": self.formatter,
            "format_options": self.options or None,
        }


@dataclass(frozen=True, slots=True)
class Stored:
    """A copy of a file that can be read.

    Parameters
    ----------
    file_id : int
        Key of the file.
    dataset_id : uuid.UUID
        Dataset that it holds.
    component, path, formatter : str
        As recorded.
    size : int
        [byte].
    checksum : str or None
        As recorded.
    endpoint : Endpoint
        Where the copy lies.
    options : mapping, optional
        As recorded.
    """

    file_id: int
    dataset_id: uuid.UUID
    component: str
    path: str
    size: int
    checksum: str | None
    formatter: str
    endpoint: Endpoint
    options: Mapping[str, Any] | None = None

    def place(self, repository: Path) -> Path:
        """Give the place of the copy on this machine.

        Raises
        ------
        NotOnDisk
            If it lies behind a URL.
        """
        return self.endpoint.locate(self.path, repository)

    def shown(self, repository: Path) -> str:
        """Write where the copy lies, for messages."""
        if self.endpoint.is_remote:
            return self.endpoint.remote().url(self.path)
        if self.endpoint.in_tables:
            return f"the table {self.path.partition('/')[0]}"
        return str(self.place(repository))


def record(connection: sa.Connection, where: str, files: Sequence[NewFile]) -> None:
    """Record files with one available replica each.

    Parameters
    ----------
    where : str
        Name of the endpoint.

    Raises
    ------
    UnknownEndpoint
        If there is none of this name.
    """
    now = utc_now()
    if len(files) == 1:
        if not record_one(connection, where, files[0].row(), now):
            raise endpoints.unknown(where)
        return
    endpoint_id = endpoints.key_of(connection, where)
    for start in range(0, len(files), CHUNK):
        _record_many(connection, endpoint_id, files[start : start + CHUNK], now)
    if len(files) >= _BULK:
        analyze_outgrown(connection, file, replica, n_new=len(files))


def _columns(files: Sequence[NewFile]) -> dict[str, tuple[Any, list[Any]]]:
    """Give the values of files by column of the table."""
    return {
        "dataset_id": (sa.Uuid, [f.dataset_id for f in files]),
        "component": (sa.String, [f.component for f in files]),
        "path": (sa.String, [f.path for f in files]),
        "size_bytes": (sa.BigInteger, [f.size for f in files]),
        "checksum": (sa.String, [f.checksum for f in files]),
        "formatter": (sa.String, [f.formatter for f in files]),
        "format_options": (sa.JSON, [f.options or None for f in files]),
    }


def _record_many(
    connection: sa.Connection, endpoint_id: int, new_files: Sequence[NewFile], now: dt.datetime
) -> None:
    columns = _columns(new_files)
    options = [given and canonical_json(given) for given in columns["format_options"][1]]
    columns["format_options"] = (sa.JSON, options)
    new = table_of(connection, columns)
    files = sa.insert(file).from_select(list(columns), sa.select(*(new.c[c] for c in columns)))
    if writes_within(connection):
        made: Any = files.returning(file.c.id).cte("made")
        keys = sa.select(made.c.id)
    else:
        connection.execute(files)
        given = table_of(connection, {"d": columns["dataset_id"], "c": columns["component"]})
        same = (file.c.dataset_id == given.c.d) & (file.c.component == given.c.c)
        keys = sa.select(file.c.id).join_from(given, file, same)
    copies_of = keys.add_columns(
        sa.literal(endpoint_id), sa.literal("available"), sa.literal(now, replica.c.since.type)
    )
    connection.execute(sa.insert(replica).from_select(COPY_COLUMNS, copies_of))


_FAR = sa.case(
    (endpoint.c.root.contains("://"), sa.literal_column("1")), else_=sa.literal_column("0")
)
"""Copies behind a URL come after those on disks."""


def locate_sql(ids: Any) -> sa.Select[Any]:
    """Write the statement that finds the readable copies of some datasets."""
    return copies_sql(ids).where(replica.c.state == "available", endpoint.c.state == "online")


_COPY_COLUMNS = (
    file.c.id,
    file.c.dataset_id,
    file.c.component,
    file.c.path,
    file.c.size_bytes,
    file.c.checksum,
    file.c.formatter,
    file.c.format_options,
    endpoint.c.id.label("endpoint_id"),
    endpoint.c.name,
    endpoint.c.root,
    endpoint.c.owned,
)


def copies_sql(ids: Any) -> sa.Select[Any]:
    """Write the statement that finds all copies of some datasets, in whatever state."""
    return (
        sa.select(*_COPY_COLUMNS)
        .join_from(file, replica, replica.c.file_id == file.c.id)
        # a sum, which no index has: or a planner that knows nothing of a young repository begins
        # with the endpoint, and goes through all that is there for the files of one dataset
        .join(endpoint, endpoint.c.id == replica.c.endpoint_id + sa.literal_column("0"))
        .where(file.c.dataset_id.in_(ids))
        .order_by(file.c.id, _FAR, endpoint.c.id)
    )


def _each_copy(
    connection: sa.Connection,
    ids: Sequence[uuid.UUID],
    written: Callable[[Any], sa.Select[Any]],
) -> Iterator[Stored]:
    """Read copies of many datasets, by file and the nearest first, as whole columns."""
    key, dataset_id, *others = _COPY_COLUMNS
    as_text = (key, sa.type_coerce(dataset_id, sa.String), *others)
    known: dict[tuple[Any, ...], Endpoint] = {}
    for start in range(0, len(ids), CHUNK):
        given = table_of(connection, {"id": (sa.Uuid, ids[start : start + CHUNK])})
        asked = written(sa.select(given.c.id)).with_only_columns(*as_text)
        keys, texts, *values, at, name, root, owned = whole_columns(connection, asked)
        places = list(zip(at, name, root, owned, strict=True))
        known |= {p: Endpoint(*p[:3], bool(p[3])) for p in set(places) - set(known)}
        endpoints_of = [known[place] for place in places]
        *of_file, options = values
        yield from map(Stored, keys, uuids_of(texts), *of_file, endpoints_of, options)


def _stored(row: Any) -> Stored:
    id_, dataset_id, component, path, size, digest, formatter, options, *where = row
    key, name, root, owned = where
    at = Endpoint(key, name, root, bool(owned))
    return Stored(id_, dataset_id, component, path, size, digest, formatter, at, options)


_LOCATE_ONE = ShortStatement(locate_sql([sa.bindparam("one", type_=file.c.dataset_id.type)]))


def locate(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[Stored]]:
    """Find one readable copy of each file of datasets.

    Returns
    -------
    dict
        By dataset; those without a readable copy are left out.
    """
    each = (
        map(_stored, _LOCATE_ONE.rows(connection, {"one": ids[0]}))
        if len(ids) == 1
        else _each_copy(connection, ids, locate_sql)
    )
    found: dict[uuid.UUID, dict[str, Stored]] = {}
    for copy in each:
        found.setdefault(copy.dataset_id, {}).setdefault(copy.component, copy)
    return {key: list(copies.values()) for key, copies in found.items()}


def copies(connection: sa.Connection, one: uuid.UUID) -> dict[str, list[Stored]]:
    """Find all readable copies of each file of a dataset, the nearest first.

    Returns
    -------
    dict
        By component; empty when nothing can be read.
    """
    found: dict[str, list[Stored]] = {}
    for row in _LOCATE_ONE.rows(connection, {"one": one}):
        copy = _stored(row)
        found.setdefault(copy.component, []).append(copy)
    return found


def components(connection: sa.Connection, one: uuid.UUID) -> set[str]:
    """Tell which files are recorded of a dataset, whether they can be read or not."""
    asked = sa.select(file.c.component).where(file.c.dataset_id == one)
    return set(connection.execute(asked).scalars())


def all_copies(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> dict[int, list[Stored]]:
    """Find all readable copies of the files of datasets, by file; the nearest first."""
    found: dict[int, list[Stored]] = {}
    for copy in _each_copy(connection, ids, locate_sql):
        found.setdefault(copy.file_id, []).append(copy)
    return found


def copies_of_whole(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> dict[int, list[Stored]]:
    """Find what `all_copies` does, of those datasets that can be read whole."""
    whole = stored(connection, ids)
    found = all_copies(connection, list(whole))
    return {key: each for key, each in found.items() if each[0].dataset_id in whole}


def add_replicas(
    connection: sa.Connection, where: str, copied: Sequence[tuple[int, str]]
) -> set[int]:
    """Record that files have a good copy at an endpoint, whatever was recorded of one there.

    Parameters
    ----------
    where : str
        Name of the endpoint.
    copied : sequence of (int, str)
        Key of each file, and the path that it had when it was copied.

    Returns
    -------
    set of int
        Keys of the files that have the copy now: not those that were removed meanwhile, or
        replaced by another file.
    """
    endpoint_id, now = endpoints.key_of(connection, where), utc_now()
    noted: set[int] = set()
    for start in range(0, len(copied), CHUNK):
        paths = dict(copied[start : start + CHUNK])
        asked = sa.select(file.c.id, file.c.path).where(file.c.id.in_(list(paths)))
        held = connection.execute(lock_rows(asked.order_by(file.c.id), connection))
        keys = [row.id for row in held if paths[row.id] == row.path]
        noted.update(keys)
        given = table_of(connection, {"k": (sa.BigInteger, keys)})
        connection.execute(
            sa.update(replica)
            .where(
                replica.c.file_id == given.c.k,
                replica.c.endpoint_id == endpoint_id,
                replica.c.state.in_(("lost", "corrupt")),
            )
            .values(state="available", since=now)
        )
        there = sa.exists().where(
            replica.c.file_id == file.c.id, replica.c.endpoint_id == endpoint_id
        )
        new = (
            sa.select(
                file.c.id,
                sa.literal(endpoint_id),
                sa.literal("available"),
                sa.literal(now, replica.c.since.type),
            )
            .join_from(given, file, file.c.id == given.c.k)
            .where(~there)
        )
        connection.execute(sa.insert(replica).from_select(COPY_COLUMNS, new))
    return noted


_READABLE = (
    sa.exists()
    .where(replica.c.file_id == file.c.id, replica.c.state == "available")
    .where(endpoint.c.id == replica.c.endpoint_id, endpoint.c.state == "online")
)


def _whole_sql(ids: Any) -> sa.Select[Any]:
    """Write the statement that finds those of some datasets all of whose files can be read."""
    readable = sa.case((_READABLE, sa.literal_column("1")), else_=sa.literal_column("0"))
    return (
        sa.select(file.c.dataset_id)
        .where(file.c.dataset_id.in_(ids))
        .group_by(file.c.dataset_id)
        .having(sa.func.min(readable) == sa.literal_column("1"))
    )


_WHOLE_ONE = ShortStatement(_whole_sql([sa.bindparam("one", type_=file.c.dataset_id.type)]))


def stored(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Tell which datasets can be read whole: each of their files has a readable copy."""
    found: set[uuid.UUID] = set()
    for start in range(0, len(ids), CHUNK):
        part = ids[start : start + CHUNK]
        if len(part) == 1:
            found.update(row[0] for row in _WHOLE_ONE.rows(connection, {"one": part[0]}))
        else:
            given = table_of(connection, {"id": (sa.Uuid, part)})
            asked = _whole_sql(sa.select(given.c.id))
            (column,) = asked.selected_columns
            text = sa.type_coerce(column, sa.String)
            (texts,) = whole_columns(connection, asked.with_only_columns(text))
            found.update(uuids_of(texts))
    return found


def begin_deletion(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> list[Stored]:
    """Take all copies of datasets out of use; nothing reads them from now on.

    Those that are lost, corrupt, or in a deletion that was cut short are among them.

    Returns
    -------
    list of Stored
        What is to be removed from storage, then forgotten by `end_deletion`.
    """
    copies = list(_each_copy(connection, ids, copies_sql))
    if not copies:
        return []
    given = rows_of(connection, [{"k": c.file_id} for c in copies], {"k": sa.BigInteger})
    connection.execute(
        sa.update(replica)
        .where(replica.c.file_id == given.c.k, replica.c.state != "deleting")
        .values(state="deleting", since=utc_now())
    )
    return copies


def end_deletion(connection: sa.Connection, file_ids: Sequence[int]) -> None:
    """Forget files whose copies are gone from storage."""
    given = rows_of(connection, [{"k": k} for k in file_ids], {"k": sa.BigInteger})
    delete_among(connection, replica.c.file_id, given.c.k, replica.c.state == "deleting")
    _forget_without_copy(connection, given)


def end_deletion_at(connection: sa.Connection, where: int, file_ids: Sequence[int]) -> None:
    """Forget copies that are gone from one endpoint, by its key; files without a copy too."""
    given = rows_of(connection, [{"k": k} for k in file_ids], {"k": sa.BigInteger})
    here = replica.c.endpoint_id == where
    delete_among(connection, replica.c.file_id, given.c.k, replica.c.state == "deleting", here)
    _forget_without_copy(connection, given)


def _forget_without_copy(connection: sa.Connection, given: sa.Subquery) -> None:
    """Forget those of some files that have no copy, with the rows that they are."""
    kept = sa.select(replica.c.file_id).where(replica.c.file_id == file.c.id).exists()
    left = sa.select(file.c.id).join_from(given, file, file.c.id == given.c.k).where(~kept)
    keys = [{"k": k} for k in connection.execute(in_written_order(left)).scalars()]
    gone = rows_of(connection, keys, {"k": sa.BigInteger})
    forget_rows(connection, gone)
    delete_among(connection, file.c.id, gone.c.k)


def discard(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> uuid.UUID:
    """Forget the files of datasets; those that this repository owns are listed as trash.

    Returns
    -------
    uuid.UUID
        What `backbone.trash.listed` finds them by, to be removed from storage after the commit.
    """
    batch, now = uuid7(), utc_now()
    for start in range(0, len(ids), CHUNK):
        part = [{"id": i} for i in ids[start : start + CHUNK]]
        given = rows_of(connection, part, {"id": sa.Uuid})
        own = (
            sa.select(
                replica.c.endpoint_id,
                file.c.path,
                sa.literal(batch, sa.Uuid),
                sa.literal(now, trash.c.since.type),
            )
            .join_from(given, file, file.c.dataset_id == given.c.id)
            .join(replica, replica.c.file_id == file.c.id)
            .join(endpoint, endpoint.c.id == replica.c.endpoint_id)
            .where(endpoint.c.owned, endpoint.c.root != IN_TABLES)
        )
        columns = ["endpoint_id", "path", "batch", "since"]
        connection.execute(sa.insert(trash).from_select(columns, in_written_order(own)))
        asked = sa.select(file.c.id).join_from(given, file, file.c.dataset_id == given.c.id)
        keys = [{"k": k} for k in connection.execute(in_written_order(asked)).scalars()]
        gone = rows_of(connection, keys, {"k": sa.BigInteger})
        forget_rows(connection, gone)
        delete_among(connection, replica.c.file_id, gone.c.k)
        delete_among(connection, file.c.id, gone.c.k)
    return batch
