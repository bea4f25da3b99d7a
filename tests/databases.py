"""How does every test get a database of its own within milliseconds?

By the cheapest route of each: SQLite copies a file, PostgreSQL copies a template database, MariaDB
empties the tables of one that an earlier test has used. The templates are made by the project's
own migrations, once per test process. Repositories that tests make in files of their own begin as
copies too (`SQLiteTemplate.serving`): the 25 revisions take longer than most tests.
"""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from abc import ABC, abstractmethod
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
import sqlalchemy as sa

from registry import Registry, deploy
from registry.database.opening import parse_url
from registry.identity import uuid7

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_SUCH_THREAD = 1094  # MariaDB, of KILL


class Databases(ABC):
    """Makes databases of one kind and removes them.

    Both verbs are context managers that give a URL and remove the database at the end, whatever
    the test left in it and whoever is still connected.
    """

    name: ClassVar[str]

    @abstractmethod
    @contextmanager
    def empty(self) -> Iterator[str]:
        """Give the URL of a database that holds no table."""

    @abstractmethod
    @contextmanager
    def migrated(self) -> Iterator[str]:
        """Give the URL of a database at the newest revision that holds no row of a test."""

    @abstractmethod
    def close(self) -> None:
        """Remove what the two verbs keep between tests."""


class SQLiteTemplate:
    """One file at the newest revision that holds no row of a test, made when first asked for.

    Parameters
    ----------
    folder : Path
        Where it lies.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "template.sqlite3"

    def copy(self, path: Path) -> None:
        """Make a database as the migrations would, of an identity of its own."""
        if not self._path.exists():
            deploy.upgrade(f"sqlite:///{self._path}")
        shutil.copyfile(self._path, path)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE repository SET id = ?", (uuid7().hex,))

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Let `Registry.create` begin with a copy where no file is yet; what is there migrates.

        Programs that a test starts do not know of it.
        """
        create = Registry.create

        def begun(url: str) -> Registry:
            parsed = parse_url(url)  # which tells, as the real one does, what is no URL
            path = Path(parsed.database or "")
            if parsed.drivername == "sqlite" and path.parent.is_dir() and not path.exists():
                self.copy(path)
            return create(url)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Registry, "create", begun)
            yield


class SQLiteDatabases(Databases):
    """SQLite files in folders of their own, below the temporary folder of the test session."""

    name = "sqlite"

    def __init__(self, folder: Path, template: SQLiteTemplate | None = None) -> None:
        self.folder = folder
        self._template = template or SQLiteTemplate(self._new_folder())

    @contextmanager
    def empty(self) -> Iterator[str]:
        folder = self._new_folder()
        (folder / "registry.sqlite3").touch()
        try:
            yield f"sqlite:///{folder / 'registry.sqlite3'}"
        finally:
            shutil.rmtree(folder)

    @contextmanager
    def migrated(self) -> Iterator[str]:
        folder = self._new_folder()
        self._template.copy(folder / "registry.sqlite3")
        try:
            yield f"sqlite:///{folder / 'registry.sqlite3'}"
        finally:
            shutil.rmtree(folder)

    def close(self) -> None:
        shutil.rmtree(self.folder)

    def _new_folder(self) -> Path:
        folder = self.folder / uuid.uuid4().hex[:12]
        folder.mkdir(parents=True)
        return folder


class ServerDatabases(Databases):
    """Databases on a server, with names that no other test process draws."""

    def __init__(self, server_url: str) -> None:
        self._server = sa.make_url(server_url)
        self._engine = sa.create_engine(
            self._server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
        )

    @contextmanager
    def empty(self) -> Iterator[str]:
        url = self._create()
        try:
            yield url
        finally:
            self._drop(url)

    def close(self) -> None:
        self._engine.dispose()

    @abstractmethod
    def _create(self) -> str:
        """Create a database without a table, and give its URL."""

    @abstractmethod
    def _drop(self, url: str) -> None:
        """Drop a database, and end what is still connected to it."""

    def _new_url(self) -> str:
        name = f"skyspine_test_{uuid.uuid4().hex[:12]}"
        return self._server.set(database=name).render_as_string(hide_password=False)


class PostgreSQLDatabases(ServerDatabases):
    """Databases copied from a template, file by file (15 ms in memory, half of it to drop)."""

    name = "postgresql"

    def __init__(self, server_url: str) -> None:
        super().__init__(server_url)
        self._template: str | None = None

    @contextmanager
    def migrated(self) -> Iterator[str]:
        if self._template is None:
            template = self._create()
            deploy.upgrade(template)
            self._template = template
        url = self._create(_database(self._template))
        try:
            yield url
        finally:
            self._drop(url)

    def close(self) -> None:
        if self._template is not None:
            self._drop(self._template)
        super().close()

    def _create(self, template: str = "template0") -> str:
        url = self._new_url()
        with self._engine.connect() as connection:
            # The strategy is PostgreSQL's own default before 15, where the word does not exist.
            version = connection.dialect.server_version_info or ()
            strategy = " STRATEGY file_copy" if version >= (15,) else ""
            connection.exec_driver_sql(
                f"CREATE DATABASE {_database(url)} TEMPLATE {template}{strategy}"
            )
        return url

    def _drop(self, url: str) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {_database(url)} WITH (FORCE)")


