"""How do the rows of datasets come from one registry into another?

`read_rows` takes datasets out of one database with everything that their rows refer to, by natural
keys; `write_rows` puts them into another, whatever kind it is of, and leaves out what is there.
Both take many at once.  What made the datasets is `registry.portable.histories`, where their files
are `backbone.files`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import belongings, calibrations, collections, datasets, dimensions, repositories
from registry.carried import carried_among
from registry.database import CHUNK, insert_rows, rows_of
from registry.errors import Conflict, DatasetExists, DefinitionConflict
from registry.identity import DataId, columns_of
from registry.schema.calibrations import calibration
from registry.schema.dimensions import carried_record, instrument_definition, visit_exposure
from registry.schema.identity import dataset_type

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping, Sequence

    from registry.identity import DatasetRef, DatasetType

__all__ = ["Rows", "check_rows", "read_ranges", "read_records", "read_rows", "write_rows"]

SKY = ("skymap", "tract", "patch")
_MAY_DIFFER = frozenset({"definition_version", "doc", "quality", "extra", "stc_s"})
"""Fields of records that two repositories may tell differently without being in contradiction."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Datasets of one registry, with what their rows refer to.

    Parameters
    ----------
    repository_id : uuid.UUID
        Where they were read.
    refs : tuple of DatasetRef
        The datasets.
    homes : mapping
        Of those whose files are in a third repository, which one.
    records : mapping
        Dimension records by table, in an order in which they can be inserted.
    definitions : sequence of mapping
        Every version of the definitions of their cameras.
    carried : sequence of (element, key, record)
        Dimension records without a table of their own: which visit system a visit is in.
    kinds : sequence of DatasetType
        Types that the other registry shall know, those of the datasets among them.
    policies : mapping
        Calibration policies by type.
    facts : mapping
        Facts of calibrations that policies compare, by dataset.
    """

    repository_id: uuid.UUID
    refs: tuple[DatasetRef, ...] = ()
    homes: Mapping[uuid.UUID, uuid.UUID] = field(default_factory=dict)
    records: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    definitions: Sequence[Mapping[str, Any]] = ()
    carried: Sequence[tuple[str, str, Mapping[str, Any]]] = ()
    kinds: Sequence[DatasetType] = ()
    policies: Mapping[str, calibrations.Policy] = field(default_factory=dict)
    facts: Mapping[uuid.UUID, Mapping[str, float | str]] = field(default_factory=dict)


def read_rows(
    connection: sa.Connection,
    refs: Sequence[DatasetRef],
    *,
    data_ids: Sequence[Mapping[str, Any]] = (),
    visits: bool = False,
    sky: bool = False,
) -> Rows:
    """Read datasets with everything that another registry needs to know them.

    Parameters
    ----------
    refs : sequence of DatasetRef
        Of this registry.
    data_ids : sequence of mappings
        Further data IDs whose records shall come along.
    visits : bool
        Whether exposures bring the visits that they are in, with the regions of the detectors.
    sky : bool
        Whether all sky maps come along.
    """
    ids = [r.id for r in refs]
    asked = [*dict.fromkeys(r.data_id for r in refs), *data_ids]
    if visits:
        asked += _visits_of(connection, asked)
    kinds = list(dict.fromkeys(r.dataset_type for r in refs))
    held = {k.name for k in kinds if k.is_calibration}
    policies = calibrations.all_policies(connection) if held else {}
    return Rows(
        repositories.identity(connection),
        tuple(refs),
        repositories.homes_of(connection, ids),
        *read_records(connection, asked, sky=sky),
        kinds,
        {name: policy for name, policy in policies.items() if name in held},
        calibrations.facts_of(connection, [r.id for r in refs if r.dataset_type.name in held]),
    )


def read_records(
    connection: sa.Connection, data_ids: Sequence[Mapping[str, Any]], *, sky: bool = False
) -> tuple[
    dict[str, list[dict[str, Any]]],
    list[dict[str, Any]],
    list[tuple[str, str, dict[str, Any]]],
]:
    """Read the dimension records that data IDs need, as `Rows` has them.

    Returns
    -------
    records, definitions, carried
    """
    columns = columns_of([DataId.of(d) for d in data_ids] or [DataId({})])
    records = belongings.records_among(connection, columns)
    if sky:
        records |= belongings.all_records(connection, SKY)
    d = instrument_definition
    cameras = [r["name"] for r in records.get("instrument", ())]
    rows = connection.execute(sa.select(d).where(d.c.instrument.in_(cameras))).mappings()
    visits = [(r["instrument"], r["id"]) for r in records.get("visit", ())]
    return (
        records,
        [dict(row) for row in rows],
        carried_among(connection, columns, cameras, visits),
    )


def _visits_of(
    connection: sa.Connection, data_ids: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """List the visits of exposures, with each of their detectors, as data IDs."""
    detectors: dict[tuple[Any, Any], set[Any]] = defaultdict(set)
    for item in data_ids:
        if item.get("exposure") is not None and item.get("visit") is None:
            detectors[item["instrument"], item["exposure"]].add(item.get("detector"))
    keys = sorted(detectors)
    v = visit_exposure.c
    found = []
    for start in range(0, len(keys), CHUNK):
        part = [{"i": i, "e": e} for i, e in keys[start : start + CHUNK]]
        given = rows_of(connection, part, {"i": sa.String, "e": sa.BigInteger})
        same = (v.instrument == given.c.i) & (v.exposure == given.c.e)
        rows = connection.execute(
            sa.select(v.instrument, v.exposure, v.visit).join_from(given, visit_exposure, same)
        )
        found += [
            {"instrument": i, "visit": visit, **({} if d is None else {"detector": d})}
            for i, e, visit in rows
            for d in detectors[i, e]
        ]
    return found


def read_ranges(
    connection: sa.Connection,
    kind: DatasetType,
    names: Iterable[str],
    between: tuple[int, int] | None = None,
) -> list[tuple[DatasetRef, int, int]]:
    """List what is certified of a type in collections, those searched first before the others.

    Parameters
    ----------
    names : iterable of str
        CALIBRATION collections are meant; others are passed over.
    between : (int, int), optional
        Only ranges that have a moment between these two, ends included [TAI ns since 1970].

    Returns
    -------
    list of (DatasetRef, begin, end)
        Times as stored [TAI ns].
    """
    searched = [c.id for c in collections.flatten(connection, names) if c.type == "CALIBRATION"]
    places = {key: n for n, key in enumerate(searched)}
    c = calibration.c
    statement = (
        sa.select(c.collection_id, c.dataset_id, c.valid_begin_tai_ns, c.valid_end_tai_ns)
        .join(dataset_type, dataset_type.c.id == c.dataset_type_id)
        .where(dataset_type.c.name == kind.name, c.collection_id.in_(searched))
        .order_by(c.valid_begin_tai_ns, c.id)
    )
    if between is not None:
        statement = statement.where(
            c.valid_begin_tai_ns <= between[1], c.valid_end_tai_ns > between[0]
        )
    rows = sorted(connection.execute(statement), key=lambda row: places[row.collection_id])
    refs = datasets.get_refs(connection, list(dict.fromkeys(row.dataset_id for row in rows)))
    return [(refs[i], begin, end) for _, i, begin, end in rows]


def check_rows(connection: sa.Connection, rows: Rows) -> None:
    """Refuse rows that contradict what this registry holds, before anything is written.

    Raises
    ------
    DefinitionConflict
        If a dataset type or a dimension record is registered with another meaning.
    CollectionTypeError
        If a run has the name of a collection of another type.
    Conflict
        If a dataset has another identity here, or another one has its identity.
    """
    known_kinds = {k.name: k for k in datasets.dataset_types(connection)}
    for kind in rows.kinds:
        if known_kinds.get(kind.name, kind) != kind:
            raise DefinitionConflict(
                f"The dataset type '{kind.name}' is registered here as {known_kinds[kind.name]}, "
                f"and there as {kind}."
            )
    for table, records in rows.records.items():
        _check_records(connection, table, records)
    _check_carried(connection, rows.carried)
    if not rows.refs:
        return
    runs = {r.run for r in rows.refs}
    collections.check_types(connection, dict.fromkeys(runs, "RUN"))
    known = datasets.get_refs(connection, [r.id for r in rows.refs])
    for ref in rows.refs:
        if known.get(ref.id, ref) != ref:
            raise Conflict(
                f"The identity {ref.id} is that of {known[ref.id]} here, and of {ref} there; one "
                "of the two was not made by a registry."
            )
    existing = collections.known_types(connection, runs)
    for (kind, run), members in _grouped(rows.refs).items():
        if run in existing and kind.name in known_kinds:
            new = [r.data_id for r in members if r.id not in known]
            taken = datasets.present_data_ids(connection, kind, new, run)
            taken |= datasets.present_data_ids(connection, kind, new, run, gone=True)
            if taken:
                raise _occupied(kind, run, next(iter(taken)), len(taken))


def _occupied(kind: DatasetType, run: str, data_id: Any, n: int) -> Conflict:
    more = f" ({n} such data IDs)" if n > 1 else ""
    return Conflict(
        f"The run '{run}' has another {kind.name} with {data_id!r} here already{more}; runs of one "
        "name hold different datasets in the two repositories. Leave these out, or prune those "
        "here."
    )


def _check_records(
    connection: sa.Connection, name: str, records: Sequence[Mapping[str, Any]]
) -> None:
    table = dimensions.element_table(name)
    keys = [c.name for c in table.primary_key]
    compared = [c.name for c in table.columns if c.name not in _MAY_DIFFER and c.name not in keys]
    if not compared:
        return
    here = {
        tuple(r[k] for k in keys): r for r in belongings.same_records(connection, name, records)
    }
    for record in records:
        other = here.get(tuple(record[k] for k in keys))
        if other is None:
            continue
        different = [c for c in compared if other[c] != record[c]]
        if different:
            shown = ", ".join(f"{k}={record[k]}" for k in keys)
            field_ = different[0]
            raise DefinitionConflict(
                f"The {name} {shown} has {field_}={_short(other[field_])} here and "
                f"{field_}={_short(record[field_])} there: the two repositories mean different "
                "things by it, so that datasets of it cannot be in both."
            )


def _check_carried(
    connection: sa.Connection, carried: Sequence[tuple[str, str, Mapping[str, Any]]]
) -> None:
    c = carried_record.c
    here: dict[tuple[str, str], Any] = {}
    for start in range(0, len(carried), CHUNK):
        part = [{"e": element, "k": key} for element, key, _ in carried[start : start + CHUNK]]
        given = rows_of(connection, part, {"e": sa.String, "k": sa.String})
        same = (c.element == given.c.e) & (c.record_key == given.c.k)
        asked = sa.select(c.element, c.record_key, c.record).join_from(given, carried_record, same)
        here |= {(element, key): record for element, key, record in connection.execute(asked)}
    for element, key, record in carried:
        other = here.get((element, key), record)
        if other != record:
            raise DefinitionConflict(
                f"The {element} {key} is {_short(other)} here and {_short(record)} there: the two "
                "repositories mean different things by it, so that datasets of it cannot be in "
                "both."
            )


def _short(value: Any) -> str:
    return repr(value) if len(repr(value)) <= 40 else f"{repr(value)[:37]}..."


def write_rows(
    connection: sa.Connection, rows: Rows, *, foreign: bool, doc: str = ""
) -> list[DatasetRef]:
    """Insert datasets of another registry with what they refer to; what is there stays as it is.

    Parameters
    ----------
    foreign : bool
        Whether their files stay there, so that they are marked as the other repository's; else
        they become this one's own.
    doc : str
        Documentation of runs that are new here.

    Returns
    -------
    list of DatasetRef
        Those that are new.

    Raises
    ------
    Conflict
        If a run has another dataset of the same type and data ID.
    DefinitionConflict
        If a dataset type is registered with another definition.
    """
    _write_records(connection, rows)
    for kind in rows.kinds:
        new_kind = datasets.register_dataset_type(connection, kind)
        if new_kind and kind.name in rows.policies:
            calibrations.set_policy(connection, kind, rows.policies[kind.name])
    if not rows.refs:
        return []
    collections.register_many(connection, {r.run: ("RUN", doc) for r in rows.refs})
    known = datasets.get_refs(connection, [r.id for r in rows.refs])
    new = [r for r in rows.refs if r.id not in known]
    for (kind, run), members in _grouped(new).items():
        ids = [r.id for r in members]
        try:
            datasets.insert_datasets(connection, kind, [r.data_id for r in members], run, ids=ids)
        except DatasetExists as error:
            raise _occupied(kind, run, error.data_id, 1) from error
    added = {r.id for r in new}
    calibrations.record_facts(connection, {i: f for i, f in rows.facts.items() if i in added})
    if foreign:
        mine = repositories.identity(connection)
        homes = {r.id: rows.homes.get(r.id, rows.repository_id) for r in new}
        repositories.mark_foreign(connection, {i: h for i, h in homes.items() if h != mine})
    return new


def _write_records(connection: sa.Connection, rows: Rows) -> None:
    cameras = [r["name"] for r in rows.records.get("instrument", ())]
    d = instrument_definition
    defined = set(
        connection.execute(sa.select(d.c.instrument).where(d.c.instrument.in_(cameras))).scalars()
    )
    for element, records in rows.records.items():
        dimensions.insert_dimension_records(connection, element, records, "skip")
    fresh = [row for row in rows.definitions if row["instrument"] not in defined]
    insert_rows(connection, d, fresh, skip_existing=True)
    names = ("element", "record_key", "record")
    new = [dict(zip(names, row, strict=True)) for row in rows.carried]
    insert_rows(connection, carried_record, new, skip_existing=True)


def _grouped(refs: Iterable[DatasetRef]) -> dict[tuple[DatasetType, str], list[DatasetRef]]:
    grouped: dict[tuple[DatasetType, str], list[DatasetRef]] = defaultdict(list)
    for ref in refs:
        grouped[ref.dataset_type, ref.run].append(ref)
    return grouped
