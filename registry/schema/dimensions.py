"""Which instruments, filters, detectors, nights, exposures, visits and sky patches exist?

Verbs and questions: `registry.dimensions`.  Keys are natural, so that plain SQL reads well.
"""

from __future__ import annotations

import sqlalchemy as sa

from registry.schema.types import Json, LongText, UtcDateTime, table

NAME = sa.String(128)
LABEL = sa.String(255)
CARRIED = "Further facts, as the export of another registry gave them"
STC_S = "The region as text for the Virtual Observatory: POLYGON ICRS ra dec ... [deg]"
CENTER = "of the middle of the region, ICRS [deg]"
DIAMETER = "Diameter of the smallest circle around the region [deg]"

instrument = table(
    "instrument",
    sa.Column("name", NAME, primary_key=True, comment="Unique name of the camera, e.g. OHP-T152"),
    sa.Column(
        "definition_version",
        sa.Integer,
        nullable=False,
        comment="Version of its definition in force",
    ),
    sa.Column("detector_max", sa.Integer, comment="Largest detector number plus one"),
    sa.Column("doc", sa.Text, nullable=False, comment="What the camera is"),
    sa.Column("facility", NAME, comment="Telescope or observatory that it is at"),
    sa.Column("field_of_view_deg", sa.Double, comment="Diameter of its field of view [deg]"),
    sa.Column("extra", Json, comment=CARRIED),
    comment="A camera on a telescope.",
)

instrument_definition = table(
    "instrument_definition",
    sa.Column(
        "instrument",
        NAME,
        sa.ForeignKey("instrument.name"),
        primary_key=True,
        comment="Whose definition",
    ),
    sa.Column(
        "version",
        sa.Integer,
        primary_key=True,
        autoincrement=False,
        comment="1, 2, ... as registered",
    ),
    sa.Column("digest", sa.String(64), nullable=False, comment="SHA-256 of the text, hex"),
    sa.Column("text", LongText, nullable=False, comment="The definition as YAML"),
    sa.Column("registered_at", UtcDateTime, nullable=False, comment="When it was registered, UTC"),
    sa.Column("registered_by", LABEL, nullable=False, comment="Account that registered it"),
    comment="The instrument definitions of this repository with their history.",
)

physical_filter = table(
    "physical_filter",
    sa.Column(
        "instrument", NAME, sa.ForeignKey("instrument.name"), primary_key=True, comment="Its camera"
    ),
    sa.Column("name", NAME, primary_key=True, comment="Name of the filter at the camera"),
    sa.Column("band", NAME, comment="Common name of the passband, e.g. g"),
    sa.Column("wavelength_min_m", sa.Double, comment="Blue end of the passband, in vacuum [m]"),
    sa.Column("wavelength_max_m", sa.Double, comment="Red end of the passband, in vacuum [m]"),
    comment="A filter of a camera.",
)

detector = table(
    "detector",
    sa.Column(
        "instrument", NAME, sa.ForeignKey("instrument.name"), primary_key=True, comment="Its camera"
    ),
    sa.Column(
        "id", sa.Integer, primary_key=True, autoincrement=False, comment="Number of the detector"
    ),
    sa.Column("full_name", LABEL, nullable=False, comment="Name of the detector, e.g. R22_S00"),
    sa.Column("purpose", LABEL, nullable=False, comment="science, guide, focus, ..."),
    sa.Column("raft", LABEL, comment="Group of detectors that it sits in"),
    sa.Column("nrows", sa.Integer, comment="Rows of a raw frame [pixel]"),
    sa.Column("ncols", sa.Integer, comment="Columns of a raw frame [pixel]"),
    sa.Column("extra", Json, comment=CARRIED),
    sa.UniqueConstraint("instrument", "full_name"),
    comment="A detector of a camera.",
)

day_obs = table(
    "day_obs",
    sa.Column(
        "instrument",
        NAME,
        sa.ForeignKey("instrument.name"),
        primary_key=True,
        comment="Whose night",
    ),
    sa.Column(
        "id",
        sa.Integer,
        primary_key=True,
        autoincrement=False,
        comment="Night as YYYYMMDD of its evening",
    ),
    sa.Column(
        "begin_tai_ns", sa.BigInteger, nullable=False, comment="Noon before, TAI ns since 1970"
    ),
    sa.Column(
        "end_tai_ns",
        sa.BigInteger,
        nullable=False,
        comment="Noon after (excluded), TAI ns since 1970",
    ),
    sa.Column("extra", Json, comment=CARRIED),
    sa.CheckConstraint("begin_tai_ns < end_tai_ns", name="range"),
    comment="An observing night, noon to noon at the site.",
)

