"""Is an image the same bit by bit, however it is divided and whoever works on it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import median_filter

from tests.workflow.multicore import kernels
from workflow.multicore import BadTiles, Grant, SharedArray, Workers, tile_map, tile_reduce, use

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = np.random.default_rng(7).normal(1000.0, 30.0, (151, 97)).astype(np.float32)
SCIPY_NAMES = {"edge": "nearest", "reflect": "mirror", "symmetric": "reflect", "wrap": "wrap"}


@pytest.fixture(autouse=True, scope="module")
def _two_cores() -> Iterator[None]:
    with use(Grant(2)):
        yield


@pytest.mark.parametrize(
    ("way", "boundary"), [("processes", "wrap"), *(("threads", name) for name in SCIPY_NAMES)]
)
def test_tiles_with_a_halo_are_as_the_whole_image(way: str, boundary: str) -> None:
    whole = median_filter(IMAGE, 5, mode=SCIPY_NAMES[boundary])
    for tile in (None, (40, 31)):
        found = tile_map(kernels.median, IMAGE, halo=2, tile=tile, boundary=boundary, backend=way)
        assert found.dtype == np.float32
        assert np.array_equal(found, whole)


@given(
    rows=st.integers(3, 40), columns=st.integers(3, 40),
    tile=st.tuples(st.integers(1, 45), st.integers(1, 45)),
    halo=st.tuples(st.integers(1, 2), st.integers(2, 2)),
    boundary=st.sampled_from(sorted(SCIPY_NAMES)), workers=st.integers(1, 2),
)  # fmt: skip
def test_any_division_gives_the_same_bits(
    rows: int, columns: int, tile: tuple[int, int], halo: tuple[int, int], boundary: str,
    workers: int,
) -> None:  # fmt: skip
    image = np.random.default_rng(rows * 41 + columns).normal(size=(rows, columns))
    padded = np.pad(image, (halo[:1] * 2, halo[1:] * 2), mode=boundary)  # type: ignore[call-overload]
    expected = kernels.sharpened(padded)[halo[0] : -halo[0], halo[1] : -halo[1]]
    found = tile_map(
        kernels.sharpened, image, halo=halo, tile=tile, boundary=boundary, workers=workers
    )
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("boundary", SCIPY_NAMES)
def test_a_compiled_kernel_gives_the_same_bits(boundary: str) -> None:
    image = IMAGE.astype(np.float64)  # numba computes 3 * x of single precision in double
    plain = tile_map(kernels.sharpened, image, halo=2, boundary=boundary)
    for tile, workers in ((None, None), ((50, 20), 1)):
        found = tile_map(
            kernels.sharpened, image, halo=2, tile=tile, boundary=boundary, backend="numba",
            workers=workers,
        )  # fmt: skip
        assert np.array_equal(found, plain)


@pytest.mark.parametrize("way", ["threads", "processes"])
def test_several_images_and_a_result_of_another_kind(way: str) -> None:
    weight = np.linspace(0.0, 1.0, IMAGE.size).reshape(IMAGE.shape)
    found = tile_map(kernels.weighted, IMAGE, weight, dtype=np.float64, backend=way)
    assert found.dtype == np.float64
    assert np.array_equal(found, (IMAGE * weight).astype(np.float64))


@pytest.mark.parametrize("way", ["threads", "processes"])
def test_the_result_goes_where_it_is_wanted(way: str) -> None:
    expected = tile_map(kernels.median, IMAGE, halo=2)
    out = np.zeros(IMAGE.shape)
    assert tile_map(kernels.median, IMAGE, halo=2, out=out, backend=way) is out
    assert np.array_equal(out, expected)
    with SharedArray.copy_of(IMAGE) as image, SharedArray.create(IMAGE.shape, np.float32) as shared:
        made = tile_map(kernels.median, image, halo=2, out=shared, backend=way)
        assert made is shared.array
        assert np.array_equal(shared.array, expected)
        shared.array[:] = 0
        with Workers(way) as pool:  # those that stay
            for _ in range(2):
                tile_map(kernels.median, image, halo=2, out=shared, workers=pool)
        assert np.array_equal(shared.array, expected)


@pytest.mark.parametrize("way", ["threads", "processes"])
def test_reductions_are_in_the_order_of_the_tiles(way: str) -> None:
    values = IMAGE.astype(np.float64)
    alone = tile_reduce(np.sum, lambda a, b: a + b, values, workers=1)
    found = tile_reduce(np.sum, lambda a, b: a + b, values, backend=way)
    assert found == alone
    assert found == pytest.approx(values.sum(), rel=1e-12)
    assert tile_reduce(np.max, max, values, tile=(7, 9), backend=way) == values.max()


MISUSES: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((IMAGE, IMAGE[1:]), {}, "same shape"),
    ((IMAGE[0],), {}, "two axes"),
    ((IMAGE,), {"halo": 97}, r"halo of \(97, 97\) does not fit"),
    ((IMAGE,), {"halo": -1}, "does not fit"),
    ((IMAGE,), {"boundary": "mirror"}, "no boundary 'mirror'; take one of edge, reflect"),
    ((IMAGE,), {"tile": (0, 5)}, "at least one row and column"),
    ((IMAGE,), {"out": IMAGE[1:]}, "`out`"),
    ((IMAGE, IMAGE), {"backend": "numba"}, "takes one image, not 2"),
]


@pytest.mark.parametrize(("images", "how", "told"), MISUSES)
def test_what_cannot_be_divided_is_told(
    images: tuple[Any, ...], how: dict[str, Any], told: str
) -> None:
    with pytest.raises(BadTiles, match=told):
        tile_map(kernels.median, *images, **how)


@pytest.mark.parametrize("way", ["threads", "processes", "numba"])
def test_a_kernel_that_crops_is_told(way: str) -> None:
    with pytest.raises(BadTiles, match="same shape|another shape"):
        tile_map(kernels.cropped, IMAGE, halo=1, backend=way)
