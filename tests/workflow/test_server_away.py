"""What happens when the database's server is killed in the midst of a verb, or its disk is full?

Each test has servers of its own, on a disk that is small where the machine allows it.
"""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from backbone.audit import check
from butler import Butler
from registry.errors import DatabaseUnavailable
from tests.databases import MariaDBDatabases, PostgreSQLDatabases
from tests.disks import KIND, MOUNTED, SmallDisk, small_disk
from tests.servers import PrivateServers
from tests.workflow import faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEYS = {"instrument": "DemoCam", "detector": 1}
MEGABYTES = 400


@pytest.fixture(scope="module")
def disk() -> Iterator[SmallDisk]:
    """Where the servers' data are."""
    with small_disk(MEGABYTES) as made:
        yield made


@pytest.fixture(scope="module")
def servers(server_backend: str, disk: SmallDisk) -> Iterator[PrivateServers]:
    """One server that may be killed."""
    with PrivateServers([server_backend], disk.folder if KIND == MOUNTED else None) as started:
        yield started


@pytest.fixture(scope="module")
def repository(
    server_backend: str, servers: PrivateServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder of a repository with small frames, and what an undisturbed run leaves in it."""
    kind = PostgreSQLDatabases if server_backend == "postgresql" else MariaDBDatabases
    made = kind(servers.urls[server_backend])
    root = tmp_path_factory.mktemp("away") / "repo"
    with made.empty() as url:
        # by default a verb waits for half a minute
        with Butler.create(root, f"{url}?timeout=0") as butler:
            faults.fill(butler)
            faults.run(root, "calm")
            expected = faults.left_by(butler, "calm")
        yield root, expected
    made.close()


@pytest.fixture
def butler(repository: tuple[Path, dict[str, Any]]) -> Iterator[Butler]:
    """Writes to a run of its own, and has used its connection."""
    with Butler(repository[0], run="more") as opened:
        opened.query_datasets("frame", collections=faults.INPUT)
        yield opened


@contextlib.contextmanager
def killed_at(
    butler: Butler, servers: PrivateServers, backend: str, event: str, count: int
) -> Iterator[None]:
    """Kill the server when a connection of this Butler has come to its n-th such event."""
    seen: list[None] = []

    def happened(*_: object) -> None:
        seen.append(None)
        if len(seen) == count:
            servers.kill(backend)

    engine = butler.registry.database.engine
    sa.event.listen(engine, event, happened)
    try:
        yield
    finally:
        sa.event.remove(engine, event, happened)
        assert len(seen) >= count
        servers.start(backend)


def frames(folder: Path) -> list[str]:
    found = sorted((folder / "ohp-t152-longslit-2022" / "bias").glob("*.fits.gz"))
    return [str(path) for path in found[:3]]


@pytest.mark.parametrize(
    ("verb", "event", "count"),
    [
        ("put", "before_cursor_execute", 1),
        ("put", "after_cursor_execute", 4),
        ("put", "commit", 1),
        ("ingest", "commit", 1),
        ("query", "before_cursor_execute", 1),
    ],
)
def test_a_verb_without_its_server_fails_whole_and_works_again(
    butler: Butler,
    servers: PrivateServers,
    server_backend: str,
    test_data: Path,
    verb: str,
    event: str,
    count: int,
) -> None:
    butler.register_instrument("ohp-t152")
    name = f"{verb}/{event}/{count}"

    def put() -> Any:
        return butler.get(butler.put({"n": 1}, "frame", KEYS, exposure=1, run=name))

    def ingested() -> Any:
        taken = butler.ingest_raws(frames(test_data), run=name)
        return len(taken.refs), taken.errors

    def found() -> Any:
        return len(butler.query_datasets("frame", collections=faults.INPUT))

    verbs: dict[str, tuple[Callable[[], Any], Any]] = {
        "put": (put, {"n": 1}),
        "ingest": (ingested, (3, [])),
        "query": (found, 6),
    }
    work, answer = verbs[verb]
    files = check(butler.registry.database, butler.root, grace=0).n_files
    with (
        pytest.raises(DatabaseUnavailable) as caught,
        killed_at(butler, servers, server_backend, event, count),
    ):
        work()
    assert str(caught.value).startswith("The database ")
    assert str(caught.value).endswith(" Is its server running?")
    assert "\n" not in str(caught.value)
    assert caught.value.uncertain == (event == "commit")
    report = check(butler.registry.database, butler.root, grace=0, repair=True)
    if event == "commit":  # nobody can know whether it came through: a file without a row may stay
        assert {f.problem for f in report.findings} <= {"orphan"}
    else:
        assert (report.n_files, report.findings) == (files, [])
    assert work() == answer
    assert check(butler.registry.database, butler.root, grace=0).findings == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_without_its_server_ends_and_is_continued(
    butler: Butler,
    repository: tuple[Path, dict[str, Any]],
    servers: PrivateServers,
    server_backend: str,
    jobs: int,
) -> None:
    output = f"out/{jobs}"
    ended: list[str] = []

    def progress(_label: str, state: str) -> None:
        ended.append(state)
        if ended.count("done") == 4:
            servers.kill(server_backend)

    with pytest.raises(DatabaseUnavailable, match=r"Is its server running\?$"):
        faults.run(butler.root, output, jobs, progress=progress)
    servers.start(server_backend)
    faults.assert_sound(butler, repair=True)
    faults.resumed(butler, output)
    assert faults.left_by(butler, output) == repository[1]


def large_exposures(batch: int) -> list[dict[str, Any]]:
    """Two hundred exposures with ten megabytes of facts that nothing can compress."""
    noise = random.Random(batch)
    return [
        {
            "instrument": "DemoCam",
            "id": 1000 * (1 + batch) + n,
            "obs_id": f"{batch}-{n}",
            "day_obs": 20250310,
            "observation_type": "science",
            "begin_tai_ns": 1000 * batch + n,
            "end_tai_ns": 1000 * batch + n + 1,
            "extra": {"facts": noise.randbytes(25_000).hex()},
        }
        for n in range(200)
    ]


@pytest.mark.small_disk
def test_a_server_whose_disk_is_full_loses_nothing(butler: Butler, disk: SmallDisk) -> None:
    def stored() -> set[int]:
        records = butler.query_dimension_records("exposure", data_id={"instrument": "DemoCam"})
        return {record["id"] for record in records if record["id"] >= 1000}

    taken: list[dict[str, Any]] = []
    with disk.full_but_for(8), pytest.raises(DatabaseUnavailable) as caught:
        for batch in range(12):
            butler.registry.insert_dimension_records("exposure", large_exposures(batch))
            taken += large_exposures(batch)
    assert str(caught.value).endswith(" is full; nothing was changed. Make room and repeat.")
    assert stored() == {record["id"] for record in taken}
    butler.registry.insert_dimension_records("exposure", large_exposures(99))
    assert stored() == {record["id"] for record in [*taken, *large_exposures(99)]}
