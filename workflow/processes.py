"""Where are quanta executed: in this process, or in worker processes that stay?

Both kinds give the results as they come. No more is begun than the cores and the memory hold that
the run was granted. A worker that dies (killed, out of memory) does not end the run: what it had
not begun is given to others, and what it was in the midst of is tried once more, alone. A quantum
that takes too long, or too much memory, is ended with its worker and not tried again. Workers end
when the run does, whatever ended it.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import platform
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing import connection as pipes
from typing import TYPE_CHECKING, Any, Self

from registry import provenance
from registry.errors import SkyspineError
from registry.provenance import recovery
from workflow import logs
from workflow.errors import WorkflowError
from workflow.memory import machine_memory, times_out_of_memory
from workflow.multicore.errors import CannotTravel
from workflow.multicore.grants import Grant, granted
from workflow.worker import Result, Worker
from workflow.worker_process import Order, WorkerProcess

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from types import TracebackType

    from butler.butler import Butler
    from workflow.needs import Needs
    from workflow.pipeline import PipelineTask
    from workflow.quanta import Quantum

__all__ = [
    "Here",
    "Manner",
    "NotEnoughMemory",
    "Processes",
    "WorkersLost",
    "check_portable",
    "executor",
]

DEATHS = 2
"""How often a quantum may take its worker process with it, before it counts as failed."""
AHEAD_S = 0.05
"""Work that a process has at hand beyond its quantum, so that it does not wait for more [s]."""
MOST_AHEAD = 8
"""Quanta that a process has at hand at most."""
SHORT = 10
"""With fewer quanta that wait, more are looked for."""
LOOK_S = 0.25
"""How often is looked at the memory of those whose task says how much it may use [s]."""
_log = logging.getLogger("skyspine.processes")


class WorkersLost(WorkflowError):
    """The worker processes die before they begin anything; the lines above may tell why."""

    code = "workers-lost"


class NotEnoughMemory(WorkflowError):
    """A task needs more memory than there is."""

    code = "not-enough-memory"

    def __init__(self, label: str, per_core: int, cores: int, memory: int) -> None:
        super().__init__(
            f"'{label}' needs {per_core * cores} MiB ({per_core} MiB for each of {cores} cores), "
            f"and this run may use {memory >> 20} MiB; lower memory_per_core in its `resources`, "
            "or run it where there is more."
        )


@dataclass(frozen=True)
class Manner:
    """In which manner quanta are executed.

    Parameters
    ----------
    jobs : int
        Processes; 1 executes everything in this one, unless a task has a limit of time or memory.
    timeout : float
        After how long a quantum is given up, unless its task says so itself [s]; 0 for never.
    profile : bool
        Whether to count what tasks call.
    on_error : callable, optional
        Called with each error that a task raises, where it has raised it, before it is recorded;
        everything is executed in this process then, without limits.
    """

    jobs: int = 1
    timeout: float = 0.0
    profile: bool = False
    on_error: Callable[[Exception], None] | None = None


@dataclass(frozen=True)
class Death:
    """What a worker died of, as it is recorded."""

    exception_class: str
    kind: str
    message: str

    @property
    def is_final(self) -> bool:
        """Whether trying again would end in the same way."""
        return self.kind == "timeout" or self.exception_class == "MemoryLimit"


DIED = Death(
    "ProcessDied",
    "process-died",
    "Its worker process died each time (killed, or out of memory).",
)
OUT_OF_MEMORY = Death(
    "OutOfMemory",
    "out-of-memory",
    "The system ended its worker process each time because memory ran out; say what the task needs "
    "(memory_per_core in its `resources`), or take fewer --jobs.",
)


def check_portable(manner: Manner, tasks: Iterable[PipelineTask]) -> None:
    """Refuse to execute in other processes what these cannot import.

    Raises
    ------
    CannotTravel
        If a class was defined in a notebook or at a prompt.
    """
    tasks = list(tasks)
    main = sys.modules["__main__"]
    if _in_this_process(manner, tasks) or main.__spec__ or hasattr(main, "__file__"):
        return
    for task in tasks:
        if task.task_class.__module__ == "__main__":
            raise CannotTravel(
                f"'{task.label}': {task.task_class.__qualname__} was defined in this session, and "
                "other processes cannot find it: put it into a module, or run it with jobs=1 and "
                "without limits of time and memory."
            )


def _in_this_process(manner: Manner, tasks: Iterable[PipelineTask]) -> bool:
    limited = manner.timeout > 0 or any(t.needs.timeout or t.needs.memory for t in tasks)
    return manner.on_error is not None or (manner.jobs <= 1 and not limited)


def executor(
    butler: Butler, run: str, tasks: Sequence[PipelineTask], environment_id: int, manner: Manner
) -> Here:
    """Give what executes quanta.

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
    manner : Manner
        In how many processes, and with which limits.

    Raises
    ------
    NotEnoughMemory
        If a task needs more than there is.
    """
    if _in_this_process(manner, tasks):
        return Here(butler, run, tasks, environment_id, manner)
    return Processes(butler, run, tasks, environment_id, manner)


class Here:
    """Executes quanta in this process, one after the other, as they are given.

    As a context manager it leaves no quantum behind that is marked as running.

    Attributes
    ----------
    profiles : list of dict
        What was counted, by label, for each process that has ended.
    """

    def __init__(
        self,
        butler: Butler,
        run: str,
        tasks: Sequence[PipelineTask],
        environment_id: int,
        manner: Manner,
    ) -> None:
        self._butler = butler
        self._run = run
        self._arguments = (butler.repository.address, run, tasks, environment_id)
        self._manner = manner
        self._waiting: deque[Quantum] = deque()
        self._begun: dict[uuid.UUID, Quantum] = {}
        self._stopped = False
        self._worker: Worker | None = None
        self.profiles: list[dict[str, Any]] = []

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
            self._worker = Worker(
                *self._arguments, profile=self._manner.profile, on_error=self._manner.on_error
            )
        while self._waiting and not self._stopped:
            quantum = self._waiting.popleft()
            self._begun[quantum.id] = quantum
            result = self._worker.execute(quantum)
            del self._begun[quantum.id]
            yield result

    def _close(self, *, at_once: bool) -> None:  # noqa: ARG002 (workers in processes need to know)
        if self._worker is not None:
            self.profiles.append(self._worker.profiles)
            self._worker.close()


@dataclass
class _Task:
    """What a quantum of a task takes."""

    needs: Needs
    timeout: float
    shares: int
    grant: Grant
    last_s: float = AHEAD_S

    @property
    def ahead(self) -> int:
        """How many of its quanta a process may have at hand."""
        return max(1, min(MOST_AHEAD, int(AHEAD_S / max(self.last_s, 1e-4))))


class Processes(Here):
    """Executes quanta in worker processes that stay.

    Each has a share of the cores and memory of the run. A quantum that needs several shares is
    begun when that many workers are idle, and those beside its own stay so until it has ended.
    """

    def __init__(
        self,
        butler: Butler,
        run: str,
        tasks: Sequence[PipelineTask],
        environment_id: int,
        manner: Manner,
    ) -> None:
        super().__init__(butler, run, tasks, environment_id, manner)
        whole = granted()
        memory = whole.memory or machine_memory()
        self._count = max(1, min(manner.jobs, whole.cores))
        self._share = whole.share(self._count)
        if self._count < manner.jobs:
            _log.warning(
                "%d processes at a time, not %d: that is how many cores there are "
                "(SKYSPINE_CORES says otherwise).",
                self._count,
                manner.jobs,
            )
        self._tasks = {t.label: self._taken(t, whole, memory) for t in tasks}
        self._watches_memory = any(t.needs.memory for t in tasks)
        self._crew: list[WorkerProcess] = []
        self._leash: Connection | None = None
        self._held: Connection
        self._deaths: dict[uuid.UUID, int] = {}
        self._lost_early = 0
        self._looked = 0.0
        self._kernel_kills = times_out_of_memory()

    def _taken(self, task: PipelineTask, whole: Grant, memory: int | None) -> _Task:
        """Work out how many shares a quantum takes, and what it is granted with them."""
        needs = task.needs
        if memory is not None and needs.memory > memory:
            raise NotEnoughMemory(task.label, needs.memory_per_core, needs.all_cores, memory)
        cores = min(needs.all_cores, whole.cores)
        shares = -(-cores // self._share.cores)
        if memory is not None:
            shares = max(shares, -(-needs.memory * self._count // memory))
        shares = min(shares, self._count)
        own = needs.memory_per_core << 20
        grant = Grant(max(cores, 1), own or self._share.memory_per_core)
        timeout = needs.timeout or self._manner.timeout
        return _Task(needs, timeout, shares, grant)

    def run(self, quanta: Sequence[Quantum]) -> Iterator[Result]:
        """Execute quanta, and those submitted meanwhile; give each result when it is there."""
        self._waiting += quanta
        while self._hand_out():
            heard = pipes.wait(
                [c for w in self._crew for c in (w.connection, w.sentinel)], self._patience()
            )
            for worker in list(self._crew):
                if worker.connection in heard or worker.sentinel in heard:
                    yield from self._listen(worker)
            for worker, why in self._beyond_limits():
                yield from self._bury(worker, why)

    def _listen(self, worker: WorkerProcess) -> Iterator[Result]:
        """Take the results of a worker; see to what it had in hand when it has died."""
        try:
            for result in worker.heard():
                self._lost_early = 0
                self._tasks[result.quantum.label].last_s = worker.last_s
                del self._begun[result.quantum.id]
                yield result
        except EOFError:
            yield from self._bury(worker, self._cause(worker.kill()))

    def _hand_out(self) -> bool:
        """Give the workers what waits; tell whether any has something to do."""
        while self._waiting and not self._stopped:
            quantum = self._waiting[0]
            worker = self._worker_for(quantum)
            if worker is None:
                break
            self._waiting.popleft()
            self._begun[quantum.id] = quantum
            task = self._tasks[quantum.label]
            worker.give(quantum, task.grant if worker.reserved or task.needs.memory else None)
        return any(worker.queue for worker in self._crew)

    def _worker_for(self, quantum: Quantum) -> WorkerProcess | None:
        """Find a worker that may be given a quantum now, or start one."""
        task = self._tasks[quantum.label]
        shares = self._count if quantum.id in self._deaths else task.shares
        busy = [w for w in self._crew if w.queue]
        if self._count - sum(1 + w.reserved for w in busy) >= shares:
            worker = next((w for w in self._crew if not w.queue), None) or self._start()
            worker.reserved = shares - 1
            return worker
        if shares > 1:
            return None
        able = [w for w in busy if not w.reserved and len(w.queue) < self._ahead(w, task)]
        return min(able, key=lambda w: len(w.queue), default=None)

    def _ahead(self, worker: WorkerProcess, task: _Task) -> int:
        return min(task.ahead, self._tasks[worker.queue[0].label].ahead)

    def _start(self) -> WorkerProcess:
        context = multiprocessing.get_context("forkserver")
        if self._leash is None:
            context.set_forkserver_preload([Order.__module__])
            self._held, self._leash = context.Pipe(duplex=False)
        order = Order(
            self._held, self._share, logs.in_force(), self._manner.profile, *self._arguments
        )
        worker = WorkerProcess(context, order)
        self._crew.append(worker)
        return worker

    def _patience(self) -> float | None:
        """Say how long may be waited until limits are looked at [s]."""
        ages = [(self._tasks[w.queue[0].label].timeout, w.age) for w in self._crew if w.queue]
        times = [max(0.0, timeout - age) for timeout, age in ages if timeout]
        return min([*times, LOOK_S] if self._watches_memory else times, default=None)

    def _beyond_limits(self) -> list[tuple[WorkerProcess, Death]]:
        """Find workers whose quantum takes too long, or too much memory."""
        looks = self._watches_memory and time.monotonic() - self._looked >= LOOK_S
        if looks:
            self._looked = time.monotonic()
        found = []
        for worker in self._crew:
            if not worker.queue or worker.connection.poll():
                continue
            task = self._tasks[worker.queue[0].label]
            if 0 < task.timeout <= worker.age:
                found.append((worker, _too_long(task)))
            elif looks and task.needs.memory and (used := worker.memory) > task.needs.memory:
                found.append((worker, _too_much(task, used)))
        return found

    def _cause(self, code: int) -> Death:
        """Say why a worker died by itself."""
        short_of_memory = times_out_of_memory() > self._kernel_kills
        return OUT_OF_MEMORY if code == -signal.SIGKILL and short_of_memory else DIED

    def _bury(self, worker: WorkerProcess, why: Death) -> Iterator[Result]:
        """Find out how far a worker had come that has ended, and go on from there."""
        worker.kill()
        worker.connection.close()
        self._crew.remove(worker)
        lost = list(worker.queue)
        if not lost:
            return
        with self._butler.registry.database.read() as connection:
            rows = provenance.quanta_of_run(connection, self._run, ids=[q.id for q in lost])
            outputs = provenance.outputs_of(connection, [q.id for q in lost])
        recorded = {row["id"]: row for row in rows}
        unbegun = [q for q in lost if recorded[q.id]["state"] == "ready"]
        self._lost_early = self._lost_early + 1 if unbegun == lost else 0
        if self._lost_early == DEATHS:
            raise WorkersLost
        self.submit(unbegun, first=True)
        for quantum in lost:
            row = recorded[quantum.id]
            if quantum in unbegun:
                del self._begun[quantum.id]
            elif (row["state"], row["host"], row["pid"]) == (
                "running",
                platform.node(),
                worker.pid,
            ):
                yield from self._judge(quantum, worker.pid, why)
            else:
                del self._begun[quantum.id]
                made = [r for o in quantum.outputs.values() for r in o]
                stored = set(outputs.get(quantum.id, ()))
                refs = tuple(r for r in made if r.id in stored)
                yield Result(quantum, row["state"], refs, row["exception_message"] or "")

    def _judge(self, quantum: Quantum, pid: int, why: Death) -> Iterator[Result]:
        """Let a quantum be tried once more that took its worker with it, or let it fail."""
        database = self._butler.registry.database
        self._deaths[quantum.id] = self._deaths.get(quantum.id, 0) + 1
        if not why.is_final and self._deaths[quantum.id] < DEATHS:
            database.transact(provenance.reset, [quantum.id])
            self.submit([quantum], first=True)
            del self._begun[quantum.id]
            return
        dead = [(quantum.id, platform.node(), pid)]
        database.transact(
            recovery.declare_lost, dead, why.message, kind=why.kind, name=why.exception_class
        )
        del self._begun[quantum.id]
        yield Result(quantum, "failed", error=why.message)

    def _close(self, *, at_once: bool) -> None:
        if at_once and self._leash is not None:
            self._leash.close()
        for worker in self._crew:
            if at_once:
                worker.kill()
            else:
                self.profiles.append(worker.dismiss())
        self._crew.clear()
        if self._leash is not None:
            self._leash.close()
            self._held.close()
        self._leash = None


def _too_long(task: _Task) -> Death:
    return Death(
        "TimedOut",
        "timeout",
        f"It took longer than {task.timeout:g} s and was ended (--timeout, or timeout in the "
        "`resources` of its task).",
    )


def _too_much(task: _Task, used: int) -> Death:
    needs = task.needs
    return Death(
        "MemoryLimit",
        "out-of-memory",
        f"It used {used >> 20} MiB and was ended: it may use {needs.memory_per_core} MiB for each "
        f"of {needs.all_cores} cores (memory_per_core in the `resources` of its task).",
    )
