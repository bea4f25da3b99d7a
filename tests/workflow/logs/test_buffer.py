"""Does nobody wait for a sink that is slow, gone or broken, and is every lost record counted?"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from workflow.logs.buffer import Background

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from registry.logs import LogEntry, LogProcess


class Gate:
    """A sink that takes batches while it is open, and fails as it is told."""

    name = "the gate"

    def __init__(self, *, is_open: bool = True) -> None:
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.error: Exception | None = None
        self.batches: list[list[LogEntry]] = []
        self.dropped: list[int] = []
        self.processes: set[Any] = set()
        if is_open:
            self.opened.set()

    def write(self, process: LogProcess, entries: Sequence[LogEntry], n_dropped: int) -> None:
        self.entered.set()
        assert self.opened.wait(60)
        if self.error is not None:
            raise self.error
        logging.getLogger("driver").warning("written %d", len(entries))
        self.processes.add((process.identity, process.pid))
        self.batches.append(list(entries))
        self.dropped.append(n_dropped)

    @property
    def messages(self) -> list[str]:
        return [entry.message for batch in self.batches for entry in batch]

    def close(self) -> None:
        self.opened.set()

    def forget(self) -> None:
        self.batches.clear()


@pytest.fixture
def attached() -> Iterator[Callable[..., Background]]:
    """Attach a sink to the root logger."""
    made: list[Background] = []
    root = logging.getLogger()

    def attach(gate: Gate, **options: Any) -> Background:
        handler = Background(gate, **options)
        made.append(handler)
        root.addHandler(handler)
        return handler

    yield attach
    for handler in made:
        handler.sink.close()
        handler.close()
        root.removeHandler(handler)


log = logging.getLogger("program")


def test_records_arrive_in_order_and_whole(attached: Callable[..., Background]) -> None:
    gate = Gate()
    handler = attached(gate)
    values = [1]
    log.warning("now %s", values)
    values.append(2)  # what was logged stays as it was
    for n in range(2000):
        log.warning("%d", n)
    assert handler.finish() == ""
    assert gate.messages == ["now [1]", *map(str, range(2000))]
    assert [e.number for b in gate.batches for e in b] == list(range(1, 2002))
    assert max(len(batch) for batch in gate.batches) <= 500
    assert handler.n_written == 2001


def test_a_sink_that_holds_its_thread_holds_nobody_else(
    attached: Callable[..., Background],
) -> None:
    gate = Gate(is_open=False)
    handler = attached(gate, capacity=100)
    for n in range(150):
        log.warning("%d", n)
    assert gate.entered.wait(60)
    assert handler.n_dropped == 50
    gate.opened.set()
    handler.flush(60)
    log.warning("after")
    assert handler.finish(60) == (
        "50 log records were lost on the way to the gate, which was too slow."
    )
    assert gate.messages == [*map(str, range(100)), "after"]
    assert gate.batches[-1][-1].number == 151
    assert gate.dropped[-1] == 50


def test_a_sink_that_is_gone_gets_everything_when_it_is_back(
    attached: Callable[..., Background],
) -> None:
    gate = Gate()
    gate.error = ConnectionError("nobody there")
    handler = attached(gate)
    log.warning("early")
    assert gate.entered.wait(60)
    log.warning("late")
    gate.error = None
    handler.flush(60)
    assert gate.messages == ["early", "late"]
    assert handler.told() == ""


def test_what_cannot_be_delivered_until_the_end_is_told(
    attached: Callable[..., Background],
) -> None:
    gate = Gate()
    gate.error = ConnectionError("nobody there")
    handler = attached(gate)
    log.warning("one")
    log.warning("two")
    told = "2 log records were lost on the way to the gate: nobody there"
    assert handler.finish(0.3) == told
    assert handler.finish(0.3) == told
    log.warning("three")
    assert handler.n_dropped == 3


def test_a_batch_that_is_refused_is_given_up(attached: Callable[..., Background]) -> None:
    gate = Gate()
    gate.error = ValueError("no such column")
    handler = attached(gate)
    log.warning("refused")
    handler.flush(60)
    gate.error = None
    log.warning("taken")
    assert handler.finish(60) == "1 log record was lost on the way to the gate: no such column"
    assert gate.messages == ["taken"]


def test_what_the_writing_thread_logs_comes_to_no_queue(
    attached: Callable[..., Background],
) -> None:
    one, other = Gate(), Gate()
    handlers = [attached(one), attached(other)]
    log.warning("said")
    for handler in handlers:
        assert handler.finish(60) == ""
    assert one.messages == other.messages == ["said"]


def test_a_message_that_cannot_be_made_is_told_and_stops_nothing(
    attached: Callable[..., Background],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = Gate()
    handler = attached(gate)
    alone = logging.getLogger("alone")
    monkeypatch.setattr(alone, "propagate", False)  # the handler of pytest would raise
    monkeypatch.setattr(alone, "handlers", [handler])
    alone.warning("%d", "none")
    alone.warning("next")
    handler.finish(60)
    assert "TypeError" in capsys.readouterr().err
    assert gate.messages == ["next"]


def test_what_no_database_takes_is_left_out(attached: Callable[..., Background]) -> None:
    gate = Gate()
    handler = attached(gate)
    # given to this handler alone: pytest keeps what it captures as UTF-8
    told = ("a\0b \ud800 %s", ("x" * 20_000,))
    handler.handle(log.makeRecord(log.name, logging.WARNING, __file__, 1, *told, None))
    handler.finish(60)
    (message,) = gate.messages
    assert message.startswith("ab ? xxx")
    assert message.endswith("x [cut]")
    assert len(message) < 16_100


def in_child(handler: Background, channel: Connection) -> None:
    gate = handler.sink
    assert isinstance(gate, Gate)
    log.warning("in the child")
    handler.finish(60)
    channel.send((gate.messages, {pid for _, pid in gate.processes} == {os.getpid()}))


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_process_that_is_forked_begins_anew(attached: Callable[..., Background]) -> None:
    gate = Gate()
    gate.error = ConnectionError("away")
    handler = attached(gate)
    log.warning("before")
    assert gate.entered.wait(60)
    gate.error = None
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=in_child, args=(handler, theirs))
    child.start()
    assert ours.poll(60)
    assert ours.recv() == (["in the child"], True)
    child.join()
    handler.flush(60)
    assert gate.messages == ["before"]
