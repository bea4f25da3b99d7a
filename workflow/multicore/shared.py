"""How do processes of one machine work on the same array without copying it?

A `SharedArray` is memory with a name that other processes attach. Whoever made it removes it, when
its block ends or its process does; what a killed process left behind is removed when the next one
is made.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import secrets
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from workflow.multicore.errors import NoSharedMemory

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import DTypeLike, NDArray

__all__ = ["SharedArray", "sweep"]

_MEMORY = Path("/dev/shm")  # noqa: S108 (files there are memory)
_NAME = re.compile(r"skyspine-array-(\d+)-(\d+)-[0-9a-f]+")


class SharedArray:
    """An array in memory that other processes can attach.

    Make one with `create` or `copy_of`; it is removed when the ``with`` block ends. Pickled, it
    becomes the same memory in the other process.

    Attributes
    ----------
    array : numpy.ndarray
        The values; not to be used when the array was removed.
    """

    def __init__(self, name: str, shape: tuple[int, ...], dtype: DTypeLike, *, own: bool) -> None:
        self.name = name
        self._path = _folder() / name
        self._described = (tuple(shape), np.dtype(dtype).str)
        size = max(1, int(np.prod(shape)) * np.dtype(dtype).itemsize)
        with _opened(self._path, size, new=own) as file:
            memory = mmap.mmap(file.fileno(), size)
        self.array: NDArray[Any] = np.frombuffer(
            memory, dtype=dtype, count=int(np.prod(shape))
        ).reshape(shape)
        self._remove = weakref.finalize(self, _remove, self._path, os.getpid()) if own else None

    @classmethod
    def create(cls, shape: tuple[int, ...], dtype: DTypeLike = float) -> Self:
        """Make an array of zeros.

        Raises
        ------
        NoSharedMemory
            If there is no room for it.
        TypeError
            If its values would be objects.
        """
        if np.dtype(dtype).hasobject:
            raise TypeError("Objects cannot lie in shared memory; use numbers.")
        sweep()
        name = f"skyspine-array-{_namespace()}-{os.getpid()}-{secrets.token_hex(6)}"
        return cls(name, shape, dtype, own=True)

    @classmethod
    def copy_of(cls, array: NDArray[Any]) -> Self:
        """Make an array with the values of another."""
        made = cls.create(array.shape, array.dtype)
        made.array[...] = array
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _attached, (self.name, *self._described)

    def remove(self) -> None:
        """Give the memory back as soon as nobody uses it any more; only its maker may."""
        if self._remove is not None:
            self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()


def sweep() -> list[str]:
    """Remove what killed processes of this machine left behind; give the names."""
    gone = []
    for path in _folder().glob("skyspine-array-*"):
        match = _NAME.fullmatch(path.name)
        if match and int(match[1]) == _namespace() and not _lives(int(match[2])):
            with suppress(OSError):  # another process was quicker, or it is not ours
                path.unlink()
                gone.append(path.name)
    return gone


_attachments: dict[str, SharedArray] = {}
_KEPT = 16


def _attached(name: str, shape: tuple[int, ...], dtype: str) -> SharedArray:
    """Attach an array once per process, however often it travels there."""
    if name not in _attachments:
        while len(_attachments) >= _KEPT:
            del _attachments[next(iter(_attachments))]
        _attachments[name] = SharedArray(name, shape, dtype, own=False)
    return _attachments[name]


def _opened(path: Path, size: int, *, new: bool) -> Any:
    flags = os.O_RDWR | (os.O_CREAT | os.O_EXCL if new else 0)
    descriptor = os.open(path, flags, 0o600)
    if new:
        try:
            os.posix_fallocate(descriptor, 0, size)  # or the first write would kill the process
        except OSError as error:
            os.close(descriptor)
            path.unlink()
            if error.errno != errno.ENOSPC:
                raise
            raise NoSharedMemory(
                f"There is no room in {path.parent} for an array of {size / 2**20:.0f} MiB: use "
                "smaller tiles, or threads, or enlarge it."
            ) from error
    return os.fdopen(descriptor, "r+b")


def _remove(path: Path, pid: int) -> None:
    if pid == os.getpid():  # not in a child that was forked
        with suppress(FileNotFoundError):
            path.unlink()


def _folder() -> Path:
    return _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())


def _namespace() -> int:
    """Name the set of processes whose numbers mean the same."""
    with suppress(OSError):
        return Path("/proc/self/ns/pid").stat().st_ino
    return 0


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
