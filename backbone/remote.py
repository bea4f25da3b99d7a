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
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from backbone.errors import EndpointAway, EndpointRefuses, StorageFull
from backbone.protocols import opened, protocol_of, shown

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

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
        """Read a file, or the bytes of it from start until before end."""

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

    def checksum(self, path: str, size: int) -> str:
        """Compute the SHA-256 of a file as it is recorded, reading it piece by piece."""
        hashed = hashlib.sha256()
        for start in range(0, size, _PIECE):
            hashed.update(self.cat_file(path, start, min(size, start + _PIECE)))
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
            target = self._full(new)
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
        """List all files below the root, by their paths there."""

        def find(system: Any, full: str) -> dict[str, Listed]:
            base = full.strip("/") + "/" if full.strip("/") else ""
            return {
                name.strip("/").removeprefix(base): Listed(int(info["size"]), _modified(info))
                for name, info in system.find(full or "/", detail=True).items()
            }

        with suppress(FileNotFoundError):
            return self._try("", find)
        return {}

    def _full(self, path: str) -> str:
        if self._opened is None:
            self._opened = opened(self.root)
        base = self._opened[1]
        return f"{base}/{path}" if path and base else path or base

    def _try(self, path: str, action: Callable[[Any, str], _T]) -> _T:
        """Do something to a file; again when the server was away, then tell why not.

        Raises
        ------
        FileNotFoundError, EndpointRefuses, EndpointAway, StorageFull
        """
        tries = 0
        while True:
            try:
                full = self._full(path)
                assert self._opened is not None  # noqa: S101 (_full has opened it)
                return action(self._opened[0], full)
            except (EndpointAway, EndpointRefuses, StorageFull, *_OWN):
                raise
            except Exception as error:
                told = self._told(path, error)
                if not isinstance(told, EndpointAway) or tries == len(PAUSES):
                    raise told from error
                self._drop()
                time.sleep(PAUSES[tries])
                tries += 1

    def _drop(self) -> None:
        """Let go of connections that may be dead."""
        if self._opened is not None and self.root.startswith("dav"):
            self._opened[0].client.http.close()
        self._opened = None

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


@functools.lru_cache(maxsize=64)
def _remote(name: str, root: str, process: int) -> Remote:  # noqa: ARG001 (a key)
    return Remote(name, root)


def remote(name: str, root: str) -> Remote:
    """Open an endpoint's URL, once in a process: connections are not shared with a fork."""
    return _remote(name, root, os.getpid())
