"""How is a file's checksum had without reading the file a second time?

`HashedStream` stands between who writes a file and the file: large pieces are hashed by a thread of
its own while the system takes them.  Who goes back in the file and writes there again (zip
archives do) costs one reading of the file at the end.
"""

from __future__ import annotations

import hashlib
import io
import os
import queue
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

__all__ = ["HashedStream"]

_LARGE = 1 << 18
"""Bytes from which on a piece is worth a hand-over to another thread."""


class HashedStream(io.RawIOBase):
    """A new file that is hashed as it is written.

    Parameters
    ----------
    descriptor : int
        Of an empty file that is open for reading and writing; closed with the stream.

    Examples
    --------
    >>> import tempfile
    >>> with HashedStream(tempfile.mkstemp()[0]) as stream:
    ...     _ = stream.write(b"abc")
    ...     size, digest = stream.size_and_checksum()
    >>> size, digest[:15]
    (3, 'sha256:ba7816bf')
    """

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self._hash = hashlib.sha256()
        self._hashed = 0
        self._in_order = True
        self._worker: _Worker | None = None

    def writable(self) -> bool:
        """Say that it can be written."""
        return True

    def readable(self) -> bool:
        """Say that what was written can be read again."""
        return True

    def seekable(self) -> bool:
        """Say that any place of the file can be gone to."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Give the place in the file."""
        return self._file.tell()

    def truncate(self, size: int | None = None, /) -> int:
        """Cut the file, or lengthen it."""
        self._in_order = False
        return self._file.truncate(size)

    def readinto(self, buffer: Buffer, /) -> int:
        """Read again what was written."""
        return self._file.readinto(buffer)

    def write(self, data: Buffer, /) -> int:
        """Write all of the data; they may be changed as soon as this returns.

        Raises
        ------
        OSError
            The disk is full, or refuses.
        """
        view = memoryview(data).cast("B")
        if view.nbytes < _LARGE or not self._follows():
            self._wait()
            self._note(view)
        else:
            self._hand_over(view)
        self._put(view)
        self._wait()
        return view.nbytes

    def write_kept(self, data: Buffer) -> None:
        """Write data that the caller does not change before the stream is closed.

        The caller may prepare the next piece while this one is hashed.
        """
        view = memoryview(data).cast("B")
        if self._follows():
            self._hand_over(view)
        self._put(view)

    def size_and_checksum(self) -> tuple[int, str]:
        """Give the size [byte] and the SHA-256 of what was written, as they are recorded."""
        self._wait()
        size = os.fstat(self._file.fileno()).st_size
        if not self._in_order or size != self._hashed:
            self._file.seek(0)
            self._hash = hashlib.file_digest(self._file, "sha256")
        return size, f"sha256:{self._hash.hexdigest()}"

    def close(self) -> None:
        """Close the file."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        self._file.close()
        super().close()

    def __enter__(self) -> Self:
        return self

    def _follows(self) -> bool:
        """Tell whether the next piece is the next of the file's content."""
        self._in_order = self._in_order and self._file.tell() == self._hashed
        return self._in_order

    def _note(self, view: memoryview) -> None:
        if self._follows():
            self._hash.update(view)
            self._hashed += view.nbytes

    def _hand_over(self, view: memoryview) -> None:
        if self._worker is None:
            self._worker = _Worker(self._hash.update)
        self._worker.do(view)
        self._hashed += view.nbytes

    def _wait(self) -> None:
        if self._worker is not None:
            self._worker.wait()

    def _put(self, view: memoryview) -> None:
        while view:
            view = view[self._file.write(view) :]


class _Worker:
    """A thread that does one thing to each of the pieces that it is given, in their order."""

    def __init__(self, action: Callable[[memoryview], object]) -> None:
        self._action = action
        self._pieces: queue.Queue[memoryview | None] = queue.Queue(maxsize=8)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def do(self, piece: memoryview) -> None:
        self._pieces.put(piece)

    def wait(self) -> None:
        self._pieces.join()

    def stop(self) -> None:
        self._pieces.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            self._action(piece)
            self._pieces.task_done()
