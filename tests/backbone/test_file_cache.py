from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from backbone.cache_settings import CacheSettings
from backbone.errors import ChangedFile, EndpointAway, InvalidSetting
from backbone.file_cache import FileCache
from tests.backbone import storage_servers
from tests.backbone.cache_faults import N_FILES, SIZE, content, stored
from tests.disks import PAGE, small_disk
from tests.nursery import moments_to_die

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backbone.files import Stored
    from tests.backbone.storage_servers import Storage
    from tests.nursery import Nursery

PROGRAMS = "tests.backbone.cache_faults"
LARGE = 10**9


@pytest.fixture
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    with storage_servers.http(tmp_path_factory.mktemp("served")) as served:
        for n in range(N_FILES):
            served.seed(f"{n}.bin", content(n))
        yield served


@pytest.fixture
def files(storage: Storage) -> list[Stored]:
    return [stored(storage.root, n) for n in range(N_FILES)]


def read(cache: FileCache, copy: Stored) -> bytes | None:
    with cache.reading(copy) as place:
        return None if place is None else place.read_bytes()


def on_disk(folder: Path) -> int:
    return sum(place.stat().st_size for place in folder.glob("??/*"))


def test_a_file_is_fetched_once(tmp_path: Path, storage: Storage, files: list[Stored]) -> None:
    cache = FileCache(tmp_path / "cache", LARGE)
    assert [read(cache, file) for file in files] == [content(n) for n in range(N_FILES)]
    storage.stop()
    other = FileCache(tmp_path / "cache", LARGE)  # of another process
    assert [read(other, file) for file in files] == [content(n) for n in range(N_FILES)]
    told = other.info()
    assert (told.files, told.bytes, told.limit) == (N_FILES, N_FILES * SIZE, LARGE)
    assert (told.hits, told.misses, told.bypassed, told.hit_rate) == (N_FILES, N_FILES, 0, 0.5)
    assert (told.bytes_hit, told.bytes_fetched) == (N_FILES * SIZE, N_FILES * SIZE)
    assert sum(p.name.endswith((".part", ".lock")) for p in (tmp_path / "cache").rglob("??/*")) == 0
    assert cache.clear().files == N_FILES
    assert (cache.info().files, cache.info().hits, on_disk(tmp_path / "cache")) == (0, 0, 0)
    with pytest.raises(EndpointAway):
        read(cache, files[0])


def test_the_least_recently_used_goes_first(tmp_path: Path, files: list[Stored]) -> None:
    cache = FileCache(tmp_path, 5 * SIZE)
    for file in files[:4]:
        read(cache, file)
    with cache.reading(files[1]) as held:  # what is read stays
        assert held is not None
        for n in (0, 2, 4, 5):
            read(cache, files[n])
        assert held.read_bytes() == content(1)
    assert on_disk(tmp_path) <= 5 * SIZE
    assert [n for n, file in enumerate(files) if cache.place(file).exists()] == [1, 2, 4, 5]
    assert cache.info().evicted == 2


def test_what_cannot_be_kept_is_read_elsewhere(
    tmp_path: Path, files: list[Stored], caplog: pytest.LogCaptureFixture
) -> None:
    cache = FileCache(tmp_path / "small", SIZE)
    assert read(cache, files[0]) is None
    assert read(cache, replace(files[0], checksum=None)) is None
    (tmp_path / "file").touch()
    nowhere = FileCache(tmp_path / "file" / "cache", LARGE)
    assert read(nowhere, files[0]) is None
    assert read(nowhere, files[1]) is None
    assert caplog.messages == [
        f"Files cannot be kept in the cache {tmp_path}/file/cache (Not a directory); they are read "
        "where they lie."
    ]
    assert cache.info().bypassed == 2


