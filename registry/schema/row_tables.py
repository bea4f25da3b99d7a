"""Which tables hold rows of datasets, what are their columns, and whose rows lie in which?

The tables themselves are a site's own: migrations that ``skyspine table add`` writes create them,
and describe them here, so that whoever opens the database knows their types, units and meaning.
Verbs and questions: `registry.row_tables` and `backbone.rows`.
"""

from __future__ import annotations

import sqlalchemy as sa

from registry.schema.types import BigId, LongBinary, SmallId, table

row_table = table(
    "row_table",
    sa.Column("id", SmallId, primary_key=True, comment="Key"),
    sa.Column("name", sa.String(60), nullable=False, unique=True, comment="Name of the table"),
    sa.Column("doc", sa.Text, nullable=False, comment="What it holds"),
    sa.Column(
        "one_row",
        sa.Boolean,
        comment="Whether each dataset has just one row in it; none: it has any number",
    ),
    comment="A table of this site that holds rows of datasets.",
)

row_table_use = table(
    "row_table_use",
    sa.Column("kind", sa.String(16), primary_key=True, comment="dataset_type or storage_class"),
    sa.Column("name", sa.String(128), primary_key=True, comment="Name of that"),
    sa.Column(
        "component",
        sa.String(64),
        primary_key=True,
        comment="Component that lies in the table; empty: all of the dataset",
    ),
    sa.Column(
        "table_id", SmallId, sa.ForeignKey("row_table.id"), nullable=False, comment="The table"
    ),
    sa.CheckConstraint("kind IN ('dataset_type', 'storage_class')", name="kind"),
    comment="Whose rows a table holds.",
    sqlite_with_rowid=False,
)

row_column = table(
    "row_column",
    sa.Column(
        "table_id", SmallId, sa.ForeignKey("row_table.id"), primary_key=True, comment="The table"
    ),
    sa.Column("name", sa.String(60), primary_key=True, comment="Name of the column"),
    sa.Column("position", sa.Integer, nullable=False, comment="Place among the columns, from 0"),
    sa.Column("type", sa.String(16), nullable=False, comment="bool, int32, float64, text, ..."),
    sa.Column("length", sa.Integer, comment="Longest text [character]; none: any"),
    sa.Column("unit", sa.String(64), nullable=False, comment="Unit; empty: none"),
    sa.Column("doc", sa.Text, nullable=False, comment="What it means"),
    sa.Column("nullable", sa.Boolean, nullable=False, comment="Whether a value may be missing"),
    sa.Column("indexed", sa.Boolean, nullable=False, comment="Whether it has an index"),
    sa.UniqueConstraint("table_id", "position"),
    comment="A column of a table that holds rows of datasets.",
    sqlite_with_rowid=False,
)

file_rows = table(
    "file_rows",
    sa.Column(
        "file_id",
        BigId,
        sa.ForeignKey("file.id", ondelete="RESTRICT"),
        primary_key=True,
        autoincrement=False,
        comment="What is recorded of it as of a file",
    ),
    sa.Column(
        "table_id",
        SmallId,
        sa.ForeignKey("row_table.id"),
        nullable=False,
        comment="Where the rows lie",
    ),
    sa.Column("n_rows", sa.BigInteger, nullable=False, comment="How many"),
    sa.Column(
        "layout",
        LongBinary,
        comment="Arrow schema of what was put, packed by zlib: types and metadata",
    ),
    sa.CheckConstraint("n_rows >= 0", name="n_rows"),
    comment="A dataset, or a component of it, that lies as rows in a table.",
)
sa.Index("ix_file_rows_table", file_rows.c.table_id)
