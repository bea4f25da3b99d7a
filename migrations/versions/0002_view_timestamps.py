"""Views show the times that are TAI nanoseconds as timestamps too.

Revision: 0002, after 0001.
"""

from __future__ import annotations

from registry.deploy import create_view

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

VIEWS = ("dataset_summary", "calibration_coverage")


def upgrade() -> None:
    for view in VIEWS:
        create_view(view, revision)


def downgrade() -> None:
    for view in VIEWS:
        create_view(view)
