"""How do files go from storage when no row refers to them any more, and nothing else with them?

What is removed is listed as trash in the transaction that forgets it, and goes from storage after
the commit.  The same file may come again meanwhile, under the same name: who brings it takes it
off the list (`reclaim`) before it gets its name, and who removes it holds its line (`empty`), so
that one waits for the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from backbone.endpoints import Endpoint
from backbone.errors import BackboneError, InTransaction
from registry.database import CHUNK, delete_among, in_written_order, lock_rows, table_of, utc_now
from registry.schema.files import endpoint, file, replica, trash

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Sequence
    from pathlib import Path

    from registry.database import Database

__all__ = ["Emptied", "Trashed", "empty", "listed", "reclaim"]

AT_ONCE = 1_000
"""Files of disks that are removed in one transaction."""


@dataclass(frozen=True, slots=True)
class Trashed:
    """A file that is to be removed from storage.

    Parameters
    ----------
    id : int
        Key of its row.
    batch : uuid.UUID
        What it was removed together with.
    endpoint : Endpoint
        Where it lies.
    path : str
        Below the endpoint's root.
    since : datetime
        When it was removed, UTC.
    """

    id: int
    batch: uuid.UUID
    endpoint: Endpoint
    path: str
    since: dt.datetime

    @property
    def age(self) -> float:
        """How long ago it was removed [s]; 0 when the clock was put back since."""
        return max((utc_now() - self.since).total_seconds(), 0.0)


@dataclass(frozen=True, slots=True)
class Emptied:
    """What came of it.

    Parameters
    ----------
    n_files : int
        Files that are gone from storage.
    away : list of BackboneError
        What endpoints said that did not remove theirs; these stay listed.
    """

    n_files: int
    away: Sequence[BackboneError]


def listed(connection: sa.Connection, batch: uuid.UUID | None = None) -> list[Trashed]:
    """List what is to be removed from storage: all, or what was removed together.

    What lies at an endpoint that is offline waits until it is online again.
    """
    together = trash.c.batch if batch is None else sa.null()  # not read anew for each row
    asked = (
        sa.select(
            trash.c.id,
            together,
            trash.c.path,
            trash.c.since,
            endpoint.c.id,
            endpoint.c.name,
            endpoint.c.root,
            endpoint.c.owned,
        )
        .select_from(trash)
        .join(endpoint, endpoint.c.id == trash.c.endpoint_id)
        .where(endpoint.c.state == "online")
        .order_by(trash.c.id)
    )
    if batch is not None:
        asked = asked.where(trash.c.batch == batch)
    known: dict[int, Endpoint] = {}
    found = []
    for key, of_batch, path, since, at, name, root, owned in connection.execute(asked):
        if at not in known:
            known[at] = Endpoint(at, name, root, bool(owned))
        found.append(Trashed(key, batch or of_batch, known[at], path, since))
    return found


def reclaim(connection: sa.Connection, where: str, paths: Sequence[str]) -> None:
    """Take files off the list that come again; in the transaction that records them.

    It waits for who is just removing them, so that they get their names after that.

    Parameters
    ----------
    where : str
        Name of the endpoint.
    paths : sequence of str
        Below its root.
    """
    at = sa.select(endpoint.c.id).where(endpoint.c.name == where).scalar_subquery()
    for start in range(0, len(paths), CHUNK):
        given = table_of(connection, {"p": (sa.String, paths[start : start + CHUNK])})
        delete_among(connection, trash.c.path, given.c.p, trash.c.endpoint_id == at)


def empty(database: Database, repository: Path, items: Sequence[Trashed]) -> Emptied:
    """Remove files from storage, and forget that they were there.

    Their lines are held meanwhile: many files of disks at a time, those of servers one by one.

    Parameters
    ----------
    repository : Path
        Root of the repository.
    items : sequence of Trashed
        As `listed`; what is listed no more is left alone.

    Raises
    ------
    InTransaction
        Within a transaction, which may be undone, and the files would not come back.
    """
    if database.in_transaction:
        raise InTransaction(
            "Files cannot be removed from storage within a transaction, which may be undone; "
            "empty the trash after it."
        )
    near = [item for item in items if not item.endpoint.is_remote]
    far = [item for item in items if item.endpoint.is_remote]
    parts = [near[start : start + AT_ONCE] for start in range(0, len(near), AT_ONCE)]
    n_files = 0
    away: dict[str, BackboneError] = {}
    for part in (*parts, *([item] for item in far)):
        if part[0].endpoint.is_remote and part[0].endpoint.name in away:
            continue
        done, refused = database.transact(_remove, part, repository)
        n_files += done
        away |= {where: why for where, why in refused.items() if where not in away}
    return Emptied(n_files, list(away.values()))


def _remove(
    connection: sa.Connection, items: Sequence[Trashed], repository: Path
) -> tuple[int, dict[str, BackboneError]]:
    """Remove what is listed still and nothing has brought again.

    Returns
    -------
    tuple
        The number of lines that are done, and what endpoints said that did not remove theirs.
    """
    # a key alone does not tell: SQLite gives the highest one again when its row is gone
    given = table_of(
        connection,
        {"k": (sa.BigInteger, [i.id for i in items]), "b": (sa.Uuid, [i.batch for i in items])},
    )
    same = (trash.c.id == given.c.k) & (trash.c.batch == given.c.b)
    asked = in_written_order(sa.select(given.c.n).join_from(given, trash, same))
    ours = [items[n] for n in connection.execute(lock_rows(asked, connection)).scalars()]
    # from the paths on, which are few: asked together with the endpoint, databases begin with that
    given = table_of(connection, {"p": (sa.String, [item.path for item in ours])})
    used = (
        sa.select(replica.c.endpoint_id, file.c.path)
        .join_from(given, file, file.c.path == given.c.p)
        .join(replica, replica.c.file_id == file.c.id)
    )
    live = {(row.endpoint_id, row.path) for row in connection.execute(used)}
    refused: dict[str, BackboneError] = {}
    done = []
    for item in ours:
        try:
            if (item.endpoint.id, item.path) not in live:
                item.endpoint.remove(item.path, repository)
        except BackboneError as error:
            refused.setdefault(item.endpoint.name, error)
            continue
        done.append(item.id)
    keys = table_of(connection, {"k": (sa.BigInteger, done)})
    delete_among(connection, trash.c.id, keys.c.k)
    return len(done), refused
