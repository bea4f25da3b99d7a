"""The demo repository as rows, one for all tests of a module: they only read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from registry import Registry
from tests.registry import observatory
from tests.sql import demo_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.databases import Databases


@pytest.fixture(scope="session")
def demo(databases: Databases) -> Iterator[Registry]:
    """Registry of the demo repository; tests must not write to it."""
    with databases.migrated() as url:
        registry = Registry.connect(url)
        demo_rows.fill(registry)
        yield registry
        registry.close()


@pytest.fixture
def filled(registry: Registry) -> Registry:
    """Registry with the small observatory of `tests.registry.observatory`; no dataset."""
    observatory.fill(registry)
    return registry
