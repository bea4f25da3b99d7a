"""Which copy of a dataset is read, and how does it come to have several?

A read takes the nearest copy, and the next one when that is missing, damaged, or its endpoint is
away; it says so in the log of ``skyspine.butler``.  `replicate` gives datasets a copy at a further
endpoint, or takes note of the one that is there.
"""

from __future__ import annotations

import logging
import os
import stat
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone import endpoints, fetching, files, trash
from backbone.errors import BackboneError, ChangedFile
from backbone.sending import stage
from backbone.staging import settle
from butler.errors import DamagedFile, MissingFile, NoGoodCopy, ReadFailed
from butler.formatters import get_formatter
from butler.formatters.source import Source
from butler.tables import in_tables

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Mapping, Sequence

    import sqlalchemy as sa

    from backbone.endpoints import Endpoint
    from backbone.file_cache import FileCache
    from backbone.staging import StagedFile
    from butler.butler import Butler
    from butler.inputs import Place

__all__ = [
    "GONE",
    "OF_THE_COPY",
    "Replicated",
    "copied",
    "read_first_good",
    "replicate",
    "source_of",
]

_log = logging.getLogger("skyspine.butler")
BATCH = 100
"""Files that get their rows in one transaction."""
OF_THE_COPY = (MissingFile, DamagedFile, ReadFailed, BackboneError)
"""What may be wrong with one copy, while another is good."""
GONE = (*OF_THE_COPY, NoGoodCopy)
"""What a reader meets whose copies were replaced after it had looked them up, too."""


def read_first_good(
    copies: Sequence[files.Stored],
    place: Place,
    component: str | None,
    parameters: Mapping[str, Any] | None,
    *,
    trusted: bool,
    cache: FileCache | None = None,
) -> Any:
    """Read a file from the first of its copies that is there and whole.

    Parameters
    ----------
    copies : sequence of Stored
        Of one file, the nearest first.
    place : Place
        The repository.
    cache : FileCache, optional
        Where files of servers are kept.

    Raises
    ------
    NoGoodCopy
        If there are several, and none can be read; the error of the copy if there is one.
    """
    failed: list[tuple[files.Stored, Exception]] = []
    for copy in copies:
        try:
            if copy.endpoint.in_tables:
                found = in_tables.read(place.registry.database, copy, component, parameters)
            else:
                part = component is not None or bool(parameters)
                with _opened(copy, place.root, cache, part=part) as source:
                    found = get_formatter(copy.formatter).read(
                        source, component, parameters, trusted=trusted
                    )
        except OF_THE_COPY as error:
            if len(copies) == 1:
                raise
            failed.append((copy, error))
            continue
        for bad, why in failed:
            _log.warning(
                "The copy at '%s' cannot be read, that at '%s' was taken: %s",
                bad.endpoint.name,
                copy.endpoint.name,
                why,
            )
        return found
    told = " ".join(f"At '{bad.endpoint.name}': {why}" for bad, why in failed)
    raise NoGoodCopy(f"None of the {len(failed)} copies can be read. {told}") from failed[0][1]


@contextmanager
def _opened(
    copy: files.Stored, root: Path, cache: FileCache | None, *, part: bool
) -> Iterator[Source]:
    """Give a copy to a formatter; what lies behind a URL, from the cache where that is worth it."""
    if cache is None or not copy.endpoint.is_remote:
        yield source_of(copy, root)
        return
    there = copy.endpoint.remote()
    if cache.wants(copy, part=part):
        with ExitStack() as stack:
            try:
                place = stack.enter_context(cache.reading(copy))
            except ChangedFile as error:
                gone = isinstance(error.__cause__, FileNotFoundError)
                kind = MissingFile if gone else DamagedFile
                raise kind(str(error), path=there.url(copy.path)) from error
            if place is not None:
                yield Source(place)
                return
    source = Source.behind(there, copy.path, copy.size, partial(cache.reading, copy))
    yield source
    cache.read_in_parts(copy, source.fetched)


def source_of(copy: files.Stored, root: Path) -> Source:
    """Open a copy for a formatter, after a look at its size."""
    if copy.endpoint.is_remote:
        return Source.behind(copy.endpoint.remote(), copy.path, copy.size)
    place = copy.place(root)
    try:
        found = os.stat(place)  # noqa: PTH116 (thousands at once)
    except OSError:
        return Source(place)  # the formatter says what is wrong
    regular = stat.S_ISREG(found.st_mode)
    if not regular and not stat.S_ISDIR(found.st_mode):  # which a read would wait for, or never end
        raise DamagedFile(
            f"{place} is a pipe or a device, and no file: it was put there behind the registry's "
            "back. Fetch the file again, or read another copy of the dataset.",
            path=str(place),
        )
    if found.st_size != copy.size and regular:
        raise DamagedFile(
            f"{place} has {found.st_size} bytes, and {copy.size} were recorded: it was changed "
            "behind the registry's back. Fetch it again, or read another copy of the dataset.",
            path=str(place),
        )
    return Source(place)


