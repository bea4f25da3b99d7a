"""How does the configuration of a task become rows, and how does it come back?

`record` writes it with the history of every value in the transaction of the caller; `load` makes
the configuration of a task of a run again, from its values: classes are imported, no code is run.
What differs between runs is asked in `registry.provenance.config_questions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry import provenance
from registry.errors import did_you_mean
from registry.provenance import config_questions
from workflow.config_values import (
    class_name,
    from_leaf_values,
    leaf_values,
    parse_value,
    save_text,
    value_text,
)
from workflow.errors import UnknownLabel

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa

    from workflow.configuration import HistoryEntry

__all__ = ["load", "record"]


def record(
    connection: sa.Connection,
    run: str,
    label: str,
    task_class: str,
    config: Any,
    history: Mapping[str, tuple[HistoryEntry, ...]],
    pipeline: str | None = None,
) -> int:
    """Record a task of a run with its configuration.

    Parameters
    ----------
    run, label : str
        RUN collection, and the name of the task in the pipeline.
    task_class : str
        Dotted path of its class.
    config : lsst.pex.config.Config
        The frozen configuration.
    history : mapping
        By path the steps of each value, as `workflow.configuration.configure` gives them.
    pipeline : str, optional
        Where the task came from.

    Returns
    -------
    int
        Key of the task.

    Raises
    ------
    DefinitionConflict
        If the run has a task of this label with another class or configuration.
    """
    values = [(v.path, value_text(v.value), v.type) for v in leaf_values(config)]
    key = provenance.record_config(connection, class_name(config), save_text(config), values)
    entries = [
        provenance.HistoryEntry(path, step.text, step.kind, step.origin, step.by, step.at)
        for path, steps in history.items()
        for step in steps
    ]
    return provenance.record_task(connection, run, label, task_class, key, entries, pipeline)


def load(connection: sa.Connection, run: str, label: str) -> Any:
    """Make the configuration again that a task of a run had; it is not frozen.

    Parameters
    ----------
    run : str
        A RUN collection, or a CHAINED one: then that of the first run that has the task.
    label : str
        The task.

    Raises
    ------
    UnknownLabel
        If the run has no such task.
    UnknownField
        If the class of today lacks a field of then.
    """
    found = config_questions.config_of(connection, run, label)
    if found is None:
        known = {row["task_label"] for row in provenance.config_history(connection, run)}
        raise UnknownLabel(f"'{run}' has no task '{label}'.{did_you_mean(label, sorted(known))}")
    values = [(p, parse_value(text, kind), kind) for p, (text, kind) in found.values.items()]
    return from_leaf_values(found.class_name, values)
