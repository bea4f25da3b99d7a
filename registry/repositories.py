"""Which other repositories does this one read, and which of its datasets are theirs?

Verbs: add, move and remove an input; mark datasets as another repository's.  Tables:
`registry.schema.provenance`.  How rows come from one registry to another is `registry.transfer`;
how an input is opened and searched, `butler.inputs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from registry.database import CHUNK, delete_among, insert_rows, rows_of, utc_now
from registry.errors import Conflict, InUse, InvalidDataId, UnknownName
from registry.schema.identity import repository
from registry.schema.provenance import foreign_dataset, removed_dataset, repository_input

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Mapping, Sequence

__all__ = [
    "Input",
    "UnknownInput",
    "add_input",
    "homes_of",
    "identity",
    "inputs",
    "mark_foreign",
    "mark_own",
    "remove_input",
]

_LONGEST = 1024


class UnknownInput(UnknownName):
    """No input repository has this identity."""

    code = "unknown-input"
    kind = "input repository"
    remedy = "`skyspine repository inputs REPO` lists them."


@dataclass(frozen=True, slots=True)
class Input:
    """A repository whose datasets this one reads.

    Parameters
    ----------
    position : int
        Place in the search; this repository itself comes before all.
    repository_id : uuid.UUID
        Its identity.
    url : str
        Where it was when it was last told.
    added_at : datetime
        When it was added, UTC.
    """

    position: int
    repository_id: uuid.UUID
    url: str
    added_at: dt.datetime


def identity(connection: sa.Connection) -> uuid.UUID:
    """Give the identity of this repository."""
    found: uuid.UUID = connection.execute(sa.select(repository.c.id)).scalar_one()
    return found


def inputs(connection: sa.Connection) -> list[Input]:
    """List the inputs in the order in which they are searched."""
    r = repository_input.c
    asked = sa.select(r.position, r.repository_id, r.url, r.added_at).order_by(r.position)
    return [Input(*row) for row in connection.execute(asked)]


def add_input(connection: sa.Connection, repository_id: uuid.UUID, url: str) -> bool:
    """Add an input after those that are there, or tell anew where a known one is.

    Returns
    -------
    bool
        Whether it is new.

    Raises
    ------
    Conflict
        If it is this repository itself.
    """
    if len(url) > _LONGEST:
        raise InvalidDataId(f"'{url[:60]}...' is too long for the place of a repository.")
    if repository_id == identity(connection):
        raise Conflict(f"{url} is this repository itself, which is searched first in any case.")
    known = inputs(connection)
    if any(i.repository_id == repository_id for i in known):
        connection.execute(
            sa.update(repository_input)
            .where(repository_input.c.repository_id == repository_id)
            .values(url=url)
        )
        return False
    row = {
        "position": max((i.position + 1 for i in known), default=0),
        "repository_id": repository_id,
        "url": url,
        "added_at": utc_now(),
    }
    insert_rows(connection, repository_input, [row])
    return True


def remove_input(connection: sa.Connection, repository_id: uuid.UUID) -> None:
    """Search a repository no longer.

    Raises
    ------
    UnknownInput
        If it is no input.
    InUse
        If datasets of it are known here: nothing else tells where their files are.
    """
    known = inputs(connection)
    if all(i.repository_id != repository_id for i in known):
        raise UnknownInput(str(repository_id), (str(i.repository_id) for i in known))
    used = connection.execute(
        sa.select(sa.func.count())
        .select_from(foreign_dataset)
        .where(foreign_dataset.c.repository_id == repository_id)
    ).scalar_one()
    if used:
        raise InUse(
            f"{used:,} datasets of the repository {repository_id} were read here, and only it has "
            "their files; transfer them first (Butler.transfer_from), or let it stay."
        )
    connection.execute(
        sa.delete(repository_input).where(repository_input.c.repository_id == repository_id)
    )


def homes_of(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
    """Tell by dataset which other repository has its files; this one's own are left out."""
    f = foreign_dataset.c
    found: dict[uuid.UUID, uuid.UUID] = {}
    for start in range(0, len(ids), CHUNK):
        part = [{"id": i} for i in ids[start : start + CHUNK]]
        given = rows_of(connection, part, {"id": sa.Uuid})
        asked = sa.select(f.dataset_id, f.repository_id).join_from(
            given, foreign_dataset, f.dataset_id == given.c.id
        )
        found.update((row.dataset_id, row.repository_id) for row in connection.execute(asked))
    return found


def mark_foreign(connection: sa.Connection, homes: Mapping[uuid.UUID, uuid.UUID]) -> None:
    """Say which other repository has the files of datasets; what is marked already stays so."""
    now = utc_now()
    rows = [
        {"dataset_id": i, "repository_id": home, "adopted_at": now} for i, home in homes.items()
    ]
    insert_rows(connection, foreign_dataset, rows, skip_existing=True)


def mark_own(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> None:
    """Say that this repository has the files of datasets now, whatever was said before."""
    for start in range(0, len(ids), CHUNK):
        part = [{"id": i} for i in ids[start : start + CHUNK]]
        given = rows_of(connection, part, {"id": sa.Uuid})
        for table in (foreign_dataset, removed_dataset):
            delete_among(connection, table.c.dataset_id, given.c.id)
