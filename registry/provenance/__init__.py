"""What made this dataset, from what, and what was made of it?

`recording` holds the verbs that record environments, configurations, tasks and quanta, `initial`
the making of tasks, `variants` what they are for some data IDs, and `recovery` what becomes of
quanta whose process died; `graphs` the questions that walk from dataset to dataset; `questions` and
`settings` those about one step: maker, configuration, software.  On them stand `taints` (what a
withdrawn dataset spoils), `differences` (of two histories), `software` (what a version made) and
the formats of `exports`: `prov`, `ivoa`, `openlineage` and `pictures`.  `door` is what a `Registry`
shows of it.  Tables: `registry.schema.provenance`.
"""

from __future__ import annotations

from registry.provenance.graphs import (
    Edge,
    Graph,
    Step,
    ancestors,
    descendants,
    graph_of_run,
    reached_sql,
    walk,
)
from registry.provenance.initial import record_making
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
from registry.provenance.variants import Variant, forget_unused, record_variant, variants_of

__all__ = [
    "STATES",
    "TRANSITIONS",
    "Edge",
    "Graph",
    "HistoryEntry",
    "Outcome",
    "QuantumRow",
    "Step",
    "Variant",
    "ancestors",
    "block",
    "config_history",
    "descendants",
    "finish",
    "forget_unused",
    "graph_of_run",
    "insert_quanta",
    "makers",
    "outputs_of",
    "packages",
    "quanta_of_run",
    "reached_sql",
    "record_config",
    "record_environment",
    "record_making",
    "record_task",
    "record_variant",
    "reset",
    "start",
    "variants_of",
    "walk",
]
