"""How does a file come to have another content, while readers go on reading?

Its row gets the new path and format and its copies the new places in one transaction, which lists
the old copies as trash.  They stay for a while: who has looked up an old path finds it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from backbone import endpoints
from backbone.files import copies_sql
from registry.database import (
    CHUNK,
    delete_among,
    in_written_order,
    insert_rows,
    lock_rows,
    rows_of,
    table_of,
    utc_now,
)
from registry.identity import uuid7
from registry.schema.files import endpoint, file, replica, trash

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

__all__ = ["Replacement", "out_of_reach", "replace"]


@dataclass(frozen=True, slots=True)
class Replacement:
    """The new content of a file.

    Parameters
    ----------
    file_id : int
        Key of the file.
    old_path : str
        What it was made from; a file that has another path by now is left alone.
    old_at : frozenset of int
        Keys of the endpoints where it had a copy; one that has been given another copy by now is
        left alone, too.
    path : str
        Below the root of each endpoint.
    size : int
        [byte].
    checksum : str
        ``sha256:`` and hex digits.
    formatter : str
        What reads it.
    options : mapping
        With which it was written.
    where : tuple of str
        Names of the endpoints that have a copy.
    """

    file_id: int
    old_path: str
    old_at: frozenset[int]
    path: str
    size: int
    checksum: str | None
    formatter: str
    options: Mapping[str, Any] | None
    where: tuple[str, ...]


def out_of_reach(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> dict[int, str]:
    """Tell which files of datasets have a good copy at an endpoint that is offline, and where."""
    found: dict[int, str] = {}
    for start in range(0, len(ids), CHUNK):
        given = table_of(connection, {"id": (sa.Uuid, ids[start : start + CHUNK])})
        asked = copies_sql(sa.select(given.c.id)).where(
            replica.c.state == "available", endpoint.c.state == "offline"
        )
        found |= {row.id: row.name for row in connection.execute(asked)}
    return found


def replace(connection: sa.Connection, new: Sequence[Replacement]) -> set[int]:
    """Give files their new content; the old copies are listed as trash.

    Returns
    -------
    set of int
        Keys of the files that were replaced: not those that were removed, replaced or copied to
        another endpoint meanwhile.
    """
    keys = [one.file_id for one in new]
    asked = sa.select(file.c.id, file.c.path).where(file.c.id.in_(keys)).order_by(file.c.id)
    paths = {row.id: row.path for row in connection.execute(lock_rows(asked, connection))}
    good = sa.select(replica.c.file_id, replica.c.endpoint_id).where(
        replica.c.file_id.in_(keys), replica.c.state == "available"
    )
    at: dict[int, set[int]] = {}
    for row in connection.execute(good):
        at.setdefault(row.file_id, set()).add(row.endpoint_id)
    fit = [
        one
        for one in new
        if paths.get(one.file_id) == one.old_path and at.get(one.file_id, set()) <= one.old_at
    ]
    if not fit:
        return set()
    now = utc_now()
    given = rows_of(connection, [{"k": one.file_id} for one in fit], {"k": sa.BigInteger})
    own = (
        sa.select(
            replica.c.endpoint_id,
            file.c.path,
            sa.literal(uuid7(), sa.Uuid),
            sa.literal(now, trash.c.since.type),
        )
        .join_from(given, file, file.c.id == given.c.k)
        .join(replica, replica.c.file_id == file.c.id)
        .join(endpoint, endpoint.c.id == replica.c.endpoint_id)
        .where(endpoint.c.owned)
    )
    columns = ["endpoint_id", "path", "batch", "since"]
    connection.execute(sa.insert(trash).from_select(columns, in_written_order(own)))
    delete_among(connection, replica.c.file_id, given.c.k)
    connection.execute(
        sa.update(file)
        .where(file.c.id == sa.bindparam("_key"))
        .values(
            path=sa.bindparam("_path"),
            size_bytes=sa.bindparam("_size"),
            checksum=sa.bindparam("_checksum"),
            formatter=sa.bindparam("_formatter"),
            format_options=sa.bindparam("_options", type_=file.c.format_options.type),
        ),
        [
            {
                "_key": one.file_id,
                "_path": one.path,
                "_size": one.size,
                "_checksum": one.checksum,
                "_formatter": one.formatter,
                "_options": dict(one.options) if one.options else None,
            }
            for one in fit
        ],
    )
    where = {name: endpoints.key_of(connection, name) for one in fit for name in one.where}
    rows = [
        {
            "file_id": one.file_id,
            "endpoint_id": where[name],
            "state": "available",
            "since": now,
        }
        for one in fit
        for name in one.where
    ]
    insert_rows(connection, replica, rows)
    return {one.file_id for one in fit}
