"""How is a run planned by one process, and executed by others that a batch engine starts?

`skyspine run --plan` records the run with its plan. An engine asks for what may begin (`move_on`),
which also does what lies between quanta: it blocks what cannot run any more, certifies calibrations
when a stage is done, and looks them up for the next. Each quantum is executed by a process of its
own: `workflow.single_quantum`. Nothing is kept but in the database, so several engines that ask at
once do not hinder each other.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry import collections, plans
from registry.errors import UnknownCollection
from workflow import recorded_pipelines
from workflow.certifying import certify_run
from workflow.frontier import PAGE
from workflow.quanta import load, planned_tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from butler.butler import Butler
    from registry.identity import DataId
    from workflow.needs import Needs
    from workflow.pipeline import Pipeline

__all__ = ["Startable", "move_on", "run_named"]

_FIRST = uuid.UUID(int=0)


@dataclass(frozen=True)
class Startable:
    """A quantum that may begin.

    Parameters
    ----------
    id : uuid.UUID
        Its identity.
    task : str
        Label of its task.
    data_id : DataId
        Its data ID.
    needs : Needs
        What it needs of the machine.
    """

    id: uuid.UUID
    task: str
    data_id: DataId
    needs: Needs


def run_named(connection: sa.Connection, name: str) -> str:
    """Give the run that is meant by its name, or by that of the chain that it is first in."""
    known = {c.name: c for c in collections.query(connection, name)}
    if name not in known:
        raise UnknownCollection(name, [c.name for c in collections.query(connection, "*")])
    found = known[name]
    return found.children[0] if found.type == "CHAINED" and found.children else name


def move_on(butler: Butler, name: str, limit: int = PAGE) -> list[Startable]:
    """Do what the end of quanta has made possible, and list those that may begin.

    Parameters
    ----------
    butler : Butler
        Writeable, on the repository.
    name : str
        A planned run, or the chain that it is first in.
    limit : int
        So many at most.

    Returns
    -------
    list of Startable
        In the order of tasks; whoever executes them first has them.

    Raises
    ------
    NotPlanned
        If the run was not planned here.
    """
    return butler.registry.database.transact(_moved, name, limit)


def _moved(connection: sa.Connection, name: str, limit: int) -> list[Startable]:
    run = run_named(connection, name)
    pipeline = recorded_pipelines.load(connection, run)
    keys = plans.task_keys(connection, run)
    tasks = planned_tasks(connection, pipeline, keys)
    plans.block_stranded(connection, tasks)
    stages = pipeline.stages()
    done = plans.request_of(connection, run).n_stages_done
    while done < len(stages) and plans.is_over(connection, [keys[t.label] for t in stages[done]]):
        if not plans.end_stage(connection, run, done):
            return []
        _between(connection, run, pipeline, tasks, done)
        done += 1
    begun = [t.label for stage in stages[: done + 1] for t in stage]
    found: list[Startable] = []
    for label in begun:
        ids = plans.next_ready(connection, keys[label], _FIRST, limit - len(found))
        needs = pipeline[label].needs
        found += [Startable(q.id, label, q.data_id, needs) for q in load(connection, ids)]
        if len(found) >= limit:
            break
    return found


def _between(
    connection: sa.Connection,
    run: str,
    pipeline: Pipeline,
    tasks: Sequence[plans.PlannedTask],
    done: int,
) -> None:
    """Certify what a stage has made, and look it up for the next."""
    request = plans.request_of(connection, run)
    calibs = f"{request.output}/calib"
    stages = pipeline.stages()
    for task in stages[done]:
        for output, rule in task.certify.items():
            certify_run(connection, run, calibs, task.connections[output].dataset_type, rule)
    by_label = {t.label: t for t in tasks}
    later = [by_label[t.label] for stage in stages[done + 1 :] for t in stage]
    if later:
        here = [by_label[t.label] for t in stages[done + 1]]
        searched = collections.flatten(connection, [calibs, *request.inputs])
        plans.keep_promises(connection, here, later, plans.Search(searched))
