"""What does a graph file hold?

The rows of its quanta and all that these refer to, under the same keys as here: a file comes home
only to the database that it was taken from, so that nothing has to be looked up by natural keys.
Rows are streamed by table; nothing is asked per quantum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import belongings, dimensions, row_tables
from registry.database import CHUNK, insert_rows
from registry.identity import DIMENSIONS
from registry.provenance.initial import INIT
from registry.schema import identity, plans
from registry.schema import provenance as history
from registry.schema.collections import collection
from registry.schema.dimensions import instrument_definition
from registry.schema.files import endpoint, file, replica, site
from registry.schema.row_tables import file_rows, row_column, row_table

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

__all__ = ["HOME", "copy_graph"]

HOME = "home"
"""The endpoint of a graph file that is the root of the repository it was taken from."""
_ROOT = "root"


def copy_graph(
    source: sa.Connection, target: sa.Connection, graph_id: uuid.UUID, home: str
) -> None:
    """Copy the quanta that were given to a file, with all that they need, into its database.

    Parameters
    ----------
    target : sqlalchemy.Connection
        On an empty registry.
    home : str
        Folder of this repository, where its files are read.
    """
    g = plans.given_quantum
    given = sa.select(g.c.quantum_id).where(g.c.graph_id == graph_id)
    t, q = history.task, history.quantum
    own = sa.select(q.c.task_id).where(q.c.id.in_(given)).distinct()
    tasks = list(source.execute(own).scalars())
    labels = sa.select(t.c.run_id, t.c.label + sa.literal(INIT, sa.String)).where(t.c.id.in_(tasks))
    made = list(
        source.execute(
            sa.select(t.c.id).where(sa.tuple_(t.c.run_id, t.c.label).in_(labels))
        ).scalars()
    )
    makings = sa.select(q.c.id).where(q.c.task_id.in_(made))
    quanta = q.c.id.in_(given) | q.c.task_id.in_(made)
    x, v = history.quantum_variant, history.task_variant
    chosen = sa.select(x.c.task_id).where(x.c.quantum_id.in_(given)).distinct()
    variants = list(source.execute(chosen).scalars())
    read = _read(given, makings)
    _identity(source, target)
    _storage(source, target, home)
    _copy(source, target, identity.dataset_type)
    _copy(source, target, identity.data_id_key)
    data_ids = _data_ids(given, read, quanta)
    _records(source, target, data_ids)
    _copy(source, target, identity.data_id, identity.data_id.c.id.in_(data_ids))
    d = identity.dataset
    of_run = sa.select(t.c.run_id).where(t.c.id.in_(tasks))
    runs = of_run.union(sa.select(d.c.run_id).where(d.c.id.in_(read)))
    _copy(source, target, collection, collection.c.id.in_(runs))
    _copy(source, target, d, d.c.id.in_(read))
    _copy(source, target, file, file.c.dataset_id.in_(read))
    kept = sa.select(file.c.id).where(file.c.dataset_id.in_(read))
    _copy(source, target, replica, replica.c.file_id.in_(kept))
    _rows(source, target, read, kept)
    _history(source, target, [*tasks, *made, *variants], makings)
    _copy(source, target, v, v.c.task_id.in_(variants))
    _copy(source, target, plans.task_need, plans.task_need.c.task_id.in_(tasks))
    _copy(source, target, q, quanta)
    _copy(source, target, x, x.c.quantum_id.in_(given))
    _copy(source, target, history.quantum_input, history.quantum_input.c.quantum_id.in_(makings))
    for table in (plans.planned_output, plans.planned_input):
        _copy(source, target, table, table.c.quantum_id.in_(given))
    _copy(source, target, plans.graph_file, plans.graph_file.c.id == graph_id)
    _copy(source, target, g, g.c.graph_id == graph_id)
    target.execute(sa.update(q).where(q.c.state == "away").values(state="ready"))


def _rows(source: sa.Connection, target: sa.Connection, read: Any, kept: Any) -> None:
    """Copy what lies in tables; what is made there goes to files, and no table is declared."""
    tables = row_tables.described(source)
    if not tables:
        return
    row_tables.metadata_of(list(tables.values())).create_all(target)
    for table in (row_table, row_column):
        _copy(source, target, table)
    for one in tables.values():
        core = row_tables.core_table(one)
        _copy(source, target, core, core.c[row_tables.DATASET_ID].in_(read))
    _copy(source, target, file_rows, file_rows.c.file_id.in_(kept))


def _read(given: sa.Select[Any], makings: sa.Select[Any]) -> sa.CompoundSelect[Any]:
    """Select the datasets that exist and that quanta, or the making of their tasks, read."""
    i, r, d = plans.planned_input, history.quantum_input, identity.dataset
    return sa.union(
        sa.select(d.c.id).join(i, i.c.dataset_id == d.c.id).where(i.c.quantum_id.in_(given)),
        sa.select(r.c.dataset_id).where(r.c.quantum_id.in_(makings)),
    )


def _data_ids(given: sa.Select[Any], read: Any, quanta: Any) -> sa.CompoundSelect[Any]:
    o, d, q = plans.planned_output, identity.dataset, history.quantum
    return sa.union(
        sa.select(q.c.data_id).where(quanta),
        sa.select(o.c.data_id).where(o.c.quantum_id.in_(given)),
        sa.select(d.c.data_id).where(d.c.id.in_(read)),
    )


_PLAIN = (sa.Integer, sa.String, sa.Float)
"""Types whose values pass as they are."""


def _copy(source: sa.Connection, target: sa.Connection, table: sa.Table, *conditions: Any) -> None:
    """Copy rows of a table by the thousand, with values as the driver of SQLite takes them."""
    columns = [column for column in table.columns if column.computed is None]
    compiled = sa.insert(table).compile(target, column_keys=[c.name for c in columns])
    converted = [
        (n, convert)
        for n, column in enumerate(columns)
        if not isinstance(column.type, _PLAIN)
        and (convert := column.type.dialect_impl(target.dialect).bind_processor(target.dialect))
    ]
    answer = source.execute(
        sa.select(*columns).where(*conditions), execution_options={"yield_per": CHUNK}
    )
    for part in answer.partitions(CHUNK):
        whole = [list(values) for values in zip(*part, strict=True)]
        for n, convert in converted:
            whole[n] = [None if v is None else convert(v) for v in whole[n]]
        target.exec_driver_sql(str(compiled), list(zip(*whole, strict=True)))


def _identity(source: sa.Connection, target: sa.Connection) -> None:
    """Let the file be a part of this repository."""
    target.execute(sa.delete(identity.repository))
    _copy(source, target, identity.repository)


def _storage(source: sa.Connection, target: sa.Connection, home: str) -> None:
    """Let files be read where they are, and outputs go below a root of its own."""
    _copy(source, target, site)
    _copy(source, target, endpoint)
    root = endpoint.c.name == _ROOT
    at = target.execute(sa.select(endpoint.c.site_id).where(root)).scalar_one()
    here = {"name": HOME, "root": home, "owned": False}
    target.execute(sa.update(endpoint).where(root).values(**here))
    new = {"site_id": at, "name": _ROOT, "root": ".", "owned": True, "state": "online"}
    insert_rows(target, endpoint, [new])


def _records(source: sa.Connection, target: sa.Connection, data_ids: Any) -> None:
    names = [identity.data_id.c[d] for d in DIMENSIONS]
    rows = source.execute(
        sa.select(*names).distinct().where(identity.data_id.c.id.in_(data_ids))
    ).all()
    columns = dict(zip(DIMENSIONS, zip(*rows, strict=True), strict=True)) if rows else {}
    records = belongings.records_among(source, columns) if columns else {}
    for element, found in records.items():
        dimensions.insert_dimension_records(target, element, found, "skip")
    cameras = [record["name"] for record in records.get("instrument", ())]
    _copy(source, target, instrument_definition, instrument_definition.c.instrument.in_(cameras))


def _history(
    source: sa.Connection, target: sa.Connection, tasks: Sequence[int], makings: Any
) -> None:
    """Copy tasks with their configurations, and the software in which they were made."""
    t, c, v = history.task, history.config, history.config_value
    own = sa.select(t.c.config_id).where(t.c.id.in_(tasks))
    _copy(source, target, c, c.c.id.in_(own))
    _copy(source, target, v, v.c.config_id.in_(own))
    _copy(source, target, t, t.c.id.in_(tasks))
    for table in (history.config_history, plans.task_connection):
        _copy(source, target, table, table.c.task_id.in_(tasks))
    e, p, q = history.environment, history.environment_package, history.quantum
    used = sa.select(q.c.environment_id).where(q.c.id.in_(makings))
    _copy(source, target, e, e.c.id.in_(used))
    _copy(source, target, p, p.c.environment_id.in_(used))
