"""Datasets may lie as rows in tables of a site, which are described here.

Revision: 0019, after 0018.  The tables themselves come with the site's own migrations.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

OPTIONS = {
    "mariadb_engine": "InnoDB",
    "mariadb_default_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}
LONG_BINARY = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "row_table",
        sa.Column("id", sa.Integer(), nullable=False, comment="Key"),
        sa.Column("name", sa.String(length=60), nullable=False, comment="Name of the table"),
        sa.Column("doc", sa.Text(), nullable=False, comment="What it holds"),
        sa.PrimaryKeyConstraint("id", name="pk_row_table"),
        sa.UniqueConstraint("name", name="uq_row_table_name"),
        comment="A table of this site that holds rows of datasets.",
        **OPTIONS,
        if_not_exists=True,
    )
    op.create_table(
        "row_table_use",
        sa.Column(
            "kind", sa.String(length=16), nullable=False, comment="dataset_type or storage_class"
        ),
        sa.Column("name", sa.String(length=128), nullable=False, comment="Name of that"),
        sa.Column(
            "component",
            sa.String(length=64),
            nullable=False,
            comment="Component that lies in the table; empty: all of the dataset",
        ),
        sa.Column("table_id", sa.Integer(), nullable=False, comment="The table"),
        sa.CheckConstraint(
            "kind IN ('dataset_type', 'storage_class')", name="ck_row_table_use_kind"
        ),
        sa.ForeignKeyConstraint(["table_id"], ["row_table.id"], name="fk_row_table_use_table_id"),
        sa.PrimaryKeyConstraint("kind", "name", "component", name="pk_row_table_use"),
        comment="Whose rows a table holds.",
        sqlite_with_rowid=False,
        **OPTIONS,
        if_not_exists=True,
    )
    op.create_table(
        "row_column",
        sa.Column("table_id", sa.Integer(), nullable=False, comment="The table"),
        sa.Column("name", sa.String(length=60), nullable=False, comment="Name of the column"),
        sa.Column(
            "position", sa.Integer(), nullable=False, comment="Place among the columns, from 0"
        ),
        sa.Column(
            "type", sa.String(length=16), nullable=False, comment="bool, int32, float64, text, ..."
        ),
        sa.Column(
            "length", sa.Integer(), nullable=True, comment="Longest text [character]; none: any"
        ),
        sa.Column("unit", sa.String(length=64), nullable=False, comment="Unit; empty: none"),
        sa.Column("doc", sa.Text(), nullable=False, comment="What it means"),
        sa.Column(
            "nullable", sa.Boolean(), nullable=False, comment="Whether a value may be missing"
        ),
        sa.Column("indexed", sa.Boolean(), nullable=False, comment="Whether it has an index"),
        sa.ForeignKeyConstraint(["table_id"], ["row_table.id"], name="fk_row_column_table_id"),
        sa.PrimaryKeyConstraint("table_id", "name", name="pk_row_column"),
        sa.UniqueConstraint("table_id", "position", name="uq_row_column_table_id_position"),
        comment="A column of a table that holds rows of datasets.",
        sqlite_with_rowid=False,
        **OPTIONS,
        if_not_exists=True,
    )
    op.create_table(
        "file_rows",
        sa.Column(
            "file_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
            comment="What is recorded of it as of a file",
        ),
        sa.Column("table_id", sa.Integer(), nullable=False, comment="Where the rows lie"),
        sa.Column("n_rows", sa.BigInteger(), nullable=False, comment="How many"),
        sa.Column(
            "layout",
            LONG_BINARY,
            nullable=True,
            comment="Arrow schema of what was put, packed by zlib: types and metadata",
        ),
        sa.CheckConstraint("n_rows >= 0", name="ck_file_rows_n_rows"),
        sa.ForeignKeyConstraint(["file_id"], ["file.id"], name="fk_file_rows_file_id"),
        sa.ForeignKeyConstraint(["table_id"], ["row_table.id"], name="fk_file_rows_table_id"),
        sa.PrimaryKeyConstraint("file_id", name="pk_file_rows"),
        comment="A dataset, or a component of it, that lies as rows in a table.",
        **OPTIONS,
        if_not_exists=True,
    )
    op.create_index("ix_file_rows_table", "file_rows", ["table_id"], if_not_exists=True)


def downgrade() -> None:
    for table in ("file_rows", "row_column", "row_table_use", "row_table"):
        op.drop_table(table, if_exists=True)
