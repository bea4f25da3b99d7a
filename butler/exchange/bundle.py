"""How is an export of this project laid out, as a folder or as one .zip, and how is one read?

``manifest.json`` names the format, the repository, and each table with rows, size and checksum;
``tables/NAME.parquet`` are the tables, ``files/`` the files of datasets below the paths that they
had.  The manifest is written last: without it, a folder is an export that was cut short, and
exporting to it again goes on.  An archive is read member by member, never unpacked as a whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import lzma
import os
import stat
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from butler.errors import ExchangeError, PathOutsideRepository

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FORMAT", "MANIFEST", "VERSION", "Archive", "Manifest", "inside", "open_archive"]

FORMAT = "skyspine-export"
VERSION = 1
"""Version of the layout that is written and read."""
MANIFEST = "manifest.json"
FILES = "files"
TABLES = "tables"
_MOST_MANIFEST = 2**20
_MOST_RATIO = 200
_FREE_BYTES = 2**20
"""Members of an archive up to this size may be packed as tightly as they like [byte]."""


@dataclass(slots=True)
class Manifest:
    """What an export says about itself.

    Parameters
    ----------
    repository : str
        Identity of the repository that it comes from.
    revision : str
        Of that repository's schema.
    created_at : str
        UTC, ISO 8601.
    files : str
        inside, outside (their paths are absolute) or none (paths in the repository).
    tables : dict
        By name: rows, size [byte] and sha256 of its file.
    """

    repository: str
    revision: str
    created_at: str
    files: str
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_json(self) -> str:
        """Write it."""
        whole = {
            "format": FORMAT,
            "version": VERSION,
            "repository": self.repository,
            "revision": self.revision,
            "created_at": self.created_at,
            "files": self.files,
            "tables": self.tables,
        }
        return json.dumps(whole, indent=1) + "\n"

    @classmethod
    def of(cls, content: bytes, path: Path) -> Manifest:
        """Read it.

        Raises
        ------
        ExchangeError
            If it is not one, or of another version.
        """
        try:
            whole = json.loads(content)
            if whole["format"] != FORMAT:
                raise KeyError
            version = whole["version"]
            made = cls(
                str(whole["repository"]),
                str(whole["revision"]),
                str(whole["created_at"]),
                whole["files"],
                {
                    str(name): {
                        "rows": int(t["rows"]),
                        "size": int(t["size"]),
                        "sha256": t["sha256"],
                    }
                    for name, t in whole["tables"].items()
                },
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ExchangeError(
                f"{path} is no export of skyspine: its {MANIFEST} does not say so.", path=path
            ) from error
        if version != VERSION:
            raise ExchangeError(
                f"{path} is an export of skyspine in version {version} of the format; this one "
                f"knows version {VERSION}. Update skyspine, or export as daf-butler-yaml.",
                path=path,
            )
        if made.files not in ("inside", "outside", "none"):
            raise ExchangeError(f"{path} does not say where its files are.", path=path)
        return made


def inside(path: str) -> str:
    """Give the path of a file below a folder, as it is in the export.

    Raises
    ------
    PathOutsideRepository
        If it is absolute or climbs out of the folder.
    """
    pure = PurePosixPath(path)
    parts = pure.parts
    if not parts or pure.is_absolute() or ".." in parts or "\x00" in path or "\\" in path:
        raise PathOutsideRepository(
            f"The export names a file outside its folder: {path[:120]!r}.", path=path
        )
    return str(pure)


class Archive:
    """An export that is read: a folder.

    Parameters
    ----------
    path : Path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def close(self) -> None:
        """Close what is open."""

    def read(self, name: str, most: int) -> bytes:
        """Read a small member whole.

        Raises
        ------
        ExchangeError
            If it is not there, not a plain file, or larger than ``most`` [byte].
        """
        place = self.path / inside(name)
        try:
            status = place.lstat()
        except OSError as error:
            raise ExchangeError(f"{self.path} lacks {name}.", path=place) from error
        if not stat.S_ISREG(status.st_mode):
            raise ExchangeError(f"{name} in {self.path} is not a plain file.", path=place)
        if status.st_size > most:
            raise _larger(name, self.path, status.st_size, most)
        return place.read_bytes()

    def size(self, name: str) -> int | None:
        """Tell the size of a member [byte]; None when it is not there."""
        try:
            return (self.path / inside(name)).stat().st_size
        except OSError:
            return None

    def place(self, name: str) -> Path | None:
        """Give the place of a member that is a file by itself; None in an archive."""
        return self.path / inside(name)

    def leads_out(self, name: str) -> bool:
        """Tell whether a member is a link to somewhere outside of the export."""
        return not (self.path / inside(name)).resolve().is_relative_to(self.path.resolve())

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open a member for reading."""
        with (self.path / inside(name)).open("rb") as stream:
            yield stream


class _Zip(Archive):
    """An export that is read: one .zip."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise ExchangeError(
                f"{path} is damaged, or no zip archive: {error}.", path=path
            ) from error
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            if member.filename in self._members:
                self._zip.close()
                raise ExchangeError(f"{path} holds {member.filename[:120]} twice.", path=path)
            self._members[member.filename] = member

    def close(self) -> None:
        self._zip.close()

    def _member(self, name: str) -> zipfile.ZipInfo:
        member = self._members.get(inside(name))
        if member is None:
            raise ExchangeError(f"{self.path} lacks {name}.", path=self.path)
        if member.flag_bits & 1:
            raise ExchangeError(f"{name} in {self.path} is encrypted.", path=self.path)
        mode = member.external_attr >> 16
        if member.is_dir() or (mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG)):
            raise ExchangeError(f"{name} in {self.path} is not a plain file.", path=self.path)
        if member.file_size > _FREE_BYTES and (
            member.file_size > _MOST_RATIO * max(member.compress_size, 1)
        ):
            raise ExchangeError(
                f"{name} in {self.path} would unpack from {member.compress_size} to "
                f"{member.file_size} bytes; it is not read.",
                path=self.path,
            )
        return member

    def read(self, name: str, most: int) -> bytes:
        member = self._member(name)
        if member.file_size > most:
            raise _larger(name, self.path, member.file_size, most)
        with self.open(name) as stream:
            return stream.read()

    def size(self, name: str) -> int | None:
        if inside(name) not in self._members:
            return None
        return self._member(name).file_size

    def place(self, name: str) -> Path | None:
        del name
        return None

    def leads_out(self, name: str) -> bool:
        del name
        return False

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with self._zip.open(self._member(name)) as stream:
                yield stream
        except _DAMAGES as error:
            raise ExchangeError(
                f"{name} in {self.path} is damaged: {error}.", path=self.path
            ) from error


