"""Exposures keep what their detectors saw of the sky, of which their visits are made.

Revision: 0020, after 0019.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

OPTIONS = {
    "mariadb_engine": "InnoDB",
    "mariadb_default_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}


def upgrade() -> None:
    op.create_table(
        "exposure_detector_region",
        sa.Column("instrument", sa.String(length=128), nullable=False, comment="Camera"),
        sa.Column(
            "exposure",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="The exposure",
        ),
        sa.Column(
            "detector", sa.Integer(), autoincrement=False, nullable=False, comment="The detector"
        ),
        sa.Column(
            "region",
            sa.LargeBinary(),
            nullable=False,
            comment="Sky region, lsst.sphgeom encoding, ICRS",
        ),
        sa.ForeignKeyConstraint(
            ["instrument", "exposure"],
            ["exposure.instrument", "exposure.id"],
            name="fk_exposure_detector_region_instrument_exposure",
        ),
        sa.ForeignKeyConstraint(
            ["instrument", "detector"],
            ["detector.instrument", "detector.id"],
            name="fk_exposure_detector_region_instrument_detector",
        ),
        sa.PrimaryKeyConstraint(
            "instrument", "exposure", "detector", name="pk_exposure_detector_region"
        ),
        comment="The part of the sky that a detector saw in an exposure; visits are made of them.",
        **OPTIONS,
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("exposure_detector_region", if_exists=True)
