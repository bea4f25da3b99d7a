"""How do the calibrations of an older stack get into a registry?

`import_ranges` registers what the rows of `registry.calibrations.auxiliary` are about, one dataset
per row and one run per old file, and certifies them; all or nothing, and again without harm.  Files
are not touched: a dataset whose file is wanted too is ingested.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.calibrations import conflicts
from registry.calibrations.certifying import Overlap, certify_each, refused
from registry.database import CHUNK, analyze, insert_missing, rows_of, table_of, utc_now
from registry.datasets import insert_data_ids, register_dataset_type
from registry.dimensions import absent_keys, insert_dimension_records
from registry.errors import Conflict, DefinitionConflict, UnknownDimensionValue
from registry.identity import DatasetRef, DatasetType, uuid7, uuid7s
from registry.schema import dimensions as schema
from registry.schema.collections import collection
from registry.schema.identity import data_id as data_id_table
from registry.schema.identity import dataset, dataset_type
from registry.timespan import tai_now_ns

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping, Sequence

    from registry.calibrations.auxiliary import OldRange

__all__ = ["Imported", "import_ranges"]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did.

    Parameters
    ----------
    rows : mapping of str to int
        Rows of the old registry by type.
    n_datasets : int
        Datasets that are new.
    n_ranges : int
        Ranges that hold now; more or fewer than rows where overlaps were resolved.
    registered : mapping of str to int
        Dimension records that were registered, by element.
    """

    rows: Mapping[str, int]
    n_datasets: int
    n_ranges: int
    registered: Mapping[str, int] = field(default_factory=dict)


def import_ranges(
    connection: sa.Connection,
    name: str,
    ranges: Sequence[OldRange],
    *,
    resolve: str | None = None,
    register: bool = False,
    prefix: str = "",
    storage_class: str = "Exposure",
) -> Imported:
    """Certify the ranges of an older registry.

    Parameters
    ----------
    name : str
        CALIBRATION collection; the run of a row is this and the row's identity.
    ranges : sequence of OldRange
        From `registry.calibrations.read_registry`.
    resolve : {"latest", "earliest", "split"}, optional
        How to cut ranges that overlap, as for `registry.calibrations.certify`; ``latest`` and
        ``earliest`` are by registration in the old registry.
    register : bool
        Whether cameras, detectors and filters that are not registered are.
    prefix : str
        Put before the names of the types.
    storage_class : str
        Of types that are not registered yet.

    Raises
    ------
    ValidityOverlap
        If ranges overlap and ``resolve`` is not given; nothing is changed then.
    UnknownDimensionValue
        If a detector or filter is not registered and ``register`` is false.
    Conflict
        If two rows are about one dataset of the same identity.
    """
    ordered = sorted(ranges, key=lambda r: (r.dataset_type, r.made))
    registered = _register_dimensions(connection, ordered) if register else {}
    if not register:
        _require_dimensions(connection, ordered)
    kinds = _kinds(connection, ordered, prefix, storage_class)
    if resolve is None:
        _refuse_overlaps(name, ordered, kinds)
    refs, n_new = _datasets(connection, name, ordered, kinds)
    held = certify_each(
        connection,
        name,
        [(ref, r.validity) for ref, r in zip(refs, ordered, strict=True)],
        resolve=resolve,
    )
    return Imported(Counter(prefix + r.dataset_type for r in ranges), n_new, held, registered)


def _refuse_overlaps(
    name: str, ranges: Sequence[OldRange], kinds: Mapping[str, DatasetType]
) -> None:
    """Refuse rows that contradict each other, before anything is written."""
    compared = [
        conflicts.Range((r.dataset_type, id(r.data_id)), *r.validity.bounds) for r in ranges
    ]
    overlapping = []
    for pair in conflicts.overlaps(compared):
        old, new = (ranges[n] for n in sorted(pair))
        (new_ref, new_span), (old_ref, old_span) = (
            (
                DatasetRef(uuid7(), kinds[r.dataset_type], r.data_id, f"{name}/{r.identity}"),
                r.validity,
            )
            for r in (new, old)
        )
        overlapping.append(Overlap(new_ref, new_span, old_ref, old_span))
    if overlapping:
        raise refused(name, overlapping)


