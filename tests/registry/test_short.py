"""Does a statement that goes straight to the driver mean the same as any other?"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from backbone import files
from registry.database import Database, ShortStatement, plan_of
from registry.errors import Conflict, UnstorableValue
from registry.schema.dimensions import instrument
from registry.schema.identity import repository

if TYPE_CHECKING:
    from collections.abc import Iterator

OFTEN = 12  # PostgreSQL has prepared it by then
ROW = {"name": "Cam", "definition_version": "1", "doc": "50 % of it: é", "detector_max": 7}
INSERT = ShortStatement(sa.insert(instrument).inline(), columns=list(ROW))
ECHO = ShortStatement(
    sa.select(
        repository.c.id,
        repository.c.created_at,
        (sa.bindparam("whole", type_=sa.BigInteger) + repository.c.one).label("whole"),
        (sa.bindparam("real", type_=sa.Double) + repository.c.one).label("real"),
        (repository.c.one == 1).label("true"),
        (repository.c.id == sa.bindparam("id", type_=sa.Uuid)).label("same"),
        sa.cast(None, sa.String).label("none_of_it"),
    )
)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


def given(database: Database) -> dict[str, Any]:
    with database.read() as connection:
        own = connection.execute(sa.select(repository.c.id)).scalar_one()
    return {"whole": -(2**62), "real": 0.25, "id": own}


def test_values_come_back_as_from_any_statement(database: Database) -> None:
    values = given(database)
    for _ in range(OFTEN):
        with database.read() as connection:
            (row,) = ECHO.rows(connection, values)
        id_, created, *rest = row
        assert id_ == values["id"]
        assert created.tzinfo is dt.UTC
        assert list(map(repr, rest)) == [repr(v) for v in (1 - 2**62, 1.25, True, True, None)]


def test_it_belongs_to_the_transaction_around(database: Database) -> None:
    count = ShortStatement(
        sa.select(sa.func.count()).where(instrument.c.name == sa.bindparam("name", type_=sa.String))
    )
    with pytest.raises(ZeroDivisionError), database.begin() as connection:
        assert INSERT.changed(connection, ROW) == 1
        assert [list(row) for row in count.rows(connection, {"name": "Cam"})] == [[1]]
        raise ZeroDivisionError
    assert [list(row) for row in database.ask(count.rows, {"name": "Cam"})] == [[0]]
    with database.begin() as connection:
        INSERT.changed(connection, ROW)
    assert [list(row) for row in database.ask(count.rows, {"name": "Cam"})] == [[1]]


def test_errors_are_those_of_any_statement(database: Database) -> None:
    with database.begin() as connection:
        INSERT.changed(connection, ROW)
    with pytest.raises(Conflict), database.begin() as connection:
        INSERT.changed(connection, ROW)
    with pytest.raises(UnstorableValue), database.begin() as connection:
        INSERT.changed(connection, {**ROW, "name": "half \ud800"})
    with database.begin() as connection:
        assert INSERT.changed(connection, {**ROW, "name": "Other"}) == 1


def test_who_listens_is_told(database: Database) -> None:
    told: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        told.append(statement)

    values = given(database)
    for event in ("before_cursor_execute", "after_cursor_execute"):
        sa.event.listen(database.engine, event, note)
    database.ask(ECHO.rows, values)
    assert len(told) == 2
    assert told[0] == told[1]


def test_the_files_of_one_dataset_are_found_by_its_identity(database: Database) -> None:
    """A planner that knows nothing of the tables yet could begin with the endpoint."""
    with database.read() as connection:
        plan = plan_of(connection, files.locate_sql([uuid.uuid4()]))
    assert "ix_replica_endpoint_state" not in plan
