"""Log records are kept with the quantum and the data that they tell of.

Revision: 0014, after 0013.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

UTC = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON_TEXT = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(), "postgresql")
OPTIONS = {
    "mariadb_engine": "InnoDB",
    "mariadb_default_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}


def upgrade() -> None:
    op.create_table(
        "log_process",
        sa.Column("id", BIG_ID, nullable=False, comment="Key"),
        sa.Column(
            "identity",
            sa.Uuid(),
            nullable=False,
            comment="Global identity of the process (UUIDv7)",
        ),
        sa.Column("host", sa.String(length=255), nullable=False, comment="Host it ran on"),
        sa.Column("pid", sa.Integer(), nullable=False, comment="Its number there"),
        sa.Column(
            "program", sa.String(length=255), nullable=False, comment="What it was started as"
        ),
        sa.Column(
            "account", sa.String(length=255), nullable=False, comment="Account that it ran under"
        ),
        sa.Column("started_at", UTC, nullable=False, comment="When it began to log, UTC"),
        sa.Column(
            "n_dropped",
            sa.BigInteger(),
            nullable=False,
            comment="Records that it had to drop so far, because they came faster than they went",
        ),
        sa.CheckConstraint("n_dropped >= 0", name="ck_log_process_dropped"),
        sa.PrimaryKeyConstraint("id", name="pk_log_process"),
        sa.UniqueConstraint("identity", name="uq_log_process_identity"),
        comment="A process that wrote log records.",
        **OPTIONS,
        if_not_exists=True,
    )
    op.create_index("ix_log_process_started", "log_process", ["started_at"], if_not_exists=True)
    op.create_table(
        "log_record",
        sa.Column(
            "process_id",
            BIG_ID,
            autoincrement=False,
            nullable=False,
            comment="Process that wrote it",
        ),
        sa.Column(
            "number",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment=(
                "Its place among the records of the process, from 1; a gap is what was dropped"
            ),
        ),
        sa.Column("logged_at", UTC, nullable=False, comment="When it was written, UTC"),
        sa.Column(
            "level",
            sa.SmallInteger(),
            nullable=False,
            comment="5 trace, 10 debug, 15 verbose, 20 info, 30 warning, 40 error, 50 critical",
        ),
        sa.Column(
            "logger",
            sa.String(length=255),
            nullable=False,
            comment="Dotted name of the component",
        ),
        sa.Column("message", sa.Text(), nullable=False, comment="The text; a very long one is cut"),
        sa.Column("exception", sa.Text(), comment="Traceback, if one came with it"),
        sa.Column("place", sa.String(length=255), nullable=False, comment="file:line function"),
        sa.Column("thread", sa.String(length=128), nullable=False, comment="Name of the thread"),
        sa.Column("quantum_id", sa.Uuid(), comment="Quantum that was being executed (quantum.id)"),
        sa.Column("data_id", BIG_ID, comment="Data that it is about (data_id.id)"),
        sa.Column(
            "context", JSON_TEXT, comment="What was bound: instrument, exposure, run, label, ..."
        ),
        sa.ForeignKeyConstraint(
            ["process_id"], ["log_process.id"], name="fk_log_record_process_id"
        ),
        sa.PrimaryKeyConstraint("process_id", "number", name="pk_log_record"),
        comment="A log record.",
        **OPTIONS,
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    op.create_index("ix_log_record_time", "log_record", ["logged_at"], if_not_exists=True)
    for column, name in (("quantum_id", "quantum"), ("data_id", "data_id")):
        present = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_log_record_{name}",
            "log_record",
            [column, "logged_at"],
            postgresql_where=present,
            sqlite_where=present,
            if_not_exists=True,
        )


def downgrade() -> None:
    op.drop_table("log_record", if_exists=True)
    op.drop_table("log_process", if_exists=True)
