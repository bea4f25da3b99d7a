"""How do ranks work together as processes of one machine?

Each rank listens on a socket in a private folder and connects to others when it first sends to
them; threads bring what arrives, so that two ranks may send each other any amount at once. Arrays
travel as raw memory. The process that started the ranks sees how each ends, and ends the others
when one fails or is killed; ranks end with it.
"""

from __future__ import annotations

import multiprocessing
import platform
import secrets
import signal
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from multiprocessing.connection import Client, Listener, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from workflow.leash import end_with
from workflow.multicore.grants import Grant, granted, hold
from workflow.multinode.communicator import Communicator
from workflow.multinode.endpoint import MailboxEndpoint
from workflow.multinode.errors import RankLost
from workflow.multinode.messages import decode, encode, read, write
from workflow.multinode.outcomes import Outcome, concluded, failed, perform

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from workflow.multinode.messages import Message
    from workflow.multinode.outcomes import Job

__all__ = ["SocketCommunicator", "Sockets", "Transport", "run", "run_over"]


class Transport(Protocol):
    """How the processes of a group reach each other; it travels to each."""

    def join(self, rank: int, size: int, timeout: float) -> AbstractContextManager[Communicator]:
        """Become a rank of the group."""


class SocketCommunicator(MailboxEndpoint, Communicator):
    """A rank that is reached by a UNIX socket.

    Parameters
    ----------
    folder : str
        Where the sockets of the group are.
    key : bytes
        What ranks prove to each other that they have.
    """

    def __init__(self, rank: int, size: int, timeout: float, folder: str, key: bytes) -> None:
        super().__init__(rank, [platform.node()] * size, timeout)
        self._folder = folder
        self._key = key
        self._ways: dict[int, tuple[threading.Lock, Connection]] = {}
        self._opening = threading.Lock()
        self._listener = Listener(self._address(rank), "AF_UNIX", backlog=size, authkey=key)
        threading.Thread(target=self._accept, daemon=True).start()

    def _address(self, rank: int) -> str:
        return str(Path(self._folder) / f"{rank}")

    def _post(self, dest: int, tag: int, message: Message) -> None:
        if dest == self.rank:
            self._arrived(self.rank, tag, message.copied())
            return
        with self._opening:
            if dest not in self._ways:
                self._ways[dest] = (threading.Lock(), self._connected(dest))
        lock, way = self._ways[dest]
        try:
            with lock:
                write(way, (self.rank, tag), message)
        except OSError as error:
            how = "it has ended and takes no message any more"
            raise RankLost(dest, self.hosts[dest], how) from error

    def _connected(self, dest: int) -> Connection:
        """Connect to a rank, which perhaps has just been started."""
        until = time.monotonic() + self.timeout
        while True:
            try:
                return Client(self._address(dest), "AF_UNIX", authkey=self._key)
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.005)

    def _accept(self) -> None:
        while True:
            with suppress(multiprocessing.AuthenticationError):
                try:
                    way = self._listener.accept()
                except OSError:  # closed
                    return
                threading.Thread(target=self._listen, args=(way,), daemon=True).start()

    def _listen(self, way: Connection) -> None:
        with suppress(EOFError, OSError):  # the other has ended; who started both sees how
            while True:
                (source, tag), message = read(way)
                self._arrived(source, tag, message)

    def close(self) -> None:
        """Leave the group."""
        self._listener.close()
        for _, way in self._ways.values():
            way.close()


class Sockets:
    """A group whose ranks listen on sockets in a folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._key = secrets.token_bytes(32)

    @contextmanager
    def join(self, rank: int, size: int, timeout: float) -> Iterator[Communicator]:
        """Become a rank of the group."""
        comm = SocketCommunicator(rank, size, timeout, self._folder, self._key)
        try:
            yield comm
        finally:
            comm.close()


def run(job: Job, ranks: int) -> list[Any]:
    """Run a job on so many processes of this machine."""
    with tempfile.TemporaryDirectory(prefix="skyspine-ranks-") as folder:
        return run_over(Sockets(folder), job, ranks)


def run_over(transport: Transport, job: Job, ranks: int) -> list[Any]:
    """Run a job on processes of this machine that reach each other by some transport.

    Raises
    ------
    MultiNodeError
        What ended the job: the other ranks are killed then.
    """
    context = multiprocessing.get_context("forkserver")
    # What ranks import is imported once, if they are the first children of this process.
    used = {getattr(thing, "__module__", None) for thing in (job.function, *job.arguments)}
    context.set_forkserver_preload([__name__, *sorted(m for m in used if m), *job.log.modules])
    held, leash = context.Pipe(duplex=False)
    ways: dict[Connection, int] = {}
    processes: list[BaseProcess] = []
    outcomes: dict[int, Outcome] = {}
    try:
        for rank in range(ranks):
            here, there = context.Pipe()
            ways[here] = rank
            process = context.Process(
                target=_work, args=(rank, ranks, transport, job, there, held), name=f"rank {rank}"
            )
            process.start()
            processes.append(process)
            there.close()
        held.close()
        while len(outcomes) < ranks:
            for way in wait([w for w, rank in ways.items() if rank not in outcomes]):
                rank = ways[way]  # type: ignore[index]
                outcomes[rank] = _outcome(way, rank, processes)  # type: ignore[arg-type]
                if outcomes[rank].error is not None:
                    concluded([outcomes[rank]])
        for way in ways:
            way.send_bytes(b"all have ended")
        for ended in processes:
            ended.join()
        return concluded([outcomes[rank] for rank in range(ranks)])
    finally:
        for left in processes:
            left.kill()
            left.join()
        for way in (*ways, leash):
            way.close()


def _outcome(way: Connection, rank: int, processes: Sequence[BaseProcess]) -> Outcome:
    """Read how a rank ended, or see that it is gone."""
    try:
        outcome: Outcome = decode(read(way)[1])
    except (EOFError, ConnectionResetError):
        return Outcome(error=_lost(rank, processes))
    if isinstance(outcome.error, RankLost):  # noticed by one that sent to it: see how it ended
        processes[outcome.error.rank].join(1.0)
        if not processes[outcome.error.rank].is_alive():
            return Outcome(error=_lost(outcome.error.rank, processes))
    return outcome


def _lost(rank: int, processes: Sequence[BaseProcess]) -> RankLost:
    processes[rank].join()
    status = processes[rank].exitcode or 0
    how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"left, status {status}"
    return RankLost(rank, platform.node(), how)


def _work(
    rank: int, size: int, transport: Transport, job: Job, way: Connection, leash: Connection
) -> None:
    """Be a rank, and tell how it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started it
    threading.Thread(target=end_with, args=(leash,), daemon=True).start()
    hold(Grant(job.cores, granted().memory_per_core))
    try:
        with transport.join(rank, size, job.timeout) as comm:
            write(way, (rank, 0), encode(perform(job, comm)))
            way.recv_bytes()  # until then others may still send to it
    except Exception as error:  # noqa: BLE001 (told to the process that started it)
        write(way, (rank, 0), encode(failed(rank, platform.node(), error)))
