"""A repository on each database, and one that holds the real frames of a week."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from butler import Butler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
