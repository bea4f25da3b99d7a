"""How do datasets of one repository come into another, with identity, history and files?

First everything is compared, and a contradiction ends it before anything is written.  Then they
are taken in batches, each in one transaction with its history, in which the files get their names:
after a kill, the same call goes on with what is missing.  What they were made from becomes known
too, with its files left where they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

from backbone import endpoints, files
from backbone.errors import ChangedFile
from backbone.staging import StagedFile
from butler import in_tables
from butler.deciding import plain_stem
from butler.errors import TransferError
from butler.storing import Content
from registry import belongings, calibrations, collections, datasets, portable, repositories
from registry import transfer as rows_between
from registry.errors import MissingDataset, did_you_mean
from registry.timespan import BEGINNING, END, Timespan

if TYPE_CHECKING:
    import os
    import uuid
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from butler.butler import Butler
    from butler.inputs import Place
    from registry.identity import DatasetRef

__all__ = ["MODES", "Transferred", "transfer_from"]

MODES = ("auto", "copy", "link", "hardlink", "symlink", "direct")
"""How files come along; ``auto`` is ``copy``, and ``direct`` leaves them where they are."""
BATCH = 1_000
"""Datasets that are taken in one transaction."""


@dataclass(slots=True)
class Transferred:
    """What came of a transfer.

    Parameters
    ----------
    refs : list of DatasetRef
        Datasets that are new here, or whose files are.
    present : int
        Datasets that were here already with their files.
    files : int
        Files that came along.
    quanta : int
        New steps of their history.
    without_file : list of DatasetRef
        Of the new ones, those that no file is stored of.
    """

    refs: list[DatasetRef] = field(default_factory=list)
    present: int = 0
    files: int = 0
    quanta: int = 0
    without_file: list[DatasetRef] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is written in one transaction: datasets, and what is known of those behind them."""

    place: Place
    refs: list[DatasetRef]
    rows: rows_between.Rows
    behind: rows_between.Rows
    history: portable.History


