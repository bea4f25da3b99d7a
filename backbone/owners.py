"""Whose folder is it, when several repositories know it?

Only one repository makes and removes files below a further folder or a URL.  Its identity lies
there in a small file, so that no other takes these files for its own leftovers.  A folder with the
settings of a repository is that one's, with all that lies below.
"""

from __future__ import annotations

import logging
import tempfile
import uuid
from typing import TYPE_CHECKING

from backbone.errors import EndpointAway, EndpointConflict, EndpointRefuses, StorageFull

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from backbone.remote import Remote

__all__ = ["OWNER", "SETTINGS", "belongs", "belongs_far", "claim", "claim_far", "is_others"]

_log = logging.getLogger("skyspine.backbone")

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
    return _identity(said, str(folder / OWNER))


def belongs_far(there: Remote) -> uuid.UUID | None:
    """Read which repository makes files below a URL; None where none has said so.

    Raises
    ------
    EndpointConflict
        If what is written there is no identity.
    EndpointAway, EndpointRefuses
        If it cannot be read.
    """
    try:
        said = there.cat_file(OWNER)
    except FileNotFoundError:
        return None
    return _identity(said.decode(errors="replace").strip(), there.url(OWNER))


def _identity(said: str, place: str) -> uuid.UUID:
    try:
        return uuid.UUID(said)
    except ValueError:
        raise EndpointConflict(
            f"{place} should hold the identity of the repository whose files lie there, "
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
        raise _others(str(folder), owner, str(folder / OWNER))


def claim_far(there: Remote, repository: uuid.UUID) -> None:
    """Take what lies below a URL for a repository; the same may do so again.

    A server that does not answer, or does not let us, leaves it open, with a warning.

    Raises
    ------
    EndpointConflict
        If it is another one's.
    """
    try:
        owner = belongs_far(there)
        if owner is None:
            with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
                file.write(f"{repository}\n")
                file.flush()
                there.send(file.name, OWNER)
            return
    except (EndpointAway, EndpointRefuses, StorageFull) as error:
        _log.warning("Whether another repository's files lie there is not known: %s", error)
        return
    if owner != repository:
        raise _others(there.url(""), owner, there.url(OWNER))


def _others(where: str, owner: uuid.UUID, said_in: str) -> EndpointConflict:
    return EndpointConflict(
        f"{where} holds files of another repository ({owner}), which would be taken for "
        "leftovers; make a folder of its own for this one, register it with --read-only, or, "
        f"if that repository is no more, remove {said_in}."
    )
