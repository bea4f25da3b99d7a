"""How does the configuration of a task become rows, and how does it come back?

`record` writes it with the history of every value in the transaction of the caller; `load` makes
the configuration of a task of a run again, from its values: classes are imported, no code is run.
What differs between runs is asked in `registry.provenance.config_questions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry import provenance
from registry.errors import did_you_mean
from registry.provenance import config_questions, settings
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
    from collections.abc import Collection, Mapping

    import sqlalchemy as sa

    from workflow.configuration import HistoryEntry

__all__ = ["load", "load_variants", "record", "record_variant"]


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
    key, entries = _recorded(connection, config, history)
    return provenance.record_task(connection, run, label, task_class, key, entries, pipeline)


def record_variant(
    connection: sa.Connection,
    task_id: int,
    selection: str,
    config: Any,
    history: Mapping[str, tuple[HistoryEntry, ...]],
) -> provenance.Variant:
    """Record a configuration that a task has for some data IDs.

    Parameters
    ----------
    task_id : int
        Key of the task.
    selection : str
        Expression that the data IDs fulfil.
    config, history
        As for `record`.

    Raises
    ------
    DefinitionConflict
        If the task has another configuration for them.
    """
    key, entries = _recorded(connection, config, history)
    return provenance.record_variant(connection, task_id, selection, key, entries)


def _recorded(
    connection: sa.Connection, config: Any, history: Mapping[str, tuple[HistoryEntry, ...]]
) -> tuple[int, list[provenance.HistoryEntry]]:
    """Record a configuration by its content; give its key, and its history as rows."""
    values = [(v.path, value_text(v.value), v.type) for v in leaf_values(config)]
    key = provenance.record_config(connection, class_name(config), save_text(config), values)
    entries = [
        provenance.HistoryEntry(path, step.text, step.kind, step.origin, step.by, step.at)
        for path, steps in history.items()
        for step in steps
    ]
    return key, entries


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
    return _made(found)


def load_variants(
    connection: sa.Connection, run: str, labels: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Make the configurations again that tasks of a run had for some data IDs; they are frozen.

    Parameters
    ----------
    labels : collection of str
        The tasks.

    Returns
    -------
    dict
        By label of the task, the configuration by label of the variant.
    """
    variants = [v for v in provenance.variants_of(connection, run) if v.of in labels]
    known = settings.configurations(connection, [v.config_id for v in variants])
    found: dict[str, dict[str, Any]] = {}
    for variant in variants:
        config = _made(known[variant.config_id])
        config.freeze()
        found.setdefault(variant.of, {})[variant.label] = config
    return found


def _made(found: settings.Configuration) -> Any:
    values = [(p, parse_value(text, kind), kind) for p, (text, kind) in found.values.items()]
    return from_leaf_values(found.class_name, values)
