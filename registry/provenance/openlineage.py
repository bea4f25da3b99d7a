"""How is a history told as OpenLineage events?

A quantum is a run of the job named by its task's label: it starts, and completes or fails (core
specification 2-0-2, https://openlineage.io/spec/2-0-2/OpenLineage.json).
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from registry.identity import DatasetRef
    from registry.provenance.graphs import Graph, Step
    from registry.provenance.settings import Settings

__all__ = ["PRODUCER", "events", "lines"]

PRODUCER = "urn:x-skyspine:registry.provenance"
"""Who says so, in every event and facet."""

_CORE = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/"
_FACETS = "https://openlineage.io/spec/facets/"
_ENDS = {"done": "COMPLETE", "no_work": "COMPLETE", "failed": "FAIL"}


def lines(graph: Graph, settings: Settings) -> str:
    """Write the events of a graph, one JSON document per line, as event files hold them."""
    return "".join(json.dumps(event) + "\n" for event in events(graph, settings))


def events(graph: Graph, settings: Settings) -> Iterator[dict[str, Any]]:
    """Tell the quanta of a graph as run events, in the order of their times.

    Quanta that were never started have none; one that still runs has started only.
    """
    told = [
        (moment, kind, step)
        for step in graph.steps.values()
        for moment, kind in (
            (step.started_at, "START"),
            (step.finished_at, _ENDS.get(step.state)),
        )
        if moment is not None and kind is not None
    ]
    told.sort(key=lambda t: (t[0], t[2].id.int, t[1] != "START"))
    for moment, kind, step in told:
        yield _event(graph, settings, step, moment, kind)


def _event(
    graph: Graph, settings: Settings, step: Step, moment: dt.datetime, kind: str
) -> dict[str, Any]:
    namespace = f"skyspine:{settings.repository_id}"
    parent = {
        "run": {"runId": str(uuid.uuid5(settings.repository_id, step.run))},
        "job": {"namespace": namespace, "name": step.run},
    }
    run_facets = {"parent": _facet("1-2-0/ParentRunFacet", **parent)}
    if kind == "START":  # facets of a run add up over its events
        run_facets |= _facets_of_start(settings, step)
    if kind == "FAIL":
        run_facets["errorMessage"] = _facet(
            "1-0-1/ErrorMessageRunFacet",
            message=step.problem or "unknown",
            programmingLanguage="PYTHON",
        )
    job_type = _facet(
        "2-0-4/JobTypeJobFacet", processingType="BATCH", integration="SKYSPINE", jobType="TASK"
    )
    outputs = graph.makes.get(step.id, []) if kind == "COMPLETE" else []
    return {
        "eventType": kind,
        "eventTime": moment.isoformat(),
        "producer": PRODUCER,
        "schemaURL": f"{_CORE}RunEvent",
        "run": {"runId": str(step.id), "facets": run_facets},
        "job": {"namespace": namespace, "name": step.task_label, "facets": {"jobType": job_type}},
        "inputs": [
            {**_dataset(graph.datasets[i], namespace), "inputFacets": {}}
            for _, i in graph.reads.get(step.id, ())
        ],
        "outputs": [
            {**_dataset(graph.datasets[i], namespace), "outputFacets": {}} for _, i in outputs
        ],
    }


def _facets_of_start(settings: Settings, step: Step) -> dict[str, Any]:
    facets = {}
    software = settings.environments.get(step.environment_id or 0)
    if software is not None:
        facets["processing_engine"] = _facet(
            "1-1-1/ProcessingEngineRunFacet",
            name="skyspine",
            version=software.packages.get("skyspine", software.code_revision or "unknown"),
        )
        facets["skyspine_software"] = {
            "_producer": PRODUCER,
            "_schemaURL": f"{_CORE}RunFacet",
            "python": software.python,
            "platform": software.platform,
            "codeRevision": software.code_revision,
            "packages": software.packages,
        }
    parameters = [
        {"key": path, "value": "None" if value is None else value}
        for path, (value, _) in settings.configurations[step.config_id].values.items()
    ]
    if parameters:
        facets["executionParameters"] = _facet(
            "1-0-0/ExecutionParametersRunFacet", parameters=parameters
        )
    return facets


def _dataset(ref: DatasetRef, namespace: str) -> dict[str, Any]:
    keys = ",".join(f"{k}={v}" for k, v in ref.data_id.items())
    version = _facet("1-0-1/DatasetVersionDatasetFacet", datasetVersion=str(ref.id))
    return {
        "namespace": namespace,
        "name": f"{ref.run}/{ref.dataset_type.name}/{keys}",
        "facets": {"version": version},
    }


def _facet(schema: str, **values: Any) -> dict[str, Any]:
    name = schema.partition("/")[2]
    return {
        "_producer": PRODUCER,
        "_schemaURL": f"{_FACETS}{schema}.json#/$defs/{name}",
        **values,
    }
