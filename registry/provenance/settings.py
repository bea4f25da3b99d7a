"""With which configurations, in which software, did quanta run, and where do their products lie?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from registry.database import CHUNK, in_written_order, rows_of
from registry.schema import provenance as schema
from registry.schema.files import endpoint, file, replica
from registry.schema.identity import repository

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Sequence

    from registry.provenance.graphs import Graph

__all__ = [
    "Configuration",
    "Settings",
    "Software",
    "configurations",
    "environments",
    "locations",
    "settings_of",
]


@dataclass(frozen=True, slots=True)
class Configuration:
    """A frozen configuration.

    Parameters
    ----------
    digest : str
        SHA-256 of class and values, hex.
    class_name : str
        Configuration class, dotted path.
    values : dict of (value, type)
        By dotted path of the field; the value as a literal, None for None.
    """

    digest: str
    class_name: str
    values: dict[str, tuple[str | None, str]]


@dataclass(frozen=True, slots=True)
class Software:
    """A software environment.

    Parameters
    ----------
    digest : str
        SHA-256 of the content, hex.
    python, platform : str
        Version of Python; operating system and machine type.
    code_revision : str, optional
        Revision of the code in a checkout.
    packages : dict of str
        Versions by name of the distribution.
    """

    digest: str
    python: str
    platform: str
    code_revision: str | None
    packages: dict[str, str]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the quanta of a graph share.

    Parameters
    ----------
    repository_id : uuid.UUID
        Identity of the repository that the graph is of.
    configurations : dict of Configuration
        By ``config_id`` of a step.
    environments : dict of Software
        By ``environment_id`` of a step.
    """

    repository_id: uuid.UUID
    configurations: dict[int, Configuration]
    environments: dict[int, Software]


def settings_of(connection: sa.Connection, graph: Graph) -> Settings:
    """Read the configurations and software of the quanta of a graph."""
    steps = graph.steps.values()
    return Settings(
        connection.execute(sa.select(repository.c.id)).scalar_one(),
        configurations(connection, {s.config_id for s in steps}),
        environments(connection, {s.environment_id for s in steps if s.environment_id is not None}),
    )


def configurations(connection: sa.Connection, ids: Iterable[int]) -> dict[int, Configuration]:
    """Read configurations with all their values, by key."""
    c, v = schema.config, schema.config_value
    wanted = sorted(set(ids))
    values: dict[int, dict[str, tuple[str | None, str]]] = defaultdict(dict)
    for key, path, value, kind in connection.execute(
        sa.select(v.c.config_id, v.c.path, v.c.value, v.c.type)
        .where(v.c.config_id.in_(wanted))
        .order_by(v.c.path)
    ):
        values[key][path] = (value, kind)
    rows = connection.execute(
        sa.select(c.c.id, c.c.digest, c.c.class_name).where(c.c.id.in_(wanted))
    )
    return {key: Configuration(digest, class_name, values[key]) for key, digest, class_name in rows}


def environments(connection: sa.Connection, ids: Iterable[int]) -> dict[int, Software]:
    """Read software environments with all their packages, by key."""
    e, p = schema.environment, schema.environment_package
    wanted = sorted(set(ids))
    packages: dict[int, dict[str, str]] = defaultdict(dict)
    for key, name, version in connection.execute(
        sa.select(p.c.environment_id, p.c.name, p.c.version)
        .where(p.c.environment_id.in_(wanted))
        .order_by(p.c.name)
    ):
        packages[key][name] = version
    rows = connection.execute(
        sa.select(e.c.id, e.c.digest, e.c.python, e.c.platform, e.c.code_revision).where(
            e.c.id.in_(wanted)
        )
    )
    return {
        key: Software(digest, python, platform, revision, packages[key])
        for key, digest, python, platform, revision in rows
    }


def locations(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Tell where datasets lie: an available copy of the first file of each.

    Returns
    -------
    dict of str
        URL or path by dataset; a relative path is below the repository.
    """
    found: dict[uuid.UUID, str] = {}
    for start in range(0, len(ids), CHUNK):
        part = [{"id": i} for i in ids[start : start + CHUNK]]
        given = rows_of(connection, part, {"id": sa.Uuid})
        statement = (
            sa.select(given.c.n, endpoint.c.root, file.c.path)
            .join_from(given, file, file.c.dataset_id == given.c.id)
            .join(replica, replica.c.file_id == file.c.id)
            .join(endpoint, endpoint.c.id == replica.c.endpoint_id)
            .where(replica.c.state == "available")
            .order_by(given.c.n, file.c.component, endpoint.c.id)
        )
        for n, root, path in connection.execute(in_written_order(statement)):
            base = "" if root in {"", "."} else f"{root.rstrip('/')}/"
            found.setdefault(ids[start + n], f"{base}{path}")
    return found
