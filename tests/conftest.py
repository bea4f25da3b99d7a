"""Which databases do the tests run on, and where are the real frames?

A test that takes `database_url`, `empty_database_url`, `registry` or `databases` runs once per
database: `--db sqlite,postgresql,mariadb` chooses, and without it all that can be started are
taken. A test that ends or restarts servers takes `server_backend` (a name; sqlite has none) and
starts its own with `tests.servers.PrivateServers`. `test_data` is the folder of real frames
(`SKYSPINE_TEST_DATA`, by default `shared/data` beside the checkout).
"""

from __future__ import annotations

import gc
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.databases import (
    Databases,
    MariaDBDatabases,
    PostgreSQLDatabases,
    SQLiteDatabases,
    SQLiteTemplate,
)
from tests.disks import KIND, MOUNTED
from tests.nursery import Nursery
from tests.servers import PrivateServers, memory_folder

pytest.register_assert_rewrite("tests.workflow.multinode.contract")

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from registry import Registry

# Time belongs to benchmarks: a machine that others load answers some examples late.
settings.register_profile("skyspine", deadline=None)
settings.load_profile("skyspine")

KINDS = ("sqlite", "postgresql", "mariadb")
UNDER_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
BESIDE = Path(__file__).parents[2] / "shared" / "data"


class Backends:
    """The databases of one test session; their servers start when the first test needs them.

    Parameters
    ----------
    asked : str or None
        Value of `--db`: names, or NAME=URL for a server that runs already. None takes all.
    """

    def __init__(self, asked: str | None) -> None:
        self.asked = asked is not None
        chosen = dict(part.partition("=")[::2] for part in (asked or ",".join(KINDS)).split(","))
        if unknown := chosen.keys() - set(KINDS):
            raise pytest.UsageError(
                f"--db: unknown {', '.join(sorted(unknown))}; choose from {', '.join(KINDS)}"
            )
        self.names = list(chosen)
        self.urls = {name: url for name, url in chosen.items() if url}
        self.errors: dict[str, str] = {}
        self.servers: list[PrivateServers] = []

    def start(self, names: Sequence[str]) -> None:
        """Start the private servers among the names, once."""
        wanted = [n for n in names if n != "sqlite" and n not in self.urls | self.errors]
        if "mariadb" in wanted and find_spec("mariadb") is None:
            wanted.remove("mariadb")
            self.errors["mariadb"] = "its connector is not installed: pip install '.[mariadb]'"
        if wanted:
            started = PrivateServers(wanted)
            self.servers.append(started)
            self.urls |= started.urls
            self.errors |= started.errors

    def close(self) -> None:
        """Stop the private servers."""
        for servers in self.servers:
            servers.close()


