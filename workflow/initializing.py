"""What is made once, when a run begins, before its quanta?

A task that declares init outputs knows them when it is made, as the columns of a table that it will
fill; a task that declares init inputs needs them to be made.  `initialize` makes such tasks in
order, and writes what they know into the run.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from workflow.errors import MissingInitInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from butler.butler import Butler
    from registry.identity import DatasetRef
    from workflow.pipeline import Pipeline, PipelineTask

__all__ = ["initialize"]


def initialize(
    butler: Butler, pipeline: Pipeline, run: str, inputs: Sequence[str]
) -> tuple[PipelineTask, ...]:
    """Write the init outputs of all tasks that are not in the run yet.

    Parameters
    ----------
    run : str
        RUN collection that they go to.
    inputs : sequence of str
        Where init inputs are searched that no task of the pipeline makes.

    Returns
    -------
    tuple of PipelineTask
        The tasks, with the datasets of their init inputs.

    Raises
    ------
    MissingInitInput
        If an init input does not exist.
    MissingOutput
        If a task does not set an init output.
    """
    found: list[PipelineTask] = []
    with butler.transaction():
        for task in pipeline:
            refs = {
                name: ref
                for name, c in task.connections.init_inputs.items()
                if (ref := _found(butler, task, c.dataset_type, [run, *inputs], c.minimum))
            }
            found.append(dataclasses.replace(task, init_refs=refs))
            if task.connections.init_outputs:
                _write(butler, found[-1], run)
    return tuple(found)


def _found(
    butler: Butler, task: PipelineTask, name: str, collections: Sequence[str], minimum: int
) -> DatasetRef | None:
    known = {kind.name for kind in butler.registry.dataset_types()}
    ref = None
    if name in known:
        ref = butler.find_dataset(name, {}, collections=list(collections))
    if ref is None and minimum:
        raise MissingInitInput(task.label, name, collections[1:])
    return ref


def _write(butler: Butler, task: PipelineTask, run: str) -> None:
    objects: dict[str, Any] = {}
    for name, ref in task.init_refs.items():
        objects[name] = butler.get(ref)
    made = task.make(objects).init_outputs()
    for name, obj in made.items():
        kind = task.connections[name].dataset_type
        if butler.find_dataset(kind, {}, collections=[run]) is None:
            butler.put(obj, kind, {}, run=run)
