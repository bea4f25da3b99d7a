"""Which files of servers are kept on this disk, so that they are not fetched again?

A folder holds them under the names of their checksums, for all processes and repositories of a
machine, up to so many bytes; the least recently used goes first.  One process fetches a file while
others wait for it; what somebody reads is locked, and is not removed.  A kill leaves a part, which
is gone on with, and no file that is not whole.  Where nothing can be kept (no room, no permission),
files are read where they lie, and a warning says why.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import time
from collections import OrderedDict
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from backbone.errors import BackboneError, StorageFull
from backbone.fetching import bring
from backbone.staging import PART, StagedFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backbone.files import Stored

__all__ = ["CacheInfo", "FileCache"]

_log = logging.getLogger("skyspine.backbone")
_LOCK = ".lock"
_USAGE = "usage.json"
_SPARED = 0.9
"""Part of the bound that is left when room is made, so that it is not made for each file."""
_COUNT_AGAIN = 600.0
"""What is there is counted again after so long [s]: killed processes did not tell what they did."""
_PATIENCE = 30.0
"""How long another process's fetch may stand still before its file is read elsewhere [s]."""
_POLL = 0.02
SMALL = 1 << 22
"""Files up to this size are fetched whole, though only a part is asked for [byte]."""
_MOST_KNOWN = 10_000
"""Files of which a process knows how much it has read in parts."""


@dataclass(slots=True)
class CacheInfo:
    """What a cache holds, and what came of it since it was cleared.

    Parameters
    ----------
    files, bytes : int
        Kept now; their size [byte].
    limit : int
        Most that is kept [byte].
    hits, misses : int
        Reads of a file that was there, and that was fetched.
    bypassed : int
        Reads of files that could not be kept: too large, without a checksum, or no room.
    evicted : int
        Files that were removed to make room.
    bytes_hit, bytes_fetched : int
        Size of what was read from here, and of what was fetched [byte].
    """

    files: int = 0
    bytes: int = 0
    limit: int = 0
    hits: int = 0
    misses: int = 0
    bypassed: int = 0
    evicted: int = 0
    bytes_hit: int = 0
    bytes_fetched: int = 0

    @property
    def hit_rate(self) -> float | None:
        """Hits among all reads; None when there was none."""
        reads = self.hits + self.misses + self.bypassed
        return self.hits / reads if reads else None


@dataclass(slots=True)
class _Usage(CacheInfo):
    """What all processes have told, as it lies in the folder."""

    counted: float = 0.0


