"""What workers of the tests do; other processes find it by name."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import median_filter
from threadpoolctl import threadpool_info

from workflow.multicore import SharedArray, Workers, granted, pmap

if TYPE_CHECKING:
    from numpy.typing import NDArray


def median(block: NDArray[Any]) -> NDArray[Any]:
    """Filter with a window of 5 x 5; what it makes of the outermost two rows is dropped."""
    filtered: NDArray[Any] = median_filter(block, 5)
    return filtered


def sharpened(block: NDArray[Any]) -> NDArray[Any]:
    """Look one pixel down and two to the right, in a way that numba compiles too."""
    out = np.zeros_like(block)
    for y in range(block.shape[0] - 1):
        for x in range(block.shape[1] - 2):
            out[y, x] = 3 * block[y, x] - block[y + 1, x] - block[y, x + 2]
    return out


def weighted(block: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    product: NDArray[Any] = block * weight
    return product


def cropped(block: NDArray[Any]) -> NDArray[Any]:
    return block[1:, 1:].copy()


def square(n: int) -> int:
    return n * n


def picky(n: int) -> int:
    if n in (3, 5):
        raise LookupError(f"not {n}")
    return n


def who(_: int) -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


def die(n: int) -> int:
    if n == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return n


def nested(_: int) -> tuple[int, int, int, set[tuple[int, int]]]:
    """Say what may be used within a worker, and who works in a pmap there."""
    blas = [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]
    with Workers("processes") as pool:
        count = pool.count
    return granted().cores, max(blas, default=1), count, set(pmap(who, range(6)))


def write_into(part: tuple[SharedArray, int]) -> int:
    shared, row = part
    shared.array[row] = row
    return os.getpid()


def leave_array(shape: tuple[int, ...]) -> None:
    """Make a shared array, say its name, and die with it."""
    made = SharedArray.create(tuple(shape))
    print(made.name, flush=True)  # noqa: T201
    os.kill(os.getpid(), signal.SIGKILL)


def pool_that_is_orphaned() -> None:
    """Start worker processes, say who they are, and die."""
    with Workers("processes", 2) as pool:
        for pid, _ in set(pool.map(who, range(8))):
            print(pid, flush=True)  # noqa: T201
        os.kill(os.getpid(), signal.SIGKILL)
