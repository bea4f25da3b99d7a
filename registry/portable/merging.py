"""How do the rows of an export become part of this registry?

What `registry.portable.comparing` found to be new is inserted table by table, each by one
statement; identities stay, and keys that count only here are looked up by natural ones.  The caller
holds the transaction, and records files.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import dimensions, keys
from registry.calibrations.certifying import certify_again
from registry.collections import check, get_collection, link_children
from registry.database import CHUNK, analyze_outgrown, in_written_order, insert_rows, table_of
from registry.datasets import insert_data_ids, insert_datasets
from registry.errors import CollectionTypeError, Conflict
from registry.identity import DIMENSIONS, DatasetRef, DatasetType, uuids_of
from registry.portable.tables import ELEMENTS, TABLES
from registry.portable.taking import Row, data_ids_of
from registry.schema.collections import collection, tagged
from registry.schema.dimensions import carried_record, instrument, instrument_definition
from registry.schema.identity import dataset, dataset_type
from registry.schema.provenance import config, environment, quantum, quantum_input, task
from registry.timespan import Timespan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from registry.identity import DataId
    from registry.portable.comparing import Incoming

__all__ = ["Merged", "merge", "merge_history", "refs_of", "refuse_contradictions"]

_BULK = 5_000
"""From this many inserted rows on, the planner's statistics are refreshed."""
_MOST_TOLD = 5


@dataclass(slots=True)
class Merged:
    """What was inserted.

    Parameters
    ----------
    records : dict of str to int
        New rows by table.
    refs : list of DatasetRef
        New datasets.
    """

    records: dict[str, int] = field(default_factory=dict)
    refs: list[DatasetRef] = field(default_factory=list)


def refuse_contradictions(incoming: Incoming, *, keep: bool) -> None:
    """Refuse an export that says otherwise than what is here.

    Parameters
    ----------
    keep : bool
        Whether what is here stays where that is possible.

    Raises
    ------
    Conflict
        With the first contradictions, and how many there are.
    """
    found = [c for c in incoming.contradictions if c.essential or not keep]
    if not found:
        return
    told = "; ".join(map(str, found[:_MOST_TOLD]))
    more = f"; and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
    remedy = (
        " One of the two registries is wrong, and must be put right first."
        if any(c.essential for c in found)
        else " To keep what is here, import with conflicts='keep' (on the command line "
        "--keep-here)."
    )
    raise Conflict(
        f"The export contradicts what is here in {len(found)} place"
        f"{'s' if len(found) > 1 else ''}, and nothing was imported: {told}{more}.{remedy}"
    )


def merge(connection: sa.Connection, incoming: Incoming, refs: Mapping[str, DatasetRef]) -> Merged:
    """Insert what is new.

    Parameters
    ----------
    incoming : Incoming
        From `compare`; contradictions count as accepted, and what is here stays.
    refs : mapping of DatasetRef
        From `refs_of`.

    Raises
    ------
    Conflict
        If a tag, a validity range or a dataset contradicts what is here after all; the caller
        rolls back.
    """
    new = incoming.new
    merged = Merged({name: len(rows) for name, rows in new.items() if rows})
    for name in ELEMENTS:
        records = list(_mappings(name, new[name]))
        dimensions.insert_dimension_records(connection, name, records, "skip")
    _plain(connection, instrument_definition, new["instrument_definition"])
    _definitions_in_force(connection, new["instrument_definition"])
    _plain(connection, carried_record, new["carried_record"])
    keys.declare_keys(connection, {name: _KINDS[kind] for name, kind in new["data_id_key"]})
    _plain(connection, dataset_type, new["dataset_type"])
    _collections(connection, new["collection"])
    if new["collection_chain"]:
        link_children(connection, new["collection_chain"])
    merged.refs = _datasets(connection, new["dataset"], refs)
    _tags(connection, new["tagged"])
    _ranges(connection, new["calibration"], refs)
    for name in ("calibration_policy", "calibration_policy_match", "calibration_fact"):
        _referring(connection, name, new)
    merge_history(connection, new)
    return merged


