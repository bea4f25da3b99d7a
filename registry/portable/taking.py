"""Which rows go along when datasets leave for another registry?

Their types, runs and dimension records; the tags, validity ranges, facts and policies that were
asked for; their files; and their whole history: the quanta that made them, with configuration and
software, and what those had read, back to the first.  Rows are those of `registry.portable.tables`.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import belongings
from registry.carried import carried_among
from registry.database import CHUNK, canonical_json, table_of, whole_columns
from registry.errors import InvalidDataId, UnknownCollection
from registry.identity import DIMENSIONS, DataId, with_dashes
from registry.portable.tables import ELEMENTS, TABLES
from registry.provenance.graphs import reached_sql
from registry.schema import provenance as history
from registry.schema.collections import collection

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Row", "Taken", "data_ids_of", "datasets_behind", "packed", "take", "take_history"]

Row = tuple[Any, ...]
"""Values in the order of `Portable.columns`: UUIDs and JSON as text, times as aware datetimes."""


@dataclass(slots=True)
class Taken:
    """The rows of an export.

    Parameters
    ----------
    rows : dict of str to list of tuple
        By table, sorted by their key; every table of `TABLES` is there.
    running : int
        Quanta that were left out since they are still at work, here or in a graph file.
    history : int
        Datasets that are there only since others were made from them.
    """

    rows: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in TABLES})
    running: int = 0
    history: int = 0


def packed(name: str, columns: Sequence[Sequence[Any]]) -> list[Row]:
    """Turn columns as the database gives them into rows of an export, sorted by their key."""
    portable = TABLES[name]
    convert: dict[str, Any] = {"json": canonical_json, "flag": bool, "bytes": bytes}
    made: list[Sequence[Any]] = []
    for column, values in zip(portable.columns.values(), columns, strict=True):
        if column.kind == "uuid":
            made.append(with_dashes([str(v) for v in values]))
        elif column.kind in convert:
            make = convert[column.kind]
            made.append([None if v is None else make(v) for v in values])
        else:
            made.append(values)
    return sorted(zip(*made, strict=True), key=itemgetter(*portable.positions(portable.key)))


def columns_of_records(name: str, records: Sequence[Mapping[str, Any]]) -> list[Sequence[Any]]:
    """Give dimension records by column of an export."""
    return [[record[column] for record in records] for column in TABLES[name].columns]


def take(
    connection: sa.Connection,
    ids: Sequence[uuid.UUID],
    *,
    behind: Iterable[uuid.UUID] = (),
    also: Sequence[str] = (),
    everything: bool = False,
    with_history: bool = True,
) -> Taken:
    """Collect the rows that belong to datasets.

    Parameters
    ----------
    ids : sequence of UUID
        The datasets; unknown ones are passed over.
    behind : iterable of UUID
        Further datasets that go along as history only: others were made from them elsewhere.
    also : sequence of str
        Further collections: TAGGED and CALIBRATION ones with what they say of the datasets, CHAINED
        ones with their children, RUN ones though they are empty.
    everything : bool
        Whether to take all dimension records, dataset types and quanta, not only those needed.
    with_history : bool
        Whether to take what made the datasets, back to the first.

    Raises
    ------
    UnknownCollection
        If one of ``also`` does not exist.
    """
    taken = Taken()
    asked = list(dict.fromkeys(ids))
    wanted = set(asked)
    made_from = [i for i in dict.fromkeys(behind) if i not in wanted]
    if with_history:
        _history(connection, [*asked, *made_from], taken, everything=everything)
    hexed = [i.hex for i in (*asked, *made_from)]
    whose = dict(zip(with_dashes(hexed), hexed, strict=True))
    read = [i for i in _column(taken, "quantum_input", "dataset_id") if i not in whose]
    all_ids = [*whose.values(), *dict.fromkeys(read)]
    _among(connection, taken, "dataset", "id", all_ids)
    texts = set(itertools.islice(whose, len(asked)))
    taken.history = sum(i not in texts for i in _column(taken, "dataset", "id"))
    _outputs(connection, taken, all_ids)
    _collections(connection, taken, asked, also)
    kinds = dict.fromkeys(_column(taken, "dataset", "dataset_type"))
    if everything:
        _all(connection, taken, "dataset_type", "data_id_key", "carried_record")
        _all(connection, taken, "instrument_definition")
    else:
        _among(connection, taken, "dataset_type", "name", kinds)
    for name in ("calibration_policy", "calibration_policy_match"):
        _among(connection, taken, name, "dataset_type", _column(taken, "dataset_type", "name"))
    _among(connection, taken, "calibration_fact", "dataset_id", [i.hex for i in asked])
    _records(connection, taken, everything=everything)
    if not everything:
        cameras = _column(taken, "instrument", "name")
        _among(connection, taken, "instrument_definition", "instrument", cameras)
    return taken


def datasets_behind(
    connections: Sequence[sa.Connection], ids: Iterable[uuid.UUID]
) -> set[uuid.UUID]:
    """Give datasets with all that they were made from, back to the first.

    Parameters
    ----------
    connections : sequence of Connection
        Of one or several registries; histories are followed from one into another and back.
    """
    known: set[uuid.UUID] = set()
    new = set(ids)
    while new:
        known |= new
        found: set[uuid.UUID] = set()
        asked = list(new)
        for connection in connections:
            for start in range(0, len(asked), CHUNK):
                reached = reached_sql(connection, asked[start : start + CHUNK], up=True)
                found.update(connection.execute(reached).scalars())
        new = found - known if len(connections) > 1 else set()
        known |= found
    return known


def take_history(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> dict[str, list[Row]]:
    """Collect the quanta that made datasets, back to the first, with all that belongs to them."""
    taken = Taken()
    _history(connection, ids, taken, everything=False)
    read = dict.fromkeys(_column(taken, "quantum_input", "dataset_id"))
    _outputs(connection, taken, [*(i.hex for i in ids), *read])
    return taken.rows


def _column(taken: Taken, name: str, column: str) -> list[Any]:
    (place,) = TABLES[name].positions((column,))
    return [row[place] for row in taken.rows[name]]


def _all(connection: sa.Connection, taken: Taken, *names: str) -> None:
    for name in names:
        taken.rows[name] = packed(name, whole_columns(connection, TABLES[name].statement))


def _among(
    connection: sa.Connection,
    taken: Taken,
    name: str,
    column: str,
    values: Iterable[Any],
    *conditions: Any,
) -> None:
    """Take the rows of a table whose column has one of some values."""
    taken.rows[name] = packed(name, columns_among(connection, name, column, values, *conditions))


def columns_among(
    connection: sa.Connection, name: str, column: str, values: Iterable[Any], *conditions: Any
) -> list[Sequence[Any]]:
    """Read the rows of a table whose column has one of some values, as the database gives them.

    UUIDs are given as text.
    """
    portable = TABLES[name]
    asked = list(dict.fromkeys(values))
    place = portable.places[column]
    kind = {"text": sa.String, "uuid": sa.Uuid}.get(portable.columns[column].kind, sa.BigInteger)
    found: list[Sequence[Any]] = [()] * len(portable.columns)
    for start in range(0, len(asked), CHUNK):
        part = asked[start : start + CHUNK]
        if kind is sa.Uuid:
            part = [v.replace("-", "") for v in part]
        given = table_of(connection, {"k": (kind, part)})
        statement = portable.statement.where(place.in_(sa.select(given.c.k)), *conditions)
        more = whole_columns(connection, statement)
        found = [[*c, *m] for c, m in zip(found, more, strict=True)] if start else more
    return found


def _history(
    connection: sa.Connection, ids: Sequence[uuid.UUID], taken: Taken, *, everything: bool
) -> None:
    """Take the quanta above datasets, or all of them."""
    if everything:
        found = whole_columns(connection, TABLES["quantum"].statement)
    else:
        reached: set[uuid.UUID] = set()
        for start in range(0, len(ids), CHUNK):
            part = ids[start : start + CHUNK]
            above = reached_sql(connection, part, up=True).subquery("above")
            makers = sa.select(history.quantum_output.c.quantum_id).join(
                above, above.c.dataset_id == history.quantum_output.c.dataset_id
            )
            reached.update(connection.execute(makers.distinct()).scalars())
        found = columns_among(connection, "quantum", "id", [i.hex for i in reached])
    quanta = packed("quantum", found)
    (state,) = TABLES["quantum"].positions(("state",))
    ended = [row for row in quanta if row[state] not in ("running", "away")]
    taken.running = len(quanta) - len(ended)
    taken.rows["quantum"] = ended
    (key,) = TABLES["quantum"].positions(("id",))
    ids_of_quanta = [row[key] for row in ended]
    for name in ("quantum_variant", "quantum_metric", "quantum_input"):
        _among(connection, taken, name, "quantum_id", ids_of_quanta)
    _tasks(connection, taken, everything=everything)
    environments = [d for d in _column(taken, "quantum", "environment") if d is not None]
    _among(connection, taken, "environment", "digest", environments)
    _among(connection, taken, "environment_package", "environment", environments)


def _tasks(connection: sa.Connection, taken: Taken, *, everything: bool) -> None:
    tasks = set()
    for name in ("quantum", "quantum_variant"):
        run, label = TABLES[name].positions(("run", "task"))
        tasks |= {(row[run], row[label]) for row in taken.rows[name]}
    if everything:
        _all(connection, taken, "task", "config_history", "task_variant")
    else:
        runs = {run for run, _ in tasks}
        for name, columns in (
            ("task", ("run", "label")),
            ("config_history", ("run", "task")),
            ("task_variant", ("run", "task")),
        ):
            _among(connection, taken, name, "run", runs)
            whose = itemgetter(*TABLES[name].positions(columns))
            taken.rows[name] = [row for row in taken.rows[name] if whose(row) in tasks]
    configs = _column(taken, "task", "config")
    _among(connection, taken, "config", "digest", configs)
    _among(connection, taken, "config_value", "config", configs)


def _outputs(connection: sa.Connection, taken: Taken, ids: Sequence[str]) -> None:
    """Take what made the datasets, as far as the quanta go along."""
    if not taken.rows["quantum"]:
        return
    _among(connection, taken, "quantum_output", "dataset_id", ids)
    (quantum,) = TABLES["quantum_output"].positions(("quantum_id",))
    there = set(_column(taken, "quantum", "id"))
    taken.rows["quantum_output"] = [r for r in taken.rows["quantum_output"] if r[quantum] in there]


def _collections(
    connection: sa.Connection, taken: Taken, ids: Sequence[uuid.UUID], also: Sequence[str]
) -> None:
    """Take runs, and the other collections that were asked for, with what is below chains."""
    runs = {*_column(taken, "dataset", "run"), *_column(taken, "task", "run")}
    names = dict.fromkeys([*also, *sorted(runs)])
    _among(connection, taken, "collection_chain", "parent", also)
    (child,) = TABLES["collection_chain"].positions(("child",))
    below = [row[child] for row in taken.rows["collection_chain"]]
    new = [name for name in below if name not in names]
    while new:  # once for each level of chains in chains
        names |= dict.fromkeys(new)
        rows = packed(
            "collection_chain", columns_among(connection, "collection_chain", "parent", new)
        )
        taken.rows["collection_chain"] += rows
        new = list(dict.fromkeys(row[child] for row in rows if row[child] not in names))
    taken.rows["collection_chain"].sort(key=itemgetter(0, 1))
    _among(connection, taken, "collection", "name", names)
    known = set(_column(taken, "collection", "name"))
    for name in also:
        if name not in known:
            raise UnknownCollection(
                name, connection.execute(sa.select(collection.c.name)).scalars()
            )
    hexed = [i.hex for i in ids]
    for name in ("tagged", "calibration"):
        within = TABLES[name].places["collection"].in_(list(also))
        _among(connection, taken, name, "dataset_id", hexed if also else (), within)


def _records(connection: sa.Connection, taken: Taken, *, everything: bool) -> None:
    """Take the dimension records that the data IDs of datasets and quanta need, or all."""
    columns = _data_ids(taken)
    found = (
        belongings.all_records(connection)
        if everything
        else belongings.records_among(connection, columns)
    )
    for name in ELEMENTS:
        taken.rows[name] = packed(name, columns_of_records(name, found.get(name, ())))
    if not everything:
        visits = zip(
            _column(taken, "visit", "instrument"), _column(taken, "visit", "id"), strict=True
        )
        cameras = _column(taken, "instrument", "name")
        carried = carried_among(connection, columns, cameras, visits)
        if carried:
            by_column = list(zip(*carried, strict=True))
            taken.rows["carried_record"] = packed("carried_record", by_column)
    extra = {name for text in set(columns["extra"]) if text for name in json.loads(text)}
    if not everything:
        _among(connection, taken, "data_id_key", "name", sorted(extra))


def _data_ids(taken: Taken) -> dict[str, list[Any]]:
    """Give the data IDs of all datasets and quanta, by column."""
    names = (*DIMENSIONS, "extra")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for table in ("dataset", "quantum"):
        whole = list(zip(*taken.rows[table], strict=True))
        for name, place in zip(names, TABLES[table].positions(names), strict=True):
            columns[name] += whole[place] if whole else []
    return columns


def data_ids_of(rows: Sequence[Row], name: str) -> list[DataId]:
    """Make the data IDs of rows of ``dataset`` or ``quantum``."""
    names = (*DIMENSIONS, "extra")
    places = TABLES[name].positions(names)
    made = []
    for row in rows:
        values = {d: row[p] for d, p in zip(names, places, strict=True) if row[p] is not None}
        extra = json.loads(values.pop("extra", "{}"))
        if not isinstance(extra, dict):
            raise InvalidDataId(f"Further keys of a data ID must be an object, not {extra!r:.60}.")
        made.append(DataId.of({**values, **extra}))
    return made
