"""Which tables are there?  One module per family; `metadata` holds them all.

Alembic alone creates them (``migrations/``); the data dictionary in the docs is rendered from their
comments.
"""

from __future__ import annotations

from registry.schema import (
    calibrations,
    collections,
    dimensions,
    files,
    identity,
    logs,
    plans,
    policies,
    provenance,
    quality,
    row_tables,
)
from registry.schema.types import metadata

__all__ = [
    "calibrations",
    "collections",
    "dimensions",
    "files",
    "identity",
    "logs",
    "metadata",
    "plans",
    "policies",
    "provenance",
    "quality",
    "row_tables",
]
