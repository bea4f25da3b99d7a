"""How is an image worked on piece by piece, by many cores at a time?

`tile_map` gives a kernel each tile with a border of its neighbours (the halo) and keeps the middle
of what it returns: for kernels that look no further than the halo, the result is the same bit by
bit however the image is divided, whoever works on it. `tile_reduce` makes one value of the tiles,
in a fixed order. The tiles do not depend on the number of workers.
"""

from __future__ import annotations

import functools
from contextlib import ExitStack, nullcontext
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workflow.multicore.errors import BadTiles
from workflow.multicore.shared import SharedArray
from workflow.multicore.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import DTypeLike, NDArray

    Kernel = Callable[..., NDArray[Any]]
    Image = NDArray[Any] | SharedArray

__all__ = ["BOUNDARIES", "tile_map", "tile_reduce"]

BOUNDARIES = ("edge", "reflect", "symmetric", "wrap")
_STRIPS = 32
"""Into how many strips an image is divided when nobody says how."""
_LEAST = 32
"""Rows of a strip at least: of narrower ones, halos would be a large part."""


class _Tile(NamedTuple):
    """Rows and columns of a tile."""

    rows: tuple[int, int]
    columns: tuple[int, int]


class _Plan(NamedTuple):
    """How an image is divided."""

    shape: tuple[int, int]
    halo: tuple[int, int]
    boundary: str


def tile_map(
    kernel: Kernel,
    *images: Image,
    halo: int | tuple[int, int] = 0,
    tile: tuple[int, int] | None = None,
    boundary: str = "reflect",
    out: Image | None = None,
    dtype: DTypeLike | None = None,
    backend: str = "threads",
    workers: int | Workers | None = None,
) -> NDArray[Any]:
    """Apply a kernel to an image tile by tile.

    Parameters
    ----------
    kernel : callable
        Given a tile with its halo of each image, it returns an array of the same shape, of which
        the halo is dropped. For ``numba`` it is compiled, and takes one image.
    *images : array or SharedArray, shape (rows, columns)
        One or several of the same shape.
    halo : int or (int, int)
        Rows and columns around a tile that the kernel needs.
    tile : (int, int), optional
        Rows and columns of a tile; strips of whole rows by default.
    boundary : {'edge', 'reflect', 'symmetric', 'wrap'}
        What lies beyond the image, as `numpy.pad` names it.
    out : array or SharedArray, optional
        Where the result goes; a new array by default.
    dtype : dtype, optional
        Of a new result; that of the first image by default.
    backend : {'threads', 'processes', 'numba'}
        What works. Processes share the memory of the images: those that are no `SharedArray` are
        copied once.
    workers : int or Workers, optional
        How many at most; or those that are to do it, whatever ``backend`` says.

    Returns
    -------
    array, shape (rows, columns)
        The result, which is ``out`` if that is given.

    Raises
    ------
    BadTiles
        If images differ in shape, the halo is larger than they are, or the kernel changes the
        shape of a tile.
    """
    backend = workers.backend if isinstance(workers, Workers) else backend
    plan = _plan(images, halo, boundary)
    tiles = _tiles(plan.shape, tile)
    if out is not None and _array(out).shape != plan.shape:
        raise BadTiles(f"The result has shape {plan.shape}, and `out` {_array(out).shape}.")
    if backend == "numba":
        from workflow.multicore.compiled import map_tiles

        result = np.empty(plan.shape, dtype or _array(images[0]).dtype) if out is None else out
        count = workers.count if isinstance(workers, Workers) else workers
        return map_tiles(kernel, images, _array(result), plan, tiles, count)
    with ExitStack() as stack:
        if backend == "processes":
            images = tuple(_shared(image, stack) for image in images)
        target = out
        if target is None or (backend == "processes" and not isinstance(target, SharedArray)):
            wanted = dtype or _array(images[0] if out is None else out).dtype
            target = (
                stack.enter_context(SharedArray.create(plan.shape, wanted))
                if backend == "processes"
                else np.empty(plan.shape, wanted)
            )
        work = functools.partial(_mapped, kernel, images, target, plan)
        with _pool(backend, workers) as pool:
            pool.map(work, tiles)
        made = _array(target)
        if out is not None:
            if target is not out:
                _array(out)[...] = made
            return _array(out)
        return np.array(made) if backend == "processes" else made