def _values(ranges: Sequence[OldRange], key: str) -> set[tuple[Any, Any]]:
    distinct = {id(r.data_id): r.data_id for r in ranges}.values()
    return {(d["instrument"], d[key]) for d in distinct if key in d}


def _register_dimensions(connection: sa.Connection, ranges: Sequence[OldRange]) -> dict[str, int]:
    """Register the camera, its detectors and filters as far as they are not."""
    detectors = _values(ranges, "detector")
    cameras = {(i,) for i, _ in _values(ranges, "instrument")}
    biggest = max((int(d) for _, d in detectors), default=0)
    rows: dict[str, list[dict[str, Any]]] = {
        "instrument": [
            {"name": i, "detector_max": biggest + 1}
            for (i,) in absent_keys(connection, [schema.instrument.c.name], cameras)
        ]
    }
    rows["detector"] = [
        {"instrument": i, "id": d, "full_name": str(d)}
        for i, d in absent_keys(
            connection, [schema.detector.c.instrument, schema.detector.c.id], detectors
        )
    ]
    rows["physical_filter"] = [
        {"instrument": i, "name": f}
        for i, f in absent_keys(
            connection,
            [schema.physical_filter.c.instrument, schema.physical_filter.c.name],
            _values(ranges, "physical_filter"),
        )
    ]
    for element, records in rows.items():
        insert_dimension_records(connection, element, records, on_conflict="skip")
    return {element: len(records) for element, records in rows.items() if records}


def _require_dimensions(connection: sa.Connection, ranges: Sequence[OldRange]) -> None:
    for element, table, column in (
        ("instrument", schema.instrument, "name"),
        ("detector", schema.detector, "id"),
        ("physical_filter", schema.physical_filter, "name"),
    ):
        columns = [table.c[column]]
        asked: Iterable[tuple[Any, ...]] = {(v,) for _, v in _values(ranges, element)}
        if element != "instrument":
            columns.insert(0, table.c.instrument)
            asked = _values(ranges, element)
        absent = absent_keys(connection, columns, asked)
        if absent:
            names = connection.execute(sa.select(table.c[column]).limit(1000)).scalars()
            shown = ", ".join(str(key[-1]) for key in absent[:8])
            raise UnknownDimensionValue(
                element,
                shown + (", ..." if len(absent) > 8 else ""),
                [str(n) for n in names] if len(absent) == 1 else (),
                remedy="Register the camera first, or let the import do so (--register).",
            )


def _kinds(
    connection: sa.Connection, ranges: Sequence[OldRange], prefix: str, storage_class: str
) -> dict[str, DatasetType]:
    keys: dict[str, set[str]] = {}
    distinct = {id(r.data_id): (r.dataset_type, r.data_id) for r in ranges}
    for name, data_id in distinct.values():
        keys.setdefault(name, set()).update(data_id)
    kinds = {
        name: DatasetType(prefix + name, tuple(dimensions), storage_class, is_calibration=True)
        for name, dimensions in keys.items()
    }
    for kind in kinds.values():
        try:
            register_dataset_type(connection, kind)
        except DefinitionConflict as error:
            raise DefinitionConflict(
                f"{error} Name the columns of its keys (--key), or give the types of the old "
                "registry other names (--prefix)."
            ) from error
    return kinds


