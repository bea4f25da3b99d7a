"""Is a shared array the same memory everywhere, and gone when its owner is?"""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.workflow.multicore import kernels
from workflow.multicore import Grant, NoSharedMemory, SharedArray, pmap, sweep, use

if TYPE_CHECKING:
    from tests.nursery import Nursery

MEMORY = Path("/dev/shm")  # noqa: S108 (where shared arrays are)


def test_other_processes_write_into_the_same_memory() -> None:
    with use(Grant(2)), SharedArray.create((6, 4), np.int32) as shared:
        assert (shared.array == 0).all()
        pids = pmap(kernels.write_into, [(shared, row) for row in range(6)], backend="processes")
        assert os.getpid() not in pids
        assert shared.array[:, 0].tolist() == list(range(6))


@pytest.mark.parametrize("shape", [(0, 5), (), (3,), (2, 3, 4)])
def test_any_shape_and_byte_order_is_kept(shape: tuple[int, ...]) -> None:
    values = np.arange(float(np.prod(shape))).reshape(shape).astype(">f4")
    with SharedArray.copy_of(values) as shared:
        other = pickle.loads(pickle.dumps(shared))
        assert other.array.dtype == np.dtype(">f4")
        assert np.array_equal(other.array, values)


def test_it_is_removed_with_its_block_and_with_its_owner() -> None:
    with SharedArray.create((4,)) as shared:
        assert (MEMORY / shared.name).exists()
    assert not (MEMORY / shared.name).exists()
    shared.remove()  # once more does no harm
    forgotten = SharedArray.create((4,))
    path = MEMORY / forgotten.name
    del forgotten
    assert not path.exists()


def test_what_a_killed_process_left_is_swept_and_nothing_else(nursery: Nursery) -> None:
    with SharedArray.create((4,)) as mine:
        child = nursery.start("tests.workflow.multicore.kernels:leave_array", [4, 5])
        [name] = list(child)
        child.wait()
        assert (MEMORY / name).exists()
        assert name in sweep() or not (MEMORY / name).exists()
        assert not (MEMORY / name).exists()
        assert (MEMORY / mine.name).exists()


def test_no_room_is_told_and_leaves_nothing() -> None:
    before = set(MEMORY.glob("skyspine-array-*"))
    free = shutil.disk_usage(MEMORY).free
    with pytest.raises(NoSharedMemory, match=r"no room in /dev/shm for an array of \d+ MiB"):
        SharedArray.create((2 * free,), np.uint8)
    assert set(MEMORY.glob("skyspine-array-*")) <= before


def test_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="Objects cannot lie in shared memory"):
        SharedArray.create((2,), object)
