"""How is a history told in W3C PROV?

Datasets are entities, quanta activities, software environments agents, and configurations the plans
that these follow (PROV-DM, W3C Recommendation 2013-04-30).  Needs the library ``prov``:
``pip install 'skyspine[prov]'``.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from registry.errors import RegistryError

if TYPE_CHECKING:
    import datetime as dt

    from prov.model import ProvDocument

    from registry.provenance.graphs import Graph
    from registry.provenance.settings import Settings

__all__ = ["NAMESPACE", "document", "violations"]

NAMESPACE = "urn:x-skyspine:"
"""Of the attributes and of what has no UUID: configurations and environments, by digest."""


def document(graph: Graph, settings: Settings) -> ProvDocument:
    """Tell a graph in W3C PROV.

    Returns
    -------
    prov.model.ProvDocument
        ``serialize(format="json")`` writes it as PROV-JSON.

    Raises
    ------
    RegistryError
        If the library ``prov`` is not installed.
    """
    try:
        from prov.model import PROV, Namespace, ProvDocument
    except ModuleNotFoundError as error:
        raise RegistryError(
            "W3C PROV needs the library prov; install it with: pip install 'skyspine[prov]'"
        ) from error
    told = ProvDocument()
    uuids, sky = Namespace("uuid", "urn:uuid:"), Namespace("sky", NAMESPACE)
    told.add_namespace(uuids)
    told.add_namespace(sky)
    for i, ref in graph.datasets.items():
        told.entity(
            uuids[str(i)],
            {
                PROV["label"]: f"{ref.dataset_type.name} {ref.data_id!r}",
                PROV["type"]: sky[f"dataset-type/{ref.dataset_type.name}"],
                sky["run"]: ref.run,
                sky["data-id"]: json.dumps(dict(ref.data_id)),
            },
        )
    for config in settings.configurations.values():
        told.entity(
            sky[f"configuration/{config.digest}"],
            [
                (PROV["type"], PROV["Plan"]),
                (PROV["label"], config.class_name),
                *((sky["field"], f"{path} = {v}") for path, (v, _) in config.values.items()),
            ],
        )
    for software in settings.environments.values():
        told.agent(
            sky[f"environment/{software.digest}"],
            [
                (PROV["type"], PROV["SoftwareAgent"]),
                (PROV["label"], f"Python {software.python} on {software.platform}"),
                *((sky["package"], f"{name} {v}") for name, v in software.packages.items()),
                *([(sky["code-revision"], software.code_revision)] * bool(software.code_revision)),
            ],
        )
    for quantum, step in graph.steps.items():
        activity = told.activity(
            uuids[str(quantum)],
            step.started_at,
            step.finished_at,
            {
                PROV["label"]: f"{step.task_label} {step.data_id!r}",
                PROV["type"]: sky[f"task/{step.task_class}"],
                sky["run"]: step.run,
                sky["state"]: step.state,
                **({sky["host"]: step.host} if step.host else {}),
            },
        )
        if step.environment_id is not None:
            told.wasAssociatedWith(
                activity,
                sky[f"environment/{settings.environments[step.environment_id].digest}"],
                sky[f"configuration/{settings.configurations[step.config_id].digest}"],
            )
        for name, read in graph.reads.get(quantum, ()):
            told.used(activity, uuids[str(read)], other_attributes={PROV["role"]: name})
        for name, made in graph.makes.get(quantum, ()):
            told.wasGeneratedBy(
                uuids[str(made)], activity, step.finished_at, other_attributes={PROV["role"]: name}
            )
            for _, read in graph.reads.get(quantum, ()):
                told.wasDerivedFrom(uuids[str(made)], uuids[str(read)], activity)
    return told


def violations(told: ProvDocument) -> list[str]:
    """List what in a document contradicts PROV-CONSTRAINTS (W3C Recommendation 2013-04-30).

    Checked are, by their names there: unique-generation, start-precedes-end,
    usage-within-activity, generation-within-activity, generation-precedes-usage,
    derivation-generation-generation-ordering (which forbids cycles too), typing and
    entity-activity-disjoint.

    Returns
    -------
    list of str
        A sentence each; empty for a valid history.
    """
    from prov.model import (
        ProvActivity,
        ProvAgent,
        ProvAssociation,
        ProvDerivation,
        ProvEntity,
        ProvGeneration,
        ProvUsage,
    )

    def named(kind: type[Any]) -> dict[Any, Any]:
        return {r.identifier: r for r in told.get_records(kind)}

    entities, activities, agents = named(ProvEntity), named(ProvActivity), named(ProvAgent)
    found = [f"entity-activity-disjoint: {i} is both" for i in entities.keys() & activities.keys()]

    def typed(record: Any, place: str, value: Any, known: dict[Any, Any]) -> None:
        if value is not None and value not in known:
            found.append(f"typing: {value} is no {place} of {type(record).__name__}")

    found += [
        f"start-precedes-end: {i}"
        for i, a in activities.items()
        if a.get_startTime() and a.get_endTime() and a.get_startTime() > a.get_endTime()
    ]
    born: dict[Any, dt.datetime] = {}
    makers: dict[Any, set[Any]] = defaultdict(set)
    for g in told.get_records(ProvGeneration):
        entity, activity, time = g.args[:3]
        typed(g, "entity", entity, entities)
        typed(g, "activity", activity, activities)
        makers[entity].add(activity)
        if time is not None:
            born[entity] = time
            if not _within(time, activities.get(activity)):
                found.append(f"generation-within-activity: {entity} by {activity}")
    found += [f"unique-generation: {e} by {len(by)} activities" for e, by in makers.items()
              if len(by) > 1]  # fmt: skip
    for u in told.get_records(ProvUsage):
        activity, entity, time = u.args[:3]
        typed(u, "entity", entity, entities)
        typed(u, "activity", activity, activities)
        if time is not None and not _within(time, activities.get(activity)):
            found.append(f"usage-within-activity: {entity} by {activity}")
        end = time or (activities[activity].get_endTime() if activity in activities else None)
        if end and entity in born and born[entity] > end:
            found.append(f"generation-precedes-usage: {entity} by {activity}")
    for association in told.get_records(ProvAssociation):
        activity, agent, plan = association.args[:3]
        typed(association, "activity", activity, activities)
        typed(association, "agent", agent, agents)
        typed(association, "plan", plan, entities)
    sources: dict[Any, set[Any]] = defaultdict(set)
    for d in told.get_records(ProvDerivation):
        output, source = d.args[:2]
        sources[output].add(source)
        if output in born and source in born and born[source] >= born[output]:
            found.append(f"derivation-generation-generation-ordering: {output} from {source}")
    circle = _in_circles(sources)
    found += [f"derivation-generation-generation-ordering: {i} is in a circle" for i in circle]
    return sorted(found)


def _within(time: dt.datetime, activity: Any) -> bool:
    if activity is None:
        return True
    start, end = activity.get_startTime(), activity.get_endTime()
    return (start is None or start <= time) and (end is None or time <= end)


def _in_circles(sources: dict[Any, set[Any]]) -> list[Any]:
    """Leave out what has no source left, until nothing more goes."""
    left = {output: set(of) for output, of in sources.items()}
    while True:
        free = [output for output, of in left.items() if not of & left.keys()]
        if not free:
            return list(left)
        for output in free:
            del left[output]
