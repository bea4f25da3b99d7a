"""Which tasks change their quanta when these are planned, and how is that recorded?

Only a task that defines `SuperTask.adjust_quantum` or `SuperTask.adjust_all_quanta` has its quanta
read into memory; for all others nothing is asked.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from registry import plans
from workflow.errors import NoWorkFound, TaskError
from workflow.frontier import PAGE
from workflow.quanta import load
from workflow.task import SuperTask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import sqlalchemy as sa

    from registry.identity import DatasetRef
    from workflow.pipeline import PipelineTask
    from workflow.quanta import Quantum

__all__ = ["adjust"]


def adjust(connection: sa.Connection, task: PipelineTask, planned: plans.PlannedTask) -> None:
    """Let a task choose among the inputs of its quanta, or refuse some of them.

    Each quantum is shown to the task with the configuration that it has; all of them together to
    the task with that of its own.
    """
    one = task.task_class.adjust_quantum is not SuperTask.adjust_quantum
    every = task.task_class.adjust_all_quanta is not SuperTask.adjust_all_quanta
    if not one and not every:
        return
    instance = task.make()
    varied = {name: task.make(variant=name) for name in task.variants} if one else {}
    if one:
        for page in _pages(connection, planned.id):
            choices: dict[uuid.UUID, Mapping[str, Sequence[DatasetRef]]] = {}
            refused: dict[uuid.UUID, str] = {}
            for quantum in page:
                try:
                    made = varied.get(quantum.variant or "", instance)
                    choices[quantum.id] = made.adjust_quantum(quantum)
                except NoWorkFound as nothing:
                    refused[quantum.id] = str(nothing)
            _record(connection, task, planned, page, choices, refused)
    if every:
        quanta = [q for page in _pages(connection, planned.id) for q in page]
        answer = instance.adjust_all_quanta(quanta)
        unknown = set(answer) - {q.id for q in quanta}
        if unknown:
            raise TaskError(
                f"{task.label}: adjust_all_quanta() answers for {len(unknown)} quanta that it was "
                "not given; its keys are the `id` of those that it changes."
            )
        choices = {i: a for i, a in answer.items() if not isinstance(a, NoWorkFound)}
        refused = {i: str(a) for i, a in answer.items() if isinstance(a, NoWorkFound)}
        _record(connection, task, planned, quanta, choices, refused)


def _pages(connection: sa.Connection, task_id: int) -> Iterator[list[Quantum]]:
    after = uuid.UUID(int=0)
    while ids := plans.ready_quanta(connection, task_id, after, PAGE):
        after = ids[-1]
        yield load(connection, ids, predicted=True)


def _record(
    connection: sa.Connection,
    task: PipelineTask,
    planned: plans.PlannedTask,
    quanta: Sequence[Quantum],
    choices: Mapping[uuid.UUID, Mapping[str, Sequence[DatasetRef]]],
    refused: Mapping[uuid.UUID, str],
) -> None:
    left: list[tuple[uuid.UUID, uuid.UUID, str]] = []
    for quantum in quanta:
        for name, kept in choices.get(quantum.id, {}).items():
            ids = {r.id for r in kept}
            own = quantum.inputs.get(name, ())
            if not ids <= {r.id for r in own}:
                raise TaskError(
                    f"{task.label}: the inputs chosen for '{name}' of {quantum.data_id!r} are not "
                    f"among the {len(own)} that it has; leave some out, but add none."
                )
            left += [(quantum.id, r.id, name) for r in own if r.id not in ids]
    plans.leave_out(connection, planned, left, refused)
