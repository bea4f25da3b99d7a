"""What is made once, when a run begins, before its quanta?

A task that declares init outputs knows them when it is made, as the columns of a table that it will
fill; a task that declares init inputs needs them to be made.  `initialize` makes such tasks in
order, and writes what they know into the run, with the making of the task as what made it.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import resource
import time
from typing import TYPE_CHECKING, Any

from registry import provenance
from registry.identity import DataId, DatasetRef, uuid7
from workflow import recorded_configs
from workflow.errors import MissingInitInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from butler.butler import Butler
    from workflow.pipeline import Pipeline, PipelineTask

__all__ = ["initialize"]


def initialize(
    butler: Butler, pipeline: Pipeline, run: str, inputs: Sequence[str], environment_id: int
) -> tuple[PipelineTask, ...]:
    """Write the init outputs of all tasks that are not in the run yet.

    Parameters
    ----------
    run : str
        RUN collection that they go to.
    inputs : sequence of str
        Where init inputs are searched that no task of the pipeline makes.
    environment_id : int
        Key of the software environment.

    Returns
    -------
    tuple of PipelineTask
        The tasks, with the datasets of their init inputs, and the configurations that some of their
        quanta have in the run.

    Raises
    ------
    MissingInitInput
        If an init input does not exist.
    MissingOutput
        If a task does not set an init output.
    """
    found: list[PipelineTask] = []
    with butler.transaction() as connection:
        variants = recorded_configs.load_variants(connection, run, [t.label for t in pipeline])
        for task in pipeline:
            refs = {
                name: ref
                for name, c in task.connections.init_inputs.items()
                if (ref := _found(butler, task, c.dataset_type, [run, *inputs], c.minimum))
            }
            found.append(
                dataclasses.replace(task, init_refs=refs, variants=variants.get(task.label, {}))
            )
            if task.connections.init_outputs or refs:
                _write(butler, connection, found[-1], run, environment_id)
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


def _write(
    butler: Butler, connection: sa.Connection, task: PipelineTask, run: str, environment_id: int
) -> None:
    kinds = {name: task.connections[name].definition() for name in task.connections.init_outputs}
    lacking = {
        name
        for name, kind in kinds.items()
        if butler.find_dataset(kind.name, {}, collections=[run]) is None
    }
    if kinds and not lacking:
        return
    began, cpu = time.perf_counter(), time.process_time()
    objects: dict[str, Any] = {name: butler.get(ref) for name, ref in task.init_refs.items()}
    made = task.make(objects).init_outputs()
    maker = uuid7()
    outputs = []
    for name in made.keys() & lacking:
        ref = DatasetRef(uuid7(), kinds[name], DataId({}), run)
        butler.put_as(made[name], ref, {"SKYS_QID": str(maker)})
        outputs.append((name, ref.id))
    provenance.record_making(
        connection,
        run,
        task.label,
        maker,
        environment_id,
        outputs,
        [(name, ref.id) for name, ref in task.init_refs.items()],
        by=(platform.node(), os.getpid()),
        took=(time.perf_counter() - began, time.process_time() - cpu),
        max_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )
