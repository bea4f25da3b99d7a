from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from registry import Registry, collections, deploy
from registry.database import open_engine
from registry.errors import (
    Conflict,
    DatabaseUnavailable,
    RegistryError,
    UnknownRevision,
    WrongRevision,
)
from registry.removing import remove_datasets
from registry.schema import metadata
from registry.schema.dimensions import skymap, tract, tract_pixel
from registry.schema.identity import data_id
from tests.registry import observatory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def connection(database_url: str) -> Iterator[sa.Connection]:
    engine = open_engine(database_url)
    with engine.connect() as opened:
        yield opened
    engine.dispose()


def stamp(url: str, statement: str) -> None:
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def test_migrations_make_what_the_code_declares(empty_database_url: str) -> None:
    assert deploy.current(empty_database_url) is None
    deploy.upgrade(empty_database_url)
    assert deploy.current(empty_database_url) == deploy.head()
    assert deploy.check(empty_database_url) == []


def test_check_tells_a_difference(database_url: str) -> None:
    stamp(database_url, "ALTER TABLE site ADD COLUMN country VARCHAR(8)")
    differences = deploy.check(database_url)
    assert len(differences) == 1
    assert "remove_column" in differences[0]
    assert "country" in differences[0]


def test_upgrade_may_be_repeated_and_keeps_rows_and_identity(empty_database_url: str) -> None:
    with Registry.create(empty_database_url) as registry:
        observatory.fill(registry)
        identity = registry.id
    deploy.upgrade(empty_database_url)
    with Registry.connect(empty_database_url) as registry:
        assert registry.id == identity
        assert len(registry.query_dimension_records("exposure")) == 4


def test_down_to_base_with_rows_leaves_nothing_and_up_again_is_sound(
    empty_database_url: str,
) -> None:
    with Registry.create(empty_database_url) as registry:
        observatory.fill(registry)
        registry.register_collection("run")
        registry.insert_datasets(observatory.RAW, [observatory.raw_id(3)], "run")
    deploy.downgrade(empty_database_url, "base")
    assert deploy.current(empty_database_url) is None
    engine = open_engine(empty_database_url)
    inspector = sa.inspect(engine)
    assert inspector.get_table_names() == ["alembic_version"]
    assert inspector.get_view_names() == []
    engine.dispose()
    with Registry.create(empty_database_url) as registry:
        assert registry.query_dimension_records("exposure") == []
        observatory.fill(registry)
    assert deploy.check(empty_database_url) == []


def test_empty_database_is_refused_with_the_command_that_creates(empty_database_url: str) -> None:
    with pytest.raises(WrongRevision, match="skyspine db create ") as caught:
        Registry.connect(empty_database_url)
    assert caught.value.current is None


def test_unstamped_database_is_refused_with_the_command_that_creates(database_url: str) -> None:
    stamp(database_url, "DELETE FROM alembic_version")
    with pytest.raises(WrongRevision, match="skyspine db create "):
        Registry.connect(database_url)


