"""Observing logs become exposure records: CSV files or tables, with every bad row told.

`read_mapping` says what the columns mean, `load_exposures` (also
`registry.registry.Registry.load_exposures`) loads.  Raw files that come later find their exposure;
exposures whose files never come are in the view ``late_dataset``.
"""

from __future__ import annotations

from registry.exposure_logs.loading import LoadedLog, RowProblem, load_exposures, read_log
from registry.exposure_logs.mapping import BadMapping, LogMapping, Rule, Skip, read_mapping, shipped

__all__ = [
    "BadMapping",
    "LoadedLog",
    "LogMapping",
    "RowProblem",
    "Rule",
    "Skip",
    "load_exposures",
    "read_log",
    "read_mapping",
    "shipped",
]
