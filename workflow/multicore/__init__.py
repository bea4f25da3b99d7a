"""Work that is divided among the cores of one machine.

A tour:

- `pmap` applies a function to items with threads or processes (`Workers` keeps them for several
  calls);
- `tile_map` applies a kernel to an image tile by tile, with a halo, by threads, processes that
  share its memory, or a loop that numba compiles; `tile_reduce` makes one value of it;
- `SharedArray` is an array that processes share;
- `granted` says what the job may use (cores, memory per core) and `use` limits a block to a
  `Grant`; everything here obeys it, and work within a worker has the worker's share.
"""

from __future__ import annotations

from workflow.multicore.errors import (
    BadGrant,
    BadTiles,
    CannotTravel,
    MultiCoreError,
    NoNumba,
    NoSharedMemory,
    WorkerLost,
)
from workflow.multicore.grants import Grant, granted, hold, use
from workflow.multicore.shared import SharedArray, sweep
from workflow.multicore.tiles import tile_map, tile_reduce
from workflow.multicore.workers import Workers, pmap

__all__ = [
    "BadGrant",
    "BadTiles",
    "CannotTravel",
    "Grant",
    "MultiCoreError",
    "NoNumba",
    "NoSharedMemory",
    "SharedArray",
    "WorkerLost",
    "Workers",
    "granted",
    "hold",
    "pmap",
    "sweep",
    "tile_map",
    "tile_reduce",
    "use",
]
