"""Do files, databases and the broker get every record once, whatever becomes of them meanwhile?"""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pika
import pytest
import sqlalchemy as sa

from registry import Registry
from registry.database import utc_now
from registry.logs import LogEntry
from registry.schema.logs import log_record
from tests.disks import KIND, SmallDisk, small_disk
from tests.servers import PrivateServers
from workflow.logs.buffer import Background
from workflow.logs.entries import this_process
from workflow.logs.errors import LogSettingsError
from workflow.logs.sinks import BrokerSink, DatabaseSink, FileSink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.nursery import Nursery

log = logging.getLogger("program.part")


def entries(n: int, first: int = 1, text: str = "") -> list[LogEntry]:
    return [
        LogEntry(first + i, utc_now(), 20, "program", f"{first + i}{text}", "here", "main")
        for i in range(n)
    ]


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["number"] for line in path.read_text().splitlines()]


class Attached:
    """A sink on the logger of these tests, for a ``with`` block."""

    def __init__(self, sink: Any, **options: Any) -> None:
        self.handler = Background(sink, **options)

    def __enter__(self) -> Background:
        log.addHandler(self.handler)
        return self.handler

    def __exit__(self, *_: object) -> None:
        log.removeHandler(self.handler)
        self.handler.close()


def test_files_are_turned_over_and_the_oldest_go(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "log.jsonl"
    sink = FileSink(str(path), "json", max_bytes=4000, keep=2)
    me = this_process(utc_now())
    for first in range(1, 101, 10):
        sink.write(me, entries(10, first), 0)
    kept = sorted(p.name for p in path.parent.iterdir())
    assert kept == ["log.jsonl", "log.jsonl.1", "log.jsonl.2", "log.jsonl.lock"]
    held = [numbers(path.with_name(n)) for n in ("log.jsonl.2", "log.jsonl.1", "log.jsonl")]
    assert [n for part in held for n in part] == list(range(101 - sum(map(len, held)), 101))
    assert all(p.stat().st_size <= 4000 for p in path.parent.iterdir())


def test_processes_that_share_a_file_lose_nothing(tmp_path: Path, nursery: Nursery) -> None:
    path = tmp_path / "log.jsonl"
    program = "tests.workflow.logs.chatty_tasks:log_to_file"
    children = [nursery.start(program, str(path), n) for n in range(3)]
    assert [list(child) for child in children] == [["done"]] * 3
    for child in children:
        child.wait()
    lines = [
        line
        for p in tmp_path.glob("log.jsonl*")
        if p.suffix != ".lock"
        for line in p.read_text().splitlines()
    ]
    found = sorted(json.loads(line)["message"] for line in lines)
    assert found == sorted(f"{who} {n}" for who in range(3) for n in range(300))
    assert len(list(tmp_path.iterdir())) > 5


@pytest.mark.parametrize("disk_kind", [KIND])
def test_a_full_disk_leaves_no_half_line_and_is_written_when_there_is_room(disk_kind: str) -> None:
    assert disk_kind == KIND
    with small_disk(2) as disk:
        path = disk.folder / "log.jsonl"
        sink = FileSink(str(path), "json", max_bytes=10**9, keep=1)
        with Attached(sink, capacity=2000) as handler:
            log.warning("%s", "first" + "x" * 3000)
            handler.flush(60)
            before = path.read_bytes()
            _fill_while(disk, handler, path, before)
            handler.flush(60)
            found = numbers(path)
        assert found == list(range(1, 202))
        assert handler.told() == ""


def _fill_while(disk: SmallDisk, handler: Background, path: Path, before: bytes) -> None:
    """Log into a disk with little room; what is on it stays whole."""
    with disk.full_but_for(2):
        for _ in range(200):
            log.warning("%s", "x" * 1000)
        handler.flush(0.5)
        assert handler.n_written == 1
        assert path.read_bytes() == before


def test_a_locked_database_is_written_when_it_is_free(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'r.sqlite3'}"
    with Registry.create(url) as registry, Attached(DatabaseSink(url), capacity=50) as handler:
        with closing(sqlite3.connect(tmp_path / "r.sqlite3")) as other:
            other.execute("BEGIN IMMEDIATE")
            for n in range(80):
                log.warning("%d", n)
            handler.flush(0.3)
            assert (handler.n_written, handler.n_dropped) == (0, 30)
            other.rollback()
        handler.flush(60)
        log.warning("80")
        handler.flush(60)
        found = [r["message"] for r in registry.logs.records()]
        assert found == [*map(str, range(50)), "80"]
        assert [d["n_dropped"] for d in registry.logs.drops()] == [30]


def test_the_log_of_the_database_itself_does_not_go_round(database_url: str) -> None:
    engine_log = logging.getLogger("sqlalchemy")
    engine_log.setLevel(logging.DEBUG)
    handler = Background(DatabaseSink(database_url))
    logging.getLogger().addHandler(handler)
    try:
        log.warning("once")
        handler.flush(60)
        handler.flush(60)
        assert handler.finish(60) == ""
        assert handler.n_written == 1
        with Registry.connect(database_url) as registry:  # the engine of another thread is no loop
            assert [r["message"] for r in registry.logs.records()] == ["once"]
    finally:
        engine_log.setLevel(logging.NOTSET)
        logging.getLogger().removeHandler(handler)


def test_a_writer_that_is_killed_leaves_whole_batches(
    database_url: str, nursery: Nursery, registry: Registry
) -> None:
    child = nursery.start("tests.workflow.logs.chatty_tasks:log_until_killed", database_url)
    assert next(iter(child)) == "written"
    child.signal(9)  # type: ignore[arg-type]
    assert child.wait() == -9
    n, last = sa.func.count(), sa.func.max(log_record.c.number)
    with registry.read() as connection:
        held, newest = connection.execute(sa.select(n, last)).one()
    found = [(r["number"], r["message"]) for r in registry.logs.records()]
    assert 0 < held == len(found)
    assert all(int(message) == number - 1 for number, message in found)
    assert newest - held >= 0  # a gap is what the small queue dropped


def test_a_database_that_is_away_is_told_at_the_end() -> None:
    sink = DatabaseSink("postgresql://nobody:secret@127.0.0.1:1/none")
    with Attached(sink) as handler:
        log.warning("lost")
        told = handler.finish(0.5)
    assert "1 log record was lost on the way to the database postgresql://nobody:***@" in told
    assert "secret" not in told


class Consumer:
    """A queue that is bound to the exchange."""

    def __init__(self, url: str, key: str = "#") -> None:
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        self.channel.exchange_declare("skyspine.log", "topic", durable=True)
        self.queue = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.queue_bind(self.queue, "skyspine.log", key)

    def read(self, n: int) -> list[tuple[str, dict[str, Any]]]:
        """Read so many, each once: some come twice when a connection was given up."""
        found = {}
        for method, properties, body in self.channel.consume(
            self.queue, auto_ack=True, inactivity_timeout=60
        ):
            found[properties.message_id] = (method.routing_key, json.loads(body))
            if len(found) == n:
                break
        self.channel.cancel()
        return list(found.values())

    def close(self) -> None:
        self.connection.close()


def test_the_broker_gets_records_by_level_and_component(rabbitmq: str) -> None:
    every, errors = Consumer(rabbitmq), Consumer(rabbitmq, "error.program.#")
    with Attached(BrokerSink(rabbitmq, "skyspine.log")) as handler:
        log.warning("attention")
        try:
            raise ValueError("wrong")
        except ValueError:
            log.exception("é failed")
        assert handler.finish(60) == ""
    found = every.read(2)
    assert [key for key, _ in found] == ["warning.program.part", "error.program.part"]
    assert [document["message"] for _, document in found] == ["attention", "é failed"]
    ((_, only),) = errors.read(1)
    assert only["exception"].endswith("ValueError: wrong\n")
    every.close()
    errors.close()


@pytest.fixture(scope="module")
def broker(rabbitmq: str) -> Iterator[PrivateServers]:
    """A broker that may be held and killed."""
    assert rabbitmq
    with PrivateServers(["rabbitmq"]) as servers:
        yield servers


def test_nobody_waits_for_a_broker_that_does_not_answer(broker: PrivateServers) -> None:
    consumer = Consumer(broker.urls["rabbitmq"])
    with Attached(BrokerSink(broker.urls["rabbitmq"], "skyspine.log"), capacity=100) as handler:
        log.warning("before")
        handler.flush(60)
        assert consumer.read(1)[0][1]["message"] == "before"
        broker.hold("rabbitmq")
        try:
            for n in range(120):
                log.warning("%d", n)
            handler.flush(0.3)
            assert (handler.n_written, handler.n_dropped) == (1, 20)
        finally:
            broker.go_on("rabbitmq")
        handler.flush(60)
        messages = {document["message"] for _, document in consumer.read(100)}
        assert messages == {str(n) for n in range(100)}
        assert handler.finish(60).startswith("20 log records were lost on the way to RabbitMQ at ")
    consumer.close()


def test_a_broker_that_is_killed_gets_the_rest_when_it_is_back(broker: PrivateServers) -> None:
    url = broker.urls["rabbitmq"]
    with Attached(BrokerSink(url, "skyspine.log"), capacity=100) as handler:
        log.warning("before")
        handler.flush(60)
        assert handler.n_written == 1
        broker.kill("rabbitmq")
        for n in range(120):
            log.warning("%d", n)
        handler.flush(0.3)
        assert (handler.n_written, handler.n_dropped) == (1, 20)
        broker.start("rabbitmq")
        consumer = Consumer(url)
        handler.flush(60)
        messages = {document["message"] for _, document in consumer.read(100)}
        assert messages == {str(n) for n in range(100)}
        consumer.close()
        assert handler.finish(60).startswith("20 log records were lost on the way to RabbitMQ at ")


def test_a_wrong_url_of_a_broker_is_told() -> None:
    with pytest.raises(LogSettingsError, match="URL of the broker cannot be understood"):
        BrokerSink("amqp://host:port/", "x")