LONG = {
    "test_differential.py",
    "test_endurance.py",
    "test_faults.py",
    "test_graph_files.py",
    "test_kills.py",
    "test_main_job.py",
    "test_match_background.py",
    "test_migrations.py",
    "test_parquet.py",
    "test_quality.py",
    "test_write_a_supertask.py",
}
"""Files whose tests take seconds each: begun first, so that no worker is left alone with them."""
BACKENDS = pytest.StashKey[Backends]()
BROKER = "rabbitmq"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--db",
        metavar="NAMES",
        help="databases to test on, comma-separated (sqlite, postgresql, mariadb; NAME=URL takes a "
        "server that runs already); default: all that can be started",
    )
    parser.addoption(
        "--timed", action="store_true", help="run the benchmarks at the size at which they measure"
    )
    parser.addoption(
        "--millions", type=int, default=10, help="datasets of the largest registry that is timed"
    )
    parser.addoption("--kills", type=int, help="how often a run is killed, instead of a few times")


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()  # thousands of tests are collected, and none of them is garbage
    if not config.getoption("--timed") and (memory := memory_folder()):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", memory)  # where `tmp_path` is
    backends = Backends(config.getoption("--db"))
    started = getattr(config, "workerinput", {})
    backends.urls |= started.get("urls", {})
    backends.errors |= started.get("errors", {})
    config.stash[BACKENDS] = backends
    config.addinivalue_line("markers", "small_disk: fills a disk that was mounted for it")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Let one worker more than there are cores run: the others wait for servers and disks."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Start the servers once for all workers of pytest-xdist."""
    backends = node.config.stash[BACKENDS]  # type: ignore[attr-defined]
    backends.start([*backends.names, BROKER])
    node.workerinput |= {"urls": backends.urls, "errors": backends.errors}  # type: ignore[attr-defined]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = metafunc.config.stash[BACKENDS].names
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", names, indirect=True, scope="session")
    if "server_backend" in metafunc.fixturenames:
        servers = [name for name in names if name != "sqlite"]
        metafunc.parametrize("server_backend", servers, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start what the collected tests need; leave out those on what cannot be; long ones first."""
    backends = config.stash[BACKENDS]
    backend_of: dict[pytest.Item, object] = {
        item: item.callspec.params.get("backend", item.callspec.params.get("server_backend"))
        for item in items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    }
    on_broker = {i for i in items if isinstance(i, pytest.Function) and BROKER in i.fixturenames}
    if not config.option.collectonly:
        backends.start([name for name in backends.names if name in backend_of.values()])
        backends.start([BROKER] if on_broker else [])
    left_out = [
        item
        for item in items
        if backend_of.get(item) in backends.errors
        or (item in on_broker and BROKER in backends.errors)
        or (KIND != MOUNTED and item.get_closest_marker("small_disk"))
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    if hasattr(config, "workerinput"):
        _begin_with_long_ones(items, config.workerinput["workercount"])
    gc.freeze()
    gc.enable()


def _begin_with_long_ones(items: list[pytest.Item], n_workers: int) -> None:
    """Move them to the head of each stretch: pytest-xdist gives as long a one to each worker."""
    stretch = -(-len(items) // n_workers) or 1
    for begin in range(0, len(items), stretch):
        part = items[begin : begin + stretch]
        items[begin : begin + stretch] = sorted(part, key=lambda i: i.path.name not in LONG)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    backends = session.config.stash[BACKENDS]
    if backends.errors and (backends.asked or UNDER_CI):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    backends = config.stash[BACKENDS]
    why_it_counts = " (asked for by --db)" if backends.asked else " (CI)" if UNDER_CI else ""
    for name, error in backends.errors.items():
        line = f"not tested on {name}: {error}"
        terminalreporter.write_line(line + why_it_counts, red=bool(why_it_counts), yellow=True)

    if KIND != MOUNTED:
        terminalreporter.write_line(
            "not tested: servers on a full disk, as this account may not mount one; where the "
            f"full disk is a repository's, it was a {KIND} of the process",
            yellow=True,
        )


def pytest_unconfigure(config: pytest.Config) -> None:
    gc.unfreeze()
    if BACKENDS in config.stash:
        config.stash[BACKENDS].close()


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> str:
    """Name of the database that the test runs on: sqlite, postgresql or mariadb."""
    return str(request.param)


@pytest.fixture(scope="session", autouse=True)
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SQLiteTemplate]:
    """File of which new repositories are copies, those that tests make themselves included."""
    made = SQLiteTemplate(tmp_path_factory.mktemp("template"))
    with made.serving():
        yield made


@pytest.fixture(scope="session")
def databases(
    backend: str,
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_template: SQLiteTemplate,
) -> Iterator[Databases]:
    """Maker of databases, for fixtures of a module and for tests that need several."""
    made = _maker(backend, pytestconfig.stash[BACKENDS], tmp_path_factory, sqlite_template)
    yield made
    made.close()


def _maker(
    name: str,
    backends: Backends,
    folders: pytest.TempPathFactory,
    template: SQLiteTemplate,
) -> Databases:
    if name == "sqlite":
        return SQLiteDatabases(folders.mktemp("sqlite"), template)
    kind = PostgreSQLDatabases if name == "postgresql" else MariaDBDatabases
    return kind(backends.urls[name])


@pytest.fixture(scope="session")
def engines(
    backend: str,
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_template: SQLiteTemplate,
) -> Iterator[list[Databases]]:
    """Makers of databases of three kinds, that of `backend` first; fewer kinds come round again."""
    backends = pytestconfig.stash[BACKENDS]
    backends.start(backends.names)
    names = [name for name in backends.names if name not in backends.errors]
    first = names.index(backend)
    made = [
        _maker(names[(first + n) % len(names)], backends, tmp_path_factory, sqlite_template)
        for n in range(3)
    ]
    yield made
    for maker in made:
        maker.close()


@pytest.fixture(scope="session")
def rabbitmq(pytestconfig: pytest.Config) -> str:
    """URL of a private RabbitMQ broker."""
    return pytestconfig.stash[BACKENDS].urls[BROKER]


@pytest.fixture
def empty_database_url(databases: Databases) -> Iterator[str]:
    """URL of a new database that holds no table."""
    with databases.empty() as url:
        yield url


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """URL of a new database at the newest revision."""
    with databases.migrated() as url:
        yield url


@pytest.fixture
def registry(database_url: str) -> Iterator[Registry]:
    """Registry on a new database at the newest revision."""
    from registry import Registry

    opened = Registry.connect(database_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def timed(pytestconfig: pytest.Config) -> bool:
    """Whether somebody will read the times that are measured."""
    return bool(pytestconfig.getoption("--timed"))


@pytest.fixture(scope="session")
def millions(pytestconfig: pytest.Config) -> int:
    """How many million datasets the largest registry has that is timed."""
    return int(pytestconfig.getoption("--millions"))


@pytest.fixture(scope="session")
def more_kills(pytestconfig: pytest.Config) -> int:
    """How often a run is to be killed; 0 for as often as a test does by itself."""
    return int(pytestconfig.getoption("--kills") or 0)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Starter of programs that are killed, or do something at the same time as others."""
    with Nursery() as made:
        yield made


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of the real frames; each set in it has a README with its known answers."""
    folder = Path(os.environ.get("SKYSPINE_TEST_DATA", BESIDE))
    if not folder.is_dir():
        message = f"no real frames in {folder}: set SKYSPINE_TEST_DATA to their folder"
        if UNDER_CI:
            pytest.fail(message)
        pytest.skip(message)
    return folder
