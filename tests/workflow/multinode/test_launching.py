"""What is told to somebody who starts ranks in a way that cannot work, or from elsewhere?"""

from __future__ import annotations

import json
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.workflow.multinode import programs
from workflow.multinode import NoBackend, Placement, RankFailed, RankLost, UntrustedMessage, launch
from workflow.multinode.rabbitmq import join

CHECKOUT = Path(__file__).parents[3]
KEY = b"a secret of sixteen bytes or more"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mpy:4", "There is no back end 'mpy' .* Did you mean 'mpi'"),
        ("mpi:four", "write mpi:4 for four"),
        ("mpi:0", "does not say on how many ranks"),
        ("mpi:", "does not say on how many ranks"),
    ],
)
def test_a_placement_that_is_none_is_told(text: str, told: str) -> None:
    with pytest.raises(NoBackend, match=told):
        Placement.of(text)


def test_a_placement_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKYSPINE_NODES", raising=False)
    assert Placement.given() is None
    monkeypatch.setenv("SKYSPINE_NODES", "processes:3")
    assert Placement.given() == Placement("processes", 3)
    assert Placement.of("mpi") == Placement("mpi", None)


@pytest.mark.parametrize("way", ["processes", "mpi"])
def test_a_function_within_a_function_cannot_travel(way: str) -> None:
    with pytest.raises(TypeError, match="define it at the top of a module"):
        launch(lambda comm: comm.rank, ranks=2, backend=way)


def test_a_group_has_at_least_one_rank() -> None:
    with pytest.raises(NoBackend, match="at least one rank, not 0"):
        launch(programs.identity, ranks=0)


def test_what_starts_mpi_ranks_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYSPINE_MPIRUN", "no-such-launcher --mpi=pmix")
    with pytest.raises(NoBackend, match="no-such-launcher, which starts the ranks, was not found"):
        launch(programs.identity, ranks=2, backend="mpi")


