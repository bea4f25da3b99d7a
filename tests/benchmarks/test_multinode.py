"""How long do two ranks take to start, to hear from each other, and to exchange an image?

    python -m pytest tests/benchmarks/test_multinode.py --timed -s -p no:xdist --db sqlite

prints for each back end the time from the call to the result of two ranks that do nothing, and the
shortest of many ways there of a number and of an image of 34 MB. Without ``--timed``, two back
ends are seen to give back what was sent.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from workflow.multinode import launch

if TYPE_CHECKING:
    from collections.abc import Callable

    from workflow.multinode import Communicator

TIMED = (300, 20, 2048)
SMALL = (3, 2, 64)


def nothing(comm: Communicator) -> int:
    return comm.size


def there_and_back(
    comm: Communicator, n_numbers: int, n_images: int, width: int
) -> tuple[float, float]:
    """Send numbers, then images, to rank 1 and back; give the shortest times there [s]."""
    image = np.full((width, width), 1.0 + comm.rank)

    def number() -> None:
        if comm.rank == 0:
            comm.send(7, 1)
            assert comm.recv(1) == 7
        else:
            comm.send(comm.recv(0), 0)

    def pixels() -> None:
        if comm.rank == 0:
            comm.Send(image, 1)
            comm.Recv(image, 1)
        else:
            comm.Recv(image, 0)
            comm.Send(image, 0)

    found = _shortest(number, n_numbers) / 2, _shortest(pixels, n_images) / 2
    assert (image == 1.0).all()
    return found


def _shortest(verb: Callable[[], None], n: int) -> float:
    times = []
    for _ in range(n):
        began = time.perf_counter()
        verb()
        times.append(time.perf_counter() - began)
    return min(times)


def measure(way: str, timed: bool, **options: Any) -> None:
    began = time.perf_counter()
    assert launch(nothing, ranks=2, backend=way, **options) == [2, 2]
    start = time.perf_counter() - began
    size = TIMED if timed else SMALL
    [found, _] = launch(there_and_back, *size, ranks=2, backend=way, **options)
    number, image = found
    assert min(found) > 0
    print(
        f"\n{way}: {start:.2f} s to start and end two ranks (load {os.getloadavg()[0]:.0f}), "
        f"a number {1e6 * number:.0f} µs, {size[-1] ** 2 * 8e-6:.1f} MB {1e3 * image:.2f} ms"
    )


@pytest.mark.parametrize("way", ["threads", "processes", "mpi"])
def test_two_ranks(way: str, timed: bool) -> None:
    if timed or way != "mpi":
        measure(way, timed)


def test_two_ranks_at_a_broker(rabbitmq: str, timed: bool) -> None:
    if timed:
        measure("rabbitmq", timed, url=rabbitmq)
