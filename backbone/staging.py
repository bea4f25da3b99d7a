"""How does a file come into being together with its row, whatever is killed and whenever?

A file is written under a temporary name beside its place, and renamed inside the transaction that
records it, before the commit, or before the one statement that does.  A process killed in between
leaves a file without a row, never a row without a file; `backbone.audit` finds and removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import operator
import os
import re
import secrets
import stat
from pathlib import Path
from typing import IO, TYPE_CHECKING

from backbone.errors import BackboneError, ChangedFile, StorageFull, UnreadableFile

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Sequence
    from io import FileIO

__all__ = [
    "PART",
    "StagedFile",
    "checksum",
    "gone",
    "measured",
    "safe_name",
    "settle",
    "transfer_modes",
]

PART = ".part"
"""Ending of the temporary names."""
_BLOCK = 2**20

_PIECE = 1 << 20
"""How much of a file is copied at a time [byte]."""

_NO_LINKS = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP)
"""Answers to a link between two disks, or where none can be."""

transfer_modes = ("auto", "copy", "move", "link", "hardlink", "symlink", "direct")
"""How a file that exists may be taken in; ``auto`` is ``copy``."""


_SAFE = re.compile(r"[A-Za-z0-9_+@-][A-Za-z0-9_.+@-]*", re.ASCII)


def checksum(path: str | Path) -> str:
    """Compute the SHA-256 of a file, as it is recorded."""
    with open(path, "rb") as stream:  # noqa: PTH123 (thousands at once)
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def measured(path: Path) -> tuple[int, str]:
    """Measure a file: its size [byte] and its checksum.

    Raises
    ------
    ChangedFile, UnreadableFile
        If it is gone, cannot be read, or was changed meanwhile.
    """
    hashed, size = hashlib.sha256(), 0
    with _opened(path) as stream:
        before = os.fstat(stream.fileno())
        while part := _read(stream, path):
            hashed.update(part)
            size += len(part)
        _require_unchanged(path, before, os.fstat(stream.fileno()))
    return size, f"sha256:{hashed.hexdigest()}"


def safe_name(text: str, length: int = 120) -> str:
    """Turn any text into one path component: what paths cannot hold becomes an underscore."""
    if len(text) <= length and _SAFE.fullmatch(text):
        return text
    cleaned = "".join(c if c.isalnum() or c in "-_.+@" else "_" for c in text)
    shown = cleaned.lstrip(".").encode()[:length].decode(errors="ignore")
    return shown or "_"


class StagedFile:
    """A file on its way to its place.

    Parameters
    ----------
    root : Path
        Root of the endpoint.
    path : str
        Where it shall be, below the root.
    """

    fsync = False
    _named: tuple[int, int] | None = None
    """Inode and time of its last change when it was given its final name here."""
    _linked = False
    ends_here = True
    """Whether its final name is on this disk."""
    _adopted = False
    _claim: int | None = None

    def __init__(self, root: Path, path: str) -> None:
        self.path = path
        self.root = root
        self._final = os.path.join(root, path)  # noqa: PTH118 (texts, thousands at once)
        self._folder, self._name = os.path.split(self._final)
        self._temporary = f"{self._folder}/.{self._name}{PART}"
        try:
            if not os.path.isdir(self._folder):  # noqa: PTH112
                os.makedirs(self._folder, exist_ok=True)  # noqa: PTH103
        except OSError as error:
            raise _refused(self._folder, error) from error

    @property
    def final(self) -> Path:
        """Where it shall be."""
        return Path(self._final)

    @property
    def temporary(self) -> Path:
        """Where it is until then."""
        return Path(self._temporary)

    @classmethod
    def for_dataset(
        cls, root: Path, stem: str, dataset_id: uuid.UUID, extension: str
    ) -> StagedFile:
        """Stage a file whose name ends in the tail of its dataset's identity.

        No two datasets share a name then, so that removing one can never hit its successor.  What
        an earlier attempt at this very dataset has left when it was killed gives way.
        """
        staged = cls(root, cls.path_for(stem, dataset_id, extension))
        staged.abandon(settled=False)
        return staged

    @staticmethod
    def path_for(stem: str, dataset_id: uuid.UUID, extension: str) -> str:
        """Give the path that `for_dataset` chooses."""
        return f"{stem}_{dataset_id.hex[-12:]}{extension}"

    def fill(self, stream: IO[bytes], most: int) -> tuple[int, str]:
        """Copy a stream to the temporary name, and measure it on the way.

        Nobody else writes to the file from then on until it is settled, abandoned or released.

        Parameters
        ----------
        most : int
            Bytes after which nothing more is read: one more than expected shows that it is longer.

        Returns
        -------
        tuple
            Size [byte] and checksum of what was written.
        """
        digest, size = hashlib.sha256(), 0
        try:
            with self._claimed() as written:
                self._claim = os.dup(written.fileno())
                written.truncate(0)
                while size < most and (block := stream.read(min(_BLOCK, most - size))):
                    digest.update(block)
                    size += _written(written, block)
        except OSError as error:
            self.abandon()
            raise _refused(self.final, error) from error
        return size, f"sha256:{digest.hexdigest()}"

    def rename_apart(self) -> None:
        """Take a temporary name that no other process draws.

        Two that bring the same dataset would write into one file otherwise.
        """
        if self._claim is not None:
            self.abandon(settled=False)
        self._adopted = False
        self._temporary = f"{self._folder}/.{self._name}.{secrets.token_hex(4)}{PART}"

    def _claimed(self) -> IO[bytes]:
        """Open the file under its temporary name, or under another when somebody writes there."""
        while True:
            with contextlib.suppress(FileNotFoundError):
                found = self.temporary.lstat()
                if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:  # a link to another's
                    self.rename_apart()
            try:
                stream = self.temporary.open("a+b", buffering=0)
            except PermissionError:
                if not os.path.lexists(self.temporary):
                    raise
                self.rename_apart()  # somebody else's, who may not be asked
                continue
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is(stream):
                    return stream
            except BlockingIOError:
                self.rename_apart()
            except OSError:  # a file system without locks; a name that is drawn is nobody else's
                stream.close()
                self.rename_apart()
                return self.temporary.open("a+b", buffering=0)
            stream.close()

    def _is(self, stream: IO[bytes]) -> bool:
        """Tell whether an open file still has the temporary name, or was renamed meanwhile."""
        try:
            return os.path.samestat(os.fstat(stream.fileno()), self.temporary.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let others write to what `go_on` has written; done with `settle` and `abandon`."""
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def go_on(self, pieces: Callable[[int], Iterable[bytes]]) -> tuple[int, int, str]:
        """Write on where an attempt that was cut short has ended, and measure all of it.

        Nobody else writes to the file from then on until it is settled, abandoned or released.

        Parameters
        ----------
        pieces : callable
            Gives what follows a byte.

        Returns
        -------
        tuple
            Size that was there [byte], size that is [byte], and checksum.

        Raises
        ------
        StorageFull
            If it cannot be written.
        """
        self.release()
        digest = hashlib.sha256()
        try:
            stream = self._claimed()
        except OSError as error:
            raise _refused(self.final, error) from error
        with stream:
            self._claim = os.dup(stream.fileno())
            stream.seek(0)
            while block := stream.read(_BLOCK):
                digest.update(block)
            began = size = stream.tell()
            for piece in pieces(began):
                digest.update(piece)
                try:
                    size += _written(stream, piece)
                except OSError as error:
                    self.abandon(settled=False)
                    raise _refused(self.final, error) from error
        return began, size, f"sha256:{digest.hexdigest()}"

    def left_whole(self, size: int, digest: str) -> bool:
        """Tell whether an attempt that was cut short has left the file here, under either name.

        What has its final name keeps it: another process may have recorded it meanwhile.  Nobody
        else writes under the temporary one from then on until it is settled, abandoned or
        released; it is not removed when this attempt fails, since it may be another's that goes on.
        A file that others have too, by a link, does not count.
        """
        if self.ends_here and _is_whole(self.final, size, digest):
            try:
                os.utime(self.final)  # so that no check takes it for an old leftover
            except PermissionError:
                return False
            self.rename_apart()  # what may be there under the temporary name is not this one's
            return True
        try:
            stream = self.temporary.open("r+b", buffering=0)
        except OSError:
            return False
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # somebody writes there, or cannot say so
                return False
            if not self._is(stream) or not _is_whole(self.temporary, size, digest):
                return False
            self._claim = os.dup(stream.fileno())
        self._adopted = True
        return True

    def take(self, source: Path, transfer: str) -> tuple[int, str]:
        """Bring an existing file to the temporary name, and measure it.

        Parameters
        ----------
        transfer : str
            ``auto``, ``copy``, ``move`` (all of which copy), ``link`` (hard, else symbolic),
            ``hardlink`` or ``symlink``.

        Returns
        -------
        tuple
            Size [byte] and checksum.

        Raises
        ------
        ChangedFile, UnreadableFile
            If the file is gone, cannot be read, or was changed meanwhile.
        StorageFull
            If it cannot be written.
        """
        if transfer in ("auto", "copy", "move"):
            return self._copied(source)
        self._linked = transfer in ("hardlink", "link")
        try:
            if transfer in ("hardlink", "link"):
                try:
                    os.link(source, self.temporary)
                except OSError:
                    if transfer == "hardlink":
                        raise
                    self.temporary.symlink_to(source.resolve())
            elif transfer == "symlink":
                self.temporary.symlink_to(source.resolve())
        except OSError as error:
            self.abandon()
            if error.errno in _NO_LINKS:
                raise StorageFull(
                    f"{source} cannot be linked to {self.final.parent}: "
                    f"{error.strerror}. Take it with transfer='link' (a symbolic link where a hard "
                    "one cannot be) or 'copy'."
                ) from error
            raise _refused(self.final, error) from error
        try:
            return measured(self.temporary)
        except BackboneError:
            self.abandon()
            raise

    def copy(self, source: Path | str, size: int, digest: str | None) -> str:
        """Copy a file to the temporary name, and see that it is what was recorded of it.

        Parameters
        ----------
        size : int
            As recorded [byte].
        digest : str, optional
            Its checksum, as recorded.

        Returns
        -------
        str
            The checksum of what was copied.

        Raises
        ------
        ChangedFile
            If it is another one.
        StorageFull
            If it cannot be written.
        """
        try:
            copied, found = self._copied(source)
        except ChangedFile as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            raise ChangedFile(f"{source} is gone, though it is recorded.") from error
        if copied != size or (digest is not None and digest != found):
            self.abandon()
            raise ChangedFile(
                f"{source} is not what was recorded of it ({copied} bytes, {found}; recorded: "
                f"{size} bytes, {digest or 'no checksum'}); `skyspine check --checksums` on its "
                "repository tells what else has changed."
            )
        return found

    def _copied(self, source: Path | str) -> tuple[int, str]:
        """Copy a file to the temporary name; give what came there."""
        hashed = hashlib.sha256()
        copied = 0
        try:
            with _opened(source) as there, open(self._temporary, "wb", 0) as here:  # noqa: PTH123
                before = os.fstat(there.fileno())
                while part := _read(there, source):
                    hashed.update(part)
                    copied += _written(here, part)
                _require_unchanged(source, before, os.fstat(there.fileno()))
        except BackboneError:
            self.abandon()
            raise
        except OSError as error:
            self.abandon()
            raise _refused(self.final, error) from error
        return copied, f"sha256:{hashed.hexdigest()}"

    def send(self, size: int, *, fsync: bool = False) -> None:  # noqa: ARG002
        """Bring the file that was written to its storage; here it lies there already.

        Parameters
        ----------
        size : int
            [byte].
        fsync : bool
            Whether to flush it to the disk, and its name when it has one; see `settle`.
        """
        if fsync:
            self.fsync = True
            _flush(self.temporary)

    def settle(self) -> None:
        """Give the file its name; called before the commit that records it, and repeatable.

        Raises
        ------
        ChangedFile
            If it is gone from both its names.
        """
        try:
            os.replace(self._temporary, self._final)  # noqa: PTH105
        except FileNotFoundError as error:
            if not os.path.lexists(self._final):
                raise gone(self.final) from error
        else:
            if self._linked:  # nothing is renamed when both names are of one file
                self.temporary.unlink(missing_ok=True)
            self._named = _state(self._final)
        self.release()

    def abandon(self, *, settled: bool = True) -> None:
        """Remove whatever there is of the file.

        Parameters
        ----------
        settled : bool
            Whether to remove it under its final name too, if it was given that here, and nobody
            has touched it since: else it is what another process has brought of the same dataset.
        """
        self._forget()
        if settled and self._named is not None:
            with contextlib.suppress(FileNotFoundError):
                if _state(self._final) == self._named:
                    self.final.unlink()

    def _forget(self) -> None:
        """Remove what this attempt has under the temporary name, and let others write there."""
        if not self._adopted:
            with contextlib.suppress(FileNotFoundError):
                self.temporary.unlink()
        self.release()


