"""Which quanta of a run may be given away in a file, and which file has them?

A quantum goes when all that is still to make its inputs goes with it, so that a file can be
executed without this database.  While it is away nothing here starts it, plans it anew or gives it
to another file.  What a file holds is `registry.plans.copying`, how it comes home
`registry.plans.homecoming`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.collections import get_collection
from registry.database import analyze_grown, insert_rows
from registry.errors import UnknownName
from registry.expressions import compile_where, parse
from registry.identity import DIMENSIONS
from registry.names import names_of_data_ids
from registry.plans.walking import TO_COME
from registry.provenance.variants import has_quanta
from registry.schema.collections import collection
from registry.schema.identity import data_id
from registry.schema.plans import (
    given_quantum,
    graph_file,
    planned_input,
    planned_output,
    task_connection,
)
from registry.schema.provenance import quantum, task

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Mapping, Sequence

__all__ = ["GraphFile", "UnknownGraph", "give", "graph_files", "graph_of_file", "take_back"]

TAKEN_BACK = "It was taken back from the file that had it; a run that is continued plans it anew."


class UnknownGraph(UnknownName):
    """No graph file has this identity."""

    code = "unknown-graph"
    kind = "graph file"
    remedy = "`skyspine graph list REPO` lists them."


@dataclass(frozen=True, slots=True)
class GraphFile:
    """A file with quanta of a run.

    Parameters
    ----------
    id : uuid.UUID
        Its identity.
    run : str
        RUN collection.
    repository_id : uuid.UUID
        Where it comes home to.
    path, root : str
        Where it was written, and the folder that outputs are written below.
    piece : int
        Its place among those that were written together, from 1.
    exported_at, exported_by : datetime, str
        When (UTC), and by which account.
    """

    id: uuid.UUID
    run: str
    repository_id: uuid.UUID
    path: str
    root: str
    piece: int
    exported_at: dt.datetime
    exported_by: str


def give(
    connection: sa.Connection,
    files: Sequence[GraphFile],
    *,
    labels: Sequence[str] = (),
    where: str = "",
    bind: Mapping[str, Any] | None = None,
) -> dict[tuple[int, str], int]:
    """Give the ready quanta of a run to files, as many to each as it comes.

    Parameters
    ----------
    files : sequence of GraphFile
        Of one run, numbered from 1; those that get nothing are not recorded.
    labels : sequence of str
        Only quanta of these tasks; of all by default.
    where, bind : str, mapping
        Expression that their data IDs fulfil.

    Returns
    -------
    dict
        How many quanta went, by number of the file and label.

    Raises
    ------
    UnknownName
        If the run has no task of a label.
    """
    run_id = get_collection(connection, files[0].run).id
    tasks = _tasks(connection, run_id, labels)
    insert_rows(
        connection,
        graph_file,
        [
            {
                "id": f.id,
                "run_id": run_id,
                "repository_id": f.repository_id,
                "path": f.path,
                "root": f.root,
                "piece": f.piece,
                "exported_at": f.exported_at,
                "exported_by": f.exported_by,
            }
            for f in files
        ],
    )
    ids = [f.id for f in files]
    of_run = sa.select(quantum.c.id).where(quantum.c.task_id.in_(tasks), quantum.c.state == "ready")
    g = given_quantum.c
    connection.execute(sa.delete(given_quantum).where(g.quantum_id.in_(of_run)))
    for key in tasks:
        meant = _meant(connection, key, run_id, where, bind or {})
        for chosen in (_heirs(key, ids, meant), _free(key, ids, meant)):
            into = ["quantum_id", "graph_id", "state"]
            done = connection.execute(sa.insert(given_quantum).from_select(into, chosen))
            analyze_grown(connection, given_quantum, done.rowcount)
        own = sa.select(g.quantum_id).where(g.graph_id.in_(ids))
        connection.execute(
            sa.update(quantum)
            .where(quantum.c.task_id == key, quantum.c.state == "ready", quantum.c.id.in_(own))
            .values(state="away")
        )
    counted = connection.execute(
        sa.select(graph_file.c.piece, task.c.label, sa.func.count())
        .join_from(graph_file, given_quantum, g.graph_id == graph_file.c.id)
        .join(quantum, quantum.c.id == g.quantum_id)
        .join(task, task.c.id == quantum.c.task_id)
        .where(graph_file.c.id.in_(ids))
        .group_by(graph_file.c.piece, task.c.id, task.c.label)
        .order_by(graph_file.c.piece, task.c.id)
    )
    found = {(piece, label): n for piece, label, n in counted}
    empty = [f.id for f in files if not any(piece == f.piece for piece, _ in found)]
    connection.execute(sa.delete(graph_file).where(graph_file.c.id.in_(empty)))
    return found


def _tasks(connection: sa.Connection, run_id: int, labels: Sequence[str]) -> list[int]:
    """List the tasks of a run in order, each after those whose outputs it reads."""
    rows = connection.execute(
        sa.select(task.c.label, task.c.id)
        .where(task.c.run_id == run_id, has_quanta())
        .order_by(task.c.id)
    )
    known = dict(rows.all())
    for label in labels:
        if label not in known:
            raise UnknownName(label, known, remedy="It is no task of this run.")
    return [key for label, key in known.items() if not labels or label in labels]


def _meant(
    connection: sa.Connection, key: int, run_id: int, where: str, bind: Mapping[str, Any]
) -> sa.Select[Any]:
    """Select the ready quanta of a task that fulfil an expression, and look up nothing more."""
    i = data_id.alias("i")
    base: Any = quantum.join(i, i.c.id == quantum.c.data_id)
    conditions = []
    if where.strip():
        names = names_of_data_ids(base, i, list(DIMENSIONS), None, connection)
        conditions.append(compile_where(parse(where), names, bind))
        base = names.base
    made, other = task_connection.alias("made"), task.alias("other")
    # what the run itself certifies is looked up when it is there, which only the home can do
    by_run = (
        sa.select(made.c.name)
        .join(other, other.c.id == made.c.task_id)
        .where(
            other.c.run_id == run_id,
            made.c.kind == "output",
            made.c.dataset_type == task_connection.c.dataset_type,
        )
        .correlate(task_connection)
    )
    found = sa.exists().where(
        planned_input.c.quantum_id == quantum.c.id,
        planned_input.c.connection == task_connection.c.name,
    )
    promised = (
        sa.select(task_connection.c.name)
        .where(
            task_connection.c.task_id == key,
            task_connection.c.kind == "prerequisite",
            by_run.exists(),
            ~found.correlate(quantum, task_connection),
        )
        .correlate(quantum)
    )
    return (
        sa.select(quantum.c.id, quantum.c.data_id)
        .select_from(base)
        .where(
            quantum.c.task_id == key,
            quantum.c.state == "ready",
            ~promised.exists(),
            *conditions,
        )
        .distinct()
    )


def _awaited(key: int, ids: Sequence[uuid.UUID]) -> sa.Subquery:
    """Count for each ready quantum of a task what it waits for, and how much of it goes where."""
    maker, heir = quantum.alias("maker"), quantum.alias("heir")
    g, f = given_quantum.alias("g"), graph_file.alias("f")
    return (
        sa.select(
            heir.c.id.label("quantum_id"),
            sa.func.count().label("n"),
            sa.func.count(f.c.piece).label("n_going"),
            sa.func.min(f.c.piece).label("lowest"),
            sa.func.max(f.c.piece).label("highest"),
        )
        .join_from(heir, planned_input, planned_input.c.quantum_id == heir.c.id)
        .join(planned_output, planned_output.c.dataset_id == planned_input.c.dataset_id)
        .join(maker, maker.c.id == planned_output.c.quantum_id)
        .outerjoin(g, (g.c.quantum_id == maker.c.id) & (maker.c.state == "away"))
        .outerjoin(f, (f.c.id == g.c.graph_id) & f.c.id.in_(ids))
        .where(heir.c.task_id == key, heir.c.state == "ready", maker.c.state.in_(TO_COME))
        .group_by(heir.c.id)
        .subquery("awaited")
    )


def _heirs(key: int, ids: Sequence[uuid.UUID], meant: sa.Select[Any]) -> sa.Select[Any]:
    """Select what waits for quanta that all go into one file, with that file."""
    awaited, m, f = _awaited(key, ids), meant.subquery("meant"), graph_file.alias("into")
    return (
        sa.select(m.c.id, f.c.id, sa.literal("away", sa.String))
        .join_from(m, awaited, awaited.c.quantum_id == m.c.id)
        .join(f, (f.c.piece == awaited.c.lowest) & f.c.id.in_(ids))
        .where(awaited.c.n == awaited.c.n_going, awaited.c.lowest == awaited.c.highest)
    )


def _free(key: int, ids: Sequence[uuid.UUID], meant: sa.Select[Any]) -> sa.Select[Any]:
    """Select what waits for nothing, dealt out to the files in the order of the data IDs."""
    awaited, m, f = _awaited(key, ids), meant.subquery("meant"), graph_file.alias("into")
    piece = sa.func.ntile(len(ids)).over(order_by=(m.c.data_id, m.c.id))
    dealt = (
        sa.select(m.c.id, piece.label("piece"))
        .join_from(m, awaited, awaited.c.quantum_id == m.c.id, isouter=True)
        .where(awaited.c.quantum_id.is_(None))
        .subquery("dealt")
    )
    return sa.select(dealt.c.id, f.c.id, sa.literal("away", sa.String)).join_from(
        dealt, f, (f.c.piece == dealt.c.piece) & f.c.id.in_(ids)
    )


_FILES = sa.select(
    graph_file.c.id,
    collection.c.name,
    graph_file.c.repository_id,
    graph_file.c.path,
    graph_file.c.root,
    graph_file.c.piece,
    graph_file.c.exported_at,
    graph_file.c.exported_by,
).join(collection, collection.c.id == graph_file.c.run_id)


def graph_files(connection: sa.Connection) -> list[tuple[GraphFile, dict[str, int]]]:
    """List the files that were written, each with how many of its quanta are in which state.

    Returns
    -------
    list of (GraphFile, dict)
        States are those of `registry.schema.plans.given_quantum`.
    """
    found = {row.id: GraphFile(*row) for row in connection.execute(_FILES)}
    counted = connection.execute(
        sa.select(given_quantum.c.graph_id, given_quantum.c.state, sa.func.count()).group_by(
            given_quantum.c.graph_id, given_quantum.c.state
        )
    )
    states: dict[uuid.UUID, dict[str, int]] = {key: {} for key in found}
    for key, state, n in counted:
        states[key][state] = n
    ordered = sorted(found.values(), key=lambda f: (f.exported_at, f.piece))
    return [(f, states[f.id]) for f in ordered]


def graph_of_file(connection: sa.Connection) -> GraphFile | None:
    """Tell of the database of a graph file what it is; None of any other."""
    rows = connection.execute(_FILES.limit(2)).all()
    return GraphFile(*rows[0]) if len(rows) == 1 else None


def take_back(connection: sa.Connection, graph_id: uuid.UUID) -> int:
    """Block the quanta that are still away in a file; what comes home of them is refused then.

    A run that is continued plans them anew, with other identities for their outputs: what the file
    makes all the same is never taken for them.

    Returns
    -------
    int
        How many there were.

    Raises
    ------
    UnknownGraph
        If no file has this identity.
    """
    known = list(connection.execute(sa.select(graph_file.c.id)).scalars())
    if graph_id not in known:
        raise UnknownGraph(str(graph_id), map(str, known))
    g = given_quantum.c
    own = sa.select(g.quantum_id).where(g.graph_id == graph_id)
    done = connection.execute(
        sa.update(quantum)
        .where(quantum.c.state == "away", quantum.c.id.in_(own))
        .values(state="blocked", exception_message=TAKEN_BACK)
    )
    connection.execute(sa.delete(given_quantum).where(g.graph_id == graph_id, g.state == "away"))
    return int(done.rowcount)
