"""A small table of exposures, and what the names of an expression mean over it."""

from __future__ import annotations

import datetime
import uuid
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.errors import UnknownName
from registry.expressions import Resolver, compile_where
from registry.schema.types import MARIADB_OPTIONS, UtcDateTime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lsst.sphgeom import Region

metadata = sa.MetaData()
OPTIONS: dict[str, Any] = MARIADB_OPTIONS
exposure = sa.Table(
    "exposure",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("detector", sa.Integer),
    sa.Column("band", sa.String(16)),
    sa.Column("target", sa.String(64)),
    sa.Column("exposure_time", sa.Double),
    sa.Column("airmass", sa.Double),
    sa.Column("begin_tai_ns", sa.BigInteger),
    sa.Column("end_tai_ns", sa.BigInteger),
    sa.Column("good", sa.Boolean),
    sa.Column("dataset_id", sa.Uuid),
    sa.Column("ingest_date", UtcDateTime),
    sa.Column("region", sa.LargeBinary),
    **OPTIONS,
)

SECOND = 1_000_000_000
EPOCH = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
EPOCH_NS = 1_577_836_800 * SECOND  # 2020-01-01T00:00:00 TAI
LEAP_SECONDS = 37 * SECOND  # TAI - UTC since 2017

TARGETS = (
    "M31", "m31", "M 31", "M31 ", "it's", "raw_1", "rawx1", "raw%1", "50%", "[a]", "]a", "a-b",
    "a^b", "é", "e", "Ω", "z", "Z", "🔭", "", "|", "a\\b", "*", "?", "line\nbreak", "-1", "%s",
    ":x",
)  # fmt: skip


EXPOSURE_TIMES = (0.0, 0.1, 0.5, 30.0, 2.5, 1e-3, 300.0)


def rows() -> list[dict[str, Any]]:
    """Make forty rows with every kind of gap."""
    made = []
    for i in range(40):
        begin = EPOCH_NS + i * 60 * SECOND
        made.append(
            {
                "id": i + 1 if i % 9 else (i + 1) * 1000,
                "detector": None if i % 7 == 3 else i % 5 - 1,
                "band": None if i % 11 == 5 else "ugrizY"[i % 6],
                "target": None if i % 13 == 7 else TARGETS[i % len(TARGETS)],
                "exposure_time": None if i % 8 == 6 else EXPOSURE_TIMES[i % 7],
                "airmass": None if i % 5 == 4 else 1 + i / 8,
                "begin_tai_ns": None if i == 17 else begin,
                "end_tai_ns": None if i in (17, 23) else begin + (i % 4) * 45 * SECOND,
                "good": (True, False, None)[i % 3],
                "dataset_id": uuid.UUID(int=i + 2**100),
                "ingest_date": EPOCH + datetime.timedelta(hours=i, microseconds=i),
                "region": None,
            }
        )
    return made


NAMES: dict[str, sa.ColumnElement[Any]] = {
    "exposure": exposure.c.id,
    "detector": exposure.c.detector,
    "band": exposure.c.band,
    "dataset_id": exposure.c.dataset_id,
    "ingest_date": exposure.c.ingest_date,
    "exposure.target": exposure.c.target,
    "exposure.exposure_time": exposure.c.exposure_time,
    "exposure.airmass": exposure.c.airmass,
    "exposure.begin_tai_ns": exposure.c.begin_tai_ns,
    "exposure.end_tai_ns": exposure.c.end_tai_ns,
    "exposure.good": exposure.c.good,
    "exposure.region": exposure.c.region,
}


class Exposures(Resolver):
    """Names over the table; remembers what was asked."""

    def __init__(self, values: Mapping[str, Sequence[str]] | None = None) -> None:
        self.asked: list[tuple[str, int]] = []
        self.existing = values or {}

    def column(self, name: str, position: int) -> sa.ColumnElement[Any]:
        self.asked.append((name, position))
        if name not in NAMES:
            raise UnknownName(name)
        return NAMES[name]

    def known_names(self) -> Sequence[str]:
        return sorted(NAMES)

    def values(self, name: str) -> Sequence[str] | None:
        return self.existing.get(name)


class WithRegions(Exposures):
    """The same for a query that can compare the regions of visits."""

    def __init__(self) -> None:
        super().__init__()
        self.compared: list[tuple[str, Region | str, int]] = []

    def region_overlaps(
        self, name: str, other: Region | str, position: int
    ) -> sa.ColumnElement[bool] | None:
        self.compared.append((name, other, position))
        return exposure.c.id == 2 if name.partition(".")[0] in ("visit", "exposure") else None


def ids(
    connection: sa.Connection,
    text: str,
    bind: Mapping[str, object] | None = None,
    *,
    negated: bool = False,
) -> set[int]:
    """Ask the database which exposures an expression means."""
    condition = compile_where(text, Exposures(), bind)
    query = sa.select(exposure.c.id).where(sa.not_(condition) if negated else condition)
    return set(connection.execute(query).scalars())
