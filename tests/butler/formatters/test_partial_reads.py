"""A part of a file costs a part of its bytes: on a counting file, over HTTP, and from S3."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from astropy.nddata import CCDData
from astropy.table import Table

from butler.errors import DamagedFile, MissingFile, ReadFailed
from butler.formatters import Source, get_formatter
from tests.butler.formatters import web

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

N = 2048
BOX = (700, 900, 905, 1105)  # 1 % of the pixels
N_ROWS = 400_000
RNG = np.random.default_rng(7)
PIXELS = RNG.normal(300, 3, (N, N)).astype(np.float32)
FRAME = pd.DataFrame({f"c{n}": RNG.normal(size=N_ROWS) for n in range(10)})

# What is written, the part that is read, what it must be, and its greatest share of the bytes.
PARTS: dict[str, tuple[str, Any, dict[str, Any], Any, float]] = {
    "plain image": (
        "fits-image",
        CCDData(PIXELS, unit="adu"),
        {"bbox": BOX},
        lambda got: np.array_equal(got.data, PIXELS[900:1105, 700:905]),
        0.03,
    ),
    "tiled image": (
        "fits-image-tiles",
        CCDData(PIXELS, unit="adu"),
        {"bbox": BOX},
        lambda got: np.array_equal(got.data, PIXELS[900:1105, 700:905]),
        0.06,
    ),
    "array": (
        "npy",
        PIXELS,
        {"rows": (1000, 1020)},
        lambda got: np.array_equal(got, PIXELS[1000:1020]),
        0.02,
    ),
    "arrays": (
        "npz",
        {"big": PIXELS, "small": PIXELS[:100, :100].copy()},
        {"arrays": "small"},
        lambda got: np.array_equal(got["small"], PIXELS[:100, :100]),
        0.02,
    ),
    "chunks": (
        "zarr",
        {"a": PIXELS},
        {"bbox": BOX},
        lambda got: np.array_equal(got["a"], PIXELS[900:1105, 700:905]),
        0.1,
    ),
    "tree": (
        "asdf",
        {"big": PIXELS, "small": np.arange(5)},
        {"names": "small"},
        lambda got: np.array_equal(got["small"], np.arange(5)),
        0.02,
    ),
    "column": (
        "parquet",
        FRAME,
        {"columns": ["c3"]},
        lambda got: got.equals(FRAME[["c3"]]),
        0.12,
    ),
    "rows of a column": (
        "parquet",
        FRAME,
        {"columns": ["c3"], "rows": (100, 200)},
        lambda got: got.equals(FRAME[["c3"]].iloc[100:200]),
        0.03,
    ),
    "rows of a FITS table": (
        "fits-table",
        Table.from_pandas(FRAME),
        {"rows": (1000, 2000)},
        lambda got: np.array_equal(got["c3"], FRAME["c3"].iloc[1000:2000]),
        0.02,
    ),
}


class CountedFile(io.FileIO):
    """A file that counts what is read of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.sent = 0

    def readinto(self, buffer: Any) -> int:
        got = super().readinto(buffer) or 0
        self.sent += got
        return got

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(-1 if size is None else size) or b""
        self.sent += len(found)
        return found

    def readall(self) -> bytes:
        found = super().readall() or b""
        self.sent += len(found)
        return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    for case, (name, obj, *_) in PARTS.items():
        get_formatter(name).write(obj, folder / case.replace(" ", "-"))
    return folder


@pytest.fixture(scope="module", params=["http", "s3"])
def served(request: pytest.FixtureRequest) -> Iterator[web.Served]:
    with web.http() if request.param == "http" else web.s3() as server:
        yield server


@pytest.mark.parametrize("case", PARTS)
def test_of_an_open_file(folder: Path, case: str) -> None:
    name, _, parameters, right, share = PARTS[case]
    path = folder / case.replace(" ", "-")
    with CountedFile(path) as stream:
        assert right(get_formatter(name).read(stream, None, parameters))
        assert stream.sent <= share * path.stat().st_size


@pytest.mark.parametrize("case", PARTS)
def test_over_the_network(folder: Path, served: web.Served, case: str) -> None:
    name, _, parameters, right, share = PARTS[case]
    path = folder / case.replace(" ", "-")
    served.put(path.name, path)
    before = served.counted.sent
    source = Source(served.url + path.name, served.options)
    assert right(get_formatter(name).read(source, None, parameters))
    assert served.counted.sent - before <= share * path.stat().st_size


def test_a_header_comes_without_its_pixels(folder: Path, served: web.Served) -> None:
    path = folder / "plain-image"
    served.put(path.name, path)
    before = served.counted.sent
    source = Source(served.url + path.name, served.options)
    get_formatter("fits-image").read(source, "header")
    assert served.counted.sent - before < 100_000


def test_what_is_not_there_or_damaged_is_told(tmp_path: Path, served: web.Served) -> None:
    fits = get_formatter("fits-image")
    with pytest.raises(MissingFile, match="skyspine check"):
        fits.read(Source(served.url + "absent.fits", served.options))
    (tmp_path / "x.fits").write_bytes(b"no FITS" * 1000)
    served.put("x.fits", tmp_path / "x.fits")
    with pytest.raises(DamagedFile, match="SIMPLE"):
        fits.read(Source(served.url + "x.fits", served.options))


def test_a_server_that_knows_no_ranges_sends_all_once(folder: Path) -> None:
    path = folder / "tiled-image"
    with web.http(ranges=False) as server:
        server.put(path.name, path)
        got = get_formatter("fits-image-tiles").read(server.url + path.name, None, {"bbox": BOX})
        assert np.array_equal(got.data, PIXELS[900:1105, 700:905])
        assert server.counted.sent <= 2 * path.stat().st_size


def test_a_server_that_is_away_or_a_strange_url_is_told() -> None:
    with web.http() as server:
        url = server.url + "x.yaml"
    with pytest.raises(ReadFailed, match="cannot be read"):
        get_formatter("yaml").read(url)
    with pytest.raises(ReadFailed, match="skyspine\\[remote\\]"):
        get_formatter("yaml").read("magic://host/x.yaml")
