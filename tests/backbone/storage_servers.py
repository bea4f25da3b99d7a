"""Private servers of storage whose faults a test commands: S3, HTTP, WebDAV and SFTP."""

from __future__ import annotations

import asyncio
import io
import secrets
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import asyncssh
import boto3
from cheroot.wsgi import Server
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.utils import send_file
from werkzeug.wrappers import Request, Response
from wsgidav.fs_dav_provider import FilesystemProvider
from wsgidav.wsgidav_app import WsgiDAVApp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

KEYS = {
    "AWS_ACCESS_KEY_ID": "any",
    "AWS_SECRET_ACCESS_KEY": "anyany",
    "AWS_DEFAULT_REGION": "us-east-1",
}
EXPIRED = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>ExpiredToken</Code>'
    "<Message>The provided token has expired.</Message></Error>"
)


class Gate:
    """A WSGI application that lets through to another one, unless told otherwise.

    Attributes
    ----------
    failures : int
        How many of the next requests are answered with 503.
    answer : tuple of (str, str) or None
        Status and body that all get instead.
    stalled : bool
        Whether no answer is given until `release`.
    without_ranges : bool
        Whether all of a file is sent when a part is asked for.
    requests : int
        How many there were.
    """

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application = application
        self.failures = 0
        self.answer: tuple[str, str] | None = None
        self.stalled = False
        self.without_ranges = False
        self.requests = 0
        self.released = threading.Event()

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        self.requests += 1
        if self.without_ranges:
            environ.pop("HTTP_RANGE", None)
        if self.stalled:
            self.released.wait()
        status, body = self.answer or ("503 Service Unavailable", "")
        if self.failures or self.answer:
            self.failures = max(0, self.failures - 1)
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            content = body.encode() if environ["REQUEST_METHOD"] != "HEAD" else b""
            start_response(status, [("Content-Length", str(len(content)))])
            return [content]
        return self.application(environ, start_response)

    def release(self) -> None:
        """Answer what was stalled, and what comes."""
        self.stalled = False
        self.released.set()


class Storage:
    """A server of files.

    Parameters
    ----------
    root : str
        URL for an endpoint.
    seed : callable
        Takes a path and a content, and places the file behind the server's back.
    interrupt, deny, stop : callable
        Fails the next request, refuses everything, goes away.
    gate : Gate, optional
        Of those that speak HTTP.
    """

    def __init__(
        self,
        root: str,
        seed: Callable[[str, bytes], object],
        interrupt: Callable[[], object],
        deny: Callable[[], object],
        stop: Callable[[], object],
        gate: Gate | None = None,
    ) -> None:
        self.root, self.seed, self.gate = root, seed, gate
        self.interrupt, self.deny, self.stop = interrupt, deny, stop


class _Silent(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_: Any) -> None: ...


def _behind_gate(
    gate: Gate, root: str, seed: Callable[[str, bytes], object], stop: Any, denial: str = ""
) -> Storage:
    def interrupt() -> None:
        gate.failures = 1

    def deny() -> None:
        gate.answer = ("403 Forbidden", denial)

    return Storage(root, seed, interrupt, deny, stop, gate)


@contextmanager
def _werkzeug(gate: Gate) -> Iterator[tuple[int, Callable[[], None]]]:
    server: Any = make_server("127.0.0.1", 0, gate, threaded=True, request_handler=_Silent)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    gone: list[bool] = []

    def stop() -> None:
        if not gone:
            gone.append(True)
            server.shutdown()
            server.server_close()
            thread.join()
            gate.answer = ("503 Service Unavailable", "")  # to connections that are open still

    try:
        yield server.server_port, stop
    finally:
        gate.release()
        stop()


@contextmanager
def s3() -> Iterator[Storage]:
    """Serve a new bucket by moto; keys are `KEYS`, in the environment."""
    bucket = f"survey-{secrets.token_hex(6)}"  # what moto holds is one for all servers of a process
    gate = Gate(DomainDispatcherApplication(create_backend_app))
    with _werkzeug(gate) as (port, stop):
        url = f"http://127.0.0.1:{port}"
        client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="anyany",  # noqa: S106 (the server takes all)
        )
        client.create_bucket(Bucket=bucket)

        def seed(path: str, content: bytes) -> None:
            client.put_object(Bucket=bucket, Key=f"data/{path}", Body=content)

        yield _behind_gate(gate, f"s3://{bucket}/data?endpoint_url={url}", seed, stop, EXPIRED)
        client.close()


@contextmanager
def http(folder: Path) -> Iterator[Storage]:
    """Serve a folder for reading."""

    @Request.application
    def application(request: Request) -> Response:
        place = folder / request.path.removeprefix("/data/")
        if not place.is_file():
            return Response("not here", 404)
        content = io.BytesIO(place.read_bytes())  # a file would stay open after a refused range
        return send_file(
            content,
            request.environ,
            mimetype="application/octet-stream",
            conditional=True,
            etag=False,
        )

    gate = Gate(application)
    with _werkzeug(gate) as (port, stop):
        yield _behind_gate(gate, f"http://127.0.0.1:{port}/data", _seed(folder), stop)


@contextmanager
def dav(folder: Path) -> Iterator[Storage]:
    """Serve a folder by WebDAV."""
    settings = {
        "provider_mapping": {"/": FilesystemProvider(str(folder))},
        "simple_dc": {"user_mapping": {"*": True}},
        "logging": {"enable": False},
        "verbose": 0,
    }
    gate = Gate(WsgiDAVApp(settings))
    server = Server(("127.0.0.1", 0), gate)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    gone: list[bool] = []

    def stop() -> None:
        if not gone:
            gone.append(True)
            server.stop()
            thread.join()

    root = f"dav://127.0.0.1:{server.bind_addr[1]}/data"
    try:
        yield _behind_gate(gate, root, _seed(folder / "data"), stop)
    finally:
        gate.release()
        stop()


@contextmanager
def sftp(folder: Path, keys: Path) -> Iterator[Storage]:
    """Serve a folder by SFTP, to whoever comes; `keys` gets the host's key."""
    denied = threading.Event()
    connections: list[asyncssh.SSHServerConnection] = []

    class Open(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            connections.append(conn)

        def begin_auth(self, username: str) -> bool:  # noqa: ARG002
            return denied.is_set()

    class Chrooted(asyncssh.SFTPServer):
        def __init__(self, channel: Any) -> None:
            super().__init__(channel, chroot=str(folder).encode())

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    host_key = asyncssh.generate_private_key("ssh-ed25519")

    def do(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    async def listen() -> Any:
        return await asyncssh.create_server(
            Open, "127.0.0.1", 0, server_host_keys=[host_key], sftp_factory=Chrooted
        )

    async def close_all() -> None:
        for connection in connections:
            connection.abort()
        connections.clear()

    server = do(listen())
    port = server.sockets[0].getsockname()[1]
    known = keys / "known_hosts"
    public = host_key.export_public_key().decode().strip()
    known.write_text(f"[127.0.0.1]:{port} {public}\n")
    gone: list[bool] = []

    async def stop_() -> None:
        server.close()
        await close_all()
        await server.wait_closed()

    def stop() -> None:
        if not gone:
            gone.append(True)
            do(stop_())

    def deny() -> None:
        denied.set()
        do(close_all())

    root = f"sftp://someone@127.0.0.1:{port}/data?known_hosts={known}&timeout=5"
    try:
        yield Storage(root, _seed(folder / "data"), lambda: do(close_all()), deny, stop)
    finally:
        stop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _seed(folder: Path) -> Callable[[str, bytes], object]:
    def seed(path: str, content: bytes) -> None:
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    return seed