def test_a_launcher_that_fails_is_told_with_what_it_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refusing = tmp_path / "refusing"
    refusing.write_text("#!/bin/sh\necho 'no slots for this account' >&2\nexit 3\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("SKYSPINE_MPIRUN", str(refusing))
    with pytest.raises(RankLost, match="status 3: no slots for this account"):
        launch(programs.identity, ranks=2, backend="mpi")


def test_a_broker_must_be_named_and_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKYSPINE_AMQP_URL", raising=False)
    with pytest.raises(NoBackend, match="in SKYSPINE_AMQP_URL"):
        launch(programs.identity, ranks=2, backend="rabbitmq")
    with pytest.raises(NoBackend, match=r"No connection to the broker at 127\.0\.0\.1:9") as caught:
        launch(programs.identity, ranks=2, backend="rabbitmq", url="amqp://me:secret@127.0.0.1:9/")
    assert "secret" not in str(caught.value)


def test_a_program_of_mpirun_has_the_same_communicator() -> None:
    program = (
        "import json\n"
        "from workflow.multinode.mpi import world\n"
        "from tests.workflow.multinode.programs import collectives\n"
        "comm = world(timeout=60)\n"
        "found = comm.gather(collectives(comm, 1)['alltoall'])\n"
        "if comm.rank == 0: print(json.dumps(found))\n"
    )
    mpirun = Path(sys.executable).parent / "mpirun"
    command = [str(mpirun) if mpirun.exists() else "mpirun", "-n", "2", sys.executable]
    settings = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}  # fmt: skip
    said = subprocess.run(
        [*command, "-m", "mpi4py", "-c", program],
        cwd=CHECKOUT,
        env={**os.environ, **settings},
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(said.stdout) == [[[0, 0], [1, 0]], [[0, 1], [1, 1]]]


@pytest.mark.parametrize("way", ["processes", "mpi"])
def test_ranks_end_with_the_process_that_started_them(way: str) -> None:
    program = (
        "from tests.workflow.multinode import programs\n"
        "from workflow.multinode import launch\n"
        f"launch(programs.says_who_it_is_and_waits, ranks=2, backend={way!r})\n"
    )
    read, write = os.pipe()
    starter = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        stdout=write,
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as said:
        pids = {said.readline() for _ in range(2)}
        starter.send_signal(signal.SIGKILL)
        starter.wait()
        ended, _, _ = select.select([said], [], [], 60.0)
        assert ended  # no rank is left to hold the other end
        assert not said.read()
    assert len(pids) == 2


class Joined(threading.Thread):
    """A rank that joins a group by itself."""

    def __init__(self, url: str, rank: int, work: Any, key: bytes = KEY) -> None:
        super().__init__(daemon=True)
        self._arguments = (url, "observatory", rank, 2)
        self._key = key
        self._work = work
        self.result: Any = None
        self.start()

    def run(self) -> None:
        try:
            with join(*self._arguments, key=self._key, timeout=20.0) as comm:
                self.result = self._work(comm)
        except Exception as error:  # noqa: BLE001 (looked at by the test)
            self.result = error

    def end(self) -> Any:
        self.join(60.0)
        assert not self.is_alive()
        return self.result


def test_ranks_that_were_started_by_other_means_meet_at_a_broker(rabbitmq: str) -> None:
    ranks = [Joined(rabbitmq, r, lambda comm: comm.allreduce(comm.rank + 1)) for r in (0, 1)]
    assert [rank.end() for rank in ranks] == [3, 3]


def test_a_rank_at_a_broker_tells_the_others_when_it_raises(rabbitmq: str) -> None:
    ranks = [Joined(rabbitmq, r, lambda comm: programs.raises_on(comm, 1)) for r in (0, 1)]
    told = ranks[0].end()
    assert isinstance(told, RankFailed)
    assert told.rank == 1
    assert "in raises_on" in str(told)
    assert "the sky fell in" in str(ranks[1].end())


def test_a_rank_at_a_broker_that_leaves_is_missed(rabbitmq: str) -> None:
    ranks = [Joined(rabbitmq, 0, lambda comm: comm.recv(1)), Joined(rabbitmq, 1, lambda _: None)]
    assert ranks[1].end() is None
    told = ranks[0].end()
    assert isinstance(told, RankLost)
    assert told.rank == 1


def test_a_message_with_another_key_is_not_opened(rabbitmq: str) -> None:
    ranks = [Joined(rabbitmq, 0, lambda comm: comm.barrier()),
             Joined(rabbitmq, 1, lambda comm: comm.barrier(), key=b"another key " * 3)]  # fmt: skip
    told = [rank.end() for rank in ranks]
    assert isinstance(told[0], UntrustedMessage)
    assert "not signed with the key of the group" in str(told[0])


@pytest.mark.parametrize("forged", ["plain", "again"])
def test_what_somebody_else_puts_into_a_queue_is_not_opened(rabbitmq: str, forged: str) -> None:
    import pika

    ready = threading.Event()

    def first(comm: Any) -> Any:
        comm.recv(1)
        ready.set()
        return comm.recv(1, tag=5)

    def second(comm: Any) -> None:
        caught: list[bytes] = []
        publish = comm._channel.basic_publish  # noqa: SLF001 (what a listener would see)

        def listened(exchange: str, queue: str, body: bytes, **how: Any) -> None:
            caught.append(body)
            publish(exchange, queue, body, **how)

        comm._channel.basic_publish = listened  # noqa: SLF001
        comm.send("hello", 0)
        ready.wait(20.0)
        body = caught[0] if forged == "again" else pickle.dumps(programs.Trap())
        with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as stranger:
            stranger.channel().basic_publish("", "skyspine.observatory.0", body)
        comm.recv(0)

    ranks = [Joined(rabbitmq, 0, first), Joined(rabbitmq, 1, second)]
    told = ranks[0].end()
    assert isinstance(told, UntrustedMessage)
    assert not programs.SPRUNG
    ranks[1].end()


def test_a_key_that_is_too_short_is_refused() -> None:
    with (
        pytest.raises(UntrustedMessage, match="at least 16 bytes"),
        join("amqp://nowhere/", "group", 0, 2, key=b"short"),
    ):
        raise AssertionError("joined")
