"""Which quanta does a run have, what will each read and make, and which of them can run?

Quanta are rows, and they are found by statements. `tasks` says what must be known of a task;
`sources` which datasets there are with what their data IDs imply, `data_ids` how new data IDs are
made; `grouping` finds quanta and inputs, `prerequisites` what is looked up, `lookups` by
functions of tasks, `outputs` what will be
made, `blocking` what cannot run, `variants` which have a configuration of their own,
`adjusting` what tasks leave out, `pruning` what need not be run;
`building` does all of this in order. `reading` gives quanta as objects, `walking` those that may
begin, and `reasons` sentences for those that may not. `giving` lets a part go away in a file,
`copying` says what that holds, and `homecoming` brings back what became of it.
`requests` keeps with what a run was planned, and `foreseeing` tells what it will take.
Tables: `registry.schema.plans`.
"""

from __future__ import annotations

from registry.plans.adjusting import leave_out, ready_quanta
from registry.plans.building import count_quanta, has_reused, keep_promises, plan, unplan
from registry.plans.copying import HOME, copy_graph
from registry.plans.foreseeing import inputs_by_endpoint, to_stage, work_to_do
from registry.plans.giving import GraphFile, give, graph_files, graph_of_file, take_back
from registry.plans.lookups import Asked, LookupFunction
from registry.plans.pruning import drop_unwanted
from registry.plans.reading import Planned, read_planned
from registry.plans.reasons import Blocked, blocked_quanta
from registry.plans.requests import (
    NotPlanned,
    Request,
    end_stage,
    needs_of,
    record_request,
    request_of,
    run_of,
    task_keys,
)
from registry.plans.tasks import LooksUp, Makes, PlannedTask, Reads, Search
from registry.plans.variants import assign, check_selection, combinations
from registry.plans.walking import (
    block_stranded,
    is_free,
    is_over,
    next_ready,
    readers,
    settle,
)

__all__ = [
    "HOME",
    "Asked",
    "Blocked",
    "GraphFile",
    "LooksUp",
    "LookupFunction",
    "Makes",
    "NotPlanned",
    "Planned",
    "PlannedTask",
    "Reads",
    "Request",
    "Search",
    "assign",
    "block_stranded",
    "blocked_quanta",
    "check_selection",
    "combinations",
    "copy_graph",
    "count_quanta",
    "drop_unwanted",
    "end_stage",
    "give",
    "graph_files",
    "graph_of_file",
    "has_reused",
    "inputs_by_endpoint",
    "is_free",
    "is_over",
    "keep_promises",
    "leave_out",
    "needs_of",
    "next_ready",
    "plan",
    "read_planned",
    "readers",
    "ready_quanta",
    "record_request",
    "request_of",
    "run_of",
    "settle",
    "take_back",
    "task_keys",
    "to_stage",
    "unplan",
    "work_to_do",
]
