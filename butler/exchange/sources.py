"""Which repositories does an export come from, and what does each of them give?

The repository itself, and the inputs that it reads, each in one snapshot of its database.  Each
gives what belongs to the datasets that it has; what is told first stays.
"""

from __future__ import annotations

import itertools
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from butler.asking import searching
from butler.inputs import in_none
from registry import belongings, carried, collections, datasets, portable
from registry.belongings import ELEMENTS
from registry.dimensions import element_table
from registry.errors import Conflict

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Iterator, Sequence

    import sqlalchemy as sa

    from butler.butler import Butler
    from butler.inputs import Place
    from registry.collections import Collection
    from registry.identity import DatasetRef

__all__ = [
    "Source",
    "carried_records",
    "known_collections",
    "needed_records",
    "opened",
    "ranges_of",
    "tags_of",
    "take",
]


@dataclass(frozen=True, slots=True)
class Source:
    """A repository that an export comes from.

    Parameters
    ----------
    place : Place
        The repository.
    connection : sqlalchemy.Connection
        In which its database is seen as at one moment.
    refs : list of DatasetRef
        Of the datasets of the export, those that it has.
    """

    place: Place
    connection: sa.Connection
    refs: list[DatasetRef]


@contextmanager
def opened(butler: Butler, refs: Sequence[DatasetRef]) -> Iterator[list[Source]]:
    """Open a repository and its inputs for the export of some datasets.

    Raises
    ------
    MissingDataset
        If none of them has one of the datasets.
    """
    with ExitStack() as stack:
        found = []
        left = {ref.id: ref for ref in refs}
        ids = list(left)
        for place in butler.places:
            connection = stack.enter_context(place.registry.database.snapshot())
            here = datasets.get_refs(connection, ids)
            found.append(Source(place, connection, list(here.values())))
            for key in here:
                left.pop(key, None)
        if left:
            raise in_none(next(iter(left.values())))
        yield found


def take(
    sources: Sequence[Source],
    ids: Sequence[uuid.UUID],
    *,
    also: Sequence[str],
    everything: bool,
    history: bool,
) -> tuple[portable.Taken, list[str]]:
    """Collect the rows that belong to datasets; see `registry.portable.take`.

    Parameters
    ----------
    everything : bool
        Whether to take all that the first repository has; of the others, what is needed.

    Returns
    -------
    Taken
        With the history through all repositories.
    list of str
        Notes of what they tell differently.

    Raises
    ------
    Conflict
        If one name means two things in two of them.
    """
    asked = dict(_names(sources, also))
    behind = set(ids)
    if history and len(sources) > 1:
        behind = portable.datasets_behind([source.connection for source in sources], ids)
    whole = portable.Taken()
    notes = []
    for n, source in enumerate(sources):
        taken = portable.take(
            source.connection,
            ids,
            behind=behind,
            also=asked[source.place.id],
            everything=everything and n == 0,
            with_history=history,
        )
        if n == 0:
            whole = taken
            continue
        differing = portable.join(whole, taken)
        for found in differing:
            if found.essential:
                raise Conflict(
                    "The repositories contradict each other, and an export tells one thing: "
                    f"{found.told('in what is searched before', f'in {source.place.root}')}. "
                    "Export from one of them alone."
                )
        if differing:
            notes.append(
                f"{source.place.root} tells {len(differing)} things otherwise than what is "
                "searched before it, which was exported"
            )
    wanted = set(map(str, ids))
    (key,) = portable.TABLES["dataset"].positions(("id",))
    whole.history = sum(row[key] not in wanted for row in whole.rows["dataset"])
    return whole, notes


def _names(
    sources: Sequence[Source], names: Sequence[str]
) -> Iterator[tuple[uuid.UUID, list[str]]]:
    """Tell which repository has which of some collections; one that none has is refused."""
    for place, found in searching.names_in([source.place for source in sources], names):
        yield place.id, [name for name in found if name in names]


def needed_records(
    sources: Sequence[Source], *, everything: bool
) -> dict[str, list[dict[str, Any]]]:
    """List the dimension records that the datasets need; see `registry.belongings.records_of`.

    Parameters
    ----------
    everything : bool
        Whether to take all that the first repository has.
    """
    found: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
    for n, source in enumerate(sources):
        rows = (
            belongings.all_records(source.connection)
            if everything and n == 0
            else belongings.records_of(source.connection, [ref.data_id for ref in source.refs])
        )
        for element, records in rows.items():
            keys = [c.name for c in element_table(element).primary_key]
            of_element = found.setdefault(element, {})
            for record in records:
                of_element.setdefault(tuple(record[k] for k in keys), record)
    return {
        element: [found[element][key] for key in sorted(found[element])]
        for element in ELEMENTS
        if found.get(element)
    }


def carried_records(
    sources: Sequence[Source],
    element: str,
    by: Sequence[str],
    keys: Iterable[Sequence[Any]] | None = None,
) -> list[dict[str, Any]]:
    """List the records of an element without a table; see `registry.carried.carried_records`.

    Parameters
    ----------
    by : sequence of str
        Fields that identify a record.
    """
    asked = None if keys is None else list(keys)
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for source in sources:
        for record in carried.carried_records(source.connection, element, asked):
            found.setdefault(tuple(record[k] for k in by), record)
    return list(found.values())


def known_collections(sources: Sequence[Source]) -> dict[str, Collection]:
    """Give the collections of all repositories by name."""
    found: dict[str, Collection] = {}
    for source in sources:
        for known in collections.query(source.connection):
            found.setdefault(known.name, known)
    return found


def tags_of(
    sources: Sequence[Source], ids: Sequence[uuid.UUID], names: Sequence[str]
) -> list[tuple[str, uuid.UUID]]:
    """List the tags of datasets; see `registry.belongings.tags_of`."""
    found = [belongings.tags_of(source.connection, ids, names) for source in sources]
    return list(dict.fromkeys(itertools.chain(*found)))


def ranges_of(
    sources: Sequence[Source], ids: Sequence[uuid.UUID], names: Sequence[str]
) -> list[tuple[str, uuid.UUID, int, int]]:
    """List the validity ranges of datasets; see `registry.belongings.ranges_of`."""
    found = [belongings.ranges_of(source.connection, ids, names) for source in sources]
    return list(dict.fromkeys(itertools.chain(*found)))
