"""Which statements has this process compiled, for a database of the same kind?

SQLAlchemy keeps what it has compiled with each engine: who opens a repository again, or several at
once, would wait for the same texts again.  Here all engines of one driver and one version of the
server share them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.util import LRUCache

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["COMPILED", "Compiled", "variety"]


def variety(dialect: sa.Dialect) -> tuple[Any, ...]:
    """Tell all of a database and its settings by which SQLAlchemy writes statements otherwise."""
    return (
        type(dialect),
        dialect.server_version_info,
        dialect.paramstyle,
        getattr(dialect, "_backslash_escapes", None),
        getattr(dialect, "_sql_mode", None),
    )


class Compiled(LRUCache[Any, Any]):
    """What SQLAlchemy takes as ``compiled_cache``, by kind of database instead of by engine."""

    def get(self, key: tuple[Any, ...], default: Any = None) -> Any:
        """Find a compiled statement; the first part of its key is the dialect."""
        return super().get((variety(key[0]), *key[1:]), default)

    def __setitem__(self, key: tuple[Any, ...], value: Any) -> None:
        """Keep a compiled statement, and forget the one that was used the longest time ago."""
        super().__setitem__((variety(key[0]), *key[1:]), value)


COMPILED = Compiled(2000)
"""Those of this process."""
