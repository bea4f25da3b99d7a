"""Which calibration holds when?

Verbs and questions: `registry.calibrations`.  That no two ranges of one key overlap is held by the
database itself: an exclusion constraint on PostgreSQL, WITHOUT OVERLAPS on MariaDB, triggers on
SQLite; see the first migration.
"""

from __future__ import annotations

import sqlalchemy as sa

from registry.schema.types import BigId, SmallId, UtcDateTime, table

NO_OVERLAP = "no_overlap_calibration"
"""Name, on every database, of what refuses overlapping ranges."""

calibration = table(
    "calibration",
    sa.Column("id", BigId, primary_key=True, comment="Key"),
    sa.Column(
        "collection_id",
        SmallId,
        sa.ForeignKey("collection.id"),
        nullable=False,
        comment="CALIBRATION collection",
    ),
    sa.Column(
        "dataset_type_id",
        SmallId,
        sa.ForeignKey("dataset_type.id"),
        nullable=False,
        comment="Type of calibration",
    ),
    sa.Column(
        "data_id",
        BigId,
        sa.ForeignKey("data_id.id"),
        nullable=False,
        comment="What it holds for: the dataset's data ID without exposure, visit and day_obs",
    ),
    sa.Column(
        "dataset_id",
        sa.Uuid,
        sa.ForeignKey("dataset.id"),
        nullable=False,
        comment="The calibration",
    ),
    sa.Column(
        "valid_begin_tai_ns", sa.BigInteger, nullable=False, comment="Valid from, TAI ns since 1970"
    ),
    sa.Column(
        "valid_end_tai_ns", sa.BigInteger, nullable=False, comment="Valid until (excluded), TAI ns"
    ),
    sa.Column("certified_at", UtcDateTime, nullable=False, comment="When it was certified, UTC"),
    sa.Column("certified_by", sa.String(255), nullable=False, comment="Account that certified it"),
    sa.CheckConstraint("valid_begin_tai_ns < valid_end_tai_ns", name="range"),
    sa.CheckConstraint(
        "valid_begin_tai_ns % 1000 = 0 AND valid_end_tai_ns % 1000 = 0", name="microseconds"
    ),
    comment="Validity ranges of calibrations; those of one key never overlap.",
)
sa.Index(
    "ix_calibration_lookup",
    calibration.c.dataset_type_id,
    calibration.c.data_id,
    calibration.c.collection_id,
    calibration.c.valid_begin_tai_ns,
)
sa.Index("ix_calibration_dataset", calibration.c.dataset_id)
