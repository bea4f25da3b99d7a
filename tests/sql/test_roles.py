"""Readers read, operators work, neither changes the schema: tried as accounts of each kind."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from registry import Registry, deploy
from registry.database import open_engine, roles
from registry.errors import ReadOnly
from tests.registry import observatory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.databases import Databases


@contextmanager
def account(url: str, role: str | None, *, may: str = "") -> Iterator[str]:
    """Make an account with a role, or rights of its own, and give the URL by which it connects."""
    name = f"person_{uuid.uuid4().hex[:8]}"
    parsed = sa.make_url(url)
    engine = sa.create_engine(parsed, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    postgresql = engine.dialect.name == "postgresql"
    who = name if postgresql else f"'{name}'@'%'"
    begin = [f"CREATE ROLE {name} LOGIN"] if postgresql else [f"CREATE USER {who}"]
    if role is not None:
        begin.append(f"GRANT {role} TO {who}")
        begin += [] if postgresql else [f"SET DEFAULT ROLE {role} FOR {who}"]
    if may:
        begin.append(f"GRANT {may} TO {who}")
    end = [f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}"] if postgresql else []
    end = end or [f"DROP USER {who}"]
    try:
        with engine.connect() as connection:
            for statement in begin:
                connection.exec_driver_sql(statement)
        yield parsed.set(username=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            for statement in end:
                connection.exec_driver_sql(statement)
        engine.dispose()


def try_as(url: str, *statements: str) -> list[bool]:
    """Tell for each statement whether the account of a URL may run it."""
    engine = open_engine(url)
    allowed = []
    for statement in statements:
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql(statement)
        except sa.exc.DBAPIError:
            allowed.append(False)
        else:
            allowed.append(True)
    engine.dispose()
    return allowed


CHANGES = (
    "UPDATE collection SET doc = 'x'",
    "DELETE FROM tagged",
    "DROP TABLE tagged",
    "ALTER TABLE site ADD COLUMN country VARCHAR(8)",
    "CREATE TABLE mine (a INTEGER)",
)


def test_reader_answers_questions_and_changes_nothing(backend: str, database_url: str) -> None:
    if backend == "sqlite":  # which has no accounts
        assert deploy.role_statements(database_url) == []
        return
    with Registry.connect(database_url) as registry:
        observatory.fill(registry)
    with account(database_url, roles.READER) as url:
        with Registry.connect(url) as registry:
            assert len(registry.query_dimension_records("exposure")) == 4
            assert len(registry.report("late_dataset")) == 4
            assert len(registry.report("obscore")) == 0
            with pytest.raises(ReadOnly, match=f"GRANT {roles.OPERATOR} TO person_"):
                registry.register_collection("mine")
        assert try_as(url, *CHANGES) == [False] * 5


def test_operator_renews_statistics_where_a_server_lets_it(backend: str, database_url: str) -> None:
    if backend != "postgresql":  # where who may insert may analyze, or there are no accounts
        return
    with account(database_url, roles.OPERATOR) as url:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            version = connection.dialect.server_version_info or ()
            driver: Any = connection.connection.driver_connection
            driver.cursor().execute("ANALYZE (SKIP_LOCKED) dataset")
            told = list(driver.notices)  # which SQLAlchemy would take away
        if version >= (17,):
            assert told == []
        else:
            assert ["dataset" in notice for notice in told] == [True]


def test_operator_works_and_leaves_the_schema_alone(backend: str, database_url: str) -> None:
    if backend == "sqlite":  # which has no accounts
        assert deploy.role_statements(database_url) == []
        return
    with Registry.connect(database_url) as registry:
        observatory.fill(registry)
    with account(database_url, roles.OPERATOR) as url:
        with Registry.connect(url) as registry:
            registry.register_collection("run")
            refs = registry.insert_datasets(
                observatory.RAW, [observatory.raw_id(n) for n in (1, 2)], "run"
            )
            assert registry.get_refs([refs[0].id])
        assert try_as(url, *CHANGES) == [True, True, False, False, False]
        version = "UPDATE alembic_version SET version_num = 'x'"
        # MariaDB grants by database, from which a single table cannot be taken out
        assert try_as(url, version) == [backend == "mariadb"]


def test_roles_go_with_the_schema_and_come_back(backend: str, empty_database_url: str) -> None:
    if backend == "sqlite":  # which has no accounts
        assert deploy.role_statements(empty_database_url) == []
        return
    deploy.upgrade(empty_database_url)
    assert deploy.absent_roles(empty_database_url) == []
    with account(empty_database_url, roles.READER) as url:
        read = "SELECT * FROM site"
        assert try_as(url, read) == [True]
        deploy.downgrade(empty_database_url, "0006")
        assert try_as(url, read) == [False]
        deploy.upgrade(empty_database_url)
        assert try_as(url, read) == [True]
    assert deploy.check(empty_database_url) == []


def test_account_without_the_right_is_told_what_an_administrator_runs(
    backend: str, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend == "sqlite":
        assert roles.statements(backend, "") == []
        return
    names = [f"{kind}_{uuid.uuid4().hex[:8]}" for kind in ("reader", "operator")]
    monkeypatch.setattr(roles, "READER", names[0])
    monkeypatch.setattr(roles, "OPERATOR", names[1])
    with databases.empty() as url:
        database = sa.make_url(url).database
        may = "ALL ON SCHEMA public" if backend == "postgresql" else f"ALL ON {database}.*"
        with account(url, None, may=may) as deployer:
            deploy.upgrade(deployer)
            assert deploy.absent_roles(deployer) == names
            assert deploy.make_roles(deployer) == names
            engine = open_engine(url)
            with engine.begin() as connection:
                for statement in deploy.role_statements(url):
                    connection.exec_driver_sql(statement)
            engine.dispose()
            assert deploy.absent_roles(url) == []
            with account(url, names[0]) as reader:
                assert try_as(reader, "SELECT * FROM obscore", CHANGES[0]) == [True, False]
            deploy.downgrade(url, "base")
        assert try_as(url, *(f"DROP ROLE {name}" for name in names)) == [False, False]


def test_a_file_has_no_accounts(tmp_path: object) -> None:
    url = f"sqlite:///{tmp_path}/registry.sqlite3"
    deploy.upgrade(url)
    assert deploy.role_statements(url) == []
    assert deploy.absent_roles(url) == []
