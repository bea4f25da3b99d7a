"""How is a file's checksum had without reading the file a second time?

`HashedStream` stands between who writes a file and the file: what is written is hashed by a thread
of its own, while the system takes it and the writer makes the next piece.  Who goes back in the
file and writes there again (zip archives do) costs one reading of the file at the end.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Buffer

__all__ = ["KEPT", "HashedStream"]

KEPT = 3
"""Pieces that may still be hashed when `HashedStream.write_kept` returns."""
_LARGE = 1 << 16
"""Bytes from which on pieces are worth a hand-over to another thread."""
_MOST = 1 << 22
"""Bytes that may wait for that thread, if they are of more than one piece."""


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
        self._small: list[bytes] = []
        self._small_size = 0
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
        if self._follows():
            if view.nbytes < _LARGE:
                self._collect(data if isinstance(data, bytes) else bytes(view))
            else:
                self._hand_over(view)
        self._put(view)
        if not isinstance(data, bytes):
            self._wait(0)
        return view.nbytes

    def write_kept(self, data: Buffer) -> None:
        """Write data that the caller does not change before `KEPT` further pieces are written.

        The caller may prepare these in other buffers while this one is hashed.
        """
        view = memoryview(data).cast("B")
        if view.nbytes < _LARGE or not self._follows():
            self.write(view)
            return
        self._hand_over(view)
        self._put(view)
        self._wait(KEPT)

    def size_and_checksum(self) -> tuple[int, str]:
        """Give the size [byte] and the SHA-256 of what was written, as they are recorded."""
        self._give_small()
        self._wait(0)
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

    def _collect(self, piece: bytes) -> None:
        """Keep a small piece until there are enough for a hand-over."""
        self._small.append(piece)
        self._small_size += len(piece)
        self._hashed += len(piece)
        if self._small_size >= _LARGE:
            self._give_small()

    def _give_small(self) -> None:
        if not self._small:
            return
        pieces, size = self._small, self._small_size
        self._small, self._small_size = [], 0
        if self._worker is None and size < _LARGE:  # a file that is worth no thread
            self._hash.update(b"".join(pieces))
            return
        self._give(pieces, size)

    def _hand_over(self, view: memoryview) -> None:
        self._give_small()
        self._give([view], view.nbytes)
        self._hashed += view.nbytes

    def _give(self, pieces: Sequence[Buffer], size: int) -> None:
        if self._worker is None:
            self._worker = _Worker(self._hash.update)
        self._worker.do(pieces, size)

    def _wait(self, left: int) -> None:
        if self._worker is not None:
            self._worker.wait(left)

    def _put(self, view: memoryview) -> None:
        while view:
            view = view[self._file.write(view) :]


class _Worker:
    """A thread that does one thing to each of the pieces that it is given, in their order."""

    def __init__(self, action: Callable[[Buffer], object]) -> None:
        self._action = action
        self._given: SimpleQueue[Sequence[Buffer] | None] = SimpleQueue()
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._sizes: deque[int] = deque()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def do(self, pieces: Sequence[Buffer], size: int) -> None:
        while self._sizes and sum(self._sizes) + size > _MOST:
            self._wait_for_one()
        self._sizes.append(size)
        self._given.put(pieces)

    def wait(self, left: int) -> None:
        """Wait until no more than so many hand-overs are left."""
        while len(self._sizes) > left:
            self._wait_for_one()

    def stop(self) -> None:
        self._given.put(None)
        self._thread.join()

    def _wait_for_one(self) -> None:
        failed = self._done.get()
        self._sizes.popleft()
        if failed is not None:
            raise failed

    def _run(self) -> None:
        while (pieces := self._given.get()) is not None:
            try:
                for piece in pieces:
                    self._action(piece)
            except BaseException as error:  # noqa: BLE001 (raised where it is waited for)
                self._done.put(error)
            else:
                self._done.put(None)
