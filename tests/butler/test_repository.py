from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from butler import Butler
from butler.errors import RepositoryExists, RepositoryNotFound
from registry.errors import DatabaseUnavailable, RegistryError, WrongRevision

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


@pytest.mark.parametrize("text", ["", "db", "other: 1", "db: [", "- db", "db: 3"])
def test_settings_that_cannot_be_understood(tmp_path: Path, text: str) -> None:
    (tmp_path / "skyspine.yaml").write_text(text)
    with pytest.raises(RepositoryNotFound, match="skyspine.yaml"):
        Butler(tmp_path)


def test_a_database_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "skyspine.yaml").write_text("db: sqlite:///gone/registry.sqlite3")
    with pytest.raises(DatabaseUnavailable, match="cannot be opened"):
        Butler(tmp_path)


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


@pytest.fixture
def protected(tmp_path: Path) -> Iterator[Path]:
    """A repository that nobody may write to, root apart."""
    root = tmp_path / "repo"
    with Butler.create(root) as butler:
        butler.register_instrument("demo")
        butler.register_dataset_type("summary", ("instrument", "detector"), "StructuredDataDict")
        butler.put({"n": 1}, "summary", detector=1, run="u/test")
    # the root itself stays open, since SQLite reads a database in WAL mode with a file beside it
    everything = list(root.rglob("*"))
    for place in everything:
        place.chmod(0o555 if place.is_dir() else 0o444)
    yield root
    for place in everything:
        place.chmod(0o755)


def test_one_who_may_only_read_gets_and_is_told_why_a_put_fails(protected: Path) -> None:
    without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    done = subprocess.run(
        [*(without if os.geteuid() == 0 else []), sys.executable, "-c", READ_AND_PUT, protected],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[:1] == ["{'n': 1}"], done.stderr
    assert done.stdout.splitlines()[1].startswith("write-failed - "), done.stdout
    assert "ask for permission to write there" in done.stdout
    assert len(list(protected.rglob("summary_*"))) == 1
