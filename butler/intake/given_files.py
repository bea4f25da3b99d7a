"""Which files are there to be taken in, and which may not go from where they are?

What becomes of those that are taken is `butler.intake.ingest` and `butler.intake.ingest_files`.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from backbone.held import held
from butler.errors import IngestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from butler.butler import Butler

__all__ = ["found_files", "kept_files", "remove_moved"]

_log = logging.getLogger("skyspine.butler")
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def found_files(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List files, and those in folders, each once.

    Raises
    ------
    IngestError
        If one is not there, or there is none.
    """
    found: list[Path] = []
    for given in map(Path, paths):
        try:
            mode = given.stat().st_mode
            if stat.S_ISDIR(mode):
                found += sorted(p for p in _files_below(given) if p.is_file())
            elif stat.S_ISREG(mode):
                found.append(given)
            else:
                raise IngestError(
                    f"{given} is a pipe or a device, and no file; leave it out.", path=given
                )
        except ValueError:
            raise IngestError(f"No file is called {str(given)!r}.", path=given) from None
        except OSError as error:
            what = (
                "There is no file or folder"
                if error.errno in _NO_FILE
                else "Nothing can be read of"
            )
            raise IngestError(f"{what} {given}: {error.strerror or error}.", path=given) from error
    if not found:
        raise IngestError(
            "There is no file in what was given: name files, or folders that hold some."
        )
    return list(dict.fromkeys(found))


def _files_below(folder: Path) -> Iterator[Path]:
    """Give the files below a folder; what is closed further below is left out with a warning."""

    def closed(error: OSError) -> None:
        if error.filename == str(folder):
            raise error
        _log.warning("%s is left out: %s", error.filename, error.strerror)

    for here, _, names in os.walk(folder, onerror=closed):
        yield from (Path(here, name) for name in names)


def kept_files(
    butler: Butler, paths: Sequence[Path], transfer: str
) -> dict[str | Path, IngestError]:
    """Find files that datasets of this repository would lose, or take along when they go."""
    if transfer not in ("move", "direct", "symlink"):
        return {}
    if transfer == "move":
        closed = {p for p in {path.parent for path in paths} if not os.access(p, os.W_OK | os.X_OK)}
        if closed:
            return {
                path: IngestError(
                    f"{path} cannot be moved, since nothing may be removed from {path.parent}; "
                    "take it with transfer='copy'.",
                    path=path,
                )
                for path in paths
                if path.parent in closed
            }
    found = butler.registry.database.ask(held, butler.root, paths, owned=transfer != "move")
    what = (
        "which would lose it"
        if transfer == "move"
        else "and is removed with it, though the new one needs it"
    )
    return {
        path: IngestError(
            f"{path} is the file of a dataset of this repository, {what}; take it with "
            "transfer='copy'.",
            path=path,
        )
        for path in found
    }


def remove_moved(sources: Sequence[Path]) -> None:
    """Remove files that were taken in; what the system refuses is told, and stays."""
    for path in sources:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning(
                "%s was taken in, and stays where it was as well: %s. Remove it yourself.",
                path,
                error.strerror,
            )
