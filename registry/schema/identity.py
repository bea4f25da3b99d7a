"""Which datasets exist, of which type, with which data ID, in which run?

Verbs and questions: `registry.datasets`.  The dataset row stays narrow: what many dataset types
share, the data ID, is one row of `data_id`.  What refers to a dataset, a file or a quantum does so
ON DELETE RESTRICT: to see that nothing does, PostgreSQL then asks each table once for each row that
goes, and twice without that word.
"""

from __future__ import annotations

import sqlalchemy as sa

from registry.schema.dimensions import NAME
from registry.schema.types import BigId, IdentityKey, SmallId, UtcDateTime, table

repository = table(
    "repository",
    sa.Column(
        "one",
        SmallId,
        primary_key=True,
        autoincrement=False,
        comment="Always 1: a database is one repository",
    ),
    sa.Column(
        "id",
        sa.Uuid,
        nullable=False,
        unique=True,
        comment="Global identity of the repository (UUIDv7)",
    ),
    sa.Column("created_at", UtcDateTime, nullable=False, comment="When it was made, UTC"),
    sa.CheckConstraint("one = 1", name="single"),
    comment="The identity of this repository.",
)

dataset_type = table(
    "dataset_type",
    sa.Column("id", SmallId, primary_key=True, comment="Key"),
    sa.Column("name", NAME, nullable=False, unique=True, comment="Name, e.g. calexp"),
    sa.Column(
        "dimensions",
        sa.String(512),
        nullable=False,
        comment="Keys of its data IDs, comma separated, in order",
    ),
    sa.Column(
        "storage_class", NAME, nullable=False, comment="Python type that a get returns, by its name"
    ),
    sa.Column(
        "is_calibration",
        sa.Boolean,
        nullable=False,
        comment="May be certified with a validity range",
    ),
    sa.Column("created_at", UtcDateTime, nullable=False, comment="When it was registered, UTC"),
    comment="A kind of dataset.",
)

data_id = table(
    "data_id",
    sa.Column("id", BigId, primary_key=True, comment="Key"),
    sa.Column("instrument", NAME, sa.ForeignKey("instrument.name"), comment="Camera"),
    sa.Column("detector", sa.Integer, comment="Detector number"),
    sa.Column("physical_filter", NAME, comment="Filter"),
    sa.Column("band", NAME, comment="Common name of the passband"),
    sa.Column("exposure", sa.BigInteger, comment="Exposure number"),
    sa.Column("visit", sa.BigInteger, comment="Visit number"),
    sa.Column("day_obs", sa.Integer, comment="Night, YYYYMMDD"),
    sa.Column("skymap", NAME, sa.ForeignKey("skymap.name"), comment="Tessellation"),
    sa.Column("tract", sa.Integer, comment="Tract"),
    sa.Column("patch", sa.Integer, comment="Patch"),
    sa.Column(
        "healpix",
        sa.BigInteger,
        comment="HEALPix pixel, nested, at the order that the dataset type says",
    ),
    sa.Column(
        "extra",
        sa.JSON(none_as_null=True),
        comment="Keys that an instrument definition declares beyond these, canonical JSON",
    ),
    sa.Column(
        "identity_key",
        sa.String(767),
        sa.Computed(IdentityKey()),
        nullable=True,
        comment="All of the above in one text, by which a data ID is unique",
    ),
    sa.UniqueConstraint("identity_key", name="uq_data_id_identity_key"),
    sa.ForeignKeyConstraint(["instrument", "detector"], ["detector.instrument", "detector.id"]),
    sa.ForeignKeyConstraint(
        ["instrument", "physical_filter"], ["physical_filter.instrument", "physical_filter.name"]
    ),
    sa.ForeignKeyConstraint(["instrument", "exposure"], ["exposure.instrument", "exposure.id"]),
    sa.ForeignKeyConstraint(["instrument", "visit"], ["visit.instrument", "visit.id"]),
    sa.ForeignKeyConstraint(["instrument", "day_obs"], ["day_obs.instrument", "day_obs.id"]),
    sa.ForeignKeyConstraint(["skymap", "tract"], ["tract.skymap", "tract.id"]),
    sa.ForeignKeyConstraint(
        ["skymap", "tract", "patch"], ["patch.skymap", "patch.tract", "patch.id"]
    ),
    comment="A distinct set of key/value pairs.",
)
sa.Index("ix_data_id_exposure", data_id.c.instrument, data_id.c.exposure, data_id.c.detector)
# what is there of a visit; raw frames, which are most, have none
sa.Index(
    "ix_data_id_visit",
    data_id.c.instrument,
    data_id.c.visit,
    data_id.c.detector,
    postgresql_where=data_id.c.visit.is_not(None),
    sqlite_where=data_id.c.visit.is_not(None),
)
# what is there of a patch; frames, which are most, have none
sa.Index(
    "ix_data_id_sky",
    data_id.c.skymap,
    data_id.c.tract,
    data_id.c.patch,
    data_id.c.band,
    postgresql_where=data_id.c.skymap.is_not(None),
    sqlite_where=data_id.c.skymap.is_not(None),
)

data_id_key = table(
    "data_id_key",
    sa.Column("name", NAME, primary_key=True, comment="Key beyond the dimensions, e.g. target"),
    sa.Column(
        "kind",
        sa.String(8),
        nullable=False,
        comment="Type of its values, by which they are compared and sorted: str or int",
    ),
    sa.CheckConstraint("kind IN ('str', 'int')", name="kind"),
    comment="The keys of data IDs that have no column of their own.",
)

dataset = table(
    "dataset",
    sa.Column("id", sa.Uuid, primary_key=True, comment="Global identity (UUIDv7)"),
    sa.Column(
        "dataset_type_id",
        SmallId,
        sa.ForeignKey("dataset_type.id"),
        nullable=False,
        comment="Its type",
    ),
    sa.Column(
        "run_id",
        SmallId,
        sa.ForeignKey("collection.id"),
        nullable=False,
        comment="Its RUN collection",
    ),
    sa.Column("data_id", BigId, sa.ForeignKey("data_id.id"), nullable=False, comment="Its data ID"),
    sa.Column(
        "ingest_date_tai_ns",
        sa.BigInteger,
        nullable=False,
        comment="When it was registered, TAI ns",
    ),
    sa.UniqueConstraint("run_id", "dataset_type_id", "data_id", name="uq_dataset_identity"),
    comment="A dataset: one type, one run, one data ID.",
    sqlite_with_rowid=False,
)
# what there is of a data ID; and what a tag refers to: a dataset with its data ID and its type
sa.Index(
    "uq_dataset_data_id", dataset.c.data_id, dataset.c.dataset_type_id, dataset.c.id, unique=True
)
