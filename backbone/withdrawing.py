"""How is a copy of a file given up, and never the last good one?

First a look at what would stay: records may not know yet that it is gone.  Then the rows of the
files are locked before anything is decided, so that of two who each give up the copy that the other
relies on, the second finds none left to rely on.  On SQLite, writers come one after the other
anyway.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa

from backbone import endpoints, fetching, files
from backbone.errors import BackboneError
from registry.database import CHUNK, delete_rows, in_written_order, lock_rows, table_of, utc_now
from registry.identity import uuid7
from registry.schema.files import endpoint, file, replica, trash

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence
    from pathlib import Path

    from backbone.endpoints import Endpoint
    from backbone.files import Stored

__all__ = ["Seen", "look", "withdraw"]

_PAGE = 250
"""A listing gives so many files in the time in which one is asked for."""


@dataclass(slots=True)
class Seen:
    """What was found of the copies that would stay.

    Parameters
    ----------
    good : dict of Stored
        By file, a copy elsewhere that is there, of the size recorded.
    bad : list of (Stored, str)
        Copies that are recorded as readable, and why they cannot be relied on.
    """

    good: dict[int, Stored] = field(default_factory=dict)
    bad: list[tuple[Stored, str]] = field(default_factory=list)


def look(connection: sa.Connection, repository: Path, ids: Sequence[uuid.UUID], name: str) -> Seen:
    """Look which files that have a copy at one endpoint have another one elsewhere.

    The nearest first; another copy of a file only where that is not there.  Of rows in tables, the
    database is believed.

    Parameters
    ----------
    repository : Path
        Its root.
    """
    left: dict[int, list[Stored]] = {}
    going: dict[int, str] = {}
    for key, copies in files.all_copies(connection, ids).items():
        for copy in copies:
            if copy.endpoint.name == name:
                left[key] = [other for other in copies if other is not copy]
                going[key] = _real(copy, repository)
    seen = Seen()
    while left := {key: copies for key, copies in left.items() if copies}:
        nearest: dict[Endpoint, list[Stored]] = {}
        for copies in left.values():
            nearest.setdefault(copies[0].endpoint, []).append(copies.pop(0))
        for where, asked in nearest.items():
            problems = _problems(connection, repository, where, asked)
            for copy, problem in zip(asked, problems, strict=True):
                if problem:
                    seen.bad.append((copy, problem))
                elif _real(copy, repository) == going[copy.file_id]:
                    seen.bad.append((copy, "is the very file that would go"))
                else:
                    seen.good[copy.file_id] = copy
                    del left[copy.file_id]
    return seen


def _real(copy: Stored, repository: Path) -> str:
    """Write where a copy lies, whichever links lead to it."""
    if copy.endpoint.is_remote or copy.endpoint.in_tables:
        return f"{copy.endpoint.root}/{copy.path}"
    return os.path.realpath(copy.endpoint.located(copy.path, str(repository)))


def _problems(
    connection: sa.Connection, repository: Path, where: Endpoint, copies: Sequence[Stored]
) -> list[str]:
    """Say of each copy at an endpoint what is wrong with it; empty where nothing is."""
    if where.in_tables:
        return [""] * len(copies)
    sizes: dict[str, int] | None = None
    try:
        if where.is_remote and where.remote().protocol.lists:
            counted = sa.select(sa.func.count()).where(replica.c.endpoint_id == where.id)
            if connection.execute(counted).scalar_one() <= _PAGE * len(copies):
                sizes = {path: found.size for path, found in where.remote().list().items()}
    except BackboneError as error:
        return [str(error)] * len(copies)

    def problem(copy: Stored) -> str:
        try:
            if sizes is not None:
                size = sizes.get(copy.path)
            elif where.is_remote:
                size = where.remote().size(copy.path)
            else:
                size = os.stat(where.located(copy.path, str(repository))).st_size  # noqa: PTH116
        except FileNotFoundError:
            size = None
        except (BackboneError, OSError) as error:
            return str(error)
        if size is None:
            return "is gone"
        return "" if size == copy.size else f"has {size} bytes instead of {copy.size}"

    return fetching.each(problem, copies, far=where.is_remote and sizes is None)


def withdraw(
    connection: sa.Connection, ids: Sequence[uuid.UUID], name: str, seen: Seen
) -> tuple[uuid.UUID, int, int]:
    """Give up the copies of datasets at an endpoint, of files that have a good copy elsewhere.

    What is pinned there stays, and so does what has no other copy that `look` has seen, and that is
    still available at an endpoint in use.

    Parameters
    ----------
    ids : sequence of UUID
        The datasets.
    name : str
        The endpoint.
    seen : Seen
        What `look` has found of them.

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
        relied_on = [seen.good[key] for key in keys if key in seen.good]
        elsewhere = table_of(
            connection,
            {
                "k": (sa.BigInteger, [copy.file_id for copy in relied_on]),
                "p": (sa.String, [copy.path for copy in relied_on]),
                "at": (sa.BigInteger, [copy.endpoint.id for copy in relied_on]),
            },
            "elsewhere",
        )
        other, at = replica.alias("other"), endpoint.alias("at")
        same = (file.c.id == elsewhere.c.k) & (file.c.path == elsewhere.c.p)
        chosen = (
            sa.select(file.c.id, file.c.path)
            .join_from(elsewhere, file, same)
            .join(replica, replica.c.file_id == file.c.id)
            .join(other, other.c.file_id == file.c.id)
            .join(at, at.c.id == other.c.endpoint_id)
            .where(
                replica.c.endpoint_id == where.id,
                other.c.endpoint_id == elsewhere.c.at,
                other.c.state == "available",
                at.c.state == "online",
                sa.or_(replica.c.pinned_until.is_(None), replica.c.pinned_until <= now),
            )
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
