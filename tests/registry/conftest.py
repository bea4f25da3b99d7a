"""A registry with the observatory of `tests.registry.observatory` in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from registry import Registry
from tests.registry import observatory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.databases import Databases


@pytest.fixture
def filled(registry: Registry) -> Registry:
    """Registry with camera, nights, exposures and dataset types; no dataset."""
    observatory.fill(registry)
    return registry


@pytest.fixture(scope="module")
def shared(databases: Databases) -> Iterator[Registry]:
    """Like `filled`, one for all tests of a module, which undo what they write."""
    with databases.migrated() as url:
        registry = Registry.connect(url)
        observatory.fill(registry)
        yield registry
        registry.close()
