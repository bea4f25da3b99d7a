"""What made this dataset, from what, and what was made of it?

`recording` holds the verbs that record environments, configurations, tasks and quanta; `graphs` the
questions that walk from dataset to dataset; `questions` those about one step: maker, configuration,
software.  Tables: `registry.schema.provenance`.
"""

from __future__ import annotations

from registry.provenance.graphs import Edge, ancestors, descendants, walk_sql
from registry.provenance.questions import (
    config_history,
    makers,
    outputs_of,
    packages,
    quanta_of_run,
)
from registry.provenance.recording import (
    STATES,
    TRANSITIONS,
    HistoryEntry,
    Outcome,
    QuantumRow,
    block,
    finish,
    insert_quanta,
    record_config,
    record_environment,
    record_task,
    reset,
    start,
)

__all__ = [
    "STATES",
    "TRANSITIONS",
    "Edge",
    "HistoryEntry",
    "Outcome",
    "QuantumRow",
    "ancestors",
    "block",
    "config_history",
    "descendants",
    "finish",
    "insert_quanta",
    "makers",
    "outputs_of",
    "packages",
    "quanta_of_run",
    "record_config",
    "record_environment",
    "record_task",
    "reset",
    "start",
    "walk_sql",
]
