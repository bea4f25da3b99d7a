"""Do the database and the storage agree?

`check` compares both ways: every recorded copy against its file, every file below the root against
the records, every running quantum against its process.  With ``repair`` it removes what nothing
refers to and marks what is lost; it never deletes a recorded copy that is whole.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from backbone import endpoints, files, remote_audit, row_audit
from backbone.endpoints import ROOT, Endpoint
from backbone.errors import BackboneError
from backbone.liveness import is_gone
from backbone.staging import PART, checksum
from registry.database import rows_of, utc_now
from registry.provenance import recovery
from registry.schema.files import endpoint, file, replica
from registry.schema.plans import planned_output
from registry.schema.provenance import quantum

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from registry.database import Database

__all__ = ["Finding", "Report", "check"]

GRACE_SECONDS = 600.0
"""Younger files without a row may belong to an open transaction and are left alone [s]."""
GONE = "The process that ran this quantum is gone; run it again."

MADE_HERE = re.compile(rf"\.?.*_[0-9a-f]{{12}}(\.[A-Za-z0-9.]*)?({re.escape(PART)})?")
"""Names that `backbone.staging.StagedFile` gives."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement.

    Parameters
    ----------
    problem : str
        missing, size, checksum, orphan, unfinished, deleting, trash, abandoned, or unreachable for
        an endpoint that does not answer, of which nothing is known then.
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
        Recorded copies compared; files seen below the root.
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
                endpoint.c.id.label("endpoint_id"),
                endpoint.c.name,
                endpoint.c.root,
                endpoint.c.owned,
            )
            .join(replica, replica.c.file_id == file.c.id)
            .join(endpoint, endpoint.c.id == replica.c.endpoint_id)
        ).all()
        trash = [t for t in files.trashed(connection) if _age(t.since) >= grace]
        running = connection.execute(
            sa.select(quantum.c.id, quantum.c.host, quantum.c.pid, quantum.c.started_at).where(
                quantum.c.state == "running"
            )
        ).all()
    lost: list[tuple[int, int, str]] = []
    deleting: list[tuple[int, int]] = []
    known: set[Path] = set()
    far: dict[Endpoint, _Far] = {where: _Far() for where in _remote_endpoints(database)}
    for row in rows:
        where = Endpoint(row.endpoint_id, row.name, row.root, bool(row.owned))
        if where.in_tables:
            report.n_copies += 1
            continue
        if where.is_remote:
            far[where].rows.append(row)
            continue
        place = where.locate(row.path, repository)
        known.add(place)
        if row.state == "deleting":
            if repair and where.owned:
                place.unlink(missing_ok=True)
            deleting.append((row.id, row.endpoint_id))
            report.findings.append(Finding("deleting", row.path, repair))
            continue
        report.n_copies += 1
        problem = _problem(place, row.size_bytes, row.checksum if checksums else None)
        if problem and row.state == "available":
            lost.append((row.id, row.endpoint_id, "lost" if problem == "missing" else "corrupt"))
        if problem:
            report.findings.append(Finding(problem, str(place), repair))
    emptied: list[int] = []
    for item in trash:
        if item.endpoint.is_remote:
            far[item.endpoint].trash.append(item)
            continue
        emptied.append(item.id)
        place = item.endpoint.locate(item.path, repository)
        if repair and not item.live:
            place.unlink(missing_ok=True)
        known.add(place)
        report.findings.append(Finding("trash", item.path, repair))
    strays = _strays(repository, known)
    report.n_files = len(strays) + sum(place.is_relative_to(repository) for place in known)
    old = [place for place, age in strays if age >= grace]
    away = _made_away(database) if old else set()  # before the rows: it may come home meanwhile
    recorded = {repository / path for path in _paths_at(database, ROOT)} if old else known
    for place in old:
        problem = "unfinished" if place.name.endswith(PART) else "orphan"
        if away and not away.isdisjoint(_TAIL.findall(place.name)):
            continue
        if place in recorded:  # by a transaction that has ended since the rows were read
            continue
        if repair:
            place.unlink(missing_ok=True)
        report.findings.append(Finding(problem, str(place), repair))
    for where, recorded_there in far.items():
        try:
            _check_far(database, where, recorded_there, report, repair, checksums, grace)
        except BackboneError as error:
            report.findings.append(Finding("unreachable", f"{where.name}: {error}"))
            continue
        lost += recorded_there.lost
        if repair:
            deleting += recorded_there.deleting
            emptied += [item.id for item in recorded_there.trash]
    lost += _check_tables(database, report, repair, checksums)
    gone = [(r.id, r.host, r.pid) for r in running if is_gone(r.host, r.pid, r.started_at)]
    report.findings += [Finding("abandoned", f"quantum {i}", repair) for i, _, _ in gone]
    if repair:
        database.transact(_mark, lost, deleting)
        database.transact(files.forget_trash, emptied)
        database.transact(recovery.declare_lost, gone, GONE)
    return report


