"""How is a copy of a file given up, and never the last good one?

The rows of the files are locked before anything is decided, so that of two who each give up the
copy that the other relies on, the second finds none left to rely on.  On SQLite, writers come one
after the other anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from backbone import endpoints
from registry.database import CHUNK, delete_rows, in_written_order, lock_rows, table_of, utc_now
from registry.identity import uuid7
from registry.schema.files import endpoint, file, replica, trash

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

__all__ = ["withdraw"]


def withdraw(
    connection: sa.Connection, ids: Sequence[uuid.UUID], name: str
) -> tuple[uuid.UUID, int, int]:
    """Give up the copies of datasets at an endpoint, of files that have a good copy elsewhere.

    What is pinned there, and what has no other copy that is available at an endpoint in use, stays.

    Parameters
    ----------
    ids : sequence of UUID
        The datasets.
    name : str
        The endpoint.

    Returns
    -------
    batch : uuid.UUID
        What `backbone.trash.listed` finds the copies by, to be removed when this is committed.
    removed, kept : int
        Copies that were given up, and those that stay.

    Raises
    ------
    UnknownEndpoint
        If there is none of this name.
    """
    where = endpoints.named(connection, name)
    batch, now, removed, there = uuid7(), utc_now(), 0, 0
    for start in range(0, len(ids), CHUNK):
        given = table_of(connection, {"id": (sa.Uuid, ids[start : start + CHUNK])})
        mine = sa.select(file.c.id).where(file.c.dataset_id.in_(sa.select(given.c.id)))
        keys = connection.execute(lock_rows(mine.order_by(file.c.id), connection)).scalars().all()
        files_ = table_of(connection, {"k": (sa.BigInteger, keys)}, "files")
        here = (replica.c.file_id == files_.c.k) & (replica.c.endpoint_id == where.id)
        counted = sa.select(sa.func.count()).select_from(files_).join(replica, here)
        there += int(connection.execute(counted).scalar_one())
        other, at = replica.alias("other"), endpoint.alias("at")
        safe = (
            sa.exists()
            .where(other.c.file_id == replica.c.file_id, other.c.endpoint_id != where.id)
            .where(other.c.state == "available", at.c.id == other.c.endpoint_id)
            .where(at.c.state == "online")
        )
        free = sa.or_(replica.c.pinned_until.is_(None), replica.c.pinned_until <= now)
        chosen = (
            sa.select(file.c.id, file.c.path)
            .join_from(files_, replica, here)
            .join(file, file.c.id == replica.c.file_id)
            .where(safe, free)
        )
        rows = connection.execute(in_written_order(chosen)).all()
        if not rows:
            continue
        removed += len(rows)
        if where.owned:
            thrown = {"endpoint_id": where.id, "batch": batch, "since": now}
            connection.execute(sa.insert(trash), [{"path": row.path, **thrown} for row in rows])
        gone = table_of(
            connection,
            {
                "k": (sa.BigInteger, [row.id for row in rows]),
                "at": (sa.BigInteger, [where.id] * len(rows)),
            },
        )
        delete_rows(connection, {replica.c.file_id: gone.c.k, replica.c.endpoint_id: gone.c.at})
    return batch, removed, there - removed
