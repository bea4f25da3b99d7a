"""Does PgBouncer, which gives each transaction another connection, keep clients from each other?"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from registry import Registry
from registry.errors import ReadOnly
from tests.registry import observatory
from tests.registry.observatory import RAW, raw_id
from tests.servers import SYSTEM_PATH, PostgreSQL, PrivateServer, ServerError

if TYPE_CHECKING:
    import pwd
    from collections.abc import Iterator

OFTEN = 12
"""More executions than a connection counts before it prepares a statement."""
LEFT_BEHIND = sa.text(
    "SELECT current_setting('default_transaction_read_only'), current_setting('jit'),"
    " current_setting('default_transaction_isolation'),"
    " (SELECT count(*) FROM pg_prepared_statements)"
)


class PgBouncer(PrivateServer):
    """A pool with two connections for each database, from the system's packages."""

    name = "pgbouncer"
    behind: sa.URL

    @property
    def url(self) -> str:
        """URL of the database that is behind the pool."""
        shown = self.behind.set(port=self.port)
        return shown.render_as_string(hide_password=False)

    def create(self) -> None:
        """Write the settings."""
        (self.folder / "users").write_text('"skyspine" ""\n')
        (self.folder / "pool.ini").write_text(
            f"[databases]\n* = host={self.behind.host} port={self.behind.port}\n"
            "[pgbouncer]\npool_mode = transaction\ndefault_pool_size = 2\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {self.folder / 'users'}\n"
        )

    def command(self) -> list[str]:
        """Run the pool, which refuses to be run by root."""
        program = shutil.which("pgbouncer", path=SYSTEM_PATH)
        if program is None:
            raise ServerError("pgbouncer was not found: install the Debian package `pgbouncer`")
        return [program, "-q", str(self.folder / "pool.ini")]

    def is_ready(self) -> bool:
        """Ask through it."""
        try:
            with sa.create_engine(self.url, poolclass=sa.NullPool).connect() as connection:
                connection.exec_driver_sql("SELECT 1")
        except sa.exc.OperationalError:
            return False
        return True

    def account(self) -> pwd.struct_passwd | None:
        """Give the account of PostgreSQL."""
        return PostgreSQL(self.folder).account()


@pytest.fixture
def pooled(database_url: str, backend: str) -> Iterator[str]:
    """URL of a database with the observatory in it; that of PostgreSQL behind a pool."""
    with contextlib.ExitStack() as started:
        url = database_url
        if backend == "postgresql":
            folder = Path(started.enter_context(tempfile.TemporaryDirectory()))
            folder.chmod(0o755)  # another account enters
            server = PgBouncer(folder)
            server.behind = sa.make_url(database_url)
            server.create()
            started.callback(server.kill)
            server.start()
            url = server.url
        with Registry.connect(url) as registry:
            observatory.fill(registry)
            registry.register_collection("run")
            registry.insert_datasets(RAW, [raw_id(1, 0)], "run")
        yield url


def test_nobody_leaves_settings_or_statements_to_the_next(pooled: str, backend: str) -> None:
    with Registry.connect(pooled, writeable=False) as reading, Registry.connect(pooled) as writing:
        for n in range(OFTEN):
            assert reading.find_dataset(RAW, raw_id(1, 0), "run") is not None
            writing.register_collection(f"made-{n}")
            writing.insert_datasets(RAW, [raw_id(1, 1)], f"made-{n}")
            (found,) = reading.query_datasets(RAW, f"made-{n}")
            assert found.run == f"made-{n}"
    if backend == "postgresql":
        engine = sa.create_engine(pooled, poolclass=sa.NullPool)
        with engine.connect() as connection:
            left = connection.execute(LEFT_BEHIND).one()
        assert tuple(left) == ("off", "on", "read committed", 0)


def test_the_database_itself_refuses_what_a_reader_would_change(pooled: str) -> None:
    delete = sa.text("DELETE FROM dataset")
    with Registry.connect(pooled, writeable=False) as reading, Registry.connect(pooled) as writing:
        for open_one in (reading.database.read, writing.database.read_only) * 2:
            with pytest.raises(ReadOnly, match="(?i)read.?only"), open_one() as connection:
                connection.execute(delete)
        assert writing.find_dataset(RAW, raw_id(1, 0), "run") is not None


def test_several_questions_see_the_database_as_at_the_first(pooled: str, backend: str) -> None:
    counted = sa.text("SELECT count(*) FROM collection")
    jit = sa.text("SELECT current_setting('jit')")
    with Registry.connect(pooled) as reading, Registry.connect(pooled) as writing:
        with reading.database.snapshot() as connection:
            before = connection.execute(counted).scalar_one()
            writing.register_collection("meanwhile")
            assert connection.execute(counted).scalar_one() == before
            if backend == "postgresql":
                assert connection.execute(jit).scalar_one() == "off"
        with reading.database.read() as connection:
            assert connection.execute(counted).scalar_one() == before + 1


def test_many_clients_share_few_connections(pooled: str) -> None:
    def work(client: int) -> None:
        with Registry.connect(pooled, writeable=client > 0) as registry:
            for n in range(OFTEN):
                if client:
                    registry.register_collection(f"{client}-{n}")
                    registry.insert_datasets(RAW, [raw_id(1, 1)], f"{client}-{n}")
                assert registry.find_dataset(RAW, raw_id(1, 0), "run") is not None

    with ThreadPoolExecutor(4) as clients:
        for done in [clients.submit(work, client) for client in range(4)]:
            done.result()
    made = [f"{client}-{n}" for client in (1, 2, 3) for n in range(OFTEN)]
    with Registry.connect(pooled) as registry:
        assert len(registry.query_datasets(RAW, made, find_first=False)) == len(made)