@dataclass(slots=True)
class Replicated:
    """What came of a replication.

    Parameters
    ----------
    sent : int
        Files that were copied.
    found : int
        Files that lay there already, and were whole.
    present : int
        Files that had a recorded copy there; and rows of parts, whose copies are the database's.
    meanwhile : int
        Files that somebody else has removed or converted meanwhile; they get no copy.
    """

    sent: int = 0
    found: int = 0
    present: int = 0
    meanwhile: int = 0


def replicate(butler: Butler, ids: Sequence[uuid.UUID], name: str) -> Replicated:
    """Give datasets a copy at an endpoint; see `Butler.replicate`."""
    butler.registry.database.require_writeable()
    with butler.registry.read() as connection:
        endpoint = endpoints.named(connection, name)
        known = files.all_copies(connection, ids)
    done = Replicated()
    wanted = []
    for copies in known.values():
        of_database = copies[0].component and copies[0].endpoint.in_tables
        if of_database or any(copy.endpoint.id == endpoint.id for copy in copies):
            done.present += 1
        else:
            wanted.append(copies)
    for start in range(0, len(wanted), BATCH):
        staged: dict[int, StagedFile] = {}

        def give(copies: Sequence[files.Stored], staged: dict[int, StagedFile] = staged) -> None:
            path = _path(copies[0], butler.root)
            if not (endpoint.is_remote and _is_there(endpoint, copies[0])):
                staged[copies[0].file_id] = copied(copies, endpoint, butler.root, path)

        batch = wanted[start : start + BATCH]
        if endpoint.is_remote:  # what is being removed there goes before anything is sent
            there = [_path(copies[0], butler.root) for copies in batch]
            butler.registry.database.transact(trash.reclaim, name, there)
        far = endpoint.is_remote or any(copies[0].endpoint.is_remote for copies in batch)
        made: list[StagedFile] = []
        with butler.cleaning(made):
            try:
                fetching.each(give, batch, far=far)
            finally:
                made += staged.values()
            paths = [(copies[0].file_id, copies[0].path) for copies in batch]
            noted = butler.registry.database.transact(_note, name, paths, staged)
            for key in staged.keys() - noted:
                staged[key].abandon(settled=False)
        done.sent += len(staged.keys() & noted)
        done.found += len(noted - staged.keys())
        done.meanwhile += len(batch) - len(noted)
    return done


def _is_there(endpoint: Endpoint, file: files.Stored) -> bool:
    """Tell whether a whole copy lies there: what a killed attempt, or a mirror, has left."""
    there = endpoint.remote()
    try:
        size = there.size(file.path)
        whole = size == file.size and (
            file.checksum is None or there.checksum(file.path, size) == file.checksum
        )
    except FileNotFoundError:
        whole = False
    if not whole and not endpoint.owned:
        raise ChangedFile(
            f"{there.url(file.path)} is not there or not what was recorded, and nothing can be "
            "written there; nothing was noted of it."
        )
    return whole


def _path(file: files.Stored, root: Path) -> str:
    """Give the path of a file below the root of any endpoint."""
    if file.endpoint.in_tables:
        raise ChangedFile(
            f"The dataset {file.dataset_id} lies in {file.shown(root)}, and its copies are those "
            "of the database; to have it as a file, export it, or put it with format='parquet'."
        )
    if Path(file.path).is_absolute():
        raise ChangedFile(
            f"{file.path} stays where it was ingested from, and has no path below another root; "
            "ingest it with transfer=copy to have copies of it."
        )
    return file.path


def copied(
    copies: Sequence[files.Stored],
    endpoint: Endpoint,
    root: Path,
    path: str,
    *,
    fsync: bool = False,
) -> StagedFile:
    """Bring the first good copy of a file to an endpoint, under the temporary name of a path."""
    staged = stage(endpoint, root, path, shared=True)
    copy, _ = fetching.bring(copies, root, staged)
    staged.send(copy.size, fsync=fsync)
    return staged


def _note(
    connection: sa.Connection,
    name: str,
    paths: Sequence[tuple[int, str]],
    staged: Mapping[int, StagedFile],
) -> set[int]:
    """Record copies, and give them their names; those of files that are as they were copied."""
    noted = files.add_replicas(connection, name, paths)
    trash.reclaim(connection, name, [path for key, path in paths if key in noted])
    settle([staged[key] for key in sorted(staged.keys() & noted)])
    return noted