_DAMAGES = (
    zipfile.BadZipFile,
    EOFError,
    NotImplementedError,
    RuntimeError,
    zlib.error,
    lzma.LZMAError,
)


class Files(Archive):
    """The files of an export by their paths in it: those below ``files/``, and absolute ones.

    Parameters
    ----------
    archive : Archive
        The export.
    """

    def __init__(self, archive: Archive) -> None:
        super().__init__(archive.path)
        self._archive = archive

    def size(self, name: str) -> int | None:
        if not name.startswith("/"):
            return self._archive.size(f"{FILES}/{name}")
        try:
            status = os.stat(name)  # noqa: PTH116 (thousands at once)
        except OSError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def place(self, name: str) -> Path | None:
        return Path(name) if name.startswith("/") else self._archive.place(f"{FILES}/{name}")

    def leads_out(self, name: str) -> bool:
        return name.startswith("/") or self._archive.leads_out(f"{FILES}/{name}")

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        if name.startswith("/"):
            with Path(name).open("rb") as stream:
                yield stream
        else:
            with self._archive.open(f"{FILES}/{name}") as stream:
                yield stream


def _larger(name: str, path: Path, size: int, most: int) -> ExchangeError:
    return ExchangeError(
        f"{name} in {path} has {size} bytes; at most {most} are expected, and it is not read.",
        path=path,
    )


def open_archive(path: Path) -> Archive:
    """Open an export for reading: a folder, or an archive.

    Raises
    ------
    ExchangeError
        If there is none.
    """
    if path.is_dir():
        return Archive(path)
    if not path.exists():
        raise ExchangeError(f"There is no export {path}.", path=path)
    return _Zip(path)


def read_manifest(archive: Archive) -> Manifest:
    """Read what an export says about itself; errors as `Manifest.of`."""
    return Manifest.of(archive.read(MANIFEST, _MOST_MANIFEST), archive.path)


def read_table(archive: Archive, name: str, told: dict[str, Any]) -> bytes:
    """Read the file of a table, and compare it with its checksum.

    Raises
    ------
    ExchangeError
        If it is not what the manifest says.
    """
    content = archive.read(f"{TABLES}/{name}.parquet", told["size"])
    if len(content) != told["size"] or hashlib.sha256(content).hexdigest() != told["sha256"]:
        raise ExchangeError(
            f"The table {name} in {archive.path} is not what the manifest says: it was changed or "
            "damaged since. Export again.",
            path=archive.path,
        )
    return content


def told_of(content: bytes, n_rows: int) -> dict[str, Any]:
    """Describe the file of a table for the manifest."""
    return {"rows": n_rows, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def prepare_folder(path: Path) -> None:
    """Make the folder of an export, or take one that was cut short.

    Raises
    ------
    ExchangeError
        If it holds an export already, or something else.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        names = sorted(place.name for place in path.iterdir())
    except (OSError, ValueError) as error:  # the last of a NUL
        raise ExchangeError(
            f"No export can be made in {path}: {getattr(error, 'strerror', '') or error}.",
            path=path,
        ) from error
    if MANIFEST in names:
        raise ExchangeError(f"{path} holds an export already; name another folder.", path=path)
    other = [name for name in names if name not in (TABLES, FILES, f".{MANIFEST}.part")]
    if other:
        raise ExchangeError(
            f"{path} holds {other[0]}, which is no part of an export; name a folder that is empty "
            "or new.",
            path=path,
        )
