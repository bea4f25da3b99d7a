"""Do the database and the storage agree?

`check` compares both ways: every recorded copy against its file, every file below the repository's
folders against the records, every running quantum against its process.  With ``repair`` it removes
what nothing refers to and marks what is lost; it never deletes a recorded copy that is whole.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from backbone import endpoints, files, owners, remote_audit, row_audit, trash
from backbone.errors import BackboneError
from backbone.liveness import is_gone
from backbone.staging import PART, checksum
from registry import repositories
from registry.database import rows_of, utc_now
from registry.provenance import recovery
from registry.schema.files import endpoint, file, replica
from registry.schema.plans import planned_output
from registry.schema.provenance import quantum

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from backbone.endpoints import Endpoint
    from registry.database import Database

__all__ = ["Finding", "Report", "check"]

GRACE_SECONDS = 600.0
"""Younger files without a row may belong to an open transaction and are left alone [s]."""
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR)
"""Answers of the system that say that a file is not there."""
GONE = "The process that ran this quantum is gone; run it again."

MADE_HERE = re.compile(rf"\.?.*_[0-9a-f]{{12}}(\.[A-Za-z0-9.]*)?({re.escape(PART)})?")
"""Names that `backbone.staging.StagedFile` gives."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement.

    Parameters
    ----------
    problem : str
        missing, size, checksum, orphan, unfinished, deleting, trash, abandoned; or unreachable for
        an endpoint that does not answer, and unreadable for a file that the system does not let be
        read or removed: nothing is known of it then, and it is not marked as lost.
    what : str
        Path or identity.
    repaired : bool
        Whether it was put right.
    """

    problem: str
    what: str
    repaired: bool = False


@dataclass(slots=True)
class Report:
    """What a check found.

    Parameters
    ----------
    n_copies, n_files : int
        Recorded copies compared; files seen below the folders of the repository.
    findings : list of Finding
        Empty when all is well.
    """

    n_copies: int = 0
    n_files: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def unrepaired(self) -> list[Finding]:
        """What still stands."""
        return [f for f in self.findings if not f.repaired]


def check(
    database: Database,
    repository: Path,
    *,
    repair: bool = False,
    checksums: bool = False,
    grace: float = GRACE_SECONDS,
) -> Report:
    """Compare the records with the files.

    Parameters
    ----------
    repository : Path
        Root of the repository.
    repair : bool
        Remove orphans and unfinished files, finish deletions, mark lost and corrupt copies, and
        fail quanta whose process is gone.
    checksums : bool
        Read every file, instead of comparing sizes only.
    grace : float
        Age below which a file without a row is left alone [s].

    Returns
    -------
    Report
    """
    report = Report()
    with database.read() as connection:
        rows = connection.execute(
            sa.select(
                file.c.id,
                file.c.path,
                file.c.size_bytes,
                file.c.checksum,
                replica.c.state,
                replica.c.endpoint_id,
            )
            .join(replica, replica.c.file_id == file.c.id)
            .join(endpoint, endpoint.c.id == replica.c.endpoint_id)
            .where(endpoint.c.state == "online")
        ).all()
        thrown = trash.listed(connection)
        all_places = endpoints.every(connection)
        places = {there.id: _Storage(there) for there in all_places if there.online}
        running = connection.execute(
            sa.select(quantum.c.id, quantum.c.host, quantum.c.pid, quantum.c.started_at).where(
                quantum.c.state == "running"
            )
        ).all()
    for row in rows:
        places[row.endpoint_id].rows.append(row)
    for item in thrown:
        places[item.endpoint.id].trash.append(item)
    how = _How(database, repository, report, repair, checksums, grace)
    lost: list[tuple[int, int, str]] = []
    deleting: list[tuple[int, int]] = []
    near = [there for there in places.values() if there.is_near]
    _check_strays(how, [there for there in near if _check_near(how, there)])
    for there in places.values():
        if there.where.in_tables:
            report.n_copies += len(there.rows)
        elif there.where.is_remote:
            try:
                _check_far(how, there, all_places)
            except BackboneError as error:
                report.findings.append(Finding("unreachable", f"{there.where.name}: {error}"))
                continue
        lost += there.lost
        deleting += there.deleting
    lost += _check_tables(database, report, repair, checksums)
    gone = [(r.id, r.host, r.pid) for r in running if is_gone(r.host, r.pid, r.started_at)]
    report.findings += [Finding("abandoned", f"quantum {i}", repair) for i, _, _ in gone]
    if repair:
        database.transact(_mark, lost, deleting)
        database.transact(recovery.declare_lost, gone, GONE)
    return report


@dataclass(slots=True)
class _Storage:
    """An endpoint, what is recorded there, and what came of the comparison."""

    where: Endpoint
    rows: list[Any] = field(default_factory=list)
    trash: list[trash.Trashed] = field(default_factory=list)
    lost: list[tuple[int, int, str]] = field(default_factory=list)
    deleting: list[tuple[int, int]] = field(default_factory=list)

    @property
    def is_near(self) -> bool:
        return not (self.where.is_remote or self.where.in_tables)

    def compared(self, row: Any, problem: str) -> None:
        """Note that a copy is not as it is recorded."""
        if row.state == "available":
            state = "lost" if problem == "missing" else "corrupt"
            self.lost.append((row.id, self.where.id, state))


@dataclass(frozen=True, slots=True)
class _How:
    """What is asked for, and where it is told."""

    database: Database
    repository: Path
    report: Report
    repair: bool
    checksums: bool
    grace: float

    def tell(self, problem: str, what: str) -> None:
        self.report.findings.append(Finding(problem, what, self.repair))

    def empty(self, there: _Storage, shown: Callable[[str], str]) -> None:
        """Finish the removal of what is trash for long enough."""
        old = [item for item in there.trash if item.age >= self.grace]
        if self.repair:
            for why in trash.empty(self.database, self.repository, old).away:
                if there.where.is_remote:
                    raise why
                self.report.findings.append(Finding("unreadable", str(why)))
                return
        for item in old:
            self.tell("trash", shown(item.path))


def _check_near(how: _How, there: _Storage) -> bool:
    """Compare what is recorded at an endpoint on this machine with what is there.

    Returns
    -------
    bool
        False if its folder is not there or closed, so that nothing is known of it.
    """
    where, report = there.where, how.report
    folder = where.locate("", how.repository)
    if where.root and not (os.path.isdir(folder) and os.access(folder, os.R_OK | os.X_OK)):  # noqa: PTH112
        why = "may not be read" if os.path.isdir(folder) else "is no folder here; is it mounted?"  # noqa: PTH112
        report.findings.append(Finding("unreachable", f"{where.name}: {folder} {why}"))
        return False
    for row in there.rows:
        place = where.locate(row.path, how.repository)
        if row.state == "deleting":
            if how.repair and where.owned:
                try:
                    where.remove(row.path, how.repository)
                except BackboneError as error:
                    report.findings.append(Finding("unreadable", str(error)))
                    continue
            there.deleting.append((row.id, where.id))
            how.tell("deleting", row.path)
            continue
        report.n_copies += 1
        problem = _problem(place, row.size_bytes, row.checksum if how.checksums else None)
        if problem == "unreadable":
            report.findings.append(Finding(problem, str(place)))
        elif problem:
            there.compared(row, problem)
            how.tell(problem, str(place))
    how.empty(there, str)
    return True


def _check_strays(how: _How, near: Sequence[_Storage]) -> None:
    """Find the files below the folders of this repository that nothing refers to."""
    repository = how.repository
    known = {
        there.where.locate(path, repository)
        for there in near
        for path in (
            *(row.path for row in there.rows),
            *(item.path for item in there.trash),
        )
    }
    roots = [there.where.locate("", repository) for there in near if _is_ours(how, there)]
    ours = how.database.ask(repositories.identity)
    own = {root.resolve() for root in roots}
    strays = [stray for root in _outermost(roots) for stray in _strays(root, known, own, ours)]
    how.report.n_files = len(strays) + sum(
        any(place.is_relative_to(root) for root in roots) for place in known
    )
    old = [place for place, age in strays if age >= how.grace]
    away = _made_away(how.database) if old else set()  # first: it may come home meanwhile
    recorded = {
        there.where.locate(path, repository)
        for there in (near if old else ())
        for path in _paths_at(how.database, there.where.name)
    }
    for place in old:
        problem = "unfinished" if place.name.endswith(PART) else "orphan"
        if away and not away.isdisjoint(_TAIL.findall(place.name)):
            continue
        if place in recorded:  # by a transaction that has ended since the rows were read
            continue
        if _age(place) < how.grace:  # somebody uses it after all, who has touched it
            continue
        try:
            if how.repair:
                place.unlink(missing_ok=True)
        except OSError as error:
            how.report.findings.append(Finding("unreadable", f"{place}: {error.strerror}"))
            continue
        how.tell(problem, str(place))


def _is_ours(how: _How, there: _Storage) -> bool:
    """Tell whether files below an endpoint that nothing refers to are this repository's."""
    if not there.where.owned or there.where.name == endpoints.ROOT:
        return there.where.owned
    ours = how.database.ask(repositories.identity)
    try:
        return owners.belongs(there.where.locate("", how.repository)) == ours
    except BackboneError as error:
        how.report.findings.append(Finding("unreachable", f"{there.where.name}: {error}"))
        return False


