"""With what a run was planned, and what its tasks need, are rows: any engine can execute it.

Revision: 0018, after 0017.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

UTC = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
JSON_TEXT = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(), "postgresql")
LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
OPTIONS = {
    "mariadb_engine": "InnoDB",
    "mariadb_default_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}


def upgrade() -> None:
    op.create_table(
        "planned_run",
        sa.Column("run_id", sa.Integer(), nullable=False, comment="RUN collection"),
        sa.Column(
            "output",
            sa.String(length=255),
            nullable=False,
            comment="CHAINED collection that has it",
        ),
        sa.Column(
            "inputs",
            JSON_TEXT,
            nullable=False,
            comment="Collections that are searched, in order",
        ),
        sa.Column(
            "selection", sa.Text(), nullable=False, comment="Expression that the inputs fulfil"
        ),
        sa.Column(
            "pipeline",
            LONG_TEXT,
            nullable=False,
            comment="The tasks as they were resolved, as JSON",
        ),
        sa.Column(
            "n_stages",
            sa.Integer(),
            nullable=False,
            comment="Stages: each certifies for the next",
        ),
        sa.Column(
            "n_stages_done",
            sa.Integer(),
            nullable=False,
            comment="Stages whose calibrations are certified",
        ),
        sa.Column("planned_at", UTC, nullable=False, comment="When it was planned last, UTC"),
        sa.Column(
            "planned_by",
            sa.String(length=255),
            nullable=False,
            comment="Account that planned it",
        ),
        sa.CheckConstraint(
            "n_stages_done BETWEEN 0 AND n_stages", name=op.f("ck_planned_run_stages")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["collection.id"], name="fk_planned_run_run_id"),
        sa.PrimaryKeyConstraint("run_id", name="pk_planned_run"),
        comment="With what a run was planned, so that any engine can execute it.",
        **OPTIONS,
        if_not_exists=True,
    )
    op.create_table(
        "task_need",
        sa.Column("task_id", sa.Integer(), nullable=False, comment="Task"),
        sa.Column(
            "ranks",
            sa.Integer(),
            nullable=False,
            comment="Ranks that a quantum can make use of",
        ),
        sa.Column("cores", sa.Integer(), nullable=False, comment="Cores of each rank"),
        sa.Column(
            "memory_per_core_mib",
            sa.Integer(),
            nullable=False,
            comment="What it may use for each core [MiB]; 0: nobody said",
        ),
        sa.Column(
            "walltime_guess_s",
            sa.Double(),
            nullable=False,
            comment="How long a usual quantum takes [s]; 0: nobody said",
        ),
        sa.Column(
            "timeout_s",
            sa.Double(),
            nullable=False,
            comment="After how long it is given up [s]; 0: never",
        ),
        sa.CheckConstraint("ranks >= 1 AND cores >= 1", name=op.f("ck_task_need_cores")),
        sa.CheckConstraint(
            "memory_per_core_mib >= 0 AND walltime_guess_s >= 0 AND timeout_s >= 0",
            name=op.f("ck_task_need_limits"),
        ),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name="fk_task_need_task_id"),
        sa.PrimaryKeyConstraint("task_id", name="pk_task_need"),
        comment="What one quantum of a task of a run needs of the machine.",
        **OPTIONS,
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("task_need", if_exists=True)
    op.drop_table("planned_run", if_exists=True)