def settle(staged: Sequence[StagedFile]) -> None:
    """Give files their names inside the transaction that records them.

    Where files are flushed, so are their names: each folder once, up to the root, since any of them
    may be new.
    """
    for file in staged:
        file.settle()
    folders: set[Path] = set()
    for file in filter(operator.attrgetter("fsync"), staged):
        folder = file.final.parent
        while folder not in folders and folder.is_relative_to(file.root):
            folders.add(folder)
            folder = folder.parent
    for folder in sorted(folders, reverse=True):
        _flush(folder)


def _state(path: str) -> tuple[int, int]:
    """Tell which file has a name, and when it was changed, linked or touched."""
    found = os.lstat(path)
    return found.st_ino, found.st_ctime_ns


def _is_whole(path: Path, size: int, digest: str) -> bool:
    """Tell whether a file is what is expected, and nobody else's by a link."""
    try:
        found = path.lstat()
    except OSError:
        return False
    alone = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
    return alone and found.st_size == size and checksum(path) == digest


def _flush(path: Path) -> None:
    """Have the disk keep what was written to a file or folder (fsync)."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        os.close(opened)


def _opened(path: Path | str) -> FileIO:
    try:
        # a pipe would be waited for
        stream = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", 0)  # noqa: PTH123, SIM115
    except OSError as error:
        raise _unread(path, error) from error
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise UnreadableFile(f"{path} is a pipe or a device, and no file; nothing was taken of it.")
    return stream


def _read(stream: FileIO, path: Path | str) -> bytes:
    try:
        return stream.read(_PIECE)
    except OSError as error:
        raise _unread(path, error) from error


def _unread(path: Path | str, error: OSError) -> BackboneError:
    if isinstance(error, FileNotFoundError):
        return ChangedFile(f"{path} is gone; nothing was taken of it.")
    return UnreadableFile(
        f"{path} cannot be read: {error.strerror or error}. Nothing was taken of it; see to its "
        "permissions and its disk, and repeat."
    )


def _require_unchanged(path: Path | str, before: os.stat_result, after: os.stat_result) -> None:
    """Refuse a file that somebody wrote to while it was read."""
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ChangedFile(
            f"{path} was changed while it was read ({before.st_size} bytes before, "
            f"{after.st_size} after); nothing was taken of it. Repeat when nobody writes to it."
        )


def _written(stream: IO[bytes], piece: bytes) -> int:
    """Write all of a piece; the system may take less of it at a time."""
    view = memoryview(piece)
    done = 0
    while done < len(view):
        done += stream.write(view[done:])
    return done


def gone(place: Path | str) -> ChangedFile:
    """Say that a file is under neither of its names when it is to be recorded."""
    return ChangedFile(
        f"{place} was removed while it was being stored, and nothing was recorded; repeat. A "
        "`skyspine check --repair` does so when its --grace is shorter than a transaction lasts."
    )


def _refused(path: Path | str, error: OSError) -> StorageFull:
    return StorageFull(
        f"{path} cannot be written: {error.strerror or error}. Nothing was changed; "
        "check the room and the permissions there, and repeat."
    )