def _is_ours_far(how: _How, where: Endpoint) -> bool:
    """Do what `_is_ours` does for what lies behind a URL."""
    owner = owners.belongs_far(where.remote())
    ours = how.database.ask(repositories.identity)
    if owner not in (None, ours):
        what = f"{where.name}: what lies there is the repository's with the identity {owner}"
        how.report.findings.append(Finding("unreachable", what))
    return owner in (None, ours)


def _outermost(roots: Sequence[Path]) -> list[Path]:
    """Leave out folders that are there and lie in others."""
    real = sorted({root.resolve() for root in roots if root.is_dir()})
    outer = [root for root in real if not any(other in root.parents for other in real)]
    return [next(root for root in roots if root.resolve() == one) for one in outer]


def _check_far(how: _How, there: _Storage, places: Iterable[Endpoint]) -> None:
    """Compare what is recorded at an endpoint with what is there; see `remote_audit.compare`."""
    where, remote = there.where, there.where.remote()
    used = [row for row in there.rows if row.state != "deleting"]
    going = [row for row in there.rows if row.state == "deleting"]
    known = {row.path for row in going} | {item.path for item in there.trash}
    found = remote_audit.compare(where, used, known, checksums=how.checksums)
    how.report.n_copies += len(used)
    for row, problem in found.problems:
        there.compared(row, problem)
        how.tell(problem, remote.url(row.path))
    for row in going:
        if how.repair and where.owned:
            remote.remove(row.path)
        there.deleting.append((row.id, where.id))
        how.tell("deleting", remote.url(row.path))
    how.empty(there, remote.url)
    if not where.owned or not _is_ours_far(how, where):  # what else lies there
        return
    inner = tuple(
        path.removesuffix(name)
        for path, _ in found.strays
        for name in (owners.OWNER, owners.SETTINGS)
        if path.endswith(f"/{name}")
    ) + tuple(filter(None, (endpoints.below(where, other) for other in places)))
    old = [
        path
        for path, age in found.strays
        if age >= how.grace
        and MADE_HERE.fullmatch(path.rpartition("/")[2])
        and not path.startswith(inner)  # which is looked at by itself, or by another repository
    ]
    recorded = _paths_at(how.database, where.name) if old else set()
    for path in old:
        if path in recorded:  # by a transaction that has ended since the rows were read
            continue
        if how.repair:
            remote.remove(path)
        how.tell("unfinished" if path.endswith(PART) else "orphan", remote.url(path))


