"""How does a recorded file come to a path on this disk, wherever its copies lie?

From the first of its copies that is there and whole, compared with what was recorded of it.  What
comes from behind a URL comes piece by piece: a piece that fails is asked for again, and what a
killed attempt has left of a file is gone on with.  Many at a time: `each`.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from backbone.errors import BackboneError, ChangedFile, EndpointAway, NotOnDisk, StorageFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from backbone.files import Stored
    from backbone.staging import StagedFile

__all__ = ["AT_ONCE", "bring", "each"]

_log = logging.getLogger("skyspine.backbone")
_T = TypeVar("_T")
_R = TypeVar("_R")
AT_ONCE = 4
"""Files that are on their way from or to servers at the same time."""


def bring(
    copies: Sequence[Stored], repository: Path, to: StagedFile, transfer: str = "copy"
) -> tuple[Stored, str]:
    """Bring a file to its temporary name.

    Parameters
    ----------
    copies : sequence of Stored
        Of one file, the nearest first.
    repository : Path
        Root of the repository that they are recorded in.
    transfer : str
        ``copy`` (or ``auto``), ``link``, ``hardlink`` or ``symlink``; only what lies on this disk
        can be linked.

    Returns
    -------
    tuple
        The copy that was taken, and the checksum of the file.

    Raises
    ------
    ChangedFile
        If no copy is what was recorded.
    EndpointAway
        If one that may be is at an endpoint that does not answer.
    NotOnDisk
        If it shall be linked, and lies behind a URL.
    StorageFull
        If there is no room for it.
    """
    problems: list[BackboneError] = []
    for copy in copies:
        try:
            digest = _brought(copy, repository, to, transfer)
        except StorageFull:
            raise
        except BackboneError as error:
            problems.append(error)
            continue
        except FileNotFoundError as error:
            gone = ChangedFile(f"{copy.shown(repository)} is gone, though it is recorded.")
            gone.__cause__ = error
            problems.append(gone)
            continue
        for problem in problems:
            _log.warning(
                "A copy cannot be read, that at '%s' was taken: %s", copy.endpoint.name, problem
            )
        return copy, digest
    if len(problems) == 1:
        raise problems[0]
    told = " ".join(str(problem) for problem in problems)
    if any(isinstance(problem, EndpointAway) for problem in problems):
        raise EndpointAway(told) from problems[0]
    raise ChangedFile(told) from problems[0]


def _brought(copy: Stored, repository: Path, to: StagedFile, transfer: str) -> str:
    if copy.endpoint.is_remote:
        if transfer not in ("auto", "copy"):
            raise NotOnDisk(
                f"{copy.shown(repository)} lies behind a URL and cannot be linked; copy it "
                "(transfer=copy)."
            )
        return _fetched(copy, to)
    to.rename_apart()
    if transfer in ("auto", "copy"):
        there = copy.endpoint.located(copy.path, str(repository))
        return to.copy(there, copy.size, copy.checksum)
    source = copy.place(repository)
    size, digest = to.take(source, transfer)
    if (size, copy.checksum or digest) != (copy.size, digest):
        to.abandon(settled=False)
        raise ChangedFile(f"{source} is not what was recorded of it.")
    return digest


def _fetched(copy: Stored, to: StagedFile) -> str:
    """Fetch a file, going on with what there is of it where its checksum will tell."""
    there = copy.endpoint.remote()
    if copy.checksum is None:
        to.rename_apart()

    def pieces(start: int) -> Iterator[bytes]:
        return there.pieces(copy.path, copy.size, start)

    began, size, digest = to.go_on(pieces)
    if began and (size, digest) != (copy.size, copy.checksum):
        to.abandon(settled=False)
        began, size, digest = to.go_on(pieces)
    if size != copy.size or copy.checksum not in (None, digest):
        to.abandon(settled=False)
        raise ChangedFile(
            f"{there.url(copy.path)} is not what was recorded of it ({size} bytes, {digest}; "
            f"recorded: {copy.size} bytes, {copy.checksum or 'no checksum'})."
        )
    return digest


def each(
    work: Callable[[_T], _R],
    items: Sequence[_T],
    *,
    far: bool,
    progress: Callable[[int, int], None] | None = None,
) -> list[_R]:
    """Do something for each item, several at a time when servers are asked; an error ends it.

    Parameters
    ----------
    far : bool
        Whether most of the time is spent waiting for servers.
    progress : callable, optional
        Called with the number of items done and in all.

    Returns
    -------
    list
        The answers, in the order of the items.
    """
    answers: list[_R] = []

    def collect(each_answer: Iterable[_R]) -> list[_R]:
        for answer in each_answer:
            answers.append(answer)
            if progress is not None:
                progress(len(answers), len(items))
        return answers

    if not far or len(items) < 2:
        return collect(map(work, items))
    with ThreadPoolExecutor(min(AT_ONCE, len(items))) as pool:
        begun = [pool.submit(work, item) for item in items]
        try:
            return collect(future.result() for future in begun)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
