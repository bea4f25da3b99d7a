"""How does a test get a disk that is small enough to be filled?

As root a memory file system of some megabytes is mounted.  Where that may not be done, files of
this process may not grow beyond a limit instead; which of the two it was stands in the name of the
test (`KIND`).
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = 4096


class SmallDisk:
    """A folder whose room can be taken.

    Parameters
    ----------
    folder : Path
        Empty.
    mounted : bool
        Whether it is a small disk of its own.
    """

    def __init__(self, folder: Path, mounted: bool) -> None:
        self.folder = folder
        self._mounted = mounted
        self._ballast = folder / "ballast"

    @contextmanager
    def full_but_for(self, room: int) -> Iterator[None]:
        """Take all the room but so many pages; without a mount, so many for each file."""
        if not self._mounted:
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (room * PAGE, hard))
            try:
                yield
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            return
        status = os.statvfs(self.folder)
        with self._ballast.open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, max(status.f_bavail - room, 1) * PAGE)
        try:
            yield
        finally:
            self._ballast.unlink()


@contextmanager
def small_disk(megabytes: int) -> Iterator[SmallDisk]:
    """Make a small disk, and remove it with all that is on it."""
    with tempfile.TemporaryDirectory(prefix="skyspine-disk-") as name:
        mounted = KIND == MOUNTED and _mount(name, megabytes)
        folder = Path(name, "disk")
        folder.mkdir(mode=0o755)
        Path(name).chmod(0o755)
        try:
            yield SmallDisk(folder, mounted)
        finally:
            if mounted:
                subprocess.run(["umount", "--lazy", name], check=True)


def _mount(folder: str, megabytes: int) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _kind() -> str:
    if os.geteuid():
        return LIMITED
    with tempfile.TemporaryDirectory() as folder:
        if not _mount(folder, 1):
            return LIMITED
        subprocess.run(["umount", folder], check=True)
    return MOUNTED


MOUNTED = "tmpfs"
LIMITED = "file-size-limit"
KIND = _kind()
"""Which of the two this machine allows."""
