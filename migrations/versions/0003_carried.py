"""What lsst-daf-butler exports hold beyond the spine: regions of visits, further facts, records.

Revision: 0003, after 0002.  Visits and tracts get the index of HEALPix ranges that visit-detector
regions and patches have; it is filled for the tracts that exist.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

JSON_TEXT = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(), "postgresql")
MARIADB = {
    "mariadb_engine": "InnoDB",
    "mariadb_default_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}
CARRIED = "Further facts, as the export of another registry gave them"
WITH_EXTRA = ("instrument", "detector", "day_obs", "visit", "patch")
HEALPIX_ORDER = 10
MAX_RANGES = 16


def upgrade() -> None:
    for table in WITH_EXTRA:
        add_column(table, sa.Column("extra", JSON_TEXT, nullable=True, comment=CARRIED))
    add_column(
        "visit",
        sa.Column(
            "region",
            sa.LargeBinary(),
            nullable=True,
            comment="Sky region, if known as a whole; lsst.sphgeom, ICRS",
        ),
    )
    op.create_index("ix_exposure_sky", "exposure", ["dec", "ra"], if_not_exists=True)
    create_index_of("instrument", "visit", sa.BigInteger(), "Camera", "the region of a visit")
    create_index_of("skymap", "tract", sa.Integer(), "Tessellation", "a tract")
    op.create_table(
        "carried_record",
        sa.Column(
            "element",
            sa.String(length=128),
            nullable=False,
            comment="Dimension element, e.g. visit_system",
        ),
        sa.Column(
            "record_key",
            sa.String(length=255),
            nullable=False,
            comment="Its key values as a JSON list, in the element's order",
        ),
        sa.Column("record", JSON_TEXT, nullable=False, comment="The record as the export gave it"),
        sa.PrimaryKeyConstraint("element", "record_key", name="pk_carried_record"),
        comment="Records of elements that have no table here, kept for registries that have one.",
        **MARIADB,
        if_not_exists=True,
    )
    index_tracts()


def downgrade() -> None:
    for table in ("carried_record", "tract_pixel", "visit_pixel"):
        op.drop_table(table, if_exists=True)
    op.drop_index("ix_exposure_sky", "exposure", if_exists=True)
    drop_column("visit", "region")
    for table in reversed(WITH_EXTRA):
        drop_column(table, "extra")


def repeatable() -> bool | None:
    """Say whether a step may meet its own result: where DDL is not rolled back."""
    return True if op.get_context().dialect.name in ("mysql", "mariadb") else None


def add_column(table: str, column: sa.Column[Any]) -> None:
    op.add_column(table, column, if_not_exists=repeatable())


def drop_column(table: str, column: str) -> None:
    op.drop_column(table, column, if_exists=repeatable())


def create_index_of(
    governor: str, element: str, kind: sa.types.TypeEngine[Any], whose: str, what: str
) -> None:
    op.create_table(
        f"{element}_pixel",
        sa.Column(governor, sa.String(length=128), nullable=False, comment=whose),
        sa.Column(element, kind, autoincrement=False, nullable=False, comment=f"The {element}"),
        sa.Column(
            "pixel_begin",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="First HEALPix pixel, nested, order 10",
        ),
        sa.Column(
            "pixel_end", sa.BigInteger(), nullable=False, comment="Last HEALPix pixel plus one"
        ),
        sa.ForeignKeyConstraint(
            [governor, element],
            [f"{element}.{governor}", f"{element}.id"],
            name=f"fk_{element}_pixel_{governor}_{element}",
        ),
        sa.PrimaryKeyConstraint(governor, element, "pixel_begin", name=f"pk_{element}_pixel"),
        comment=f"HEALPix pixel ranges that cover {what}.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_index(
        f"ix_{element}_pixel_range",
        f"{element}_pixel",
        ["pixel_begin", "pixel_end"],
        if_not_exists=True,
    )


def index_tracts() -> None:
    """Cover the tracts that exist by pixel ranges; SQL for a new database has none."""
    if op.get_context().as_sql:
        return
    connection = op.get_bind()
    tract = sa.table("tract", sa.column("skymap"), sa.column("id"), sa.column("region"))
    found = connection.execute(sa.select(tract.c.skymap, tract.c.id, tract.c.region)).all()
    if not found:
        return
    from lsst.sphgeom import HealpixPixelization, Region

    pixels = HealpixPixelization(HEALPIX_ORDER)
    index = sa.table(
        "tract_pixel", *map(sa.column, ("skymap", "tract", "pixel_begin", "pixel_end"))
    )
    connection.execute(sa.delete(index))
    rows = [
        {"skymap": skymap, "tract": number, "pixel_begin": begin, "pixel_end": end}
        for skymap, number, region in found
        for begin, end in few([*pixels.envelope(Region.decode(bytes(region)))])
    ]
    connection.execute(sa.insert(index), rows)


def few(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges over their smallest gaps, so that no more than `MAX_RANGES` remain."""
    gaps = sorted((ranges[n + 1][0] - ranges[n][1], n) for n in range(len(ranges) - 1))
    closed = {n for _, n in gaps[: max(len(ranges) - MAX_RANGES, 0)]}
    begins = [begin for n, (begin, _) in enumerate(ranges) if n - 1 not in closed]
    ends = [end for n, (_, end) in enumerate(ranges) if n not in closed]
    return list(zip(begins, ends, strict=True))
