"""How do datasets of one repository come into another, with identity, history and files?

First everything is compared, and a contradiction ends it before anything is written.  Then they
are taken in batches, each in one transaction with its history, in which the files get their names:
after a kill, the same call goes on with what is missing.  What they were made from becomes known
too, with its files left where they are.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from backbone import endpoints, fetching, files, trash
from backbone.errors import BackboneError, ChangedFile
from backbone.sending import stage
from backbone.staging import StagedFile
from butler.errors import TransferError
from butler.policy.decisions import plain_stem
from butler.storing import Content
from butler.tables import in_tables
from registry import belongings, calibrations, collections, datasets, portable, repositories
from registry import transfer as rows_between
from registry.errors import MissingDataset, did_you_mean
from registry.timespan import BEGINNING, END, Timespan

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Sequence

    import sqlalchemy as sa

    from backbone.endpoints import Endpoint
    from butler.butler import Butler
    from butler.inputs import Place
    from registry.identity import DatasetRef

__all__ = ["MODES", "Transferred", "transfer_from"]

MODES = ("auto", "copy", "link", "hardlink", "symlink", "direct")
"""How files come along; ``auto`` is ``copy``, and ``direct`` leaves them where they are."""
BATCH = 1_000
"""Datasets that are taken in one transaction."""
FAR_BATCH = 100
"""The same, where servers give or take the files: so much is lost when one goes away."""


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
class _Past:
    """What one repository knows of the history of datasets."""

    behind: rows_between.Rows
    history: portable.History


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is written in one transaction: datasets, and what is known of those behind them."""

    place: Place
    refs: list[DatasetRef]
    rows: rows_between.Rows
    past: Sequence[_Past]


