"""Where do records go: a file, the database, or the message broker?

Each sink writes one batch, all or nothing; the thread of `workflow.logs.buffer` calls it.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import Database, safe_url
from registry.logs import insert_entries, register_process
from workflow.logs.entries import as_json, as_text
from workflow.logs.errors import LogSettingsError
from workflow.logs.levels import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry.logs import LogEntry, LogProcess

__all__ = ["BrokerSink", "DatabaseSink", "FileSink"]

_BUSY_SECONDS = "2"
"""How long one attempt waits for another writer of an SQLite file; the buffer tries again."""
_MAX_KEY = 255
_BROKER_SECONDS = 5


class FileSink:
    """A local file, and older ones beside it: ``name``, ``name.1``, ``name.2``, ...

    Several processes may write to one: each batch is written and the file turned over under a lock,
    on ``name.lock``.

    Parameters
    ----------
    path : str
        The file; its folder is made.
    style : str
        json or text.
    max_bytes : int
        Size from which on the next batch goes to a new file [byte].
    keep : int
        How many older files are kept.
    """

    def __init__(self, path: str, style: str, max_bytes: int, keep: int) -> None:
        self.path = Path(path).absolute()
        self.name = str(self.path)
        self._style = style
        self._max_bytes = max_bytes
        self._keep = keep

    def write(self, process: LogProcess, entries: Sequence[LogEntry], n_dropped: int) -> None:
        """Append a batch; what does not fit on the disk leaves no half of a line."""
        del n_dropped
        lines = [as_json(process, e) if self._style == "json" else as_text(e) for e in entries]
        body = "".join(f"{line}\n" for line in lines).encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(f"{self.path}.lock", os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._turn_over(len(body))
            self._append(body)
        finally:
            os.close(lock)

    def _append(self, body: bytes) -> None:
        file = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
        try:
            size = os.fstat(file).st_size
            try:
                left = memoryview(body)
                while left:
                    left = left[os.write(file, left) :]
            except OSError:
                os.ftruncate(file, size)
                raise
        finally:
            os.close(file)

    def _turn_over(self, more: int) -> None:
        size = self.path.stat().st_size if self.path.exists() else 0
        if not size or size + more <= self._max_bytes:
            return
        for n in range(self._keep, 0, -1):
            with suppress(FileNotFoundError):
                (self._older(n - 1) if n > 1 else self.path).replace(self._older(n))
        if not self._keep:
            self.path.unlink()

    def _older(self, n: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{n}")

    def close(self) -> None:
        """Nothing stays open between batches."""

    def forget(self) -> None:
        """Nothing stays open between batches."""


class DatabaseSink:
    """The tables of `registry.schema.logs`, over a connection of its own.

    Parameters
    ----------
    url : str
        Of the database.
    """

    def __init__(self, url: str) -> None:
        self.name = f"the database {safe_url(url)}"
        self.url = url
        self._database: Database | None = None
        self._key: tuple[Any, int] | None = None

    def write(self, process: LogProcess, entries: Sequence[LogEntry], n_dropped: int) -> None:
        """Write a batch in one transaction."""
        if self._database is None:
            url = sa.make_url(self.url)
            if url.get_backend_name() == "sqlite":
                url = url.update_query_dict({"timeout": _BUSY_SECONDS})
            self._database = Database(url.render_as_string(hide_password=False))
        with self._database.begin() as connection:
            if self._key is None or self._key[0] != process.identity:
                key = register_process(connection, process)
            else:
                key = self._key[1]
            insert_entries(connection, key, entries, n_dropped)
        self._key = process.identity, key

    def close(self) -> None:
        """Close the connection."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def forget(self) -> None:
        """Leave the connection to the parent process."""
        if self._database is not None:
            self._database.engine.dispose(close=False)
        self._database = self._key = None


class BrokerSink:
    """A topic exchange of RabbitMQ: routing key ``level.logger``, a body of JSON.

    A batch is one transaction of the channel. One whose end was not heard of is sent again: the
    message ID, process and number, tells a consumer what it has seen.

    Parameters
    ----------
    url : str
        ``amqp://user:password@host:port/vhost``.
    exchange : str
        Its name; it is declared, durable.
    """

    def __init__(self, url: str, exchange: str) -> None:
        try:
            import pika
        except ModuleNotFoundError as error:
            raise LogSettingsError(
                "logging to RabbitMQ needs pika; install it with: pip install 'skyspine[rabbitmq]'."
            ) from error
        try:
            self._parameters = pika.URLParameters(url)
        except (ValueError, IndexError) as error:
            raise LogSettingsError(
                "the URL of the broker cannot be understood; write for example "
                f"amqp://user:password@host:5672/ ({error})."
            ) from error
        self._parameters.socket_timeout = _BROKER_SECONDS
        self._parameters.stack_timeout = 2 * _BROKER_SECONDS
        self._parameters.blocked_connection_timeout = 2 * _BROKER_SECONDS
        self.name = f"RabbitMQ at {self._parameters.host}:{self._parameters.port}"
        self._exchange = exchange
        self._connection: Any = None
        self._channel: Any = None

    def write(self, process: LogProcess, entries: Sequence[LogEntry], n_dropped: int) -> None:
        """Publish a batch.

        Raises
        ------
        ConnectionError
            If the broker cannot be reached, or does not take it.
        """
        del n_dropped
        from pika.exceptions import AMQPError

        try:
            if self._channel is None or self._channel.is_closed:
                self._open()
            for entry in entries:
                self._publish(process, entry)
            self._channel.tx_commit()
        except (AMQPError, OSError) as error:
            self.close()
            why = str(error) or type(error).__name__
            raise ConnectionError(f"it cannot be reached ({why})") from error

    def _open(self) -> None:
        import pika

        self.close()
        self._connection = pika.BlockingConnection(self._parameters)
        self._channel = self._connection.channel()
        self._channel.exchange_declare(self._exchange, "topic", durable=True)
        self._channel.tx_select()

    def _publish(self, process: LogProcess, entry: LogEntry) -> None:
        import pika

        key = f"{name_of(entry.level).lower()}.{entry.logger}".encode()[:_MAX_KEY]
        properties = pika.BasicProperties(
            content_type="application/json",
            message_id=f"{process.identity}:{entry.number}",
            timestamp=int(entry.logged_at.timestamp()),
        )
        body = as_json(process, entry).encode()
        routing_key = key.decode("utf-8", "ignore")
        self._channel.basic_publish(self._exchange, routing_key, body, properties)

    def close(self) -> None:
        """Close the connection."""
        from pika.exceptions import AMQPError

        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None and connection.is_open:
            with suppress(AMQPError, OSError):
                connection.close()

    def forget(self) -> None:
        """Leave the connection to the parent process."""
        self._connection = self._channel = None
