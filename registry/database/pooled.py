"""Is there a pool before PostgreSQL that gives each transaction another connection of the server?

PgBouncer with ``pool_mode=transaction`` does so, and its like.  What a session is told by ``SET``
or ``PREPARE`` then stays with a connection of the server that somebody else is given next: one
reader would have all writers refused.  Behind a pool, what a transaction needs is said within it,
statements are not prepared, and each question is a transaction, which the server itself keeps from
changing anything when the client only reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["answers", "begin_in_pool", "is_pooled", "look_for_pool"]

_POOLED = "behind a pool"
_COMPILES = "compiles statements"


def look_for_pool(connection: Any, record: Any, *, writeable: bool) -> bool:
    """Tell whether a new connection leads to a pool, and prepare it for one.

    A pool tells its clients a number of its own for the process that serves them.

    Parameters
    ----------
    connection : psycopg2 connection
        On which nothing was done yet.
    record : sqlalchemy.pool.ConnectionPoolEntry
        Keeps the answer.
    writeable : bool
        Otherwise each transaction is begun as one that only reads.
    """
    cursor = connection.cursor()
    cursor.execute(
        "SELECT pg_backend_pid(), reset_val = 'on' FROM pg_catalog.pg_settings WHERE name = 'jit'"
    )
    served_by, record.info[_COMPILES] = cursor.fetchone()
    cursor.close()
    connection.rollback()
    pooled = served_by != connection.info.backend_pid
    record.info[_POOLED] = pooled
    if pooled:  # psycopg2 says it with each BEGIN
        connection.set_session(isolation_level="READ COMMITTED", readonly=not writeable)
    return bool(pooled)


def is_pooled(record: Any) -> bool:
    """Tell what was found out about a connection of SQLAlchemy, or about its record."""
    return bool(record.info.get(_POOLED))


def begin_in_pool(connection: Any, info: Mapping[str, Any]) -> None:
    """Say for one transaction what is said once to a connection that stays."""
    if info.get(_COMPILES):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL jit = off")


def answers(connection: Any) -> bool:
    """Ask a connection of psycopg2 that was idle whether the pool and its server are there."""
    cursor = connection.cursor()
    cursor.execute("SELECT 1")
    cursor.close()
    connection.rollback()
    return True
