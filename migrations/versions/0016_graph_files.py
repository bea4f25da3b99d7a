"""A part of a run's quanta may be away in a file, where it is executed.

Revision: 0016, after 0015.  On SQLite a CHECK is changed in the text of the schema, by the
procedure of its documentation ("Making Other Kinds Of Table Schema Changes"): no row is touched,
and nothing that refers to the table is.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from registry import deploy

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

MARIADB = {
    "mariadb_engine": "InnoDB",
    "mariadb_default_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}
TOLD = "ready, running, done, no_work, failed or blocked"
TOLD_SINCE = "ready, running, done, no_work, failed, blocked or away"
BEFORE = "'ready', 'running', 'done', 'no_work', 'failed', 'blocked'"
AFTER = f"{BEFORE}, 'away'"


def upgrade() -> None:
    allow(BEFORE, AFTER, TOLD_SINCE)
    op.create_table(
        "graph_file",
        sa.Column(
            "id", sa.Uuid(), nullable=False, comment="Identity (UUIDv7), the same in the file"
        ),
        sa.Column("run_id", sa.Integer(), nullable=False, comment="RUN whose quanta it holds"),
        sa.Column(
            "repository_id",
            sa.Uuid(),
            nullable=False,
            comment="Repository that they were taken from, and come home to",
        ),
        sa.Column(
            "path", sa.String(length=1024), nullable=False, comment="Where the file was written"
        ),
        sa.Column(
            "root",
            sa.String(length=1024),
            nullable=False,
            comment="Folder that outputs are written below",
        ),
        sa.Column(
            "piece",
            sa.Integer(),
            nullable=False,
            comment="Its place among those that were written together, from 1",
        ),
        sa.Column(
            "exported_at",
            sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb"),
            nullable=False,
            comment="When it was written, UTC",
        ),
        sa.Column(
            "exported_by",
            sa.String(length=255),
            nullable=False,
            comment="Account that wrote it",
        ),
        sa.ForeignKeyConstraint(["run_id"], ["collection.id"], name="fk_graph_file_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_graph_file"),
        comment="Files with a part of the quanta of a run, which are executed away from this "
        "database.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_index("ix_graph_file_run", "graph_file", ["run_id"], if_not_exists=True)
    op.create_table(
        "given_quantum",
        sa.Column("quantum_id", sa.Uuid(), nullable=False, comment="Quantum"),
        sa.Column("graph_id", sa.Uuid(), nullable=False, comment="File that it was given to last"),
        sa.Column(
            "state",
            sa.String(length=16),
            nullable=False,
            comment="away: to be executed there; leaving: on its way home (in the file only); home",
        ),
        sa.CheckConstraint(
            "state IN ('away', 'leaving', 'home')", name=op.f("ck_given_quantum_state")
        ),
        sa.ForeignKeyConstraint(["graph_id"], ["graph_file.id"], name="fk_given_quantum_graph_id"),
        sa.ForeignKeyConstraint(["quantum_id"], ["quantum.id"], name="fk_given_quantum_quantum_id"),
        sa.PrimaryKeyConstraint("quantum_id", name="pk_given_quantum"),
        comment="Quanta that were given to a file.",
        sqlite_with_rowid=False,
        **MARIADB,
        if_not_exists=True,
    )
    op.create_index(
        "ix_given_quantum_graph", "given_quantum", ["graph_id", "state"], if_not_exists=True
    )
    deploy.create_view("run_summary", "0016")


def downgrade() -> None:
    deploy.create_view("run_summary")
    op.drop_table("given_quantum", if_exists=True)
    op.drop_table("graph_file", if_exists=True)
    op.execute("UPDATE quantum SET state = 'blocked' WHERE state = 'away'")
    allow(AFTER, BEFORE, TOLD)


def allow(before: str, after: str, told: str) -> None:
    """Let a quantum have other states."""
    if op.get_context().dialect.name == "sqlite":
        op.execute("PRAGMA writable_schema = ON")
        op.execute(
            sa.text(
                "UPDATE sqlite_master SET sql = replace(sql, :old, :new) "
                "WHERE type = 'table' AND name = 'quantum'"
            ).bindparams(old=f"state IN ({before})", new=f"state IN ({after})")
        )
        op.execute("PRAGMA writable_schema = RESET")
        return
    op.execute("ALTER TABLE quantum DROP CONSTRAINT IF EXISTS ck_quantum_state")
    op.execute(f"ALTER TABLE quantum ADD CONSTRAINT ck_quantum_state CHECK (state IN ({after}))")
    op.alter_column(
        "quantum", "state", existing_type=sa.String(16), existing_nullable=False, comment=told
    )
