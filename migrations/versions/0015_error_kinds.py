"""What kind of error ended a quantum is a column, so that failures are counted by their cause.

Revision: 0015, after 0014.  What failed before is classed by the names of the errors.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

KINDS = {
    "NoWorkFound": "no-work-found",
    "UnprocessableData": "unprocessable-data",
    "PartialOutputs": "partial-outputs",
    "RepeatableError": "repeatable",
    "InvalidQuantum": "invalid-quantum",
    "MissingOutput": "missing-output",
    "TaskError": "task",
    "MemoryError": "out-of-memory",
    "ProcessDied": "process-died",
}


def upgrade() -> None:
    if "error_kind" not in columns():
        op.add_column(
            "quantum",
            sa.Column(
                "error_kind",
                sa.String(length=32),
                nullable=True,
                comment="Kind of the error: repeatable, unprocessable-data, out-of-memory, ...",
            ),
        )
    quantum = sa.table(
        "quantum", sa.column("exception_class", sa.String), sa.column("error_kind", sa.String)
    )
    op.execute(
        sa.update(quantum)
        .where(quantum.c.exception_class.is_not(None), quantum.c.error_kind.is_(None))
        .values(error_kind=sa.case(KINDS, value=quantum.c.exception_class, else_="error"))
    )


def downgrade() -> None:
    if op.get_context().as_sql or "error_kind" in columns():
        op.drop_column("quantum", "error_kind")


def columns() -> set[str]:
    if op.get_context().as_sql:
        return set()
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns("quantum")}
