"""How do ranks work together over MPI?

`run` starts them with ``mpirun`` and reads their outcomes from a folder; in a program that was
started by ``mpirun`` itself, `world` gives the communicator. Arrays travel as MPI buffers. What
arrives is received whenever a rank sends or waits, so that no two ranks block each other, and a
waiting rank sleeps between looks instead of burning a core.
"""

from __future__ import annotations

import os
import pickle
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.multinode.communicator import Communicator
from workflow.multinode.endpoint import ANSWER, ASK, TIMEOUT, Mailbox
from workflow.multinode.errors import NoBackend, RankLost
from workflow.multinode.messages import Message
from workflow.multinode.outcomes import Outcome, concluded, failed, perform

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from workflow.multinode.outcomes import Job

__all__ = ["MPICommunicator", "run", "work", "world"]

LAUNCHER = "SKYSPINE_MPIRUN"
"""Environment variable with the command that starts ranks, as ``srun --mpi=pmix``."""
_NAPS = (0.0, 0.00005, 0.0002, 0.001, 0.005)
"""How long to sleep between looks [s]: the longer nothing comes, the longer."""
_LOST = re.compile(r"process rank (\d+) with PID \d+ on node (\S+) exited on\s+signal (\d+)")


class MPICommunicator(Communicator):
    """A rank of an MPI communicator, which is duplicated for its messages.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
        The group.
    timeout : float
        How long it waits for another rank [s].
    """

    def __init__(self, comm: Any, timeout: float = TIMEOUT) -> None:
        from mpi4py import MPI

        self._mpi = MPI
        self._comm = comm.Dup()
        self._mailbox = Mailbox()
        super().__init__(comm.rank, self._comm.allgather(platform.node()), timeout)

    def _post(self, dest: int, tag: int, message: Message) -> None:
        sizes = [memoryview(b).nbytes for b in message.buffers]
        head = pickle.dumps((message.head, sizes))
        parts = [(head, 2 * tag), *((b, 2 * tag + 1) for b in message.buffers)]
        requests = [
            self._comm.Isend([part, self._mpi.BYTE], dest=dest, tag=kind) for part, kind in parts
        ]
        if not self._until(lambda: self._mpi.Request.Testall(requests), self.timeout):
            self._awaited = dest
            raise self._late(self.timeout)

    def _await(
        self, sources: Collection[int], tag: int, seconds: float
    ) -> tuple[int, Message] | None:
        found: list[tuple[int, Message] | None] = [None]

        def arrived() -> bool:
            found[0] = self._mailbox.take(sources, tag, 0.0)
            return found[0] is not None

        self._until(arrived, seconds)
        return found[0]

    def _until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Receive what comes until something is so; give False when it takes too long."""
        until = time.monotonic() + seconds
        looks = 0
        while not done():
            if self._receive():
                looks = 0
                continue
            if time.monotonic() > until:
                return False
            time.sleep(_NAPS[min(looks // 200, len(_NAPS) - 1)])
            looks += 1
        return True

    def _receive(self) -> bool:
        """Receive one message if there is one; questions are answered at once."""
        status = self._mpi.Status()
        if not self._comm.Iprobe(self._mpi.ANY_SOURCE, self._mpi.ANY_TAG, status):
            return False
        source, kind = status.Get_source(), status.Get_tag()
        # The memory of a message follows its head, so that what is probed is always a head.
        head = bytearray(status.Get_count(self._mpi.BYTE))
        self._comm.Recv([head, self._mpi.BYTE], source, kind)
        text, sizes = pickle.loads(head)
        buffers = [bytearray(size) for size in sizes]
        for buffer in buffers:
            self._comm.Recv([buffer, self._mpi.BYTE], source, kind + 1)
        if kind // 2 == ASK:
            self._post(source, ANSWER, self._answer())
        else:
            self._mailbox.put(source, kind // 2, Message(text, buffers))
        return True


def world(timeout: float = TIMEOUT) -> MPICommunicator:
    """Give the communicator of a program that was started by ``mpirun``.

    Start it with ``mpirun -n 4 python -m mpi4py program.py``: without ``-m mpi4py`` the other ranks
    wait for ever when one raises an exception.

    Raises
    ------
    NoBackend
        If mpi4py or an MPI library is not installed.
    """
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise NoBackend(
            f"MPI cannot be used ({error}). Install it with: pip install 'skyspine[mpi]', or use "
            "the MPI of the system with: pip install mpi4py"
        ) from error
    return MPICommunicator(MPI.COMM_WORLD, timeout)


def run(job: Job, ranks: int, *, folder: str | os.PathLike[str] | None = None) -> list[Any]:
    """Run a job on ranks that ``mpirun`` starts, or what SKYSPINE_MPIRUN names instead.

    Parameters
    ----------
    folder : path-like, optional
        An existing folder that all hosts see, for the job and its outcomes; one of this machine by
        default.

    Raises
    ------
    NoBackend
        If the program that starts ranks is not found.
    MultiNodeError
        What ended the job.
    """
    command = [*_launcher(), "-n", str(ranks)]
    command += [sys.executable, "-m", "mpi4py", "-m", "workflow.multinode.mpi_rank"]
    with tempfile.TemporaryDirectory(prefix="skyspine-ranks-", dir=folder) as place:
        room = Path(place)
        (room / "job").write_bytes(pickle.dumps(job))
        guard = [sys.executable, "-I", str(Path(__file__).with_name("guard.py"))]
        with (room / "said").open("wb") as said:
            process = subprocess.Popen(
                [*guard, *command, place],
                stdin=subprocess.PIPE,
                stderr=said,
                env={**os.environ, **_settings(), "PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,  # Ctrl-C is for the process that started it
            )
        try:
            status = process.wait()
        finally:
            if process.stdin is not None:
                process.stdin.close()  # ends whatever still runs
            process.wait()
        said_text = (room / "said").read_text(errors="replace")
        return concluded(_outcomes(room, ranks, status, said_text))


def _launcher() -> list[str]:
    given = shlex.split(os.environ.get(LAUNCHER, ""))
    beside = Path(sys.executable).parent
    path = os.pathsep.join([str(beside), os.environ.get("PATH", os.defpath)])
    name = given[0] if given else "mpirun"
    program = shutil.which(name, path=path)
    if program is None:
        raise NoBackend(
            f"{name}, which starts the ranks, was not found. Install an MPI (pip install "
            f"'skyspine[mpi]', or the system's), or name another program in {LAUNCHER}."
        )
    return [program, *given[1:]]


def _settings() -> dict[str, str]:
    """Let Open MPI start more ranks than cores, not bind them, and run as root if this does."""
    settings = {
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "PRTE_MCA_hwloc_default_binding_policy": "none",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "OMPI_MCA_hwloc_base_binding_policy": "none",
        "OMPI_MCA_mpi_yield_when_idle": "1",
    }
    if os.geteuid() == 0:
        settings |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return {name: value for name, value in settings.items() if name not in os.environ}


def _outcomes(room: Path, ranks: int, status: int, said: str) -> Sequence[Outcome]:
    """Read how the ranks ended, what ended the job first before all else."""
    found: dict[int, Outcome] = {}
    for path in sorted(room.glob("outcome-*"), key=lambda p: p.stat().st_mtime_ns):
        found[int(path.name.removeprefix("outcome-"))] = pickle.loads(path.read_bytes())
    errors = [outcome for outcome in found.values() if outcome.error is not None]
    if errors:
        return errors
    if len(found) == ranks and status == 0:
        sys.stderr.write(said)
        return [found[rank] for rank in range(ranks)]
    lost = _LOST.search(said)
    if lost:
        how = f"killed by {signal.Signals(int(lost[3])).name}"
        return [Outcome(error=RankLost(int(lost[1]), lost[2], how))]
    tail = " | ".join(line for line in said.splitlines()[-12:] if line.strip("- "))
    how = f"mpirun left with status {status}: {tail}"
    return [Outcome(error=RankLost(-1, platform.node(), how))]


def work(place: str) -> None:
    """Be a rank that `run` started: do the job of a folder, and leave the outcome there."""
    from mpi4py import MPI

    from workflow.multicore.grants import Grant, granted, hold

    room = Path(place)
    rank = MPI.COMM_WORLD.rank
    try:
        job: Job = pickle.loads((room / "job").read_bytes())
        hold(Grant(job.cores, granted().memory_per_core))
        outcome = perform(job, MPICommunicator(MPI.COMM_WORLD, job.timeout))
        written = pickle.dumps(outcome)
    except Exception as error:  # noqa: BLE001 (told to the process that started it)
        outcome = failed(rank, platform.node(), error)
        written = pickle.dumps(outcome)
    (room / f"new-{rank}").write_bytes(written)
    (room / f"new-{rank}").rename(room / f"outcome-{rank}")
    if outcome.error is not None:
        MPI.COMM_WORLD.Abort(1)
