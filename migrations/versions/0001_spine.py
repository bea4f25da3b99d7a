"""The spine: dimensions, data identity, collections, calibrations, files and replicas, provenance.

Revision: 0001, the first.  MariaDB does not roll DDL back, so every step may be repeated after a
failure.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, postgresql

from registry.deploy import create_view, drop_view

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UTC = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON_TEXT = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(), "postgresql")
LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
MARIADB = {
    "mariadb_engine": "InnoDB",
    "mariadb_default_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}
VIEWS = (
    "dataset_summary",
    "calibration_coverage",
    "provenance_edge",
    "replica_health",
    "run_summary",
)
KEY_PARTS = (
    ("i", "instrument"),
    ("d", "detector"),
    ("f", "physical_filter"),
    ("b", "band"),
    ("x", "exposure"),
    ("v", "visit"),
    ("n", "day_obs"),
    ("s", "skymap"),
    ("t", "tract"),
    ("p", "patch"),
    ("h", "healpix"),
)


def identity_key() -> str:
    """Write the generated text by which a data ID is unique, for the database at hand."""
    if op.get_context().dialect.name in ("mysql", "mariadb"):
        terms = [f"coalesce(concat('{letter}', {column}, '|'), '')" for letter, column in KEY_PARTS]
        return f"concat({', '.join(terms)}, coalesce(extra COLLATE utf8mb4_nopad_bin, ''))"
    terms = [
        f"coalesce('{letter}' || CAST({column} AS TEXT) || '|', '')" for letter, column in KEY_PARTS
    ]
    return " || ".join([*terms, "coalesce(CAST(extra AS TEXT), '')"])


def is_stored() -> bool | None:
    """Say whether the generated text must lie in the row too, not in its unique index only."""
    return True if op.get_context().dialect.name == "postgresql" else None


def upgrade() -> None:
    create_dimensions()
    create_collections()
    create_identity()
    create_calibrations()
    create_files()
    create_provenance()
    forbid_overlaps()
    for view in VIEWS:
        create_view(view)


def downgrade() -> None:
    for view in reversed(VIEWS):
        drop_view(view)
    for name in reversed(TABLES):
        op.drop_table(name, if_exists=True)


def create_dimensions() -> None:
    op.create_table(
        "instrument",
        sa.Column(
            "name",
            sa.String(length=128),
            nullable=False,
            comment="Unique name of the camera, e.g. OHP-T152",
        ),
        sa.Column(
            "definition_version",
            sa.Integer(),
            nullable=False,
            comment="Version of its definition in force",
        ),
        sa.Column(
            "detector_max", sa.Integer(), nullable=True, comment="Largest detector number plus one"
        ),
        sa.Column("doc", sa.Text(), nullable=False, comment="What the camera is"),
        sa.PrimaryKeyConstraint("name", name="pk_instrument"),
        comment="A camera on a telescope.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "instrument_definition",
        sa.Column("instrument", sa.String(length=128), nullable=False, comment="Whose definition"),
        sa.Column(
            "version",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="1, 2, ... as registered",
        ),
        sa.Column(
            "digest", sa.String(length=64), nullable=False, comment="SHA-256 of the text, hex"
        ),
        sa.Column("text", LONG_TEXT, nullable=False, comment="The definition as YAML"),
        sa.Column("registered_at", UTC, nullable=False, comment="When it was registered, UTC"),
        sa.Column(
            "registered_by",
            sa.String(length=255),
            nullable=False,
            comment="Account that registered it",
        ),
        sa.ForeignKeyConstraint(
            ["instrument"], ["instrument.name"], name="fk_instrument_definition_instrument"
        ),
        sa.PrimaryKeyConstraint("instrument", "version", name="pk_instrument_definition"),
        comment="The instrument definitions of this repository with their history.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "physical_filter",
        sa.Column("instrument", sa.String(length=128), nullable=False, comment="Its camera"),
        sa.Column(
            "name",
            sa.String(length=128),
            nullable=False,
            comment="Name of the filter at the camera",
        ),
        sa.Column(
            "band",
            sa.String(length=128),
            nullable=True,
            comment="Common name of the passband, e.g. g",
        ),
        sa.ForeignKeyConstraint(
            ["instrument"], ["instrument.name"], name="fk_physical_filter_instrument"
        ),
        sa.PrimaryKeyConstraint("instrument", "name", name="pk_physical_filter"),
        comment="A filter of a camera.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "detector",
        sa.Column("instrument", sa.String(length=128), nullable=False, comment="Its camera"),
        sa.Column(
            "id",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="Number of the detector",
        ),
        sa.Column(
            "full_name",
            sa.String(length=255),
            nullable=False,
            comment="Name of the detector, e.g. R22_S00",
        ),
        sa.Column(
            "purpose", sa.String(length=255), nullable=False, comment="science, guide, focus, ..."
        ),
        sa.Column(
            "raft",
            sa.String(length=255),
            nullable=True,
            comment="Group of detectors that it sits in",
        ),
        sa.Column("nrows", sa.Integer(), nullable=True, comment="Rows of a raw frame [pixel]"),
        sa.Column("ncols", sa.Integer(), nullable=True, comment="Columns of a raw frame [pixel]"),
        sa.ForeignKeyConstraint(["instrument"], ["instrument.name"], name="fk_detector_instrument"),
        sa.PrimaryKeyConstraint("instrument", "id", name="pk_detector"),
        sa.UniqueConstraint("instrument", "full_name", name="uq_detector_instrument_full_name"),
        comment="A detector of a camera.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "day_obs",
        sa.Column("instrument", sa.String(length=128), nullable=False, comment="Whose night"),
        sa.Column(
            "id",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="Night as YYYYMMDD of its evening",
        ),
        sa.Column(
            "begin_tai_ns",
            sa.BigInteger(),
            nullable=False,
            comment="Noon before, TAI ns since 1970",
        ),
        sa.Column(
            "end_tai_ns",
            sa.BigInteger(),
            nullable=False,
            comment="Noon after (excluded), TAI ns since 1970",
        ),
        sa.CheckConstraint("begin_tai_ns < end_tai_ns", name=op.f("ck_day_obs_range")),
        sa.ForeignKeyConstraint(["instrument"], ["instrument.name"], name="fk_day_obs_instrument"),
        sa.PrimaryKeyConstraint("instrument", "id", name="pk_day_obs"),
        comment="An observing night, noon to noon at the site.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "exposure",
        sa.Column("instrument", sa.String(length=128), nullable=False, comment="Its camera"),
        sa.Column(
            "id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Number of the exposure",
        ),
        sa.Column(
            "obs_id",
            sa.String(length=255),
            nullable=False,
            comment="Observation identifier given at the telescope",
        ),
        sa.Column("day_obs", sa.Integer(), nullable=False, comment="Night, YYYYMMDD"),
        sa.Column(
            "physical_filter",
            sa.String(length=128),
            nullable=True,
            comment="Filter in the beam, if any",
        ),
        sa.Column(
            "observation_type",
            sa.String(length=255),
            nullable=False,
            comment="bias, dark, flat, arc, science, ...",
        ),
        sa.Column(
            "observation_reason", sa.String(length=255), nullable=True, comment="Why it was taken"
        ),
        sa.Column(
            "target_name",
            sa.String(length=255),
            nullable=True,
            comment="Name of the target as observed",
        ),
        sa.Column(
            "science_program",
            sa.String(length=255),
            nullable=True,
            comment="Programme that it belongs to",
        ),
        sa.Column(
            "seq_num", sa.Integer(), nullable=True, comment="Running number within the night"
        ),
        sa.Column(
            "exposure_time", sa.Double(), nullable=True, comment="Time with the shutter open [s]"
        ),
        sa.Column(
            "dark_time",
            sa.Double(),
            nullable=True,
            comment="Time in which dark current gathered [s]",
        ),
        sa.Column(
            "begin_tai_ns", sa.BigInteger(), nullable=False, comment="Begin, TAI ns since 1970"
        ),
        sa.Column(
            "end_tai_ns",
            sa.BigInteger(),
            nullable=False,
            comment="End (excluded), TAI ns since 1970",
        ),
        sa.Column(
            "ra", sa.Double(), nullable=True, comment="Right ascension of the pointing, ICRS [deg]"
        ),
        sa.Column(
            "dec", sa.Double(), nullable=True, comment="Declination of the pointing, ICRS [deg]"
        ),
        sa.Column("airmass", sa.Double(), nullable=True, comment="Air mass at the begin"),
        sa.Column(
            "quality",
            sa.String(length=16),
            nullable=False,
            comment="good, or rejected by the observers",
        ),
        sa.Column(
            "extra",
            JSON_TEXT,
            nullable=True,
            comment="Further facts that the instrument definition declares",
        ),
        sa.CheckConstraint("quality IN ('good', 'rejected')", name=op.f("ck_exposure_quality")),
        sa.CheckConstraint("begin_tai_ns <= end_tai_ns", name=op.f("ck_exposure_range")),
        sa.ForeignKeyConstraint(
            ["instrument", "day_obs"],
            ["day_obs.instrument", "day_obs.id"],
            name="fk_exposure_instrument_day_obs",
        ),
        sa.ForeignKeyConstraint(
            ["instrument", "physical_filter"],
            ["physical_filter.instrument", "physical_filter.name"],
            name="fk_exposure_instrument_physical_filter",
        ),
        sa.ForeignKeyConstraint(["instrument"], ["instrument.name"], name="fk_exposure_instrument"),
        sa.PrimaryKeyConstraint("instrument", "id", name="pk_exposure"),
        comment="One read-out of a camera.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_index(
        "ix_exposure_night",
        "exposure",
        ["instrument", "day_obs", "observation_type"],
        if_not_exists=True,
    )
    op.create_index(
        "ix_exposure_time", "exposure", ["instrument", "begin_tai_ns"], if_not_exists=True
    )
    op.create_table(
        "visit",
        sa.Column("instrument", sa.String(length=128), nullable=False, comment="Its camera"),
        sa.Column(
            "id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Number of the visit",
        ),
        sa.Column("name", sa.String(length=255), nullable=False, comment="Name of the visit"),
        sa.Column("day_obs", sa.Integer(), nullable=False, comment="Night, YYYYMMDD"),
        sa.Column(
            "physical_filter", sa.String(length=128), nullable=True, comment="Filter in the beam"
        ),
        sa.Column(
            "target_name",
            sa.String(length=255),
            nullable=True,
            comment="Name of the target as observed",
        ),
        sa.Column(
            "exposure_time", sa.Double(), nullable=True, comment="Sum over its exposures [s]"
        ),
        sa.Column(
            "begin_tai_ns",
            sa.BigInteger(),
            nullable=False,
            comment="Begin of the first, TAI ns since 1970",
        ),
        sa.Column(
            "end_tai_ns",
            sa.BigInteger(),
            nullable=False,
            comment="End of the last, TAI ns since 1970",
        ),
        sa.Column(
            "ra", sa.Double(), nullable=True, comment="Right ascension of the pointing, ICRS [deg]"
        ),
        sa.Column(
            "dec", sa.Double(), nullable=True, comment="Declination of the pointing, ICRS [deg]"
        ),
        sa.CheckConstraint("begin_tai_ns <= end_tai_ns", name=op.f("ck_visit_range")),
        sa.ForeignKeyConstraint(
            ["instrument", "day_obs"],
            ["day_obs.instrument", "day_obs.id"],
            name="fk_visit_instrument_day_obs",
        ),
        sa.ForeignKeyConstraint(
            ["instrument", "physical_filter"],
            ["physical_filter.instrument", "physical_filter.name"],
            name="fk_visit_instrument_physical_filter",
        ),
        sa.ForeignKeyConstraint(["instrument"], ["instrument.name"], name="fk_visit_instrument"),
        sa.PrimaryKeyConstraint("instrument", "id", name="pk_visit"),
        comment="Exposures of one pointing that are processed together.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "visit_exposure",
        sa.Column("instrument", sa.String(length=128), nullable=False, comment="Camera"),
        sa.Column(
            "visit", sa.BigInteger(), autoincrement=False, nullable=False, comment="The visit"
        ),
        sa.Column(
            "exposure",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="One of its exposures",
        ),
        sa.ForeignKeyConstraint(
            ["instrument", "exposure"],
            ["exposure.instrument", "exposure.id"],
            name="fk_visit_exposure_instrument_exposure",
        ),
        sa.ForeignKeyConstraint(
            ["instrument", "visit"],
            ["visit.instrument", "visit.id"],
            name="fk_visit_exposure_instrument_visit",
        ),
        sa.PrimaryKeyConstraint("instrument", "visit", "exposure", name="pk_visit_exposure"),
        comment="Which exposures make a visit.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_index(
        "ix_visit_exposure_exposure",
        "visit_exposure",
        ["instrument", "exposure"],
        if_not_exists=True,
    )
    op.create_table(
        "visit_detector_region",
        sa.Column("instrument", sa.String(length=128), nullable=False, comment="Camera"),
        sa.Column(
            "visit", sa.BigInteger(), autoincrement=False, nullable=False, comment="The visit"
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
            ["instrument", "detector"],
            ["detector.instrument", "detector.id"],
            name="fk_visit_detector_region_instrument_detector",
        ),
        sa.ForeignKeyConstraint(
            ["instrument", "visit"],
            ["visit.instrument", "visit.id"],
            name="fk_visit_detector_region_instrument_visit",
        ),
        sa.PrimaryKeyConstraint("instrument", "visit", "detector", name="pk_visit_detector_region"),
        comment="The part of the sky that a detector saw in a visit.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "visit_detector_pixel",
        sa.Column("instrument", sa.String(length=128), nullable=False, comment="Camera"),
        sa.Column(
            "visit", sa.BigInteger(), autoincrement=False, nullable=False, comment="The visit"
        ),
        sa.Column(
            "detector", sa.Integer(), autoincrement=False, nullable=False, comment="The detector"
        ),
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
            ["instrument", "visit", "detector"],
            [
                "visit_detector_region.instrument",
                "visit_detector_region.visit",
                "visit_detector_region.detector",
            ],
            name="fk_visit_detector_pixel_region",
        ),
        sa.PrimaryKeyConstraint(
            "instrument", "visit", "detector", "pixel_begin", name="pk_visit_detector_pixel"
        ),
        comment="HEALPix pixel ranges that cover a visit-detector region.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_index(
        "ix_visit_detector_pixel_range",
        "visit_detector_pixel",
        ["pixel_begin", "pixel_end"],
        if_not_exists=True,
    )
    op.create_table(
        "skymap",
        sa.Column(
            "name", sa.String(length=128), nullable=False, comment="Name of the tessellation"
        ),
        sa.Column(
            "definition", JSON_TEXT, nullable=False, comment="Tracts and patches as declared"
        ),
        sa.PrimaryKeyConstraint("name", name="pk_skymap"),
        comment="A division of the sky into tracts and patches.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "tract",
        sa.Column("skymap", sa.String(length=128), nullable=False, comment="Its tessellation"),
        sa.Column(
            "id", sa.Integer(), autoincrement=False, nullable=False, comment="Number of the tract"
        ),
        sa.Column(
            "region",
            sa.LargeBinary(),
            nullable=False,
            comment="Sky region, lsst.sphgeom encoding, ICRS",
        ),
        sa.ForeignKeyConstraint(["skymap"], ["skymap.name"], name="fk_tract_skymap"),
        sa.PrimaryKeyConstraint("skymap", "id", name="pk_tract"),
        comment="A piece of sky with one projection.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "patch",
        sa.Column("skymap", sa.String(length=128), nullable=False, comment="Its tessellation"),
        sa.Column("tract", sa.Integer(), autoincrement=False, nullable=False, comment="Its tract"),
        sa.Column(
            "id",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="Number of the patch in its tract",
        ),
        sa.Column(
            "region",
            sa.LargeBinary(),
            nullable=False,
            comment="Sky region, lsst.sphgeom encoding, ICRS",
        ),
        sa.Column(
            "wcs",
            JSON_TEXT,
            nullable=False,
            comment="FITS WCS cards and shape of the patch's pixel grid",
        ),
        sa.ForeignKeyConstraint(
            ["skymap", "tract"], ["tract.skymap", "tract.id"], name="fk_patch_skymap_tract"
        ),
        sa.PrimaryKeyConstraint("skymap", "tract", "id", name="pk_patch"),
        comment="A part of a tract, the size of one coadd.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "patch_pixel",
        sa.Column("skymap", sa.String(length=128), nullable=False, comment="Tessellation"),
        sa.Column("tract", sa.Integer(), autoincrement=False, nullable=False, comment="Tract"),
        sa.Column("patch", sa.Integer(), autoincrement=False, nullable=False, comment="Patch"),
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
            ["skymap", "tract", "patch"],
            ["patch.skymap", "patch.tract", "patch.id"],
            name="fk_patch_pixel_patch",
        ),
        sa.PrimaryKeyConstraint("skymap", "tract", "patch", "pixel_begin", name="pk_patch_pixel"),
        comment="HEALPix pixel ranges that cover a patch.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_index(
        "ix_patch_pixel_range", "patch_pixel", ["pixel_begin", "pixel_end"], if_not_exists=True
    )
    op.create_table(
        "overlap",
        sa.Column("instrument", sa.String(length=128), nullable=False, comment="Camera"),
        sa.Column("visit", sa.BigInteger(), autoincrement=False, nullable=False, comment="Visit"),
        sa.Column(
            "detector", sa.Integer(), autoincrement=False, nullable=False, comment="Detector"
        ),
        sa.Column("skymap", sa.String(length=128), nullable=False, comment="Tessellation"),
        sa.Column("tract", sa.Integer(), autoincrement=False, nullable=False, comment="Tract"),
        sa.Column("patch", sa.Integer(), autoincrement=False, nullable=False, comment="Patch"),
        sa.ForeignKeyConstraint(
            ["instrument", "visit", "detector"],
            [
                "visit_detector_region.instrument",
                "visit_detector_region.visit",
                "visit_detector_region.detector",
            ],
            name="fk_overlap_region",
        ),
        sa.ForeignKeyConstraint(
            ["skymap", "tract", "patch"],
            ["patch.skymap", "patch.tract", "patch.id"],
            name="fk_overlap_patch",
        ),
        sa.PrimaryKeyConstraint(
            "instrument", "visit", "detector", "skymap", "tract", "patch", name="pk_overlap"
        ),
        comment="Which visit-detector regions touch which patches, "
        "computed when either is inserted.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_index("ix_overlap_patch", "overlap", ["skymap", "tract", "patch"], if_not_exists=True)


def create_collections() -> None:
    op.create_table(
        "collection",
        sa.Column("id", sa.Integer(), nullable=False, comment="Key"),
        sa.Column("name", sa.String(length=255), nullable=False, comment="Name, e.g. OHP/raw"),
        sa.Column(
            "type",
            sa.String(length=16),
            nullable=False,
            comment="RUN, TAGGED, CHAINED or CALIBRATION",
        ),
        sa.Column("doc", sa.Text(), nullable=False, comment="What it is for"),
        sa.Column("created_at", UTC, nullable=False, comment="When it was registered, UTC"),
        sa.CheckConstraint(
            "type IN ('RUN', 'TAGGED', 'CHAINED', 'CALIBRATION')", name=op.f("ck_collection_type")
        ),
        sa.PrimaryKeyConstraint("id", name="pk_collection"),
        sa.UniqueConstraint("name", name="uq_collection_name"),
        comment="A named group of datasets.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "collection_chain",
        sa.Column("parent_id", sa.Integer(), nullable=False, comment="The CHAINED one"),
        sa.Column(
            "position",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="Place in the search, from 0",
        ),
        sa.Column("child_id", sa.Integer(), nullable=False, comment="What is searched"),
        sa.CheckConstraint("parent_id <> child_id", name=op.f("ck_collection_chain_not_itself")),
        sa.ForeignKeyConstraint(
            ["child_id"], ["collection.id"], name="fk_collection_chain_child_id"
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["collection.id"], name="fk_collection_chain_parent_id"
        ),
        sa.PrimaryKeyConstraint("parent_id", "position", name="pk_collection_chain"),
        sa.UniqueConstraint("parent_id", "child_id", name="uq_collection_chain_parent_id_child_id"),
        comment="The children of a CHAINED collection, in search order.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_index(
        "ix_collection_chain_child", "collection_chain", ["child_id"], if_not_exists=True
    )


def create_identity() -> None:
    op.create_table(
        "repository",
        sa.Column(
            "one",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="Always 1: a database is one repository",
        ),
        sa.Column(
            "id", sa.Uuid(), nullable=False, comment="Global identity of the repository (UUIDv7)"
        ),
        sa.Column("created_at", UTC, nullable=False, comment="When it was made, UTC"),
        sa.CheckConstraint("one = 1", name=op.f("ck_repository_single")),
        sa.PrimaryKeyConstraint("one", name="pk_repository"),
        sa.UniqueConstraint("id", name="uq_repository_id"),
        comment="The identity of this repository.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "dataset_type",
        sa.Column("id", sa.Integer(), nullable=False, comment="Key"),
        sa.Column("name", sa.String(length=128), nullable=False, comment="Name, e.g. calexp"),
        sa.Column(
            "dimensions",
            sa.String(length=512),
            nullable=False,
            comment="Keys of its data IDs, comma separated, in order",
        ),
        sa.Column(
            "storage_class",
            sa.String(length=128),
            nullable=False,
            comment="Python type that a get returns, by its name",
        ),
        sa.Column(
            "is_calibration",
            sa.Boolean(),
            nullable=False,
            comment="May be certified with a validity range",
        ),
        sa.Column("created_at", UTC, nullable=False, comment="When it was registered, UTC"),
        sa.PrimaryKeyConstraint("id", name="pk_dataset_type"),
        sa.UniqueConstraint("name", name="uq_dataset_type_name"),
        comment="A kind of dataset.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "data_id",
        sa.Column("id", BIG_ID, nullable=False, comment="Key"),
        sa.Column("instrument", sa.String(length=128), nullable=True, comment="Camera"),
        sa.Column("detector", sa.Integer(), nullable=True, comment="Detector number"),
        sa.Column("physical_filter", sa.String(length=128), nullable=True, comment="Filter"),
        sa.Column(
            "band", sa.String(length=128), nullable=True, comment="Common name of the passband"
        ),
        sa.Column("exposure", sa.BigInteger(), nullable=True, comment="Exposure number"),
        sa.Column("visit", sa.BigInteger(), nullable=True, comment="Visit number"),
        sa.Column("day_obs", sa.Integer(), nullable=True, comment="Night, YYYYMMDD"),
        sa.Column("skymap", sa.String(length=128), nullable=True, comment="Tessellation"),
        sa.Column("tract", sa.Integer(), nullable=True, comment="Tract"),
        sa.Column("patch", sa.Integer(), nullable=True, comment="Patch"),
        sa.Column(
            "healpix",
            sa.BigInteger(),
            nullable=True,
            comment="HEALPix pixel, nested, at the order that the dataset type says",
        ),
        sa.Column(
            "extra",
            sa.JSON(none_as_null=True),
            nullable=True,
            comment="Keys that an instrument definition declares beyond these, canonical JSON",
        ),
        sa.Column(
            "identity_key",
            sa.String(length=767),
            sa.Computed(identity_key(), persisted=is_stored()),
            nullable=True,
            comment="All of the above in one text, by which a data ID is unique",
        ),
        sa.ForeignKeyConstraint(
            ["instrument", "day_obs"],
            ["day_obs.instrument", "day_obs.id"],
            name="fk_data_id_instrument_day_obs",
        ),
        sa.ForeignKeyConstraint(
            ["instrument", "detector"],
            ["detector.instrument", "detector.id"],
            name="fk_data_id_instrument_detector",
        ),
        sa.ForeignKeyConstraint(
            ["instrument", "exposure"],
            ["exposure.instrument", "exposure.id"],
            name="fk_data_id_instrument_exposure",
        ),
        sa.ForeignKeyConstraint(
            ["instrument", "physical_filter"],
            ["physical_filter.instrument", "physical_filter.name"],
            name="fk_data_id_instrument_physical_filter",
        ),
        sa.ForeignKeyConstraint(
            ["instrument", "visit"],
            ["visit.instrument", "visit.id"],
            name="fk_data_id_instrument_visit",
        ),
        sa.ForeignKeyConstraint(["instrument"], ["instrument.name"], name="fk_data_id_instrument"),
        sa.ForeignKeyConstraint(
            ["skymap", "tract", "patch"],
            ["patch.skymap", "patch.tract", "patch.id"],
            name="fk_data_id_skymap_tract_patch",
        ),
        sa.ForeignKeyConstraint(
            ["skymap", "tract"], ["tract.skymap", "tract.id"], name="fk_data_id_skymap_tract"
        ),
        sa.ForeignKeyConstraint(["skymap"], ["skymap.name"], name="fk_data_id_skymap"),
        sa.PrimaryKeyConstraint("id", name="pk_data_id"),
        sa.UniqueConstraint("identity_key", name="uq_data_id_identity_key"),
        comment="A distinct set of key/value pairs.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_index(
        "ix_data_id_exposure", "data_id", ["instrument", "exposure", "detector"], if_not_exists=True
    )
    op.create_table(
        "dataset",
        sa.Column("id", sa.Uuid(), nullable=False, comment="Global identity (UUIDv7)"),
        sa.Column("dataset_type_id", sa.Integer(), nullable=False, comment="Its type"),
        sa.Column("run_id", sa.Integer(), nullable=False, comment="Its RUN collection"),
        sa.Column("data_id", BIG_ID, nullable=False, comment="Its data ID"),
        sa.Column(
            "ingest_date_tai_ns",
            sa.BigInteger(),
            nullable=False,
            comment="When it was registered, TAI ns",
        ),
        sa.ForeignKeyConstraint(["data_id"], ["data_id.id"], name="fk_dataset_data_id"),
        sa.ForeignKeyConstraint(
            ["dataset_type_id"], ["dataset_type.id"], name="fk_dataset_dataset_type_id"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["collection.id"], name="fk_dataset_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_dataset"),
        sa.UniqueConstraint("run_id", "dataset_type_id", "data_id", name="uq_dataset_identity"),
        comment="A dataset: one type, one run, one data ID.",
        **MARIADB,
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    op.create_index(
        "ix_dataset_data_id", "dataset", ["data_id", "dataset_type_id"], if_not_exists=True
    )
    op.create_table(
        "tagged",
        sa.Column("collection_id", sa.Integer(), nullable=False, comment="TAGGED one"),
        sa.Column("dataset_type_id", sa.Integer(), nullable=False, comment="Its type"),
        sa.Column("data_id", BIG_ID, autoincrement=False, nullable=False, comment="Data ID"),
        sa.Column("dataset_id", sa.Uuid(), nullable=False, comment="The dataset tagged"),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collection.id"], name="fk_tagged_collection_id"
        ),
        sa.ForeignKeyConstraint(["data_id"], ["data_id.id"], name="fk_tagged_data_id"),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_tagged_dataset_id"),
        sa.ForeignKeyConstraint(
            ["dataset_type_id"], ["dataset_type.id"], name="fk_tagged_dataset_type_id"
        ),
        sa.PrimaryKeyConstraint("collection_id", "dataset_type_id", "data_id", name="pk_tagged"),
        comment="Datasets of a TAGGED collection; one per type and data ID.",
        **MARIADB,
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    op.create_index("ix_tagged_dataset", "tagged", ["dataset_id"], if_not_exists=True)


def create_calibrations() -> None:
    op.create_table(
        "calibration",
        sa.Column("id", BIG_ID, nullable=False, comment="Key"),
        sa.Column("collection_id", sa.Integer(), nullable=False, comment="CALIBRATION collection"),
        sa.Column("dataset_type_id", sa.Integer(), nullable=False, comment="Type of calibration"),
        sa.Column(
            "data_id",
            BIG_ID,
            nullable=False,
            comment="What it holds for: the dataset's data ID without exposure, visit and day_obs",
        ),
        sa.Column("dataset_id", sa.Uuid(), nullable=False, comment="The calibration"),
        sa.Column(
            "valid_begin_tai_ns",
            sa.BigInteger(),
            nullable=False,
            comment="Valid from, TAI ns since 1970",
        ),
        sa.Column(
            "valid_end_tai_ns",
            sa.BigInteger(),
            nullable=False,
            comment="Valid until (excluded), TAI ns",
        ),
        sa.Column("certified_at", UTC, nullable=False, comment="When it was certified, UTC"),
        sa.Column(
            "certified_by",
            sa.String(length=255),
            nullable=False,
            comment="Account that certified it",
        ),
        sa.CheckConstraint(
            "valid_begin_tai_ns % 1000 = 0 AND valid_end_tai_ns % 1000 = 0",
            name=op.f("ck_calibration_microseconds"),
        ),
        sa.CheckConstraint(
            "valid_begin_tai_ns < valid_end_tai_ns", name=op.f("ck_calibration_range")
        ),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collection.id"], name="fk_calibration_collection_id"
        ),
        sa.ForeignKeyConstraint(["data_id"], ["data_id.id"], name="fk_calibration_data_id"),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_calibration_dataset_id"),
        sa.ForeignKeyConstraint(
            ["dataset_type_id"], ["dataset_type.id"], name="fk_calibration_dataset_type_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_calibration"),
        comment="Validity ranges of calibrations; those of one key never overlap.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_index("ix_calibration_dataset", "calibration", ["dataset_id"], if_not_exists=True)
    op.create_index(
        "ix_calibration_lookup",
        "calibration",
        ["dataset_type_id", "data_id", "collection_id", "valid_begin_tai_ns"],
        if_not_exists=True,
    )


def create_files() -> None:
    op.create_table(
        "site",
        sa.Column("id", sa.Integer(), nullable=False, comment="Key"),
        sa.Column("name", sa.String(length=128), nullable=False, comment="Name of the place"),
        sa.Column("doc", sa.Text(), nullable=False, comment="What is there"),
        sa.PrimaryKeyConstraint("id", name="pk_site"),
        sa.UniqueConstraint("name", name="uq_site_name"),
        comment="A place that holds storage or computers.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "endpoint",
        sa.Column("id", sa.Integer(), nullable=False, comment="Key"),
        sa.Column("site_id", sa.Integer(), nullable=False, comment="Where it is"),
        sa.Column("name", sa.String(length=128), nullable=False, comment="Name of the storage"),
        sa.Column(
            "root",
            sa.String(length=1024),
            nullable=False,
            comment="URL below which paths lie; empty: paths are absolute",
        ),
        sa.Column(
            "owned",
            sa.Boolean(),
            nullable=False,
            comment="Whether files are made and deleted by this repository",
        ),
        sa.Column("state", sa.String(length=16), nullable=False, comment="online or offline"),
        sa.CheckConstraint("state IN ('online', 'offline')", name=op.f("ck_endpoint_state")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name="fk_endpoint_site_id"),
        sa.PrimaryKeyConstraint("id", name="pk_endpoint"),
        sa.UniqueConstraint("name", name="uq_endpoint_name"),
        comment="Storage under one root.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "file",
        sa.Column("id", BIG_ID, nullable=False, comment="Key"),
        sa.Column("dataset_id", sa.Uuid(), nullable=False, comment="Dataset that it holds"),
        sa.Column(
            "component",
            sa.String(length=64),
            nullable=False,
            comment="Component that it holds; empty: all of it",
        ),
        sa.Column(
            "path", sa.String(length=1024), nullable=False, comment="Path below an endpoint's root"
        ),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False, comment="Size [byte]"),
        sa.Column(
            "checksum",
            sa.String(length=96),
            nullable=True,
            comment="sha256:hex of the content; none when ingested without",
        ),
        sa.Column(
            "formatter",
            sa.String(length=255),
            nullable=False,
            comment="Formatter that reads it, by its name",
        ),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_file_size")),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_file_dataset_id"),
        sa.PrimaryKeyConstraint("id", name="pk_file"),
        sa.UniqueConstraint("dataset_id", "component", name="uq_file_dataset_id_component"),
        comment="A logical file; its copies are replicas.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_index("ix_file_path", "file", ["path"], mariadb_length=255, if_not_exists=True)
    op.create_table(
        "replica",
        sa.Column("file_id", BIG_ID, autoincrement=False, nullable=False, comment="The file"),
        sa.Column("endpoint_id", sa.Integer(), nullable=False, comment="Where it lies"),
        sa.Column(
            "state",
            sa.String(length=16),
            nullable=False,
            comment="available, deleting, lost or corrupt",
        ),
        sa.Column("since", UTC, nullable=False, comment="When it came into this state, UTC"),
        sa.Column("last_access", UTC, nullable=True, comment="Last known read, UTC"),
        sa.Column("pinned_until", UTC, nullable=True, comment="Not to be evicted before, UTC"),
        sa.CheckConstraint(
            "state IN ('available', 'deleting', 'lost', 'corrupt')", name=op.f("ck_replica_state")
        ),
        sa.ForeignKeyConstraint(["endpoint_id"], ["endpoint.id"], name="fk_replica_endpoint_id"),
        sa.ForeignKeyConstraint(["file_id"], ["file.id"], name="fk_replica_file_id"),
        sa.PrimaryKeyConstraint("file_id", "endpoint_id", name="pk_replica"),
        comment="A copy of a file at an endpoint.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_index(
        "ix_replica_endpoint_state", "replica", ["endpoint_id", "state"], if_not_exists=True
    )


def create_provenance() -> None:
    op.create_table(
        "environment",
        sa.Column("id", sa.Integer(), nullable=False, comment="Key"),
        sa.Column(
            "digest", sa.String(length=64), nullable=False, comment="SHA-256 of the content, hex"
        ),
        sa.Column("python", sa.String(length=64), nullable=False, comment="Version of Python"),
        sa.Column(
            "platform",
            sa.String(length=255),
            nullable=False,
            comment="Operating system and machine type",
        ),
        sa.Column(
            "code_revision",
            sa.String(length=128),
            nullable=True,
            comment="Revision of the code in a checkout, if it is one",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_environment"),
        sa.UniqueConstraint("digest", name="uq_environment_digest"),
        comment="A software environment in which quanta ran.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "environment_package",
        sa.Column("environment_id", sa.Integer(), nullable=False, comment="Environment"),
        sa.Column(
            "name", sa.String(length=128), nullable=False, comment="Name of the distribution"
        ),
        sa.Column("version", sa.String(length=128), nullable=False, comment="Its version"),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environment.id"], name="fk_environment_package_environment_id"
        ),
        sa.PrimaryKeyConstraint("environment_id", "name", name="pk_environment_package"),
        comment="Packages of an environment with their versions.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_index(
        "ix_environment_package_name",
        "environment_package",
        ["name", "version"],
        if_not_exists=True,
    )
    op.create_table(
        "config",
        sa.Column("id", sa.Integer(), nullable=False, comment="Key"),
        sa.Column(
            "digest",
            sa.String(length=64),
            nullable=False,
            comment="SHA-256 of class and values, hex",
        ),
        sa.Column(
            "class_name",
            sa.String(length=255),
            nullable=False,
            comment="Configuration class, dotted path",
        ),
        sa.Column(
            "text", LONG_TEXT, nullable=False, comment="The frozen configuration as it is saved"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_config"),
        sa.UniqueConstraint("digest", name="uq_config_digest"),
        comment="A frozen configuration, stored once by content.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "config_value",
        sa.Column("config_id", sa.Integer(), nullable=False, comment="Configuration"),
        sa.Column(
            "path", sa.String(length=255), nullable=False, comment="Dotted path of the field"
        ),
        sa.Column(
            "value", sa.Text(), nullable=True, comment="Its value as a literal; NULL for None"
        ),
        sa.Column("type", sa.String(length=64), nullable=False, comment="Type of the value"),
        sa.ForeignKeyConstraint(["config_id"], ["config.id"], name="fk_config_value_config_id"),
        sa.PrimaryKeyConstraint("config_id", "path", name="pk_config_value"),
        comment="Every value of a configuration, one row each.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_index("ix_config_value_path", "config_value", ["path"], if_not_exists=True)
    op.create_table(
        "task",
        sa.Column("id", sa.Integer(), nullable=False, comment="Key"),
        sa.Column("run_id", sa.Integer(), nullable=False, comment="RUN it writes to"),
        sa.Column("label", sa.String(length=128), nullable=False, comment="Label in the pipeline"),
        sa.Column(
            "class_name", sa.String(length=255), nullable=False, comment="Task class, dotted path"
        ),
        sa.Column("config_id", sa.Integer(), nullable=False, comment="Its configuration"),
        sa.Column("pipeline", sa.Text(), nullable=True, comment="Pipeline that it came from"),
        sa.Column("created_at", UTC, nullable=False, comment="When it was recorded, UTC"),
        sa.ForeignKeyConstraint(["config_id"], ["config.id"], name="fk_task_config_id"),
        sa.ForeignKeyConstraint(["run_id"], ["collection.id"], name="fk_task_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_task"),
        sa.UniqueConstraint("run_id", "label", name="uq_task_run_id_label"),
        comment="A task with its configuration in one run.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "config_history",
        sa.Column("task_id", sa.Integer(), nullable=False, comment="Task in its run"),
        sa.Column(
            "path", sa.String(length=255), nullable=False, comment="Dotted path of the field"
        ),
        sa.Column(
            "step",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="0, 1, ...: the last one holds",
        ),
        sa.Column(
            "value",
            sa.Text(),
            nullable=True,
            comment="Value set in this step as a literal; NULL for None",
        ),
        sa.Column(
            "origin_kind",
            sa.String(length=16),
            nullable=False,
            comment="default, instrument, pipeline, parameter, file or command-line",
        ),
        sa.Column("origin", sa.Text(), nullable=False, comment="File and line, or the argument"),
        sa.Column("set_by", sa.String(length=255), nullable=True, comment="Account that set it"),
        sa.Column("set_at", UTC, nullable=True, comment="When it was set, UTC"),
        sa.CheckConstraint(
            "origin_kind IN "
            "('default', 'instrument', 'pipeline', 'parameter', 'file', 'command-line')",
            name=op.f("ck_config_history_origin"),
        ),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name="fk_config_history_task_id"),
        sa.PrimaryKeyConstraint("task_id", "path", "step", name="pk_config_history"),
        comment="Every value that a configuration field had, and who set it where.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_table(
        "quantum",
        sa.Column("id", sa.Uuid(), nullable=False, comment="Global identity (UUIDv7)"),
        sa.Column("task_id", sa.Integer(), nullable=False, comment="Task that it runs"),
        sa.Column("data_id", BIG_ID, nullable=False, comment="Its data ID"),
        sa.Column(
            "state",
            sa.String(length=16),
            nullable=False,
            comment="ready, running, done, no_work, failed or blocked",
        ),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="Times that it was started"),
        sa.Column("environment_id", sa.Integer(), nullable=True, comment="Software it ran in"),
        sa.Column("started_at", UTC, nullable=True, comment="Begin of the last attempt, UTC"),
        sa.Column("finished_at", UTC, nullable=True, comment="End of the last attempt, UTC"),
        sa.Column(
            "wall_s", sa.Double(), nullable=True, comment="Elapsed time of the last attempt [s]"
        ),
        sa.Column(
            "cpu_s", sa.Double(), nullable=True, comment="Processor time of the last attempt [s]"
        ),
        sa.Column(
            "max_rss_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="Largest memory of the process so far [byte]",
        ),
        sa.Column("host", sa.String(length=255), nullable=True, comment="Host it ran on"),
        sa.Column("pid", sa.Integer(), nullable=True, comment="Process it ran in"),
        sa.Column(
            "exception_class",
            sa.String(length=255),
            nullable=True,
            comment="Class of the error, if it failed",
        ),
        sa.Column(
            "exception_message",
            sa.Text(),
            nullable=True,
            comment="Text of the error, or the reason for being blocked",
        ),
        sa.Column(
            "metadata", JSON_TEXT, nullable=True, comment="What the task recorded about its run"
        ),
        sa.CheckConstraint(
            "(state IN ('done', 'no_work', 'failed')) = (finished_at IS NOT NULL)",
            name=op.f("ck_quantum_finished"),
        ),
        sa.CheckConstraint(
            "state <> 'failed' OR exception_class IS NOT NULL", name=op.f("ck_quantum_failure")
        ),
        sa.CheckConstraint(
            "state IN ('ready', 'running', 'done', 'no_work', 'failed', 'blocked')",
            name=op.f("ck_quantum_state"),
        ),
        sa.ForeignKeyConstraint(["data_id"], ["data_id.id"], name="fk_quantum_data_id"),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environment.id"], name="fk_quantum_environment_id"
        ),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name="fk_quantum_task_id"),
        sa.PrimaryKeyConstraint("id", name="pk_quantum"),
        sa.UniqueConstraint("task_id", "data_id", name="uq_quantum_task_id_data_id"),
        comment="One unit of work of a task: its data ID, state, timing and outcome.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_index("ix_quantum_state", "quantum", ["task_id", "state"], if_not_exists=True)
    op.create_table(
        "quantum_metric",
        sa.Column("quantum_id", sa.Uuid(), nullable=False, comment="Quantum"),
        sa.Column(
            "name",
            sa.String(length=128),
            nullable=False,
            comment="Dotted name of the number in its metadata",
        ),
        sa.Column("value", sa.Double(), nullable=False, comment="The number"),
        sa.ForeignKeyConstraint(
            ["quantum_id"], ["quantum.id"], name="fk_quantum_metric_quantum_id"
        ),
        sa.PrimaryKeyConstraint("quantum_id", "name", name="pk_quantum_metric"),
        comment="Numbers that tasks recorded, for questions about quality.",
        **MARIADB,
        if_not_exists=True,
    )
    op.create_index(
        "ix_quantum_metric_name", "quantum_metric", ["name", "value"], if_not_exists=True
    )
    op.create_table(
        "quantum_input",
        sa.Column("quantum_id", sa.Uuid(), nullable=False, comment="Quantum"),
        sa.Column("dataset_id", sa.Uuid(), nullable=False, comment="What it read"),
        sa.Column(
            "connection",
            sa.String(length=128),
            nullable=False,
            comment="Name of the task's connection",
        ),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_quantum_input_dataset_id"),
        sa.ForeignKeyConstraint(["quantum_id"], ["quantum.id"], name="fk_quantum_input_quantum_id"),
        sa.PrimaryKeyConstraint("quantum_id", "dataset_id", name="pk_quantum_input"),
        comment="Which datasets a quantum read.",
        **MARIADB,
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    op.create_index("ix_quantum_input_dataset", "quantum_input", ["dataset_id"], if_not_exists=True)
    op.create_table(
        "quantum_output",
        sa.Column("dataset_id", sa.Uuid(), nullable=False, comment="What it made"),
        sa.Column("quantum_id", sa.Uuid(), nullable=False, comment="Quantum"),
        sa.Column(
            "connection",
            sa.String(length=128),
            nullable=False,
            comment="Name of the task's connection",
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name="fk_quantum_output_dataset_id"
        ),
        sa.ForeignKeyConstraint(
            ["quantum_id"], ["quantum.id"], name="fk_quantum_output_quantum_id"
        ),
        sa.PrimaryKeyConstraint("dataset_id", name="pk_quantum_output"),
        comment="Which quantum made a dataset; one at most.",
        **MARIADB,
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    op.create_index(
        "ix_quantum_output_quantum", "quantum_output", ["quantum_id"], if_not_exists=True
    )
    op.create_table(
        "repository_input",
        sa.Column(
            "position",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="Place in the search, from 0",
        ),
        sa.Column(
            "repository_id", sa.Uuid(), nullable=False, comment="Identity of the input repository"
        ),
        sa.Column(
            "url", sa.String(length=1024), nullable=False, comment="Where it was when it was added"
        ),
        sa.Column("added_at", UTC, nullable=False, comment="When it was added, UTC"),
        sa.PrimaryKeyConstraint("position", name="pk_repository_input"),
        sa.UniqueConstraint("repository_id", name="uq_repository_input_repository_id"),
        comment="Repositories whose datasets this one reads.",
        **MARIADB,
        if_not_exists=True,
    )


def forbid_overlaps() -> None:
    """Let the database refuse two overlapping validity ranges of one key, by its own means."""
    dialect = op.get_context().dialect.name
    if dialect == "postgresql":
        op.execute(EXCLUSION)
    elif dialect == "sqlite":
        for statement in SQLITE_TRIGGERS:
            op.execute(statement)
    else:
        for statement in MARIADB_PERIOD:
            op.execute(statement)


EXCLUSION = """
ALTER TABLE calibration ADD CONSTRAINT no_overlap_calibration EXCLUDE USING gist (
    int8range(collection_id, collection_id, '[]') WITH =,
    int8range(dataset_type_id, dataset_type_id, '[]') WITH =,
    int8range(data_id, data_id, '[]') WITH =,
    int8range(valid_begin_tai_ns, valid_end_tai_ns) WITH &&)
