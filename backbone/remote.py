"""How are files written, read and removed behind a URL, and what if its server is away or refuses?

`Remote` is one endpoint's root behind fsspec.  Whatever goes wrong is tried a few times when that
may help, and then told in one sentence; a file that is not there is a `FileNotFoundError`.  Which
URLs there are is `backbone.protocols`; how a file and its row come into being together,
`backbone.sending`.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from backbone.errors import EndpointAway, EndpointRefuses, StorageFull
from backbone.owners import OWNER
from backbone.protocols import opened, protocol_of, shown

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Listed", "Remote", "remote"]

_T = TypeVar("_T")
PAUSES = (0.1, 0.5)
"""Before each further try [s]."""
_PIECE = 1 << 23
_ABSENT = (404, 410)
_REFUSALS = (401, 403, 407)
_REFUSED_NAMES = (
    "ForbiddenOperation",
    "NoCredentialsError",
    "PermissionDenied",
    "HostKeyNotVerifiable",
    "KeyImportError",
)
# What a mistake in this code raises, rather than a server.
_OWN = (AttributeError, NameError, TypeError, NotImplementedError, AssertionError)


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that is there.

    Parameters
    ----------
    size : int
        [byte].
    modified : datetime, optional
        When it was last changed, UTC, where the server tells.
    """

    size: int
    modified: dt.datetime | None


