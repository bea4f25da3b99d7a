"""A view tells how quanta ended, by kind of error.

Revision: 0022, after 0021.
"""

from __future__ import annotations

from registry.deploy import create_view, drop_view

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_view("quantum_outcome")


def downgrade() -> None:
    drop_view("quantum_outcome")