exposure = table(
    "exposure",
    sa.Column(
        "instrument", NAME, sa.ForeignKey("instrument.name"), primary_key=True, comment="Its camera"
    ),
    sa.Column(
        "id", sa.BigInteger, primary_key=True, autoincrement=False, comment="Number of the exposure"
    ),
    sa.Column(
        "obs_id", LABEL, nullable=False, comment="Observation identifier given at the telescope"
    ),
    sa.Column("day_obs", sa.Integer, nullable=False, comment="Night, YYYYMMDD"),
    sa.Column("physical_filter", NAME, comment="Filter in the beam, if any"),
    sa.Column(
        "observation_type", LABEL, nullable=False, comment="bias, dark, flat, arc, science, ..."
    ),
    sa.Column("observation_reason", LABEL, comment="Why it was taken"),
    sa.Column("target_name", LABEL, comment="Name of the target as observed"),
    sa.Column("science_program", LABEL, comment="Programme that it belongs to"),
    sa.Column("seq_num", sa.Integer, comment="Running number within the night"),
    sa.Column("exposure_time", sa.Double, comment="Time with the shutter open [s]"),
    sa.Column("dark_time", sa.Double, comment="Time in which dark current gathered [s]"),
    sa.Column("begin_tai_ns", sa.BigInteger, nullable=False, comment="Begin, TAI ns since 1970"),
    sa.Column(
        "end_tai_ns", sa.BigInteger, nullable=False, comment="End (excluded), TAI ns since 1970"
    ),
    sa.Column("ra", sa.Double, comment="Right ascension of the pointing, ICRS [deg]"),
    sa.Column("dec", sa.Double, comment="Declination of the pointing, ICRS [deg]"),
    sa.Column("airmass", sa.Double, comment="Air mass at the begin"),
    sa.Column(
        "quality", sa.String(16), nullable=False, comment="good, or rejected by the observers"
    ),
    sa.Column("extra", Json, comment="Further facts that the instrument definition declares"),
    sa.ForeignKeyConstraint(["instrument", "day_obs"], ["day_obs.instrument", "day_obs.id"]),
    sa.ForeignKeyConstraint(
        ["instrument", "physical_filter"], ["physical_filter.instrument", "physical_filter.name"]
    ),
    sa.CheckConstraint("begin_tai_ns <= end_tai_ns", name="range"),
    sa.CheckConstraint("quality IN ('good', 'rejected')", name="quality"),
    comment="One read-out of a camera.",
)
sa.Index(
    "ix_exposure_night", exposure.c.instrument, exposure.c.day_obs, exposure.c.observation_type
)
sa.Index("ix_exposure_time", exposure.c.instrument, exposure.c.begin_tai_ns)
sa.Index("ix_exposure_sky", exposure.c.dec, exposure.c.ra)

visit = table(
    "visit",
    sa.Column(
        "instrument", NAME, sa.ForeignKey("instrument.name"), primary_key=True, comment="Its camera"
    ),
    sa.Column(
        "id", sa.BigInteger, primary_key=True, autoincrement=False, comment="Number of the visit"
    ),
    sa.Column("name", LABEL, nullable=False, comment="Name of the visit"),
    sa.Column("day_obs", sa.Integer, nullable=False, comment="Night, YYYYMMDD"),
    sa.Column("physical_filter", NAME, comment="Filter in the beam"),
    sa.Column("target_name", LABEL, comment="Name of the target as observed"),
    sa.Column("exposure_time", sa.Double, comment="Sum over its exposures [s]"),
    sa.Column(
        "begin_tai_ns",
        sa.BigInteger,
        nullable=False,
        comment="Begin of the first, TAI ns since 1970",
    ),
    sa.Column(
        "end_tai_ns", sa.BigInteger, nullable=False, comment="End of the last, TAI ns since 1970"
    ),
    sa.Column("ra", sa.Double, comment="Right ascension of the pointing, ICRS [deg]"),
    sa.Column("dec", sa.Double, comment="Declination of the pointing, ICRS [deg]"),
    sa.Column(
        "region", sa.LargeBinary, comment="Sky region, if known as a whole; lsst.sphgeom, ICRS"
    ),
    sa.Column("extra", Json, comment=CARRIED),
    sa.ForeignKeyConstraint(["instrument", "day_obs"], ["day_obs.instrument", "day_obs.id"]),
    sa.ForeignKeyConstraint(
        ["instrument", "physical_filter"], ["physical_filter.instrument", "physical_filter.name"]
    ),
    sa.CheckConstraint("begin_tai_ns <= end_tai_ns", name="range"),
    comment="Exposures of one pointing that are processed together.",
)

