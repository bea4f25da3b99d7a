"""What the ranks of the tests do; other processes find it by name."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from workflow.errors import UnprocessableData
from workflow.multicore import granted
from workflow.multinode import (
    ANY_SOURCE,
    LAND,
    MAX,
    MIN,
    PROD,
    SUM,
    GeometryError,
    Grid,
    RanksDisagree,
    Ring,
    SkyPatches,
)

if TYPE_CHECKING:
    from workflow.multinode import Communicator, Geometry

NEVER = threading.Event()


def several(comm: Communicator, programs: list[tuple[Any, ...]]) -> list[Any]:
    """Do one after the other: starting ranks takes longer than what most of the tests do."""
    return [program(comm, *arguments) for program, *arguments in programs]


def identity(comm: Communicator) -> tuple[int, int, int, int, str]:
    return comm.rank, comm.size, comm.Get_rank(), comm.Get_size(), comm.host


def ring_of_objects(comm: Communicator) -> Any:
    """Pass an object with arrays of awkward kinds around the ring; each is sent its own back."""
    mine: dict[str, Any] = {
        "rank": comm.rank,
        "big-endian": (np.arange(7) + comm.rank).astype(">f4"),
        "columns": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "sliced": np.arange(20)[::3],
        "empty": np.empty((0, 5), dtype=np.int16),
        "nothing": np.array(None),
        "records": np.array([(1, 2.5)], dtype=[("n", "i4"), ("x", "f8")]),
    }
    seen = mine
    for _ in range(comm.size):
        seen = comm.sendrecv(seen, (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size)
    return [
        (name, str(seen[name].dtype), seen[name].shape, bool(np.all(seen[name] == mine[name])))
        if name != "rank"
        else seen[name] == comm.rank
        for name in mine
    ]


def memory_is_free_again(comm: Communicator) -> list[float]:
    """Change an array right after it was sent, and what was received without harm to the sender."""
    array = np.full(300_000, float(comm.rank))
    to, source = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    comm.send(array, to)
    comm.Send(array, to, tag=1)
    array[:] = -1.0
    first = comm.recv(source)
    second = np.empty_like(first)
    comm.Recv(second, source, tag=1)
    first += 100.0
    return [float(first.min()), float(first.max()), float(second.min()), float(second.max()),
            float(array.max())]  # fmt: skip


def order_and_tags(comm: Communicator) -> Any:
    """Let every rank send to the first; it takes the second tag before the first."""
    if comm.rank:
        for n in range(5):
            comm.send((comm.rank, "even", n), 0, tag=2)
            comm.send((comm.rank, "odd", n), 0, tag=3)
        return None
    odd = [comm.recv(r, tag=3) for r in range(1, comm.size) for _ in range(5)]
    even = [comm.recv_from(ANY_SOURCE, tag=2) for _ in range(5 * (comm.size - 1))]
    assert all(source == obj[0] for source, obj in even)
    by_rank = sorted((obj for _, obj in even), key=lambda obj: obj[0])
    return [obj[1:] for obj in odd], [obj[1:] for obj in by_rank]


def collectives(comm: Communicator, root: int) -> dict[str, Any]:
    n = comm.rank + 1
    dealt = [f"for {r}" for r in range(comm.size)] if comm.rank == root else None
    comm.barrier()
    found = {
        "bcast": comm.bcast({"from": root} if comm.rank == root else None, root),
        "scatter": comm.scatter(dealt, root),
        "gather": comm.gather(n, root),
        "allgather": comm.allgather(n),
        "alltoall": comm.alltoall([(comm.rank, r) for r in range(comm.size)]),
        "sum": comm.reduce(n, SUM, root),
        "product": comm.allreduce(n, PROD),
        "largest": comm.allreduce(np.array([n, -n]), MAX).tolist(),
        "smallest": comm.allreduce(n, MIN),
        "all": comm.allreduce(n < comm.size, LAND),
        "in order": comm.allreduce(str(comm.rank)),
    }
    comm.Barrier()
    return found


def arrays(comm: Communicator, root: int) -> dict[str, Any]:
    mine = np.arange(4.0) + comm.rank
    everything = np.arange(3.0 * comm.size).reshape(comm.size, 3)
    spread = everything.astype(">i4") if comm.rank == root else np.zeros((comm.size, 3), ">i4")
    comm.Bcast(spread, root)
    part = np.empty(3)
    comm.Scatter(everything if comm.rank == root else None, part, root)
    gathered = np.empty((comm.size, 4)) if comm.rank == root else None
    comm.Gather(mine, gathered, root)
    all_of_them = np.empty((comm.size, 4))
    comm.Allgather(mine, all_of_them)
    summed = np.empty(4) if comm.rank == root else None
    comm.Reduce(mine, summed, root=root)
    largest = np.empty(4)
    comm.Allreduce(mine, largest, MAX)
    return {
        "Bcast": spread.tolist(),
        "Scatter": part.tolist(),
        "Gather": None if gathered is None else gathered.tolist(),
        "Allgather": all_of_them.tolist(),
        "Reduce": None if summed is None else summed.tolist(),
        "Allreduce": largest.tolist(),
    }


def pickled_beside_arrays(comm: Communicator) -> tuple[int, bool]:
    """Tell how many bytes rank 0 pickles while it sends a mebibyte to the others twice."""
    image = np.full((256, 512), comm.rank + 1.0)
    seen: list[int] = []
    dumps = pickle.dumps

    def counted(*arguments: Any, **options: Any) -> bytes:
        made = dumps(*arguments, **options)
        seen.append(len(made))
        return made

    if comm.rank == 0:
        pickle.dumps = counted
    try:
        comm.Bcast(image, 0)
        if comm.rank == 0:
            comm.Send(image * 2, 1)
        elif comm.rank == 1:
            comm.Recv(image, 0)
        comm.barrier()
    finally:
        if comm.rank == 0:
            pickle.dumps = dumps
    return sum(seen), bool((image == (2.0 if comm.rank == 1 else 1.0)).all())


def sum_of_floats(comm: Communicator) -> str:
    """Add numbers whose sum depends on the order."""
    return float(comm.allreduce([1e16, 1.0, -1e16, 1e-3][comm.rank % 4])).hex()


def large_both_ways(comm: Communicator, megabytes: int) -> float:
    """Send each other so much that no buffer of a system holds it."""
    frame = np.full(megabytes << 17, float(comm.rank))
    comm.Send(frame, (comm.rank + 1) % comm.size)
    out = np.empty_like(frame)
    comm.Recv(out, (comm.rank - 1) % comm.size)
    return float(out.mean())


def squares(comm: Communicator, n: int) -> Any:
    done: list[int] = []

    def square(k: int) -> int:
        done.append(k)
        return k * k

    return comm.map(square, range(n)), done


def slow_first(comm: Communicator, n: int) -> tuple[Any, int]:
    """Let one item last until all the others are done."""
    done: list[int] = []
    reached = 0

    def work(k: int) -> int:
        nonlocal reached
        done.append(k)
        if k == 0:  # the others have all the rest meanwhile
            reached = sum(comm.recv(tag=7) for _ in range(n - 1))
        else:
            comm.send(1, 1, tag=7)
        return k

    return comm.map(work, range(n)), len(done)


GEOMETRIES: dict[str, Geometry] = {
    "ring": Ring(5),
    "line": Ring(5, periodic=False),
    "ring of one": Ring(1),
    "ring of two": Ring(2),
    "grid": Grid(3, 4),
    "tube of two": Grid(2, 3, periodic=(True, False)),
    "patches": SkyPatches(3, 2),
}


def exchange(comm: Communicator, name: str) -> Any:
    """Let each place hear from its neighbours who they are and what they call it."""
    around = comm.on(GEOMETRIES[name])
    values = {place: f"value of {place}" for place in around.mine}
    heard = around.neighbor_allgather(values)
    told = around.neighbor_alltoall({
        place: {d: (place, d) for d in around.geometry.neighbours(place)} for place in around.mine
    })  # fmt: skip
    weights = {p: 0.1 * (n + 1) for n, p in enumerate(around.geometry.places)}
    total = around.total({place: weights[place] for place in around.mine})
    return around.gather(heard), around.gather(told), total.hex()


def diffusion(comm: Communicator, rows: int, columns: int, steps: int) -> Any:
    """Let halos of numpy arrays flow: a block of pixels for each cell of a torus."""
    around = comm.on(Grid(rows, columns, periodic=(True, True)))
    dice = np.random.default_rng(5)
    start = {place: dice.normal(size=(6, 5)) for place in around.geometry.places}
    field = {place: start[place] for place in around.mine}
    for _ in range(steps):
        halos = around.neighbor_alltoall({
            place: {"down": f[0], "up": f[-1], "left": f[:, 0], "right": f[:, -1]}
            for place, f in field.items()
        })  # fmt: skip
        for place, f in field.items():
            padded = np.pad(f, 1)
            padded[0, 1:-1], padded[-1, 1:-1] = halos[place]["down"], halos[place]["up"]
            padded[1:-1, 0], padded[1:-1, -1] = halos[place]["left"], halos[place]["right"]
            around_it = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
            field[place] = 0.5 * f + 0.125 * around_it
    return around.gather(field)


def raises_on(comm: Communicator, rank: int) -> None:
    if comm.rank == rank:
        raise UnprocessableData("the sky fell in", metadata={"level": 7})
    comm.recv(rank)


def cannot_travel(comm: Communicator) -> Any:
    return lambda: comm.rank


def killed_on(comm: Communicator, rank: int) -> None:
    comm.barrier()
    if comm.rank == rank:
        os.kill(os.getpid(), signal.SIGKILL)
    comm.recv(rank)


def late_on(comm: Communicator, rank: int, waited: float, late_by: float) -> None:
    """Let one rank not come to a barrier: others wait for the first, and the first for it."""
    comm.barrier()
    comm.timeout = waited
    if comm.rank == rank:
        NEVER.wait(late_by)
    comm.barrier()


def in_a_circle(comm: Communicator, waited: float) -> None:
    comm.timeout = waited
    comm.recv((comm.rank + 1) % comm.size)


def mixed_up(comm: Communicator) -> list[str]:
    """Let sender and receiver disagree in every way."""
    told = []
    for send, receive in (
        (lambda: comm.Send(np.arange(3), comm.rank),
         lambda: comm.Recv(np.empty(4, dtype=np.int64), comm.rank)),
        (lambda: comm.Send(np.arange(3), comm.rank), lambda: comm.recv(comm.rank)),
        (lambda: comm.send(3, comm.rank), lambda: comm.Recv(np.empty(3), comm.rank)),
        (lambda: comm.Send(np.array([None]), comm.rank), lambda: None),
        (lambda: comm.send(1, comm.size), lambda: None),
        (lambda: comm.send(1, 0, tag=-1), lambda: None),
        (lambda: comm.alltoall([1] * (comm.size + 1)), lambda: None),
        (lambda: comm.on(Ring(comm.size)).neighbor_allgather({}), lambda: None),
        (lambda: comm.on(Ring(comm.size)).allgather({"x": 1}), lambda: None),
    ):  # fmt: skip
        try:
            send()
            receive()
        except (RanksDisagree, GeometryError, TypeError) as error:
            told.append(str(error))
    return told


def cores(comm: Communicator) -> int:
    del comm
    return granted().cores


def says_who_it_is_and_waits(comm: Communicator) -> None:
    os.write(1, f"rank {os.getpid()}\n".encode())
    comm.recv(comm.rank)


SPRUNG: list[str] = []


def spring() -> None:
    SPRUNG.append("opened")


class Trap:
    """An object that acts when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return spring, ()
