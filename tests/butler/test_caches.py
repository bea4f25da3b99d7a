from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from backbone import endpoints
from butler import Butler
from butler.errors import MissingFile
from butler.object_cache import ObjectCache, frozen
from registry.errors import MissingDataset
from tests.backbone import storage_servers
from workflow.cli import root as command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry.identity import DatasetRef
    from tests.backbone.storage_servers import Storage

KEYS = {"instrument": "DemoCam", "detector": 1}
IMAGE = np.arange(250_000, dtype=float).reshape(500, 500)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    for name, value in storage_servers.KEYS.items():
        monkeypatch.setenv(name, value)
    with storage_servers.s3() as served:
        yield served


@pytest.fixture
def repository(tmp_path: Path, database_url: str, s3: Storage) -> Path:
    """Folder of a repository that stores at S3 and keeps what it reads."""
    root = tmp_path / "repo"
    with Butler.create(root, db=database_url) as butler:
        butler.register_instrument("demo")
        butler.register_dataset_type("frame", ("instrument", "detector"), "Array")
        butler.registry.database.transact(endpoints.register, "far", s3.root)
    config = root / "skyspine.yaml"
    said = yaml.safe_load(config.read_text())
    said["cache"] = {"folder": str(tmp_path / "kept"), "files": "10 MB", "objects": "5 MB"}
    config.write_text(yaml.safe_dump(said))
    return root


@pytest.fixture
def ref(repository: Path) -> DatasetRef:
    with Butler(repository, run="u/test") as butler:
        return butler.put(IMAGE, "frame", KEYS, endpoint="far")


def told(root: Path, *words: str) -> str:
    done = CliRunner().invoke(command, ["cache", *words[:1], str(root), *words[1:]])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_dataset_is_fetched_and_read_once(repository: Path, ref: DatasetRef, s3: Storage) -> None:
    with Butler(repository, writeable=True) as butler, Butler(repository) as other:
        first = butler.get(ref)
        first[:] = 0  # whoever got it may change it
        s3.stop()
        assert np.array_equal(butler.get(ref), IMAGE)
        assert np.array_equal(butler.get(ref.dataset_type, KEYS, collections="u/test"), IMAGE)
        assert np.array_equal(other.get(ref), IMAGE)  # of another process: from the file
        info = butler.cache_info()
        assert (info["objects"].hits, info["objects"].misses) == (2, 1)
        assert (info["files"].hits, info["files"].misses, info["files"].files) == (1, 1, 1)
        butler.prune([ref])
        for one in (butler, other):
            with pytest.raises(MissingDataset):
                one.get(ref)
    assert '"hit_rate": 0.5' in told(repository, "show", "--format", "json")
    assert "limit" in told(repository, "show")
    assert told(repository, "clear").startswith("Removed 1 files of 2000128 bytes.")


def test_a_part_does_not_fetch_the_whole(
    repository: Path, ref: DatasetRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backbone.file_cache.SMALL", 1000)
    with Butler(repository) as butler:
        part = {"rows": (10, 20)}
        assert np.array_equal(butler.get(ref, parameters=part), IMAGE[10:20])
        assert np.array_equal(butler.get(ref, parameters=part), IMAGE[10:20])
        info = butler.cache_info()
        assert (info["files"].files, info["objects"].hits) == (0, 1)
        most = {"rows": (0, 499)}
        assert np.array_equal(butler.get(ref, parameters=most), IMAGE[:499])
        assert butler.cache_info()["files"].files == 0
        again = {"rows": (1, 500)}
        assert np.array_equal(butler.get(ref, parameters=again), IMAGE[1:])
        assert butler.cache_info()["files"].files == 1  # cheaper from now on


def test_a_file_that_is_gone_is_told_with_a_cache_too(repository: Path, ref: DatasetRef) -> None:
    with Butler(repository) as butler:
        there = butler.registry.database.ask(endpoints.named, "far").remote()
        (path,) = there.list()
        there.remove(path)
        with pytest.raises(MissingFile, match="is gone, though it is recorded"):
            butler.get(ref)


def test_without_a_word_nothing_is_kept(tmp_path: Path) -> None:
    Butler.create(tmp_path / "plain").close()
    done = CliRunner().invoke(command, ["cache", "show", str(tmp_path / "plain")])
    assert done.exit_code == 1
    assert "No files of servers are kept here. To keep some, write into" in done.output


def test_objects_are_kept_by_bytes() -> None:
    cache = ObjectCache(2000)
    made: list[str] = []

    def read(name: str, size: int = 100) -> Any:
        made.append(name)
        return np.zeros(size)

    for name in ("a", "b", "a", "c", "a", "b"):  # 800 bytes and a little each
        cache.get(name, lambda name=name: read(name))  # type: ignore[misc]
    assert made == ["a", "b", "c", "b"]
    cache.get("huge", lambda: read("huge", 1000))
    cache.get("huge", lambda: read("huge", 1000))
    cache.get("code", lambda: lambda: None)  # which cannot be measured
    info = cache.info()
    assert (info.files, info.hits, info.misses, info.bypassed, info.evicted) == (2, 2, 4, 3, 2)
    assert info.bytes <= 2000
    cache.clear()
    assert cache.info().files == 0
    assert frozen({"rows": np.arange(5000)}) != frozen({"rows": np.arange(5000) * 2})
    assert frozen({"rows": lambda: None}) is None
