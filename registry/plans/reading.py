"""What is planned for some quanta, as objects?

For those that are about to run, a page of them at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import CHUNK, rows_of
from registry.datasets import dataset_types, get_refs
from registry.identity import DIMENSIONS, DataId, DatasetRef
from registry.plans.blocking import viable
from registry.schema.collections import collection
from registry.schema.identity import data_id
from registry.schema.plans import planned_input, planned_output, task_connection
from registry.schema.provenance import quantum, quantum_variant, task

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Sequence

__all__ = ["Planned", "data_ids_of", "read_planned"]


@dataclass(frozen=True, slots=True)
class Planned:
    """A quantum with what it will read and make.

    Parameters
    ----------
    id : uuid.UUID
        Its identity.
    label : str
        Its task.
    data_id : DataId
        Its data ID.
    inputs, outputs : dict of str to list of DatasetRef
        By connection.
    variant : str or None
        Label of the variant of the task whose configuration it has.
    """

    id: uuid.UUID
    label: str
    data_id: DataId
    inputs: dict[str, list[DatasetRef]]
    outputs: dict[str, list[DatasetRef]]
    variant: str | None = None


def read_planned(
    connection: sa.Connection, ids: Sequence[uuid.UUID], *, predicted: bool = False
) -> list[Planned]:
    """Read quanta, in the order in which they are given.

    Parameters
    ----------
    predicted : bool
        Whether inputs count that are not made yet, unless what makes them cannot run; otherwise
        only what exists.
    """
    found = {q.id: q for q in _quanta(connection, ids)}
    read: list[tuple[uuid.UUID, str, uuid.UUID]] = []
    for given in _given(connection, ids):
        i = planned_input.c
        read += connection.execute(
            sa.select(i.quantum_id, i.connection, i.dataset_id)
            .join_from(given, planned_input, i.quantum_id == given.c.q)
            .where(*([viable()] if predicted else []))
        ).all()
    wanted = list(dict.fromkeys(d for _, _, d in read))
    refs = get_refs(connection, wanted)
    if predicted:
        lacking = [d for d in wanted if d not in refs]
        refs |= {
            r.id: r for _, _, r in _predicted(connection, planned_output.c.dataset_id, lacking)
        }
    for quantum_id, name, dataset_id in read:
        if dataset_id in refs:
            found[quantum_id].inputs.setdefault(name, []).append(refs[dataset_id])
    for quantum_id, name, ref in _predicted(connection, planned_output.c.quantum_id, ids):
        found[quantum_id].outputs.setdefault(name, []).append(ref)
    return [found[i] for i in ids if i in found]


def data_ids_of(connection: sa.Connection, condition: Any) -> dict[uuid.UUID, DataId]:
    """Read the data IDs of the quanta that fulfil a condition, by identity and in its order."""
    rows = connection.execute(
        sa.select(quantum.c.id, *_keys())
        .join(data_id, data_id.c.id == quantum.c.data_id)
        .where(condition)
        .order_by(quantum.c.id)
    )
    return {key: _data_id(values) for key, *values in rows}


def _given(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> Iterator[sa.Subquery]:
    for start in range(0, len(ids), CHUNK):
        part = ids[start : start + CHUNK]
        yield rows_of(connection, [{"q": i} for i in part], {"q": sa.Uuid})


def _keys() -> list[Any]:
    return [*(data_id.c[d] for d in DIMENSIONS), data_id.c.extra]


def _data_id(values: Sequence[Any]) -> DataId:
    *plain, extra = values
    keys = {d: v for d, v in zip(DIMENSIONS, plain, strict=True) if v is not None}
    return DataId({**keys, **dict(sorted((extra or {}).items()))})


def _quanta(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> Iterator[Planned]:
    own = task.alias("own")
    for given in _given(connection, ids):
        rows = connection.execute(
            sa.select(quantum.c.id, task.c.label, own.c.label, *_keys())
            .join_from(given, quantum, quantum.c.id == given.c.q)
            .join(task, task.c.id == quantum.c.task_id)
            .join(data_id, data_id.c.id == quantum.c.data_id)
            .outerjoin(quantum_variant, quantum_variant.c.quantum_id == quantum.c.id)
            .outerjoin(own, own.c.id == quantum_variant.c.task_id)
        )
        for key, label, variant, *values in rows:
            yield Planned(key, label, _data_id(values), {}, {}, variant)


def _predicted(
    connection: sa.Connection, column: Any, ids: Sequence[uuid.UUID]
) -> Iterator[tuple[uuid.UUID, str, DatasetRef]]:
    """Read predicted datasets by their identity or by their quantum."""
    if not ids:
        return
    kinds = {k.name: k for k in dataset_types(connection)}
    o, t = planned_output.c, task_connection.c
    for given in _given(connection, ids):
        of_task = (t.task_id == quantum.c.task_id) & (t.name == o.connection)
        rows = connection.execute(
            sa.select(
                o.quantum_id,
                o.connection,
                o.dataset_id,
                t.dataset_type,
                collection.c.name,
                *_keys(),
            )
            .join_from(given, planned_output, column == given.c.q)
            .join(quantum, quantum.c.id == o.quantum_id)
            .join(task_connection, of_task)
            .join(task, task.c.id == quantum.c.task_id)
            .join(collection, collection.c.id == task.c.run_id)
            .join(data_id, data_id.c.id == o.data_id)
        )
        for quantum_id, name, dataset_id, kind, run, *values in rows:
            ref = DatasetRef(dataset_id, kinds[kind], _data_id(values), run)
            yield quantum_id, name, ref
