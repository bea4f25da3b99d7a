"""What does a lookup function of a task find for all its quanta at once?

A prerequisite that neither its keys nor the time determine is looked up by a function of its own.
It is called once for a task, with the data IDs of all quanta; what it answers is recorded together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import belongings
from registry.database import CHUNK, insert_rows
from registry.datasets import get_refs
from registry.errors import LookupFailed, RegistryError, UnknownName
from registry.finding import query_datasets
from registry.identity import DataId, DatasetRef
from registry.plans.reading import data_ids_of
from registry.schema.plans import planned_input
from registry.schema.provenance import quantum

if TYPE_CHECKING:
    import uuid

    from registry.identity import DatasetType
    from registry.plans.tasks import LooksUp, PlannedTask

__all__ = ["Asked", "LookupFunction", "look_up_by_function"]


@dataclass(frozen=True)
class Asked:
    """What a lookup function is given: everything that one connection of a task is asked for.

    Parameters
    ----------
    dataset_type : DatasetType
        What is looked up.
    data_ids : tuple of DataId
        Of the quanta that may run, each once.
    collections : tuple of str
        Searched in this order.
    """

    dataset_type: DatasetType
    data_ids: tuple[DataId, ...]
    collections: tuple[str, ...]
    _connection: sa.Connection = field(repr=False, compare=False)

    def datasets(self, where: str = "", **bind: Any) -> list[DatasetRef]:
        """Find what there is of the type, by one query; the first of each data ID.

        Parameters
        ----------
        where : str
            Expression that they fulfil; ``**bind`` are values in it.
        """
        if not self.collections:
            return []
        return query_datasets(
            self._connection, self.dataset_type, self.collections, where=where, bind=bind
        )

    def records(self, element: str) -> list[dict[str, Any]]:
        """Read the dimension records of one kind that the data IDs name, by one query or a few.

        Raises
        ------
        UnknownName
            If there are no records of that kind.
        """
        if element not in belongings.ELEMENTS:
            raise UnknownName(element, belongings.ELEMENTS)
        return belongings.records_of(self._connection, self.data_ids).get(element, [])


LookupFunction = Callable[[Asked], Mapping[DataId, Sequence[DatasetRef]]]
"""Gives by data ID of a quantum the datasets that it is to read; those without may be left out."""


def look_up_by_function(
    connection: sa.Connection,
    task: PlannedTask,
    wanted: LooksUp,
    function: LookupFunction,
    collections: Sequence[str],
) -> None:
    """Insert what a lookup function answers for the ready quanta of a task.

    Raises
    ------
    LookupFailed
        If it raises an error, or answers with what cannot be: a data ID that was not asked for, a
        dataset that does not exist or is of another type, several where one is meant.
    """
    ready = (quantum.c.task_id == task.id) & (quantum.c.state == "ready")
    quanta = data_ids_of(connection, ready)
    if not quanta:
        return
    asked = Asked(wanted.kind, tuple(quanta.values()), tuple(collections), connection)
    where = f"{task.label}, '{wanted.name}': its lookup function"
    try:
        answer = dict(function(asked))
        found = {data_id: tuple(dict.fromkeys(refs)) for data_id, refs in answer.items()}
    except (RegistryError, sa.exc.SQLAlchemyError):
        raise
    except Exception as error:
        raise LookupFailed(f"{where} failed: {type(error).__name__}: {error}") from error
    _check(connection, where, asked, found, multiple=wanted.multiple)
    rows = [
        {"quantum_id": key, "dataset_id": ref.id, "connection": wanted.name}
        for key, data_id in quanta.items()
        for ref in found.get(data_id, ())
    ]
    for start in range(0, len(rows), CHUNK):
        insert_rows(connection, planned_input, rows[start : start + CHUNK])


def _check(
    connection: sa.Connection,
    where: str,
    asked: Asked,
    found: Mapping[DataId, Sequence[DatasetRef]],
    *,
    multiple: bool,
) -> None:
    unknown = set(found) - set(asked.data_ids)
    if unknown:
        raise LookupFailed(
            f"{where} answers for {next(iter(unknown))!r}, which is no data ID of a quantum; the "
            "keys of its answer are among `asked.data_ids`."
        )
    for data_id, refs in found.items():
        if len(refs) > 1 and not multiple:
            raise LookupFailed(
                f"{where} gives {len(refs)} {asked.dataset_type.name} for {data_id!r}, and the "
                "connection has one; declare it with multiple=True, or choose."
            )
    given: dict[uuid.UUID, DatasetRef] = {r.id: r for refs in found.values() for r in refs}
    there = get_refs(connection, list(given))
    for key, ref in given.items():
        if key not in there:
            raise LookupFailed(f"{where} gives {ref!r}, which this repository does not have.")
        if there[key].dataset_type.name != asked.dataset_type.name:
            raise LookupFailed(
                f"{where} gives a {there[key].dataset_type.name} where {asked.dataset_type.name} "
                "is asked for."
            )
