"""Which software version made what?"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from registry.database import CHUNK, in_written_order, rows_of
from registry.datasets import get_refs
from registry.errors import RegistryError, UnknownPackage
from registry.schema import provenance as schema
from registry.schema.collections import collection
from registry.schema.identity import dataset, dataset_type

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Iterator, Sequence

    from packaging.specifiers import SpecifierSet

    from registry.identity import DatasetRef

__all__ = ["Made", "datasets_made_with", "environments_with", "made_with"]


@dataclass(frozen=True, slots=True)
class Made:
    """How many datasets of a type a task made in a run with a version of a package.

    Parameters
    ----------
    version : str
        Of the package.
    run, task_label, dataset_type : str
        Where, by what, and of which type.
    n_datasets : int
        How many.
    first, last : datetime
        When the quanta that made them ended, UTC.
    """

    version: str
    run: str
    task_label: str
    dataset_type: str
    n_datasets: int
    first: dt.datetime
    last: dt.datetime


def environments_with(connection: sa.Connection, package: str) -> dict[int, str]:
    """Find the software environments that have a package, with its version in each.

    Parameters
    ----------
    package : str
        Name of a distribution, or ``python``; optionally with versions, as in ``astropy<7.1`` or
        ``numpy>=1.26,<2`` (PEP 440).

    Raises
    ------
    UnknownPackage
        If no environment has it, in any version.
    RegistryError
        If the versions cannot be understood.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        asked = Requirement(package)
    except InvalidRequirement as error:
        raise RegistryError(
            f"'{package}' is not a package with versions; write for example astropy, "
            f"astropy==7.0.1 or 'numpy>=1.26,<2' ({str(error).splitlines()[0]})."
        ) from error
    e, p = schema.environment, schema.environment_package
    name = _canonical(asked.name)
    if name == "python":
        found = dict(connection.execute(sa.select(e.c.id, e.c.python)).all())
    else:
        names = connection.execute(sa.select(p.c.name).distinct()).scalars().all()
        meant = [n for n in names if _canonical(n) == name]
        if not meant:
            raise UnknownPackage(asked.name, [*names, "python"])
        having = sa.select(p.c.environment_id, p.c.version).where(p.c.name.in_(meant))
        found = dict(connection.execute(having).all())
    return {key: v for key, v in found.items() if _allowed(asked.specifier, v)}


def _canonical(name: str) -> str:
    """Write the name of a distribution in the one form in which equal names are equal (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _allowed(specifier: SpecifierSet, version: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return not specifier or str(specifier) in {f"=={version}", f"==={version}"}


def made_with(places: Sequence[sa.Connection], package: str) -> list[Made]:
    """Count what was made with the versions of a package; see `environments_with`.

    Parameters
    ----------
    places : sequence of sqlalchemy.Connection
        One to each repository; a quantum that several know of counts once.
    """
    found: dict[tuple[str, str, str, str], list[tuple[int, dt.datetime, dt.datetime]]]
    found = defaultdict(list)
    having = _environments_across(places, package)
    for n, (place, versions) in enumerate(zip(places, having, strict=True)):
        for key, counted in _counted(place, versions).items():
            found[key] += counted
        for part in _known_before(places[:n], having[:n], place):
            for key, counted in _counted(place, versions, part).items():
                found[key] += [(-many, first, last) for many, first, last in counted]
    return [
        Made(
            *key,
            sum(n for n, _, _ in parts),
            min(first for _, first, _ in parts),
            max(last for _, _, last in parts),
        )
        for key, parts in sorted(found.items())
    ]


def _environments_across(places: Sequence[sa.Connection], package: str) -> list[dict[int, str]]:
    """Find the environments that have a package in each repository; in one at least."""
    found: list[dict[int, str]] = []
    unknown: list[UnknownPackage] = []
    for place in places:
        try:
            found.append(environments_with(place, package))
        except UnknownPackage as error:
            unknown.append(error)
            found.append({})
    if len(unknown) == len(places):
        raise unknown[0]
    return found


def _counted(
    connection: sa.Connection, versions: dict[int, str], quanta: Sequence[uuid.UUID] | None = None
) -> dict[tuple[str, str, str, str], list[tuple[int, dt.datetime, dt.datetime]]]:
    """Count outputs by version, run, task and type, with when the first and last was made.

    Parameters
    ----------
    quanta : sequence of uuid.UUID, optional
        Only what these made.
    """
    q, t, o = schema.quantum, schema.task, schema.quantum_output
    statement = (
        sa.select(
            q.c.environment_id,
            collection.c.name,
            t.c.label,
            dataset_type.c.name,
            sa.func.count(),
            sa.func.min(q.c.finished_at),
            sa.func.max(q.c.finished_at),
        )
        .join_from(q, o, o.c.quantum_id == q.c.id)
        .join(dataset, dataset.c.id == o.c.dataset_id)
        .join(dataset_type, dataset_type.c.id == dataset.c.dataset_type_id)
        .join(t, t.c.id == q.c.task_id)
        .join(collection, collection.c.id == t.c.run_id)
        .where(q.c.environment_id.in_(list(versions)))
        .group_by(q.c.environment_id, collection.c.name, t.c.label, dataset_type.c.name)
    )
    if quanta is not None:
        given = rows_of(connection, [{"id": i} for i in quanta], {"id": sa.Uuid})
        statement = statement.join(given, given.c.id == q.c.id)
    found: dict[tuple[str, str, str, str], list[tuple[int, dt.datetime, dt.datetime]]]
    found = defaultdict(list)
    for key, run, label, kind, *counted in connection.execute(statement):
        found[versions[key], run, label, kind].append((counted[0], counted[1], counted[2]))
    return found


def _known_before(
    earlier: Sequence[sa.Connection], having: Sequence[dict[int, str]], place: sa.Connection
) -> Iterator[list[uuid.UUID]]:
    """Give the quanta with some environments that a repository shares with earlier ones, once."""
    q = schema.quantum
    told: set[uuid.UUID] = set()
    for other, versions in zip(earlier, having, strict=True):
        if not versions:
            continue
        theirs = sa.select(q.c.id).where(q.c.environment_id.in_(list(versions)))
        for part in other.execute(theirs).scalars().partitions(CHUNK):
            given = rows_of(place, [{"id": i} for i in part], {"id": sa.Uuid})
            both = sa.select(q.c.id).join_from(given, q, q.c.id == given.c.id)
            new = [i for i in place.execute(both).scalars() if i not in told]
            told.update(new)
            if new:
                yield new


def datasets_made_with(places: Sequence[sa.Connection], package: str) -> list[DatasetRef]:
    """List what was made with the versions of a package, oldest first; see `environments_with`."""
    q, o = schema.quantum, schema.quantum_output
    refs: dict[uuid.UUID, DatasetRef] = {}
    for place, versions in zip(places, _environments_across(places, package), strict=True):
        statement = (
            sa.select(o.c.dataset_id)
            .join_from(q, o, o.c.quantum_id == q.c.id)
            .where(q.c.environment_id.in_(list(versions)))
            .order_by(o.c.dataset_id)
        )
        ids = place.execute(in_written_order(statement)).scalars().all()
        refs = get_refs(place, [i for i in ids if i not in refs]) | refs
    return [refs[i] for i in sorted(refs)]