def test_a_full_disk_is_passed_over(files: list[Stored], caplog: pytest.LogCaptureFixture) -> None:
    with small_disk(2) as disk:
        cache = FileCache(disk.folder / "cache", LARGE)
        assert read(cache, files[0]) == content(0)
        with disk.full_but_for(SIZE // PAGE // 2):
            assert read(cache, files[0]) == content(0)
            assert read(cache, files[1]) is None
        assert "Files cannot be kept in the cache" in caplog.text
        assert read(cache, files[1]) == content(1)


def test_a_file_that_was_changed_is_fetched_again(
    tmp_path: Path, storage: Storage, files: list[Stored], caplog: pytest.LogCaptureFixture
) -> None:
    cache = FileCache(tmp_path, LARGE)
    read(cache, files[0])
    for changed in (b"short", b"x" * SIZE):
        cache.place(files[0]).write_bytes(changed)
        assert read(cache, files[0]) == content(0)
    assert [m.endswith("is not what was fetched; it is fetched again.") for m in caplog.messages]
    storage.seed("1.bin", b"y" * SIZE)
    with pytest.raises(ChangedFile):
        read(cache, files[1])
    storage.seed("1.bin", content(1))
    assert read(cache, files[1]) == content(1)
    assert cache.info().bytes == 2 * SIZE


def test_parts_are_read_past_the_cache_until_that_costs_more(
    tmp_path: Path, files: list[Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FileCache(tmp_path, LARGE)
    assert cache.wants(files[0], part=True)  # it is small
    monkeypatch.setattr("backbone.file_cache.SMALL", SIZE - 1)
    assert not cache.wants(files[0], part=True)
    assert cache.wants(files[0], part=False)
    cache.read_in_parts(files[0], SIZE // 2)
    assert not cache.wants(files[0], part=True)
    cache.read_in_parts(files[0], SIZE // 2)
    assert cache.wants(files[0], part=True)
    assert not cache.wants(files[1], part=True)
    read(cache, files[1])
    assert cache.wants(files[1], part=True)


def test_processes_that_fetch_and_evict_at_the_same_time(
    tmp_path: Path, storage: Storage, nursery: Nursery
) -> None:
    program = f"{PROGRAMS}:reads"
    folder, room = str(tmp_path / "roomy"), str(tmp_path / "narrow")
    children = [nursery.start(program, storage.root, folder, LARGE, 3) for _ in range(3)]
    children += [nursery.start(program, storage.root, room, 3 * SIZE, 3) for _ in range(3)]
    assert [(list(child), child.wait()) for child in children] == [([], 0)] * 6
    told = FileCache(tmp_path / "roomy", LARGE).info()
    assert (told.misses, told.hits, told.bypassed) == (N_FILES, 8 * N_FILES, 0)
    told = FileCache(tmp_path / "narrow", 3 * SIZE).info()
    assert told.hits + told.misses + told.bypassed == 9 * N_FILES
    assert told.bytes == on_disk(tmp_path / "narrow") <= 3 * SIZE


def test_a_process_that_is_killed_while_it_fetches(
    tmp_path: Path, storage: Storage, files: list[Stored], nursery: Nursery
) -> None:
    program = f"{PROGRAMS}:dies"
    status, said = nursery.run(program, storage.root, str(tmp_path / "whole"), 0)
    assert status == 0
    folder = tmp_path / "cache"
    for moment in moments_to_die(int(said[-1]), kills=6):
        nursery.kill(program, storage.root, str(folder), moment)
        cache = FileCache(folder, 3 * SIZE)
        assert [read(cache, file) for file in files] == [content(n) for n in range(N_FILES)]
        assert cache.info().bytes == on_disk(folder) <= 3 * SIZE
        cache.clear()
        assert on_disk(folder) == 0


def test_settings_say_where_and_how_much(tmp_path: Path) -> None:
    said = {"folder": str(tmp_path), "files": "1.5 GB", "objects": 1000}
    assert CacheSettings.of(said, {}) == CacheSettings(tmp_path, 1_500_000_000, 1000)
    environment = {"SKYSPINE_CACHE_FILES": "2k", "SKYSPINE_CACHE_OBJECTS": "1MB"}
    assert CacheSettings.of(said, environment) == CacheSettings(tmp_path, 2000, 1_000_000)
    assert CacheSettings.of(said, {"SKYSPINE_CACHE_FILES": "0"}).folder is None
    assert CacheSettings.of(None, {}) == CacheSettings()
    for wrong, told in (
        ({"files": "1 GB"}, "it is not said where: set the folder"),
        ({"folder": "here", "files": "1 GB"}, "is absolute, and 'here' is not"),
        ({"fils": "1 GB"}, "knows no 'fils'.*(?i:did you mean 'files')"),
        ({"objects": "much"}, "The size of the cache of objects is such as '200 GB', not 'much'"),
        ("1 GB", "has folder, files, objects below it"),
    ):
        with pytest.raises(InvalidSetting, match=told):
            CacheSettings.of(wrong, {})  # type: ignore[arg-type]
