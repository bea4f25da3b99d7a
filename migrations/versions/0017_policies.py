"""How datasets are to be stored is decided by rows, and what was decided is kept with each file.

Revision: 0017, after 0016.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

UTC = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
JSON_TEXT = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(), "postgresql")
OPTIONS = {
    "mariadb_engine": "InnoDB",
    "mariadb_default_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}


def scope(name: str, comment: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=255), nullable=False, comment=comment)


def upgrade() -> None:
    op.create_table(
        "policy_setting",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="Key; of one scope and key the last holds",
        ),
        scope("site", "Where it holds; empty: at every site"),
        scope("instrument", "Of which camera; empty: of all"),
        scope("storage_class", "For which storage class; empty: for all"),
        scope("dataset_type", "For which dataset type; empty: for all"),
        sa.Column(
            "setting",
            sa.String(length=32),
            nullable=False,
            comment="What is decided: format, endpoint, ...",
        ),
        sa.Column("value", JSON_TEXT, comment="What was decided, as JSON; none: taken back"),
        sa.Column("set_at", UTC, nullable=False, comment="When it was decided, UTC"),
        sa.Column(
            "set_by", sa.String(length=255), nullable=False, comment="Account that decided it"
        ),
        sa.CheckConstraint(
            "dataset_type = '' OR storage_class = ''", name="ck_policy_setting_scope"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_policy_setting"),
        comment="How datasets are to be stored, with every earlier decision.",
        **OPTIONS,
        if_not_exists=True,
    )
    if "format_options" not in columns():
        op.add_column(
            "file",
            sa.Column(
                "format_options",
                JSON_TEXT,
                nullable=True,
                comment=(
                    "With which options it was written, where they were not the formatter's own"
                ),
            ),
        )


def downgrade() -> None:
    if op.get_context().as_sql or "format_options" in columns():
        op.drop_column("file", "format_options")
    op.drop_table("policy_setting", if_exists=True)


def columns() -> set[str]:
    if op.get_context().as_sql:
        return set()
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns("file")}