def _datasets(
    connection: sa.Connection,
    name: str,
    ranges: Sequence[OldRange],
    kinds: Mapping[str, DatasetType],
) -> tuple[list[DatasetRef], int]:
    """Register a dataset for each row, or find it; tell how many are new."""
    runs = [f"{name}/{r.identity}" for r in ranges]
    run_ids = _run_ids(connection, runs)
    # rows of one detector share one object, and comparing objects is quicker than data IDs
    distinct = {id(r.data_id): (r.dataset_type, r.data_id) for r in ranges}
    known_ids = insert_data_ids(connection, [kinds[t].data_id(d) for t, d in distinct.values()])
    keys = {n: known_ids[data_id] for n, (_, data_id) in distinct.items()}
    type_ids = dict(
        connection.execute(
            sa.select(dataset_type.c.name, dataset_type.c.id).where(
                dataset_type.c.name.in_([k.name for k in kinds.values()])
            )
        ).all()
    )
    now = tai_now_ns()
    rows = [
        {
            "id": key,
            "dataset_type_id": type_ids[kinds[r.dataset_type].name],
            "run_id": run_ids[run],
            "data_id": keys[id(r.data_id)],
            "ingest_date_tai_ns": now,
        }
        for key, r, run in zip(uuid7s(len(ranges)), ranges, runs, strict=True)
    ]
    known = _known(connection, rows)
    new: dict[tuple[int, ...], dict[str, Any]] = {}
    for row, r in zip(rows, ranges, strict=True):
        key = (row["run_id"], row["dataset_type_id"], row["data_id"])
        if key in known:
            row["id"] = known[key]
        elif new.setdefault(key, row) is not row:
            raise Conflict(
                f"Two rows are about the {r.dataset_type} {r.identity} of {r.data_id!r}; "
                "is a key missing that tells them apart?"
            )
    _insert(connection, list(new.values()))
    analyze(connection, data_id_table, dataset, collection)
    refs = [
        DatasetRef(row["id"], kinds[r.dataset_type], r.data_id, run)
        for row, r, run in zip(rows, ranges, runs, strict=True)
    ]
    return refs, len(new)


def _insert(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    names = [c.name for c in dataset.c]
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        given = table_of(
            connection,
            {c: (sa.Uuid if c == "id" else sa.BigInteger, [r[c] for r in part]) for c in names},
        )
        source = sa.select(*(given.c[c] for c in names))
        connection.execute(sa.insert(dataset).from_select(names, source))


def _run_ids(connection: sa.Connection, runs: Iterable[str]) -> dict[str, int]:
    names = list(dict.fromkeys(runs))
    given = rows_of(connection, [{"name": n} for n in names], {"name": sa.String})
    row = sa.select(
        given.c.name,
        sa.literal("RUN"),
        sa.literal("Imported calibration"),
        sa.literal(utc_now(), collection.c.created_at.type),
    )
    insert_missing(connection, collection, row, ("name", "type", "doc", "created_at"))
    found = connection.execute(
        sa.select(collection.c.name, collection.c.id, collection.c.type).join_from(
            given, collection, collection.c.name == given.c.name
        )
    ).all()
    for name, _, kind in found:
        if kind != "RUN":
            raise Conflict(f"'{name}' is a {kind} collection already, so it cannot be a run.")
    return {name: key for name, key, _ in found}


def _known(
    connection: sa.Connection, rows: Sequence[Mapping[str, Any]]
) -> dict[tuple[int, ...], uuid.UUID]:
    """Find datasets that exist, by run, type and data ID."""
    names = ("run_id", "dataset_type_id", "data_id")
    found: dict[tuple[int, ...], uuid.UUID] = {}
    for start in range(0, len(rows), CHUNK):
        given = rows_of(
            connection, rows[start : start + CHUNK], dict.fromkeys(names, sa.BigInteger)
        )
        same = sa.and_(*(dataset.c[k] == given.c[k] for k in names))
        selected = sa.select(dataset.c.id, *(dataset.c[k] for k in names))
        for key, *values in connection.execute(selected.join_from(given, dataset, same)):
            found[tuple(values)] = key
    return found
