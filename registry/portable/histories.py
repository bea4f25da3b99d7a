"""How does the history of datasets alone come from one registry into another?

The quanta that made them, with tasks, configurations and software, and what these were made from,
back to the beginning: the same rows as in an export, compared and merged in the same way.  The rows
of the datasets themselves are `registry.transfer`.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registry.errors import Conflict, DefinitionConflict
from registry.portable.comparing import compare
from registry.portable.merging import merge_history
from registry.portable.tables import TABLES
from registry.portable.taking import data_ids_of, take_history

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import sqlalchemy as sa

    from registry.identity import DataId
    from registry.portable.comparing import Incoming
    from registry.portable.taking import Row

__all__ = ["History", "check_history", "read_history", "write_history"]


@dataclass(frozen=True, slots=True)
class History:
    """What made some datasets, back to the beginning.

    Parameters
    ----------
    datasets : frozenset of UUID
        Those asked about, and all that they were made from.
    rows : mapping
        Rows of an export, by table.
    """

    datasets: frozenset[uuid.UUID] = frozenset()
    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)

    @property
    def data_ids(self) -> list[DataId]:
        """The data IDs of the quanta, each once."""
        return list(dict.fromkeys(data_ids_of(self.rows.get("quantum", ()), "quantum")))


def read_history(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> History:
    """Read what made datasets, and what these were made from, back to the beginning."""
    rows = take_history(connection, ids)
    (read,) = TABLES["quantum_input"].positions(("dataset_id",))
    inputs = {uuid.UUID(hex=row[read]) for row in rows["quantum_input"]}
    return History(frozenset(inputs.union(ids)), rows)


def check_history(connection: sa.Connection, history: History) -> Incoming:
    """Refuse a history that contradicts what this registry holds, before anything is written.

    Returns
    -------
    Incoming
        What is new of it.

    Raises
    ------
    DefinitionConflict
        If a run has a task of the same label with another configuration.
    Conflict
        If a quantum, or what made a dataset, is told otherwise here.
    """
    incoming = compare(connection, history.rows)
    for found in incoming.contradictions:
        if found.table == "task":
            run, label = found.key
            raise DefinitionConflict(
                f"The run '{run}' has a task '{label}' with another class or configuration "
                "here already; runs of one name hold different work in the two repositories."
            )
    if incoming.contradictions:
        first, *others = incoming.contradictions
        more = f" ({len(others)} more)" if others else ""
        raise Conflict(
            f"The two repositories tell the history of the datasets differently: {first}{more}. "
            "One of the two is wrong, and must be put right first."
        )
    return incoming


def write_history(connection: sa.Connection, history: History) -> int:
    """Record what is new of a history; the rows of its datasets are there already.

    Returns
    -------
    int
        New quanta.
    """
    new = check_history(connection, history).new
    merge_history(connection, new)
    return len(new["quantum"])
