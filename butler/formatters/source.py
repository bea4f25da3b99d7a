"""Where does a formatter read from: this disk, a URL, or a file that is open already?

`Source` is what a formatter's `load` is given.  Behind a URL, `open` gives a file of which only the
ranges that are asked for are fetched (through fsspec: HTTP, S3 and whatever else it knows), and
`local` a copy on this disk.  Where copies of datasets lie is the backbone's affair.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TextIO, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from butler.errors import DamagedFile, ReadFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from typing_extensions import Buffer

    from backbone.remote import Remote

__all__ = ["RemoteFile", "Source", "prefetch"]

_URL = re.compile(r"[a-z][a-z0-9+.\-]+(::|://)")
_BLOCK = 1 << 15
"""Bytes that are fetched at least: headers come whole, and no more than a few tiles too much."""
_GAP = 1 << 12
"""Ranges that lie nearer to each other [byte] are fetched as one."""
_KEPT = 1 << 22
"""Pieces that are read at once and are longer [byte] are not kept: nobody reads them again."""


class Source:
    """A file to be read.

    Parameters
    ----------
    place : path-like, str or binary file
        A path, a URL that fsspec knows, or a file that is open for reading and can seek.
    options : mapping, optional
        What fsspec needs to know of a URL: keys, end points, ...

    Attributes
    ----------
    name : str
        For messages.
    path : str or None
        On this disk; None for what does not lie there.
    fetched : int
        Bytes that came from a URL so far.
    """

    def __init__(
        self,
        place: str | os.PathLike[str] | BinaryIO,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._opened: BinaryIO | None = None
        self._at_endpoint: tuple[Remote, str] | None = None
        self._size: int | None = None
        self._kept: Callable[[], AbstractContextManager[Path | None]] | None = None
        self.fetched = 0
        self._options = dict(options or {})
        self.path: str | None = None
        if isinstance(place, str | os.PathLike):
            self.name = os.fspath(place)
            if not _URL.match(self.name):
                self.path = self.name
            elif self.name.startswith("file://"):
                self.path = url2pathname(urlsplit(self.name).path)
        else:
            self._opened = place
            told = getattr(place, "full_name", None) or getattr(place, "name", None)
            self.name = told if isinstance(told, str) else "the open file"

    @classmethod
    def behind(
        cls,
        endpoint: Remote,
        path: str,
        size: int,
        kept: Callable[[], AbstractContextManager[Path | None]] | None = None,
    ) -> Self:
        """Take a file at an endpoint of the backbone, of which the size is recorded.

        Parameters
        ----------
        endpoint : Remote
            Where it lies.
        path : str
            Below its root.
        size : int
            As recorded [byte]; one of another size is no whole file.
        kept : callable, optional
            Gives a copy on this disk for as long as it is read, or None.
        """
        source = cls(endpoint.url(path))
        source._at_endpoint, source._size, source._kept = (endpoint, path), size, kept
        return source

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the file for reading; it can seek.

        A file that came open is at its beginning, and stays open.

        Raises
        ------
        ReadFailed
            The library for this kind of URL is not installed.
        """
        if self.path is not None:
            with Path(self.path).open("rb") as stream:
                yield stream
        elif self._opened is not None:
            self._opened.seek(0)
            yield self._opened
        else:
            with self._remote() as remote:
                try:
                    yield cast("BinaryIO", remote)
                finally:
                    self.fetched += remote.fetched

    @contextmanager
    def local(self) -> Iterator[str]:
        """Give the path of the file on this disk, or of a copy of it that goes at the end."""
        if self.path is not None:
            yield self.path
            return
        with nullcontext() if self._kept is None else self._kept() as kept:
            if kept is not None:
                yield str(kept)
                return
        suffix = "".join(Path(self.name.partition("?")[0]).suffixes[-2:])
        with tempfile.NamedTemporaryFile(suffix=suffix) as copy:
            if self._opened is not None:
                shutil.copyfileobj(self._opened, copy, 1 << 20)
                copy.flush()
            else:
                system, path = self._place()
                system.get_file(path, copy.name)
                self._compare(Path(copy.name).stat().st_size)
            yield copy.name

    @contextmanager
    def text(self) -> Iterator[TextIO]:
        """Open the file as text in UTF-8."""
        with self.open() as stream:
            reader = io.TextIOWrapper(stream, encoding="utf-8")
            try:
                yield reader
            finally:
                reader.detach()

    def read_bytes(self) -> bytes:
        """Read all of it."""
        with self.open() as stream:
            return stream.read()

    def _remote(self) -> RemoteFile:
        system, path = self._place()
        size = system.size(path)
        self._compare(size)
        if size is None:
            content = system.cat_file(path)
            return RemoteFile(system, path, len(content), content)
        return RemoteFile(system, path, size)

    def _compare(self, size: int | None) -> None:
        """See that the file has the size that was recorded of it, if any was."""
        if self._size is not None and size != self._size:
            raise DamagedFile(
                f"{self.name} has {size} bytes, and {self._size} were recorded: it was changed "
                "behind the registry's back. Fetch it again, or read another copy of the dataset.",
                path=self.name,
            )

    def _place(self) -> tuple[Any, str]:
        if self._at_endpoint is not None:
            return self._at_endpoint
        import fsspec

        try:
            system, path = fsspec.core.url_to_fs(self.name, **self._options)
        except (ImportError, ValueError) as error:
            raise ReadFailed(
                f"{self.name} cannot be read: {' '.join(str(error).split())}; install what reads "
                "such URLs, for example with: pip install 'skyspine[remote]'.",
                path=self.name,
            ) from error
        return system, path


