"""A view tells how quanta ended, by kind of error.

Revision: 0026, after 0020.
"""

from __future__ import annotations

from registry.deploy import create_view, drop_view

revision = "0026"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_view("quantum_outcome")


def downgrade() -> None:
    drop_view("quantum_outcome")
