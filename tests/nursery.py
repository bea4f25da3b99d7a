"""How can a test start, and kill, many processes within a second?

One process, the nursery, has imported everything and forks a child for each program: a function
named as `module:function`, whose standard output the test reads. What a child had to import all the
same, the nursery imports before it forks the next one. `Child.wait` returns when no process is left
of it, its workers included (the nursery adopts orphans; Linux only).
`Moments` counts what a child does to database and files, and kills it at a chosen one.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHECKOUT = Path(__file__).parents[1]
PATIENCE = 60.0  # [s] until a process that should have ended counts as hung
PR_SET_CHILD_SUBREAPER = 36
MODULES = ("alembic.command", "butler.formatters.structured", "tests.workflow.faults", "zoneinfo")


class Child:
    """A program that runs; iterating over it gives the lines that it says.

    Attributes
    ----------
    pid : int
        Its process, and the group that its workers are in.
    """

    def __init__(self, channel: socket.socket, program: str, arguments: tuple[Any, ...]) -> None:
        self._channel = channel
        read, write = os.pipe()
        request = {"program": program, "arguments": arguments}
        socket.send_fds(channel, [json.dumps(request).encode()], [write])
        os.close(write)
        self._said = os.fdopen(read)
        self.pid = int(channel.recv(64))

    def __iter__(self) -> Iterator[str]:
        return (line.rstrip("\n") for line in self._said)

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to the program, or to its workers too, as a terminal does."""
        with suppress(ProcessLookupError):  # it was quicker
            (os.killpg if group else os.kill)(self.pid, number)

    def wait(self) -> int:
        """Wait until it and all that it has started are gone; give its status, -9 when killed.

        Of several children, the first that is waited for waits for all.
        """
        self._channel.sendall(f"wait {self.pid}".encode())
        status = int(self._channel.recv(64))
        self._said.close()
        return status


class Nursery:
    """The process that forks.

    Parameters
    ----------
    *also : str
        Further modules that it imports for its children.
    """

    def __init__(self, *also: str) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(PATIENCE)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.nursery", str(theirs.fileno()), *also],
                cwd=CHECKOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def start(self, program: str, *arguments: Any) -> Child:
        """Start a program; arguments are what JSON can hold, paths as text."""
        return Child(self._channel, program, arguments)

    def run(self, program: str, *arguments: Any) -> tuple[int, list[str]]:
        """Run a program to its end; give its status and the lines that it said."""
        child = self.start(program, *arguments)
        said = list(child)
        return child.wait(), said

    def kill(self, program: str, *arguments: Any) -> list[str]:
        """Run a program that dies at the moment in its last argument; give the lines it said.

        How many moments a run has differs by a few from run to run (a connection that was idle
        is asked whether it lives): it may end alive when it says that it had fewer.
        """
        status, said = self.run(program, *arguments)
        if status != -signal.SIGKILL:
            assert status == 0, said
            assert int(said.pop()) < arguments[-1]
        return said

    def close(self) -> None:
        """End the nursery."""
        self._channel.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Moments:
    """Counts what this process does to database and files; dies by SIGKILL at a chosen moment.

    A moment lies before and after each statement, before each commit, before each file is opened
    for writing, linked, renamed or removed, and when a connection has done its work.

    Parameters
    ----------
    last : int
        At which to die; 0 for none.
    """

    def __init__(self, last: int) -> None:
        import sqlalchemy as sa

        self.count = 0
        self._last = last
        for event in ("before_cursor_execute", "after_cursor_execute", "commit", "rollback"):
            sa.event.listen(sa.Engine, event, self._moment)
        sa.event.listen(sa.pool.Pool, "checkin", self._moment)
        sys.addaudithook(self._audit)

    def _moment(self, *_: object) -> None:
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def _audit(self, event: str, given: tuple[Any, ...]) -> None:
        writes = event == "open" and given[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in ("os.rename", "os.remove", "os.mkdir", "os.link", "os.symlink"):
            self._moment()


class MomentsOfRequests(Moments):
    """Those before and after each request to an endpoint too."""

    def __init__(self, last: int) -> None:
        from backbone.remote import Remote

        super().__init__(last)
        ask = Remote._try  # noqa: SLF001

        def counted(remote: Remote, path: str, action: Any) -> Any:
            self._moment()
            answer = ask(remote, path, action)
            self._moment()
            return answer

        setattr(Remote, "_try", counted)  # noqa: B010 (it is generic)


def moments_to_die(n_moments: int, kills: int) -> list[int]:
    """Draw a moment from each of as many equal spans; the seed is shown when the test fails."""
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"moments drawn with seed {seed}")  # noqa: T201
    dice = random.Random(seed)
    edges = [k * n_moments // kills for k in range(kills + 1)]
    return [dice.randint(low + 1, high) for low, high in pairwise(edges)]


class Imports:
    """What was imported by children that ended by themselves."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (as long as the nursery)
        self._read = 0

    def tell(self) -> None:
        """Tell, as a child, of all modules of this project and its libraries."""
        homes = (str(CHECKOUT), sys.prefix)
        names = [
            name
            for name, module in list(sys.modules.items())
            if str(getattr(module, "__file__", "")).startswith(homes) and name != "__main__"
        ]
        self._file.write("".join(f"{name}\n" for name in names).encode())

    def follow(self) -> None:
        """Import, as the nursery, what was told since the last time."""
        told = os.pread(self._file.fileno(), 1 << 24, self._read)
        self._read += len(told)
        for name in dict.fromkeys(told.decode().split()):
            importlib.import_module(name)


def main(channel: socket.socket, also: Sequence[str]) -> None:
    """Fork a child for each request, and wait for its end when asked."""
    for name in (*MODULES, *also):
        importlib.import_module(name)
    from registry.expressions import parsing
    from workflow import environment

    parsing.parse("a = 1")  # makes the tables of the grammar
    environment.current()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    imports = Imports()
    ended: dict[int, int] = {}
    while True:
        message, passed, _, _ = socket.recv_fds(channel, 1 << 16, 1)
        if not message:
            return
        if message.startswith(b"wait"):
            ended |= _reaped()
            channel.sendall(str(ended.pop(int(message.split()[1]))).encode())
            continue
        imports.follow()
        pid = os.fork()
        if not pid:
            channel.close()
            _child(json.loads(message), passed[0], imports)
        os.close(passed[0])
        channel.sendall(str(pid).encode())


def _reaped() -> dict[int, int]:
    """Wait for every child and every orphan; give the status of each."""
    ended = {}
    with suppress(ChildProcessError):  # none is left
        while True:
            pid, how = os.waitpid(-1, 0)
            ended[pid] = os.waitstatus_to_exitcode(how)
    return ended


def _child(request: dict[str, Any], output: int, imports: Imports) -> None:
    os.setpgid(0, 0)
    # where the tests run in the background, a shell has let them ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(output, 1)
    os.close(output)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    status = 1
    try:
        module, _, name = request["program"].partition(":")
        status = getattr(importlib.import_module(module), name)(*request["arguments"]) or 0
        imports.tell()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else bool(ended.code)
        imports.tell()
    except KeyboardInterrupt:
        status = 130
    except Exception:  # noqa: BLE001 (this is the outermost place of the child)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
