"""How do datasets of an input become known in the repository that reads it?

Their rows are copied, with the data IDs and the dimension records that they refer to, and marked as
the other repository's; their files stay where they are.  So what is made from them has its history
in one database, and foreign keys hold.  `freeze` does it for all that a pipeline may read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from butler.asking import searching
from butler.inputs import in_none
from registry import calibrations, collections, datasets, transfer
from registry.schema.calibrations import calibration
from registry.schema.collections import tagged
from registry.timespan import BEGINNING, END, Timespan

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

    from butler.inputs import Place
    from butler.writing import Writing
    from registry.identity import DataId, DatasetRef

__all__ = ["adopt", "bring_records", "freeze", "mirror"]


def adopt(butler: Writing, refs: Sequence[DatasetRef], **also: Any) -> list[DatasetRef]:
    """Make datasets of the inputs known in the repository, in one transaction.

    Parameters
    ----------
    refs : sequence of DatasetRef
        Those that are known already, its own among them, are passed over.
    **also
        What else comes along; see `registry.transfer.read_rows`.

    Returns
    -------
    list of DatasetRef
        Those that are new in the repository.

    Raises
    ------
    MissingDataset
        If no input has one of them.
    Conflict
        If the repository has another dataset of the same type, run and data ID.
    """
    known = butler.registry.get_refs([r.id for r in refs])
    left = {r.id: r for r in refs if r.id not in known}
    taken = []
    for place in butler.inputs:
        if not left:
            break
        with place.registry.read() as connection:
            found = list(datasets.get_refs(connection, list(left)).values())
            if found:
                rows = transfer.read_rows(connection, found, **also)
                taken.append((place, rows))
        for ref in found:
            del left[ref.id]
    if left:
        raise in_none(next(iter(left.values())))
    new: list[DatasetRef] = []
    with butler.registry.begin() as connection:
        for place, rows in taken:
            new += transfer.write_rows(connection, rows, foreign=True, doc=_doc(place))
    return new


def _doc(place: Place) -> str:
    return f"Datasets of the repository {place.id} that are known here."


def bring_records(butler: Writing, refs: Sequence[DatasetRef]) -> bool:
    """Take from the inputs the dimension records and dataset types that datasets need.

    Returns
    -------
    bool
        Whether there was anything to take.
    """
    kinds = list(dict.fromkeys(r.dataset_type for r in refs))
    data_ids = list(dict.fromkeys(r.data_id for r in refs))
    found = False
    for place in butler.inputs:
        with place.registry.read() as connection:
            known = {k.name for k in datasets.dataset_types(connection)}
            read = transfer.read_records(connection, data_ids)
        mine = [k for k in kinds if k.name in known]
        rows = transfer.Rows(place.id, (), {}, *read, kinds=mine)
        butler.registry.database.transact(transfer.write_rows, rows, foreign=True)
        found = found or bool(read[0] or mine)
    return found


def mirror(butler: Writing, names: Sequence[str]) -> list[str]:
    """Register collections that only inputs have, empty, so that a chain may name them.

    Returns
    -------
    list of str
        The names; a chain of an input is replaced by what it leads to.
    """
    mirrored: list[str] = []
    for name in names:
        with butler.registry.read() as connection:
            if name in collections.known_types(connection, [name]):
                mirrored.append(name)
                continue
        for place, found in searching.names_in(butler.inputs, [name]):
            if found:
                with place.registry.read() as connection:
                    leaves = collections.flatten(connection, found)
                wanted = {c.name: (c.type, _doc(place)) for c in leaves}
                butler.registry.database.transact(collections.register_many, wanted)
                mirrored += list(wanted)
                break
    return list(dict.fromkeys(mirrored))


def freeze(
    butler: Writing,
    into: str,
    searched: Sequence[str],
    *,
    wanted: Mapping[str, str],
    held: Sequence[str] = (),
    bind: Mapping[str, Any] | None = None,
    sky: bool = False,
) -> list[str]:
    """Make all that a run may read of the inputs known in the repository, as it is now.

    Parameters
    ----------
    into : str
        The datasets of the inputs are tagged in a collection of this name, and the validity ranges
        of their calibrations certified in another below it, ``calib``.
    searched : sequence of str
        Collections, of the repository and of the inputs.
    wanted : mapping of str
        By dataset type, the expression that its datasets fulfil.
    held : sequence of str
        Types of which everything in the collections may be needed: what is looked up for others.
    bind : mapping, optional
        Values in the expressions.
    sky : bool
        Whether the sky maps of the inputs come along.

    Returns
    -------
    list of str
        Where to search, in this order, in the repository alone.
    """
    own, *others = butler.places
    names = dict(_names(butler, searched))
    here = names.pop(own)
    refs = [r for kind, where in wanted.items() for r in _all(butler, kind, searched, where, bind)]
    between = _times(butler, refs)
    ranges: list[tuple[DatasetRef, int, int]] = []
    for kind in held:
        found = _held(kind, names, between)
        if found is None:
            refs += _all(butler, kind, searched, "", bind)
        else:
            ranges += found
            refs += [ref for ref, _, _ in found]
    adopt(butler, list(dict.fromkeys(refs)), visits=True, sky=sky)
    if sky:
        _bring_sky(butler, others)
    foreign = _foreign(butler, refs)
    certified = [r for r in ranges if r[0].id in foreign]
    if foreign:
        mine = [r for r in refs if r.id in foreign]
        butler.registry.database.transact(_keep, into, mine, certified)
        here += [into, *([f"{into}/calib"] if certified else [])]
    return here


def _names(butler: Writing, searched: Sequence[str]) -> list[tuple[Place, list[str]]]:
    return list(searching.names_in(butler.places, searched))


def _all(
    butler: Writing,
    kind: str,
    searched: Sequence[str],
    where: str,
    bind: Mapping[str, Any] | None,
) -> list[DatasetRef]:
    known = {k.name for p in butler.places for k in p.registry.dataset_types()}
    if kind not in known:
        return []
    return searching.query_datasets(butler.places, kind, searched, where=where, bind=bind)


def _foreign(butler: Writing, refs: Sequence[DatasetRef]) -> set[uuid.UUID]:
    from registry import repositories

    with butler.registry.read() as connection:
        return set(repositories.homes_of(connection, list({r.id for r in refs})))


def _times(butler: Writing, refs: Sequence[DatasetRef]) -> tuple[int, int] | None:
    """Tell between which times datasets were taken [TAI ns]; None when it is not known of all."""
    from registry.belongings import same_records

    exposures = {
        (r.data_id["instrument"], r.data_id["exposure"]) for r in refs if "exposure" in r.data_id
    }
    if not exposures or any("exposure" not in r.data_id for r in refs):
        return None
    keys = [{"instrument": i, "id": e} for i, e in exposures]
    times: dict[tuple[str, int], int] = {}
    for place in butler.places:
        with place.registry.read() as connection:
            for row in same_records(connection, "exposure", keys):
                times[row["instrument"], row["id"]] = row["begin_tai_ns"]
    return (min(times.values()), max(times.values())) if len(times) == len(exposures) else None


def _held(
    name: str,
    names: Mapping[Place, Sequence[str]],
    between: tuple[int, int] | None,
) -> list[tuple[DatasetRef, int, int]] | None:
    """List the validity ranges of a type in all inputs, those of the first ones first.

    Returns
    -------
    list of (DatasetRef, begin, end) or None
        None if it is no type of calibrations, which are looked up by time.
    """
    found: list[tuple[DatasetRef, int, int]] | None = None
    for place, searched in names.items():
        with place.registry.read() as connection:
            kinds = {k.name: k for k in datasets.dataset_types(connection)}
            kind = kinds.get(name)
            if kind is None or not kind.is_calibration:
                continue
            near = calibrations.get_policy(connection, kind).selection != "valid"
            ranges = transfer.read_ranges(connection, kind, searched, None if near else between)
            found = [*(found or ()), *ranges]
    return found


def _bring_sky(butler: Writing, others: Sequence[Place]) -> None:
    for place in others:
        with place.registry.read() as connection:
            records, *_ = transfer.read_records(connection, [], sky=True)
        rows = transfer.Rows(place.id, records=records)
        butler.registry.database.transact(transfer.write_rows, rows, foreign=True)


def _keep(
    connection: sa.Connection,
    into: str,
    refs: Sequence[DatasetRef],
    ranges: Sequence[tuple[DatasetRef, int, int]],
) -> None:
    """Tag datasets and certify ranges, in place of what was kept under this name before."""
    doc = "What a run found in the inputs of this repository when it began."
    for name, kind, table in (
        (into, "TAGGED", tagged),
        (f"{into}/calib", "CALIBRATION", calibration),
    ):
        if (
            kind == "CALIBRATION"
            and not ranges
            and name not in collections.known_types(connection, [name])
        ):
            continue
        collections.register(connection, name, kind, doc)
        key = collections.get_collection(connection, name).id
        connection.execute(sa.delete(table).where(table.c.collection_id == key))
    collections.tag(connection, into, _first_of_each(refs))
    spans = [
        (ref, Timespan(None if b <= BEGINNING else b, None if e >= END else e))
        for ref, b, e in ranges
    ]
    if spans:  # what is searched first is given first, and so keeps what later ones have too
        calibrations.certify_each(connection, f"{into}/calib", spans, resolve="earliest")


def _first_of_each(refs: Sequence[DatasetRef]) -> list[DatasetRef]:
    found: dict[tuple[str, DataId], DatasetRef] = {}
    for ref in refs:
        found.setdefault((ref.dataset_type.name, ref.data_id), ref)
    return list(found.values())
