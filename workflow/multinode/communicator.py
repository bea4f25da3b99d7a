"""How do the ranks of one task talk to each other?

A `Communicator` has the verbs of mpi4py by the same names: those in small letters take any object,
those with a capital take numpy arrays and pickle nothing. All are made of two primitives of the
back end (`workflow.multinode.endpoint`), reductions in the order of ranks, so that one contract
holds for all back ends and results are the same on each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from workflow.multinode.endpoint import ANY_SOURCE, Endpoint
from workflow.multinode.errors import RanksDisagree
from workflow.multinode.messages import Message, decode, decode_into, encode, encode_array
from workflow.multinode.neighbours import Neighbourhood
from workflow.multinode.operations import SUM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from workflow.multinode.geometry import Geometry

    Operation = Callable[[Any, Any], Any]

__all__ = ["Communicator"]

_T = TypeVar("_T")
_R = TypeVar("_R")

MAX_TAG = 9_999
_BCAST, _GATHER, _SCATTER, _ALLTOALL, _ITEM, _RESULT = range(10_000, 10_006)


class Communicator(Endpoint):
    """One rank of a group; every rank calls the collective verbs in the same order.

    ``size`` ranks count from 0. A verb that waits raises `RankLate` after ``timeout`` seconds.
    """

    def __repr__(self) -> str:
        return f"<{type(self).__name__} rank {self.rank} of {self.size} on {self.host}>"

    def Get_rank(self) -> int:  # noqa: N802 (mpi4py's name)
        """Give the number of this rank, as ``rank`` does."""
        return self.rank

    def Get_size(self) -> int:  # noqa: N802 (mpi4py's name)
        """Give the number of ranks, as ``size`` does."""
        return self.size

    # From one rank to another

    def send(self, obj: Any, dest: int, tag: int = 0) -> None:
        """Send an object; the memory of its arrays is free again when this returns.

        Parameters
        ----------
        dest : int
            Rank that receives it; this one too.
        tag : int
            0 to 9999; messages of one source and tag keep their order.
        """
        self._post(self._known(dest), _user(tag), encode(obj))

    def recv(self, source: int = ANY_SOURCE, tag: int = 0, *, timeout: float | None = None) -> Any:
        """Wait for an object.

        Parameters
        ----------
        source : int
            Rank that sends it; ANY_SOURCE for whichever is first.
        timeout : float, optional
            How long to wait [s]; that of the communicator by default.

        Raises
        ------
        RankLate
            If it does not come in time.
        """
        return self.recv_from(source, tag, timeout=timeout)[1]

    def recv_from(
        self, source: int = ANY_SOURCE, tag: int = 0, *, timeout: float | None = None
    ) -> tuple[int, Any]:
        """Wait for an object, as `recv`, and give the rank that sent it too."""
        sender, message = self._take(self._sources(source), _user(tag), timeout)
        return sender, decode(message)

    def sendrecv(self, obj: Any, dest: int, source: int = ANY_SOURCE, tag: int = 0) -> Any:
        """Send an object to one rank and wait for one of another; a whole ring may do so."""
        self.send(obj, dest, tag)
        return self.recv(source, tag)

    def Send(self, array: NDArray[Any], dest: int, tag: int = 0) -> None:  # noqa: N802
        """Send an array as it lies in memory."""
        self._post(self._known(dest), _user(tag), encode_array(array))

    def Recv(  # noqa: N802
        self, out: NDArray[Any], source: int = ANY_SOURCE, tag: int = 0
    ) -> int:
        """Receive an array into one of the same dtype and shape; give the rank that sent it."""
        sender, message = self._take(self._sources(source), _user(tag))
        decode_into(message, out)
        return sender

    # All ranks together

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self._collect(Message(b""), 0)
        self._spread(Message(b"") if self.rank == 0 else None, 0)

    def Barrier(self) -> None:  # noqa: N802 (mpi4py's name)
        """Wait until every rank is here, as `barrier` does."""
        self.barrier()

    def bcast(self, obj: _T | None = None, root: int = 0) -> _T:
        """Give every rank the object of one."""
        if self.rank == root:
            self._spread(encode(obj), root)
            return obj  # type: ignore[return-value]
        received: _T = decode(self._spread(None, root))
        return received

    def scatter(self, objs: Sequence[_T] | None = None, root: int = 0) -> _T:
        """Give each rank its own of a sequence that one has.

        Raises
        ------
        RanksDisagree
            If the sequence has not one item for each rank.
        """
        mine = self._dealt(objs, root)
        own: _T = mine if self.rank == root else decode(mine)
        return own

    def gather(self, obj: _T, root: int = 0) -> list[_T] | None:
        """Give one rank the objects of all, by rank; the others None."""
        if self.rank != root:
            self._post(root, _GATHER, encode(obj))
            return None
        others = (r for r in range(self.size) if r != root)
        found = {r: decode(self._take((r,), _GATHER)[1]) for r in others}
        return [obj if r == root else found[r] for r in range(self.size)]

    def allgather(self, obj: _T) -> list[_T]:
        """Give every rank the objects of all, by rank."""
        return self.bcast(self.gather(obj))

    def alltoall(self, objs: Sequence[_T]) -> list[_T]:
        """Send each rank its own of a sequence; give what each rank sent to this one."""
        if len(objs) != self.size:
            raise RanksDisagree(f"{len(objs)} objects for {self.size} ranks; give one for each.")
        for dest in (r for r in range(self.size) if r != self.rank):
            self._post(dest, _ALLTOALL, encode(objs[dest]))
        return [
            objs[r] if r == self.rank else decode(self._take((r,), _ALLTOALL)[1])
            for r in range(self.size)
        ]

    def reduce(self, obj: _T, op: Operation = SUM, root: int = 0) -> _T | None:
        """Join the objects of all in the order of ranks; the others get None."""
        if self.rank != root:
            self._post(root, _GATHER, encode(obj))
            return None
        joined: Any = None
        for r in range(self.size):
            one = obj if r == root else decode(self._take((r,), _GATHER)[1])
            joined = one if r == 0 else op(joined, one)
        return joined  # type: ignore[no-any-return]

    def allreduce(self, obj: _T, op: Operation = SUM) -> _T:
        """Join the objects of all in the order of ranks, for every rank."""
        return self.bcast(self.reduce(obj, op))

    def map(
        self,
        function: Callable[[_T], _R],
        items: Iterable[_T] = (),
        *,
        root: int = 0,
        timeout: float | None = None,
    ) -> list[_R] | None:
        """Apply a function to items, each on the rank that is free next.

        One rank hands them out, one at a time, and works itself only when it is alone.

        Parameters
        ----------
        function : callable
            The same on every rank.
        items : iterable
            Only those of ``root`` count.
        timeout : float, optional
            How long one item may take [s]; as long as the communicator waits by default.

        Returns
        -------
        list or None
            Results in the order of the items, on ``root``.
        """
        if self.size == 1:
            return [function(item) for item in items]
        if self.rank == root:
            return self._hand_out(items, root, timeout)
        while (given := decode(self._take((root,), _ITEM)[1])) is not None:
            self._post(root, _RESULT, encode(function(given[0])))
        return None

    def _hand_out(self, items: Iterable[Any], root: int, timeout: float | None) -> list[Any]:
        waiting = enumerate(items)
        busy: dict[int, int] = {}
        results: dict[int, Any] = {}

        def feed(rank: int) -> None:
            n, item = next(waiting, (None, None))
            self._post(rank, _ITEM, encode(None if n is None else (item,)))
            if n is not None:
                busy[rank] = n

        for rank in (r for r in range(self.size) if r != root):
            feed(rank)
        while busy:
            rank, message = self._take(tuple(busy), _RESULT, timeout)
            results[busy.pop(rank)] = decode(message)
            feed(rank)
        return [results[n] for n in sorted(results)]

    def on(self, geometry: Geometry) -> Neighbourhood:
        """Divide the places of a geometry among the ranks, for exchange between neighbours."""
        return Neighbourhood(self, geometry)

    # All ranks together, arrays without pickle

    def Bcast(self, array: NDArray[Any], root: int = 0) -> None:  # noqa: N802
        """Fill the array of every rank with that of one."""
        message = self._spread(encode_array(array) if self.rank == root else None, root)
        if self.rank != root:
            decode_into(message, array)

    def Scatter(  # noqa: N802
        self, sendbuf: NDArray[Any] | None, recvbuf: NDArray[Any], root: int = 0
    ) -> None:
        """Fill each rank's array with its own part, along the first axis, of one rank's array."""
        parts = None if sendbuf is None else [encode_array(part) for part in sendbuf]
        message = self._dealt(parts, root, ready=True)
        decode_into(message, recvbuf)

    def Gather(  # noqa: N802
        self, sendbuf: NDArray[Any], recvbuf: NDArray[Any] | None, root: int = 0
    ) -> None:
        """Fill one rank's array with the arrays of all, along a first axis by rank."""
        messages = self._collect(encode_array(sendbuf), root)
        if messages is None:
            return
        if recvbuf is None or len(recvbuf) != self.size:
            raise RanksDisagree(f"Rank {root} gives an array whose first axis is {self.size} long.")
        for message, part in zip(messages, recvbuf, strict=True):
            decode_into(message, part)

    def Allgather(self, sendbuf: NDArray[Any], recvbuf: NDArray[Any]) -> None:  # noqa: N802
        """Fill every rank's array with the arrays of all, along a first axis by rank."""
        self.Gather(sendbuf, recvbuf)
        self.Bcast(recvbuf)

    def Reduce(  # noqa: N802
        self,
        sendbuf: NDArray[Any],
        recvbuf: NDArray[Any] | None,
        op: Operation = SUM,
        root: int = 0,
    ) -> None:
        """Join the arrays of all, element by element in the order of ranks, into one rank's."""
        if self.rank != root:
            self._post(root, _GATHER, encode_array(sendbuf))
            return
        if recvbuf is None:
            raise RanksDisagree(f"Rank {root} gives an array that receives the result.")
        joined: NDArray[Any] = sendbuf
        for r in range(self.size):
            one = sendbuf
            if r != root:
                one = np.empty_like(sendbuf)
                decode_into(self._take((r,), _GATHER)[1], one)
            joined = one if r == 0 else op(joined, one)
        recvbuf[...] = joined

    def Allreduce(  # noqa: N802
        self, sendbuf: NDArray[Any], recvbuf: NDArray[Any], op: Operation = SUM
    ) -> None:
        """Join the arrays of all, element by element in the order of ranks, into every rank's."""
        self.Reduce(sendbuf, recvbuf, op)
        self.Bcast(recvbuf)

    # What they are made of

    def _known(self, rank: int) -> int:
        if not 0 <= rank < self.size:
            raise RanksDisagree(f"There is no rank {rank}: {self.size} ranks count from 0.")
        return rank

    def _sources(self, source: int) -> Sequence[int]:
        if source != ANY_SOURCE:
            return (self._known(source),)
        return (*(r for r in range(self.size) if r != self.rank), self.rank)

    def _spread(self, message: Message | None, root: int) -> Message:
        """Pass a message on from one rank to all along a binomial tree."""
        self._known(root)
        place = (self.rank - root) % self.size
        reach = 1
        while reach < self.size and not place & reach:
            reach *= 2
        if message is None:
            above = (place - reach + root) % self.size
            message = self._take((above,), _BCAST)[1]
        while (reach := reach // 2) > 0:
            if place + reach < self.size:
                self._post((place + reach + root) % self.size, _BCAST, message)
        return message

    def _collect(self, message: Message, root: int) -> list[Message] | None:
        if self.rank != self._known(root):
            self._post(root, _GATHER, message)
            return None
        return [message if r == root else self._take((r,), _GATHER)[1] for r in range(self.size)]

    def _dealt(self, parts: Sequence[Any] | None, root: int, *, ready: bool = False) -> Any:
        """Send each rank its part; ready parts are messages, others are made into such."""
        if self.rank != self._known(root):
            return self._take((root,), _SCATTER)[1]
        if parts is None or len(parts) != self.size:
            n = "nothing" if parts is None else len(parts)
            raise RanksDisagree(f"Rank {root} gives {n} for {self.size} ranks; give one for each.")
        for dest in (r for r in range(self.size) if r != root):
            self._post(dest, _SCATTER, parts[dest] if ready else encode(parts[dest]))
        return parts[root]


def _user(tag: int) -> int:
    if not 0 <= tag <= MAX_TAG:
        raise RanksDisagree(f"A tag is a number from 0 to {MAX_TAG}, not {tag}.")
    return tag
