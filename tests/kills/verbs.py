"""What is done until it is killed, and what must be so whenever that was?

Each is repeatable: what was begun is completed by doing it again.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone.endpoints import ROOT
from butler import Butler, FileDataset
from butler.intake import ingest_files
from butler.moving import converting, replicas, transfer
from registry.errors import DatasetExists
from tests.backbone.storage_servers import KEYS
from tests.kills.world import FAR, MADE, N, World, data_id, put, value
from tests.nursery import MomentsOfRequests

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from tests.nursery import Nursery

PROGRAM = f"{__name__}:program"
STEP = N // 2
"""Datasets that come in one transaction."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a program is to do, and where.

    Parameters
    ----------
    run : str
        RUN collection.
    where : str
        Name of the endpoint.
    other : str
        Root of the other repository.
    incoming : str
        Folder of files to be ingested.
    aloud : bool
        Whether to tell what is stored.
    """

    run: str
    where: str
    other: str
    incoming: str
    aloud: bool = False


def _put(butler: Butler, job: Job) -> None:
    for n in range(N):
        with suppress(DatasetExists):
            butler.put(value(n, job.run), "summary", data_id(n), run=job.run, endpoint=job.where)
        if job.aloud:
            print(n)  # noqa: T201 (it is told, and must not be lost)


def _ingest(butler: Butler, job: Job) -> None:
    files = [FileDataset(Path(job.incoming, f"{n}.yaml"), "summary", data_id(n)) for n in range(N)]
    butler.ingest(files, run=job.run, endpoint=job.where)


def _convert(butler: Butler, job: Job) -> None:
    butler.convert(_members(butler, job.run), format="json", endpoint=job.where)


def _transfer(butler: Butler, job: Job) -> None:
    with Butler(job.other) as there:
        asked = {"dataset_type": "summary", "collections": job.run}
        butler.transfer_from(there, asked, endpoint=job.where)


def _delete(butler: Butler, job: Job) -> None:
    if butler.collections.query(job.run):
        first = [ref for ref in _members(butler, job.run) if int(ref.data_id["healpix"]) < STEP]
        butler.prune(first, purge=True)
        butler.remove_runs(job.run)


def _copy(butler: Butler, job: Job) -> None:
    refs = _members(butler, job.run)
    butler.replicate(refs, FAR)
    butler.withdraw(refs, ROOT)


def _members(butler: Butler, run: str) -> list[Any]:
    return butler.query_datasets("summary", collections=run)


def _nothing(world: World, run: str, where: str) -> None:
    """Nothing needs to be there."""


def _some(world: World, run: str, where: str) -> None:
    put(world.butler, run, ROOT if where == FAR else FAR)


def _at_root(world: World, run: str, where: str) -> None:  # noqa: ARG001
    put(world.butler, run, ROOT)


def _twice(world: World, run: str, where: str) -> None:  # noqa: ARG001
    world.butler.replicate(put(world.butler, run, ROOT), FAR)


@dataclass(frozen=True, slots=True)
class Verb:
    """Something that is done.

    Parameters
    ----------
    prepare : callable
        Makes what must be there.
    do : callable
        Does it; here to its end, and in a process that is killed.
    counts : collection of int
        So many datasets may be there when it was killed.
    ends : int
        So many are there when it was done.
    run : str
        Where they are.
    content : str
        Of which run they hold the values.
    """

    prepare: Callable[[World, str, str], None]
    do: Callable[[Butler, Job], None]
    counts: Collection[int]
    ends: int
    run: str
    content: str


VERBS = {
    "put": Verb(_nothing, _put, range(N + 1), N, "k/put", "k/put"),
    "ingest": Verb(_nothing, _ingest, (0, STEP, N), N, "k/ingest", "incoming"),
    "convert": Verb(_some, _convert, (N,), N, "k/convert", "k/convert"),
    "transfer": Verb(_nothing, _transfer, (0, STEP, N), N, MADE, MADE),
    "delete": Verb(_twice, _delete, (N, N - STEP, 0), 0, "k/delete", "k/delete"),
    "copy": Verb(_at_root, _copy, (N,), N, "k/copy", "k/copy"),
}


def program(root: str, verb: str, job: dict[str, str], moment: int, seconds: float) -> None:
    """Do it, and die at a moment, or after some time; tell how much of both it took."""
    os.environ |= KEYS
    with small_steps(), Butler(root, writeable=True) as butler:
        moments = MomentsOfRequests(moment)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # it ends the process as SIGKILL does
        signal.setitimer(signal.ITIMER_REAL, seconds)
        began = time.perf_counter()
        VERBS[verb].do(butler, Job(**job, aloud=True))
        signal.setitimer(signal.ITIMER_REAL, 0)
    print(moments.count, time.perf_counter() - began)  # noqa: T201


@contextmanager
def small_steps() -> Iterator[None]:
    """Let some datasets be several batches."""
    sizes = [
        (ingest_files, "_COPIED_BATCH"),
        (converting, "BATCH"),
        (transfer, "BATCH"),
        (transfer, "FAR_BATCH"),
        (replicas, "BATCH"),
    ]
    before = [getattr(module, name) for module, name in sizes]
    for module, name in sizes:
        setattr(module, name, STEP)
    try:
        yield
    finally:
        for (module, name), size in zip(sizes, before, strict=True):
            setattr(module, name, size)


def job_of(world: World, verb: Verb, where: str) -> Job:
    """Say what is to be done."""
    return Job(verb.run, where, str(world.other), str(world.incoming))


def start(
    nursery: Nursery, world: World, verb: str, job: Job, moment: int = 0, seconds: float = 0.0
) -> tuple[int, list[str]]:
    """Let a process of its own do it; give its status, and what it said."""
    given = {key: told for key, told in asdict(job).items() if key != "aloud"}
    return nursery.run(PROGRAM, str(world.butler.root), verb, given, moment, seconds)
