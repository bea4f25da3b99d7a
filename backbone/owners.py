"""Whose folder is it, when several repositories know it?

Only one repository makes and removes files below a further folder.  Its identity lies there in a
small file, so that no other takes these files for its own leftovers.  A folder with the settings of
a repository is that one's, with all that lies below.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from backbone.errors import EndpointConflict

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

__all__ = ["OWNER", "SETTINGS", "belongs", "claim", "is_others"]

OWNER = ".skyspine-owner"
"""Name of the file."""
SETTINGS = "skyspine.yaml"
"""Name of the file that makes a folder a repository."""


def belongs(folder: Path) -> uuid.UUID | None:
    """Read which repository makes files below a folder; None where none has said so.

    Raises
    ------
    EndpointConflict
        If what is written there is no identity.
    """
    try:
        said = (folder / OWNER).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise EndpointConflict(
            f"{folder / OWNER} cannot be read: {getattr(error, 'strerror', '') or error}; it "
            "should hold the identity of the repository whose files lie there."
        ) from error
    try:
        return uuid.UUID(said)
    except ValueError:
        raise EndpointConflict(
            f"{folder / OWNER} should hold the identity of the repository whose files lie there, "
            f"and holds {said[:60]!r}; remove it if they are this one's."
        ) from None


def is_others(folder: Path, names: Collection[str], repository: uuid.UUID) -> bool:
    """Tell whether a folder below one's own belongs to another repository.

    Parameters
    ----------
    names : collection of str
        The files in it.
    repository : uuid.UUID
        Identity of one's own.
    """
    if SETTINGS in names:
        return True
    try:
        return OWNER in names and belongs(folder) != repository
    except EndpointConflict:  # nobody can tell, so that nothing is removed there
        return True


def claim(folder: Path, repository: uuid.UUID) -> None:
    """Take a folder for a repository; the same may do so again.

    Raises
    ------
    EndpointConflict
        If it is another one's, or nothing can be written there.
    """
    if (folder / SETTINGS).exists():
        raise EndpointConflict(
            f"{folder} is the folder of a repository, whose own files lie there; make a folder of "
            "its own for the endpoint, or register another repository's with --read-only."
        )
    owner = belongs(folder)
    if owner is None:
        try:
            (folder / OWNER).write_text(f"{repository}\n", encoding="utf-8")
        except OSError as error:
            raise EndpointConflict(
                f"{folder} cannot be written: {error.strerror or error}. Ask for the permission, "
                "or register it with --read-only."
            ) from error
    elif owner != repository:
        raise EndpointConflict(
            f"{folder} holds files of another repository ({owner}), which would be taken for "
            "leftovers; make a folder of its own for this one, register it with --read-only, or, "
            f"if that repository is no more, remove {folder / OWNER}."
        )
