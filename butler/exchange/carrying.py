"""How does the file of a dataset come into an export, wherever its copies lie?"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backbone import fetching, files
from backbone.errors import ChangedFile
from backbone.staging import StagedFile, checksum
from butler.errors import ExchangeError, MissingFile
from butler.tables.rows_as_files import as_files

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator, Sequence

    from backbone.files import Stored
    from butler.exchange.sources import Source
    from registry.identity import DatasetRef

__all__ = ["Held", "carry", "each_file", "into_zip", "left_there"]


@dataclass(frozen=True, slots=True)
class Held:
    """A file of a dataset, wherever it lies.

    Parameters
    ----------
    copies : sequence of Stored
        Of the file, the nearest first.
    root : Path
        Of the repository that has them.
    foreign : bool
        Whether that is an input of the one whose export it is.
    shared : bool
        Whether a file of another repository has the same path.
    """

    copies: Sequence[Stored]
    root: Path
    foreign: bool = False
    shared: bool = False

    @property
    def first(self) -> Stored:
        """The nearest copy."""
        return self.copies[0]

    @property
    def far(self) -> bool:
        """Whether it comes from behind a URL."""
        return self.first.endpoint.is_remote


@contextmanager
def each_file(
    sources: Sequence[Source], refs: Sequence[DatasetRef], folder: Path, transfer: str | None
) -> Iterator[list[Held]]:
    """Give each file of datasets, of the first repository that has files of them.

    Parameters
    ----------
    sources : sequence of Source
        In the order of the search.
    refs : sequence of DatasetRef
        The datasets.
    folder, transfer : Path, str or None
        See `butler.tables.rows_as_files.as_files`.
    """
    left = {ref.id: ref for ref in refs}
    owner: dict[str, Path] = {}
    held: list[Held] = []
    with ExitStack() as stack:
        for source in sources:
            root, database = source.place.root, source.place.registry.database
            there = files.copies_of_whole(source.connection, list(left))
            keys = dict.fromkeys(of_one[0].dataset_id for of_one in there.values())
            mine = [left.pop(key) for key in keys]
            made = stack.enter_context(as_files(database, mine, there, folder, transfer))
            foreign = root != sources[0].place.root
            for copies in made:
                shared = owner.setdefault(copies[0].path, root) is not root
                held.append(Held(copies, root, foreign, shared))
        yield held


def carry(held: Held, staged: StagedFile, transfer: str) -> str:
    """Bring a file from the first of its copies that is whole; give its checksum.

    Raises
    ------
    MissingFile
        If no copy is what was recorded.
    """
    try:
        return fetching.bring(held.copies, held.root, staged, transfer)[1]
    except ChangedFile as error:
        raise MissingFile(
            f"{error} Exporting again goes on from here.", path=held.first.shown(held.root)
        ) from error


def into_zip(archive: zipfile.ZipFile, name: str, held: Held, path: Path) -> str:
    """Write a file into an archive, and give its checksum.

    Parameters
    ----------
    path : Path
        Of the archive; what comes from afar lies beside it on its way.
    """
    first = held.first
    if len(held.copies) == 1 and not held.far:
        place = first.place(held.root)
        _is_whole(place, first)
        archive.write(place, name)
        return first.checksum or checksum(place)
    member = StagedFile(path.parent, f"{path.name}.member")
    try:
        digest = carry(held, member, "copy")
        archive.write(member.temporary, name)
    finally:
        member.abandon(settled=False)
    return digest


def left_there(held: Held) -> tuple[str, str]:
    """Give the absolute path of a file that stays where it is, and its checksum.

    Raises
    ------
    ExchangeError
        If all of its copies lie behind URLs.
    """
    near = next((copy for copy in held.copies if not copy.endpoint.is_remote), None)
    if near is None:
        raise ExchangeError(
            f"{held.first.shown(held.root)} lies behind a URL and has no path on this disk; "
            "export copies of the files (transfer='copy')."
        )
    place = near.endpoint.located(near.path, str(held.root))
    if not os.path.isabs(place):  # noqa: PTH117 (thousands at once)
        place = str(Path(place).absolute())
    return place, near.checksum or checksum(place)


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
