"""How long do a put and a get of an image and of a table take, beside the library's own time?

``make bench`` prints both sides; the tests assert results only. Without ``--timed`` they run at a
small size, to see that they work.
"""

from __future__ import annotations

import hashlib
import itertools
import statistics
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


Times = dict[str, tuple[float, float]]


def compared(
    repeats: int, *, before: Callable[[], object] = lambda: None, **verbs: Callable[[], object]
) -> Times:
    """Give the least time of each verb, and the median of its processor time in all threads [ms].

    They take turns, so that none has the quieter time; what is done before each does not count.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in verbs}
    for _ in range(repeats):
        for name, verb in verbs.items():
            before()
            began, worked = time.perf_counter(), time.process_time()
            verb()
            took = time.perf_counter() - began, time.process_time() - worked
            times[name].append((1000 * took[0], 1000 * took[1]))
    return {
        name: (min(wall for wall, _ in each), statistics.median(cpu for _, cpu in each))
        for name, each in times.items()
    }


@pytest.fixture
def butler(tmp_path: Path) -> Iterator[Butler]:
    with Butler.create(tmp_path / "repo") as opened:
        opened.register_dataset_type("image", ("healpix",), "Exposure")
        opened.register_dataset_type("table", ("healpix",), "DataFrame")
        yield opened


def pixels(timed: bool) -> Any:
    n = 4096 if timed else 256
    return np.random.default_rng(3).normal(300, 3, (n, n)).astype(np.float32)


def printed(title: str, times: Times) -> None:
    told = (f"{name} {wall:.2f} ms ({cpu:.2f})" for name, (wall, cpu) in times.items())
    print(f"\n{title} (of a processor): " + ", ".join(told))


def test_image(tmp_path: Path, butler: Butler, timed: bool) -> None:
    data = pixels(timed)
    image = CCDData(data, unit="adu")
    theirs, ours = tmp_path / "theirs.fits", tmp_path / "ours.fits"
    stored: list[Any] = []

    def remove_old() -> None:
        theirs.unlink(missing_ok=True)
        ours.unlink(missing_ok=True)
        if len(stored) > 1:  # the disk's cache has room for a few
            butler.prune([stored.pop(0)], purge=True)

    def astropy_writes() -> None:
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data)]).writeto(theirs)

    def astropy_and_checksum() -> str:
        astropy_writes()
        with theirs.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def formatter_writes() -> None:
        get_formatter("fits-image").write(image, ours)

    def put() -> None:
        stored.append(butler.put(image, "image", run="r", healpix=next(FRESH)))

    repeats = REPEATS if timed else 2
    writing = {
        "astropy": astropy_writes,
        "astropy, then its checksum": astropy_and_checksum,
        "checksum alone": lambda: hashlib.sha256(data),
        "formatter": formatter_writes,
        "put": put,
    }
    printed("image written", compared(repeats, before=remove_old, **writing))
    astropy_writes()
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
@pytest.mark.parametrize("component", [None, "image"])
def test_box_of_one_percent(
    tmp_path: Path, name: str, kind: str, component: str | None, timed: bool
) -> None:
    data = pixels(timed).astype(kind)
    formatter, path = get_formatter(name), tmp_path / "x.fits"
    formatter.write(CCDData(data, unit="adu"), path)
    n = len(data)
    box = (n // 3, n // 2, n // 3 + n // 10, n // 2 + n // 10)
    times = compared(
        REPEATS if timed else 2,
        whole=lambda: formatter.read(path, component),
        box=lambda: formatter.read(path, component, {"bbox": box}),
    )
    printed(f"{name} {kind}, {component or 'exposure'}", times)
    print(f"  the box takes {100 * times['box'][0] / times['whole'][0]:.1f} % of the whole")
    part = formatter.read(path, "image", {"bbox": box})
    assert np.array_equal(part, data[box[1] : box[3], box[0] : box[2]])


def test_table(tmp_path: Path, butler: Butler, timed: bool) -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({f"c{n}": rng.normal(size=10_000 if timed else 100) for n in range(10)})
    theirs = tmp_path / "theirs.parquet"
    refs: list[Any] = []

    def put() -> None:
        refs.append(butler.put(frame, "table", run="r", healpix=next(FRESH)))

    repeats = 5 * REPEATS if timed else 2
    writing = {"pyarrow": lambda: pq.write_table(pa.Table.from_pandas(frame), theirs), "put": put}
    printed("table of 10 columns written", compared(repeats, **writing))
    reading = {
        "pyarrow": lambda: pq.read_table(theirs).to_pandas(),
        "get": lambda: butler.get(refs[-1]),
    }
    printed("table of 10 columns read", compared(repeats, **reading))
    pd.testing.assert_frame_equal(butler.get(refs[-1]), frame)
