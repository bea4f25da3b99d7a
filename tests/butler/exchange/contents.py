"""What does a repository hold, but for the keys that count only in its own database?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.schema import metadata
from registry.schema.identity import data_id, dataset
from registry.schema.provenance import config, quantum, task

if TYPE_CHECKING:
    from butler import Butler
    from registry.identity import DatasetRef

OWN = frozenset({"repository", "site", "endpoint", "replica", "repository_input"})
"""Tables of which each repository has rows of its own."""
LINKS = frozenset({"file_id", "run_id", "collection_id", "parent_id", "child_id", "config_id"})
LOCAL = LINKS | {"dataset_type_id", "environment_id", "task_id", "data_id"}


def everything(butler: Butler) -> list[DatasetRef]:
    """Every dataset."""
    return [
        ref
        for kind in butler.registry.dataset_types()
        for ref in butler.query_datasets(kind, collections="*", find_first=False)
    ]


def all_collections(butler: Butler) -> list[str]:
    """The names of all collections."""
    return [c.name for c in butler.registry.collections()]


def contents(butler: Butler) -> dict[str, list[str]]:
    """Every table as a sorted list of rows, and the links between some by natural keys."""
    told: dict[str, list[str]] = {}
    with butler.registry.read() as connection:
        for name, table in metadata.tables.items():
            if name in OWN:
                continue
            columns = [
                c
                for c in table.columns
                if c.name not in LOCAL and not (c.name == "id" and c.autoincrement is not False
                                                and not isinstance(c.type, sa.Uuid)
                                                and not c.foreign_keys
                                                and isinstance(c.type, sa.Integer)
                                                and name not in ELEMENTS)
            ]  # fmt: skip
            rows = connection.execute(sa.select(*columns))
            told[name] = sorted(repr(tuple(map(plain, row))) for row in rows)
        for name, statement in LINKED.items():
            told[name] = sorted(repr(tuple(row)) for row in connection.execute(statement))
    return told


ELEMENTS = ("detector", "day_obs", "exposure", "visit", "tract", "patch")


def plain(value: Any) -> Any:
    """A value that is told alike on every database."""
    if isinstance(value, dict):
        return sorted(value.items())
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else value


def _linked() -> dict[str, Any]:
    named = metadata.tables["collection"]
    kind = metadata.tables["dataset_type"]
    calibration, tagged = metadata.tables["calibration"], metadata.tables["tagged"]
    history, links = metadata.tables["config_history"], metadata.tables["collection_chain"]
    environment = metadata.tables["environment"]
    child = named.alias("child")
    return {
        "of dataset": sa.select(dataset.c.id, kind.c.name, named.c.name, data_id.c.identity_key)
        .join(kind, kind.c.id == dataset.c.dataset_type_id)
        .join(named, named.c.id == dataset.c.run_id)
        .join(data_id, data_id.c.id == dataset.c.data_id),
        "of calibration": sa.select(
            calibration.c.dataset_id, named.c.name, kind.c.name, data_id.c.identity_key
        )
        .join(kind, kind.c.id == calibration.c.dataset_type_id)
        .join(named, named.c.id == calibration.c.collection_id)
        .join(data_id, data_id.c.id == calibration.c.data_id),
        "of tagged": sa.select(tagged.c.dataset_id, named.c.name, data_id.c.identity_key)
        .join(named, named.c.id == tagged.c.collection_id)
        .join(data_id, data_id.c.id == tagged.c.data_id),
        "of chain": sa.select(named.c.name, links.c.position, child.c.name.label("child"))
        .join(links, links.c.parent_id == named.c.id)
        .join(child, child.c.id == links.c.child_id),
        "of quantum": sa.select(
            quantum.c.id,
            task.c.label,
            named.c.name,
            config.c.digest,
            data_id.c.identity_key,
            environment.c.digest.label("software"),
        )
        .join(task, task.c.id == quantum.c.task_id)
        .join(named, named.c.id == task.c.run_id)
        .join(config, config.c.id == task.c.config_id)
        .join(data_id, data_id.c.id == quantum.c.data_id)
        .join(environment, environment.c.id == quantum.c.environment_id, isouter=True),
        "of history": sa.select(task.c.label, history.c.path, history.c.step, history.c.set_by)
        .join(task, task.c.id == history.c.task_id),
    }  # fmt: skip


LINKED = _linked()
