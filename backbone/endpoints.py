"""Which storage does a repository have?

Sites and endpoints are rows; a repository's own root is the endpoint `ROOT`, and files that stay
where they are belong to `DIRECT`, which this repository never deletes from.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from backbone import owners
from backbone.errors import EndpointConflict, EndpointRefuses, NotOnDisk, UnknownEndpoint
from backbone.protocols import is_url, protocol_of, shown
from backbone.remote import remote
from registry import repositories
from registry.database import insert_rows
from registry.errors import did_you_mean
from registry.schema.files import endpoint, replica, site

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from backbone.remote import Remote

__all__ = [
    "ANYWHERE",
    "DIRECT",
    "IN_TABLES",
    "ROOT",
    "TABLES",
    "Endpoint",
    "add",
    "any_remote",
    "below",
    "every",
    "has_copies",
    "key_of",
    "listed",
    "named",
    "reading",
    "register",
    "set_up",
    "unknown",
]

ROOT = "root"
DIRECT = "direct"
TABLES = "tables"
"""The database itself: what is stored there lies as rows, see `backbone.rows`."""
IN_TABLES = "table:"
"""Its root."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Storage under one root.

    Parameters
    ----------
    id : int
        Key in this database.
    name : str
        Its name.
    root : str
        Folder or URL; ``.`` is the repository's own, empty means that paths are absolute.
    owned : bool
        Whether this repository makes and deletes files there.
    online : bool
        Whether it is in use.
    """

    id: int
    name: str
    root: str
    owned: bool
    online: bool = True

    @property
    def is_remote(self) -> bool:
        """Whether it lies behind a URL."""
        return is_url(self.root)

    @property
    def in_tables(self) -> bool:
        """Whether what it holds are rows in the database, and no files."""
        return self.root == IN_TABLES

    def remote(self) -> Remote:
        """Open its URL."""
        return remote(self.name, self.root)

    def locate(self, path: str, repository: Path) -> Path:
        """Give the place of a file on this machine; errors as `located`."""
        from pathlib import Path

        return Path(self.located(path, str(repository)))

    def located(self, path: str, repository: str) -> str:
        """Give the place of a file on this machine as text, for thousands at once.

        Raises
        ------
        NotOnDisk
            If it lies behind a URL, or in a table of the database.
        """
        if self.in_tables:
            raise NotOnDisk(
                f"{path.partition('/')[0]} is a table of the database, and a file is needed; what "
                "lies there is had by a get, and goes to others as a file by an export or a "
                "transfer."
            )
        if self.is_remote:
            raise NotOnDisk(
                f"{shown(self.root, path)} lies at the endpoint '{self.name}', and its path on "
                "this disk is needed; copy it here first: skyspine endpoint copy REPO "
                f"{ROOT} DATASET_TYPE"
            )
        return os.path.join(repository if self.root == "." else self.root, path)  # noqa: PTH118

    def remove(self, path: str, repository: Path) -> None:
        """Remove a file from the storage, unless it is gone already.

        Raises
        ------
        EndpointAway, EndpointRefuses
            If that cannot be done.
        """
        if self.is_remote:
            self.remote().remove(path)
            return
        place = self.located(path, str(repository))
        try:
            os.unlink(place)  # noqa: PTH108 (thousands at once)
        except FileNotFoundError:
            return
        except OSError as error:
            raise EndpointRefuses(
                f"{place} cannot be removed: {error.strerror or error}; see to the permissions of "
                "its folder and to its disk."
            ) from error


ANYWHERE = Endpoint(0, DIRECT, "", owned=False)
"""Files by their absolute paths."""


def set_up(connection: sa.Connection) -> None:
    """Register the site and the two endpoints that every repository has; repeatable."""
    insert_rows(connection, site, [{"name": "local", "doc": "This machine"}], skip_existing=True)
    add(connection, ROOT, ".", owned=True)
    add(connection, DIRECT, "", owned=False)


def add(connection: sa.Connection, name: str, root: str, *, owned: bool, at: str = "local") -> None:
    """Register an endpoint, unless one of this name exists."""
    place = connection.execute(sa.select(site.c.id).where(site.c.name == at)).scalar_one()
    row = {"site_id": place, "name": name, "root": root, "owned": owned, "state": "online"}
    insert_rows(connection, endpoint, [row], skip_existing=True)


def register(connection: sa.Connection, name: str, root: str, *, owned: bool = True) -> Endpoint:
    """Register storage; the same may be registered again.

    Parameters
    ----------
    root : str
        A folder, or a URL that `backbone.protocols` knows.
    owned : bool
        Whether this repository makes and deletes files there; never at what can only be read.

    Raises
    ------
    EndpointConflict
        If the name is taken by another one, or the root cannot be one.
    """
    from pathlib import Path

    if not name.isidentifier() and not name.replace("-", "_").replace(".", "_").isidentifier():
        raise EndpointConflict(
            f"'{name}' is no name for an endpoint; take letters, digits, '_', '-' and '.'."
        )
    if name == TABLES:
        raise EndpointConflict(
            f"'{TABLES}' is the database itself, where datasets lie as rows; take another name."
        )
    root = root.removeprefix("file://") if root.startswith("file:///") else root
    if is_url(root):
        owned = owned and protocol_of(root).writes
    elif not Path(root).is_dir():
        raise EndpointConflict(f"{root} is no folder here; make it first, or give a URL.")
    else:
        root = str(Path(root).absolute())
    _require_apart(connection, name, root, owned=owned)
    add(connection, name, root, owned=owned)
    found = named(connection, name)
    if (found.root, found.owned) != (root, owned):
        raise EndpointConflict(
            f"There is an endpoint '{name}' already: {found.root or 'absolute paths'}"
            f"{'' if found.owned else ', only read'}; take another name."
        )
    if owned:
        ours = repositories.identity(connection)
        if is_url(root):
            owners.claim_far(remote(name, root), ours)
        else:
            owners.claim(Path(root), ours)
    return found


def _require_apart(connection: sa.Connection, name: str, root: str, *, owned: bool) -> None:
    """Refuse a second name of one storage: a copy there would be the same file as the first."""
    place = _resolved(root)
    for other in every(connection):
        if other.name == name or other.root in ("", ".", IN_TABLES) or not (owned or other.owned):
            continue
        if _resolved(other.root) == place:
            raise EndpointConflict(
                f"{shown(root)} is the endpoint '{other.name}' already ({shown(other.root)}): a "
                "second copy there would be the first one. Use that, or take another place."
            )


def below(outer: Endpoint, inner: Endpoint) -> str:
    """Give the path of a URL below another one, with a slash at its end; empty when it is not."""
    above, under = (_resolved(e.root).partition("?")[0] + "/" for e in (outer, inner))
    return under.removeprefix(above) if under.startswith(above) else ""


def _resolved(root: str) -> str:
    if not is_url(root):
        return os.path.realpath(root)
    place, mark, options = root.partition("?")
    return f"{place.rstrip('/')}{mark}{options}"


_ENDPOINTS = sa.select(
    endpoint.c.id, endpoint.c.name, endpoint.c.root, endpoint.c.owned, endpoint.c.state
)


def named(connection: sa.Connection, name: str) -> Endpoint:
    """Find an endpoint by its name.

    Raises
    ------
    UnknownEndpoint
        If there is none, with the nearest name.
    """
    rows = {row.name: row for row in connection.execute(_ENDPOINTS)}
    if name not in rows:
        raise unknown(name, rows)
    row = rows[name]
    return Endpoint(row.id, row.name, row.root, bool(row.owned), row.state == "online")


def every(connection: sa.Connection) -> list[Endpoint]:
    """List the endpoints."""
    return [
        Endpoint(row.id, row.name, row.root, bool(row.owned), row.state == "online")
        for row in connection.execute(_ENDPOINTS.order_by(endpoint.c.id))
    ]


def has_copies(connection: sa.Connection, name: str) -> bool:
    """Tell whether files are recorded at an endpoint."""
    at = sa.select(endpoint.c.id).where(endpoint.c.name == name).scalar_subquery()
    asked = sa.select(replica.c.file_id).where(replica.c.endpoint_id == at).limit(1)
    return connection.execute(asked).first() is not None


def switch(connection: sa.Connection, name: str, *, online: bool) -> int:
    """Take an endpoint out of use, or into use again; repeatable.

    While it is out of use, nothing is read there, stored there or removed from there.

    Returns
    -------
    int
        Files that have no other copy in use, and so cannot be read without it.

    Raises
    ------
    UnknownEndpoint
        If there is none of this name.
    EndpointConflict
        If it is one that a repository cannot be without.
    """
    where = named(connection, name)
    if name in (ROOT, DIRECT, TABLES):
        raise EndpointConflict(
            f"'{name}' belongs to the repository itself, and is always in use; other storage is "
            "taken out of use by its name: skyspine endpoint list REPO"
        )
    state = "online" if online else "offline"
    connection.execute(sa.update(endpoint).where(endpoint.c.id == where.id).values(state=state))
    other, at = replica.alias("other"), endpoint.alias("at")
    elsewhere = (
        sa.exists()
        .where(other.c.file_id == replica.c.file_id, other.c.endpoint_id != where.id)
        .where(other.c.state == "available", at.c.id == other.c.endpoint_id)
        .where(at.c.state == "online")
    )
    alone = (
        sa.select(sa.func.count())
        .select_from(replica)
        .where(replica.c.endpoint_id == where.id, replica.c.state == "available", ~elsewhere)
    )
    return int(connection.execute(alone).scalar_one())


@dataclass(frozen=True, slots=True)
class Contents:
    """An endpoint with what is recorded at it.

    Parameters
    ----------
    endpoint : Endpoint
        The storage.
    site, state : str
        Where it is; online or offline.
    n_copies, n_lost : int
        Copies of files that can be read, and that are lost or corrupt.
    """

    endpoint: Endpoint
    site: str
    state: str
    n_copies: int
    n_lost: int


def listed(connection: sa.Connection) -> list[Contents]:
    """List the endpoints with what is recorded at them."""
    good = sa.func.sum(sa.case((replica.c.state == "available", 1), else_=0))
    lost = sa.func.sum(sa.case((replica.c.state.in_(("lost", "corrupt")), 1), else_=0))
    counted = (
        sa.select(replica.c.endpoint_id, good.label("good"), lost.label("lost"))
        .group_by(replica.c.endpoint_id)
        .subquery()
    )
    rows = connection.execute(
        sa.select(
            endpoint.c.id,
            endpoint.c.name,
            endpoint.c.root,
            endpoint.c.owned,
            endpoint.c.state,
            site.c.name.label("site"),
            counted.c.good,
            counted.c.lost,
        )
        .join(site, site.c.id == endpoint.c.site_id)
        .outerjoin(counted, counted.c.endpoint_id == endpoint.c.id)
        .order_by(endpoint.c.id)
    )
    return [
        Contents(
            Endpoint(row.id, row.name, row.root, bool(row.owned)),
            row.site,
            row.state,
            int(row.good or 0),
            int(row.lost or 0),
        )
        for row in rows
    ]


def key_of(connection: sa.Connection, name: str) -> int:
    """Give the key of an endpoint in this database.

    Raises
    ------
    UnknownEndpoint
        If there is none of this name.
    """
    asked = sa.select(endpoint.c.id).where(endpoint.c.name == name)
    key: int | None = connection.execute(asked).scalar()
    if key is None:
        raise unknown(name)
    return key


def unknown(name: str, known: Iterable[str] = ()) -> UnknownEndpoint:
    """Say that there is no endpoint of this name."""
    return UnknownEndpoint(
        f"There is no endpoint '{name}' in this repository.{did_you_mean(name, known)}"
    )


def any_remote(connection: sa.Connection) -> bool:
    """Tell whether there is an endpoint behind a URL."""
    far = sa.select(endpoint.c.id).where(endpoint.c.root.contains("://")).limit(1)
    return connection.execute(far).first() is not None


def reading(connection: sa.Connection, theirs: Endpoint) -> Endpoint:
    """Give the endpoint by which what lies at another repository's is read here, never changed.

    What has no path below a root here is read by `DIRECT`; for a URL, an endpoint that is only
    read is registered, under their name or the next one that is free.
    """
    if not theirs.is_remote:
        return ANYWHERE
    rows = list(connection.execute(_ENDPOINTS))
    for row in rows:
        if row.root == theirs.root and not row.owned:
            return Endpoint(row.id, row.name, row.root, owned=False)
    taken = {row.name for row in rows}
    names = itertools.chain([theirs.name], (f"{theirs.name}-{n}" for n in itertools.count(2)))
    return register(
        connection, next(name for name in names if name not in taken), theirs.root, owned=False
    )