def test_database_behind_is_refused_with_the_command_that_upgrades(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = deploy.head()
    monkeypatch.setattr(deploy, "head", lambda: "9999")  # the code that comes after this one
    with pytest.raises(WrongRevision, match="skyspine db upgrade ") as caught:
        Registry.connect(database_url)
    assert (caught.value.current, caught.value.head) == (known, "9999")


def test_database_ahead_is_refused_and_not_upgraded(database_url: str) -> None:
    stamp(database_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(WrongRevision, match="install the version that wrote it"):
        Registry.connect(database_url)
    with pytest.raises(WrongRevision, match="install the version that wrote it"):
        deploy.upgrade(database_url)
    assert deploy.current(database_url) == "9999"


def test_a_step_to_nowhere_or_in_the_wrong_direction_is_refused(database_url: str) -> None:
    for step in (deploy.upgrade, deploy.downgrade):
        with pytest.raises(UnknownRevision, match="There is no revision '77'"):
            step(database_url, "77")
    with pytest.raises(Conflict, match="comes after 0001; to go back: skyspine db downgrade "):
        deploy.upgrade(database_url, "0001")
    deploy.downgrade(database_url, "0001")
    with pytest.raises(Conflict, match="at revision 0001, and 0002 .* skyspine db upgrade "):
        deploy.downgrade(database_url, "0002")
    assert deploy.current(database_url) == "0001"


def test_no_file_is_made_by_asking_for_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'none.sqlite3'}"
    assert deploy.current(url) is None
    with pytest.raises(DatabaseUnavailable, match="no database .*: skyspine db create sqlite"):
        deploy.check(url)
    with pytest.raises(DatabaseUnavailable, match="skyspine db create"):
        deploy.downgrade(url, "base")
    with pytest.raises(UnknownRevision):
        deploy.upgrade(url, "77")
    assert list(tmp_path.iterdir()) == []


def test_sql_for_an_unknown_kind_of_database() -> None:
    with pytest.raises(RegistryError, match="'oracle' is not supported; use SQLite"):
        deploy.sql("oracle://host/name")


def test_every_table_column_and_constraint_is_described() -> None:
    undescribed = [t.name for t in metadata.tables.values() if not t.comment]
    undescribed += [str(c) for t in metadata.tables.values() for c in t.columns if not c.comment]
    assert undescribed == []
    unnamed = [
        f"{t.name}: {c}" for t in metadata.tables.values() for c in t.constraints if not c.name
    ]
    assert unnamed == []


# SQLAlchemy cannot reflect the period that MariaDB's constraint needs
@pytest.mark.filterwarnings("ignore:Unknown schema content:sqlalchemy.exc.SAWarning")
def test_comments_reach_the_database(connection: sa.Connection) -> None:
    inspector = sa.inspect(connection)
    described = connection.dialect.supports_comments
    for table in metadata.tables.values():
        if described:
            assert inspector.get_table_comment(table.name)["text"] == table.comment
        for column in inspector.get_columns(table.name):
            if described and column["name"] in table.c:
                assert column["comment"] == table.c[column["name"]].comment
            assert not described or column["comment"], (table.name, column["name"])


def test_every_view_is_installed(connection: sa.Connection) -> None:
    assert deploy.view_names() == sorted(sa.inspect(connection).get_view_names())


def test_views_go_back_to_their_older_version_and_forth(database_url: str) -> None:
    def columns(view: str) -> set[str]:
        with Registry.connect(database_url) as registry:
            return set(registry.report(view).columns)

    newest = {view: columns(view) for view in deploy.view_names()}
    assert {"valid_begin_tai", "valid_end_tai"} <= newest["calibration_coverage"]
    deploy.downgrade(database_url, "0001")
    engine = open_engine(database_url)
    with engine.connect() as connection:
        older = connection.exec_driver_sql("SELECT * FROM calibration_coverage").keys()
        assert set(older) == newest["calibration_coverage"] - {"valid_begin_tai", "valid_end_tai"}
    engine.dispose()
    deploy.upgrade(database_url)
    assert {view: columns(view) for view in deploy.view_names()} == newest


def test_sql_of_the_schema_is_written_without_a_server_and_makes_it(
    empty_database_url: str,
) -> None:
    text = deploy.sql(empty_database_url)
    assert deploy.current(empty_database_url) is None
    engine = open_engine(empty_database_url)
    with contextlib.closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        for statement in filter(str.strip, text.split(";\n\n")):
            cursor.execute(statement)
        connection.commit()
    engine.dispose()
    assert deploy.check(empty_database_url) == []


def test_tags_and_texts_of_data_ids_are_the_same_after_down_and_up(
    empty_database_url: str,
) -> None:
    def texts_and_tags() -> tuple[list[str], int]:
        engine = open_engine(empty_database_url)
        with engine.connect() as connection:
            keys = connection.execute(sa.select(data_id.c.identity_key))
            texts = sorted(keys.scalars())
            n_tagged = connection.exec_driver_sql("SELECT COUNT(*) FROM tagged").scalar_one()
        engine.dispose()
        return texts, n_tagged

    catalog_id = {"instrument": "Cam", "target": 'M 31 "%s"'}
    with Registry.create(empty_database_url) as registry:
        observatory.fill(registry)
        registry.register_collection("run")
        registry.register_collection("best", "TAGGED")
        refs = registry.insert_datasets(
            observatory.RAW, [observatory.raw_id(3), observatory.raw_id(1)], "run"
        )
        refs += registry.insert_datasets(observatory.CATALOG, [catalog_id], "run")
        registry.database.transact(collections.tag, "best", refs)
    known = sorted(ref.data_id.key for ref in refs)
    for step in (deploy.upgrade, deploy.downgrade, deploy.upgrade):
        step(empty_database_url, "0020" if step is deploy.downgrade else "head")
        assert texts_and_tags() == (known, 3)
    assert deploy.check(empty_database_url) == []
    with Registry.connect(empty_database_url) as registry:
        assert registry.find_dataset(observatory.CATALOG, catalog_id, "best") == refs[2]
        registry.database.transact(remove_datasets, [ref.id for ref in refs])
    assert texts_and_tags() == (known, 0)


def test_long_ranges_of_pixels_are_cut(empty_database_url: str) -> None:
    deploy.upgrade(empty_database_url, "0009")
    engine = open_engine(empty_database_url)
    key = {"skymap": "sky", "tract": 0}
    with engine.begin() as connection:
        connection.execute(sa.insert(skymap), {"name": "sky", "definition": {}})
        connection.execute(sa.insert(tract), {"skymap": "sky", "id": 0, "region": b"whole"})
        for begin, end in ((100, 2500), (3000, 3001)):
            row = {**key, "pixel_begin": begin, "pixel_end": end}
            connection.execute(sa.insert(tract_pixel), row)
    engine.dispose()
    deploy.upgrade(empty_database_url)
    engine = open_engine(empty_database_url)
    asked = sa.select(tract_pixel.c.pixel_begin, tract_pixel.c.pixel_end)
    with engine.connect() as connection:
        found = connection.execute(asked.order_by(tract_pixel.c.pixel_begin)).all()
    engine.dispose()
    assert [tuple(row) for row in found] == [
        (100, 1124),
        (1124, 2148),
        (2148, 2500),
        (3000, 3001),
    ]
