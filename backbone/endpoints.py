"""Which storage does a repository have?

Sites and endpoints are rows; a repository's own root is the endpoint `ROOT`, and files that stay
where they are belong to `DIRECT`, which this repository never deletes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from backbone.errors import UnknownEndpoint
from registry.database import insert_rows, remembered
from registry.schema.files import endpoint, site

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DIRECT", "ROOT", "Endpoint", "add", "key_of", "set_up"]

ROOT = "root"
DIRECT = "direct"


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
        Folder; ``.`` is the repository's own, empty means that paths are absolute.
    owned : bool
        Whether this repository makes and deletes files there.
    """

    id: int
    name: str
    root: str
    owned: bool

    def locate(self, path: str, repository: Path) -> Path:
        """Give the place of a file on this machine."""
        from pathlib import Path

        if not self.root:
            return Path(path)
        return (repository if self.root == "." else Path(self.root)) / path


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


def key_of(connection: sa.Connection, name: str) -> int:
    """Give the key of an endpoint in this database.

    Raises
    ------
    UnknownEndpoint
        If there is none of this name.
    """
    asked = sa.select(endpoint.c.id).where(endpoint.c.name == name)
    key: int | None = remembered(
        connection, f"endpoint {name}", lambda: connection.execute(asked).scalar()
    )
    if key is None:
        raise UnknownEndpoint(f"There is no endpoint '{name}' in this repository.")
    return key
