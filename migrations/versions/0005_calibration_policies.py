"""Policies beyond plain validity: what may be taken for an observation, and which facts must agree.

Revision: 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

UTC = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
MARIADB = {
    "mariadb_engine": "InnoDB",
    "mariadb_default_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}


def upgrade() -> None:
    op.create_table(
        "calibration_policy",
        sa.Column(
            "dataset_type_id",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="Type of calibration; without a policy, only what is valid is taken",
        ),
        sa.Column(
            "selection",
            sa.String(length=16),
            nullable=False,
            comment="valid; nearest-earlier: else the last that ended before; nearest: either side",
        ),
        sa.Column(
            "limit_ns",
            sa.BigInteger(),
            nullable=True,
            comment="How far from the observation a validity range may be at most [ns]",
        ),
        sa.Column("changed_at", UTC, nullable=False, comment="When it was set, UTC"),
        sa.Column(
            "changed_by", sa.String(length=255), nullable=False, comment="Account that set it"
        ),
        sa.CheckConstraint(
            "selection IN ('valid', 'nearest-earlier', 'nearest')",
            name=op.f("ck_calibration_policy_selection"),
        ),
        sa.CheckConstraint(
            "limit_ns IS NULL OR (limit_ns > 0 AND selection <> 'valid')",
            name=op.f("ck_calibration_policy_limit_ns"),
        ),
        sa.ForeignKeyConstraint(
            ["dataset_type_id"],
            ["dataset_type.id"],
            name="fk_calibration_policy_dataset_type_id",
        ),
        sa.PrimaryKeyConstraint("dataset_type_id", name="pk_calibration_policy"),
        comment="Which calibration may be taken for an observation, by type.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "calibration_policy_match",
        sa.Column(
            "dataset_type_id",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="Type of calibration",
        ),
        sa.Column(
            "name",
            sa.String(length=128),
            nullable=False,
            comment="Fact to compare: a field of the exposure, or a key of its extra facts",
        ),
        sa.Column(
            "tolerance",
            sa.Double(),
            nullable=True,
            comment="Largest difference between calibration and observation; none: they are equal",
        ),
        sa.CheckConstraint(
            "tolerance IS NULL OR tolerance >= 0",
            name=op.f("ck_calibration_policy_match_tolerance"),
        ),
        sa.ForeignKeyConstraint(
            ["dataset_type_id"],
            ["calibration_policy.dataset_type_id"],
            name="fk_calibration_policy_match_dataset_type_id",
        ),
        sa.PrimaryKeyConstraint("dataset_type_id", "name", name="pk_calibration_policy_match"),
        comment="Facts in which a calibration must agree with the observation, by type.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "calibration_fact",
        sa.Column("dataset_id", sa.Uuid(), nullable=False, comment="The calibration"),
        sa.Column(
            "name", sa.String(length=128), nullable=False, comment="Fact, as policies name it"
        ),
        sa.Column(
            "number_value",
            sa.Double(),
            nullable=True,
            comment="A number; of many exposures their mean, in their unit",
        ),
        sa.Column(
            "text_value",
            sa.String(length=255),
            nullable=True,
            comment="A text; of many exposures what all have",
        ),
        sa.CheckConstraint(
            "number_value IS NOT NULL OR text_value IS NOT NULL",
            name=op.f("ck_calibration_fact_value"),
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name="fk_calibration_fact_dataset_id"
        ),
        sa.PrimaryKeyConstraint("dataset_id", "name", name="pk_calibration_fact"),
        comment="Circumstances under which a calibration was taken, which policies compare.",
        **MARIADB,
        if_not_exists=True,
    )


def downgrade() -> None:
    for table in ("calibration_fact", "calibration_policy_match", "calibration_policy"):
        op.drop_table(table, if_exists=True)
