"""Where are quanta executed: in this process, or in worker processes that stay?

Both kinds give the results as they come. A worker that dies (killed, out of memory) does not end
the run: what it had not begun is given to new workers, and what it was in the midst of is tried
once more, alone, so that a quantum that kills its worker takes no other with it. Workers end when
the run does, whatever ended it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from collections import deque
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Self

from registry import datasets, provenance
from registry.errors import SkyspineError
from registry.provenance import recovery
from workflow import logs
from workflow.errors import WorkflowError
from workflow.multicore.grants import granted
from workflow.worker import Result, Worker, execute, open_worker

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection
    from types import TracebackType

    from butler.butler import Butler
    from workflow.pipeline import PipelineTask
    from workflow.quanta import Quantum

__all__ = ["Here", "Processes", "WorkersLost", "executor"]

DEATHS = 2
"""How often a quantum may take its worker process with it, before it counts as failed."""
AHEAD = 3
"""Quanta that each worker process has at hand, so that none waits for the next."""
SHORT = 10
"""With fewer quanta that wait, more are looked for."""
DIED = "Its worker process died each time (killed, or out of memory)."


class WorkersLost(WorkflowError):
    """The worker processes die before they begin anything; the lines above may tell why."""

    code = "workers-lost"


def executor(
    butler: Butler, run: str, tasks: Sequence[PipelineTask], environment_id: int, jobs: int
) -> Here:
    """Give what executes quanta in so many processes.

    Parameters
    ----------
    butler : Butler
        Writeable, on the repository.
    run : str
        RUN collection that outputs go to.
    tasks : sequence of PipelineTask
        Tasks whose quanta will be given.
    environment_id : int
        Key of the software environment.
    jobs : int
        Processes; 1 executes everything in this one.
    """
    if jobs <= 1:
        return Here(butler, run, tasks, environment_id)
    return Processes(butler, run, tasks, environment_id, jobs)


class Here:
    """Executes quanta in this process, one after the other, as they are given.

    As a context manager it leaves no quantum behind that is marked as running.
    """

    def __init__(
        self, butler: Butler, run: str, tasks: Sequence[PipelineTask], environment_id: int
    ) -> None:
        self._butler = butler
        self._run = run
        self._arguments = (butler.repository.address, run, tasks, environment_id)
        self._waiting: deque[Quantum] = deque()
        self._begun: dict[uuid.UUID, Quantum] = {}
        self._stopped = False
        self._worker: Worker | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close(at_once=kind is not None)
        if self._begun:
            # With the database away they stay as they are: a run that is continued takes them.
            with contextlib.suppress(SkyspineError):
                self._butler.registry.database.transact(provenance.reset, list(self._begun))

    def submit(self, quanta: Sequence[Quantum], *, first: bool = False) -> None:
        """Execute more quanta, before those that wait or after them."""
        if first:
            self._waiting.extendleft(reversed(quanta))
        else:
            self._waiting.extend(quanta)

    @property
    def is_short(self) -> bool:
        """Whether more quanta are needed, lest a process should have nothing to do."""
        return len(self._waiting) < SHORT

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True

    def run(self, quanta: Sequence[Quantum]) -> Iterator[Result]:
        """Execute quanta, and those submitted meanwhile; give each result when it is there."""
        self._waiting += quanta
        if self._worker is None:
            self._worker = Worker(*self._arguments)
        while self._waiting and not self._stopped:
            quantum = self._waiting.popleft()
            self._begun[quantum.id] = quantum
            result = self._worker.execute(quantum)
            del self._begun[quantum.id]
            yield result

    def _close(self, *, at_once: bool) -> None:  # noqa: ARG002 (workers in processes need to know)
        if self._worker is not None:
            self._worker.close()


class Processes(Here):
    """Executes quanta in worker processes that stay."""

    def __init__(
        self,
        butler: Butler,
        run: str,
        tasks: Sequence[PipelineTask],
        environment_id: int,
        jobs: int,
    ) -> None:
        super().__init__(butler, run, tasks, environment_id)
        self._jobs = jobs
        self._pool: futures.ProcessPoolExecutor | None = None
        self._leash: Connection | None = None
        self._running: dict[futures.Future[Result], Quantum] = {}
        self._suspects: list[Quantum] = []
        self._alone = False
        self._deaths: dict[uuid.UUID, int] = {}
        self._lost_early = 0

    def run(self, quanta: Sequence[Quantum]) -> Iterator[Result]:
        """Execute quanta, and those submitted meanwhile; give each result when it is there."""
        self._waiting += quanta
        while self._fill():
            done, _ = futures.wait(self._running, return_when=futures.FIRST_COMPLETED)
            lost = []
            for future in done:
                quantum = self._running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    lost.append(quantum)
                else:
                    del self._begun[quantum.id]
                    yield result
            if lost:
                yield from self._recovered([*lost, *self._running.values()])

    def _fill(self) -> bool:
        """Give the workers what waits; or one suspect, when they have nothing else to do."""
        self._alone = self._alone and bool(self._running)
        most = AHEAD * self._jobs
        while self._waiting and not self._alone and not self._stopped and len(self._running) < most:
            self._begin(self._waiting.popleft())
        if self._suspects and not self._running and not self._stopped:
            self._alone = True
            self._begin(self._suspects.pop(0))
        return bool(self._running)

    def _begin(self, quantum: Quantum) -> None:
        if self._pool is None:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["workflow.worker"])
            held, self._leash = context.Pipe(duplex=False)
            self._pool = futures.ProcessPoolExecutor(
                self._jobs,
                mp_context=context,
                initializer=open_worker,
                initargs=(held, granted().share(self._jobs), logs.in_force(), *self._arguments),
            )
        self._begun[quantum.id] = quantum
        try:
            future = self._pool.submit(execute, quantum)
        except BrokenProcessPool as broken:  # a worker has just died, and this one is lost with it
            future = futures.Future()
            future.set_exception(broken)
        self._running[future] = quantum

    def _recovered(self, lost: Sequence[Quantum]) -> Iterator[Result]:
        """Find out how far workers had come when one died, and go on from there with new ones."""
        self._close(at_once=True)
        self._running.clear()
        database = self._butler.registry.database
        with database.read() as connection:
            ids = [q.id for q in lost]
            rows = provenance.quanta_of_run(connection, self._run, ids=ids)
            recorded = {q["id"]: q for q in rows}
            outputs = provenance.outputs_of(connection, ids)
            refs = datasets.get_refs(connection, [d for ids in outputs.values() for d in ids])
        begun = [q for q in lost if recorded[q.id]["state"] == "running"]
        self._lost_early = 0 if begun else self._lost_early + 1
        if self._lost_early == DEATHS:
            raise WorkersLost
        for quantum in begun:
            self._deaths[quantum.id] = self._deaths.get(quantum.id, 0) + 1
        given_up = [q for q in begun if self._deaths[q.id] >= DEATHS]
        self._suspects += [q for q in begun if q not in given_up]
        dead = [(q.id, recorded[q.id]["host"], recorded[q.id]["pid"]) for q in given_up]
        database.transact(recovery.declare_lost, dead, DIED)
        database.transact(provenance.reset, [q.id for q in self._suspects])
        for quantum in lost:
            row = recorded[quantum.id]
            if row["state"] == "ready":
                self._waiting.append(quantum)
            elif quantum not in self._suspects:
                del self._begun[quantum.id]
                made = tuple(refs[d] for d in outputs.get(quantum.id, ()))
                error = DIED if quantum in given_up else row["exception_message"] or ""
                state = "failed" if quantum in given_up else row["state"]
                yield Result(quantum, state, made, error)

    def _close(self, *, at_once: bool) -> None:
        if self._leash is not None and at_once:
            self._leash.close()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        if self._leash is not None:
            self._leash.close()
        self._pool = self._leash = None
