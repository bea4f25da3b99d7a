"""What has a task left out of its planned quanta?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from registry.database import CHUNK, delete_rows, rows_of
from registry.plans.blocking import block, block_too_few, block_unmade
from registry.schema.plans import planned_input, quantum_block
from registry.schema.provenance import quantum

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

    from registry.plans.tasks import PlannedTask

__all__ = ["leave_out", "ready_quanta"]


def ready_quanta(
    connection: sa.Connection, task_id: int, after: uuid.UUID, limit: int
) -> list[uuid.UUID]:
    """List the next ready quanta of a task, by identity."""
    rows = connection.execute(
        sa.select(quantum.c.id)
        .where(quantum.c.task_id == task_id, quantum.c.state == "ready", quantum.c.id > after)
        .order_by(quantum.c.id)
        .limit(limit)
    )
    return list(rows.scalars())


def leave_out(
    connection: sa.Connection,
    task: PlannedTask,
    inputs: Sequence[tuple[uuid.UUID, uuid.UUID, str]],
    refused: Mapping[uuid.UUID, str],
) -> None:
    """Take inputs away from quanta, and block those that are refused or left with too few.

    Parameters
    ----------
    inputs : sequence of (quantum, dataset, connection)
        What is not to be read.
    refused : mapping
        By quantum, what the task says.
    """
    i = planned_input.c
    kinds = {"q": sa.Uuid, "d": sa.Uuid, "c": sa.String}
    for start in range(0, len(inputs), CHUNK):
        rows = [dict(zip(kinds, row, strict=True)) for row in inputs[start : start + CHUNK]]
        given = rows_of(connection, rows, kinds)
        delete_rows(
            connection,
            {i.quantum_id: given.c.q, i.dataset_id: given.c.d, i.connection: given.c.c},
        )
    ids = list(refused)
    for start in range(0, len(ids), CHUNK):
        part = [{"q": q, "why": refused[q]} for q in ids[start : start + CHUNK]]
        given = rows_of(connection, part, {"q": sa.Uuid, "why": sa.String})
        block(
            connection,
            "refused",
            "",
            quantum.join(given, given.c.q == quantum.c.id),
            (quantum_block.c.text,),
            text=given.c.why,
        )
    if inputs:
        for reads in task.reads:
            block_too_few(connection, task, reads)
            block_unmade(connection, task, reads)
        for wanted in task.looks_up:
            if not wanted.promised:
                block_too_few(connection, task, wanted)
