"""A repository with a few datasets, on each database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from butler import Butler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def repository(tmp_path: Path, database_url: str) -> Path:
    """Folder of a repository that knows DemoCam and the dataset type `summary`."""
    root = tmp_path / "repo"
    with Butler.create(root, db=database_url) as butler:
        butler.register_instrument("demo")
        butler.register_dataset_type(
            "summary", ("instrument", "detector", "target"), "StructuredDataDict"
        )
    return root


@pytest.fixture
def butler(repository: Path) -> Iterator[Butler]:
    """Butler that writes to the run `u/test`."""
    with Butler(repository, run="u/test") as opened:
        yield opened