class Remote:
    """The files below a URL.

    Parameters
    ----------
    name : str
        Of the endpoint, for messages.
    root : str
        URL.
    """

    def __init__(self, name: str, root: str) -> None:
        self.name, self.root = name, root
        self.protocol = protocol_of(root)
        self._opened: tuple[Any, str] | None = None
        self._opening = threading.Lock()

    def url(self, path: str) -> str:
        """Give the place of a file, for messages."""
        return shown(self.root, path)

    def size(self, path: str) -> int:
        """Give the size of a file [byte]."""

        def ask(system: Any, full: str) -> int:
            size = system.info(full)["size"]
            return len(system.cat_file(full)) if size is None else int(size)

        return self._try(path, ask)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """Read a file, or the bytes of it from start until before end.

        Raises
        ------
        EOFError
            If it ends before the start.
        """

        def read(system: Any, full: str) -> bytes:
            if self.protocol.ranges or start is None or end is None:
                content: bytes = system.cat_file(full, start=start, end=end)
                return content
            with system.open(full, "rb") as stream:
                stream.seek(start)
                part: bytes = stream.read(end - start)
                return part

        return self._try(path, read)

    def cat_ranges(
        self, paths: Sequence[str], starts: Sequence[int], ends: Sequence[int]
    ) -> list[bytes]:
        """Read several parts of files, together where the library can."""
        if not self.protocol.ranges or len(set(paths)) != 1:
            wanted = zip(paths, starts, ends, strict=True)
            return [self.cat_file(path, start, end) for path, start, end in wanted]

        def read(system: Any, full: str) -> list[bytes]:
            every = [full] * len(paths)
            parts: list[bytes] = system.cat_ranges(
                every, list(starts), list(ends), on_error="raise"
            )
            return parts

        return self._try(paths[0], read)

    def get_file(self, path: str, local: str) -> None:
        """Copy a file to a path on this disk."""

        def fetch(system: Any, full: str) -> None:
            try:
                system.get_file(full, local)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(local)  # noqa: PTH108
                raise

        self._try(path, fetch)

    def pieces(self, path: str, size: int, start: int = 0) -> Iterator[bytes]:
        """Read a file from a byte on, piece by piece; each piece is tried again by itself.

        Parameters
        ----------
        size : int
            That the file should have [byte]; of one that is longer, a byte more is read, and of
            one that is shorter what there is.
        """
        if size == 0:  # no server has a range of nothing
            yield b"?" * min(1, self.size(path))
        elif size > _PIECE and not self._gives_parts(path):
            yield from self._streamed(path, start)
            return
        while start < size:
            end = start + _PIECE if start + _PIECE < size else size + 1
            try:
                part = self.cat_file(path, start, end)
            except EOFError:
                return
            yield part
            if len(part) != min(end, size) - start:
                return
            start = end

    def _gives_parts(self, path: str) -> bool:
        """Tell whether a server gives parts of files, where not all do."""
        if self.protocol.lists:
            return True

        def ask(system: Any, full: str) -> bool:
            with system.open(full, "rb", cache_type="none") as stream:
                try:
                    stream.seek(1)
                    stream.read(1)
                except ValueError:  # of all but 404, fsspec says so before it has read anything
                    return False
            return True

        return self._try(path, ask)

    def _streamed(self, path: str, start: int) -> Iterator[bytes]:
        with tempfile.NamedTemporaryFile() as copy:
            self.get_file(path, copy.name)
            with open(copy.name, "rb") as stream:  # noqa: PTH123
                stream.seek(start)
                while part := stream.read(_PIECE):
                    yield part

    def checksum(self, path: str, size: int) -> str:
        """Compute the SHA-256 of a file as it is recorded, reading it piece by piece."""
        hashed = hashlib.sha256()
        for part in self.pieces(path, size):
            hashed.update(part)
        return f"sha256:{hashed.hexdigest()}"

    def send(self, local: str, path: str) -> None:
        """Copy a file of this disk to a path; its folder is made.

        Raises
        ------
        EndpointRefuses
            If nothing can be written there.
        """
        if not self.protocol.writes:
            raise EndpointRefuses(
                f"The endpoint '{self.name}' ({shown(self.root)}) can only be read; store at "
                "another one."
            )

        def put(system: Any, full: str) -> None:
            if self.protocol.renames:
                system.makedirs(full.rpartition("/")[0], exist_ok=True)
            system.put_file(local, full)

        self._try(path, put)

    def rename(self, path: str, new: str) -> None:
        """Give a file another name; repeatable."""

        def move(system: Any, full: str) -> None:
            target = full.removesuffix(path) + new
            try:
                if self.root.startswith("dav"):  # its own verb; fsspec would copy and delete
                    system.client.move(full, target, overwrite=True)
                else:
                    system.mv(full, target)
            except Exception:
                if system.exists(full) or not system.exists(target):
                    raise

        self._try(path, move)

    def remove(self, path: str) -> None:
        """Remove a file, unless it is gone already."""
        with suppress(FileNotFoundError):
            self._try(path, lambda system, full: system.rm_file(full))

    def list(self) -> dict[str, Listed]:
        """List all files below the root by their paths there, without `owners.OWNER` in it."""

        def find(system: Any, full: str) -> dict[str, Listed]:
            base = full.strip("/") + "/" if full.strip("/") else ""
            files = {
                name.strip("/").removeprefix(base): Listed(int(info["size"]), _modified(info))
                for name, info in system.find(full or "/", detail=True).items()
            }
            files.pop(OWNER, None)
            return files

        with suppress(FileNotFoundError):
            return self._try("", find)
        return {}

    def _open(self) -> tuple[Any, str]:
        with self._opening:
            if self._opened is None:
                self._opened = opened(self.root)
            return self._opened

    def _try(self, path: str, action: Callable[[Any, str], _T]) -> _T:
        """Do something to a file; again when the server was away, then tell why not.

        Raises
        ------
        FileNotFoundError, EndpointRefuses, EndpointAway, StorageFull
        """
        tries = 0
        while True:
            system = None
            try:
                system, base = self._open()
                return action(system, f"{base}/{path}" if path and base else path or base)
            except (EndpointAway, EndpointRefuses, StorageFull, *_OWN):
                raise
            except Exception as error:
                told = self._told(path, error)
                if not isinstance(told, EndpointAway) or tries == len(PAUSES):
                    raise told from error
                self._drop(system)
                time.sleep(PAUSES[tries])
                tries += 1

    def _drop(self, system: Any) -> None:
        """Let go of connections that may be dead, unless another thread has done so."""
        with self._opening:
            if self._opened is None or self._opened[0] is not system:
                return
            self._opened = None
        if self.root.startswith("dav"):
            system.client.http.close()

    def _told(self, path: str, error: Exception) -> Exception:
        """Say in a sentence what went wrong."""
        from registry.errors import SkyspineError

        if isinstance(error, SkyspineError):
            return error
        place = self.url(path)
        cause = error.__cause__
        if isinstance(error, FileNotFoundError):
            absent = isinstance(cause, FileNotFoundError) or getattr(cause, "status", 0) in _ABSENT
            told = isinstance(cause, OSError) or hasattr(cause, "status")
            if absent or not told or not isinstance(cause, Exception):
                return FileNotFoundError(errno.ENOENT, "is not there", place)
            error = cause  # fsspec says of each HTTP server that is away that the file is not there
        what = f"{type(error).__name__}: {' '.join(str(error).split()) or 'no reason given'}"
        status = getattr(error, "status", None) or getattr(error, "status_code", None)
        number = getattr(error, "errno", None)
        if (
            status == 507
            or number in (errno.ENOSPC, errno.EDQUOT)
            or _is(error, "InsufficientStorage")
        ):
            return StorageFull(
                f"The endpoint '{self.name}' has no room for {place} ({what}). Nothing was "
                "changed; make room there, or store at another endpoint."
            )
        if status == 416 or (number == errno.EINVAL and "range" in str(error)):
            return EOFError(f"{place} ends before the bytes that were asked for ({what}).")
        if (
            isinstance(error, PermissionError)
            or status in _REFUSALS
            or number == errno.EINVAL  # S3's answer to HEAD says no more than "Bad Request"
            or _is(error, *_REFUSED_NAMES)
        ):
            return EndpointRefuses(
                f"The endpoint '{self.name}' refuses {place} ({what}); check that the "
                "credentials there are known, have not expired, and allow this."
            )
        return EndpointAway(
            f"The endpoint '{self.name}' does not give or take {place} ({what}; tried "
            f"{len(PAUSES) + 1} times); check that its server answers: skyspine endpoint check "
            f"REPO {self.name}"
        )


def _is(error: BaseException, *names: str) -> bool:
    return any(kind.__name__ in names for kind in type(error).__mro__)


def _modified(info: dict[str, Any]) -> dt.datetime | None:
    import datetime as dt

    for key in ("LastModified", "mtime", "modified", "created"):
        found = info.get(key)
        if isinstance(found, int | float):
            return dt.datetime.fromtimestamp(found, dt.UTC)
        if isinstance(found, dt.datetime):
            return found if found.tzinfo else found.replace(tzinfo=dt.UTC)
    return None


@functools.lru_cache(maxsize=512)
def _remote(name: str, root: str, process: int) -> Remote:  # noqa: ARG001 (a key)
    return Remote(name, root)


def remote(name: str, root: str) -> Remote:
    """Open an endpoint's URL, once in a process: connections are not shared with a fork."""
    return _remote(name, root, os.getpid())
