"""Does a repository stand that its programs are killed, at a few moments each?

The hundreds are in `python -m tests.kills`; this is the same with fewer, on each database with
files on disks and at S3.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.backbone import storage_servers
from tests.kills.killing import LIBRARIES, kill
from tests.kills.verbs import VERBS
from tests.kills.world import World
from tests.nursery import Nursery

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.databases import Databases

ON_DISKS, AT_S3 = 2, 1
"""Moments of each verb; of two, one is told by what it does, and one by the time."""


@pytest.fixture(scope="module")
def warm() -> Iterator[Nursery]:
    """One that has imported what the programs need."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in storage_servers.KEYS.items():
            patched.setenv(name, value)
        with Nursery(*LIBRARIES) as made:
            yield made


def assert_stands(nursery: Nursery, world: World, moments: int) -> None:
    seed = time.time_ns() % 1_000_000
    print(f"seed {seed}")  # noqa: T201 (shown when it fails)
    with world:
        drawn = [
            (verb, seed + n, (seed + n) % 2 if moments == 1 else 0) for n, verb in enumerate(VERBS)
        ]
        tried = [
            one
            for verb, dice, passed in drawn
            for one in kill(nursery, world, verb, passed + moments, dice, passed)
        ]
    assert [one for one in tried if one.faults] == []
    assert len(tried) == moments * len(VERBS)
    assert sum(one.killed for one in tried) > len(tried) // 2


def test_on_disks(warm: Nursery, databases: Databases, tmp_path: Path) -> None:
    with databases.migrated() as url:
        assert_stands(warm, World(tmp_path, url), ON_DISKS)


def test_at_s3(warm: Nursery, databases: Databases, tmp_path: Path) -> None:
    with databases.migrated() as url, storage_servers.s3() as storage:
        other = storage.root.replace("/data?", "/other?")
        assert_stands(warm, World(tmp_path, url, storage.root, other), AT_S3)
