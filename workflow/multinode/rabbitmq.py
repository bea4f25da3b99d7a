"""How do ranks work together through a RabbitMQ broker?

For ranks that see a broker but not each other, and for messages that are few and small: pixels
travel ten times faster over MPI. Each rank has a queue, and a thread that serves its connection.
What ranks send is pickled, so nothing is opened that does not carry the signature of the group's
key (HMAC-SHA256 over content, sender, receiver and serial number), whoever may use the broker.
"""

from __future__ import annotations

import hmac
import json
import os
import platform
import secrets
import struct
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from workflow.multinode.communicator import Communicator
from workflow.multinode.endpoint import TIMEOUT, MailboxEndpoint
from workflow.multinode.errors import NoBackend, RankFailed, RankLate, RankLost, UntrustedMessage
from workflow.multinode.messages import Message, decode, encode
from workflow.multinode.processes import run_over

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workflow.multinode.outcomes import Job

__all__ = ["Broker", "RabbitMQCommunicator", "join", "run"]

URL = "SKYSPINE_AMQP_URL"
"""Environment variable with the URL of the broker, as ``amqp://user:password@host:5672/``."""
_HELLO, _HOSTS, _FAILED = 12_010, 12_011, 12_012
_PIECE = 4 << 20
"""Largest body of one AMQP message [byte]; longer messages travel in pieces."""
_LOOK = 1.0
"""How often the queue of a rank that is waited for is looked for [s]."""
_UNKNOWN = "an unknown host"
_MISSING = 404


