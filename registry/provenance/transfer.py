"""How does the history of datasets come from one registry into another?

`read_history` takes the quanta that made datasets, and what these were made from, back to the
beginning, with tasks, configurations and software by natural keys; `write_history` records what is
new.  The rows of the datasets are `registry.transfer`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import CHUNK, in_written_order, insert_rows, rows_of
from registry.datasets import insert_data_ids
from registry.errors import Conflict, DefinitionConflict
from registry.identity import DIMENSIONS, DataId
from registry.provenance.graphs import reached_sql
from registry.schema import provenance as schema
from registry.schema.collections import collection
from registry.schema.identity import data_id

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["History", "check_history", "read_history", "write_history"]

Row = dict[str, Any]
TaskKey = tuple[str, str]
"""RUN and label."""


@dataclass(frozen=True, slots=True)
class History:
    """What made some datasets, back to the beginning.

    Parameters
    ----------
    datasets : set of UUID
        Those asked about, and all that they were made from.
    quanta : sequence of mapping
        Rows, with the task as (RUN, label), the data ID as such and the software by digest.
    tasks : mapping
        Rows by (RUN, label), with the configuration by digest.
    configs, environments : mapping
        Rows by digest.
    values, packages, history : mapping
        Rows of configuration values, packages and configuration history, by what they belong to.
    inputs, outputs, metrics : sequence of mapping
        Rows.
    """

    datasets: frozenset[uuid.UUID] = frozenset()
    quanta: Sequence[Row] = ()
    tasks: Mapping[TaskKey, Row] = field(default_factory=dict)
    configs: Mapping[str, Row] = field(default_factory=dict)
    environments: Mapping[str, Row] = field(default_factory=dict)
    values: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    packages: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    history: Mapping[TaskKey, Sequence[Row]] = field(default_factory=dict)
    inputs: Sequence[Row] = ()
    outputs: Sequence[Row] = ()
    metrics: Sequence[Row] = ()


def read_history(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> History:
    """Read what made datasets, and what these were made from, back to the beginning."""
    reached = list(connection.execute(reached_sql(connection, ids, up=True)).scalars())
    known = set(reached)
    out, inp = schema.quantum_output, schema.quantum_input
    outputs = list(_linked(connection, out, out.c.dataset_id, reached))
    made_by = list(dict.fromkeys(row["quantum_id"] for row in outputs))
    if not made_by:
        return History(frozenset(known))
    inputs = [
        r for r in _linked(connection, inp, inp.c.quantum_id, made_by) if r["dataset_id"] in known
    ]
    metric = schema.quantum_metric
    quanta = list(_quanta(connection, made_by))
    task_ids = list({row["task_id"] for row in quanta})
    tasks = _tasks(connection, task_ids)
    names = {row["id"]: key for key, row in tasks.items()}
    software = list({row["environment_id"] for row in quanta} - {None})
    environments = _by_key(connection, schema.environment, software)
    digests = {row["id"]: row["digest"] for row in environments}
    configs = _by_key(connection, schema.config, list({r["config_id"] for r in tasks.values()}))
    of_config = {row["id"]: row["digest"] for row in configs}
    h, v, p = schema.config_history.c, schema.config_value.c, schema.environment_package.c
    return History(
        frozenset(known),
        [
            {**row, "task": names[row["task_id"]], "software": digests.get(row["environment_id"])}
            for row in quanta
        ],
        {key: {**row, "config": of_config[row["config_id"]]} for key, row in tasks.items()},
        {row["digest"]: row for row in configs},
        {row["digest"]: row for row in environments},
        _belonging(connection, v.config_id, of_config),
        _belonging(connection, p.environment_id, digests),
        _belonging(connection, h.task_id, names),
        inputs,
        outputs,
        list(_linked(connection, metric, metric.c.quantum_id, made_by)),
    )


def _linked(
    connection: sa.Connection, table: sa.Table, column: sa.Column[Any], ids: Sequence[uuid.UUID]
) -> Iterator[Row]:
    for start in range(0, len(ids), CHUNK):
        part = [{"id": i} for i in ids[start : start + CHUNK]]
        given = rows_of(connection, part, {"id": sa.Uuid})
        asked = sa.select(table).join_from(given, table, column == given.c.id)
        for row in connection.execute(in_written_order(asked)).mappings():
            yield dict(row)


def _quanta(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> Iterator[Row]:
    q = schema.quantum
    keys = [data_id.c[d].label(f"key_{d}") for d in DIMENSIONS]
    for start in range(0, len(ids), CHUNK):
        part = [{"id": i} for i in ids[start : start + CHUNK]]
        given = rows_of(connection, part, {"id": sa.Uuid})
        asked = (
            sa.select(q, data_id.c.extra.label("key_extra"), *keys)
            .join_from(given, q, q.c.id == given.c.id)
            .join(data_id, data_id.c.id == q.c.data_id)
        )
        for row in connection.execute(in_written_order(asked)).mappings():
            found = {d: row[f"key_{d}"] for d in DIMENSIONS if row[f"key_{d}"] is not None}
            whole = DataId.of(found | (row["key_extra"] or {}))
            yield {**{c.name: row[c.name] for c in q.c}, "data_id": whole}


def _tasks(connection: sa.Connection, ids: Sequence[int]) -> dict[TaskKey, Row]:
    t = schema.task
    asked = (
        sa.select(t, collection.c.name.label("run"))
        .join(collection, collection.c.id == t.c.run_id)
        .where(t.c.id.in_(ids))
    )
    rows = (dict(row) for row in connection.execute(asked).mappings())
    return {(row["run"], row["label"]): row for row in rows}


def _by_key(connection: sa.Connection, table: sa.Table, ids: Sequence[int]) -> list[Row]:
    asked = sa.select(table).where(table.c.id.in_(ids))
    return [dict(row) for row in connection.execute(asked).mappings()]


def _belonging(
    connection: sa.Connection, column: sa.Column[Any], names: Mapping[int, Any]
) -> dict[Any, list[Row]]:
    """Read the rows of a table that belong to others, by the natural keys of these."""
    found: dict[Any, list[Row]] = defaultdict(list)
    asked = sa.select(column.table).where(column.in_(list(names)))
    for row in connection.execute(asked).mappings():
        found[names[row[column.name]]].append(dict(row))
    return dict(found)


def check_history(connection: sa.Connection, history: History) -> None:
    """Refuse a history that contradicts what this registry holds, before anything is written.

    Raises
    ------
    DefinitionConflict
        If a run has a task of the same label with another configuration.
    Conflict
        If another quantum of a task has the same data ID, or another one made a dataset.
    """
    for key, (row, digest) in _tasks_here(connection, history).items():
        mine = history.tasks[key]
        if digest != mine["config"] or row["class_name"] != mine["class_name"]:
            raise DefinitionConflict(
                f"The run '{key[0]}' has a task '{key[1]}' with another class or configuration "
                "here already; runs of one name hold different work in the two repositories."
            )
    out = schema.quantum_output
    made = {row["dataset_id"]: row["quantum_id"] for row in history.outputs}
    for row in _linked(connection, out, out.c.dataset_id, list(made)):
        if row["quantum_id"] != made[row["dataset_id"]]:
            raise Conflict(
                f"The dataset {row['dataset_id']} was made by the quantum {row['quantum_id']} "
                f"here, and by {made[row['dataset_id']]} there; one of the two is wrong."
            )


def _tasks_here(connection: sa.Connection, history: History) -> dict[TaskKey, tuple[Row, str]]:
    t, c = schema.task, schema.config
    runs = list({run for run, _ in history.tasks})
    asked = (
        sa.select(t, collection.c.name.label("run"), c.c.digest)
        .join(collection, collection.c.id == t.c.run_id)
        .join(c, c.c.id == t.c.config_id)
        .where(collection.c.name.in_(runs))
    )
    found = {}
    for row in connection.execute(asked).mappings():
        if (row["run"], row["label"]) in history.tasks:
            found[row["run"], row["label"]] = (dict(row), row["digest"])
    return found


def write_history(connection: sa.Connection, history: History) -> int:
    """Record what is new of a history; the rows of its datasets are there already.

    Returns
    -------
    int
        New quanta.
    """
    if not history.quanta:
        return 0
    of_config = schema.config_value.c.config_id
    configs = _by_digest(connection, schema.config, history.configs, of_config, history.values)
    of_software = schema.environment_package.c.environment_id
    software = _by_digest(
        connection, schema.environment, history.environments, of_software, history.packages
    )
    tasks = _write_tasks(connection, history, configs)
    keys = insert_data_ids(connection, [row["data_id"] for row in history.quanta])
    q = schema.quantum
    ids = [row["id"] for row in history.quanta]
    known = {row["id"] for row in _linked(connection, q, q.c.id, ids)}
    names = [c.name for c in q.c]
    new = [
        {
            **{name: row[name] for name in names},
            "task_id": tasks[row["task"]],
            "data_id": keys[row["data_id"]],
            "environment_id": software.get(row["software"]),
        }
        for row in history.quanta
        if row["id"] not in known
    ]
    insert_rows(connection, q, new)
    for table, rows in (
        (schema.quantum_input, history.inputs),
        (schema.quantum_output, history.outputs),
        (schema.quantum_metric, history.metrics),
    ):
        insert_rows(connection, table, rows, skip_existing=True)
    return len(new)


def _by_digest(
    connection: sa.Connection,
    table: sa.Table,
    given: Mapping[str, Row],
    link: sa.Column[Any],
    parts: Mapping[str, Sequence[Row]],
) -> dict[Any, int]:
    """Insert what its digest does not find here, with the rows that belong to it; give the keys."""
    asked = sa.select(table.c.digest, table.c.id).where(table.c.digest.in_(list(given)))
    known = dict(connection.execute(asked).all())
    new = [
        {k: v for k, v in row.items() if k != "id"} for d, row in given.items() if d not in known
    ]
    insert_rows(connection, table, new, skip_existing=True)
    keys = dict(connection.execute(asked).all())
    rows = [
        {**row, link.name: keys[digest]}
        for digest, members in parts.items()
        if digest not in known
        for row in members
    ]
    insert_rows(connection, link.table, rows, skip_existing=True)
    return keys


def _write_tasks(
    connection: sa.Connection, history: History, configs: Mapping[Any, int]
) -> dict[TaskKey, int]:
    here = _tasks_here(connection, history)
    runs = dict(
        connection.execute(
            sa.select(collection.c.name, collection.c.id).where(
                collection.c.name.in_(list({run for run, _ in history.tasks}))
            )
        ).all()
    )
    new = [
        {
            "run_id": runs[run],
            "label": label,
            "class_name": row["class_name"],
            "config_id": configs[row["config"]],
            "pipeline": row["pipeline"],
            "created_at": row["created_at"],
        }
        for (run, label), row in history.tasks.items()
        if (run, label) not in here
    ]
    insert_rows(connection, schema.task, new)
    keys = {key: int(row["id"]) for key, (row, _) in _tasks_here(connection, history).items()}
    rows = [
        {**row, "task_id": keys[key]}
        for key, members in history.history.items()
        if key not in here
        for row in members
    ]
    insert_rows(connection, schema.config_history, rows)
    return keys
