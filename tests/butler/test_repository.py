from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from butler import Butler
from butler.errors import (
    CopiedRepository,
    RepositoryError,
    RepositoryExists,
    RepositoryNotFound,
    UnreadableRepository,
)
from registry import Registry
from registry.errors import DatabaseUnavailable, ReadOnly, RegistryError, WrongRevision

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]

READ_AND_PUT = """
import sys
from butler import Butler
from registry.errors import SkyspineError
with Butler(sys.argv[1], collections="u/test") as reader:
    print(reader.get("summary", instrument="DemoCam", detector=1))
try:
    with Butler(sys.argv[1], run="u/test") as writer:
        writer.put({"n": 2}, "summary", instrument="DemoCam", detector=2)
except SkyspineError as error:
    print(error.code, "-", error)
"""
READ_FOR_EACH_LINE = """
import sys
from butler import Butler
with Butler(sys.argv[1]) as reader:
    for run in sys.stdin:
        print(reader.get("note", collections=run.strip()), flush=True)
"""


def test_a_repository_is_made_in_an_empty_database(tmp_path: Path, empty_database_url: str) -> None:
    with Butler.create(tmp_path / "deep" / "repo", db=empty_database_url) as butler:
        kind = butler.register_dataset_type("note", (), "StructuredDataDict")
        butler.put({"n": 1}, kind, run="u/test")
    with Butler(tmp_path / "deep" / "repo", collections="u/test") as butler:
        assert butler.get("note") == {"n": 1}


def test_a_repository_may_be_moved_with_its_database(tmp_path: Path) -> None:
    with Butler.create(tmp_path / "here") as butler:
        butler.register_dataset_type("note", (), "StructuredDataDict")
        butler.put({"n": 1}, "note", run="u/test")
    (tmp_path / "here").rename(tmp_path / "there")
    with Butler(tmp_path / "there", collections="u/test") as butler:
        assert butler.get("note") == {"n": 1}


def test_a_copy_of_a_repository_is_no_second_one(tmp_path: Path, database_url: str) -> None:
    """What one put would be missing in the other, and a check there would mark it as lost."""
    first, copied = tmp_path / "repo", tmp_path / "copy"
    fill(first, database_url)
    shutil.copytree(first, copied)
    (tmp_path / "link").symlink_to(first)
    Butler(tmp_path / "link").close()
    for take in (Butler, lambda root: Butler(root, run="u/test")):
        with pytest.raises(CopiedRepository, match=rf"copy is a copy of .* in {first}, and both"):
            take(copied)
    with pytest.raises(RepositoryExists, match="whose files lie in another folder; open that"):
        Butler.create(tmp_path / "new", database_url)
    assert not (tmp_path / "new").exists()
    first.rename(tmp_path / "old")
    Butler(tmp_path / "old").close()
    (tmp_path / "old").rename(first)
    (first / "skyspine.yaml").unlink()
    with Butler(copied, collections="u/test") as butler:
        assert butler.get("summary", detector=1) == {"n": 1}


def test_a_copy_with_a_database_of_its_own_is_one(tmp_path: Path) -> None:
    fill(tmp_path / "repo")
    shutil.copytree(tmp_path / "repo", tmp_path / "copy")
    for root in (tmp_path / "repo", tmp_path / "copy"):
        with Butler(root, collections="u/test") as butler:
            assert butler.get("summary", detector=1) == {"n": 1}


def test_settings_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "odd" / "skyspine.yaml").mkdir(parents=True)
    for root, told in (
        (tmp_path / "round", "cannot be read: Too many levels of symbolic links"),
        (tmp_path / "odd", "cannot be read: Is a directory"),
        (tmp_path / ("x" * 300), "cannot be read: File name too long"),
        ("a\0b", "holds a NUL"),
    ):
        with pytest.raises((UnreadableRepository, RepositoryNotFound), match=told):
            Butler(root)
        with pytest.raises(RepositoryError):
            Butler.create(root)
    with pytest.raises(RepositoryNotFound, match="a link that leads nowhere"):
        Butler.create(tmp_path / "round")


def test_no_repository(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(RepositoryNotFound, match="skyspine create"):
            Butler(folder)


def test_a_repository_is_not_made_twice(tmp_path: Path) -> None:
    Butler.create(tmp_path).close()
    with pytest.raises(RepositoryExists, match="already"):
        Butler.create(tmp_path)


def test_a_repository_is_not_made_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RepositoryNotFound, match="No repository can be made"):
        Butler.create(tmp_path / "file" / "repo")


def test_a_failed_creation_leaves_no_folder(tmp_path: Path, empty_database_url: str) -> None:
    url = sa.make_url(empty_database_url)
    absent = "/no/such/folder/x" if url.get_backend_name() == "sqlite" else "no_such_database"
    there = tmp_path / "there"
    there.mkdir()
    for root in (tmp_path / "new", there):
        with pytest.raises(DatabaseUnavailable, match="cannot be opened|must exist .CREATE DATAB"):
            Butler.create(root, url.set(database=absent).render_as_string(hide_password=False))
    assert list(tmp_path.iterdir()) == [there]
    assert list(there.iterdir()) == []


def test_a_folder_without_a_name() -> None:
    for take in (Butler, Butler.create):
        with pytest.raises(RepositoryNotFound, match="is empty"):
            take("")


