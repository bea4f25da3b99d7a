"""What made the datasets that a task writes when it is made, before it has any quantum?

The making of the task: a quantum without keys of a task of its own, named after the other one, so
that every question about history, every export and every taint counts it as any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from registry.collections import get_collection
from registry.database import insert_rows
from registry.identity import DataId
from registry.provenance.recording import (
    Outcome,
    QuantumRow,
    finish,
    insert_quanta,
    record_task,
    start,
)
from registry.schema import provenance as schema

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

__all__ = ["INIT", "record_making"]

INIT = ":init"
"""What is added to the label of a task for that of its making."""


def record_making(
    connection: sa.Connection,
    run: str,
    label: str,
    quantum_id: uuid.UUID,
    environment_id: int,
    outputs: Sequence[tuple[str, uuid.UUID]],
    inputs: Sequence[tuple[str, uuid.UUID]],
    *,
    by: tuple[str, int],
    took: tuple[float, float],
    max_rss_bytes: int,
) -> None:
    """Record that a task was made, with the datasets that it wrote and read then.

    Parameters
    ----------
    run, label : str
        RUN collection, and the label of a task that is recorded in it.
    quantum_id : UUID
        Identity of the making; when this task was made in this run before, its outputs are added
        to the first.
    outputs, inputs : sequence of (connection, dataset UUID)
        Registered datasets.
    by : (host, process)
        Who made it.
    took : (float, float)
        Elapsed and processor time [s].
    max_rss_bytes : int
        Largest memory of the process [byte].
    """
    t, q = schema.task, schema.quantum
    run_id = get_collection(connection, run).id
    of = connection.execute(sa.select(t).where(t.c.run_id == run_id, t.c.label == label)).one()
    key = record_task(
        connection, run, label + INIT, of.class_name, of.config_id, (), pipeline=of.pipeline
    )
    before = connection.execute(sa.select(q.c.id).where(q.c.task_id == key)).scalar()
    if before is not None:
        rows = [{"dataset_id": d, "quantum_id": before, "connection": c} for c, d in outputs]
        insert_rows(connection, schema.quantum_output, rows)
        return
    insert_quanta(connection, key, [QuantumRow(quantum_id, DataId({}))])
    start(connection, quantum_id, environment_id, *by)
    outcome = Outcome("done", took[0], took[1], max_rss_bytes, {}, {})
    finish(connection, quantum_id, outcome, outputs, inputs)
