from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from registry import deploy
from tests.servers import PrivateServers

if TYPE_CHECKING:
    from tests.databases import Databases

CHECKOUT = Path(__file__).parents[1]


def tables(url: str) -> set[str]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    return set(sa.inspect(engine).get_table_names())


def execute(url: str, statement: str) -> object:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        result = connection.exec_driver_sql(statement)
        return result.scalar() if result.returns_rows else None


def test_empty_database_holds_no_table(empty_database_url: str) -> None:
    assert tables(empty_database_url) == set()


def test_migrated_database_is_at_head(database_url: str) -> None:
    assert deploy.current(database_url) == deploy.head()


def test_two_databases_are_two(databases: Databases) -> None:
    with databases.migrated() as one, databases.migrated() as other:
        execute(one, "CREATE TABLE only_here (a integer)")
        assert "only_here" in tables(one) - tables(other)


def test_rows_of_one_test_are_not_seen_by_the_next(databases: Databases) -> None:
    insert = "INSERT INTO instrument (name, definition_version, doc) VALUES ('Left', '1', '')"
    for _ in range(2):
        with databases.migrated() as url:
            execute(url, insert)  # a second one would violate the primary key


def test_changed_structure_is_not_handed_on(databases: Databases) -> None:
    with databases.migrated() as url:
        before = tables(url)
        execute(url, "CREATE TABLE left_behind (a integer)")
    with databases.migrated() as url:
        assert tables(url) == before


def test_open_transaction_does_not_hold_up_the_removal(databases: Databases) -> None:
    with databases.migrated() as url:
        connection = sa.create_engine(url, poolclass=sa.NullPool).connect()
        connection.exec_driver_sql("SELECT * FROM instrument").all()
    connection.invalidate()
    connection.close()


def test_killed_server_starts_again_with_its_data(server_backend: str) -> None:
    with PrivateServers([server_backend]) as servers:
        assert servers.errors == {}
        url = servers.urls[server_backend]
        execute(url, "CREATE TABLE kept (a integer)")
        execute(url, "INSERT INTO kept VALUES (42)")
        servers.kill(server_backend)
        with pytest.raises(sa.exc.OperationalError):
            tables(url)
        servers.start(server_backend)
        assert execute(url, "SELECT a FROM kept") == 42


def test_servers_end_with_a_session_that_is_killed(server_backend: str) -> None:
    code = """
import sys
from tests.servers import PrivateServers
servers = PrivateServers(sys.argv[1:])
print(servers.urls[sys.argv[1]], servers.process.pid, flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, server_backend],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
        text=True,
    ) as session:
        assert session.stdout is not None
        url, supervisor = session.stdout.readline().split()
        tables(url)
        ended = os.pidfd_open(int(supervisor))
        session.kill()
    assert select.select([ended], [], [], 30)[0], "the process that holds the servers lives on"
    os.close(ended)
    with pytest.raises(sa.exc.OperationalError):
        tables(url)
