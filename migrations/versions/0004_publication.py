"""What archives tell about observations: ObsCore and the views of operations.

Revision: 0004, after 0003.  Cameras, filters, regions and endpoints get the facts that ObsCore
wants; regions that exist are told as text.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from registry.deploy import create_view, drop_view
from registry.footprints import COLUMNS, describe

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

CENTER = "of the middle of the region, ICRS [deg]"
FOOTPRINT: dict[str, tuple[sa.types.TypeEngine[Any], str]] = {
    "stc_s": (
        sa.Text(),
        "The region as text for the Virtual Observatory: POLYGON ICRS ra dec ... [deg]",
    ),
    "center_ra": (sa.Double(), f"Right ascension {CENTER}"),
    "center_dec": (sa.Double(), f"Declination {CENTER}"),
    "diameter_deg": (sa.Double(), "Diameter of the smallest circle around the region [deg]"),
}
FACTS: dict[str, dict[str, tuple[sa.types.TypeEngine[Any], str]]] = {
    "instrument": {
        "facility": (sa.String(length=128), "Telescope or observatory that it is at"),
        "field_of_view_deg": (sa.Double(), "Diameter of its field of view [deg]"),
    },
    "physical_filter": {
        "wavelength_min_m": (sa.Double(), "Blue end of the passband, in vacuum [m]"),
        "wavelength_max_m": (sa.Double(), "Red end of the passband, in vacuum [m]"),
    },
    "endpoint": {
        "access_url": (
            sa.String(length=1024),
            "URL below which readers of the archive get its files, if any",
        ),
    },
    "visit_detector_region": FOOTPRINT,
    "patch": FOOTPRINT,
}
VIEWS = (
    "obscore",
    "ingest_by_night",
    "calibration_gap",
    "orphan",
    "late_dataset",
    "largest_dataset",
    "growth",
    "growth_forecast",
    "provenance_completeness",
)
KEYS = {
    "visit_detector_region": ("instrument", "visit", "detector"),
    "patch": ("skymap", "tract", "id"),
}
BATCH = 10_000


def upgrade() -> None:
    for table, facts in FACTS.items():
        for name, (kind, comment) in facts.items():
            if name not in columns_of(table):
                op.add_column(table, sa.Column(name, kind, nullable=True, comment=comment))
    for table, keys in KEYS.items():
        tell_regions(table, keys)
    for view in VIEWS:
        create_view(view)


def downgrade() -> None:
    for view in reversed(VIEWS):
        drop_view(view)
    for table, facts in FACTS.items():
        for name in reversed(facts):
            if name in columns_of(table):
                op.drop_column(table, name)


def columns_of(table: str) -> set[str]:
    if op.get_context().as_sql:
        return set()
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}


def tell_regions(table: str, keys: tuple[str, ...]) -> None:
    """Write the footprints of the rows that exist."""
    if op.get_context().as_sql:
        return
    connection = op.get_bind()
    rows = sa.table(table, *map(sa.column, (*keys, "region", *COLUMNS)))
    found = connection.execute(sa.select(*(rows.c[k] for k in keys), rows.c.region)).all()
    update = sa.update(rows).where(*(rows.c[k] == sa.bindparam(f"_{k}") for k in keys))
    for start in range(0, len(found), BATCH):
        part = found[start : start + BATCH]
        told = describe([bytes(row.region) for row in part])
        values = [
            {**{f"_{k}": v for k, v in zip(keys, row, strict=False)}, **more}
            for row, more in zip(part, told, strict=True)
        ]
        connection.execute(update.values({c: sa.bindparam(c) for c in COLUMNS}), values)
