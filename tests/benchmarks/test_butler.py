"""How long do the Butler's verbs take, on what lsst-daf-butler was measured with?

    python -m pytest tests/benchmarks/test_butler.py --timed -s -p no:xdist --db sqlite,postgresql

prints medians, and of longer verbs the time of one.  Without ``--timed`` it runs at a small size,
to see that the answers are right.
"""

from __future__ import annotations

import gc
import multiprocessing
import time
from typing import TYPE_CHECKING, Any

from butler import Butler, FileDataset
from tests.benchmarks.test_registry import observe
from tests.benchmarks.test_spine import SMALL, milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DOCUMENT = {"a": 1, "b": [1, 2, 3], "c": {"x": "y"}}
KEYS = ("instrument", "detector", "exposure")
N_EXPOSURES = 250
N_CLIENTS = 4


def data_ids(n_exposures: int) -> Iterator[dict[str, Any]]:
    """Give data IDs that are not yet there, one after the other."""
    for exposure in range(n_exposures):
        for detector in range(100):
            yield {"instrument": "Cam", "detector": detector, "exposure": exposure}


def once(what: str, verb: Callable[[], object]) -> None:
    """Print the time of a verb, and what of it this process's processor took."""
    gc.collect()  # what was made before is not this verb's
    began, busy = time.perf_counter(), time.process_time()
    verb()
    wall, busy = time.perf_counter() - began, time.process_time() - busy
    print(f"  {what:<40} {1000 * wall:10.1f} ms, processor {1000 * busy:.1f} ms")


def files(folder: Path, ids: Iterator[dict[str, Any]], n: int) -> list[FileDataset]:
    """Make small files."""
    folder.mkdir()
    made = []
    for k in range(n):
        path = folder / f"{k}.yaml"
        path.write_text(f"a: {k}\n")
        made.append(FileDataset(path, "meta", next(ids)))
    return made


def client(root: str, ids: list[dict[str, Any]], ready: Any, ended: Any) -> None:
    """Put datasets, as one of several processes."""
    with Butler(root, run="crowd", writeable=True) as butler:
        ready.wait()
        for data_id in ids:
            butler.put(DOCUMENT, "meta", data_id)
        ended.wait()


def test_verbs(tmp_path: Path, database_url: str, backend: str, timed: bool) -> None:
    small = 1 if timed else SMALL * 5
    n_puts, n_direct, n_copied = 500 // small, 10_000 // small, 2_000 // small
    ids = data_ids(N_EXPOSURES)
    with Butler.create(tmp_path / "repo", database_url) as butler:
        observe(butler.registry, N_EXPOSURES)
        butler.register_dataset_type("meta", KEYS, "StructuredDataDict")
    print(f"\n{backend}:")
    with Butler(tmp_path / "repo", run="run", writeable=True) as butler:
        asked = [next(ids) for _ in range(n_puts)]
        refs = []
        for what, verb in {
            "put a small dictionary": lambda i: refs.append(butler.put(DOCUMENT, "meta", asked[i])),
            "get by reference": lambda i: butler.get(refs[i]),
            "get by data ID": lambda i: butler.get("meta", asked[i]),
            "exists by data ID": lambda i: butler.exists("meta", asked[i]),
        }.items():
            print(f"  {what:<40} {milliseconds(verb, n_puts):10.2f} ms")
        assert butler.get("meta", asked[-1]) == DOCUMENT
        assert butler.exists("meta", asked[0])

        def together() -> None:
            with butler.transaction():
                for _ in range(n_puts):
                    butler.put(DOCUMENT, "meta", next(ids))

        once(f"{n_puts} puts in one transaction", together)
        direct, copied = (
            files(tmp_path / name, ids, n) for name, n in (("d", n_direct), ("c", n_copied))
        )
        once(
            f"ingest {n_direct} files, direct",
            lambda: butler.ingest(direct, run="direct", transfer="direct", checksums=False),
        )
        once(f"ingest {n_copied} files, copy", lambda: butler.ingest(copied, run="copied"))
        found = butler.query_datasets("meta", collections="copied")
        assert len(found) == n_copied
        once(f"delete {n_copied} stored datasets", lambda: butler.prune(found, purge=True))
    context = multiprocessing.get_context("spawn")
    ready, ended = context.Barrier(N_CLIENTS + 1), context.Barrier(N_CLIENTS + 1)
    shares = [[next(ids) for _ in range(n_puts)] for _ in range(N_CLIENTS)]
    clients = [
        context.Process(target=client, args=(str(tmp_path / "repo"), share, ready, ended))
        for share in shares
    ]
    for process in clients:
        process.start()
    ready.wait()
    began = time.perf_counter()
    ended.wait()
    rate = N_CLIENTS * n_puts / (time.perf_counter() - began)
    for process in clients:
        process.join()
    print(f"  {N_CLIENTS} processes putting {rate:>38.0f} /s")
    with Butler(tmp_path / "repo") as butler:
        assert len(butler.query_datasets("meta", collections="crowd")) == N_CLIENTS * n_puts