def _check_tables(
    database: Database, report: Report, repair: bool, checksums: bool
) -> list[tuple[int, int, str]]:
    """Compare rows with what is recorded of them, and give what is lost of them."""
    with database.snapshot() as connection:
        different = row_audit.compare(connection, checksums=checksums)
        orphans = row_audit.orphans(connection)
    report.findings += [Finding(d.problem, d.what, repair) for d in different]
    report.findings += [Finding("orphan", f"{name}/{key.hex}", repair) for name, key in orphans]
    if repair and orphans:
        database.transact(row_audit.remove_orphans, orphans)
    return [
        (d.file_id, d.endpoint_id, "lost" if d.problem == "missing" else "corrupt")
        for d in different
    ]


def _problem(place: Path, size: int, digest: str | None) -> str:
    try:
        found = place.stat()
        if not stat.S_ISREG(found.st_mode):
            return "missing"
        if found.st_size != size:
            return "size"
        return "checksum" if digest is not None and checksum(place) != digest else ""
    except OSError as error:
        return "missing" if error.errno in _ABSENT else "unreadable"


def _paths_at(database: Database, name: str) -> set[str]:
    paths = (
        sa.select(file.c.path)
        .join(replica, replica.c.file_id == file.c.id)
        .join(endpoint, endpoint.c.id == replica.c.endpoint_id)
        .where(endpoint.c.name == name)
    )
    with database.read() as connection:
        return set(connection.execute(paths).scalars())


