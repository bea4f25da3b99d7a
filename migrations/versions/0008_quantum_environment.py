"""What was made with a software environment is found by an index.

Revision: 0008, after 0007.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_quantum_environment", "quantum", ["environment_id"], if_not_exists=True)


def downgrade() -> None:
    if op.get_context().dialect.name in ("mysql", "mariadb"):
        # its foreign key needs an index, and took the one of this revision for its own
        op.create_index(
            "fk_quantum_environment_id", "quantum", ["environment_id"], if_not_exists=True
        )
    op.drop_index("ix_quantum_environment", "quantum", if_exists=True)