visit_pixel = table(
    "visit_pixel",
    sa.Column("instrument", NAME, primary_key=True, comment="Camera"),
    sa.Column("visit", sa.BigInteger, primary_key=True, autoincrement=False, comment="The visit"),
    sa.Column(
        "pixel_begin",
        sa.BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="First HEALPix pixel, nested, order 10",
    ),
    sa.Column("pixel_end", sa.BigInteger, nullable=False, comment="Last HEALPix pixel plus one"),
    sa.ForeignKeyConstraint(["instrument", "visit"], ["visit.instrument", "visit.id"]),
    comment="HEALPix pixel ranges that cover the region of a visit.",
)
sa.Index("ix_visit_pixel_range", visit_pixel.c.pixel_begin, visit_pixel.c.pixel_end)

visit_exposure = table(
    "visit_exposure",
    sa.Column("instrument", NAME, primary_key=True, comment="Camera"),
    sa.Column("visit", sa.BigInteger, primary_key=True, autoincrement=False, comment="The visit"),
    sa.Column(
        "exposure",
        sa.BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="One of its exposures",
    ),
    sa.ForeignKeyConstraint(["instrument", "visit"], ["visit.instrument", "visit.id"]),
    sa.ForeignKeyConstraint(["instrument", "exposure"], ["exposure.instrument", "exposure.id"]),
    comment="Which exposures make a visit.",
)
sa.Index("ix_visit_exposure_exposure", visit_exposure.c.instrument, visit_exposure.c.exposure)

visit_detector_region = table(
    "visit_detector_region",
    sa.Column("instrument", NAME, primary_key=True, comment="Camera"),
    sa.Column("visit", sa.BigInteger, primary_key=True, autoincrement=False, comment="The visit"),
    sa.Column(
        "detector", sa.Integer, primary_key=True, autoincrement=False, comment="The detector"
    ),
    sa.Column(
        "region", sa.LargeBinary, nullable=False, comment="Sky region, lsst.sphgeom encoding, ICRS"
    ),
    sa.Column("stc_s", sa.Text, comment=STC_S),
    sa.Column("center_ra", sa.Double, comment=f"Right ascension {CENTER}"),
    sa.Column("center_dec", sa.Double, comment=f"Declination {CENTER}"),
    sa.Column("diameter_deg", sa.Double, comment=DIAMETER),
    sa.ForeignKeyConstraint(["instrument", "visit"], ["visit.instrument", "visit.id"]),
    sa.ForeignKeyConstraint(["instrument", "detector"], ["detector.instrument", "detector.id"]),
    comment="The part of the sky that a detector saw in a visit.",
)

visit_detector_pixel = table(
    "visit_detector_pixel",
    sa.Column("instrument", NAME, primary_key=True, comment="Camera"),
    sa.Column("visit", sa.BigInteger, primary_key=True, autoincrement=False, comment="The visit"),
    sa.Column(
        "detector", sa.Integer, primary_key=True, autoincrement=False, comment="The detector"
    ),
    sa.Column(
        "pixel_begin",
        sa.BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="First HEALPix pixel, nested, order 10",
    ),
    sa.Column("pixel_end", sa.BigInteger, nullable=False, comment="Last HEALPix pixel plus one"),
    sa.ForeignKeyConstraint(
        ["instrument", "visit", "detector"],
        [
            "visit_detector_region.instrument",
            "visit_detector_region.visit",
            "visit_detector_region.detector",
        ],
        name="fk_visit_detector_pixel_region",
    ),
    comment="HEALPix pixel ranges that cover a visit-detector region.",
)
sa.Index(
    "ix_visit_detector_pixel_range",
    visit_detector_pixel.c.pixel_begin,
    visit_detector_pixel.c.pixel_end,
)

exposure_detector_region = table(
    "exposure_detector_region",
    sa.Column("instrument", NAME, primary_key=True, comment="Camera"),
    sa.Column(
        "exposure", sa.BigInteger, primary_key=True, autoincrement=False, comment="The exposure"
    ),
    sa.Column(
        "detector", sa.Integer, primary_key=True, autoincrement=False, comment="The detector"
    ),
    sa.Column(
        "region", sa.LargeBinary, nullable=False, comment="Sky region, lsst.sphgeom encoding, ICRS"
    ),
    sa.ForeignKeyConstraint(["instrument", "exposure"], ["exposure.instrument", "exposure.id"]),
    sa.ForeignKeyConstraint(["instrument", "detector"], ["detector.instrument", "detector.id"]),
    comment="The part of the sky that a detector saw in an exposure; visits are made of them.",
)

skymap = table(
    "skymap",
    sa.Column("name", NAME, primary_key=True, comment="Name of the tessellation"),
    sa.Column("definition", Json, nullable=False, comment="Tracts and patches as declared"),
    comment="A division of the sky into tracts and patches.",
)

