"""How does a file of an export come into a repository?

Under a temporary name, measured on the way; the transaction that records it gives it its own.
A file that an attempt that was killed has left whole is not brought again.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from backbone import fetching, trash
from backbone.errors import StorageFull
from backbone.sending import stage
from backbone.staging import StagedFile, checksum
from butler.errors import ExchangeError, MissingFile, PathOutsideRepository
from butler.exchange.bundle import Archive

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterator, Sequence

    from backbone.endpoints import Endpoint
    from butler.butler import Butler

__all__ = ["Beside", "Brought", "Wanted", "bring_all", "split_name"]


class Beside(Archive):
    """Files beside an export, or wherever it says: its paths may be absolute, or URLs of files."""

    def place(self, name: str) -> Path:
        """Give the place of a file."""
        bare = name.removeprefix("file://")
        return Path(bare) if bare.startswith("/") else self.path / bare

    def size(self, name: str) -> int | None:
        """Tell its size [byte]; None when it is not there."""
        place = self.place(name)
        return place.stat().st_size if place.is_file() else None

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open it for reading."""
        with self.place(name).open("rb") as stream:
            yield stream


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of an export that is to come.

    Parameters
    ----------
    source : str
        Its name in the export.
    named : str
        Path after which it is named here.
    dataset_id : uuid.UUID
        What it holds.
    size : int or None
        As the export says [byte].
    digest : str or None
        Checksum, as the export says.
    """

    source: str
    named: str
    dataset_id: uuid.UUID
    size: int | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Brought:
    """A file that came.

    Parameters
    ----------
    path : str
        Below the root of its endpoint; absolute for one that stays where it is.
    size : int
        [byte].
    digest : str
        Checksum.
    staged : StagedFile or None
        Under its temporary name; None for one that stays where it is.
    """

    path: str
    size: int
    digest: str
    staged: StagedFile | None = None


def bring_all(
    butler: Butler,
    target: Endpoint,
    base: Archive,
    wanted: Sequence[Wanted],
    transfer: str,
    staged: list[StagedFile],
    progress: Callable[[int, int], None] | None,
) -> list[Brought]:
    """Bring files to an endpoint, under temporary names; none comes if one is missing.

    Parameters
    ----------
    staged : list of StagedFile
        Gets what has come.

    Raises
    ------
    MissingFile, StorageFull
        If a file is not there, or there is no room; nothing has come then.
    ExchangeError
        If one is not what the export says, or cannot stay where it is.
    EndpointAway, EndpointRefuses
        If the endpoint does not take them.
    """
    _need(butler.root, target, base, wanted, transfer)
    if target.is_remote:  # what is being removed there goes before anything is sent
        there = [_path_of(file) for file in wanted]
        butler.registry.database.transact(trash.reclaim, target.name, there)

    def one(file: Wanted) -> Brought:
        made = _bring(butler.root, target, base, file, transfer)
        if made.staged is not None:
            staged.append(made.staged)
        return made

    return fetching.each(one, wanted, far=target.is_remote, progress=progress)


def _need(
    root: Path, target: Endpoint, base: Archive, wanted: Sequence[Wanted], transfer: str
) -> None:
    """Refuse files that cannot come, before any does.

    Raises
    ------
    MissingFile
        If one is not there.
    ExchangeError
        If one has another size than the export says, or cannot stay where it is.
    StorageFull
        If there is no room for all.
    """
    sizes = [base.size(file.source) for file in wanted]
    missing = [file for file, size in zip(wanted, sizes, strict=True) if size is None]
    if missing:
        place = base.place(missing[0].source) or Path(missing[0].source)
        raise MissingFile(
            f"{len(missing)} of {len(wanted)} files of the export are not there, for example "
            f"{place}; say where they are with directory=..., or import without files "
            "(transfer=None, on the command line --transfer none).",
            path=place,
        )
    for file, size in zip(wanted, sizes, strict=True):
        if file.size is not None and size != file.size:
            raise _changed(file.source, f"it has {size} bytes, and {file.size} are recorded")
    if transfer == "direct" and any(base.place(file.source) is None for file in wanted):
        raise ExchangeError(
            f"The files of {base.path} are inside of it and cannot stay there; copy them with "
            "transfer='copy'.",
            path=base.path,
        )
    if transfer in ("auto", "copy", "move"):
        known = [size for size in sizes if size is not None]
        # what goes to a server lies here on its way only
        total = max(known, default=0) if target.is_remote else sum(known)
        place = root if target.is_remote else target.locate("", root)
        free = shutil.disk_usage(place).free
        if total > free:
            raise StorageFull(
                f"The files of the export take {total} bytes, and {place} has room for {free}. "
                "Nothing was changed; make room, or leave the files where they are with "
                "transfer='direct'."
            )


def _bring(root: Path, target: Endpoint, base: Archive, file: Wanted, transfer: str) -> Brought:
    """Bring a file; when it fails, what there is of it is removed.

    Raises
    ------
    ExchangeError
        If it is not what the export says.
    """
    place = base.place(file.source)
    if transfer == "direct" and place is not None:
        digest, size = checksum(place), place.stat().st_size
        _is_the_same(file, size, digest)
        return Brought(str(place.absolute()), size, digest)
    staged = stage(target, root, _path_of(file), shared=True)
    copied = transfer in ("auto", "copy", "move") or place is None
    if (
        copied
        and file.size is not None
        and file.digest is not None
        and staged.left_whole(file.size, file.digest)
    ):
        staged.send(file.size)
        staged.release()  # thousands may follow
        return Brought(staged.path, file.size, file.digest, staged)
    try:
        if copied:
            if file.digest is None:  # nobody can tell whether what another makes is the same
                staged.rename_apart()
            most = 2**63 - 1 if file.size is None else file.size + 1
            with base.open(file.source) as stream:
                size, digest = staged.fill(stream, most)
        else:
            assert place is not None  # noqa: S101 (what is in an archive is copied)
            staged.rename_apart()
            size, digest = staged.take(place, transfer)
        _is_the_same(file, size, digest)
        staged.send(size)
        staged.release()
    except BaseException:
        staged.abandon(settled=False)
        raise
    return Brought(staged.path, size, digest, staged)


def _path_of(file: Wanted) -> str:
    """Say where a file shall be, below the endpoint's root."""
    stem, ending = split_name(file.named)
    stem = stem.removesuffix(f"_{file.dataset_id.hex[-12:]}")  # which the name gets again
    return StagedFile.path_for(stem, file.dataset_id, ending)


def _is_the_same(file: Wanted, size: int, digest: str) -> None:
    if file.size not in (None, size) or file.digest not in (None, digest):
        raise _changed(file.source, "its checksum differs")


def _changed(source: str, why: str) -> ExchangeError:
    return ExchangeError(
        f"The file {source} of the export is not what it was when it was exported: {why}. "
        "Export again.",
        path=source,
    )


def split_name(path: str) -> tuple[str, str]:
    """Split a path into what the repository keeps of it and its ending.

    Raises
    ------
    PathOutsideRepository
        If it climbs out of its folder.
    """
    relative = Path(path.removeprefix("file://"))
    if relative.is_absolute():
        relative = Path(relative.name)
    if ".." in relative.parts or "\x00" in path:
        raise PathOutsideRepository(
            f"The export names a file outside its folder: {path[:120]}.", path=path
        )
    ending = "".join(s for s in relative.suffixes[-2:] if len(s) <= 8 and s[1:].isalnum())
    return str(relative).removesuffix(ending), ending
