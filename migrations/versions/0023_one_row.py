"""A table may hold one row of each dataset, whose columns are then like fields of a record.

Revision: 0023, after 0022.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if "one_row" not in columns():
        op.add_column(
            "row_table",
            sa.Column(
                "one_row",
                sa.Boolean(),
                nullable=True,
                comment="Whether each dataset has just one row in it; none: it has any number",
            ),
        )


def downgrade() -> None:
    if op.get_context().as_sql or "one_row" in columns():
        op.drop_column("row_table", "one_row")


def columns() -> set[str]:
    if op.get_context().as_sql:
        return set()
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns("row_table")}
