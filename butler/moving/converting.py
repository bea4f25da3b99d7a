"""How do datasets that are stored come into another format, or to another endpoint?

Each file is read, written anew under a name that was never used, read back and compared; one
transaction lets its row point to the new file (`backbone.replacing`).  What goes into tables, out
of them, or into other parts is `butler.moving.rewriting`.  The old file stays as trash
for a while, so that readers go on reading.  Killed at any moment it leaves the old file or the new
one in force, and what it has made in vain for ``skyspine check``; done again, it goes on.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone import files, replacing
from backbone.errors import ChangedFile
from backbone.replacing import Replacement
from backbone.sending import SentFile, stage
from backbone.staging import StagedFile, settle
from butler.errors import ButlerError, ConvertError
from butler.formatters import get_formatter
from butler.inputs import Place
from butler.moving import removal, replicas
from butler.moving.rewriting import Rewrite, as_wanted, make, may_differ, new_content, switch
from butler.objects.comparing import difference

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Mapping, Sequence

    import sqlalchemy as sa

    from butler.butler import Butler
    from butler.moving.rewriting import Parts
    from butler.policy.decisions import Decision, Format
    from registry.identity import DatasetRef

__all__ = ["KEEP_SECONDS", "Converted", "convert"]

BATCH = 50
"""Files that are switched in one transaction."""
FEW = 10
"""Datasets that are stored anew in one transaction: their rows are held in memory."""
KEEP_SECONDS = 600.0
"""How long old files stay for who has looked them up [s]."""


@dataclass(slots=True)
class Converted:
    """What came of a conversion, or would.

    Parameters
    ----------
    changes : dict
        By old formats, old endpoints or tables, and the new ones: how many files, and how many
        bytes they have. What lies in a table counts as a file.
    new_bytes : int
        Bytes of the new files; of a trial, 0.
    unchanged : int
        Files that were so already.
    meanwhile : int
        Files that somebody else has removed or converted meanwhile.
    failed : list of (DatasetRef, str)
        Datasets that stay as they are, with the reason.
    """

    changes: dict[tuple[str, str, str, str], tuple[int, int]] = field(default_factory=dict)
    new_bytes: int = 0
    unchanged: int = 0
    meanwhile: int = 0
    failed: list[tuple[DatasetRef, str]] = field(default_factory=list)

    @property
    def n_files(self) -> int:
        """How many files were converted, or would be."""
        return sum(n for n, _ in self.changes.values())

    @property
    def old_bytes(self) -> int:
        """How many bytes they have, or had."""
        return sum(size for _, size in self.changes.values())


@dataclass(frozen=True, slots=True)
class _Task:
    """A file that is to be converted."""

    ref: DatasetRef
    copies: Sequence[files.Stored]
    how: Decision

    @property
    def old(self) -> files.Stored:
        return self.copies[0]

    @property
    def same_format(self) -> bool:
        writer = self.how.writer
        return (self.old.formatter, self.old.options or {}) == (writer.name, writer.chosen)

    @property
    def kind_of_change(self) -> tuple[str, str, str, str]:
        before = ", ".join(copy.endpoint.name for copy in self.copies)
        return self.old.formatter, before, self.how.writer.name, self.how.endpoint.name


def convert(
    butler: Butler,
    refs: Sequence[DatasetRef],
    *,
    format: Format | None = None,  # noqa: A002 (the word that users know)
    endpoint: str | None = None,
    tolerance: float = 0.0,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Converted:
    """Bring datasets of this repository into another format, or to another endpoint.

    They keep their identity and their history.  Each new file is read back and compared before it
    takes the place of the old one, which stays for ten minutes for who has looked it up.  It may be
    repeated after it was cut short: what is as it shall be is passed over.

    Parameters
    ----------
    refs : sequence of DatasetRef
        What to convert.
    format : str or dict, optional
        The new format, as for `Butler.put`.  Without it and without an endpoint, what the policy
        says.
    endpoint : str, optional
        Where the new files shall lie; by default, where the old ones do. ``tables``: in the table
        that is declared for them.
    tolerance : float
        By how much floating-point values may differ afterwards, in their own unit.
    dry_run : bool
        Only tell what would be converted.
    progress : callable, optional
        Called with the number of files that are done, and of all.

    Returns
    -------
    Converted
        With what could not be converted, and why.
    """
    if not dry_run:
        butler.registry.database.require_writeable()
    result = Converted()
    tasks, rewrites = _plan(butler, refs, format, endpoint, result)
    if dry_run:
        for task in tasks:
            _count(result, task.kind_of_change, task.old.size)
        for rewrite in rewrites:
            wanted = _looked_at(butler, rewrite, result)
            if wanted is not None:
                _count(result, rewrite.kind_of_change(wanted), rewrite.size, len(rewrite.copies))
        return result
    total, done = len(tasks) + len(rewrites), 0
    parts: tuple[tuple[Sequence[Any], int, Callable[..., None]], ...] = (
        (tasks, BATCH, _convert),
        (rewrites, FEW, _rewrite),
    )
    for all_of_it, size, act in parts:
        for start in range(0, len(all_of_it), size):
            batch = all_of_it[start : start + size]
            act(butler, batch, tolerance, result)
            removal.empty_afterwards(butler, older_than=KEEP_SECONDS)
            done += len(batch)
            if progress is not None:
                progress(done, total)
    return result


def _plan(
    butler: Butler,
    refs: Sequence[DatasetRef],
    format_: Format | None,
    endpoint: str | None,
    result: Converted,
) -> tuple[list[_Task], list[Rewrite]]:
    """Find the files that are not as they shall be, and datasets that may not be."""
    by_id = {ref.id: ref for ref in refs}
    with butler.registry.database.snapshot() as connection:
        known = files.all_copies(connection, list(by_id))
        whole = files.stored(connection, list(by_id))
        away = replacing.out_of_reach(connection, list(by_id))
    of_dataset: dict[uuid.UUID, dict[str, Sequence[files.Stored]]] = {}
    for copies in known.values():
        of_dataset.setdefault(copies[0].dataset_id, {})[copies[0].component] = copies
    tasks: list[_Task] = []
    rewrites: list[Rewrite] = []
    for key, parts in of_dataset.items():
        ref = by_id[key]
        how = _how(butler, ref, next(iter(parts.values())), format_, endpoint)
        in_table = "" in parts and parts[""][0].endpoint.in_tables
        moved = endpoint is not None and format_ is None and how.table is None and not in_table
        several = [why for each in parts.values() for why in _several(each, endpoint)]
        offline = [away[each[0].file_id] for each in parts.values() if each[0].file_id in away]
        if moved or not may_differ(ref, parts, how, in_table=in_table):
            held = [each for each in parts.values() if not each[0].endpoint.in_tables]
            result.unchanged += len(parts) - len(held)
            for each in held:
                task = _Task(ref, each, _moved(how, each) if moved else how)
                _plan_file(task, endpoint, away, result, tasks)
        elif several:
            result.failed.append((ref, several[0]))
        elif offline:
            result.failed.append(
                (ref, f"it has a copy at the endpoint '{offline[0]}', which is offline")
            )
        elif key not in whole:
            result.failed.append((ref, "one of its parts is lost, and no copy of that can be read"))
        else:
            rewrites.append(Rewrite(ref, parts, how))
    result.failed += [
        (ref, "no copy of it can be read here")
        for key, ref in by_id.items()
        if key not in of_dataset
    ]
    return tasks, rewrites


def _several(copies: Sequence[files.Stored], endpoint: str | None) -> list[str]:
    """Tell where a file has several copies, if it is not said which one is meant."""
    where = [copy.endpoint.name for copy in copies]
    if len(where) < 2 or endpoint is not None:
        return []
    return [f"it has copies at {', '.join(where)}; say which endpoint shall have the new"]


def _moved(how: Decision, copies: Sequence[files.Stored]) -> Decision:
    """Let a file that is moved keep its format, whatever it holds."""
    old = copies[0]
    writer = get_formatter(old.formatter).with_options(dict(old.options or {}))
    return replace(how, whole=writer)


def _plan_file(
    task: _Task,
    endpoint: str | None,
    away: Mapping[int, str],
    result: Converted,
    tasks: list[_Task],
) -> None:
    where = [copy.endpoint.name for copy in task.copies]
    wanted = task.how.endpoint.name
    if task.same_format and (where == [wanted] or (endpoint is None and wanted in where)):
        result.unchanged += 1
    elif several := _several(task.copies, endpoint):
        result.failed.append((task.ref, several[0]))
    elif task.old.file_id in away:
        at = away[task.old.file_id]
        result.failed.append((task.ref, f"it has a copy at the endpoint '{at}', which is offline"))
    else:
        tasks.append(task)


def _how(
    butler: Butler,
    ref: DatasetRef,
    copies: Sequence[files.Stored],
    format_: Format | None,
    endpoint: str | None,
) -> Decision:
    """Decide what a dataset shall be: what is not asked for stays, or is what the policy says."""
    old = copies[0]
    stays = old.endpoint.owned and not old.endpoint.in_tables
    if endpoint is None and format_ is not None and stays:
        endpoint = old.endpoint.name
    return butler.policy.decide(ref, format_, endpoint)


def _count(result: Converted, change: tuple[str, str, str, str], size: int, files: int = 1) -> None:
    n, known = result.changes.get(change, (0, 0))
    result.changes[change] = n + files, known + size


def _looked_at(butler: Butler, task: Rewrite, result: Converted) -> Parts | None:
    """Read a dataset; None if it is as it shall be, or cannot be read."""
    try:
        wanted = as_wanted(butler, task)
    except (ButlerError, ChangedFile) as error:
        result.failed.append((task.ref, str(error)))
        return None
    if wanted == task.now:
        result.unchanged += len(task.copies)
        return None
    return wanted


def _rewrite(butler: Butler, tasks: Sequence[Rewrite], tolerance: float, result: Converted) -> None:
    """Make the new files and rows of a batch of datasets, and switch to them."""
    staged: list[StagedFile] = []
    with butler.cleaning(staged):
        ready: list[tuple[Rewrite, Parts]] = []
        for task in tasks:
            wanted = _looked_at(butler, task, result)
            if wanted is None:
                continue
            content = task.content = new_content()
            try:
                cards = _provenance(butler, [c for each in task.copies.values() for c in each])
                make(butler, task, cards, tolerance)
            except (ButlerError, ChangedFile) as error:
                for file in content.staged:
                    file.abandon(settled=False)
                result.failed.append((task.ref, str(error)))
                continue
            staged += content.staged
            ready.append((task, wanted))
        if not ready:
            return
        done = butler.registry.database.transact(switch, [task for task, _ in ready])
        for (task, wanted), is_done in zip(ready, done, strict=True):
            if is_done:
                _count(result, task.kind_of_change(wanted), task.size, len(task.copies))
                result.new_bytes += task.new_size
            else:
                result.meanwhile += len(task.copies)
                for file in task.content.staged:
                    file.abandon()


def _convert(butler: Butler, tasks: Sequence[_Task], tolerance: float, result: Converted) -> None:
    """Make the new files of a batch, and switch to them."""
    staged: list[StagedFile] = []
    with butler.cleaning(staged):
        made: dict[int, tuple[_Task, Replacement, StagedFile]] = {}
        for task in tasks:
            try:
                new, file = _made(butler, task, tolerance, staged)
            except (ButlerError, ChangedFile) as error:
                result.failed.append((task.ref, str(error)))
                continue
            made[new.file_id] = task, new, file
        if not made:
            return
        done = butler.registry.database.transact(
            _switch, [new for _, new, _ in made.values()], {k: f for k, (_, _, f) in made.items()}
        )
        for key, (task, new, file) in made.items():
            if key in done:
                _count(result, task.kind_of_change, task.old.size)
                result.new_bytes += new.size
            else:
                result.meanwhile += 1
                file.abandon()


def _switch(
    connection: sa.Connection, new: Sequence[Replacement], staged: Mapping[int, StagedFile]
) -> set[int]:
    done = replacing.replace(connection, new)
    settle([staged[key] for key in sorted(done)])
    return done


def _made(
    butler: Butler, task: _Task, tolerance: float, staged: list[StagedFile]
) -> tuple[Replacement, StagedFile]:
    """Make the new file of a dataset, and see that it holds the same."""
    ref, old, writer, where = task.ref, task.old, task.how.writer, task.how.endpoint
    stem = task.how.stem(ref) + (f"_{old.component}" if old.component else "")
    extension = writer.extension
    if task.same_format:
        name = old.path.rpartition("/")[2]
        _, ours, ending = name.rpartition(ref.id.hex[-12:])
        extension = ending if ours else "".join(Path(name).suffixes[-2:])
    # never used before: what removes the old file can never hit the new one
    path = StagedFile.path_for(f"{stem}_{os.urandom(3).hex()}", ref.id, extension)
    if task.same_format:
        file = replicas.copied(task.copies, where, butler.root, path, fsync=task.how.fsync)
        staged.append(file)
        size, checksum = old.size, old.checksum
    else:
        file = stage(where, butler.root, path)
        staged.append(file)
        here = Place(butler.registry.id, butler.root, butler.registry)
        obj = replicas.read_first_good(task.copies, here, None, None, trusted=butler.trusted)
        cards = {**_provenance(butler, task.copies), "SKYS_ID": str(ref.id), "SKYS_RUN": ref.run}
        written = writer.write(obj, file.temporary, cards)
        size, checksum = written.size, written.checksum
        back = get_formatter(writer.name).read(file.temporary, trusted=True)
        why = difference(obj, back, tolerance)
        if why:
            file.abandon(settled=False)
            raise ConvertError(
                f"{writer.name} does not keep all of it: {why}. Allow a difference with "
                "tolerance=, or take another format.",
                name=writer.name,
            )
        file.send(size, fsync=task.how.fsync)
    if isinstance(file, SentFile) and checksum not in (None, file.arrived(size)):
        file.abandon()
        raise ChangedFile(f"{file.path} has not arrived as it was sent; convert it again.")
    new = Replacement(
        old.file_id,
        old.path,
        frozenset(copy.endpoint.id for copy in task.copies),
        path,
        size,
        checksum,
        writer.name,
        writer.chosen,
        (where.name,),
    )
    return new, file


def _provenance(butler: Butler, copies: Sequence[files.Stored]) -> dict[str, str]:
    """Read what the old files say of their origin."""
    for copy in copies:
        if copy.endpoint.in_tables:
            continue
        try:
            source = replicas.source_of(copy, butler.root)
            return get_formatter(copy.formatter).read_provenance(source)
        except replicas.OF_THE_COPY:
            continue
    return {}
