"""Do the tasks of a pipeline fit together, and in which order do they run?

Each dataset type has one maker at most, all tasks say the same about it, calibrations that are
looked up are certified, no task waits for itself, and steps come after those that they need.  Who
asks is `workflow.pipeline`.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

from workflow.connections import Connection, Input, Prerequisite
from workflow.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workflow.pipeline import PipelineTask
    from workflow.pipeline_file import Step

__all__ = ["check_steps", "common_types", "makers_of", "order"]


def makers_of(tasks: Mapping[str, PipelineTask]) -> dict[str, str]:
    """Map each dataset type to the label of the task that makes it."""
    found: dict[str, str] = {}
    for task in tasks.values():
        for connection in task.connections.values():
            if connection.reads:
                continue
            other = found.setdefault(connection.dataset_type, task.label)
            if other != task.label:
                raise PipelineError(
                    f"'{other}' and '{task.label}' both make {connection.dataset_type}; "
                    "give one of them another dataset type under `connections`.",
                    **_place(task),
                )
    return found


def common_types(
    tasks: Mapping[str, PipelineTask], producers: Mapping[str, str]
) -> dict[str, PipelineTask]:
    """Compare what tasks say about a dataset type; prerequisites take its maker's dimensions."""
    defined: dict[str, tuple[str, Connection]] = {
        c.dataset_type: (task.label, c)
        for task in tasks.values()
        for c in task.connections.values()
        if not c.reads
    }
    changed: dict[str, PipelineTask] = {}
    for task in tasks.values():
        connections = {}
        for name, connection in task.connections.items():
            label, first = defined.setdefault(connection.dataset_type, (task.label, connection))
            made_here = connection.dataset_type in producers
            if isinstance(connection, Prerequisite) and made_here:
                _check_certified(task, tasks[label], first)
                connection = dataclasses.replace(connection, dimensions=first.dimensions)
            _check_same(task, name, connection, label, first)
            connections[name] = connection
        changed[task.label] = dataclasses.replace(
            task, connections=task.connections.made_of(connections)
        )
    return changed


def _check_same(
    task: PipelineTask, name: str, connection: Connection, label: str, first: Connection
) -> None:
    there, here = first.definition(), connection.definition()
    for what, theirs, ours in (
        ("the storage class", there.storage_class, here.storage_class),
        ("the dimensions", ", ".join(there.dimensions), ", ".join(here.dimensions)),
    ):
        if theirs != ours:
            raise PipelineError(
                f"{connection.dataset_type} has {what} {theirs} in '{label}' and {ours} in "
                f"'{task.label}' ('{name}'); they must be the same.",
                **_place(task),
            )
    if isinstance(connection, Input):
        return
    if there.is_calibration != here.is_calibration and not isinstance(first, Input):
        raise PipelineError(
            f"{connection.dataset_type} is a calibration in one of '{label}' and '{task.label}' "
            "and none in the other; both must say is_calibration.",
            **_place(task),
        )


def _check_certified(task: PipelineTask, maker: PipelineTask, made: Connection) -> None:
    name = next(k for k, c in maker.connections.items() if c.dataset_type == made.dataset_type)
    if made.is_calibration and name not in maker.certify:
        raise PipelineError(
            f"'{task.label}' looks up {made.dataset_type}, which '{maker.label}' makes but nothing "
            f"certifies; add `certify: {{{name}: {{validity: until-next}}}}` to '{maker.label}'.",
            **_place(maker),
        )


def order(tasks: Mapping[str, PipelineTask], producers: Mapping[str, str]) -> list[str]:
    """Sort topologically, keeping the order of the file where it is free."""
    before = {
        label: {
            producers[c.dataset_type]
            for c in task.connections.values()
            if c.reads and c.dataset_type in producers
        }
        for label, task in tasks.items()
    }
    done: dict[str, None] = {}
    while len(done) < len(tasks):
        ready = next((k for k in tasks if k not in done and before[k] <= done.keys()), None)
        if ready is None:
            raise _cycle(
                tasks, {k: before[k] - done.keys() for k in tasks if k not in done}, producers
            )
        done[ready] = None
    return list(done)


def _cycle(
    tasks: Mapping[str, PipelineTask],
    before: Mapping[str, set[str]],
    producers: Mapping[str, str],
) -> PipelineError:
    """Name the tasks of a cycle with what they hand on."""
    path = [next(iter(before))]
    while path.count(path[-1]) == 1:
        path.append(min(before[path[-1]]))
    loop = path[path.index(path[-1]) :][::-1]
    shown = loop[0]
    for task, follower in itertools.pairwise(loop):
        handed = next(
            c.dataset_type
            for c in tasks[follower].connections.values()
            if c.reads and producers.get(c.dataset_type) == task
        )
        shown += f" -> {handed} -> {follower}"
    return PipelineError(
        f"the tasks wait for each other: {shown}; rename a dataset type under `connections`.",
        **_place(tasks[loop[0]]),
    )


def _place(task: PipelineTask) -> dict[str, Any]:
    file, _, line = task.origin.rpartition(":")
    return {"file": file, "line": int(line) if line.isdigit() else None}


def check_steps(
    steps: Sequence[Step],
    subsets: Mapping[str, Sequence[str]],
    tasks: Mapping[str, PipelineTask],
    makers: Mapping[str, str],
) -> None:
    """Check that no step needs what a later one makes, and that no task is in two.

    Raises
    ------
    PipelineError
        With the tasks, and what the one hands to the other.
    """
    place: dict[str, int] = {}
    for n, step in enumerate(steps):
        for label in subsets[step.label]:
            if label in place:
                raise step.error(
                    f"'{label}' is in the steps '{steps[place[label]].label}' and '{step.label}'; "
                    "a task runs in one."
                )
            place[label] = n
    for label, n in place.items():
        for connection in tasks[label].connections.values():
            maker = makers.get(connection.dataset_type, label)
            if connection.reads and place.get(maker, n) > n:
                raise steps[n].error(
                    f"'{label}' of the step '{steps[n].label}' reads {connection.dataset_type}, "
                    f"which '{maker}' of the later step '{steps[place[maker]].label}' makes."
                )
