"""Are statistics made anew of what has outgrown them, and of nothing else?"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import analyze_outgrown, insert_rows
from registry.schema.files import site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry import Registry


@contextlib.contextmanager
def analysed(registry: Registry) -> Iterator[list[str]]:
    """Note which statements make statistics."""
    said: list[str] = []

    def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("ANALYZE"):
            said.append(statement)

    sa.event.listen(registry.database.engine, "before_cursor_execute", executed)
    try:
        yield said
    finally:
        sa.event.remove(registry.database.engine, "before_cursor_execute", executed)


def add(registry: Registry, first: int, n_new: int) -> list[str]:
    """Insert sites in a transaction, as a load does; give what was analysed then."""
    rows = [{"name": f"site{n}", "doc": "x" * 100} for n in range(first, first + n_new)]
    with analysed(registry) as said, registry.begin() as connection:
        insert_rows(connection, site, rows)
        analyze_outgrown(connection, site, n_new=n_new)
    return said


def test_a_table_that_has_grown_by_a_fifth_is_looked_at_anew(registry: Registry) -> None:
    assert len(add(registry, 0, 5_000)) == 1
    assert add(registry, 5_000, 500) == []
    assert len(add(registry, 5_500, 3_000)) == 1
    assert add(registry, 8_500, 800) == []


def test_small_steps_add_up(registry: Registry, backend: str) -> None:
    add(registry, 0, 4_000)
    looked = [bool(add(registry, first, 400)) for first in range(4_000, 5_600, 400)]
    if backend == "mariadb":  # which looks by itself, beside the transactions
        assert not any(looked)
    else:
        assert not looked[0]
        assert looked.count(True) == 1