@dataclass(slots=True)
class _Far:
    """What is recorded at an endpoint behind a URL, and what came of the comparison."""

    rows: list[Any] = field(default_factory=list)
    trash: list[files.Trashed] = field(default_factory=list)
    lost: list[tuple[int, int, str]] = field(default_factory=list)
    deleting: list[tuple[int, int]] = field(default_factory=list)


def _remote_endpoints(database: Database) -> list[Endpoint]:
    with database.read() as connection:
        every = [contents.endpoint for contents in endpoints.listed(connection)]
    return [where for where in every if where.is_remote]


def _check_far(
    database: Database,
    where: Endpoint,
    far: _Far,
    report: Report,
    repair: bool,
    checksums: bool,
    grace: float,
) -> None:
    """Compare what is recorded at an endpoint with what is there; see `remote_audit.compare`."""
    there = where.remote()
    used = [row for row in far.rows if row.state != "deleting"]
    going = [row for row in far.rows if row.state == "deleting"]
    known = {row.path for row in going} | {item.path for item in far.trash}
    found = remote_audit.compare(where, used, known, checksums=checksums)
    report.n_copies += len(used)
    for row, problem in found.problems:
        if row.state == "available":
            far.lost.append((row.id, where.id, "lost" if problem == "missing" else "corrupt"))
        report.findings.append(Finding(problem, there.url(row.path), repair))
    for row in going:
        if repair and where.owned:
            there.remove(row.path)
        far.deleting.append((row.id, where.id))
        report.findings.append(Finding("deleting", there.url(row.path), repair))
    for item in far.trash:
        if repair and not item.live:
            there.remove(item.path)
        report.findings.append(Finding("trash", there.url(item.path), repair))
    if not where.owned:  # what else lies there is not ours
        return
    old = [
        path
        for path, age in found.strays
        if age >= grace and MADE_HERE.fullmatch(path.rpartition("/")[2])
    ]
    recorded = _paths_at(database, where.name) if old else set()
    for path in old:
        if path in recorded:  # by a transaction that has ended since the rows were read
            continue
        if repair:
            there.remove(path)
        problem = "unfinished" if path.endswith(PART) else "orphan"
        report.findings.append(Finding(problem, there.url(path), repair))


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


def _age(since: dt.datetime) -> float:
    return (utc_now() - since).total_seconds()


def _problem(place: Path, size: int, digest: str | None) -> str:
    try:
        found = place.stat().st_size
    except OSError:
        return "missing"
    if found != size:
        return "size"
    if digest is not None and checksum(place) != digest:
        return "checksum"
    return ""


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


def _strays(repository: Path, known: set[Path]) -> list[tuple[Path, float]]:
    """List the files below the root that a Butler has named and no row knows, with their age [s].

    Anything else below the root (the database, notes, raw frames that were ingested where they lie
    or not at all) belongs to somebody else. Age counts from the last change of the name, since a
    hard link is as old as its source.
    """
    now = time.time()
    found = []
    for folder, _, names in os.walk(repository):
        for name in names:
            place = type(repository)(folder, name)
            if place in known or not MADE_HERE.fullmatch(name):
                continue
            try:
                found.append((place, now - place.lstat().st_ctime))
            except FileNotFoundError:  # its transaction has ended meanwhile
                continue
    return found


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
