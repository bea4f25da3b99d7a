"""How does the pipeline of a run come back from its rows?

`record` writes, beside the configurations, what else a task is in its place: its class, dimensions,
the names of its dataset types, its needs, and how its calibrations are certified. `load` makes the
pipeline again of that, in any process and with no file. Code is imported by its name, as ever.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from registry import plans
from registry.errors import DefinitionConflict
from workflow import recorded_configs
from workflow.config_values import import_dotted
from workflow.pipeline import Pipeline, PipelineTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import sqlalchemy as sa

__all__ = ["check_same", "load", "record", "selections", "stage_of"]


def record(
    connection: sa.Connection,
    run: str,
    pipeline: Pipeline,
    keys: Mapping[str, int],
    *,
    output: str,
    inputs: Sequence[str],
    where: str,
) -> None:
    """Record with what a run is planned.

    Parameters
    ----------
    keys : mapping of str to int
        Key of each task of the run, by label.
    output, inputs, where : str, sequence of str, str
        As `workflow.runner.run_pipeline` has them.
    """
    stages = pipeline.stages()
    document = {
        "name": pipeline.name,
        "instrument": pipeline.instrument,
        "parameters": {k: v for k, v in pipeline.parameters.items() if _is_plain(v)},
        "tasks": [
            {**_description(task), "stage": n} for n, stage in enumerate(stages) for task in stage
        ],
        "selections": {
            **selections(connection, run),
            **{task.label: dict(task.selections) for task in pipeline},
        },
    }
    request = plans.Request(output, tuple(inputs), where, json.dumps(document), len(stages))
    needs = [
        {
            "task_id": keys[task.label],
            "ranks": task.needs.ranks,
            "cores": task.needs.cores,
            "memory_per_core_mib": task.needs.memory_per_core,
            "walltime_guess_s": float(task.needs.walltime_guess),
            "timeout_s": float(task.needs.timeout),
        }
        for task in pipeline
    ]
    plans.record_request(connection, run, request, needs)


def load(connection: sa.Connection, run: str, labels: Sequence[str] | None = None) -> Pipeline:
    """Make the pipeline of a run again.

    Parameters
    ----------
    labels : sequence of str, optional
        Only these tasks; no other class is imported.

    Raises
    ------
    NotPlanned
        If the run was not planned here.
    """
    document = json.loads(plans.request_of(connection, run).pipeline)
    return Pipeline(
        [
            _task(connection, run, given)
            for given in document["tasks"]
            if labels is None or given["label"] in labels
        ],
        instrument=document["instrument"],
        parameters=document["parameters"],
        name=document["name"],
    )


def selections(connection: sa.Connection, run: str) -> dict[str, dict[str, str]]:
    """Tell how tasks of a run were configured for some data IDs, in this plan or one before.

    Returns
    -------
    dict
        By label, `workflow.pipeline.PipelineTask.selections`.
    """
    try:
        document = json.loads(plans.request_of(connection, run).pipeline)
    except plans.NotPlanned:
        return {}
    return dict(document.get("selections", {}))


def check_same(connection: sa.Connection, run: str, pipeline: Pipeline) -> None:
    """Refuse to go on with a run whose tasks were configured otherwise for some data IDs.

    Raises
    ------
    DefinitionConflict
        If an expression, or the configuration for it, is another one.
    """
    before = selections(connection, run)
    for task in pipeline:
        then, now = before.get(task.label, task.selections), task.selections
        if list(then.items()) != list(now.items()):
            other = [where for where in (*then, *now) if then.get(where) != now.get(where)]
            raise DefinitionConflict(
                f"The run '{run}' has another configuration of the task '{task.label}' for "
                f"{other[0] if other else 'some data IDs'}; start a new run for the new "
                "configuration."
            )


def stage_of(request: plans.Request, label: str) -> int:
    """Tell in which stage a task is, from 0."""
    tasks = json.loads(request.pipeline)["tasks"]
    return int(next(task["stage"] for task in tasks if task["label"] == label))


def _description(task: PipelineTask) -> dict[str, Any]:
    return {
        "label": task.label,
        "class": task.class_name,
        "dimensions": list(task.dimensions),
        "dataset_types": {name: c.dataset_type for name, c in task.connections.items()},
        "select": dict(task.select),
        "certify": dict(task.certify),
        "resources": dict(task.resources),
    }


def _task(connection: sa.Connection, run: str, given: Mapping[str, Any]) -> PipelineTask:
    task_class = import_dotted(given["class"])
    config = recorded_configs.load(connection, run, given["label"])
    config.freeze()
    dimensions = tuple(given["dimensions"])
    connections = task_class.connections(
        config,
        rename=given["dataset_types"],
        dimensions=None if dimensions == task_class.dimensions else dimensions,
        extra_dimensions=(*task_class.extra_dimensions, *given["dimensions"]),
    )
    return PipelineTask(
        label=given["label"],
        task_class=task_class,
        config=config,
        connections=connections,
        select=given["select"],
        certify=given["certify"],
        resources=given["resources"],
    )


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, list, dict))
