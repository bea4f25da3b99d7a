"""A repository on each database, and one that holds the real frames of a week."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from backbone import endpoints
from butler import Butler
from tests.backbone import storage_servers
from tests.butler.three import Three

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.backbone.storage_servers import Storage
    from tests.databases import Databases


@pytest.fixture
def repository(tmp_path: Path, database_url: str) -> Path:
    """Folder of a new repository."""
    root = tmp_path / "repo"
    Butler.create(root, db=database_url).close()
    return root


@pytest.fixture
def butler(repository: Path) -> Iterator[Butler]:
    """Butler that writes to the run `u/test`, with a dataset type `summary` of one detector."""
    with Butler(repository, run="u/test") as opened:
        opened.register_instrument("demo")
        opened.register_dataset_type("summary", ("instrument", "detector"), "StructuredDataDict")
        yield opened


@pytest.fixture
def butler_of_targets(repository: Path) -> Iterator[Butler]:
    """Butler that writes to the run `u/test`, with a type `summary` of detector and target."""
    with Butler(repository, run="u/test") as opened:
        opened.register_instrument("demo")
        keys = ("instrument", "detector", "target")
        opened.register_dataset_type("summary", keys, "StructuredDataDict")
        yield opened


@pytest.fixture
def far_bucket(butler_of_targets: Butler, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """A bucket at S3 that is the endpoint `far` of that repository."""
    for name, value in storage_servers.KEYS.items():
        monkeypatch.setenv(name, value)
    with storage_servers.s3() as served:
        butler_of_targets.registry.database.transact(endpoints.register, "far", served.root)
        yield served


@pytest.fixture
def night_frames(test_data: Path) -> Path:
    """Folder of the frames of OHP-T152."""
    return test_data / "ohp-t152-longslit-2022"


@pytest.fixture
def three(tmp_path: Path, engines: list[Databases]) -> Iterator[Three]:
    """A repository and two that it reads, on three kinds of databases."""
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(maker.migrated()) for maker in engines]
        yield Three(tmp_path, urls)