def merge_history(connection: sa.Connection, new: Mapping[str, Sequence[Row]]) -> None:
    """Insert quanta with their tasks, configurations and software.

    Parameters
    ----------
    new : mapping
        Rows that are not here, by table; their runs and datasets are.
    """
    _plain(connection, environment, new["environment"])
    _plain(connection, config, new["config"])
    for name in ("environment_package", "config_value", "task", "config_history", "task_variant"):
        _referring(connection, name, new)
    _quanta(connection, new["quantum"])
    for name in ("quantum_variant", "quantum_metric", "quantum_input", "quantum_output"):
        _referring(connection, name, new)
    if len(new["quantum"]) >= _BULK:
        analyze_outgrown(connection, quantum, quantum_input, n_new=len(new["quantum"]))


_KINDS: dict[str, type] = {"str": str, "int": int}


def _mappings(name: str, rows: Iterable[Row]) -> Iterable[dict[str, Any]]:
    """Give rows by column, with the values that the database takes."""
    columns = TABLES[name].columns
    made = [_maker(column.kind) for column in columns.values()]
    for row in rows:
        yield {
            column: value if value is None or make is None else make(value)
            for column, value, make in zip(columns, row, made, strict=True)
        }


def _maker(kind: str) -> Any:
    return {"uuid": uuid.UUID, "json": json.loads, "time": _aware}.get(kind)


def _aware(value: dt.datetime) -> dt.datetime:
    return value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)


