"""Some quanta of a task may have a configuration of their own, chosen by their data IDs.

Revision: 0025, after 0024.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from registry import deploy

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
OPTIONS = {
    "mariadb_engine": "InnoDB",
    "mariadb_default_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}


def upgrade() -> None:
    op.create_table(
        "task_variant",
        sa.Column(
            "task_id",
            sa.Integer(),
            nullable=False,
            comment="The variant: a task of its own label, with its configuration and history",
        ),
        sa.Column(
            "of_task_id",
            sa.Integer(),
            nullable=False,
            comment="Task of the pipeline that some quanta run in this variant",
        ),
        sa.Column(
            "selection", LONG_TEXT, nullable=False, comment="Expression that their data IDs fulfil"
        ),
        sa.CheckConstraint("task_id <> of_task_id", name=op.f("ck_task_variant_other_task")),
        sa.ForeignKeyConstraint(["of_task_id"], ["task.id"], name="fk_task_variant_of_task_id"),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name="fk_task_variant_task_id"),
        sa.PrimaryKeyConstraint("task_id", name="pk_task_variant"),
        comment="Configurations of a task that hold for some of its quanta, by their data IDs.",
        **OPTIONS,
        if_not_exists=True,
    )
    op.create_index("ix_task_variant_of", "task_variant", ["of_task_id"], if_not_exists=True)
    op.create_table(
        "quantum_variant",
        sa.Column("quantum_id", sa.Uuid(), nullable=False, comment="Quantum"),
        sa.Column(
            "task_id",
            sa.Integer(),
            nullable=False,
            comment="Variant whose configuration it has",
        ),
        sa.ForeignKeyConstraint(
            ["quantum_id"],
            ["quantum.id"],
            name="fk_quantum_variant_quantum_id",
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["task_variant.task_id"], name="fk_quantum_variant_task_id"
        ),
        sa.PrimaryKeyConstraint("quantum_id", name="pk_quantum_variant"),
        comment="Quanta with a configuration of their own; all others have that of their task.",
        **OPTIONS,
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    op.create_index("ix_quantum_variant_task", "quantum_variant", ["task_id"], if_not_exists=True)
    deploy.create_view("run_summary", "0025")


def downgrade() -> None:
    deploy.create_view("run_summary", "0016")
    op.drop_table("quantum_variant", if_exists=True)
    op.drop_table("task_variant", if_exists=True)
