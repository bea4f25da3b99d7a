"""How does a kernel run on all tiles at once when numba compiles it?

The tiles are shared among the threads of numba's own layer (OpenMP, or its work queue where there
is none), without the interpreter. See `workflow.multicore.tiles.tile_map`.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from workflow.multicore.errors import BadTiles, NoNumba
from workflow.multicore.grants import granted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["map_tiles"]

_one_at_a_time = threading.Lock()
"""The work queue serves one caller; others would oversubscribe the cores anyway."""


def map_tiles(
    kernel: Callable[..., Any],
    images: Sequence[Any],
    out: NDArray[Any],
    plan: Any,
    tiles: Sequence[Any],
    workers: int | None,
) -> NDArray[Any]:
    """Apply a compiled kernel to all tiles; see `workflow.multicore.tiles.tile_map`.

    Raises
    ------
    NoNumba
        If numba is not installed.
    BadTiles
        If there is more than one image.
    """
    try:
        import numba
    except ImportError as error:
        raise NoNumba(
            "numba is not installed: pip install 'skyspine[multicore]', or use backend='threads'."
        ) from error
    if len(images) != 1:
        raise BadTiles(f"A compiled kernel takes one image, not {len(images)}.")
    image = getattr(images[0], "array", images[0])
    (y, x), boundary = plan.halo, plan.boundary
    padded = np.pad(image, ((y, y), (x, x)), mode=boundary)
    bounds = np.array([(*tile.rows, *tile.columns) for tile in tiles], dtype=np.int64)
    cores = granted().cores if workers is None else min(workers, granted().cores)
    with _one_at_a_time:
        before = numba.get_num_threads()
        numba.set_num_threads(max(1, min(cores, _limit())))
        try:
            fits = _loop(kernel)(padded, out, bounds.reshape(-1, 4), y, x)
        finally:
            numba.set_num_threads(before)
    if not fits:
        raise BadTiles("The kernel returned a tile of another shape than it was given.")
    return out


def _limit() -> int:
    """Give how many threads numba was started with."""
    import numba

    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


@functools.lru_cache(maxsize=64)
def _loop(kernel: Callable[..., Any]) -> Callable[..., bool]:
    """Compile the loop over tiles for a kernel, once per process."""
    import numba

    compiled = kernel if hasattr(kernel, "py_func") else numba.njit(nogil=True)(kernel)

    @numba.njit(parallel=True, nogil=True)
    def loop(
        padded: NDArray[Any], out: NDArray[Any], bounds: NDArray[np.int64], y: int, x: int
    ) -> bool:
        wrong = np.zeros(len(bounds), dtype=np.bool_)
        for n in numba.prange(len(bounds)):
            top, bottom, left, right = bounds[n]
            block = padded[top : bottom + 2 * y, left : right + 2 * x]
            made = compiled(block)
            if made.shape != block.shape:
                wrong[n] = True
            else:
                rows, columns = bottom - top, right - left
                out[top:bottom, left:right] = made[y : y + rows, x : x + columns]
        return not wrong.any()

    return loop
