"""Which column types does the schema use, and how do they look on each database?

Only the dialect differences of *types and generated expressions* are here; those of statements and
transactions are in `registry.database`.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles

__all__ = [
    "MARIADB_OPTIONS",
    "BigId",
    "IdentityKey",
    "Json",
    "LongBinary",
    "LongText",
    "SmallId",
    "UtcDateTime",
    "metadata",
    "table",
]

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = sa.MetaData(naming_convention=NAMING)
"""Every table of the registry; Alembic compares the databases with it."""

MARIADB_OPTIONS = {
    "mariadb_engine": "InnoDB",
    "mariadb_default_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}
"""Names are compared byte by byte, with trailing blanks, as the other two databases do."""

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A generated key that may exceed 32 bits."""

SmallId = sa.Integer()

Json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""A document that is only ever read whole or by key."""

LongBinary = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")

LongText = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


class UtcDateTime(sa.TypeDecorator[dt.datetime]):
    """An aware UTC time to the microsecond, for bookkeeping; astronomical times are TAI ns."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        """Take microseconds, which MariaDB keeps only when asked."""
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(
        self, value: dt.datetime | None, dialect: sa.Dialect
    ) -> dt.datetime | None:
        """Send UTC; without a time zone where the database knows none."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A bookkeeping time must be aware: use datetime.now(UTC).")
        value = value.astimezone(dt.UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(
        self, value: dt.datetime | None, dialect: sa.Dialect
    ) -> dt.datetime | None:
        """Give an aware time in UTC."""
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            return value.replace(tzinfo=dt.UTC)
        return value.astimezone(dt.UTC)


def table(name: str, *args: Any, comment: str, **options: Any) -> sa.Table:
    """Declare a table of the registry with the options that every table has."""
    everywhere: dict[str, Any] = {**MARIADB_OPTIONS, **options}
    return sa.Table(name, metadata, *args, comment=comment, **everywhere)


class IdentityKey(sa.sql.expression.ColumnElement[str]):
    """The text that makes a data ID unique.

    It holds a letter and the value of each key that is present, then the extra JSON.

    One nullable column per dimension cannot carry a unique constraint (NULLs differ from each
    other), so the database generates this text and holds it unique.
    """

    inherit_cache = True
    type = sa.String(767)

    parts = (
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


@compiles(IdentityKey)
def _concatenated_with_bars(element: IdentityKey, _compiler: Any, **_: Any) -> str:
    terms = [
        f"coalesce('{letter}' || CAST({column} AS TEXT) || '|', '')"
        for letter, column in element.parts
    ]
    return " || ".join([*terms, "coalesce(CAST(extra AS TEXT), '')"])


@compiles(IdentityKey, "sqlite")
def _printed(element: IdentityKey, _compiler: Any, **_: Any) -> str:
    """Write it as what SQLite computes in half of the time; NULL is printed as nothing."""
    terms = [f"'{letter}' || {column} || '|'" for letter, column in element.parts]
    return f"printf('{'%s' * (len(terms) + 1)}', {', '.join(terms)}, extra)"


@compiles(IdentityKey, "mysql", "mariadb")
def _concatenated_by_function(element: IdentityKey, _compiler: Any, **_: Any) -> str:
    terms = [f"coalesce(concat('{letter}', {column}, '|'), '')" for letter, column in element.parts]
    return (
        f"concat({', '.join([*terms, chr(39) * 2])}, coalesce(extra COLLATE utf8mb4_nopad_bin, ''))"
    )