class FileCache:
    """Files of servers that are kept in a folder.

    Parameters
    ----------
    folder : Path
        Made when it does not exist; of this cache alone.
    limit : int
        Most that is kept [byte].
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._seen: set[tuple[int, int, int]] = set()
        self._told = False
        self._in_parts: OrderedDict[str, int] = OrderedDict()

    @contextmanager
    def reading(self, copy: Stored) -> Iterator[Path | None]:
        """Give a file that lies behind a URL on this disk, where nothing removes it meanwhile.

        Gives None when it cannot be kept.

        Raises
        ------
        ChangedFile, EndpointAway, EndpointRefuses
            If it is not kept, and its endpoint does not give it.
        """
        held = self.hit(copy)
        if held is None:
            held = self._fetched(copy)
        try:
            yield None if held is None else self.place(copy)
        finally:
            if held is not None:
                os.close(held)

    def wants(self, copy: Stored, *, part: bool) -> bool:
        """Tell whether a file is to be read from here, fetched whole if it is not kept.

        One that is asked for a part is when it is kept, is small, or when this process has read as
        much of it in parts as it has bytes: no more than twice what was needed is fetched.
        """
        if (
            not part
            or copy.size <= SMALL
            or self._in_parts.get(copy.checksum or copy.path, 0) >= copy.size
        ):
            return True
        return copy.checksum is not None and self.place(copy).exists()

    def read_in_parts(self, copy: Stored, n_bytes: int) -> None:
        """Take note that parts of a file were fetched past the cache."""
        self._in_parts[copy.checksum or copy.path] = (
            self._in_parts.pop(copy.checksum or copy.path, 0) + n_bytes
        )
        if len(self._in_parts) > _MOST_KNOWN:
            self._in_parts.popitem(last=False)

    def place(self, copy: Stored) -> Path:
        """Give the place that a file has here when it is kept."""
        name = (copy.checksum or "").partition(":")[2]
        return self.folder / name[:2] / f"{name}-{copy.size}"

    def hit(self, copy: Stored) -> int | None:
        """Open a file that is kept, whole, so that it stays; give the descriptor to be closed."""
        if copy.checksum is None:
            return None
        held = self._open_whole(copy)
        if held is not None:
            self._tell(hits=1, bytes_hit=copy.size)
        return held

    def _open_whole(self, copy: Stored) -> int | None:
        place = self.place(copy)
        try:
            held = os.open(place, os.O_RDONLY)
        except OSError:
            return None
        try:
            fcntl.flock(held, fcntl.LOCK_SH)
            found = os.fstat(held)
            if found.st_nlink and self._is_whole(held, found, copy):
                with suppress(PermissionError):  # another user's, in a shared folder
                    os.utime(held, ns=(time.time_ns(), found.st_mtime_ns))
                return held
            if found.st_nlink:
                _log.warning("%s is not what was fetched; it is fetched again.", place)
                place.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s cannot be read: %s", place, error.strerror or error)
        os.close(held)
        return None

    def _is_whole(self, held: int, found: os.stat_result, copy: Stored) -> bool:
        """Compare size and checksum; the latter once in a process, as long as nobody wrote."""
        if found.st_size != copy.size:
            return False
        state = (found.st_ino, found.st_mtime_ns, found.st_size)
        if state not in self._seen:
            with os.fdopen(os.dup(held), "rb") as stream:
                if f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}" != copy.checksum:
                    return False
            self._seen.add(state)
        return True

    def _fetched(self, copy: Stored) -> int | None:
        """Fetch a file, unless another process does or has done, and open it."""
        held: int | None = None
        far: list[Exception] = []
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if copy.checksum is not None and copy.size <= self.limit * _SPARED:
                held = self._fetched_alone(copy, far)
        except OSError as error:
            self._warn(error)
        if far:
            raise far[0]
        if held is None:
            self._tell(bypassed=1)
        return held

    def _fetched_alone(self, copy: Stored, far: list[Exception]) -> int | None:
        """Fetch a file when no other process does; what its endpoint has against it goes into far.

        Raises
        ------
        OSError
            If nothing can be written here.
        """
        staged = StagedFile(self.folder, str(self.place(copy).relative_to(self.folder)))
        with self._alone(staged) as mine:
            held = self._open_whole(copy)  # another process was quicker
            if held is not None:
                self._tell(hits=1, bytes_hit=copy.size)
                return held
            if not mine or not self._room(copy.size):
                return None
            try:
                bring([copy], self.folder, staged)
                held = os.open(staged.temporary, os.O_RDONLY)
                staged.release()
                fcntl.flock(
                    held, fcntl.LOCK_SH
                )  # from when it has its name on, others may evict it
                staged.settle()
            except BackboneError as error:
                self._tell(bytes=-copy.size)
                if isinstance(error, StorageFull):
                    raise
                far.append(error)
                return None
            self._tell(misses=1, bytes_fetched=copy.size, files=1)
            return held

    @contextmanager
    def _alone(self, staged: StagedFile) -> Iterator[bool]:
        """Keep other processes from fetching a file; False when one does, and stands still."""
        path = staged.final.with_name(f".{staged.final.name}{_LOCK}")
        lock = _locked(path, staged.temporary)
        try:
            yield lock is not None
        finally:
            if lock is not None:
                path.unlink(missing_ok=True)
                os.close(lock)

    def _room(self, wanted: int) -> bool:
        """Make room for a file, and count it in; tell whether there is."""
        with self._usage() as usage:
            stale = not 0 <= time.time() - usage.counted < _COUNT_AGAIN
            if stale or usage.bytes + wanted > self.limit:
                self._count(usage)
                if usage.bytes + wanted > self.limit:
                    self._evict(usage, int(self.limit * _SPARED) - wanted)
            if usage.bytes + wanted > self.limit:
                return False
            usage.bytes += wanted
            return True

    def _count(self, usage: CacheInfo) -> list[tuple[int, int, Path]]:
        """Count what is there; give last use, size and place of each file."""
        found: list[tuple[int, int, Path]] = []
        for place in self.folder.glob("??/*-*"):
            with suppress(OSError, ValueError):
                size = int(place.name.removesuffix(PART).rpartition("-")[2])
                if not place.name.endswith(_LOCK):
                    found.append((place.stat().st_atime_ns, size, place))
        usage.bytes = sum(size for _, size, _ in found)
        usage.files = sum(not place.name.endswith(PART) for *_, place in found)
        if isinstance(usage, _Usage):
            usage.counted = time.time()
        return found

    def _evict(self, usage: CacheInfo, left: int) -> None:
        """Remove what was not used for longest and is not in use, until so much is left."""
        for _, size, place in sorted(self._count(usage)):
            if usage.bytes <= left:
                return
            if _removed(place):
                usage.bytes -= size
                if not place.name.endswith(PART):
                    usage.files -= 1
                    usage.evicted += 1

    def info(self) -> CacheInfo:
        """Tell what is kept, and what all processes have read since it was cleared."""
        with self._usage() as usage:
            self._count(usage)
        told = asdict(usage)
        return CacheInfo(**{f.name: told[f.name] for f in fields(CacheInfo)})

    def clear(self) -> CacheInfo:
        """Remove all that is not being read, and begin to count anew; give what was removed."""
        removed = CacheInfo(limit=self.limit)
        with self._usage() as usage:
            for _, size, place in self._count(usage):
                if _removed(place):
                    removed.bytes += size
                    removed.files += not place.name.endswith(PART)
            for field in fields(CacheInfo):
                setattr(usage, field.name, 0)
            self._count(usage)
        return removed

    def _tell(self, **more: int) -> None:
        """Add to what all processes count."""
        with self._usage() as usage:
            for name, n in more.items():
                setattr(usage, name, getattr(usage, name) + n)

    @contextmanager
    def _usage(self) -> Iterator[_Usage]:
        """Read the counts, and write them when they have changed; one process at a time."""
        usage = _Usage(limit=self.limit)
        try:
            lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:  # no folder: nothing is kept
            yield usage
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            path = self.folder / _USAGE
            with suppress(OSError, ValueError, TypeError, KeyError):
                told = json.loads(path.read_bytes())
                counts = {f.name: int(told[f.name]) for f in fields(CacheInfo)}
                usage = _Usage(**counts, counted=float(told["counted"]))
            usage.limit = self.limit
            before = asdict(usage)
            yield usage
            if asdict(usage) != before:
                part = path.with_suffix(PART)
                try:
                    part.write_text(json.dumps(asdict(usage)))
                    part.replace(path)
                except OSError as error:
                    self._warn(error)
        finally:
            os.close(lock)

    def _warn(self, error: OSError) -> None:
        """Say once in a process that nothing can be kept."""
        if not self._told:
            self._told = True
            _log.warning(
                "Files cannot be kept in the cache %s (%s); they are read where they lie.",
                self.folder,
                error.strerror or error,
            )


def _locked(path: Path, growing: Path) -> int | None:
    """Lock a file that goes when its work is done; None when its holder stands still."""
    size, since = -1, time.monotonic()
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            with suppress(FileNotFoundError):
                if size != (size := growing.stat().st_size):
                    since = time.monotonic()
            if time.monotonic() - since > _PATIENCE:
                return None
            time.sleep(_POLL)
            continue
        if os.fstat(lock).st_nlink:
            return lock
        os.close(lock)  # it was another one's, which is done


def _removed(place: Path) -> bool:
    """Remove a file, or a part of one, unless somebody reads or fetches it."""
    lock_of = place
    if place.name.endswith(PART):
        lock_of = place.with_name(place.name.removesuffix(PART) + _LOCK)
    try:
        lock = os.open(lock_of, os.O_RDWR | os.O_CREAT if lock_of != place else os.O_RDONLY, 0o600)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        place.unlink(missing_ok=True)
        if lock_of != place:
            lock_of.unlink(missing_ok=True)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True
