"""Which configuration does a task have for which data IDs?

Overrides may be for the data IDs that fulfil an expression.  A quantum has the configuration that
results when all overrides are applied, in their order, that are for all data IDs or for its own.
Each set of expressions that holds for some quanta makes a variant of the task, configured once and
recorded beside it.  A variant differs in nothing but values: what a task reads and makes is the
same for all its quanta.  Which quanta these are is found in `registry.plans.variants`.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

from lsst.pex.config import Config

from registry import plans
from registry.errors import did_you_mean
from registry.expressions import ExpressionError
from workflow import recorded_configs
from workflow.config_values import digest
from workflow.configuration import Override, Script, configure
from workflow.errors import ConfigurationError, PipelineError, TaskDefinitionError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    import sqlalchemy as sa

    from workflow.pipeline import PipelineTask

__all__ = ["checked", "filled_in", "signed", "under", "vary", "where_of"]

_BOUND = re.compile(r"'(?:[^']|'')*'|:([^\W\d]\w*)")
_PARAMETER = re.compile(r"parameters\.([^\W\d]\w*)")


def where_of(data_id: Mapping[str, Any]) -> str:
    """Write the expression that data IDs with some values fulfil.

    Parameters
    ----------
    data_id : mapping
        A value for each dimension, or a list of those that are meant; ``parameters.NAME`` for a
        parameter of the pipeline, which is one or the other.

    Raises
    ------
    ValueError
        If a value is no text, number, or list of them.

    Examples
    --------
    >>> where_of({"detector": [3, 7], "band": "g"})
    "detector IN (3, 7) AND band = 'g'"
    """
    return " AND ".join(f"{name} {_meant(value)}" for name, value in data_id.items())


def _meant(value: Any) -> str:
    if isinstance(value, list):
        return f"IN ({_literal(value)})"
    match = _PARAMETER.fullmatch(value) if isinstance(value, str) else None
    return f"IN (:{match.group(1)})" if match else f"= {_literal(value)}"


def _literal(value: Any) -> str:
    if isinstance(value, list) and value:
        return ", ".join(map(_literal, value))
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(value)
    raise ValueError(f"{value!r} is no value of a data ID: write a number, a text or a list.")


def filled_in(where: str, parameters: Mapping[str, Any]) -> str:
    """Put the values of parameters in place of their names, as in ``detector = :bad``.

    Raises
    ------
    LookupError
        If there is no such parameter; its argument is a sentence.
    ValueError
        If it cannot stand in an expression.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return match.group(0)
        if name not in parameters:
            raise LookupError(f"there is no parameter '{name}'.{did_you_mean(name, parameters)}")
        return _literal(parameters[name])

    return _BOUND.sub(value, where).strip()


def signed(
    steps: Iterable[Override | Script], by: str | None, at: datetime | None
) -> tuple[Override | Script, ...]:
    """Write into overrides who set them and when, where they do not say it themselves."""
    return tuple(dataclasses.replace(s, by=s.by or by, at=s.at or at) for s in steps)


def under(task: PipelineTask, selections: Collection[str]) -> PipelineTask:
    """Give a task as it is for data IDs that fulfil some of its selections, and no other.

    Raises
    ------
    ConfigurationError
        If the overrides for these do not fit together.
    PipelineError
        If they change what the task reads or makes.
    """
    steps = [step for step in task.steps if not step.where or step.where in selections]
    own = next((step for step in reversed(steps) if step.where), None)
    if own is None:
        return task
    try:
        made = configure(task.task_class.ConfigClass or Config, steps, label=task.label)
    except ConfigurationError as error:
        if error.origin:
            raise
        raise ConfigurationError(
            f"{error.problem}, for {' AND '.join(selections)}",
            label=task.label,
            origin=own.origin,
        ) from error
    try:
        before, after = map(task.task_class.connections, (task.config, made.config))
    except TaskDefinitionError as error:
        raise PipelineError(f"task '{task.label}': {error}", file=own.origin) from error
    changed = [n for n in dict.fromkeys((*before, *after)) if before.get(n) != after.get(n)]
    if changed or before.dimensions != after.dimensions:
        what = ", ".join(f"'{name}'" for name in changed) or "the dimensions"
        raise PipelineError(
            f"task '{task.label}': the configuration for {' AND '.join(selections)} changes "
            f"{what}; what a task reads and makes is the same for all its quanta. Give the task "
            "a second label with `select`, and its output another dataset type.",
            file=own.origin,
        )
    return dataclasses.replace(task, config=made.config, history=made.history)


def checked(task: PipelineTask) -> dict[str, str]:
    """Check each expression that overrides of a task are for, and what these change.

    Returns
    -------
    dict
        By expression, the digest of the configuration of data IDs that fulfil it alone.

    Raises
    ------
    PipelineError
        If an expression has a mistake, or a value changes what the task reads or makes; with file
        and line.
    ConfigurationError
        If a value does not fit.
    """
    found: dict[str, str] = {}
    for step in task.steps:
        if step.where and step.where not in found:
            try:
                plans.check_selection(task.dimensions, step.where)
            except ExpressionError as error:
                raise PipelineError(
                    f"task '{task.label}', where: {error}", file=step.origin
                ) from error
            found[step.where] = digest(under(task, [step.where]).config)
    return found


def vary(
    connection: sa.Connection, task: PipelineTask, planned: plans.PlannedTask
) -> tuple[PipelineTask, dict[str, int]]:
    """Record the variants of a task that its quanta have, and which quanta have which.

    Returns
    -------
    (PipelineTask, dict)
        The task with its variants, and for each of its selections the number of quanta.
    """
    wheres = list(task.selections)
    if not wheres:
        return task, {}
    found = plans.combinations(connection, planned, wheres)
    keys: dict[tuple[int, ...], int] = {}
    configs: dict[str, Any] = {}
    for places in found:
        chosen = [wheres[place] for place in places]
        one = under(task, chosen)
        text = chosen[0] if len(chosen) == 1 else " AND ".join(f"({w})" for w in chosen)
        variant = recorded_configs.record_variant(
            connection, planned.id, text, one.config, one.history
        )
        keys[places] = variant.id
        configs[variant.label] = one.config
    if keys:
        plans.assign(connection, planned, wheres, keys)
    counts = {
        where: sum(n for places, n in found.items() if place in places)
        for place, where in enumerate(wheres)
    }
    return dataclasses.replace(task, variants=configs), counts
