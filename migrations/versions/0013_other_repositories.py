"""Datasets of other repositories, and datasets that are gone, keep rows that history refers to.

Revision: 0013, after 0012.  Neither counts as an orphan.  Files that are to be removed are listed
apart, so that their datasets may go at once.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from registry.deploy import create_view

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

UTC = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
OPTIONS = {
    "mariadb_engine": "InnoDB",
    "mariadb_default_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
    "sqlite_with_rowid": False,
}


def upgrade() -> None:
    op.create_table(
        "foreign_dataset",
        sa.Column("dataset_id", sa.Uuid(), nullable=False, comment="The dataset"),
        sa.Column(
            "repository_id",
            sa.Uuid(),
            nullable=False,
            comment="Identity of the repository that has its files and its history",
        ),
        sa.Column("adopted_at", UTC, nullable=False, comment="When its row came here, UTC"),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name="fk_foreign_dataset_dataset_id"
        ),
        sa.PrimaryKeyConstraint("dataset_id", name="pk_foreign_dataset"),
        comment="Datasets of other repositories, known here because something here refers to them.",
        **OPTIONS,
        if_not_exists=True,
    )
    op.create_index(
        "ix_foreign_dataset_repository", "foreign_dataset", ["repository_id"], if_not_exists=True
    )
    op.create_table(
        "removed_dataset",
        sa.Column("dataset_id", sa.Uuid(), nullable=False, comment="The dataset"),
        sa.Column("removed_at", UTC, nullable=False, comment="When it was removed, UTC"),
        sa.Column(
            "removed_by", sa.String(length=255), nullable=False, comment="Account that removed it"
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name="fk_removed_dataset_dataset_id"
        ),
        sa.PrimaryKeyConstraint("dataset_id", name="pk_removed_dataset"),
        comment=(
            "Datasets that are gone, and whose rows stay for the history of what was made of them."
        ),
        **OPTIONS,
        if_not_exists=True,
    )
    op.create_table(
        "trash",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="Key",
        ),
        sa.Column("endpoint_id", sa.Integer(), nullable=False, comment="Where the file lies"),
        sa.Column(
            "path",
            sa.String(length=1024),
            nullable=False,
            comment="Path below the endpoint's root",
        ),
        sa.Column("batch", sa.Uuid(), nullable=False, comment="What it was removed together with"),
        sa.Column("since", UTC, nullable=False, comment="When it was removed, UTC"),
        sa.ForeignKeyConstraint(["endpoint_id"], ["endpoint.id"], name="fk_trash_endpoint_id"),
        sa.PrimaryKeyConstraint("id", name="pk_trash"),
        comment="Files that nothing refers to any more, and that are to be removed from storage.",
        **{k: v for k, v in OPTIONS.items() if k != "sqlite_with_rowid"},
        if_not_exists=True,
    )
    op.create_index("ix_trash_batch", "trash", ["batch"], if_not_exists=True)
    create_view("orphan", revision)


def downgrade() -> None:
    create_view("orphan")
    for table in ("trash", "removed_dataset", "foreign_dataset"):
        op.drop_table(table, if_exists=True)
