"""Which tables of its own has a site, and how are they made?

By migrations in a folder of the site, numbered as the spine's are, with a version table of their
own (`VERSION_TABLE`).  So both histories stay lines: a site adds a table between two versions of
skyspine, and neither waits for the other.  Opening a repository runs nothing of that folder; it
compares numbers (`require_newest`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import row_tables
from registry.database import safe_url
from registry.errors import Conflict, RegistryError, UnknownRevision
from registry.row_declarations import declared, migration_text

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from registry.row_tables import RowTable

__all__ = [
    "FOLDER",
    "VERSION_TABLE",
    "SiteBehind",
    "differences",
    "drop_all",
    "install",
    "is_of_site",
    "newest",
    "require_known",
    "require_newest",
    "require_none",
    "revisions",
    "stamped",
    "withdraw",
    "write",
]

FOLDER = "migrations"
"""Of a repository, beside its configuration."""
VERSION_TABLE = "site_version"
_FILE = re.compile(r"(\d{4})_[A-Za-z0-9_]+\.py", re.ASCII)


class SiteBehind(RegistryError):
    """The tables of a site are not at the revision of its migrations."""

    code = "site-revision"


def revisions(folder: Path) -> list[str]:
    """List the numbers of a site's migrations; no code of theirs is run for that."""
    if not folder.is_dir():
        return []
    return sorted(found[1] for path in folder.iterdir() if (found := _FILE.fullmatch(path.name)))


def newest(folder: Path) -> str | None:
    """Tell the number of the last of a site's migrations."""
    return max(revisions(folder), default=None)


def stamped(connection: sa.Connection) -> str | None:
    """Tell which of a site's migrations was run last."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(
        sa.text(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 (ours)
    ).scalar()
    return found


def require_newest(connection: sa.Connection, folder: Path, repository: Path) -> None:
    """Refuse a database in which a site's migrations have not been run.

    Raises
    ------
    SiteBehind
        With the command that runs them.
    """
    wanted = newest(folder)
    if wanted is None:
        return
    found = stamped(connection)
    if found is None or found < wanted:
        state = f"at revision {found}" if found else "at none"
        raise SiteBehind(
            f"The tables of this site are {state}, and {folder} has {wanted}; bring them up with: "
            f"skyspine db upgrade {repository}"
        )
    if found > wanted:
        raise SiteBehind(
            f"The tables of this site are at revision {found}, and {folder} ends with {wanted}; "
            "take the files that are missing from where they were written."
        )


def write(folder: Path, path: str | os.PathLike[str], *, dry_run: bool = False) -> tuple[Path, str]:
    """Write the migration that makes a table, from its declaration.

    Returns
    -------
    Path, str
        The new file, and its text; with ``dry_run`` nothing is written.

    Raises
    ------
    WrongDeclaration
        See `registry.row_declarations.declared`.
    Conflict
        If there is a migration that makes a table of this name.
    """
    one = declared(path)
    before = newest(folder)
    made = [found for found in folder.glob("*.py") if found.name[5:] == f"{one.name}.py"]
    if made:
        raise Conflict(
            f"{made[0]} makes the table {one.name} already; take another name, or, if nothing lies "
            "in it, take it down and remove that file."
        )
    revision = f"{int(before or 0) + 1:04d}"
    text = migration_text(one, revision, before)
    target = folder / f"{revision}_{one.name}.py"
    if not dry_run:
        folder.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return target, text


def install(one: RowTable) -> None:
    """Describe a table that was made; called by migrations."""
    from alembic import op

    row_tables.describe(op.get_bind(), one)


def withdraw(name: str) -> None:
    """Forget a table that will be dropped; called by migrations."""
    from alembic import op

    row_tables.forget(op.get_bind(), name)


def require_known(folder: Path, revision: str, *, end: str) -> None:
    """Refuse a revision that a site does not have.

    Raises
    ------
    UnknownRevision
        With those that there are.
    """
    known = [*revisions(folder), end]
    if revision not in known:
        raise UnknownRevision(revision, known)


def differences(connection: sa.Connection) -> list[Any]:
    """Compare the tables of rows with what is described of them."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    tables = row_tables.described(connection)
    if not tables:
        return []

    def ours(item: Any, name: str | None, kind: str, *_: Any) -> bool:
        owner = name if kind == "table" else item.table.name
        return owner in tables

    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "include_object": ours}
    )
    return list(compare_metadata(context, row_tables.metadata_of(list(tables.values()))))


def drop_all(connection: sa.Connection) -> None:
    """Drop the tables of rows, with what lies in them, before the whole schema goes."""
    if not sa.inspect(connection).has_table("row_table"):
        return
    for one in row_tables.described(connection).values():
        row_tables.core_table(one).drop(connection, checkfirst=True)
    connection.execute(sa.text(f"DROP TABLE IF EXISTS {VERSION_TABLE}"))


def require_none(connection: sa.Connection, url: str) -> None:
    """Refuse to go back behind the revision that tables of rows need, while there are some.

    Raises
    ------
    Conflict
        With their names.
    """
    if not sa.inspect(connection).has_table("row_table"):
        return
    names = ", ".join(row_tables.described(connection))
    if names:
        raise Conflict(
            f"{safe_url(url)} has the tables {names}, which an older schema cannot describe; take "
            "them down first: skyspine db downgrade REPO base --site"
        )


def is_of_site(name: str) -> bool:
    """Tell whether a table is made by a site's migrations, and not by the spine's."""
    return name == VERSION_TABLE or name.startswith(row_tables.PREFIX)