def tile_reduce(
    kernel: Callable[..., Any],
    combine: Callable[[Any, Any], Any],
    *images: Image,
    tile: tuple[int, int] | None = None,
    backend: str = "threads",
    workers: int | Workers | None = None,
) -> Any:
    """Make one value of an image: of each tile, and then of these, from the first to the last.

    Parameters
    ----------
    kernel : callable
        Given a tile of each image, it returns a value.
    combine : callable
        Given two values, it returns one; it is called in the order of the tiles.
    *images, tile, backend, workers
        As for `tile_map`; ``numba`` is no back end here.

    Examples
    --------
    >>> tile_reduce(np.max, max, np.arange(12).reshape(3, 4), tile=(1, 4))
    np.int64(11)
    """
    backend = workers.backend if isinstance(workers, Workers) else backend
    plan = _plan(images, 0, "edge")
    with ExitStack() as stack:
        if backend == "processes":
            images = tuple(_shared(image, stack) for image in images)
        work = functools.partial(_reduced, kernel, images)
        with _pool(backend, workers) as pool:
            return functools.reduce(combine, pool.map(work, _tiles(plan.shape, tile)))


def _pool(backend: str, workers: int | Workers | None) -> AbstractContextManager[Workers]:
    """Give workers that are there already, or new ones for one call."""
    return nullcontext(workers) if isinstance(workers, Workers) else Workers(backend, workers)


def _mapped(kernel: Kernel, images: Sequence[Image], out: Image, plan: _Plan, tile: _Tile) -> None:
    made = kernel(*(_block(_array(image), plan, tile) for image in images))
    wanted = tuple(b - a + 2 * h for (a, b), h in zip(tile, plan.halo, strict=True))
    if made.shape != wanted:
        raise BadTiles(
            f"The kernel was given a tile of {wanted} and returned {made.shape}; it returns an "
            "array of the same shape, halo included."
        )
    (y, x), (rows, columns) = plan.halo, tile
    core = made[y : wanted[0] - y, x : wanted[1] - x]
    _array(out)[rows[0] : rows[1], columns[0] : columns[1]] = core


def _reduced(kernel: Callable[..., Any], images: Sequence[Image], tile: _Tile) -> Any:
    rows, columns = tile
    place = np.s_[rows[0] : rows[1], columns[0] : columns[1]]
    return kernel(*(_array(image)[place] for image in images))


def _block(image: NDArray[Any], plan: _Plan, tile: _Tile) -> NDArray[Any]:
    """Cut out a tile with its halo: a view, but at the borders of the image."""
    ranges = [(a - h, b + h) for (a, b), h in zip(tile, plan.halo, strict=True)]
    if all(a >= 0 and b <= n for (a, b), n in zip(ranges, image.shape, strict=True)):
        return image[ranges[0][0] : ranges[0][1], ranges[1][0] : ranges[1][1]]
    places = [
        np.pad(np.arange(n), h, mode=plan.boundary)[a + h : b + h]  # type: ignore[call-overload]
        for (a, b), h, n in zip(ranges, plan.halo, image.shape, strict=True)
    ]
    found: NDArray[Any] = image[np.ix_(*places)]
    return found


def _plan(images: Sequence[Image], halo: int | tuple[int, int], boundary: str) -> _Plan:
    shapes = {_array(image).shape for image in images}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        told = ", ".join(map(str, sorted(shapes))) or "none"
        raise BadTiles(f"Images have two axes and the same shape; these have {told}.")
    shape = next(iter(shapes))
    around = (halo, halo) if isinstance(halo, int) else halo
    if boundary not in BOUNDARIES:
        raise BadTiles(f"There is no boundary '{boundary}'; take one of {', '.join(BOUNDARIES)}.")
    if min(around) < 0 or any(h >= n for h, n in zip(around, shape, strict=True) if h):
        raise BadTiles(f"A halo of {around} does not fit around an image of {shape}.")
    return _Plan(shape, around, boundary)


def _tiles(shape: tuple[int, int], tile: tuple[int, int] | None) -> list[_Tile]:
    """Divide an image, the same way whoever works on it."""
    size = tile or (max(_LEAST, -(-shape[0] // _STRIPS)), max(1, shape[1]))
    if min(size) < 1:
        raise BadTiles(f"A tile has at least one row and column, not {size}.")
    rows, columns = (
        [*range(0, n, step), n] if n else [0] for n, step in zip(shape, size, strict=True)
    )
    return [_Tile(r, c) for r in pairwise(rows) for c in pairwise(columns)]


def _array(image: Image) -> NDArray[Any]:
    return image.array if isinstance(image, SharedArray) else image


def _shared(image: Image, stack: ExitStack) -> SharedArray:
    if isinstance(image, SharedArray):
        return image
    return stack.enter_context(SharedArray.copy_of(image))
