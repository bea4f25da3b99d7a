"""Which of some files on this machine are copies that this repository has recorded?

A file may be given by any path that leads to it.  The records are those of `backbone.files`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import sqlalchemy as sa

from backbone import endpoints
from registry.database import CHUNK, table_of
from registry.schema.files import file, replica

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["held"]


def held(
    connection: sa.Connection, repository: Path, places: Sequence[str | Path], *, owned: bool
) -> list[str | Path]:
    """Tell which files hold datasets of this repository.

    Parameters
    ----------
    repository : Path
        Its root.
    places : sequence of str or Path
        Files on this machine.
    owned : bool
        Whether to look only where this repository makes and removes files.

    Returns
    -------
    list
        Those of the places.
    """
    folders = {place: os.path.split(place) for place in places}
    real = {folder: os.path.realpath(folder) for folder in {f for f, _ in folders.values()}}
    found: list[str | Path] = []
    for there in endpoints.every(connection):
        if there.is_remote or there.in_tables or (owned and not there.owned):
            continue
        root = there.locate("", repository)
        top = os.path.realpath(root) if there.root else ""
        paths: dict[str, str | Path] = {}
        for place, (folder, name) in folders.items():
            for here, above in ((os.path.abspath(folder), str(root)), (real[folder], top)):  # noqa: PTH100
                if not there.root:
                    paths[f"{here}/{name}"] = place
                elif f"{here}/".startswith(f"{above}/"):
                    paths[os.path.relpath(f"{here}/{name}", above)] = place
        known = _recorded(connection, there.id, list(paths)) if paths else set()
        found += [paths[path] for path in paths if path in known]
    return list(dict.fromkeys(found))


def _recorded(connection: sa.Connection, at: int, paths: Sequence[str]) -> set[str]:
    recorded: set[str] = set()
    for start in range(0, len(paths), CHUNK):
        given = table_of(connection, {"p": (sa.String, paths[start : start + CHUNK])})
        asked = (
            sa.select(file.c.path)
            .join_from(given, file, file.c.path == given.c.p)
            .join(replica, replica.c.file_id == file.c.id)
            .where(replica.c.endpoint_id == at)
        )
        recorded |= set(connection.execute(asked).scalars())
    return recorded
