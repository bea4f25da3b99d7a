"""Which quanta does a pipeline have, and which datasets does each read and make?

`planned_tasks` says what the tasks of a pipeline declare as `registry.plans` takes it, which finds
their quanta by statements; `load` reads quanta that are about to run. Who runs them is in
`workflow.runner`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry import datasets, plans
from registry.calibrations.facts import exposure_facts

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import sqlalchemy as sa

    from registry.identity import DataId, DatasetRef, DatasetType
    from workflow.connections import Connection
    from workflow.pipeline import PipelineTask

__all__ = ["Quantum", "load", "planned_tasks"]


@dataclass(frozen=True)
class Quantum:
    """One unit of work.

    Parameters
    ----------
    id : uuid.UUID
        Its identity.
    label : str
        Task in the pipeline.
    data_id : DataId
        Its data ID.
    inputs, outputs : mapping of str to tuple of DatasetRef
        By connection; outputs are predicted.
    records : mapping of str to tuple of mapping
        Exposure records of the inputs that have the dimension exposure, aligned with them.
    variant : str or None
        The variant of its task that has its configuration; None for the task itself.
    """

    id: uuid.UUID
    label: str
    data_id: DataId
    inputs: Mapping[str, tuple[DatasetRef, ...]]
    outputs: Mapping[str, tuple[DatasetRef, ...]]
    records: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    variant: str | None = None


def planned_tasks(
    connection: sa.Connection, tasks: Iterable[PipelineTask], keys: Mapping[str, int]
) -> list[plans.PlannedTask]:
    """Say what the tasks of a pipeline declare, in order.

    Parameters
    ----------
    tasks : iterable of PipelineTask
        Each after those whose outputs it reads, as a `Pipeline` gives them.
    keys : mapping of str to int
        Key of each task of the run, by label.

    Raises
    ------
    UnknownDatasetType
        If an input from outside the pipeline is of a type that is not registered.
    """
    tasks = list(tasks)
    known = {kind.name: kind for kind in datasets.dataset_types(connection)}
    producers = {
        c.dataset_type: (keys[task.label], name)
        for task in tasks
        for name, c in task.connections.outputs.items()
    }
    promised = {task.connections[name].dataset_type for task in tasks for name in task.certify}
    return [
        _planned_task(connection, task, keys[task.label], known, producers, promised)
        for task in tasks
    ]


def _planned_task(
    connection: sa.Connection,
    task: PipelineTask,
    key: int,
    known: Mapping[str, DatasetType],
    producers: Mapping[str, tuple[int, str]],
    promised: Collection[str],
) -> plans.PlannedTask:
    def kind_of(c: Connection) -> DatasetType:
        return known.get(c.dataset_type) or c.definition()

    for c in task.connections.inputs.values():
        if c.dataset_type not in producers:
            datasets.get_dataset_type(connection, c.dataset_type)
    return plans.PlannedTask(
        key,
        task.label,
        task.dimensions,
        tuple(
            plans.Reads(
                name,
                c.definition() if c.dataset_type in producers else kind_of(c),
                task.select.get(name, ""),
                c.multiple,
                c.minimum,
                producers.get(c.dataset_type),
            )
            for name, c in task.connections.inputs.items()
        ),
        tuple(
            plans.LooksUp(
                name, kind_of(c), c.multiple, c.minimum, c.dataset_type in promised, c.lookup
            )
            for name, c in task.connections.prerequisites.items()
        ),
        tuple(
            plans.Makes(name, c.definition(), c.multiple, c.minimum)
            for name, c in task.connections.outputs.items()
        ),
    )


def load(
    connection: sa.Connection, ids: Sequence[uuid.UUID], *, predicted: bool = False
) -> list[Quantum]:
    """Read quanta with what they read and make, in the order in which they are given.

    Parameters
    ----------
    predicted : bool
        Whether inputs count that are not made yet, unless what makes them cannot run; otherwise
        only what exists.
    """
    planned = plans.read_planned(connection, ids, predicted=predicted)
    exposures = exposure_facts(connection, _exposures(planned))
    return [_quantum(one, exposures) for one in planned]


def _exposures(planned: Iterable[plans.Planned]) -> set[tuple[Any, Any]]:
    return {
        (ref.data_id["instrument"], ref.data_id["exposure"])
        for one in planned
        for refs in one.inputs.values()
        for ref in refs
        if "exposure" in ref.data_id
    }


def _quantum(one: plans.Planned, exposures: Mapping[Any, Mapping[str, Any]]) -> Quantum:
    """Put the inputs in the order of their exposures, each with its record."""

    def record(ref: DatasetRef) -> Mapping[str, Any] | None:
        return exposures.get((ref.data_id.get("instrument"), ref.data_id.get("exposure")))

    def moment(ref: DatasetRef) -> tuple[int, str]:
        told = record(ref)
        return (int(told["begin_tai_ns"]) if told else 0, ref.data_id.key)

    inputs = {name: tuple(sorted(refs, key=moment)) for name, refs in one.inputs.items()}
    outputs = {
        name: tuple(sorted(refs, key=lambda r: r.data_id.key)) for name, refs in one.outputs.items()
    }
    facts = {
        name: tuple(told for ref in refs if (told := record(ref)) is not None)
        for name, refs in inputs.items()
    }
    return Quantum(one.id, one.label, one.data_id, inputs, outputs, facts, one.variant)
