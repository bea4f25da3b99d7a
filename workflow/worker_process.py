"""How is one worker process given quanta, and how does it tell what became of them?

`WorkerProcess` is the end of the process that runs the pipeline, `serve` that of the worker. A
worker does what it is given in the order in which it is given, so that when it dies it is known
which quantum it was in the midst of. Which worker is given what is in `workflow.processes`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.errors import SkyspineError
from workflow import environment, logs
from workflow.leash import end_with
from workflow.memory import resident
from workflow.multicore.grants import hold, use
from workflow.worker import Result, Worker

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext

    from registry.identity import DatasetRef
    from workflow.logs.settings import Settings
    from workflow.multicore.grants import Grant
    from workflow.pipeline import PipelineTask
    from workflow.quanta import Quantum

__all__ = ["Order", "WorkerProcess", "serve"]


@dataclass(frozen=True)
class Order:
    """What a worker process is started with.

    Parameters
    ----------
    leash : multiprocessing.connection.Connection
        It ends when the other end is closed, as it is when the process that holds it dies: nobody
        would take the results.
    grant : Grant
        Its share of the cores and memory of the run.
    log : Settings or None
        How it logs.
    profile : bool
        Whether it counts what its tasks call.
    root, run, tasks, environment_id
        See `workflow.worker.Worker`.
    """

    leash: Connection
    grant: Grant
    log: Settings | None
    profile: bool
    root: str
    run: str
    tasks: Sequence[PipelineTask]
    environment_id: int


class WorkerProcess:
    """A worker process, seen from the one that gives it quanta.

    Attributes
    ----------
    last_s : float
        How long its last quantum took [s].
    queue : deque of Quantum
        What it has in hand; it is in the midst of the first, and has not begun the others.
    reserved : int
        Shares of the machine that this one takes besides the worker's own.
    """

    def __init__(self, context: ForkServerContext, order: Order) -> None:
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, order))
        self._process.start()
        theirs.close()
        self.queue: deque[Quantum] = deque()
        self.reserved = 0
        self.last_s = 0.0
        self._ready = False
        self._since = 0.0

    def give(self, quantum: Quantum, grant: Grant | None) -> None:
        """Hand it one more quantum, with a grant if that is not its share."""
        if self._ready and not self.queue:
            self._since = time.monotonic()
        self.queue.append(quantum)
        with contextlib.suppress(BrokenPipeError):  # it has died, which is seen soon
            self.connection.send((quantum, grant))

    def heard(self) -> Iterator[Result]:
        """Take what it has told so far.

        Raises
        ------
        EOFError
            If it has died; what it had told before is given first.
        SkyspineError
            What ended it, if that is for the whole run.
        """
        try:
            while self.connection.poll():
                told = self.connection.recv()
                if isinstance(told, Exception):
                    raise told
                self._since = time.monotonic()
                if told is None:
                    self._ready = True
                else:
                    *how, self.last_s = told
                    self.reserved = 0
                    yield _result(self.queue.popleft(), *how)
        except ConnectionResetError as error:
            raise EOFError from error

    @property
    def sentinel(self) -> int:
        """What is ready when it has died."""
        return self._process.sentinel

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid or 0

    @property
    def age(self) -> float:
        """For how long it has been in the midst of its quantum [s]."""
        return time.monotonic() - self._since if self._ready and self.queue else 0.0

    @property
    def memory(self) -> int:
        """What it uses now [byte]."""
        return resident(self.pid)

    def kill(self) -> int:
        """End it at once if it has not ended; tell its status, or a signal as a negative number."""
        self._process.kill()
        self._process.join()
        return self._process.exitcode or 0

    def dismiss(self) -> dict[str, Any]:
        """Let it end in good order; gives its profiles by label.

        Returns
        -------
        dict
            Label to what `cProfile` counted.
        """
        told: Any = {}
        with contextlib.suppress(OSError, EOFError):
            self.connection.send(None)
            while not isinstance(told := self.connection.recv(), dict):
                continue
        self._process.join()
        self.connection.close()
        return dict(told)


def _result(quantum: Quantum, state: str, made: Sequence[uuid.UUID], *how: Any) -> Result:
    refs: dict[uuid.UUID, DatasetRef] = {r.id: r for o in quantum.outputs.values() for r in o}
    return Result(quantum, state, tuple(refs[i] for i in made), *how)


def serve(connection: Connection, order: Order) -> None:
    """Execute quanta until told to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that runs the pipeline
    threading.Thread(target=end_with, args=(order.leash,), daemon=True).start()
    hold(order.grant)
    if order.log is not None:
        logs.configure(order.log)
    environment.current()
    try:
        worker = Worker(
            order.root, order.run, order.tasks, order.environment_id, profile=order.profile
        )
        with contextlib.closing(worker):
            connection.send(None)
            while (given := connection.recv()) is not None:
                quantum, grant = given
                began = time.perf_counter()
                with use(grant or order.grant):
                    done = worker.execute(quantum)
                made = [ref.id for ref in done.made]
                took = time.perf_counter() - began
                told = (done.state, made, done.error, done.trace, done.kind, done.not_taken)
                connection.send((*told, took))
        connection.send(worker.profiles)
    except EOFError:  # the process that gave the quanta is gone
        os._exit(1)
    except Exception as error:  # noqa: BLE001 (it is raised where the run is)
        connection.send(_portable(error))


def _portable(error: Exception) -> Exception:
    """Give an error that can be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 (whatever its class does not bear)
        return SkyspineError(f"{type(error).__name__}: {error}")
    return error
