"""Ranges of pixels have a greatest length, so that what overlaps a range is found near it.

Revision: 0010, after 0009.  Longer ones are cut; no table changes.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = {
    "visit_pixel": (1024, ("instrument", "visit")),
    "visit_detector_pixel": (64, ("instrument", "visit", "detector")),
    "tract_pixel": (1024, ("skymap", "tract")),
    "patch_pixel": (64, ("skymap", "tract", "patch")),
}


def upgrade() -> None:
    if op.get_context().as_sql:
        return
    connection = op.get_bind()
    for name, (longest, keys) in TABLES.items():
        columns: list[sa.ColumnClause[Any]] = [
            sa.column(c) for c in (*keys, "pixel_begin", "pixel_end")
        ]
        table = sa.table(name, *columns)
        long = table.c.pixel_end - table.c.pixel_begin > longest
        rows = [dict(row) for row in connection.execute(sa.select(table).where(long)).mappings()]
        if not rows:
            continue
        connection.execute(sa.delete(table).where(long))
        connection.execute(sa.insert(table), [p for row in rows for p in pieces(row, longest)])


def pieces(row: dict[str, Any], longest: int) -> list[dict[str, Any]]:
    """Cut a range into pieces of the length that is allowed."""
    end = row["pixel_end"]
    return [
        {**row, "pixel_begin": begin, "pixel_end": min(begin + longest, end)}
        for begin in range(row["pixel_begin"], end, longest)
    ]


def downgrade() -> None:
    """Leave the pieces, which say the same as the whole."""
