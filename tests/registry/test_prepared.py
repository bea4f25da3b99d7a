"""Does a statement mean the same the twentieth time, when PostgreSQL has prepared it?"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from registry.database import Database
from registry.errors import RegistryError
from registry.schema.collections import collection
from registry.schema.dimensions import exposure, instrument

if TYPE_CHECKING:
    from collections.abc import Iterator

OFTEN = 12


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    rows = [{"name": n, "definition_version": "1", "doc": "", "detector_max": 7} for n in "ABC"]
    with database.begin() as connection:
        connection.execute(sa.insert(instrument), rows)
    yield database
    database.close()


def names(connection: sa.Connection, value: Any) -> list[str]:
    """Ask for cameras with a number of detectors, by a statement whose text never changes."""
    text = sa.text("SELECT name FROM instrument WHERE detector_max = :value ORDER BY name")
    return list(connection.execute(text, {"value": value}).scalars())


def n_prepared(connection: sa.Connection) -> int:
    return int(
        connection.execute(sa.text("SELECT count(*) FROM pg_prepared_statements")).scalar_one()
    )


def test_a_value_means_the_same_however_often_it_is_asked_for(database: Database) -> None:
    with database.read() as connection:
        for _ in range(OFTEN):
            assert names(connection, 7) == ["A", "B", "C"]
        for strange in (7.4, 6.6, 2**40, -(2**62), None):
            for _ in range(OFTEN):
                assert names(connection, strange) == []
        assert names(connection, 7.0) == ["A", "B", "C"]


def test_what_comes_back_has_the_same_type(database: Database) -> None:
    echo = sa.select(
        sa.literal(3), sa.literal("x"), sa.literal(None, sa.Integer), instrument.c.name
    )
    with database.read() as connection:
        seen = {tuple(row) for _ in range(OFTEN) for row in connection.execute(echo)}
        seen_types = {type(v) for row in seen for v in row}
    assert seen == {(3, "x", None, n) for n in "ABC"}
    assert seen_types == {int, str, type(None)}


def test_verbs_are_prepared_too(database: Database, backend: str) -> None:
    def verb(connection: sa.Connection, n: int) -> None:
        values = {"name": f"run{n}", "type": "RUN", "doc": "", "created_at": at}
        connection.execute(sa.insert(collection), values)
        done = connection.execute(
            sa.update(collection).where(collection.c.name == f"run{n}").values(doc=f"{n} %(x)s")
        )
        assert done.rowcount == 1

    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    for n in range(OFTEN):
        database.transact(verb, n)
    with database.begin() as connection:
        before = n_prepared(connection) if backend == "postgresql" else 2
        for n in range(OFTEN, 2 * OFTEN):  # and in the midst of one transaction
            verb(connection, n)
    assert before >= 2
    with database.read() as connection:
        found = connection.execute(sa.select(collection.c.doc, collection.c.created_at)).all()
    assert {tuple(row) for row in found} == {(f"{n} %(x)s", at) for n in range(2 * OFTEN)}


def test_what_cannot_be_prepared_does_not_end_a_transaction(
    database: Database, backend: str
) -> None:
    # beside nothing, PostgreSQL cannot know what the value is
    null = "SELECT CASE WHEN :value IS NULL THEN 1 ELSE 2 END"
    with database.begin() as connection:
        for n in range(OFTEN):
            connection.execute(
                sa.insert(instrument), {"name": f"D{n}", "definition_version": "1", "doc": ""}
            )
            assert connection.execute(sa.text(null), {"value": None}).scalar() == 1
            assert connection.execute(sa.text(null), {"value": uuid.UUID(int=n).hex}).scalar() == 2
    with database.read() as connection:
        counted = connection.execute(sa.text("SELECT count(*) FROM instrument")).scalar_one()
    assert counted == 3 + OFTEN
    assert backend


def test_a_table_that_has_changed_is_read_anew(database: Database) -> None:
    every = sa.text("SELECT * FROM instrument WHERE name = :name")
    with database.read() as connection:
        for _ in range(OFTEN):
            before = connection.execute(every, {"name": "A"}).mappings().one()
    with database.begin() as connection:
        connection.execute(sa.text("ALTER TABLE instrument ADD COLUMN later INTEGER"))
    with database.read() as connection:
        for _ in range(OFTEN):
            after = connection.execute(every, {"name": "A"}).mappings().one()
            assert dict(after) == {**before, "later": None}


def test_the_url_says_whether(database_url: str, backend: str) -> None:
    for threshold, prepared in (("0", True), ("100", False), ("none", False)):
        url = sa.make_url(database_url)
        if backend == "postgresql":
            url = url.update_query_dict({"prepare_threshold": threshold})
        database = Database(url.render_as_string(hide_password=False))
        with database.read() as connection:
            for _ in range(OFTEN):
                rows = connection.execute(sa.select(exposure.c.id).where(exposure.c.id == 1)).all()
                assert rows == []
            if backend == "postgresql":
                assert (n_prepared(connection) > 0) is prepared
        database.close()
    if backend == "postgresql":
        url = sa.make_url(database_url).update_query_dict({"prepare_threshold": "soon"})
        with pytest.raises(RegistryError, match="prepare_threshold=soon"):
            Database(url.render_as_string(hide_password=False))
