"""Which calibration holds when?

Verbs and questions: `registry.calibrations`.  That no two ranges of one key overlap is held by the
database itself: an exclusion constraint on PostgreSQL, WITHOUT OVERLAPS on MariaDB, triggers on
SQLite; see the first migration.  A policy says what may be taken beyond plain validity.
"""

from __future__ import annotations

import sqlalchemy as sa

from registry.schema.dimensions import NAME
from registry.schema.types import BigId, SmallId, UtcDateTime, table

SELECTIONS = ("valid", "nearest-earlier", "nearest")
"""What a policy may ask for."""

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
        sa.ForeignKey("dataset.id", ondelete="RESTRICT"),
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

calibration_policy = table(
    "calibration_policy",
    sa.Column(
        "dataset_type_id",
        SmallId,
        sa.ForeignKey("dataset_type.id"),
        primary_key=True,
        autoincrement=False,
        comment="Type of calibration; without a policy, only what is valid is taken",
    ),
    sa.Column(
        "selection",
        sa.String(16),
        nullable=False,
        comment="valid; nearest-earlier: else the last that ended before; nearest: either side",
    ),
    sa.Column(
        "limit_ns",
        sa.BigInteger,
        comment="How far from the observation a validity range may be at most [ns]",
    ),
    sa.Column("changed_at", UtcDateTime, nullable=False, comment="When it was set, UTC"),
    sa.Column("changed_by", sa.String(255), nullable=False, comment="Account that set it"),
    sa.CheckConstraint("selection IN ('valid', 'nearest-earlier', 'nearest')", name="selection"),
    sa.CheckConstraint(
        "limit_ns IS NULL OR (limit_ns > 0 AND selection <> 'valid')", name="limit_ns"
    ),
    comment="Which calibration may be taken for an observation, by type.",
)

calibration_policy_match = table(
    "calibration_policy_match",
    sa.Column(
        "dataset_type_id",
        SmallId,
        sa.ForeignKey("calibration_policy.dataset_type_id"),
        primary_key=True,
        autoincrement=False,
        comment="Type of calibration",
    ),
    sa.Column(
        "name",
        NAME,
        primary_key=True,
        comment="Fact to compare: a field of the exposure, or a key of its extra facts",
    ),
    sa.Column(
        "tolerance",
        sa.Double,
        comment="Largest difference between calibration and observation; none: they are equal",
    ),
    sa.CheckConstraint("tolerance IS NULL OR tolerance >= 0", name="tolerance"),
    comment="Facts in which a calibration must agree with the observation, by type.",
)

calibration_fact = table(
    "calibration_fact",
    sa.Column(
        "dataset_id",
        sa.Uuid,
        sa.ForeignKey("dataset.id", ondelete="RESTRICT"),
        primary_key=True,
        comment="The calibration",
    ),
    sa.Column("name", NAME, primary_key=True, comment="Fact, as policies name it"),
    sa.Column(
        "number_value", sa.Double, comment="A number; of many exposures their mean, in their unit"
    ),
    sa.Column("text_value", sa.String(255), comment="A text; of many exposures what all have"),
    sa.CheckConstraint("number_value IS NOT NULL OR text_value IS NOT NULL", name="value"),
    comment="Circumstances under which a calibration was taken, which policies compare.",
)
