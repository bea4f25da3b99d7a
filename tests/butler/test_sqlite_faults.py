"""What happens to an SQLite database that is locked, removed, put back or replaced?"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backbone.audit import check
from butler import Butler
from registry import Registry
from registry.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.nursery import Nursery

KEYS = {"instrument": "DemoCam", "detector": 1}
N_WRITERS, N_WRITES = 4, 20


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "registry.sqlite3"


@pytest.fixture
def butler(tmp_path: Path, file: Path) -> Iterator[Butler]:
    """A repository whose writers wait for a fifth of a second."""
    root, url = tmp_path / "repo", f"sqlite:///{file}?timeout=0.2"
    Butler.create(root, url).close()
    with Butler(root, run="u/test") as opened:
        opened.register_instrument("demo")
        opened.register_dataset_type("n", ("instrument", "detector"), "StructuredDataDict")
        yield opened


def verbs(butler: Butler) -> dict[str, Callable[[], object]]:
    """Verbs that need the database."""
    return {
        "put": lambda: butler.put({"n": 1}, "n", KEYS),
        "get": lambda: butler.get("n", KEYS),
        "query": lambda: butler.query_datasets("n"),
        "register": lambda: butler.collections.register("more"),
    }


def assert_nothing_there(butler: Butler) -> None:
    report = check(butler.registry.database, butler.root, grace=0)
    assert (report.n_files, report.findings) == (0, [])


def test_a_writer_that_waits_too_long_says_for_what(butler: Butler, file: Path) -> None:
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for name in ("put", "register"):
        with pytest.raises(DatabaseUnavailable) as caught:
            verbs(butler)[name]()
        assert str(caught.value) == (
            f"Another process has been writing to sqlite:///{file}?timeout=0.2 for more than "
            "0.2 s; nothing was changed. Repeat when it is done."
        )
    assert butler.query_datasets("n") == []  # who only reads need not wait
    other.execute("ROLLBACK")
    other.close()
    assert_nothing_there(butler)
    assert butler.get(butler.put({"n": 1}, "n", KEYS)) == {"n": 1}


def test_a_database_file_that_is_gone_is_not_written_into_nowhere(
    butler: Butler, file: Path, tmp_path: Path
) -> None:
    butler.query_datasets("n")
    for part in ("", "-wal", "-shm"):
        file.with_name(file.name + part).rename(tmp_path / f"away{part}")
    for name in verbs(butler):
        with pytest.raises(DatabaseUnavailable, match="is gone; nothing was changed. Put it back"):
            verbs(butler)[name]()
    assert not file.exists()
    for part in ("", "-wal", "-shm"):
        (tmp_path / f"away{part}").rename(file.with_name(file.name + part))
    assert_nothing_there(butler)
    assert butler.get(butler.put({"n": 1}, "n", KEYS)) == {"n": 1}


def test_a_database_restored_from_a_backup_is_taken_as_it_is(butler: Butler, file: Path) -> None:
    with sqlite3.connect(file) as source, sqlite3.connect(file.with_name("backup")) as backup:
        source.backup(backup)
    source.close()
    backup.close()
    lost = butler.put({"n": 1}, "n", KEYS)
    for part in ("-wal", "-shm"):
        file.with_name(file.name + part).unlink()
    shutil.move(file.with_name("backup"), file)
    assert butler.query_datasets("n") == []
    again = butler.put({"n": 2}, "n", KEYS)
    assert (again.id != lost.id, butler.get(again)) == (True, {"n": 2})


def test_a_relative_url_keeps_its_file_when_the_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Registry.create("sqlite:///here.sqlite3") as registry:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        registry.register_collection("run")
        assert [c.name for c in registry.collections()] == ["run"]


def test_a_file_that_is_no_database_is_told(butler: Butler, file: Path) -> None:
    butler.close()
    for part in ("-wal", "-shm"):
        file.with_name(file.name + part).unlink(missing_ok=True)
    file.write_bytes(b"SIMPLE  =                    T" * 100)
    with pytest.raises(DatabaseUnavailable, match="is not a sound SQLite database"):
        Registry.connect(f"sqlite:///{file}")


def test_no_writer_waits_until_all_others_have_ended(tmp_path: Path, nursery: Nursery) -> None:
    start = tmp_path / "start"
    os.mkfifo(start)
    with Butler.create(tmp_path / "repo") as butler:
        writes = ("tests.backbone.faults:writes", str(butler.root))
        children = [nursery.start(*writes, str(n), N_WRITES, str(start)) for n in range(N_WRITERS)]
        said = [iter(child) for child in children]
        assert [next(each) for each in said] == ["ready"] * N_WRITERS
        with start.open("r+b", buffering=0):  # which waits for nobody
            assert [list(each) for each in said] == [[]] * N_WRITERS
        assert [child.wait() for child in children] == [0] * N_WRITERS
        made = butler.registry.to_dataframe("SELECT name FROM collection ORDER BY id")
    order = [name.partition("/")[0] for name in made["name"]]
    assert len(order) == N_WRITERS * N_WRITES
    in_vain = []
    for writer in set(order):
        turns = [n for n, name in enumerate(order) if name == writer]
        in_vain.append(
            max(later - turn - 1 for turn, later in zip([-1, *turns], turns, strict=False))
        )
    *_, second, longest = sorted(in_vain)  # without turns they are 40 and 60 of the others' writes
    assert longest < (N_WRITERS - 1) * N_WRITES
    assert second < (N_WRITERS - 2) * N_WRITES


def test_a_writer_that_waits_says_for_whom(
    butler: Butler,
    file: Path,
    nursery: Nursery,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("registry.database.opening.SAY_AFTER", 0.05)
    holder = nursery.start(f"{__name__}:hold", str(file))
    said = iter(holder)
    assert next(said) == "held"
    whom = f"process {holder.pid}" if Path("/proc/locks").exists() else "another process"
    with pytest.raises(DatabaseUnavailable, match="has been writing"):
        butler.collections.register("more")
    assert caplog.messages == [f"Waiting for {whom}, which is writing to {file}; for up to 0.2 s."]
    holder.signal(signal.SIGKILL)
    holder.wait()
    assert butler.collections.register("more")


def hold(file: str) -> None:
    """Write to a database without an end."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    print("held", flush=True)  # noqa: T201
    signal.pause()