class MariaDBDatabases(ServerDatabases):
    """Databases that go from test to test; each test finds every table as the migrations left it.

    MariaDB has no template databases, and the DDL of the whole schema takes longer than most
    tests. A database whose structure a test has changed is dropped.
    """

    name = "mariadb"

    def __init__(self, server_url: str) -> None:
        super().__init__(server_url)
        self._template: str | None = None
        self._structure: tuple[int, ...] = ()
        self._tables: list[str] = []
        self._seeded: list[str] = []
        self._free: list[str] = []

    @contextmanager
    def migrated(self) -> Iterator[str]:
        if self._template is None:
            self._template = self._make_template()
        if self._free:
            url = self._free.pop()
        else:
            url = self._create()
            deploy.upgrade(url)
        try:
            yield url
        finally:
            self._recycle(url)

    def close(self) -> None:
        for url in [*self._free, *([self._template] if self._template else [])]:
            self._drop(url)
        super().close()

    def _make_template(self) -> str:
        url = self._create()
        deploy.upgrade(url)
        with self._engine.connect() as connection:
            self._structure = self._structure_of(connection, _database(url))
            self._tables = list(
                connection.execute(
                    sa.text(
                        "SELECT table_name FROM information_schema.tables "
                        "WHERE table_schema = :name AND table_type = 'BASE TABLE'"
                    ),
                    {"name": _database(url)},
                ).scalars()
            )
            self._seeded = self._filled(connection, _database(url))
        return url

    def _recycle(self, url: str) -> None:
        name = _database(url)
        with self._engine.connect() as connection:
            self._disconnect(connection, name)
            if self._structure_of(connection, name) != self._structure:
                self._drop(url)
                return
            connection.exec_driver_sql("SET foreign_key_checks = 0")
            for table in {*self._filled(connection, name), *self._seeded}:
                connection.exec_driver_sql(f"TRUNCATE TABLE {name}.{table}")
            for table in self._seeded:
                source = f"{_database(self._template)}.{table}"
                connection.exec_driver_sql(f"INSERT INTO {name}.{table} SELECT * FROM {source}")  # noqa: S608
        self._free.append(url)

    def _filled(self, connection: sa.Connection, name: str) -> list[str]:
        """List the tables that hold a row."""
        if not self._tables:
            return []
        questions = (
            f"SELECT '{table}' FROM dual WHERE EXISTS (SELECT 1 FROM {name}.{table})"  # noqa: S608
            for table in self._tables
        )
        return list(connection.exec_driver_sql(" UNION ALL ".join(questions)).scalars())

    @staticmethod
    def _structure_of(connection: sa.Connection, name: str) -> tuple[int, ...]:
        counts = ", ".join(
            f"(SELECT count(*) FROM information_schema.{part} WHERE {schema} = :name)"  # noqa: S608
            for part, schema in (
                ("tables", "table_schema"),
                ("columns", "table_schema"),
                ("statistics", "table_schema"),
                ("table_constraints", "table_schema"),
                ("triggers", "trigger_schema"),
            )
        )
        return tuple(connection.execute(sa.text(f"SELECT {counts}"), {"name": name}).one())

    def _create(self) -> str:
        url = self._new_url()
        with self._engine.connect() as connection:
            connection.exec_driver_sql(
                f"CREATE DATABASE {_database(url)} CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
            )
        return url

    def _drop(self, url: str) -> None:
        with self._engine.connect() as connection:
            self._disconnect(connection, _database(url))
            connection.exec_driver_sql(f"DROP DATABASE {_database(url)}")

    @staticmethod
    def _disconnect(connection: sa.Connection, name: str) -> None:
        """End other connections: their locks would hold up TRUNCATE and DROP for ever."""
        left = connection.execute(
            sa.text("SELECT id FROM information_schema.processlist WHERE db = :name"),
            {"name": name},
        )
        for process in left.scalars().all():
            try:
                connection.exec_driver_sql(f"KILL {process}")
            except sa.exc.OperationalError as error:
                if getattr(error.orig, "errno", None) != NO_SUCH_THREAD:  # it ended by itself
                    raise


def _database(url: str | None) -> str:
    name = sa.make_url(url or "").database
    if name is None:
        raise ValueError(f"{url} names no database")
    return name
