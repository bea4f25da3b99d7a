"""How much faster is a real kernel on more cores, and from which size of image on?

`--timed` measures a median filter of 5 x 5 and a convolution with a PSF of 11 x 11 pixels on images
from 128 x 128 to 4096 x 4096, with threads, processes that share memory and, for the convolution,
a loop that numba compiles. Without it, the same runs on a small image and results are compared.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.ndimage import convolve, median_filter

from workflow.multicore import SharedArray, Workers, granted, tile_map

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SIZES = (128, 256, 512, 1024, 4096)
PSF = np.exp(-0.5 * (np.hypot(*np.mgrid[-5:6, -5:6]) / 1.5) ** 2)
PSF /= PSF.sum()


def median(block: NDArray[Any]) -> NDArray[Any]:
    filtered: NDArray[Any] = median_filter(block, 5)
    return filtered


def convolved(block: NDArray[Any]) -> NDArray[Any]:
    made: NDArray[Any] = convolve(block, PSF)
    return made


def convolved_loop(block: NDArray[Any]) -> NDArray[Any]:
    """Convolve pixel by pixel, in a way that numba compiles; the PSF is symmetric."""
    out = np.zeros_like(block)
    for y in range(5, block.shape[0] - 5):
        for x in range(5, block.shape[1] - 5):
            total = 0.0
            for j in range(11):
                for i in range(11):
                    total += PSF[j, i] * block[y + j - 5, x + i - 5]
            out[y, x] = total
    return out


def test_kernels_on_many_cores(timed: bool) -> None:
    for name, kernel, halo in (("median 5 x 5", median, 2), ("PSF 11 x 11", convolved, 5)):
        _table(name, kernel, halo, SIZES if timed else SIZES[:1], timed=timed)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_compiled_kernel(timed: bool, workers: int) -> None:
    size = 2048 if timed else 96
    image = np.random.default_rng(2).normal(1000.0, 30.0, (size, size))
    tile_map(convolved_loop, image[:64, :64], halo=5, backend="numba")  # compiled here
    seconds, found = _best(
        lambda: tile_map(convolved_loop, image, halo=5, backend="numba", workers=workers), timed
    )
    assert np.allclose(found, convolve(image, PSF, mode="mirror"), rtol=1e-12)
    print(f"\nPSF 11 x 11 compiled, {size} x {size}, {workers} thread(s): {1e3 * seconds:.0f} ms")


def _table(
    name: str, kernel: Callable[..., Any], halo: int, sizes: tuple[int, ...], *, timed: bool
) -> None:
    load = os.getloadavg()[0]
    print(f"\n{name}, {granted().cores} cores, load {load:.1f}; speed-up over one core")
    print(f"{'size':>6} {'one core':>10} {'threads':>9} {'processes':>10} {'kept':>7}")
    for size in sizes:
        image = np.random.default_rng(1).normal(1000.0, 30.0, (size, size)).astype(np.float32)
        often = timed and size <= 1024
        one, expected = _best(partial(at_once, kernel, halo, image), often)
        times = []
        for backend in ("threads", "processes"):
            work = partial(tile_map, kernel, image, halo=halo, backend=backend)
            seconds, found = _best(work, often)
            assert np.array_equal(found, expected)
            times.append(seconds)
        times.append(_kept(kernel, halo, image, expected, often))
        told = " ".join(f"{one / t:>9.2f}" for t in times)
        print(f"{size:>6} {1e3 * one:>7.1f} ms {told}")


def at_once(kernel: Callable[..., Any], halo: int, image: NDArray[Any]) -> NDArray[Any]:
    """Do it at once, on one core."""
    padded = np.pad(image, halo, mode="reflect")
    made: NDArray[Any] = kernel(padded)[halo:-halo, halo:-halo]
    return made


def _kept(
    kernel: Callable[..., Any], halo: int, image: NDArray[Any], expected: Any, often: bool
) -> float:
    """Measure processes that stay, and memory that is shared from the beginning."""
    with (
        SharedArray.copy_of(image) as shared,
        SharedArray.create(image.shape, np.float32) as out,
        Workers("processes") as pool,
    ):

        def work() -> None:
            tile_map(kernel, shared, halo=halo, out=out, workers=pool)

        work()  # starts them
        seconds, _ = _best(work, often)
        assert np.array_equal(out.array, expected)
    return seconds


def _best(work: Callable[[], Any], often: bool) -> tuple[float, Any]:
    best, result = np.inf, None
    for _ in range(3 if often else 1):
        began = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - began)
    return best, result
