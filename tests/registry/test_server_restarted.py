"""What happens to a verb whose server is restarted in its midst?

The server is killed at a chosen event of the connection, and started again by another thread.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from registry import Registry, Timespan, collections, deploy
from registry.calibrations import validity_of
from registry.errors import DatabaseUnavailable, DatasetExists, RegistryError
from tests.databases import MariaDBDatabases, PostgreSQLDatabases
from tests.registry import observatory
from tests.registry.observatory import BIAS, RAW, bias_id, raw_id
from tests.servers import PrivateServers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BEFORE, AFTER, COMMIT = "before_cursor_execute", "after_cursor_execute", "commit"


@pytest.fixture(scope="module")
def servers(server_backend: str) -> Iterator[PrivateServers]:
    with PrivateServers([server_backend]) as started:
        yield started


@pytest.fixture(scope="module")
def url(server_backend: str, servers: PrivateServers) -> Iterator[str]:
    kind = PostgreSQLDatabases if server_backend == "postgresql" else MariaDBDatabases
    made = kind(servers.urls[server_backend])
    with made.empty() as given:
        deploy.upgrade(given)
        with Registry.connect(given) as registry:
            observatory.fill(registry)
            registry.register_collection("run")
            registry.insert_datasets(RAW, [raw_id(n, d) for n in (1, 2) for d in (0, 1)], "run")
            (bias,) = registry.insert_datasets(BIAS, [bias_id(20220920)], "run")
            registry.certify("calib", [bias], Timespan(None, None))
        yield given
    made.close()


@pytest.fixture
def here(request: pytest.FixtureRequest) -> str:
    """Name of a run of the test."""
    return re.sub(r"\W+", "-", request.node.name).strip("-")


@pytest.fixture
def registry(url: str, here: str) -> Iterator[Registry]:
    """A registry that has used its connection."""
    with Registry.connect(url) as opened:
        opened.register_collection(here)
        yield opened


@contextlib.contextmanager
def restarted_at(
    registry: Registry, servers: PrivateServers, backend: str, event: str, count: int = 1
) -> Iterator[None]:
    """Kill the server at the n-th such event of a connection, and start it from elsewhere."""
    seen: list[None] = []
    starting = threading.Thread(target=servers.start, args=(backend,))

    def happened(*_: object) -> None:
        seen.append(None)
        if len(seen) == count:
            servers.kill(backend)
            starting.start()

    sa.event.listen(registry.database.engine, event, happened)
    try:
        yield
    finally:
        sa.event.remove(registry.database.engine, event, happened)
        assert len(seen) >= count
        starting.join()


QUESTIONS: dict[str, Callable[[Registry], Any]] = {
    "find": lambda r: r.find_dataset("raw", raw_id(1), "run") is not None,
    "query": lambda r: len(r.query_datasets("raw", "run", where="exposure = 1")),
    "table": lambda r: r.table_of_datasets("raw", "run").num_rows,
    "records": lambda r: len(r.query_dimension_records("exposure")),
    "calibrations": lambda r: len(
        r.find_calibrations("bias", [({"instrument": "Cam", "detector": 0}, 1)], "calib")
    ),
    "ancestors": lambda r: r.provenance.ancestors(r.query_datasets("raw", "run")[0].id),
    "report": lambda r: len(r.report("dataset_summary")),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_is_answered_by_the_server_that_came_back(
    registry: Registry, servers: PrivateServers, server_backend: str, name: str
) -> None:
    expected = QUESTIONS[name](registry)
    with restarted_at(registry, servers, server_backend, BEFORE):
        assert QUESTIONS[name](registry) == expected
    assert registry.database.n_repeated >= 1


def held(registry: Registry, collection: str) -> list[tuple[int, int]]:
    """List the validity ranges of biases."""
    with registry.read() as connection:
        return [span.bounds for _, span in validity_of(connection, BIAS, collection)]


@pytest.mark.parametrize(
    ("event", "count"), [(BEFORE, 1), (AFTER, 2), (COMMIT, 1)], ids=["begin", "midst", "commit"]
)
@pytest.mark.parametrize("verb", ["insert", "tag", "certify", "records"])
def test_a_repeatable_verb_is_done_once(
    registry: Registry,
    servers: PrivateServers,
    server_backend: str,
    here: str,
    verb: str,
    event: str,
    count: int,
) -> None:
    refs = registry.query_datasets("raw", "run")
    (bias,) = registry.query_datasets("bias", "run")
    registry.register_collection(f"{here}/tags", "TAGGED")
    new = [observatory.exposure(100 + n, 20220920, "dark") for n in range(3)]
    verbs: dict[str, tuple[Callable[[], Any], Callable[[], Any], Any]] = {
        "insert": (
            lambda: registry.insert_datasets(RAW, [raw_id(1), raw_id(2)], here),
            lambda: {r.id for r in registry.query_datasets("raw", here)},
            None,
        ),
        "tag": (
            lambda: registry.database.ensure(collections.tag, f"{here}/tags", refs),
            lambda: {r.id for r in registry.query_datasets("raw", f"{here}/tags")},
            {r.id for r in refs},
        ),
        "certify": (
            lambda: registry.certify(f"{here}/calib", [bias], Timespan(7000, 9000)),
            lambda: held(registry, f"{here}/calib"),
            [(7000, 9000)],
        ),
        "records": (
            lambda: registry.insert_dimension_records("exposure", new, "skip"),
            lambda: len(registry.query_dimension_records("exposure", where="exposure >= 100")),
            3,
        ),
    }
    do, left, expected = verbs[verb]
    with restarted_at(registry, servers, server_backend, event, count):
        told = do()
    if verb == "insert":
        expected = {r.id for r in told}
        with pytest.raises(DatasetExists):
            do()
    assert left() == expected
    assert registry.database.n_repeated >= 1


@pytest.mark.parametrize("event", [BEFORE, COMMIT])
def test_a_verb_that_is_done_once_says_when_nobody_knows_whether_it_was(
    registry: Registry,
    servers: PrivateServers,
    server_backend: str,
    here: str,
    event: str,
) -> None:
    (bias,) = registry.query_datasets("bias", "run")
    registry.certify(f"{here}/calib", [bias], Timespan(10_000, 20_000))

    def decertify() -> int:
        return registry.decertify(f"{here}/calib", "bias", Timespan(12_000, 14_000))

    if event == COMMIT:
        with (
            pytest.raises(DatabaseUnavailable, match="nobody can know whether it was") as caught,
            restarted_at(registry, servers, server_backend, event),
        ):
            decertify()
        assert caught.value.uncertain
    else:
        with restarted_at(registry, servers, server_backend, event, 2):
            assert decertify() == 1
    cut = [(10_000, 12_000), (14_000, 20_000)]
    possible = [cut, [(10_000, 20_000)]] if event == COMMIT else [cut]
    assert held(registry, f"{here}/calib") in possible


def test_what_is_done_in_one_transaction_is_done_whole_or_not_at_all(
    registry: Registry,
    servers: PrivateServers,
    server_backend: str,
    here: str,
) -> None:
    with (
        pytest.raises(DatabaseUnavailable, match=r"does not answer .* Is its server running\?$"),
        restarted_at(registry, servers, server_backend, AFTER, 8),
        registry.begin(),
    ):
        for n in (1, 2, 3):
            registry.insert_datasets(RAW, [raw_id(n)], here)
    assert registry.query_datasets("raw", here) == []
    registry.insert_datasets(RAW, [raw_id(1)], here)


def test_a_stream_that_broke_is_told(
    registry: Registry, servers: PrivateServers, server_backend: str
) -> None:
    stream = registry.stream_datasets("raw", "run")
    with (
        pytest.raises(DatabaseUnavailable, match=r"Is its server running\?$"),
        restarted_at(registry, servers, server_backend, BEFORE, 2),
    ):
        list(stream)
    assert len(list(registry.stream_datasets("raw", "run"))) == 4


def test_who_waits_is_told_for_what_and_patience_ends(
    url: str,
    servers: PrivateServers,
    server_backend: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("registry.database.patience.SAY_AFTER", 0.1)
    with Registry.connect(f"{url}?timeout=0.5") as registry:
        servers.kill(server_backend)
        with (
            caplog.at_level(logging.WARNING, "skyspine.database"),
            pytest.raises(DatabaseUnavailable, match=r"Is its server running\?$"),
        ):
            registry.dataset_types()
    shown = sa.make_url(url).render_as_string()
    assert caplog.messages == [
        f"The server of {shown}?timeout=0.5 is away; waiting up to 0.5 s for it to come back."
    ]
    with pytest.raises(DatabaseUnavailable):  # it was never reached: nobody waits
        Registry.connect(url)
    servers.start(server_backend)
    Registry.connect(url).close()


@pytest.mark.parametrize("timeout", ["soon", "-1", "nan", "1e99"])
def test_a_timeout_is_a_number_of_seconds(url: str, timeout: str) -> None:
    from registry.errors import RegistryError

    with pytest.raises(RegistryError, match=rf"^timeout={timeout} in the URL"):
        Registry.connect(f"{url}?timeout={timeout}")


def test_a_statement_that_is_too_large_names_the_setting(url: str, server_backend: str) -> None:
    if server_backend == "mariadb":
        with sa.create_engine(url).connect() as connection:
            connection.exec_driver_sql("SET GLOBAL max_allowed_packet = 65536")
    try:
        with Registry.connect(url) as registry:
            data_ids = [raw_id(1, 0) | {"exposure": n} for n in range(20_000)]
            told = "max_allowed_packet" if server_backend == "mariadb" else "exposure"
            with pytest.raises(RegistryError, match=told):
                registry.insert_datasets(RAW, data_ids, "run")
    finally:
        if server_backend == "mariadb":
            with sa.create_engine(url).connect() as connection:
                connection.exec_driver_sql("SET GLOBAL max_allowed_packet = 16777216")
