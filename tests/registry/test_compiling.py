"""Is a statement compiled once for all databases of one kind, and anew for those of another?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from registry.database import Database, ShortStatement, short
from registry.database.compiling import Compiled
from registry.schema.dimensions import instrument

if TYPE_CHECKING:
    from tests.databases import Databases

ROW = {"definition_version": "1", "doc": ""}


@pytest.fixture
def asked() -> sa.Select[tuple[str, int]]:
    """A statement that no other test has compiled."""
    unheard: sa.Label[int] = sa.literal_column("1").label("unheard_of")
    return sa.select(instrument.c.name, unheard).where(instrument.c.name == sa.bindparam("name"))


def names(database: Database, statement: sa.Select[tuple[str, int]], name: str) -> tuple[bool, ...]:
    """Ask for a row; tell whether it is there, and whether the statement had been compiled."""
    told: list[bool] = []
    with database.read() as connection:
        engine = connection.engine
        listen = ("before_cursor_execute", lambda *given: told.append(hit(given[4])))
        sa.event.listen(engine, *listen)
        rows = connection.execute(statement, {"name": name}).all()
        sa.event.remove(engine, *listen)
    assert {tuple(row) for row in rows} <= {(name, 1)}
    return bool(rows), *told


def hit(context: sa.engine.interfaces.ExecutionContext) -> bool:
    return context.cache_hit is context.dialect.CACHE_HIT  # type: ignore[attr-defined]


def test_two_databases_share_what_is_compiled_and_nothing_else(
    databases: Databases, asked: sa.Select[tuple[str, int]]
) -> None:
    with databases.migrated() as url, databases.migrated() as other_url:
        one, other = Database(url), Database(other_url)
        with one.begin() as connection:
            connection.execute(sa.insert(instrument), [{"name": "here", **ROW}])
        assert names(one, asked, "here") == (True, False)
        assert names(other, asked, "here") == (False, True)
        other.close()
        again = Database(url)
        assert names(again, asked, "here") == (True, True)
        again.close()
        one.close()


def test_a_short_statement_is_compiled_once_for_both(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    compile_it = short._compile  # noqa: SLF001 (how often it is called)

    def counted(statement: Any, dialect: sa.Dialect, columns: Any) -> Any:
        compiled.append(statement)
        return compile_it(statement, dialect, columns)

    monkeypatch.setattr(short, "_compile", counted)
    asked = ShortStatement(
        sa.select(instrument.c.doc).where(instrument.c.name == sa.bindparam("n"))
    )
    with databases.migrated() as url, databases.migrated() as other_url:
        for n, at in enumerate((url, other_url)):
            database = Database(at)
            with database.begin() as connection:
                connection.execute(sa.insert(instrument), [{"name": "Cam", **ROW, "doc": f"{n}"}])
                assert [tuple(r) for r in asked.rows(connection, {"n": "Cam"})] == [(f"{n}",)]
            database.close()
    assert len(compiled) == (databases.name != "mariadb")  # which sends it like any other


def test_another_version_or_setting_has_statements_of_its_own() -> None:
    kept = Compiled(10)
    dialects = [sa.make_url(f"{n}://").get_dialect()() for n in ("sqlite", "postgresql", "mysql")]
    dialects += [sa.make_url("postgresql://").get_dialect()() for _ in range(2)]
    dialects[3].server_version_info = (18, 1)
    setattr(dialects[4], "_backslash_escapes", True)  # noqa: B010 (a server of PostgreSQL tells it)
    for n, dialect in enumerate(dialects):
        assert kept.get((dialect, "statement")) is None
        kept[dialect, "statement"] = n
    assert [kept.get((dialect, "statement")) for dialect in dialects] == [0, 1, 2, 3, 4]
