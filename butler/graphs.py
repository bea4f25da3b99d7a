"""How does a part of a run leave as one file, and how does it come home?

`export_graph` marks quanta as away and writes them, with all that they need, into a database of
one file, by which a run goes on without this one.  `bring_home` takes what has ended in batches,
each in one transaction with its files and its history; it may be called while the file is being
executed, again, and by several at once.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from backbone import endpoints, files, trash
from backbone.errors import ChangedFile
from backbone.staging import PART, StagedFile
from butler.errors import GraphFileError
from registry import collections, plans, repositories
from registry.database import account, utc_now
from registry.identity import uuid7
from registry.plans import homecoming
from registry.registry import Registry
from registry.schema.identity import dataset

if TYPE_CHECKING:
    import os
    import uuid
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from butler.butler import Butler

__all__ = ["BroughtHome", "Exported", "bring_home", "export_graph", "open_graph", "run_of"]

BATCH = 500
"""Quanta that come home in one transaction."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A graph file that was written.

    Parameters
    ----------
    file : Path
        Where it is.
    id : uuid.UUID
        Its identity.
    quanta : dict of str to int
        How many went into it, by label.
    """

    file: Path
    id: uuid.UUID
    quanta: dict[str, int]


@dataclass(slots=True)
class BroughtHome:
    """What came home.

    Parameters
    ----------
    states : dict of str to int
        Quanta by state.
    datasets : int
        What they made.
    log_records : int
        What they told meanwhile.
    away : int
        Quanta that are in the file still.
    refused : int
        Quanta that this repository does not wait for: they were taken back.
    """

    states: dict[str, int] = field(default_factory=dict)
    datasets: int = 0
    log_records: int = 0
    away: int = 0
    refused: int = 0


def run_of(butler: Butler, name: str) -> str:
    """Give the RUN that a name means: itself, or the last one of the output chain of that name."""
    with butler.registry.read() as connection:
        found = collections.flatten(connection, [name])
    runs = [c.name for c in found if c.type == "RUN"]
    if not runs:
        raise GraphFileError(f"'{name}' holds no run.", name=name)
    return runs[0]


def export_graph(
    butler: Butler,
    run: str,
    file: str | os.PathLike[str],
    *,
    labels: Sequence[str] = (),
    where: str = "",
    bind: Mapping[str, Any] | None = None,
    pieces: int = 1,
    into: str | os.PathLike[str] | None = None,
) -> list[Exported]:
    """Give quanta of a run away, in one file or several.

    Parameters
    ----------
    run : str
        A RUN, or the output chain whose last run is meant.
    file : path-like
        What is written; of several, each gets its number before the ending.
    labels : sequence of str
        Only quanta of these tasks.
    where, bind : str, mapping
        Expression that the data IDs of the quanta fulfil.
    pieces : int
        Into so many files; what waits for quanta of two of them stays here.
    into : path-like, optional
        Folder that outputs are written below, until they come home; that of this repository by
        default.

    Returns
    -------
    list of Exported
        Without those for which nothing was left.

    Raises
    ------
    GraphFileError
        If a file is there already, or no quantum can go.
    """
    butler.registry.database.require_writeable()
    name = run_of(butler, run)
    paths = _paths(Path(file).absolute(), pieces)
    root = Path(into).absolute() if into is not None else butler.root
    if into is not None:
        root.mkdir(parents=True, exist_ok=True)
    now, who = utc_now(), account()
    graphs = [
        plans.GraphFile(uuid7(), name, butler.registry.id, str(p), str(root), n, now, who)
        for n, p in enumerate(paths, 1)
    ]
    parts = {g.id: _part(Path(g.path)) for g in graphs}
    try:
        given = butler.registry.database.transact(
            _export, butler, graphs, parts, {"labels": labels, "where": where, "bind": bind}
        )
    except BaseException:
        for part in parts.values():
            _remove(part)
        raise
    written = []
    for graph in graphs:
        quanta = {label: n for (piece, label), n in given.items() if piece == graph.piece}
        if quanta:
            parts[graph.id].rename(graph.path)
            written.append(Exported(Path(graph.path), graph.id, quanta))
    return written


def _paths(file: Path, pieces: int) -> list[Path]:
    if pieces < 1:
        raise GraphFileError(f"A graph goes into one file or more, not into {pieces}.")
    digits = len(str(pieces))
    paths = [
        file.with_name(f"{file.stem}-{n:0{digits}}{file.suffix}") for n in range(1, 1 + pieces)
    ]
    paths = [file] if pieces == 1 else paths
    if not file.parent.is_dir():
        raise GraphFileError(f"There is no folder {file.parent}; make it first.", path=file.parent)
    for path in paths:
        if path.exists():
            raise GraphFileError(
                f"{path} exists already, and perhaps quanta are away in it; choose another name.",
                path=path,
            )
    return paths


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}{PART}")


def _remove(part: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        part.with_name(part.name + ending).unlink(missing_ok=True)


def _export(
    connection: sa.Connection,
    butler: Butler,
    graphs: Sequence[plans.GraphFile],
    parts: Mapping[uuid.UUID, Path],
    choice: Mapping[str, Any],
) -> dict[tuple[int, str], int]:
    given = plans.give(connection, graphs, **choice)
    if not given:
        raise GraphFileError(
            f"No quantum of '{graphs[0].run}' can go: none that is ready and meant waits only for "
            "what goes with it. `skyspine graph list` tells what is away, `skyspine report` how "
            "far the run is."
        )
    filled = {piece for piece, _ in given}
    for graph in graphs:
        _remove(parts[graph.id])
        if graph.piece in filled:
            _write(connection, butler, graph.id, parts[graph.id])
    return given


def _write(connection: sa.Connection, butler: Butler, graph_id: uuid.UUID, part: Path) -> None:
    with Registry.create(f"sqlite:///{part}") as registry, registry.begin() as target:
        plans.copy_graph(connection, target, graph_id, str(butler.root))
        read = list(target.execute(sa.select(dataset.c.id)).scalars())
        homes = repositories.homes_of(connection, read)
        for n, place in enumerate(butler.inputs if homes else ()):
            theirs = [i for i, home in homes.items() if home == place.id]
            with place.registry.read() as there:
                found = list(files.all_copies(there, theirs).values())
            held = next((c for copies in found for c in copies if c.endpoint.in_tables), None)
            if held is not None:
                raise GraphFileError(
                    f"{held.shown(place.root)} of the input {place.root} holds what a quantum "
                    "reads, and rows of another repository cannot go into a file; take them in "
                    "first: skyspine transfer"
                )
            _lend(target, f"input-{n}", str(place.root), found)


def _lend(
    target: sa.Connection, name: str, root: str, found: Sequence[Sequence[files.Stored]]
) -> None:
    """Let a file read what another repository has at each place where it has a copy."""
    places = {copy.endpoint.name: copy.endpoint for copies in found for copy in copies}
    for key, place in places.items():
        where = root if place.root == "." else place.root
        endpoints.add(target, f"{name}.{key}", where, owned=False)
        first = [c[0] for c in found if c[0].endpoint.name == key]
        files.record(target, f"{name}.{key}", [_recorded(copy) for copy in first])
    ids = [copies[0].dataset_id for copies in found]
    known = {
        (one.dataset_id, one.component): one.file_id
        for some in files.locate(target, ids).values()
        for one in some
    }
    for key in places:
        more = [c for copies in found for c in copies[1:] if c.endpoint.name == key]
        files.add_replicas(
            target, f"{name}.{key}", [(known[c.dataset_id, c.component], c.path) for c in more]
        )


def _recorded(copy: files.Stored) -> files.NewFile:
    """Give what is to be recorded of a file, as it is recorded where it comes from."""
    return files.NewFile(
        copy.dataset_id,
        copy.component,
        copy.path,
        copy.size,
        copy.checksum,
        copy.formatter,
        copy.options,
    )


@contextlib.contextmanager
def open_graph(
    file: str | os.PathLike[str],
) -> Iterator[tuple[Butler, plans.GraphFile]]:
    """Open a graph file as a Butler, and tell what it is.

    Raises
    ------
    GraphFileError
        If it is the folder of a repository.
    """
    from butler.butler import Butler

    with Butler(file, writeable=True) as away:
        with away.registry.read() as connection:
            graph = plans.graph_of_file(connection)
        if away.repository.file is None or graph is None:
            raise GraphFileError(
                f"{file} is a repository; name a file that `skyspine graph export` has written.",
                path=file,
            )
        yield away, graph


def bring_home(
    butler: Butler,
    file: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> BroughtHome:
    """Record here what quanta in a file have done so far, with all that they made and told.

    Parameters
    ----------
    progress : callable, optional
        Called with how many quanta came, of how many.

    Raises
    ------
    GraphFileError
        If the file comes from another repository.
    ChangedFile
        If an output is gone, or is not what was recorded of it; the batches before it are home.
    """
    butler.registry.database.require_writeable()
    result = BroughtHome()
    with open_graph(file) as (away, graph):
        if graph.repository_id != butler.registry.id:
            raise GraphFileError(
                f"{file} was taken from the repository {graph.repository_id}, and this one is "
                f"{butler.registry.id}; bring it home there.",
                path=file,
            )
        database = away.registry.database
        done = 0
        while leaving := database.transact(homecoming.leave):
            with database.read() as connection:
                total = done + homecoming.not_home(connection)
            for ids in homecoming.batches(leaving, BATCH):
                staged: list[StagedFile] = []
                with butler.cleaning(staged):
                    states, made, known = butler.registry.database.transact(
                        _take_in, butler, away, graph.id, ids, staged
                    )
                database.transact(homecoming.settle_at_home, ids)
                for state in states:
                    result.states[state] = result.states.get(state, 0) + 1
                result.datasets += made
                result.refused += len(ids) - known
                done += len(ids)
                if progress is not None:
                    progress(done, total)
        result.log_records = _bring_log(butler, away)
        with database.read() as connection:
            result.away = homecoming.not_home(connection)
    return result


def _take_in(
    connection: sa.Connection,
    butler: Butler,
    away: Butler,
    graph_id: uuid.UUID,
    ids: Sequence[uuid.UUID],
    staged: list[StagedFile],
) -> tuple[list[str], int, int]:
    """Record what is still awaited of a batch; files get their names before the commit.

    Returns
    -------
    tuple
        States of the quanta that came, number of their datasets, and of how many of the batch this
        repository knows that the file has or had them.
    """
    homecoming.await_turn(connection, graph_id)
    known = homecoming.whereabouts(connection, graph_id, ids)
    awaited = [i for i, state in known.items() if state == "away"]
    with away.registry.read() as there:
        ended = homecoming.read_ended(there, awaited)
        located = files.locate(there, [row["dataset_id"] for row in ended.outputs])
    homecoming.record_ended(connection, ended)
    new = [_brought(butler, away, copy, staged) for found in located.values() for copy in found]
    files.record(connection, endpoints.ROOT, new)
    trash.reclaim(connection, endpoints.ROOT, [one.path for one in new])
    for one in staged:
        one.settle()
    return [row["state"] for row in ended.quanta], len(ended.datasets), len(known)


def _brought(
    butler: Butler, away: Butler, copy: files.Stored, staged: list[StagedFile]
) -> files.NewFile:
    """Bring a file below the root of this repository, unless it was written there."""
    source = copy.place(away.root)
    if away.root == butler.root:
        if not source.exists() or source.stat().st_size != copy.size:
            raise ChangedFile(f"{source} is gone, or not of the {copy.size} bytes recorded of it.")
    else:
        one = StagedFile(butler.root, copy.path)
        one.rename_apart()  # two may bring the same graph home
        staged.append(one)
        one.copy(source, copy.size, copy.checksum)
    return _recorded(copy)


def _bring_log(butler: Butler, away: Butler) -> int:
    """Bring what was logged since the last time, process by process in the order of the records."""
    total = 0
    with away.registry.read() as connection:
        processes = homecoming.log_processes(connection)
    for process in processes:
        with butler.registry.read() as connection:
            last = homecoming.last_logged(connection, process["identity"])
        while True:
            with away.registry.read() as connection:
                found = homecoming.read_log(connection, process["id"], last)
            if not found:
                break
            butler.registry.database.ensure(homecoming.copy_log, process, found)
            last = found[-1]["number"]
            total += len(found)
    return total