class RabbitMQCommunicator(MailboxEndpoint, Communicator):
    """A rank with a queue on a broker; see `join`."""

    def __init__(
        self, url: str, group: str, key: bytes, rank: int, size: int, timeout: float
    ) -> None:
        super().__init__(rank, [_UNKNOWN] * size, timeout)
        self._group = group
        self._key = key
        self._sent = [0] * size
        self._received = [0] * size
        self._pieces: dict[int, bytearray] = {}
        self._missed: tuple[int, int] = (-1, 0)
        self._connection = _connected(url)
        self._channel = self._connection.channel()
        self._channel.queue_declare(self._queue(rank), auto_delete=True)
        self._channel.basic_consume(self._queue(rank), self._consumed, auto_ack=True)
        self._channel.add_on_return_callback(self._returned)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def meet(self) -> None:
        """Wait until all ranks are here, and learn where each runs.

        Raises
        ------
        RankLate
            If one does not come in time.
        """
        self._await_queue(0)
        self._thread.start()
        if self.rank:
            self._post(0, _HELLO, encode(platform.node()))
            found = self._await((0,), _HOSTS, self.timeout)
            if found is None:
                raise RankLate(0, _UNKNOWN, self.timeout, f"rank {self.rank}")
            self.hosts = tuple(decode(found[1]))
            return
        hosts = {0: platform.node()}
        until = time.monotonic() + self.timeout
        for rank in range(1, self.size):
            found = self._await((rank,), _HELLO, max(0.0, until - time.monotonic()))
            if found is None:
                raise RankLate(rank, _UNKNOWN, self.timeout, "rank 0")
            hosts[rank] = decode(found[1])
        self.hosts = tuple(hosts[rank] for rank in range(self.size))
        for rank in range(1, self.size):
            self._post(rank, _HOSTS, encode(self.hosts))

    def tell_failure(self, error: BaseException) -> None:
        """Let every other rank raise `RankFailed` with the traceback of an exception."""
        told = f"{type(error).__name__}: {error}"
        trace = "".join(traceback.format_exception(error))
        for rank in (r for r in range(self.size) if r != self.rank):
            self._post(rank, _FAILED, encode((told, trace)))

    def close(self) -> None:
        """Leave the group; what was sent reaches the others."""
        self._ending.set()
        if self._thread.ident is not None:
            with suppress(Exception):  # the connection has ended by itself
                self._connection.add_callback_threadsafe(lambda: None)
            self._thread.join()
        with suppress(Exception):  # the same
            self._connection.close()

    def _queue(self, rank: int) -> str:
        return f"skyspine.{self._group}.{rank}"

    def _arrived(self, source: int, tag: int, message: Message) -> None:
        if tag == _FAILED:
            self.mailbox.fail(RankFailed(source, self.hosts[source], *decode(message)))
        else:
            super()._arrived(source, tag, message)

    def _post(self, dest: int, tag: int, message: Message) -> None:
        if dest == self.rank:
            self._arrived(dest, tag, message.copied())
            return
        parts = [message.head, *message.buffers]
        sizes = [memoryview(part).nbytes for part in parts]
        body = b"".join(bytes(part) if isinstance(part, memoryview) else part for part in parts)
        if threading.current_thread() is self._thread:  # an answer to a question
            self._publish(dest, tag, sizes, body)
            return
        done = threading.Event()

        def publish() -> None:
            self._publish(dest, tag, sizes, body)
            done.set()

        try:
            self._connection.add_callback_threadsafe(publish)
        except Exception as error:
            raise self._cut_off(error) from error
        while not done.wait(_LOOK):
            if not self._thread.is_alive():
                raise self._cut_off("see the broker's log")

    def _publish(self, dest: int, tag: int, sizes: list[int], body: bytes) -> None:
        """Send signed pieces; only the thread of the connection may."""
        starts = range(0, len(body), _PIECE) or range(1)
        for start in starts:
            piece = body[start : start + _PIECE]
            facts = {"s": self.rank, "t": tag, "n": self._sent[dest], "z": sizes}
            facts["e"] = start == starts[-1]
            self._sent[dest] += 1
            head = json.dumps(facts).encode()
            content = struct.pack(">I", len(head)) + head + piece
            self._channel.basic_publish(
                "", self._queue(dest), self._signature(dest, content) + content, mandatory=True
            )

    def _signature(self, dest: int, content: bytes) -> bytes:
        to = f"{self._group}\0{dest}\0".encode()
        return hmac.digest(self._key, to + content, "sha256")

    def _consumed(self, _channel: Any, _method: Any, _properties: Any, body: bytes) -> None:
        signature, content = body[:32], body[32:]
        if not hmac.compare_digest(signature, self._signature(self.rank, content)):
            self.mailbox.fail(UntrustedMessage(
                f"A message in the queue {self._queue(self.rank)} is not signed with the key of "
                "the group: give all ranks the same key, and look who else uses the broker."
            ))  # fmt: skip
            return
        (length,) = struct.unpack(">I", content[:4])
        facts = json.loads(content[4 : 4 + length])
        source = facts["s"]
        if facts["n"] != self._received[source]:
            self.mailbox.fail(UntrustedMessage(
                f"Message {facts['n']} of rank {source} came where {self._received[source]} was "
                "next: it was lost, or somebody sent an old one again."
            ))  # fmt: skip
            return
        self._received[source] += 1
        whole = self._pieces.setdefault(source, bytearray())
        whole += content[4 + length :]
        if facts["e"]:
            del self._pieces[source]
            self._arrived(source, facts["t"], _cut(whole, facts["z"]))

    def _returned(self, _channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        self._fail_without(int(method.routing_key.rpartition(".")[2]))

    def _serve(self) -> None:
        """Bring messages, and notice when a rank that is waited for is gone."""
        try:
            while not self._ending.is_set():
                before = time.monotonic()
                self._connection.process_data_events(_LOOK)
                if time.monotonic() - before > _LOOK / 2:
                    self._look_for(self._awaited)
            self._connection.process_data_events(0)
        except Exception as error:  # noqa: BLE001 (whatever ends the connection ends the rank)
            self.mailbox.fail(self._cut_off(error))

    def _look_for(self, rank: int) -> None:
        """Fail when the queue of a rank that is waited for is missing twice in a row."""
        if rank < 0 or rank == self.rank or self._is_there(rank):
            self._missed = (-1, 0)
            return
        n = self._missed[1] + 1 if self._missed[0] == rank else 1
        self._missed = (rank, n)
        if n == 2:
            self._fail_without(rank)

    def _fail_without(self, rank: int) -> None:
        how = "its queue at the broker is gone"
        self.mailbox.fail(RankLost(rank, self.hosts[rank], how))

    def _is_there(self, rank: int) -> bool:
        from pika.exceptions import ChannelClosedByBroker

        channel = self._connection.channel()
        try:
            channel.queue_declare(self._queue(rank), passive=True)
        except ChannelClosedByBroker as closed:
            if closed.reply_code != _MISSING:
                raise
            return False
        channel.close()
        return True

    def _await_queue(self, rank: int) -> None:
        until = time.monotonic() + self.timeout
        while not self._is_there(rank):
            if time.monotonic() > until:
                raise RankLate(rank, _UNKNOWN, self.timeout, f"rank {self.rank}")
            self._connection.process_data_events(0.02)

    def _cut_off(self, error: object) -> RankLost:
        told = f"its connection to the broker ended: {error!r}"
        return RankLost(self.rank, platform.node(), told)


def _cut(whole: bytearray, sizes: list[int]) -> Message:
    """Divide a body into head and buffers, each in memory of its own."""
    view = memoryview(whole)
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    parts = [bytearray(view[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
    return Message(bytes(parts[0]), parts[1:])


def _connected(url: str) -> Any:
    try:
        import pika
    except ImportError as error:
        raise NoBackend(
            "RabbitMQ is reached through pika, which is not installed: pip install "
            "'skyspine[rabbitmq]'"
        ) from error
    try:
        return pika.BlockingConnection(pika.URLParameters(url))
    except (pika.exceptions.AMQPError, OSError, ValueError) as error:
        where = url.rpartition("@")[2]
        raise NoBackend(
            f"No connection to the broker at {where} ({error!r}). Name it as "
            f"amqp://user:password@host:5672/ in {URL}, and look whether it runs."
        ) from error


@contextmanager
def join(
    url: str, group: str, rank: int, size: int, *, key: bytes, timeout: float = TIMEOUT
) -> Iterator[RabbitMQCommunicator]:
    """Become a rank of a group whose ranks are started by other means, on any hosts.

    Parameters
    ----------
    url : str
        The broker, ``amqp://user:password@host:5672/``.
    group : str
        Name of the group; no two at a time have the same.
    rank, size : int
        Its number, and how many ranks there are.
    key : bytes
        A secret that all ranks have, at least 16 bytes; messages are signed with it.
    timeout : float
        How long it waits for another rank [s].

    Raises
    ------
    NoBackend
        If the broker cannot be reached.
    RankLate
        If the others do not come.
    """
    if len(key) < 16:
        raise UntrustedMessage("The key of a group has at least 16 bytes; make one with secrets.")
    comm = RabbitMQCommunicator(url, group, key, rank, size, timeout)
    try:
        comm.meet()
        yield comm
    except Exception as error:
        with suppress(RankLost):  # the broker is away: the others see that themselves
            comm.tell_failure(error)
        raise
    finally:
        comm.close()


class Broker:
    """A group that meets at a broker.

    Parameters
    ----------
    url : str
        The broker.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._group = secrets.token_hex(8)
        self._key = secrets.token_bytes(32)

    def join(self, rank: int, size: int, timeout: float) -> Any:
        """Become a rank of the group."""
        return join(self._url, self._group, rank, size, key=self._key, timeout=timeout)


def run(job: Job, ranks: int, *, url: str | None = None) -> list[Any]:
    """Run a job on processes of this machine that meet at a broker.

    Parameters
    ----------
    url : str, optional
        The broker; that of SKYSPINE_AMQP_URL by default.

    Raises
    ------
    NoBackend
        If no broker is named, or it cannot be reached.
    """
    url = url or os.environ.get(URL)
    if not url:
        raise NoBackend(f"Name the broker as amqp://user:password@host:5672/ in {URL}.")
    _connected(url).close()
    return run_over(Broker(url), job, ranks)
