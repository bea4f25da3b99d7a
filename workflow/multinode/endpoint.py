"""What must a back end be able to do, and which rank is to blame when nothing comes?

A back end posts a message to a rank and waits for one (`Endpoint`); all verbs are made of these two
in `workflow.multinode.communicator`. Whoever waited too long asks the rank that it waits for whom
*that* one waits for, and so on: the last of the chain is late, not the first.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING

from workflow.multinode.errors import RankLate
from workflow.multinode.messages import Message

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["ANSWER", "ANY_SOURCE", "ASK", "TIMEOUT", "Endpoint", "Mailbox", "MailboxEndpoint"]

ANY_SOURCE = -1
"""Receive from whichever rank comes first."""
TIMEOUT = 1800.0
"""How long a rank waits for another by default [s]."""
ASK, ANSWER = 12_000, 12_001
"""Tags of the question whom a rank waits for, and of its answer."""
_PATIENCE = 2.0
"""How long an answer is waited for [s]: a rank that is computing gives none."""


class Endpoint(ABC):
    """One rank's end of the connections of a group.

    Parameters
    ----------
    rank : int
        Its number.
    hosts : sequence of str
        Where each rank runs, by number.
    timeout : float
        How long it waits for another rank [s].

    Attributes
    ----------
    rank, size : int
        Its number, and how many there are.
    hosts : tuple of str
        Where each rank runs.
    timeout : float
        How long it waits for another rank [s]; it may be changed.
    """

    def __init__(self, rank: int, hosts: Sequence[str], timeout: float = TIMEOUT) -> None:
        self.rank = rank
        self.hosts = tuple(hosts)
        self.size = len(self.hosts)
        self.timeout = timeout
        self._awaited = -1

    @property
    def host(self) -> str:
        """Where this rank runs."""
        return self.hosts[self.rank]

    @abstractmethod
    def _post(self, dest: int, tag: int, message: Message) -> None:
        """Send; what the sender does with its memory afterwards is no matter."""

    @abstractmethod
    def _await(
        self, sources: Collection[int], tag: int, seconds: float
    ) -> tuple[int, Message] | None:
        """Wait for a message of one of the sources, in the order that each sent; None if late."""

    def _take(
        self, sources: Sequence[int], tag: int, timeout: float | None = None
    ) -> tuple[int, Message]:
        """Wait for a message.

        Raises
        ------
        RankLate
            If none came in time; it names the rank that keeps all others waiting.
        """
        seconds = self.timeout if timeout is None else timeout
        self._awaited = sources[0]
        try:
            found = self._await(sources, tag, seconds)
            if found is None:
                raise self._late(seconds)
        finally:
            self._awaited = -1
        return found

    def _late(self, seconds: float) -> RankLate:
        chain = [self.rank]
        suspect = self._awaited
        while suspect not in chain:
            chain.append(suspect)
            self._post(suspect, ASK, Message(b""))
            answer = self._await((suspect,), ANSWER, _PATIENCE)
            awaited = -1 if answer is None else int(answer[1].head)
            if awaited < 0:
                return RankLate(suspect, self.hosts[suspect], seconds, f"rank {chain[-2]}")
            suspect = awaited
        circle = [*chain[chain.index(suspect) :], suspect]
        by = f"in a circle, each for the next, ranks {' -> '.join(map(str, circle))}"
        return RankLate(suspect, self.hosts[suspect], seconds, by)

    def _answer(self) -> Message:
        return Message(str(self._awaited).encode())


class Mailbox:
    """What arrived at a rank and was not taken yet; several threads may use it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[int, deque[tuple[int, Message]]] = {}
        self._error: Exception | None = None

    def put(self, source: int, tag: int, message: Message) -> None:
        """Add a message."""
        with self._changed:
            self._waiting.setdefault(tag, deque()).append((source, message))
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """Let everyone who waits now or later raise an error; the first one stays."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def take(
        self, sources: Collection[int], tag: int, seconds: float
    ) -> tuple[int, Message] | None:
        """Wait for the first message of one of the sources; None if there is none in time."""
        until = time.monotonic() + seconds
        with self._changed:
            while True:
                if self._error is not None:
                    raise self._error
                arrived = self._waiting.get(tag, deque())
                for n, (source, message) in enumerate(arrived):
                    if source in sources:
                        del arrived[n]
                        return source, message
                left = until - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)


class MailboxEndpoint(Endpoint):
    """An endpoint whose messages are brought by other threads, also while it computes."""

    def __init__(self, rank: int, hosts: Sequence[str], timeout: float = TIMEOUT) -> None:
        super().__init__(rank, hosts, timeout)
        self.mailbox = Mailbox()

    def _await(
        self, sources: Collection[int], tag: int, seconds: float
    ) -> tuple[int, Message] | None:
        return self.mailbox.take(sources, tag, seconds)

    def _arrived(self, source: int, tag: int, message: Message) -> None:
        """Take a message from the transport; questions are answered at once."""
        if tag == ASK:
            self._post(source, ANSWER, self._answer())
        else:
            self.mailbox.put(source, tag, message)
