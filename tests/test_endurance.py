"""Do eight writers and eight readers get along for some seconds?

The minutes are in `python -m tests.endurance`; this is the same with less time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.endurance.enduring import LIBRARIES, PROGRAMS, endure, new_seed
from tests.nursery import Nursery

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.databases import Databases

SECONDS = 8.0
FRAMES = "ohp-t152-longslit-2022/bias"


@pytest.fixture(scope="module")
def busy() -> Iterator[Nursery]:
    """Starter of processes that have imported what they need."""
    with Nursery(*LIBRARIES, *PROGRAMS) as made:
        yield made


def test_many_writers_and_readers_are_told_what_is_true(
    busy: Nursery, databases: Databases, tmp_path: Path, test_data: Path
) -> None:
    seed = new_seed()
    frames = sorted((test_data / FRAMES).glob("*.fits.gz"))[:2]
    with databases.empty() as url:
        found = endure(busy, tmp_path / "work", url, SECONDS, frames, seed)
    print("\n".join([f"seed {seed}", *found.lines()]))  # noqa: T201 (shown when it fails)
    assert found.faults == []
    kinds = {"put", "insert", "tag", "certify", "find", "query"}
    assert kinds <= found.times.keys()
