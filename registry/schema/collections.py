"""Which datasets are searched together, and in which order?

Verbs and questions: `registry.collections`.
"""

from __future__ import annotations

import sqlalchemy as sa

from registry.schema.types import BigId, SmallId, UtcDateTime, table

collection = table(
    "collection",
    sa.Column("id", SmallId, primary_key=True, comment="Key"),
    sa.Column("name", sa.String(255), nullable=False, unique=True, comment="Name, e.g. OHP/raw"),
    sa.Column("type", sa.String(16), nullable=False, comment="RUN, TAGGED, CHAINED or CALIBRATION"),
    sa.Column("doc", sa.Text, nullable=False, comment="What it is for"),
    sa.Column("created_at", UtcDateTime, nullable=False, comment="When it was registered, UTC"),
    sa.CheckConstraint("type IN ('RUN', 'TAGGED', 'CHAINED', 'CALIBRATION')", name="type"),
    comment="A named group of datasets.",
)

collection_chain = table(
    "collection_chain",
    sa.Column(
        "parent_id",
        SmallId,
        sa.ForeignKey("collection.id"),
        primary_key=True,
        comment="The CHAINED one",
    ),
    sa.Column(
        "position",
        SmallId,
        primary_key=True,
        autoincrement=False,
        comment="Place in the search, from 0",
    ),
    sa.Column(
        "child_id",
        SmallId,
        sa.ForeignKey("collection.id"),
        nullable=False,
        comment="What is searched",
    ),
    sa.UniqueConstraint("parent_id", "child_id"),
    sa.CheckConstraint("parent_id <> child_id", name="not_itself"),
    comment="The children of a CHAINED collection, in search order.",
)
sa.Index("ix_collection_chain_child", collection_chain.c.child_id)

tagged = table(
    "tagged",
    sa.Column(
        "collection_id",
        SmallId,
        sa.ForeignKey("collection.id"),
        primary_key=True,
        comment="TAGGED one",
    ),
    sa.Column(
        "dataset_type_id",
        SmallId,
        primary_key=True,
        autoincrement=False,
        comment="Its type",
    ),
    sa.Column(
        "data_id",
        BigId,
        primary_key=True,
        autoincrement=False,
        comment="Data ID",
    ),
    sa.Column("dataset_id", sa.Uuid, nullable=False, comment="The dataset tagged"),
    # one, and more than three by themselves: type and data ID are those of the dataset
    sa.ForeignKeyConstraint(
        ["data_id", "dataset_type_id", "dataset_id"],
        ["dataset.data_id", "dataset.dataset_type_id", "dataset.id"],
        ondelete="RESTRICT",
    ),
    comment="Datasets of a TAGGED collection; one per type and data ID.",
    sqlite_with_rowid=False,
)
sa.Index("ix_tagged_dataset", tagged.c.dataset_id)
