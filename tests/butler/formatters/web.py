"""Private servers of files that count what they send: HTTP with and without ranges, and S3."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.utils import send_file
from werkzeug.wrappers import Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


class Counted:
    """A WSGI application whose answers are counted.

    Attributes
    ----------
    sent : int
        Bytes of all bodies so far.
    """

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application = application
        self.sent = 0

    def __call__(self, environ: Any, start_response: Any) -> Iterator[bytes]:
        body = self.application(environ, start_response)
        try:
            for part in body:
                self.sent += len(part)
                yield part
        finally:
            if hasattr(body, "close"):
                body.close()


class _Silent(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_: Any) -> None: ...


class Served:
    """A folder that is served.

    Parameters
    ----------
    url : str
        Of the folder, with a slash at its end.
    options : dict
        For fsspec.
    counted : Counted
        The server.
    put : callable
        Takes a name and the path of a file, which is served under this name from then on.
    """

    def __init__(
        self,
        url: str,
        options: dict[str, Any],
        counted: Counted,
        put: Callable[[str, Path], object],
    ) -> None:
        self.url, self.options, self.counted, self.put = url, options, counted, put


@contextmanager
def _running(application: Callable[..., Iterable[bytes]]) -> Iterator[tuple[int, Counted]]:
    counted = Counted(application)
    server: Any = make_server("127.0.0.1", 0, counted, threaded=True, request_handler=_Silent)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port, counted
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def http(*, ranges: bool = True) -> Iterator[Served]:
    """Serve files over HTTP."""
    files: dict[str, Path] = {}

    @Request.application
    def application(request: Request) -> Response:
        path = files.get(request.path.lstrip("/"))
        if path is None:
            return Response("not here", 404)
        if ranges:
            return send_file(path, request.environ, conditional=True, etag=False)
        return Response(path.read_bytes())

    with _running(application) as (port, counted):
        yield Served(f"http://127.0.0.1:{port}/", {}, counted, files.__setitem__)


@contextmanager
def s3() -> Iterator[Served]:
    """Serve files by an S3 server of moto."""
    keys = {"key": "any", "secret": "anyany"}  # the server asks for some, and takes all
    with _running(DomainDispatcherApplication(create_backend_app)) as (port, counted):
        endpoint = f"http://127.0.0.1:{port}"
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=keys["key"],
            aws_secret_access_key=keys["secret"],
        )
        client.create_bucket(Bucket="survey")
        options = {
            **keys,
            "client_kwargs": {"endpoint_url": endpoint, "region_name": "us-east-1"},
            "skip_instance_cache": True,
        }

        def put(name: str, path: Path) -> None:
            client.upload_file(str(path), "survey", name)

        yield Served("s3://survey/", options, counted, put)
        client.close()
