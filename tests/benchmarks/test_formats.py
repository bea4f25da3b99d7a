"""How long do a put and a get of an image and of a table take, beside the library's own time?

``make bench`` prints both sides; the tests assert results only. Without ``--timed`` they run at a
small size, to see that they work.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.nddata import CCDData

from butler import Butler
from butler.formatters import get_formatter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REPEATS = 7
FRESH = itertools.count()


def compared(repeats: int, **verbs: Callable[[], object]) -> dict[str, float]:
    """Give the least time of each verb [ms]; they take turns, so that none has the quieter time."""
    times: dict[str, list[float]] = {name: [] for name in verbs}
    for _ in range(repeats):
        for name, verb in verbs.items():
            began = time.perf_counter()
            verb()
            times[name].append(1000 * (time.perf_counter() - began))
    return {name: min(each) for name, each in times.items()}


@pytest.fixture
def butler(tmp_path: Path) -> Iterator[Butler]:
    with Butler.create(tmp_path / "repo") as opened:
        opened.register_dataset_type("image", (), "Exposure")
        opened.register_dataset_type("table", (), "DataFrame")
        yield opened


def pixels(timed: bool) -> Any:
    n = 4096 if timed else 256
    return np.random.default_rng(3).normal(300, 3, (n, n)).astype(np.float32)


def printed(title: str, times: dict[str, float]) -> None:
    print(f"\n{title}: " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in times.items()))


def test_image(tmp_path: Path, butler: Butler, timed: bool) -> None:
    data = pixels(timed)
    image = CCDData(data, unit="adu")
    theirs = tmp_path / "theirs.fits"

    def astropy_writes() -> None:
        theirs.unlink(missing_ok=True)
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data)]).writeto(theirs)

    def formatter_writes() -> None:
        path = tmp_path / "ours.fits"
        path.unlink(missing_ok=True)
        get_formatter("fits-image").write(image, path)

    def put() -> None:
        last = butler.put(image, "image", run=f"r{next(FRESH)}")
        if len(stored) > 1:  # the disk's cache has room for a few
            butler.prune([stored.pop(0)], purge=True)
        stored.append(last)

    stored: list[Any] = []
    repeats = REPEATS if timed else 2
    writing = {"astropy": astropy_writes, "formatter": formatter_writes, "put": put}
    printed("image written", compared(repeats, **writing))
    ref = stored[-1]

    def astropy_reads() -> Any:
        with fits.open(theirs, memmap=False) as hdus:
            return hdus[1].data.astype(np.float32)

    reading = {"astropy": astropy_reads, "get": lambda: butler.get(ref)}
    printed("image read", compared(repeats, **reading))
    assert np.array_equal(butler.get(ref).data, data)
    assert np.array_equal(astropy_reads(), data)


@pytest.mark.parametrize("name", ["fits-image", "fits-image-tiles"])
@pytest.mark.parametrize("kind", ["float32", "int32"])
def test_box_of_one_percent(tmp_path: Path, name: str, kind: str, timed: bool) -> None:
    data = pixels(timed).astype(kind)
    formatter, path = get_formatter(name), tmp_path / "x.fits"
    formatter.write(CCDData(data, unit="adu"), path)
    n = len(data)
    box = (n // 3, n // 2, n // 3 + n // 10, n // 2 + n // 10)
    times = compared(
        REPEATS if timed else 2,
        whole=lambda: formatter.read(path, "image"),
        box=lambda: formatter.read(path, "image", {"bbox": box}),
    )
    printed(f"{name} {kind}", times)
    print(f"  the box takes {100 * times['box'] / times['whole']:.1f} % of the whole")
    part = formatter.read(path, "image", {"bbox": box})
    assert np.array_equal(part, data[box[1] : box[3], box[0] : box[2]])


def test_table(tmp_path: Path, butler: Butler, timed: bool) -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({f"c{n}": rng.normal(size=10_000 if timed else 100) for n in range(10)})
    theirs = tmp_path / "theirs.parquet"
    refs: list[Any] = []

    def put() -> None:
        refs.append(butler.put(frame, "table", run=f"r{next(FRESH)}"))

    repeats = 5 * REPEATS if timed else 2
    writing = {"pyarrow": lambda: pq.write_table(pa.Table.from_pandas(frame), theirs), "put": put}
    printed("table of 10 columns written", compared(repeats, **writing))
    reading = {
        "pyarrow": lambda: pq.read_table(theirs).to_pandas(),
        "get": lambda: butler.get(refs[-1]),
    }
    printed("table of 10 columns read", compared(repeats, **reading))
    pd.testing.assert_frame_equal(butler.get(refs[-1]), frame)