def transfer_from(
    butler: Butler,
    other: Butler | str | os.PathLike[str],
    refs_or_query: Iterable[DatasetRef] | Mapping[str, Any],
    *,
    transfer: str = "auto",
    also: Sequence[str] = (),
    endpoint: str = endpoints.ROOT,
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
        One of `MODES`; what lies behind a URL is copied, or read where it is with ``direct``.
    also : sequence of str
        TAGGED and CALIBRATION collections there, whose tags and validity ranges of these datasets
        come along.
    endpoint : str
        Name of the storage here that the files come to; the repository's own folder by default.
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
    ChangedFile, EndpointAway, EndpointRefuses
        If no copy of a file is what was recorded of it, or its endpoint does not give it; what was
        taken before stays.
    """
    if transfer not in MODES:
        raise TransferError(
            f"'{transfer}' is no way to transfer datasets.{did_you_mean(transfer, MODES)}"
        )
    butler.registry.database.require_writeable()
    target = butler.registry.database.ask(endpoints.named, endpoint)
    if transfer == "direct" and target.name != endpoints.ROOT:
        raise TransferError("With transfer='direct', files stay where they are; name no endpoint.")
    with contextlib.ExitStack() as stack:
        there = other if not isinstance(other, (str, PathLike)) else _opened(other, stack)
        if there.registry.id == butler.registry.id:
            raise TransferError(
                f"{there.root} is this repository itself, or a copy of it: both have the identity "
                f"{butler.registry.id}."
            )
        refs = _meant(there, refs_or_query)
        marks = _marks(there, refs, also) if also else ((), ())
        result = Transferred()
        batches = _read(butler, there, refs, far_target=target.is_remote)
        with butler.registry.read() as here:
            for batch in batches:
                rows_between.check_rows(here, batch.rows)
                for past in batch.past:
                    rows_between.check_rows(here, past.behind)
                    portable.check_history(here, past.history)
        result.present = len(refs) - sum(len(b.refs) for b in batches)
        done = result.present
        for batch in batches:
            _take(butler, batch, transfer, target, result)
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


def _read(
    butler: Butler, there: Butler, refs: Sequence[DatasetRef], *, far_target: bool
) -> list[_Batch]:
    """Read what is not here yet, where it is at home, with its history through all inputs."""
    wanted = {r.id: r for r in _lacking(butler, refs)}
    homes: dict[uuid.UUID, uuid.UUID] = {}
    batches = []
    with contextlib.ExitStack() as stack:
        sources = [
            (place, stack.enter_context(place.registry.read()))
            for place in there.places
            if place.id != butler.registry.id
        ]
        for place, connection in sources:
            far = far_target or endpoints.any_remote(connection)
            step = FAR_BATCH if far else BATCH
            found = datasets.get_refs(connection, list(wanted))
            homes |= repositories.homes_of(connection, list(found))
            mine = [r for i, r in found.items() if homes.get(i, place.id) == place.id]
            for start in range(0, len(mine), step):
                part = mine[start : start + step]
                rows = rows_between.read_rows(connection, part)
                batches.append(_Batch(place, part, rows, _past([c for _, c in sources], part)))
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


def _past(connections: Sequence[sa.Connection], refs: Sequence[DatasetRef]) -> list[_Past]:
    """Read what made datasets, from each repository what it knows; each dataset from the first."""
    ids = {r.id for r in refs}
    asked = portable.datasets_behind(connections, ids) if len(connections) > 1 else ids
    found, known = [], set(ids)
    for connection in connections:
        history = portable.read_history(connection, list(asked))
        behind = list(datasets.get_refs(connection, list(history.datasets - known)).values())
        known.update(r.id for r in behind)
        rows = rows_between.read_rows(connection, behind, data_ids=history.data_ids)
        found.append(_Past(rows, history))
    return found


def _take(
    butler: Butler, batch: _Batch, transfer: str, target: Endpoint, result: Transferred
) -> None:
    """Stage the files of a batch, and record everything in one transaction."""
    by_id = {r.id: r for r in batch.refs}
    with batch.place.registry.read() as connection:
        located = list(files.copies_of_whole(connection, list(by_id)).values())
    content = Content()
    in_files = [copies for copies in located if not copies[0].endpoint.in_tables]

    def take(copies: Sequence[files.Stored]) -> tuple[Endpoint, files.NewFile]:
        ref = by_id[copies[0].dataset_id]
        if transfer == "direct":
            return _left_there(batch.place, copies)
        return target, _file(butler, batch.place, ref, copies, transfer, target, content.staged)

    far = target.is_remote or any(copies[0].endpoint.is_remote for copies in in_files)
    if target.is_remote:  # what is being removed there goes before anything is sent
        there = [_name(by_id[copies[0].dataset_id], copies[0]) for copies in in_files]
        butler.registry.database.transact(trash.reclaim, target.name, there)
    with butler.cleaning(content.staged):
        for copies in located:
            if copies[0].endpoint.in_tables:
                ref = by_id[copies[0].dataset_id]
                _rows(butler, batch.place, ref, copies[0], transfer, content)
        new = fetching.each(take, in_files, far=far)
        quanta = butler.registry.database.transact(
            _record, batch, new, content, left_there=transfer == "direct"
        )
    stored = {copies[0].dataset_id for copies in located}
    result.refs += batch.refs
    result.files += len(new) + sum(map(len, content.new.values())) + len(content.in_tables)
    result.quanta += quanta
    result.without_file += [r for r in batch.refs if r.id not in stored]


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
    if copy.component:
        content.add_part(butler, ref, copy.component, found)
    else:
        content.add(butler, found, ref, {})


def _file(
    butler: Butler,
    place: Place,
    ref: DatasetRef,
    copies: Sequence[files.Stored],
    transfer: str,
    target: Endpoint,
    staged: list[StagedFile],
) -> files.NewFile:
    """Bring a file under a temporary name, to the endpoint that it shall lie at."""
    file = stage(target, butler.root, _name(ref, copies[0]), shared=True)
    staged.append(file)
    copy, digest = fetching.bring(copies, place.root, file, transfer)
    file.send(copy.size)
    return files.NewFile(
        ref.id, copy.component, file.path, copy.size, digest, copy.formatter, copy.options
    )


def _left_there(place: Place, copies: Sequence[files.Stored]) -> tuple[Endpoint, files.NewFile]:
    """Take note of the first copy that is there, to be read where it is."""
    problems: list[str] = []
    for copy in copies:
        try:
            if copy.endpoint.is_remote:
                where, path = copy.endpoint, copy.path
                size = copy.endpoint.remote().size(copy.path)
            else:
                where, path = endpoints.ANYWHERE, str(copy.place(place.root).resolve())
                size = os.stat(path).st_size  # noqa: PTH116 (thousands at once)
        except FileNotFoundError:
            size = -1
        except BackboneError as error:
            problems.append(str(error))
            continue
        if size == copy.size:
            return where, files.NewFile(
                copy.dataset_id,
                copy.component,
                path,
                size,
                copy.checksum,
                copy.formatter,
                copy.options,
            )
        problems.append(
            f"{copy.shown(place.root)} is gone, or not of the {copy.size} bytes recorded of it."
        )
    raise ChangedFile(" ".join(problems))


def _name(ref: DatasetRef, copy: files.Stored) -> str:
    """Name a file as it is named there, where that name can be no other dataset's."""
    there = PurePath(copy.path)
    if copy.endpoint.owned and ref.id.hex[-12:] in there.name:
        return copy.path
    stem = plain_stem(ref) + (f"_{copy.component}" if copy.component else "")
    return StagedFile.path_for(stem, ref.id, "".join(there.suffixes[-2:]))


def _record(
    connection: sa.Connection,
    batch: _Batch,
    new: Sequence[tuple[Endpoint, files.NewFile]],
    content: Content,
    *,
    left_there: bool,
) -> int:
    for past in batch.past:
        doc = f"Known of the repository {past.behind.repository_id}."
        rows_between.write_rows(connection, past.behind, foreign=True, doc=doc)
    rows_between.write_rows(connection, batch.rows, foreign=False)
    ids = [r.id for r in batch.refs]
    repositories.mark_own(connection, ids)
    quanta = sum(portable.write_history(connection, past.history) for past in batch.past)
    if gone := files.begin_deletion(connection, ids):  # what was lost, or is being deleted
        files.end_deletion(connection, [copy.file_id for copy in gone])
    for where in dict.fromkeys(endpoint for endpoint, _ in new):
        here = endpoints.reading(connection, where) if left_there else where
        mine = [file for at, file in new if at == where]
        files.record(connection, here.name, mine)
        if not left_there:
            trash.reclaim(connection, here.name, [file.path for file in mine])
    content.record(connection)
    content.settle()
    return quanta
