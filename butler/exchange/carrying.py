"""How does the file of a dataset come into an export, wherever its copies lie?"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from backbone import fetching
from backbone.errors import ChangedFile
from backbone.staging import StagedFile, checksum
from butler.errors import ExchangeError, MissingFile
from butler.rows_as_files import as_files

if TYPE_CHECKING:
    import uuid
    import zipfile
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from backbone.files import Stored
    from butler.butler import Butler
    from registry.identity import DatasetRef

__all__ = ["carry", "each_file", "into_zip", "left_there"]


@contextmanager
def each_file(
    butler: Butler,
    refs: Sequence[DatasetRef],
    copies: Mapping[int, Sequence[Stored]],
    folder: Path,
    transfer: str | None,
) -> Iterator[list[list[Stored]]]:
    """Give the copies of each file of datasets; arguments as for `butler.rows_as_files.as_files`.

    Parameters
    ----------
    copies : mapping
        By file, the nearest first.
    """
    by_dataset: dict[uuid.UUID, list[Stored]] = {}
    for of_one in copies.values():
        by_dataset.setdefault(of_one[0].dataset_id, []).extend(of_one)
    with as_files(butler, refs, by_dataset, folder, transfer) as found:
        by_file: dict[int, list[Stored]] = {}
        for of_dataset in found.values():
            for copy in of_dataset:
                by_file.setdefault(copy.file_id, []).append(copy)
        yield list(by_file.values())


def carry(copies: Sequence[Stored], root: Path, staged: StagedFile, transfer: str) -> str:
    """Bring a file from the first of its copies that is whole; give its checksum.

    Raises
    ------
    MissingFile
        If no copy is what was recorded.
    """
    try:
        return fetching.bring(copies, root, staged, transfer)[1]
    except ChangedFile as error:
        raise MissingFile(
            f"{error} Exporting again goes on from here.", path=copies[0].shown(root)
        ) from error


def into_zip(
    archive: zipfile.ZipFile, name: str, copies: Sequence[Stored], root: Path, path: Path
) -> str:
    """Write a file into an archive, and give its checksum.

    Parameters
    ----------
    path : Path
        Of the archive; what comes from afar lies beside it on its way.
    """
    first = copies[0]
    if len(copies) == 1 and not first.endpoint.is_remote:
        place = first.place(root)
        _is_whole(place, first)
        archive.write(place, name)
        return first.checksum or checksum(place)
    member = StagedFile(path.parent, f"{path.name}.member")
    try:
        digest = carry(copies, root, member, "copy")
        archive.write(member.temporary, name)
    finally:
        member.abandon(settled=False)
    return digest


def left_there(copies: Sequence[Stored], root: Path) -> tuple[str, str]:
    """Give the absolute path of a file that stays where it is, and its checksum.

    Raises
    ------
    ExchangeError
        If all of its copies lie behind URLs.
    """
    near = next((copy for copy in copies if not copy.endpoint.is_remote), None)
    if near is None:
        raise ExchangeError(
            f"{copies[0].shown(root)} lies behind a URL and has no path on this disk; "
            "export copies of the files (transfer='copy')."
        )
    place = near.place(root).absolute()
    return str(place), near.checksum or checksum(place)


def _is_whole(source: Path, copy: Stored) -> None:
    """Refuse a file that is not what was recorded."""
    try:
        size = source.stat().st_size
    except OSError as error:
        raise MissingFile(
            f"The file {source} cannot be read: {error.strerror}. `skyspine check REPO` tells what "
            "else is missing; exporting again goes on from here.",
            path=source,
        ) from error
    if size != copy.size:
        raise MissingFile(
            f"The file {source} has {size} bytes, and {copy.size} are recorded; `skyspine check "
            "REPO` tells what else is not as it was.",
            path=source,
        )
