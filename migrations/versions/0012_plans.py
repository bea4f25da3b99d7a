"""What quanta are to read and make is rows, and so is why some of them cannot run.

Revision: 0012, after 0011.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

MARIADB = {
    "mariadb_engine": "InnoDB",
    "mariadb_default_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
CONNECTION = "Name of the task's connection"


def upgrade() -> None:
    op.create_table(
        "task_connection",
        sa.Column("task_id", sa.Integer(), nullable=False, comment="Task"),
        sa.Column("name", sa.String(length=128), nullable=False, comment=CONNECTION),
        sa.Column(
            "kind",
            sa.String(length=16),
            nullable=False,
            comment="input, prerequisite or output",
        ),
        sa.Column(
            "dataset_type",
            sa.String(length=128),
            nullable=False,
            comment="Name of the dataset type",
        ),
        sa.Column(
            "is_multiple", sa.Boolean(), nullable=False, comment="Whether a quantum has a list"
        ),
        sa.Column("minimum", sa.Integer(), nullable=False, comment="How many a quantum needs"),
        sa.CheckConstraint(
            "kind IN ('input', 'prerequisite', 'output')", name=op.f("ck_task_connection_kind")
        ),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name="fk_task_connection_task_id"),
        sa.PrimaryKeyConstraint("task_id", "name", name="pk_task_connection"),
        comment="What a task of a run reads and writes.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "planned_output",
        sa.Column(
            "dataset_id", sa.Uuid(), nullable=False, comment="Identity of the dataset when made"
        ),
        sa.Column("quantum_id", sa.Uuid(), nullable=False, comment="Quantum that will make it"),
        sa.Column("connection", sa.String(length=128), nullable=False, comment=CONNECTION),
        sa.Column("data_id", BIG, nullable=False, comment="Its data ID"),
        sa.ForeignKeyConstraint(
            ["quantum_id"], ["quantum.id"], name="fk_planned_output_quantum_id"
        ),
        sa.ForeignKeyConstraint(["data_id"], ["data_id.id"], name="fk_planned_output_data_id"),
        sa.PrimaryKeyConstraint("dataset_id", name="pk_planned_output"),
        comment="Datasets that quanta are to make.",
        **MARIADB,
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    op.create_index(
        "ix_planned_output_quantum", "planned_output", ["quantum_id"], if_not_exists=True
    )
    op.create_table(
        "planned_input",
        sa.Column("quantum_id", sa.Uuid(), nullable=False, comment="Quantum"),
        sa.Column(
            "dataset_id",
            sa.Uuid(),
            nullable=False,
            comment="Dataset that it will read: one that exists, or one of planned_output",
        ),
        sa.Column("connection", sa.String(length=128), nullable=False, comment=CONNECTION),
        sa.ForeignKeyConstraint(["quantum_id"], ["quantum.id"], name="fk_planned_input_quantum_id"),
        sa.PrimaryKeyConstraint("quantum_id", "dataset_id", "connection", name="pk_planned_input"),
        comment="Datasets that quanta are to read.",
        **MARIADB,
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    op.create_index("ix_planned_input_dataset", "planned_input", ["dataset_id"], if_not_exists=True)
    op.create_table(
        "reused_dataset",
        sa.Column("task_id", sa.Integer(), nullable=False, comment="Task that need not make it"),
        sa.Column("connection", sa.String(length=128), nullable=False, comment=CONNECTION),
        sa.Column(
            "dataset_id", sa.Uuid(), nullable=False, comment="The dataset, of an earlier run"
        ),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name="fk_reused_dataset_task_id"),
        sa.PrimaryKeyConstraint("task_id", "connection", "dataset_id", name="pk_reused_dataset"),
        comment="Datasets of earlier runs that a run takes instead of making them again.",
        **MARIADB,
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    op.create_table(
        "quantum_block",
        sa.Column("quantum_id", sa.Uuid(), nullable=False, comment="Quantum"),
        sa.Column(
            "cause",
            sa.String(length=16),
            nullable=False,
            comment="Kind of reason: too_few, too_many, no_output, no_prerequisite, ...",
        ),
        sa.Column(
            "connection",
            sa.String(length=128),
            nullable=False,
            comment="Connection that it lies at, or empty",
        ),
        sa.Column("n_found", sa.Integer(), comment="Datasets that there are for it"),
        sa.Column("at_tai_ns", sa.BigInteger(), comment="Time of observation, TAI ns since 1970"),
        sa.Column(
            "before_tai_ns",
            sa.BigInteger(),
            comment="End of the last calibration that ended before, TAI ns since 1970",
        ),
        sa.Column(
            "after_tai_ns",
            sa.BigInteger(),
            comment="Begin of the first calibration that begins after, TAI ns since 1970",
        ),
        sa.Column("text", sa.Text(), comment="What the task said, when it refused"),
        sa.CheckConstraint(
            "cause IN ('too_few', 'too_many', 'no_output', 'no_prerequisite', 'not_made', "
            "'not_found', 'refused')",
            name=op.f("ck_quantum_block_cause"),
        ),
        sa.ForeignKeyConstraint(["quantum_id"], ["quantum.id"], name="fk_quantum_block_quantum_id"),
        sa.PrimaryKeyConstraint("quantum_id", name="pk_quantum_block"),
        comment="Why a quantum is blocked, as facts.",
        **MARIADB,
        if_not_exists=True,
    )


def downgrade() -> None:
    for name in (
        "quantum_block",
        "reused_dataset",
        "planned_input",
        "planned_output",
        "task_connection",
    ):
        op.drop_table(name, if_exists=True)
