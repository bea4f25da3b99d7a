"""When does a database need new statistics of its tables, and how does it get them?

A planner that takes a table for empty goes through all of it for each row of another one.  Who
loads thousands of rows therefore says so (`analyze_outgrown`): what has grown by a fifth is looked
at anew, and a thousand more rows of a table of millions change nothing and cost nothing.  Who fills
tables and joins them in the same transaction asks for what it has filled (`analyze_grown`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["STALE", "analyze", "analyze_grown", "analyze_outgrown", "analyze_stale"]

STALE = "tables whose statistics are stale"
"""What a connection has put off; see `analyze_stale`."""
_GROWN = 500
_FACTOR = 1.2
"""By which a table has grown when its statistics are taken for old."""
_ANALYSED_ROWS = 100_000
"""SQLite looks at about so many rows of an index, in 40 ms, whatever the size of the table.

It takes what it saw for the whole: with 1,000, a run of two million datasets counts as 1,000, and
is read from end to end where a few steps into another index would do.
"""


def analyze(connection: sa.Connection, *tables: sa.Table) -> None:
    """Refresh the planner's statistics of tables.

    On MariaDB, where that ends a transaction, it is done after the commit.  On PostgreSQL it locks
    the tables against others that do the same until the transaction ends; where somebody does, it
    is left to them and to autovacuum, or two that load at the same time would wait for each other.
    """
    preparer = connection.dialect.identifier_preparer
    names = [preparer.format_table(t) for t in tables]
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ANALYZE (SKIP_LOCKED) {', '.join(names)}")
    elif connection.dialect.name != "sqlite":
        connection.info.setdefault(STALE, set()).update(names)
    else:
        connection.exec_driver_sql(f"PRAGMA analysis_limit = {_ANALYSED_ROWS}")
        for name in names:
            connection.exec_driver_sql(f"ANALYZE {name}")


def analyze_grown(connection: sa.Connection, table: sa.Table, n_new: int) -> None:
    """Refresh the planner's statistics of a table after so many new rows, if they are many.

    Within a transaction that fills tables and joins them: a planner that takes them for empty goes
    through all rows of one for each row of another.
    """
    if n_new >= _GROWN:
        analyze(connection, table)


def analyze_outgrown(
    connection: sa.Connection, *tables: sa.Table, n_new: int | None = None
) -> None:
    """Refresh the statistics of those tables that have outgrown them.

    Parameters
    ----------
    n_new : int, optional
        How many rows were inserted into each; not known by default.
    """
    grown = [t for t in tables if _has_grown(connection, t, n_new)]
    if grown:
        analyze(connection, *grown)


def analyze_stale(connection: sa.Connection) -> None:
    """Refresh the statistics that `analyze` put off until the transaction is committed."""
    names: Iterable[str] | None = connection.info.pop(STALE, None)
    if names:
        listed = ", ".join(sorted(names))
        connection.exec_driver_sql(f"ANALYZE NO_WRITE_TO_BINLOG TABLE {listed}").close()


_PAGES = sa.text(
    "SELECT relpages <= 0 OR pg_relation_size(oid)"
    " > :factor * relpages * CAST(current_setting('block_size') AS integer)"
    " FROM pg_class WHERE oid = CAST(:name AS regclass)"
)
_ROWS = sa.text(
    "SELECT table_rows FROM information_schema.tables"
    " WHERE table_schema = database() AND table_name = :name"
)
_ANY = sa.text("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'")
_SEEN = sa.text("SELECT max(CAST(stat AS INTEGER)) FROM sqlite_stat1 WHERE tbl = :name")


def _has_grown(connection: sa.Connection, table: sa.Table, n_new: int | None) -> bool:
    """Tell whether a table is much larger than when its statistics were made.

    PostgreSQL tells by its pages, SQLite by the number of its last row; a table without such
    numbers is looked at each time, which takes it no longer when it is large.  On MariaDB the rows
    that came are compared with those that were there; it looks by itself at what grows by steps.
    """
    if connection.dialect.name == "postgresql":
        name = connection.dialect.identifier_preparer.format_table(table)
        return bool(connection.execute(_PAGES, {"factor": _FACTOR, "name": name}).scalar())
    if connection.dialect.name != "sqlite":
        there = connection.execute(_ROWS, {"name": table.name}).scalar()
        return n_new is None or there is None or n_new >= (1 - 1 / _FACTOR) * there
    numbered = table.dialect_options["sqlite"]["with_rowid"]
    if not numbered or connection.execute(_ANY).first() is None:
        return True
    seen = connection.execute(_SEEN, {"name": table.name}).scalar()
    last: sa.Select[Any] = sa.select(sa.func.max(sa.literal_column("rowid"))).select_from(table)
    return int(connection.execute(last).scalar() or 0) > _FACTOR * int(seen or 0)
