"""How do datasets that are stored come into another format, or to another endpoint?

Each is read, written anew under a name that was never used, read back and compared; one
transaction lets its row point to the new file (`backbone.replacing`).  The old file stays as trash
for a while, so that readers go on reading.  Killed at any moment it leaves the old file or the new
one in force, and what it has made in vain for ``skyspine check``; done again, it goes on.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from backbone import files, replacing
from backbone.errors import ChangedFile
from backbone.replacing import Replacement
from backbone.sending import SentFile, stage
from backbone.staging import StagedFile, settle
from butler import removal, replicas
from butler.comparing import difference
from butler.errors import ButlerError, ConvertError
from butler.formatters import get_formatter
from butler.inputs import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import sqlalchemy as sa

    from butler.butler import Butler
    from butler.deciding import Decision, Format
    from registry.identity import DatasetRef

__all__ = ["KEEP_SECONDS", "Converted", "convert"]

BATCH = 50
"""Files that are switched in one transaction."""
KEEP_SECONDS = 600.0
"""How long old files stay for who has looked them up [s]."""


@dataclass(slots=True)
class Converted:
    """What came of a conversion, or would.

    Parameters
    ----------
    changes : dict
        By old format, old endpoints, new format and new endpoints: how many files, and how many
        bytes they have.
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
        Where the new files shall lie; by default, where the old ones do.
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
    tasks = _plan(butler, refs, format, endpoint, result)
    if dry_run:
        for task in tasks:
            _count(result, task)
        return result
    for start in range(0, len(tasks), BATCH):
        _convert(butler, tasks[start : start + BATCH], tolerance, result)
        removal.empty_afterwards(butler, older_than=KEEP_SECONDS)
        if progress is not None:
            progress(min(start + BATCH, len(tasks)), len(tasks))
    return result


def _plan(
    butler: Butler,
    refs: Sequence[DatasetRef],
    format_: Format | None,
    endpoint: str | None,
    result: Converted,
) -> list[_Task]:
    """Find the files that are not as they shall be."""
    by_id = {ref.id: ref for ref in refs}
    with butler.registry.database.snapshot() as connection:
        known = files.all_copies(connection, list(by_id))
        away = replacing.out_of_reach(connection, list(by_id))
    tasks, found = [], set()
    for key, copies in known.items():
        ref = by_id[copies[0].dataset_id]
        found.add(ref.id)
        task = _Task(ref, copies, _how(butler, ref, copies, format_, endpoint))
        in_table = any(copy.endpoint.in_tables for copy in copies)
        if in_table or task.how.table is not None:
            if in_table and task.how.table is not None:
                result.unchanged += 1
            else:
                reason = "lies in a table" if in_table else "would lie in a table"
                result.failed.append((ref, f"it {reason}; only files are converted to files"))
            continue
        where = [copy.endpoint.name for copy in copies]
        wanted = task.how.endpoint.name
        if task.same_format and (where == [wanted] or (endpoint is None and wanted in where)):
            result.unchanged += 1
        elif len(where) > 1 and endpoint is None:
            result.failed.append(
                (ref, f"it has copies at {', '.join(where)}; say which endpoint shall have the new")
            )
        elif key in away:
            result.failed.append(
                (ref, f"it has a copy at the endpoint '{away[key]}', which is offline")
            )
        elif copies[0].component and not task.same_format:
            result.failed.append((ref, "it lies in files of its parts, which keep their formats"))
        else:
            tasks.append(task)
    result.failed += [
        (ref, "no copy of it can be read here") for key, ref in by_id.items() if key not in found
    ]
    return tasks


def _how(
    butler: Butler,
    ref: DatasetRef,
    copies: Sequence[files.Stored],
    format_: Format | None,
    endpoint: str | None,
) -> Decision:
    """Decide what a file shall be: what is not asked for stays, or is what the policy says."""
    old = copies[0]
    if format_ is None and endpoint is not None:
        format_ = {"name": old.formatter, **(old.options or {})}
    stays = old.endpoint.owned and not old.endpoint.in_tables
    if endpoint is None and format_ is not None and stays:
        endpoint = old.endpoint.name
    return butler.policy.decide(ref, format_, endpoint)


def _count(result: Converted, task: _Task) -> None:
    n, size = result.changes.get(task.kind_of_change, (0, 0))
    result.changes[task.kind_of_change] = n + 1, size + task.old.size


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
                _count(result, task)
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
        cards = {**_provenance(butler, task), "SKYS_ID": str(ref.id), "SKYS_RUN": ref.run}
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


def _provenance(butler: Butler, task: _Task) -> dict[str, str]:
    """Read what the old file says of its origin."""
    for copy in task.copies:
        try:
            source = replicas.source_of(copy, butler.root)
            return get_formatter(copy.formatter).read_provenance(source)
        except replicas.OF_THE_COPY:
            continue
    return {}
