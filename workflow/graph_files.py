"""How are the quanta in a graph file executed, without the database that they come from?

The file is a repository of its own: the same workers read inputs where they lie, write outputs
below its folder, and record what they do in it. Tasks and their configurations are made again from
its rows. It is called again to go on after a kill, and to try again what has failed and is not on
its way home.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from backbone.liveness import at_work
from butler.graphs import open_graph
from registry import plans, provenance
from registry.errors import InvalidState
from registry.identity import DIMENSIONS, DataId
from registry.plans.reading import data_ids_of
from registry.provenance.initial import INIT
from registry.provenance.variants import has_quanta
from registry.schema import provenance as schema
from registry.schema.plans import given_quantum, task_connection
from workflow import environment, recorded_configs
from workflow.config_values import import_dotted
from workflow.errors import WorkflowError
from workflow.modes import Mode
from workflow.pipeline import Pipeline, PipelineTask
from workflow.processes import Manner, executor
from workflow.quanta import planned_tasks
from workflow.runner import Runner, RunReport

if TYPE_CHECKING:
    import os
    import uuid
    from collections.abc import Callable, Mapping

    from butler.butler import Butler
    from registry.identity import DatasetRef
    from workflow.task import SuperTask

__all__ = ["MissingTask", "run_graph"]

_AGAIN = ("running", "failed", "blocked")


class MissingTask(WorkflowError, LookupError):
    """The class of a task of a graph file cannot be imported here."""

    code = "missing-task"


def run_graph(
    file: str | os.PathLike[str],
    *,
    jobs: int = 1,
    timeout: float = 0.0,
    resources: Mapping[str, Mapping[str, Any]] | None = None,
    fail_fast: bool = False,
    progress: Callable[[str, str], None] | None = None,
) -> RunReport:
    """Execute the quanta of a graph file: all that are not done, and have not left it.

    Parameters
    ----------
    file : path-like
        Written by `butler.graphs.export_graph`.
    jobs : int
        Processes; 1 runs everything in this one, unless a task has a limit of time or memory.
    timeout : float
        After how long a quantum is given up, unless the needs of its task say so [s]; 0 for never.
    resources : mapping, optional
        Label to needs, by the names of `workflow.needs.NEEDS`: they replace those of the run.
    fail_fast : bool
        Start nothing more after a failure.
    progress : callable, optional
        Called with label and state whenever a quantum may begin or has ended.

    Returns
    -------
    RunReport

    Raises
    ------
    InvalidState
        If the file is being executed.
    MissingTask
        If a task class does not exist here.
    PipelineError
        If there is no such label or need.
    """
    with open_graph(file) as (butler, graph):
        database = butler.registry.database
        environment.current()  # looks at every package: not while others wait for this one to write
        tasks, keys = _tasks(butler, graph.run)
        pipeline = Pipeline(tasks).needing(resources or {})

        def begin(connection: sa.Connection) -> tuple[int, list[plans.PlannedTask], bool]:
            again = _not_done(connection, graph.run, graph.path)
            provenance.reset(connection, again)
            return (
                provenance.record_environment(connection, *environment.current()),
                planned_tasks(connection, pipeline, keys),
                bool(again),
            )

        environment_id, planned, continued = database.transact(begin)
        mode = Mode(resume=continued)
        runner = Runner(butler, pipeline, [], "", "", None, mode, fail_fast, progress)
        runner.tasks = {task.id: task for task in planned}
        report = RunReport(graph.run)
        manner = Manner(jobs, timeout)
        runner.take_stock(report, ready=True)
        with executor(butler, graph.run, list(pipeline), environment_id, manner) as pool:
            runner.execute(pool, list(pipeline), report)
        runner.tell_blocked(report)
        return report


def _not_done(connection: sa.Connection, run: str, path: str) -> list[uuid.UUID]:
    """List the quanta that are to be tried again; what is leaving the file is not among them."""
    g = given_quantum.c
    staying = set(connection.execute(sa.select(g.quantum_id).where(g.state == "away")).scalars())
    found = provenance.quanta_of_run(connection, run, states=_AGAIN)
    if pids := at_work(found):
        listed = ", ".join(map(str, pids))
        raise InvalidState(
            f"The graph file {path} is being executed (process {listed}); wait until that has "
            "ended, or end it."
        )
    return [q["id"] for q in found if q["id"] in staying]


def _tasks(butler: Butler, run: str) -> tuple[list[PipelineTask], dict[str, int]]:
    """Make the tasks of a file again from its rows."""
    t, c = schema.task.c, task_connection.c
    made = []
    keys = {}
    with butler.registry.read() as connection:
        rows = connection.execute(
            sa.select(t.id, t.label, t.class_name).where(has_quanta()).order_by(t.id)
        ).all()
        variants = recorded_configs.load_variants(connection, run, [label for _, label, _ in rows])
        for key, label, class_name in rows:
            names = sa.select(c.name, c.dataset_type).where(c.task_id == key)
            renamed = dict(connection.execute(names).all())
            one = next(iter(data_ids_of(connection, schema.quantum.c.task_id == key).values()))
            task = _task(
                label,
                class_name,
                recorded_configs.load(connection, run, label),
                renamed,
                one,
            )
            refs = _made_with(butler, connection, label)
            needs = plans.needs_of(connection, key)
            own = variants.get(label, {})
            made.append(dataclasses.replace(task, init_refs=refs, resources=needs, variants=own))
            keys[label] = key
    return made, keys


def _task(
    label: str, class_name: str, config: Any, names: Mapping[str, str], data_id: DataId
) -> PipelineTask:
    try:
        task_class: type[SuperTask] = import_dotted(class_name)
    except ImportError as error:
        raise MissingTask(
            f"The task '{label}' is a {class_name}, which cannot be imported here: "
            f"{str(error).rstrip('.')}. Install what has it, or set PYTHONPATH."
        ) from error
    config.freeze()
    declared = set(task_class.connections(config))
    own = task_class.dimensions
    return PipelineTask(
        label,
        task_class,
        config,
        task_class.connections(
            config,
            rename={k: v for k, v in names.items() if k in declared},
            dimensions=None if set(own) == set(data_id) else tuple(data_id),
            extra_dimensions=[d for d in data_id if d not in DIMENSIONS],
        ),
        origin=f"task '{label}'",
    )


def _made_with(butler: Butler, connection: sa.Connection, label: str) -> dict[str, DatasetRef]:
    """Find what a task is made with: the inputs of its making."""
    i, q, t = schema.quantum_input.c, schema.quantum.c, schema.task.c
    rows = connection.execute(
        sa.select(i.connection, i.dataset_id)
        .join(schema.quantum, q.id == i.quantum_id)
        .join(schema.task, t.id == q.task_id)
        .where(t.label == label + INIT)
    ).all()
    refs = butler.registry.get_refs([key for _, key in rows])
    return {name: refs[key] for name, key in rows}
