"""How is a SuperTask run that declares a geometry?

Its places are found from the inputs, its configuration and its inputs (handles, which each rank
reads by itself) travel to the ranks, each calls ``run_nodes`` with the places that it holds, and
what they return is put together as if one had done it all. The task does not know on which back
end, nor on how many ranks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflow.errors import TaskError
from workflow.multicore.grants import granted
from workflow.multinode.errors import RankFailed
from workflow.multinode.launching import Placement, launch
from workflow.task import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workflow.multinode.communicator import Communicator
    from workflow.multinode.geometry import Geometry
    from workflow.task import SuperTask

__all__ = ["run_by_geometry"]


def run_by_geometry(
    task: SuperTask, inputs: Mapping[str, Any], placement: Placement | None = None
) -> Struct:
    """Run a multi-node task.

    Parameters
    ----------
    task : SuperTask
        One whose class declares ``multinode``.
    inputs : mapping
        What ``run`` was given, by connection.
    placement : Placement, optional
        Where; what SKYSPINE_NODES says by default, else processes of this machine, as many as the
        task asks for and the job's cores allow. One rank is this process.

    Returns
    -------
    Struct
        The outputs: of a list, item by item, what any rank made; otherwise the first that is not
        None.

    Raises
    ------
    TaskError
        What a rank raised, if it is one.
    MultiNodeError
        Whatever else ended the ranks.
    """
    geometry = task.geometry(**inputs)
    chosen = placement or Placement.given() or Placement()
    ranks = chosen.ranks or min(task.ranks, granted().cores)
    ranks = max(1, min(ranks, len(geometry)))
    backend = chosen.backend if ranks > 1 else "threads"
    try:
        made = launch(
            _node, type(task), task.config, task.path, geometry, inputs,
            ranks=ranks, backend=backend,
        )  # fmt: skip
    except RankFailed as error:
        if isinstance(error.__cause__, TaskError):
            raise error.__cause__ from error
        raise
    task.metadata.update(made[0][1])
    task.metadata["multinode"] = {"backend": backend, "ranks": ranks, "places": len(geometry)}
    return _joined([struct for struct, _ in made])


def _node(
    comm: Communicator,
    kind: type[SuperTask],
    config: Any,
    name: str,
    geometry: Geometry,
    inputs: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Do the part of one rank; its metadata are those of the first."""
    task = kind(config, name=name)
    made = task.run_nodes(comm.on(geometry), **inputs)
    return ({} if made is None else made.to_dict()), task.metadata.to_dict()


def _joined(parts: Sequence[Mapping[str, Any]]) -> Struct:
    whole: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            before = whole.get(name)
            if isinstance(value, list) and isinstance(before, list):
                whole[name] = [
                    a if a is not None else b for a, b in zip(before, value, strict=True)
                ]
            elif before is None:
                whole[name] = value
    return Struct(**whole)