_TAIL = re.compile("_([0-9a-f]{12})(?=[.])")
"""The tail of a dataset's identity, in the name of its file."""


def _made_away(database: Database) -> set[str]:
    """Tell the tails of what graph files make: it lies here, and its row comes home later."""
    asked = (
        sa.select(planned_output.c.dataset_id)
        .join(quantum, quantum.c.id == planned_output.c.quantum_id)
        .where(quantum.c.state == "away")
    )
    with database.read() as connection:
        return {key.hex[-12:] for key in connection.execute(asked).scalars()}


def _strays(
    root: Path, known: set[Path], own: set[Path], repository: uuid.UUID
) -> list[tuple[Path, float]]:
    """List the files below a folder that a Butler has named and no row knows, with their age [s].

    Anything else below it (the database, notes, raw frames that were ingested where they lie
    or not at all) belongs to somebody else, and so does all of a folder of another repository. Age
    counts from the last change of the name, since a hard link is as old as its source.
    """
    found = []
    for folder, below, names in os.walk(root):
        here = type(root)(folder)
        if owners.is_others(here, names, repository) and here.resolve() not in own:
            below.clear()
            continue
        for name in names:
            place = here / name
            if place in known or not MADE_HERE.fullmatch(name):
                continue
            age = _age(place)
            if age >= 0:  # else its transaction has ended meanwhile
                found.append((place, age))
    return found


def _age(place: Path) -> float:
    """How long ago a file was last changed, named or touched [s]; -1 when it is gone."""
    try:
        return max(time.time() - place.lstat().st_ctime, 0.0)
    except FileNotFoundError:
        return -1.0


def _mark(
    connection: sa.Connection,
    lost: list[tuple[int, int, str]],
    deleting: list[tuple[int, int]],
) -> None:
    for state in ("lost", "corrupt"):
        keys = [{"k": f, "e": e} for f, e, s in lost if s == state]
        given = rows_of(connection, keys, {"k": sa.BigInteger, "e": sa.BigInteger})
        connection.execute(
            sa.update(replica)
            .where(
                replica.c.file_id == given.c.k,
                replica.c.endpoint_id == given.c.e,
                replica.c.state == "available",
            )
            .values(state=state, since=utc_now())
        )
    for where in {at for _, at in deleting}:
        files.end_deletion_at(connection, where, [key for key, at in deleting if at == where])
