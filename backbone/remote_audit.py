"""Do the database and an endpoint behind a URL agree?

One listing of the endpoint is compared with what is recorded there; where nothing can be listed,
each file is asked for.  An endpoint that does not answer is a finding of its own: nothing is
marked as lost for that, and nothing is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry.database import utc_now

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backbone.endpoints import Endpoint
    from backbone.remote import Listed, Remote

__all__ = ["Compared", "compare"]


@dataclass(slots=True)
class Compared:
    """What was found at an endpoint.

    Parameters
    ----------
    problems : list of (row, str)
        Recorded copies that are missing, or whose size or checksum differs.
    strays : list of (str, float)
        Files that nothing refers to, with their age [s].
    """

    problems: list[tuple[Any, str]] = field(default_factory=list)
    strays: list[tuple[str, float]] = field(default_factory=list)


def compare(
    endpoint: Endpoint, rows: Iterable[Any], known: set[str], *, checksums: bool
) -> Compared:
    """Compare recorded copies with an endpoint.

    Parameters
    ----------
    rows : iterable of rows
        With ``path``, ``size_bytes`` and ``checksum``.
    known : set of str
        Paths that are referred to in other ways.
    checksums : bool
        Whether to read every file.

    Raises
    ------
    EndpointAway, EndpointRefuses
        If it does not answer.
    """
    there = endpoint.remote()
    found = Compared()
    listing = there.list() if there.protocol.lists else None
    expected = set(known)
    for row in rows:
        expected.add(row.path)
        size = _size(there, row.path, listing)
        problem = ""
        if size is None:
            problem = "missing"
        elif size != row.size_bytes:
            problem = "size"
        elif checksums and row.checksum and there.checksum(row.path, size) != row.checksum:
            problem = "checksum"
        if problem:
            found.problems.append((row, problem))
    now = utc_now()
    for path, file in (listing or {}).items():
        if path not in expected:
            age = (now - file.modified).total_seconds() if file.modified else 0.0
            found.strays.append((path, age))
    return found


def _size(there: Remote, path: str, listing: dict[str, Listed] | None) -> int | None:
    if listing is not None:
        return listing[path].size if path in listing else None
    try:
        return there.size(path)
    except FileNotFoundError:
        return None