@pytest.mark.parametrize("text", ["", "db", "other: 1", "db: [", "- db", "db: 3"])
def test_settings_that_cannot_be_understood(tmp_path: Path, text: str) -> None:
    (tmp_path / "skyspine.yaml").write_text(text)
    with pytest.raises(RepositoryNotFound, match="skyspine.yaml"):
        Butler(tmp_path)


def test_a_database_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "skyspine.yaml").write_text("db: sqlite:///gone/registry.sqlite3")
    with pytest.raises(DatabaseUnavailable, match="cannot be opened"):
        Butler(tmp_path)
    fill(tmp_path / "repo")
    file = tmp_path / "repo" / "registry.sqlite3"
    file.rename(tmp_path / "away")
    for run in (None, "u/test"):
        with pytest.raises(DatabaseUnavailable, match="is gone, and .* Put it back, or restore"):
            Butler(tmp_path / "repo", run=run)
    with pytest.raises(DatabaseUnavailable, match="There is no database"):
        Registry.connect(f"sqlite:///{file}")
    assert not file.exists()
    (tmp_path / "away").rename(file)
    with Butler(tmp_path / "repo", collections="u/test") as butler:
        assert butler.get("summary", detector=1) == {"n": 1}


def test_a_database_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "skyspine.yaml").write_text("db: oracle://host/db")
    with pytest.raises(RegistryError, match="SQLite, PostgreSQL or MariaDB"):
        Butler(tmp_path)


def test_another_revision_is_refused(repository: Path, database_url: str) -> None:
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(WrongRevision, match="install the version that wrote it"):
        Butler(repository)


def fill(root: Path, db: str | None = None) -> None:
    with Butler.create(root, db) as butler:
        butler.register_instrument("demo")
        butler.register_dataset_type("summary", ("instrument", "detector"), "StructuredDataDict")
        butler.put({"n": 1}, "summary", detector=1, run="u/test")


@contextlib.contextmanager
def protected(root: Path) -> Iterator[None]:
    """Let nobody write to a folder and what is below it, root apart."""
    everything = [root, *root.rglob("*")]
    for place in everything:
        place.chmod(0o555 if place.is_dir() else 0o444)
    yield
    for place in everything:
        place.chmod(0o755)


def for_anybody(script: str, root: Path) -> list[str]:
    """Give the command of a script that obeys permissions, whoever runs the tests."""
    without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    as_anybody = without if os.geteuid() == 0 else []
    return [*as_anybody, sys.executable, "-c", script, str(root)]


def read_and_put(root: Path) -> list[str]:
    done = subprocess.run(
        for_anybody(READ_AND_PUT, root), cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert not done.stderr
    return done.stdout.splitlines()


def test_a_folder_that_may_only_be_read_is_read_with_its_sqlite(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    fill(root)
    with protected(root):
        got, refused = read_and_put(root)
    assert got == "{'n': 1}"
    assert refused.startswith("read-only - The database sqlite:///"), refused
    assert "Open it for reading only, or ask its owner for the permission." in refused
    assert sorted(p.name for p in root.iterdir()) == ["registry.sqlite3", "skyspine.yaml", "u"]


def test_a_put_into_a_folder_that_may_only_be_read_leaves_nothing(
    tmp_path: Path, database_url: str
) -> None:
    root = tmp_path / "repo"
    fill(root, database_url)
    with protected(root):
        got, refused = read_and_put(root)
    assert got == "{'n': 1}"
    assert refused.startswith("write-failed - "), refused
    assert "ask for permission to write there" in refused
    with Butler(root, collections="u/test") as butler:
        assert len(butler.query_datasets("summary")) == 1
    assert len(list(root.rglob("summary_*"))) == 1


def test_who_may_only_read_sees_what_a_writer_adds(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    with Butler.create(root) as butler:
        butler.register_dataset_type("note", (), "StructuredDataDict")
        butler.put({"n": 1}, "note", run="one")
    root.chmod(0o555)
    (root / "registry.sqlite3").chmod(0o444)
    reader = subprocess.Popen(
        for_anybody(READ_FOR_EACH_LINE, root),
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    asked, answers = reader.stdin, reader.stdout
    assert asked is not None
    assert answers is not None

    def told(run: str) -> str:
        print(run, file=asked, flush=True)
        return answers.readline().strip()

    with reader:
        assert told("one") == "{'n': 1}"
        root.chmod(0o755)
        (root / "registry.sqlite3").chmod(0o644)
        with Butler(root, writeable=True) as writer:
            writer.put({"n": 2}, "note", run="two")
            root.chmod(0o555)
            assert told("two") == "{'n': 2}"
            root.chmod(0o755)
            writer.put({"n": 3}, "note", run="three")
        root.chmod(0o555)
        assert told("three") == "{'n': 3}"
        asked.close()
    root.chmod(0o755)
    assert reader.returncode == 0


def test_a_butler_for_reading_refuses_a_put_before_it_makes_a_file(butler: Butler) -> None:
    with Butler(butler.root) as reader:
        with pytest.raises(ReadOnly, match="writeable=True"):
            reader.put({"n": 1}, "summary", instrument="DemoCam", detector=1, run="u/test")
        with pytest.raises(ReadOnly, match="writeable=True"):
            reader.collections.register("new")
    assert not list(butler.root.rglob("summary_*"))