def prefetch(stream: object, ranges: Iterable[tuple[int, int]]) -> None:
    """Fetch ranges of a file together if it is a `RemoteFile`; else do nothing."""
    raw = getattr(stream, "raw", stream)
    if isinstance(raw, RemoteFile):
        raw.prefetch(ranges)


class RemoteFile(io.RawIOBase):
    """A file behind a URL, of which only what is read is fetched, once.

    Parameters
    ----------
    system : fsspec file system
        That of the URL.
    path : str
        In it.
    size : int
        Of the file [byte].
    content : bytes, optional
        All of it, when it could only be had so.

    Attributes
    ----------
    fetched : int
        Bytes that came so far.
    """

    def __init__(self, system: Any, path: str, size: int, content: bytes | None = None) -> None:
        self.system, self.path, self.size = system, path, size
        self.fetched = len(content or b"")
        self._at = 0
        self._parts: dict[int, bytes] = {} if content is None else {0: content}

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that any place of the file can be gone to."""
        return True

    def tell(self) -> int:
        """Give the place in the file."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place in the file; nothing is fetched for that."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Buffer, /) -> int:
        """Read from here on, from what is there already or from afar."""
        view = memoryview(buffer).cast("B")
        n_bytes = min(view.nbytes, self.size - self._at)
        if n_bytes <= 0:
            return 0
        start, part = self._part(self._at) or self._fetch(self._at, self._at + n_bytes)
        found = part[self._at - start : self._at - start + n_bytes]
        view[: len(found)] = found
        self._at += len(found)
        return len(found)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read so many bytes, or all that remain; fewer only at the end of the file."""
        left = self.size - self._at
        n_bytes = left if size is None or size < 0 else min(size, left)
        buffer = bytearray(max(0, n_bytes))
        view, done = memoryview(buffer), 0
        while done < n_bytes and (got := self.readinto(view[done:])):
            done += got
        return bytes(view[:done])

    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Fetch ranges together, those that are near to each other as one.

        Parameters
        ----------
        ranges : iterable of (int, int)
            Beginning and end [byte].
        """
        merged: list[list[int]] = []
        for start, end in sorted((a, min(b, self.size)) for a, b in ranges if self._lacks(a, b)):
            if merged and start <= merged[-1][1] + _GAP:
                merged[-1][1] = max(merged[-1][1], end)
            elif start < end:
                merged.append([start, end])
        if not merged:
            return
        starts, ends = [r[0] for r in merged], [r[1] for r in merged]
        for start, part in zip(
            starts, self.system.cat_ranges([self.path] * len(starts), starts, ends), strict=True
        ):
            if isinstance(part, Exception):
                raise part
            self._keep(start, part)

    def _lacks(self, start: int, end: int) -> bool:
        found = self._part(start)
        return found is None or found[0] + len(found[1]) < min(end, self.size)

    def _part(self, at: int) -> tuple[int, bytes] | None:
        if at in self._parts:
            return at, self._parts[at]
        for start, part in self._parts.items():
            if start <= at < start + len(part):
                return start, part
        return None

    def _fetch(self, start: int, end: int) -> tuple[int, bytes]:
        end = min(max(end, start + _BLOCK), self.size)
        part = self.system.cat_file(self.path, start=start, end=end)
        if len(part) == self.size > end - start:
            start = 0  # a server that knows no ranges sends all of it, once
        elif len(part) < end - start:
            raise EOFError(f"it ended at byte {start + len(part)} of {self.size}")
        elif len(part) > _KEPT:
            self.fetched += len(part)
            return start, part
        return self._keep(start, part)

    def _keep(self, start: int, part: bytes) -> tuple[int, bytes]:
        self.fetched += len(part)
        self._parts[start] = part
        return start, part
