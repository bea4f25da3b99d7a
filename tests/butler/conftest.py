"""A repository on each database, and one that holds the real frames of a week."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from butler import Butler
from tests.butler.three import Three

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
def night_frames(test_data: Path) -> Path:
    """Folder of the frames of OHP-T152."""
    return test_data / "ohp-t152-longslit-2022"


@pytest.fixture
def three(tmp_path: Path, engines: list[Databases]) -> Iterator[Three]:
    """A repository and two that it reads, on three kinds of databases."""
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(maker.migrated()) for maker in engines]
        yield Three(tmp_path, urls)
