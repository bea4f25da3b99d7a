"""How is a URL of storage opened, and what can be done behind it?

`PROTOCOLS` has a line for each scheme: what opens it, whether files can be written, listed and
renamed there, and which options its URL may carry.  Secrets never stand in a URL, since that lies
in the database: they come from where each library looks for them (keys of S3 in the environment or
``~/.aws``, keys of SSH in ``~/.ssh``) or from fsspec's own configuration.  Work with files is
`backbone.remote`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from backbone.errors import EndpointConflict
from registry.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["PROTOCOLS", "Protocol", "is_url", "opened", "protocol_of", "shown"]

TIMEOUT = 30.0
"""Silence after which a server counts as away [s]; ``?timeout=`` in the root says otherwise."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """What can be done behind a kind of URL.

    Parameters
    ----------
    open : callable
        Takes the parts of the URL and its options; returns fsspec's file system and the path in it.
    options : frozenset of str
        What may stand behind the ``?`` of a root.
    writes : bool
        Whether files can be made there.
    lists : bool
        Whether it can be asked what there is.
    renames : bool
        Whether a file is seen while it is written, so that it gets its name when it is whole;
        else it appears whole or not at all.
    ranges : bool
        Whether the library fetches parts of a file when asked for them.
    """

    open: Callable[[SplitResult, Mapping[str, str]], tuple[Any, str]]
    options: frozenset[str]
    writes: bool = True
    lists: bool = True
    renames: bool = False
    ranges: bool = True


def _s3(parts: SplitResult, options: Mapping[str, str]) -> tuple[Any, str]:
    from s3fs import S3FileSystem

    timeout = float(options.get("timeout", TIMEOUT))
    settings: dict[str, Any] = {
        "config_kwargs": {
            "connect_timeout": timeout,
            "read_timeout": timeout,
            "retries": {"total_max_attempts": 1},
        },
        "use_listings_cache": False,
        "skip_instance_cache": True,
    }
    if "endpoint_url" in options:
        settings["endpoint_url"] = options["endpoint_url"]
    if "region" in options:
        settings["client_kwargs"] = {"region_name": options["region"]}
    if "profile" in options:
        settings["profile"] = options["profile"]
    system = S3FileSystem(**settings)
    system.retries = 1  # how often is decided in one place, for all
    return system, f"{parts.netloc}/{unquote(parts.path).strip('/')}".rstrip("/")


def _http(parts: SplitResult, options: Mapping[str, str]) -> tuple[Any, str]:
    import aiohttp
    from fsspec.implementations.http import HTTPFileSystem

    timeout = float(options.get("timeout", TIMEOUT))
    limits = aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout)
    system = HTTPFileSystem(
        client_kwargs={"timeout": limits, "trust_env": True}, skip_instance_cache=True
    )
    return system, parts._replace(query="").geturl().rstrip("/")


def _dav(parts: SplitResult, options: Mapping[str, str]) -> tuple[Any, str]:
    from webdav4.fsspec import WebdavFileSystem

    scheme = "https" if parts.scheme == "davs" else "http"
    system = WebdavFileSystem(
        parts._replace(scheme=scheme, query="", path="/").geturl(),
        timeout=float(options.get("timeout", TIMEOUT)),
        retry=False,
        skip_instance_cache=True,
    )
    return system, unquote(parts.path).strip("/")


def _sftp(parts: SplitResult, options: Mapping[str, str]) -> tuple[Any, str]:
    from sshfs import SSHFileSystem

    timeout = float(options.get("timeout", TIMEOUT))
    settings: dict[str, Any] = {
        "known_hosts": options.get("known_hosts", ()),  # (): ~/.ssh/known_hosts
        "connect_timeout": timeout,
        "login_timeout": timeout,
        "keepalive_interval": timeout,
        "keepalive_count_max": 1,
        "skip_instance_cache": True,
    }
    if parts.username:
        settings["username"] = unquote(parts.username)
    if parts.port:
        settings["port"] = parts.port
    if "key" in options:
        settings["client_keys"] = [str(Path(options["key"]).expanduser())]
    return SSHFileSystem(parts.hostname or "", **settings), unquote(parts.path).rstrip("/")


def _memory(parts: SplitResult, options: Mapping[str, str]) -> tuple[Any, str]:  # noqa: ARG001
    from fsspec.implementations.memory import MemoryFileSystem

    return MemoryFileSystem(), "/" + f"{parts.netloc}{unquote(parts.path)}".strip("/")


_WEB = frozenset({"timeout"})
PROTOCOLS: dict[str, Protocol] = {
    "s3": Protocol(_s3, frozenset({"endpoint_url", "region", "profile", "timeout"})),
    "http": Protocol(_http, _WEB, writes=False, lists=False),
    "https": Protocol(_http, _WEB, writes=False, lists=False),
    "dav": Protocol(_dav, _WEB, renames=True),
    "davs": Protocol(_dav, _WEB, renames=True),
    "sftp": Protocol(
        _sftp, frozenset({"known_hosts", "key", "timeout"}), renames=True, ranges=False
    ),
    "memory": Protocol(_memory, frozenset(), renames=True),
}


def is_url(root: str) -> bool:
    """Tell whether the root of an endpoint is a URL, and no folder."""
    return "://" in root


def protocol_of(root: str) -> Protocol:
    """Find what can be done behind a URL.

    Raises
    ------
    EndpointConflict
        If nothing here opens such URLs, an option is unknown, or a secret stands in it.
    """
    parts = urlsplit(root)
    if parts.scheme not in PROTOCOLS:
        raise EndpointConflict(
            f"'{parts.scheme}' is no storage that can be opened."
            f"{did_you_mean(parts.scheme, PROTOCOLS)}"
        )
    protocol = PROTOCOLS[parts.scheme]
    if parts.password is not None:
        raise EndpointConflict(
            "A password may not stand in the URL of an endpoint, since that lies in the database; "
            "put it where the library looks for it, such as ~/.config/fsspec/conf.json."
        )
    if not parts.netloc:
        raise EndpointConflict(f"{root} names no server or bucket.")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in sorted(options.keys() - protocol.options):
        raise EndpointConflict(
            f"{parts.scheme}:// knows no option '{name}'; it has "
            f"{', '.join(sorted(protocol.options)) or 'none'}."
        )
    if "timeout" in options:
        try:
            good = float(options["timeout"]) > 0
        except ValueError:
            good = False
        if not good:
            raise EndpointConflict("timeout is a number of seconds above 0, such as timeout=10.")
    return protocol


def opened(root: str) -> tuple[Any, str]:
    """Open a URL: fsspec's file system, and the path in it.

    Raises
    ------
    EndpointConflict
        If the library for it is not installed.
    """
    protocol = protocol_of(root)
    parts = urlsplit(root)
    try:
        return protocol.open(parts, dict(parse_qsl(parts.query)))
    except ImportError as error:
        raise EndpointConflict(
            f"{parts.scheme}:// needs {error.name}, which is not installed; install it with: "
            "pip install 'skyspine[remote]'"
        ) from error


def shown(root: str, path: str = "") -> str:
    """Write the place of a file for messages: without options."""
    plain = urlsplit(root)._replace(query="").geturl().rstrip("/")
    return f"{plain}/{path}" if path else plain