tract = table(
    "tract",
    sa.Column(
        "skymap", NAME, sa.ForeignKey("skymap.name"), primary_key=True, comment="Its tessellation"
    ),
    sa.Column(
        "id", sa.Integer, primary_key=True, autoincrement=False, comment="Number of the tract"
    ),
    sa.Column(
        "region", sa.LargeBinary, nullable=False, comment="Sky region, lsst.sphgeom encoding, ICRS"
    ),
    comment="A piece of sky with one projection.",
)

tract_pixel = table(
    "tract_pixel",
    sa.Column("skymap", NAME, primary_key=True, comment="Tessellation"),
    sa.Column("tract", sa.Integer, primary_key=True, autoincrement=False, comment="The tract"),
    sa.Column(
        "pixel_begin",
        sa.BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="First HEALPix pixel, nested, order 10",
    ),
    sa.Column("pixel_end", sa.BigInteger, nullable=False, comment="Last HEALPix pixel plus one"),
    sa.ForeignKeyConstraint(["skymap", "tract"], ["tract.skymap", "tract.id"]),
    comment="HEALPix pixel ranges that cover a tract.",
)
sa.Index("ix_tract_pixel_range", tract_pixel.c.pixel_begin, tract_pixel.c.pixel_end)

patch = table(
    "patch",
    sa.Column("skymap", NAME, primary_key=True, comment="Its tessellation"),
    sa.Column("tract", sa.Integer, primary_key=True, autoincrement=False, comment="Its tract"),
    sa.Column(
        "id",
        sa.Integer,
        primary_key=True,
        autoincrement=False,
        comment="Number of the patch in its tract",
    ),
    sa.Column(
        "region", sa.LargeBinary, nullable=False, comment="Sky region, lsst.sphgeom encoding, ICRS"
    ),
    sa.Column("stc_s", sa.Text, comment=STC_S),
    sa.Column("center_ra", sa.Double, comment=f"Right ascension {CENTER}"),
    sa.Column("center_dec", sa.Double, comment=f"Declination {CENTER}"),
    sa.Column("diameter_deg", sa.Double, comment=DIAMETER),
    sa.Column(
        "wcs", Json, nullable=False, comment="FITS WCS cards and shape of the patch's pixel grid"
    ),
    sa.Column("extra", Json, comment=CARRIED),
    sa.ForeignKeyConstraint(["skymap", "tract"], ["tract.skymap", "tract.id"]),
    comment="A part of a tract, the size of one coadd.",
)

patch_pixel = table(
    "patch_pixel",
    sa.Column("skymap", NAME, primary_key=True, comment="Tessellation"),
    sa.Column("tract", sa.Integer, primary_key=True, autoincrement=False, comment="Tract"),
    sa.Column("patch", sa.Integer, primary_key=True, autoincrement=False, comment="Patch"),
    sa.Column(
        "pixel_begin",
        sa.BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="First HEALPix pixel, nested, order 10",
    ),
    sa.Column("pixel_end", sa.BigInteger, nullable=False, comment="Last HEALPix pixel plus one"),
    sa.ForeignKeyConstraint(
        ["skymap", "tract", "patch"],
        ["patch.skymap", "patch.tract", "patch.id"],
        name="fk_patch_pixel_patch",
    ),
    comment="HEALPix pixel ranges that cover a patch.",
)
sa.Index("ix_patch_pixel_range", patch_pixel.c.pixel_begin, patch_pixel.c.pixel_end)

overlap = table(
    "overlap",
    sa.Column("instrument", NAME, primary_key=True, comment="Camera"),
    sa.Column("visit", sa.BigInteger, primary_key=True, autoincrement=False, comment="Visit"),
    sa.Column("detector", sa.Integer, primary_key=True, autoincrement=False, comment="Detector"),
    sa.Column("skymap", NAME, primary_key=True, comment="Tessellation"),
    sa.Column("tract", sa.Integer, primary_key=True, autoincrement=False, comment="Tract"),
    sa.Column("patch", sa.Integer, primary_key=True, autoincrement=False, comment="Patch"),
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
    comment="Which visit-detector regions touch which patches, computed when either is inserted.",
)
sa.Index("ix_overlap_patch", overlap.c.skymap, overlap.c.tract, overlap.c.patch)

carried_record = table(
    "carried_record",
    sa.Column("element", NAME, primary_key=True, comment="Dimension element, e.g. visit_system"),
    sa.Column(
        "record_key",
        sa.String(255),
        primary_key=True,
        comment="Its key values as a JSON list, in the element's order",
    ),
    sa.Column("record", Json, nullable=False, comment="The record as the export gave it"),
    comment="Records of elements that have no table here, kept for registries that have one.",
)
