"""How long does it take to bring datasets from one repository to another, and to remove them?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from butler import Butler
from registry import DatasetRef
from registry.identity import uuid7s

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.databases import Databases


@pytest.fixture
def n(timed: bool) -> int:
    """How many datasets; lsst-daf-butler was measured with 2,000."""
    return 2_000 if timed else 20


def took(what: str, do: Callable[[], object]) -> None:
    began, cpu = time.perf_counter(), time.process_time()
    do()
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(f"{what}: {wall:.3f} s, of which {cpu:.3f} s in this process")


def test_transfer_and_removal(tmp_path: Path, databases: Databases, n: int) -> None:
    with (
        databases.migrated() as first,
        databases.empty() as second,
        Butler.create(tmp_path / "a", first) as a,
        Butler.create(tmp_path / "b", second) as b,
    ):
        a.register_instrument("demo")
        keys = ("instrument", "detector", "healpix")
        kind = a.register_dataset_type("summary", keys, "StructuredDataDict")
        refs = [
            DatasetRef(i, kind, kind.data_id(instrument="DemoCam", detector=1, healpix=k), "run")
            for k, i in enumerate(uuid7s(n))
        ]
        a.store([({"n": k}, ref) for k, ref in enumerate(refs)])
        took(f"transfer of {n} with files", lambda: b.transfer_from(a, refs))
        took(f"the same again, {n} present", lambda: b.transfer_from(a, refs))
        took(f"purge of {n} stored", lambda: b.prune(refs, purge=True))
        took(f"removal of a run of {n} stored", lambda: a.remove_runs("run"))
        assert list(a.root.rglob("summary_*")) == list(b.root.rglob("summary_*")) == []
        assert b.query_datasets("summary", collections="run") == []