def _plain(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert rows that refer to nothing by a key that counts only here."""
    insert_rows(connection, table, list(_mappings(table.name, rows)), skip_existing=True)


def _referring(connection: sa.Connection, name: str, new: Mapping[str, Sequence[Row]]) -> None:
    """Insert rows, with natural keys replaced by those that count here."""
    rows = new[name]
    if not rows:
        return
    table = collection.metadata.tables[name]
    keys_of: dict[str, dict[Any, int]] = {}
    replaced = [c for c in TABLES[name].columns if c in _NATURAL and _NATURAL[c][0] in table.c]
    for column in replaced:
        _, natural = _NATURAL[column]
        (place,) = TABLES[name].positions((column,))
        keys_of[column] = _keys(connection, natural, (row[place] for row in rows))
    of_task = "task_id" in table.c and "task" in TABLES[name].columns
    tasks = _tasks(connection, name, rows) if of_task else {}
    made = []
    for row in _mappings(name, rows):
        for column in replaced:
            value = row.pop(column)
            row[_NATURAL[column][0]] = None if value is None else keys_of[column][value]
        if of_task:
            run = row.pop("run")
            row["task_id"] = tasks[run, row.pop("task")]
            if "of_task" in row:
                row["of_task_id"] = tasks[run, row.pop("of_task")]
        made.append(row)
    insert_rows(connection, table, made, skip_existing=True)


_NATURAL: dict[str, tuple[str, sa.Column[Any]]] = {
    "dataset_type": ("dataset_type_id", dataset_type.c.name),
    "collection": ("collection_id", collection.c.name),
    "run": ("run_id", collection.c.name),
    "environment": ("environment_id", environment.c.digest),
    "config": ("config_id", config.c.digest),
}
"""By column of an export the one that it stands for, and where the name is found."""


def _keys(
    connection: sa.Connection, natural: sa.Column[Any], names: Iterable[Any]
) -> dict[Any, int]:
    asked = list(dict.fromkeys(name for name in names if name is not None))
    found: dict[Any, int] = {}
    for start in range(0, len(asked), CHUNK):
        given = table_of(connection, {"k": (sa.String, asked[start : start + CHUNK])})
        pairs = sa.select(natural, natural.table.c.id).where(natural.in_(sa.select(given.c.k)))
        found |= dict(connection.execute(pairs).all())
    return found


def _tasks(connection: sa.Connection, name: str, rows: Sequence[Row]) -> dict[tuple[str, str], int]:
    (place,) = TABLES[name].positions(("run",))
    runs = _keys(connection, collection.c.name, (row[place] for row in rows))
    given = table_of(connection, {"k": (sa.BigInteger, list(runs.values()))})
    asked = (
        sa.select(collection.c.name, task.c.label, task.c.id)
        .join(collection, collection.c.id == task.c.run_id)
        .where(task.c.run_id.in_(sa.select(given.c.k)))
    )
    return {(run, label): key for run, label, key in connection.execute(asked)}


def _collections(connection: sa.Connection, new: Sequence[Row]) -> None:
    for name, kind, *_ in new:
        check(name, kind)
    _plain(connection, collection, new)


def _definitions_in_force(connection: sa.Connection, new: Sequence[Row]) -> None:
    """Let the newest definition of each camera be the one in force."""
    if not new:
        return
    d = instrument_definition
    newest = (
        sa.select(sa.func.max(d.c.version))
        .where(d.c.instrument == instrument.c.name)
        .scalar_subquery()
    )
    cameras = sorted({row[0] for row in new})
    connection.execute(
        sa.update(instrument)
        .where(instrument.c.name.in_(cameras))
        .values(definition_version=newest)
    )


def types_of(rows: Mapping[str, Sequence[Row]]) -> dict[str, DatasetType]:
    """Give the dataset types of an export by name."""
    order = TABLES["dataset_type"].positions(
        ("name", "dimensions", "storage_class", "is_calibration")
    )
    made = {}
    for row in rows.get("dataset_type", ()):
        name, dims, storage_class, is_calibration = (row[p] for p in order)
        names = tuple(dims.split(",")) if dims else ()
        made[name] = DatasetType(name, names, storage_class, bool(is_calibration))
    return made


def refs_of(rows: Mapping[str, Sequence[Row]]) -> dict[str, DatasetRef]:
    """Give every dataset of an export by its identity as text.

    Raises
    ------
    InvalidDataId
        If a data ID does not have the keys of its dataset type.
    """
    kinds = types_of(rows)
    given = rows.get("dataset", ())
    identity, kind, run = TABLES["dataset"].positions(("id", "dataset_type", "run"))
    by_kind: dict[str, list[Row]] = {}
    for row in given:
        by_kind.setdefault(row[kind], []).append(row)
    made: dict[str, DatasetRef] = {}
    for name, members in by_kind.items():
        ids, runs = ([row[place] for row in members] for place in (identity, run))
        found = _data_ids(kinds[name], members)
        refs = map(DatasetRef, uuids_of(ids), repeat(kinds[name]), found, runs)
        made.update(zip(ids, refs, strict=True))
    return made


def _data_ids(kind: DatasetType, rows: Sequence[Row]) -> list[DataId]:
    """Make the data IDs of datasets of one type, column by column where they are plain."""
    names = kind.dimensions
    if set(names) <= set(DIMENSIONS):
        whole = list(zip(*rows, strict=True))
        others = [d for d in (*DIMENSIONS, "extra") if d not in names]
        if all(set(whole[p]) == {None} for p in TABLES["dataset"].positions(tuple(others))):
            columns = [whole[p] for p in TABLES["dataset"].positions(names)]
            items = zip(*columns, strict=True) if names else ((),) * len(rows)
            return kind.data_ids([dict(zip(names, row, strict=True)) for row in items])
    return kind.data_ids(data_ids_of(rows, "dataset"))


def _datasets(
    connection: sa.Connection, new: Sequence[Row], refs: Mapping[str, DatasetRef]
) -> list[DatasetRef]:
    """Insert datasets by type and run, with the date that they had."""
    identity, date = TABLES["dataset"].positions(("id", "ingest_date_tai_ns"))
    grouped: dict[tuple[DatasetType, str], list[tuple[DatasetRef, int]]] = {}
    for row in new:
        ref = refs[row[identity]]
        grouped.setdefault((ref.dataset_type, ref.run), []).append((ref, row[date]))
    made: list[DatasetRef] = []
    for (kind, run), members in grouped.items():
        made += insert_datasets(
            connection,
            kind,
            [ref.data_id for ref, _ in members],
            run,
            ids=[ref.id for ref, _ in members],
            dates=[date for _, date in members],
        )
    return made


def _tags(connection: sa.Connection, new: Sequence[Row]) -> None:
    """Tag datasets whose place in the collection is free.

    Raises
    ------
    Conflict
        If a collection holds another dataset of the same type and data ID.
    """
    found = [get_collection(connection, name) for name in sorted({row[0] for row in new})]
    for target in found:
        if target.type != "TAGGED":
            raise CollectionTypeError(
                f"'{target.name}' is a {target.type} collection; tag into a TAGGED one."
            )
    places = {target.name: target.id for target in found}
    for start in range(0, len(new), CHUNK):
        part = new[start : start + CHUNK]
        given = table_of(
            connection,
            {
                "c": (sa.BigInteger, [places[name] for name, _ in part]),
                "k": (sa.Uuid, [uuid.UUID(member) for _, member in part]),
            },
        )
        same = (
            (tagged.c.collection_id == given.c.c)
            & (tagged.c.dataset_type_id == dataset.c.dataset_type_id)
            & (tagged.c.data_id == dataset.c.data_id)
        )
        members = (
            sa.select(given.c.c, dataset.c.dataset_type_id, dataset.c.data_id, dataset.c.id)
            .select_from(given)
            .join(dataset, dataset.c.id == given.c.k)
        )
        held = (
            sa.select(given.c.n, tagged.c.dataset_id)
            .select_from(given)
            .join(dataset, dataset.c.id == given.c.k)
            .join(tagged, same)
            .where(tagged.c.dataset_id != given.c.k)
        )
        other = connection.execute(in_written_order(held)).first()
        if other is not None:
            name, member = part[other[0]]
            raise Conflict(
                f"'{name}' holds the dataset {other[1]} in the place that {member} has in the "
                "export; untag it, or leave the collection out of the export."
            )
        columns = ["collection_id", "dataset_type_id", "data_id", "dataset_id"]
        connection.execute(sa.insert(tagged).from_select(columns, in_written_order(members)))


def _ranges(connection: sa.Connection, new: Sequence[Row], refs: Mapping[str, DatasetRef]) -> None:
    """Certify as it was certified there."""
    by_name: dict[str, list[tuple[DatasetRef, Timespan, dt.datetime, str]]] = {}
    for row in _mappings("calibration", new):
        span = Timespan(row["valid_begin_tai_ns"], row["valid_end_tai_ns"])
        by_name.setdefault(row["collection"], []).append(
            (refs[str(row["dataset_id"])], span, row["certified_at"], row["certified_by"])
        )
    for name, ranges in by_name.items():
        certify_again(connection, name, ranges)


def _quanta(connection: sa.Connection, new: Sequence[Row]) -> None:
    if not new:
        return
    data_ids = data_ids_of(new, "quantum")
    known = insert_data_ids(connection, data_ids)
    tasks = _tasks(connection, "quantum", new)
    (environment_place,) = TABLES["quantum"].positions(("environment",))
    environments = _keys(connection, environment.c.digest, (r[environment_place] for r in new))
    columns = [c.name for c in quantum.columns]
    made = []
    for row, data_id in zip(_mappings("quantum", new), data_ids, strict=True):
        digest = row["environment"]
        row["task_id"] = tasks[row["run"], row["task"]]
        row["environment_id"] = None if digest is None else environments[digest]
        row["data_id"] = known[data_id]
        made.append({c: row[c] for c in columns})
    insert_rows(connection, quantum, made, skip_existing=True)
