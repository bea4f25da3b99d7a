"""Logging is configured anew for each test, and as it was after it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from workflow import logs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = list(root.handlers), root.level
    factory = logging.getLogRecordFactory()
    yield
    logs.close()
    root.handlers[:], root.level = before
    logging.setLogRecordFactory(factory)
