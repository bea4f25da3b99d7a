"""What there is of a visit is found by an index.

Revision: 0011, after 0010.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_COLUMNS = ["instrument", "visit", "detector"]


def upgrade() -> None:
    op.create_index(
        "ix_data_id_visit",
        "data_id",
        _COLUMNS,
        postgresql_where=sa.text("visit IS NOT NULL"),
        sqlite_where=sa.text("visit IS NOT NULL"),
        if_not_exists=True,
    )


def downgrade() -> None:
    if op.get_context().dialect.name in ("mysql", "mariadb"):
        # its foreign key needs an index, and took the one of this revision for its own
        op.create_index(
            "fk_data_id_instrument_visit", "data_id", ["instrument", "visit"], if_not_exists=True
        )
    op.drop_index("ix_data_id_visit", "data_id", if_exists=True)