def transfer_from(
    butler: Butler,
    other: Butler | str | os.PathLike[str],
    refs_or_query: Iterable[DatasetRef] | Mapping[str, Any],
    *,
    transfer: str = "auto",
    also: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Transferred:
    """Take datasets of another repository.

    Parameters
    ----------
    other : Butler or path-like
        The other repository, on whatever database.
    refs_or_query : iterable of DatasetRef, or mapping
        What to take; a mapping holds the arguments of `Butler.query_datasets`, such as
        ``{"dataset_type": "calexp", "collections": "u/me"}``.
    transfer : str
        One of `MODES`.
    also : sequence of str
        TAGGED and CALIBRATION collections there, whose tags and validity ranges of these datasets
        come along.
    progress : callable, optional
        Called with how many datasets are done, of how many.

    Returns
    -------
    Transferred

    Raises
    ------
    Conflict
        If something contradicts what is here; nothing was written then.
    TransferError
        If the mode is not known, or a collection cannot come along.
    MissingDataset
        If the other repository does not have one of them.
    ChangedFile
        If a file is not what was recorded of it; what was taken before stays.
    """
    if transfer not in MODES:
        raise TransferError(
            f"'{transfer}' is no way to transfer datasets.{did_you_mean(transfer, MODES)}"
        )
    butler.registry.database.require_writeable()
    with contextlib.ExitStack() as stack:
        there = other if not isinstance(other, (str, PathLike)) else _opened(other, stack)
        if there.registry.id == butler.registry.id:
            raise TransferError(
                f"{there.root} is this repository itself, or a copy of it: both have the identity "
                f"{butler.registry.id}."
            )
        refs = _meant(there, refs_or_query)
        marks = _marks(there, refs, also)
        result = Transferred()
        batches = _read(butler, there, refs)
        with butler.registry.read() as here:
            for batch in batches:
                rows_between.check_rows(here, batch.rows)
                rows_between.check_rows(here, batch.behind)
                portable.check_history(here, batch.history)
        result.present = len(refs) - sum(len(b.refs) for b in batches)
        done = result.present
        for batch in batches:
            _take(butler, batch, transfer, result)
            done += len(batch.refs)
            if progress is not None:
                progress(done, len(refs))
        if also:
            butler.registry.database.transact(_mark, *marks)
    return result


def _opened(root: str | os.PathLike[str], stack: contextlib.ExitStack) -> Butler:
    from butler.butler import Butler

    return stack.enter_context(Butler(root))


def _meant(
    there: Butler, refs_or_query: Iterable[DatasetRef] | Mapping[str, Any]
) -> list[DatasetRef]:
    if isinstance(refs_or_query, Mapping):
        query = dict(refs_or_query)
        return there.query_datasets(query.pop("dataset_type"), **query)
    return list(dict.fromkeys(refs_or_query))


def _marks(
    there: Butler, refs: Sequence[DatasetRef], also: Sequence[str]
) -> tuple[list[tuple[str, uuid.UUID]], list[tuple[str, uuid.UUID, int, int]]]:
    """Read the tags and validity ranges of datasets in some collections."""
    ids = [r.id for r in refs]
    with there.registry.read() as connection:
        types = collections.known_types(connection, also)
        for name in also:
            kind = types.get(name) or collections.get_collection(connection, name).type
            if kind not in ("TAGGED", "CALIBRATION"):
                raise TransferError(
                    f"'{name}' is a {kind} collection; tags and validity ranges, which come along, "
                    "are in TAGGED and CALIBRATION ones."
                )
        return (
            belongings.tags_of(connection, ids, also),
            belongings.ranges_of(connection, ids, also),
        )


def _mark(
    connection: sa.Connection,
    tags: Sequence[tuple[str, uuid.UUID]],
    ranges: Sequence[tuple[str, uuid.UUID, int, int]],
) -> None:
    """Tag and certify what has come along; the same again changes nothing."""
    ids = list(dict.fromkeys([i for _, i in tags] + [i for _, i, _, _ in ranges]))
    refs = datasets.get_refs(connection, ids)
    for name in dict.fromkeys(name for name, _ in tags):
        collections.register(connection, name, "TAGGED")
        collections.tag(connection, name, [refs[i] for n, i in tags if n == name])
    for name in dict.fromkeys(name for name, *_ in ranges):
        spans = [
            (refs[i], Timespan(None if b <= BEGINNING else b, None if e >= END else e))
            for n, i, b, e in ranges
            if n == name
        ]
        calibrations.certify_each(connection, name, spans)


def _read(butler: Butler, there: Butler, refs: Sequence[DatasetRef]) -> list[_Batch]:
    """Read what is not here yet, where it is at home, with its history."""
    wanted = {r.id: r for r in _lacking(butler, refs)}
    homes: dict[uuid.UUID, uuid.UUID] = {}
    batches = []
    for place in there.places:
        if place.id == butler.registry.id:
            continue
        with place.registry.read() as connection:
            found = datasets.get_refs(connection, list(wanted))
            homes |= repositories.homes_of(connection, list(found))
            mine = [r for i, r in found.items() if homes.get(i, place.id) == place.id]
            batches += [
                _batch(connection, place, mine[start : start + BATCH])
                for start in range(0, len(mine), BATCH)
            ]
        for ref in mine:
            del wanted[ref.id]
    if wanted:
        ref = next(iter(wanted.values()))
        at_home = f" Its files are in the repository {homes[ref.id]}." if ref.id in homes else ""
        raise MissingDataset(
            ref.dataset_type.name,
            ref.data_id,
            [ref.run],
            nearest=f"Neither {there.root} nor an input of it is its home.{at_home}",
        )
    return batches


def _lacking(butler: Butler, refs: Sequence[DatasetRef]) -> list[DatasetRef]:
    """Leave out what is here with its files."""
    ids = [r.id for r in refs]
    with butler.registry.read() as connection:
        known = datasets.get_refs(connection, ids)
        foreign = repositories.homes_of(connection, list(known))
        stored = files.stored(connection, list(known))
    return [r for r in refs if r.id not in known or r.id in foreign or r.id not in stored]


def _batch(connection: sa.Connection, place: Place, refs: list[DatasetRef]) -> _Batch:
    ids = {r.id for r in refs}
    history = portable.read_history(connection, list(ids))
    behind = list(datasets.get_refs(connection, list(history.datasets - ids)).values())
    return _Batch(
        place,
        refs,
        rows_between.read_rows(connection, refs, data_ids=history.data_ids),
        rows_between.read_rows(connection, behind),
        history,
    )


def _take(butler: Butler, batch: _Batch, transfer: str, result: Transferred) -> None:
    """Stage the files of a batch, and record everything in one transaction."""
    with batch.place.registry.read() as connection:
        located = files.locate(connection, [r.id for r in batch.refs])
    content = Content()
    where = endpoints.DIRECT if transfer == "direct" else endpoints.ROOT
    with butler.cleaning(content.staged):
        for ref in batch.refs:
            for copy in located.get(ref.id, ()):
                if copy.endpoint.in_tables:
                    _rows(butler, batch.place, ref, copy, transfer, content)
                else:
                    new = _file(butler, batch.place, ref, copy, transfer, content.staged)
                    content.new.setdefault(where, []).append(new)
        quanta = butler.registry.database.transact(_record, batch, content)
    result.refs += batch.refs
    result.files += sum(map(len, content.new.values())) + len(content.in_tables)
    result.quanta += quanta
    result.without_file += [r for r in batch.refs if r.id not in located]


def _rows(
    butler: Butler,
    place: Place,
    ref: DatasetRef,
    copy: files.Stored,
    transfer: str,
    content: Content,
) -> None:
    """Take what lies in a table there: into a table here where one is declared, else as a file."""
    if transfer == "direct":
        raise TransferError(
            f"{ref.dataset_type.name} lies in {copy.shown(place.root)} there, which cannot stay "
            "where it is; take it with transfer='copy'."
        )
    found = in_tables.read(place.registry.database, copy)
    content.add(butler, found, ref, {})


def _file(
    butler: Butler,
    place: Place,
    ref: DatasetRef,
    copy: files.Stored,
    transfer: str,
    staged: list[StagedFile],
) -> files.NewFile:
    source = copy.place(place.root)
    if transfer == "direct":
        path, digest = str(source.resolve()), copy.checksum
        if not source.exists() or source.stat().st_size != copy.size:
            raise ChangedFile(f"{source} is gone, or not of the {copy.size} bytes recorded of it.")
    else:
        file = _staged(butler, ref, copy, source)
        staged.append(file)
        if transfer in ("auto", "copy"):
            digest = file.copy(source, copy.size, copy.checksum)
        else:
            file.take(source, transfer)
            size, digest = file.size_and_checksum()
            if (size, copy.checksum or digest) != (copy.size, digest):
                raise ChangedFile(f"{source} is not what was recorded of it.")
        path = file.path
    return files.NewFile(
        ref.id, copy.component, path, copy.size, digest, copy.formatter, copy.options
    )


def _staged(butler: Butler, ref: DatasetRef, copy: files.Stored, source: Path) -> StagedFile:
    """Name a file as it is named there, where that name can be no other dataset's."""
    if copy.endpoint.name == endpoints.ROOT and ref.id.hex[-12:] in source.name:
        file = StagedFile(butler.root, copy.path)
        file.abandon(settled=False)
        return file
    stem = plain_stem(ref) + (f"_{copy.component}" if copy.component else "")
    return StagedFile.for_dataset(butler.root, stem, ref.id, "".join(source.suffixes[-2:]))


def _record(
    connection: sa.Connection,
    batch: _Batch,
    content: Content,
) -> int:
    rows_between.write_rows(
        connection, batch.behind, foreign=True, doc=f"Known of the repository {batch.place.id}."
    )
    rows_between.write_rows(connection, batch.rows, foreign=False)
    ids = [r.id for r in batch.refs]
    repositories.mark_own(connection, ids)
    quanta = portable.write_history(connection, batch.history)
    gone = files.begin_deletion(connection, ids)  # copies that were lost, or are being deleted
    files.end_deletion(connection, [copy.file_id for copy in gone])
    content.record(connection)
    content.settle()
    return quanta