"""

# Stored ranges of one key never overlap, so the last one that begins before the new end is also
# the one that ends last.
SQLITE_TRIGGERS = tuple(
    f"""
CREATE TRIGGER IF NOT EXISTS no_overlap_calibration_{event.lower()} BEFORE {event} ON calibration
WHEN (
    SELECT c.valid_end_tai_ns FROM calibration AS c
    WHERE c.dataset_type_id = NEW.dataset_type_id AND c.data_id = NEW.data_id
      AND c.collection_id = NEW.collection_id
      AND c.valid_begin_tai_ns < NEW.valid_end_tai_ns {other}
    ORDER BY c.valid_begin_tai_ns DESC LIMIT 1
) > NEW.valid_begin_tai_ns
BEGIN SELECT RAISE(ABORT, 'no_overlap_calibration'); END
"""  # noqa: S608 (made of the literals below only)
    for event, other in (("INSERT", ""), ("UPDATE", "AND c.id <> OLD.id"))
)

# A period of MariaDB takes date-time columns only, and no generated ones: triggers fill them,
# CHECKs hold them equal.
# The defaults are never kept, but INSERT ... SELECT asks for them before the triggers come.
SHADOWS = (("valid_begin_shadow", "valid_begin_tai_ns"), ("valid_end_shadow", "valid_end_tai_ns"))
AS_DATETIME = "TIMESTAMP'1970-01-01 00:00:00.000000' + INTERVAL ({}{} DIV 1000) MICROSECOND"
MARIADB_PERIOD = (
    "ALTER TABLE calibration "
    + ", ".join(
        f"ADD COLUMN IF NOT EXISTS {shadow} DATETIME(6) NOT NULL DEFAULT '1970-01-01' "
        f"COMMENT 'The same as {column} as a date-time, TAI, kept by triggers'"
        for shadow, column in SHADOWS
    ),
    (
        "ALTER TABLE calibration ADD PERIOD IF NOT EXISTS "
        "FOR validity(valid_begin_shadow, valid_end_shadow)"
    ),
    (
        "ALTER TABLE calibration ADD CONSTRAINT no_overlap_calibration UNIQUE KEY IF NOT EXISTS "
        "(collection_id, dataset_type_id, data_id, validity WITHOUT OVERLAPS)"
    ),
    *(
        f"CREATE OR REPLACE TRIGGER no_overlap_calibration_{event.lower()} "
        f"BEFORE {event} ON calibration FOR EACH ROW SET "
        + ", ".join(
            f"NEW.{shadow} = {AS_DATETIME.format('NEW.', column)}" for shadow, column in SHADOWS
        )
        for event in ("INSERT", "UPDATE")
    ),
    *(
        f"ALTER TABLE calibration ADD CONSTRAINT IF NOT EXISTS ck_calibration_{shadow} "
        f"CHECK ({shadow} = {AS_DATETIME.format('', column)})"
        for shadow, column in SHADOWS
    ),
)

TABLES = (
    "instrument",
    "instrument_definition",
    "physical_filter",
    "detector",
    "day_obs",
    "exposure",
    "visit",
    "visit_exposure",
    "visit_detector_region",
    "visit_detector_pixel",
    "skymap",
    "tract",
    "patch",
    "patch_pixel",
    "overlap",
    "collection",
    "collection_chain",
    "repository",
    "dataset_type",
    "data_id",
    "dataset",
    "tagged",
    "calibration",
    "site",
    "endpoint",
    "file",
    "replica",
    "environment",
    "environment_package",
    "config",
    "config_value",
    "task",
    "config_history",
    "quantum",
    "quantum_metric",
    "quantum_input",
    "quantum_output",
    "repository_input",
)
