"""The first five views say the types and meanings of their columns too.

Revision: 0009, after 0008.  Their SELECTs are as before; where a database keeps comments on views,
it gets them.
"""

from __future__ import annotations

from registry.deploy import comment_view

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

VIEWS = (
    ("calibration_coverage", "0002"),
    ("dataset_summary", "0002"),
    ("provenance_edge", ""),
    ("replica_health", ""),
    ("run_summary", ""),
)


def upgrade() -> None:
    for view, version in VIEWS:
        comment_view(view, version)


def downgrade() -> None:
    """Leave the comments: they say what the columns are in the older revision too."""
