"""How do quanta that were executed in a graph file come home?

In the file, what has ended is marked as leaving, so that nothing is tried again there from then on;
here, it is recorded in one transaction, in which only what is still away in that file counts. After
a kill between the two, and of several at once, each quantum comes home once.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import CHUNK, in_written_order, insert_rows, lock_rows, rows_of
from registry.plans.giving import UnknownGraph
from registry.provenance.recording import record_environment
from registry.schema import logs
from registry.schema import provenance as history
from registry.schema.identity import dataset
from registry.schema.plans import given_quantum, graph_file, quantum_block

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "Ended",
    "await_turn",
    "batches",
    "copy_log",
    "last_logged",
    "leave",
    "log_processes",
    "not_home",
    "read_ended",
    "read_log",
    "record_ended",
    "settle_at_home",
    "whereabouts",
]

ENDED = ("done", "no_work", "failed", "blocked")
Row = dict[str, Any]


@dataclass(slots=True)
class Ended:
    """Quanta of a file that have ended, with what they have left there.

    Parameters
    ----------
    quanta : list of dict
        Rows of ``quantum``, in an order in which each comes after what made its inputs.
    datasets, outputs, inputs, metrics, blocks : list of dict
        Rows of their tables.
    environments : dict of int to tuple
        Arguments of `registry.provenance.record_environment`, by the key in the file.
    """

    quanta: list[Row] = field(default_factory=list)
    datasets: list[Row] = field(default_factory=list)
    outputs: list[Row] = field(default_factory=list)
    inputs: list[Row] = field(default_factory=list)
    metrics: list[Row] = field(default_factory=list)
    blocks: list[Row] = field(default_factory=list)
    environments: dict[int, tuple[Any, ...]] = field(default_factory=dict)


def leave(connection: sa.Connection) -> bytearray:
    """Mark all quanta of a file that have ended as leaving it, and list them.

    Returns
    -------
    bytearray
        Their identities, 16 bytes each (a million are 16 MB), those that left before and did not
        arrive among them; each after those whose outputs it read. `batches` cuts it.
    """
    q, g = history.quantum.c, given_quantum.c
    ended = sa.select(q.id).where(q.state.in_(ENDED))
    connection.execute(
        sa.update(given_quantum)
        .where(g.state == "away", g.quantum_id.in_(ended))
        .values(state="leaving")
    )
    found = bytearray()
    rows = connection.execution_options(yield_per=CHUNK).execute(
        sa.select(q.id)
        .join(given_quantum, g.quantum_id == q.id)
        .where(g.state == "leaving")
        .order_by(q.task_id, q.id)
    )
    for part in rows.scalars().partitions():
        found += b"".join(key.bytes for key in part)
    return found


def batches(identities: bytearray, size: int) -> Iterator[list[uuid.UUID]]:
    """Cut what `leave` lists into batches."""
    for begin in range(0, len(identities), 16 * size):
        part = bytes(identities[begin : begin + 16 * size])
        yield [uuid.UUID(bytes=part[n : n + 16]) for n in range(0, len(part), 16)]


def settle_at_home(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> None:
    """Note in the file that quanta have come home."""
    _mark(connection, ids, "home")


def not_home(connection: sa.Connection) -> int:
    """Count the quanta of a file that have not come home."""
    asked = sa.select(sa.func.count()).where(given_quantum.c.state != "home")
    return int(connection.execute(asked).scalar_one())


def _mark(connection: sa.Connection, ids: Sequence[uuid.UUID], state: str) -> None:
    connection.execute(
        sa.update(given_quantum).where(given_quantum.c.quantum_id.in_(ids)).values(state=state)
    )


def await_turn(connection: sa.Connection, graph_id: uuid.UUID) -> None:
    """Wait until nobody else brings this file home, until the transaction ends.

    Raises
    ------
    UnknownGraph
        If this database did not give the file away.
    """
    own = sa.select(graph_file.c.id).where(graph_file.c.id == graph_id)
    if connection.execute(lock_rows(own, connection)).first() is None:
        raise UnknownGraph(
            str(graph_id), remedy="It was not exported from this database, or from a copy of it."
        )


def whereabouts(
    connection: sa.Connection, graph_id: uuid.UUID, ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, str]:
    """Tell of quanta that a file has or had whether they are away or home; in the order given."""
    g = given_quantum.c
    given = rows_of(connection, [{"q": i} for i in ids], {"q": sa.Uuid})
    rows = connection.execute(
        in_written_order(
            sa.select(g.quantum_id, g.state)
            .join_from(given, given_quantum, g.quantum_id == given.c.q)
            .where(g.graph_id == graph_id)
        )
    )
    found: dict[uuid.UUID, str] = dict(rows.all())
    return {i: found[i] for i in ids if i in found}


def read_ended(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> Ended:
    """Read quanta of a file with what they have left, for `record_ended`."""
    h = history
    quanta = {row["id"]: row for row in _of(connection, h.quantum, h.quantum.c.id, ids)}
    outputs = _of(connection, h.quantum_output, h.quantum_output.c.quantum_id, ids)
    used = {row["environment_id"] for row in quanta.values()} - {None}
    return Ended(
        [quanta[i] for i in ids],
        _of(connection, dataset, dataset.c.id, [row["dataset_id"] for row in outputs]),
        outputs,
        _of(connection, h.quantum_input, h.quantum_input.c.quantum_id, ids),
        _of(connection, h.quantum_metric, h.quantum_metric.c.quantum_id, ids),
        _of(connection, quantum_block, quantum_block.c.quantum_id, ids),
        {key: _software(connection, key) for key in used},
    )


def _of(
    connection: sa.Connection, table: sa.Table, column: sa.Column[Any], ids: Sequence[uuid.UUID]
) -> list[Row]:
    given = rows_of(connection, [{"q": i} for i in ids], {"q": sa.Uuid})
    asked = sa.select(table).join_from(given, table, column == given.c.q)
    return [dict(row) for row in connection.execute(in_written_order(asked)).mappings()]


def _software(connection: sa.Connection, key: int) -> tuple[Any, ...]:
    e, p = history.environment.c, history.environment_package.c
    row = connection.execute(
        sa.select(e.python, e.platform, e.code_revision).where(e.id == key)
    ).one()
    listed = connection.execute(sa.select(p.name, p.version).where(p.environment_id == key))
    return row.python, row.platform, dict(listed.all()), row.code_revision


def record_ended(connection: sa.Connection, ended: Ended) -> None:
    """Record here what quanta have done in a file; the caller records the files of datasets."""
    keys = {key: record_environment(connection, *told) for key, told in ended.environments.items()}
    insert_rows(connection, dataset, ended.datasets)
    q = history.quantum
    told = [c.name for c in q.c if c.name not in ("id", "task_id", "data_id", "environment_id")]
    rows = [
        {
            "quantum": row["id"],
            "software": keys.get(row["environment_id"]),
            **{f"new_{name}": row[name] for name in told},
        }
        for row in ended.quanta
    ]
    if rows:
        connection.execute(
            sa.update(q)
            .where(
                q.c.id == sa.bindparam("quantum", type_=q.c.id.type),
                q.c.state == sa.literal("away"),
            )
            .values(
                environment_id=sa.bindparam("software", type_=q.c.environment_id.type),
                **{n: sa.bindparam(f"new_{n}", type_=q.c[n].type) for n in told},
            ),
            rows,
        )
    for table, found in (
        (history.quantum_output, ended.outputs),
        (history.quantum_input, ended.inputs),
        (history.quantum_metric, ended.metrics),
        (quantum_block, ended.blocks),
    ):
        insert_rows(connection, table, found)
    _mark(connection, [row["id"] for row in ended.quanta], "home")


def log_processes(connection: sa.Connection) -> list[Row]:
    """List the processes that wrote to the log of a file."""
    return [dict(row) for row in connection.execute(sa.select(logs.log_process)).mappings()]


def last_logged(connection: sa.Connection, identity: uuid.UUID) -> int:
    """Tell the number of the last record of a process that is here; 0 for none."""
    p, r = logs.log_process.c, logs.log_record.c
    asked = (
        sa.select(sa.func.max(r.number))
        .join(logs.log_process, p.id == r.process_id)
        .where(p.identity == identity)
    )
    return int(connection.execute(asked).scalar() or 0)


def read_log(connection: sa.Connection, process_id: int, after: int) -> list[Row]:
    """Read the next records of a process in a file."""
    r = logs.log_record.c
    asked = (
        sa.select(logs.log_record)
        .where(r.process_id == process_id, r.number > after)
        .order_by(r.number)
        .limit(CHUNK)
    )
    return [dict(row) for row in connection.execute(asked).mappings()]


def copy_log(connection: sa.Connection, process: Row, records: Sequence[Row]) -> None:
    """Record what a process wrote to the log of a file; what is here already is passed over."""
    p = logs.log_process
    row = {name: value for name, value in process.items() if name != "id"}
    insert_rows(connection, p, [row], skip_existing=True)
    key = connection.execute(
        sa.select(p.c.id).where(p.c.identity == process["identity"])
    ).scalar_one()
    connection.execute(
        sa.update(p)
        .where(p.c.id == key, p.c.n_dropped < process["n_dropped"])
        .values(n_dropped=process["n_dropped"])
    )
    insert_rows(
        connection,
        logs.log_record,
        [{**record, "process_id": key} for record in records],
        skip_existing=True,
    )
