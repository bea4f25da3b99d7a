"""Where does every copy of every file lie, and in which state?

Verbs and questions: `backbone.files`, `backbone.endpoints`, `backbone.audit`.
"""

from __future__ import annotations

import sqlalchemy as sa

from registry.schema.types import BigId, Json, SmallId, UtcDateTime, table

site = table(
    "site",
    sa.Column("id", SmallId, primary_key=True, comment="Key"),
    sa.Column("name", sa.String(128), nullable=False, unique=True, comment="Name of the place"),
    sa.Column("doc", sa.Text, nullable=False, comment="What is there"),
    comment="A place that holds storage or computers.",
)

endpoint = table(
    "endpoint",
    sa.Column("id", SmallId, primary_key=True, comment="Key"),
    sa.Column("site_id", SmallId, sa.ForeignKey("site.id"), nullable=False, comment="Where it is"),
    sa.Column("name", sa.String(128), nullable=False, unique=True, comment="Name of the storage"),
    sa.Column(
        "root",
        sa.String(1024),
        nullable=False,
        comment="URL below which paths lie; empty: paths are absolute",
    ),
    sa.Column(
        "owned",
        sa.Boolean,
        nullable=False,
        comment="Whether files are made and deleted by this repository",
    ),
    sa.Column("state", sa.String(16), nullable=False, comment="online or offline"),
    sa.Column(
        "access_url",
        sa.String(1024),
        comment="URL below which readers of the archive get its files, if any",
    ),
    sa.CheckConstraint("state IN ('online', 'offline')", name="state"),
    comment="Storage under one root.",
)

file = table(
    "file",
    sa.Column("id", BigId, primary_key=True, comment="Key"),
    sa.Column(
        "dataset_id",
        sa.Uuid,
        sa.ForeignKey("dataset.id", ondelete="RESTRICT"),
        nullable=False,
        comment="Dataset that it holds",
    ),
    sa.Column(
        "component",
        sa.String(64),
        nullable=False,
        comment="Component that it holds; empty: all of it",
    ),
    sa.Column("path", sa.String(1024), nullable=False, comment="Path below an endpoint's root"),
    sa.Column("size_bytes", sa.BigInteger, nullable=False, comment="Size [byte]"),
    sa.Column(
        "checksum", sa.String(96), comment="sha256:hex of the content; none when ingested without"
    ),
    sa.Column(
        "formatter", sa.String(255), nullable=False, comment="Formatter that reads it, by its name"
    ),
    sa.Column(
        "format_options",
        Json,
        comment="With which options it was written, where they were not the formatter's own",
    ),
    sa.UniqueConstraint("dataset_id", "component"),
    sa.CheckConstraint("size_bytes >= 0", name="size"),
    comment="A logical file; its copies are replicas.",
)
sa.Index("ix_file_path", file.c.path, mariadb_length=255)

replica = table(
    "replica",
    sa.Column(
        "file_id",
        BigId,
        sa.ForeignKey("file.id", ondelete="RESTRICT"),
        primary_key=True,
        autoincrement=False,
        comment="The file",
    ),
    sa.Column(
        "endpoint_id",
        SmallId,
        sa.ForeignKey("endpoint.id"),
        primary_key=True,
        comment="Where it lies",
    ),
    sa.Column(
        "state", sa.String(16), nullable=False, comment="available, deleting, lost or corrupt"
    ),
    sa.Column("since", UtcDateTime, nullable=False, comment="When it came into this state, UTC"),
    sa.Column("last_access", UtcDateTime, comment="Last known read, UTC"),
    sa.Column("pinned_until", UtcDateTime, comment="Not to be evicted before, UTC"),
    sa.CheckConstraint("state IN ('available', 'deleting', 'lost', 'corrupt')", name="state"),
    comment="A copy of a file at an endpoint.",
)
sa.Index("ix_replica_endpoint_state", replica.c.endpoint_id, replica.c.state)

trash = table(
    "trash",
    sa.Column("id", BigId, primary_key=True, comment="Key"),
    sa.Column(
        "endpoint_id",
        SmallId,
        sa.ForeignKey("endpoint.id"),
        nullable=False,
        comment="Where the file lies",
    ),
    sa.Column("path", sa.String(1024), nullable=False, comment="Path below the endpoint's root"),
    sa.Column("batch", sa.Uuid, nullable=False, comment="What it was removed together with"),
    sa.Column("since", UtcDateTime, nullable=False, comment="When it was removed, UTC"),
    comment="Files that nothing refers to any more, and that are to be removed from storage.",
)
sa.Index("ix_trash_batch", trash.c.batch)
