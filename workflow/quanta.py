"""Which quanta does a task have, and which datasets does each read and make?

`build` asks the registry once per connection, groups what it finds by the task's dimensions,
looks calibrations up for all quanta at once, and says for each quantum that cannot run why. It
records nothing: that is `workflow.runner`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import calibrations, collections, datasets, dimensions, finding
from registry.data_ids import query_data_ids
from registry.database import rows_of
from registry.identity import DIMENSIONS, DataId, DatasetRef, uuid7
from registry.schema.dimensions import exposure as exposure_table
from registry.schema.dimensions import overlap, visit_exposure

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Mapping, Sequence

    from butler.butler import Butler
    from workflow.pipeline import PipelineTask

__all__ = ["Quantum", "build"]


@dataclass(frozen=True)
class Quantum:
    """One unit of work.

    Parameters
    ----------
    id : uuid.UUID
        Its identity.
    label : str
        Task in the pipeline.
    data_id : DataId
        Its data ID.
    inputs, outputs : mapping of str to tuple of DatasetRef
        By connection; outputs, and inputs that the same run makes, are predicted.
    records : mapping of str to tuple of mapping
        Exposure records of the inputs that have the dimension exposure, aligned with them.
    problem : str
        Why it cannot run; empty when it can.
    """

    id: uuid.UUID
    label: str
    data_id: DataId
    inputs: Mapping[str, tuple[DatasetRef, ...]]
    outputs: Mapping[str, tuple[DatasetRef, ...]]
    records: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    problem: str = ""


@dataclass
class _Found:
    """Datasets of one connection with everything that their data IDs imply."""

    refs: list[DatasetRef]
    full: list[list[DataId]]

    @cached_property
    def of(self) -> dict[DatasetRef, list[DataId]]:
        """The full data IDs by dataset."""
        return dict(zip(self.refs, self.full, strict=True))


def build(
    butler: Butler,
    task: PipelineTask,
    *,
    run: str,
    inputs: Sequence[str],
    where: str = "",
    bind: Mapping[str, Any] | None = None,
    made: Mapping[str, Sequence[DatasetRef]],
    promised: Collection[str] = (),
) -> list[Quantum]:
    """Find the quanta of one task.

    Parameters
    ----------
    run : str
        RUN collection that its outputs go to.
    inputs : sequence of str
        Collections searched, in order.
    where, bind : str, mapping
        Expression that every dataset from outside the pipeline fulfils.
    made : mapping
        Dataset types that this run makes or made, with their datasets.
    promised : collection of str
        Dataset types that will have been certified by then: a prerequisite of one of them is
        neither looked up nor missed.

    Returns
    -------
    list of Quantum
        Ordered by data ID.
    """
    with butler.registry.read() as connection:
        found = {
            name: _expanded(
                connection,
                _datasets(connection, task, name, inputs, where, bind, made),
                task.dimensions,
            )
            for name in task.connections.inputs
        }
        members, reasons = _grouped(task, found)
        records = _exposure_records(connection, found)
        quanta = [
            _quantum(task, key, grouped, found, records, run, reasons.get(key, ""))
            for key, grouped in sorted(members.items(), key=lambda item: item[0].key)
        ]
        return _with_prerequisites(connection, task, quanta, inputs, promised)


def _datasets(
    connection: sa.Connection,
    task: PipelineTask,
    name: str,
    inputs: Sequence[str],
    where: str,
    bind: Mapping[str, Any] | None,
    made: Mapping[str, Sequence[DatasetRef]],
) -> list[DatasetRef]:
    kind = task.connections[name].definition()
    select = task.select.get(name, "")
    if kind.name not in made:
        condition = " AND ".join(f"({c})" for c in (select, where) if c.strip())
        return finding.query_datasets(
            connection,
            datasets.get_dataset_type(connection, kind.name),
            inputs,
            where=condition,
            bind=bind,
        )
    refs = list(made[kind.name])
    if select and refs:
        known = [d for d in kind.dimensions if d in DIMENSIONS]
        allowed = set(query_data_ids(connection, known, where=select, bind=bind))
        refs = [r for r in refs if r.data_id.subset(known) in allowed]
    return refs


def _expanded(connection: sa.Connection, refs: list[DatasetRef], wanted: Sequence[str]) -> _Found:
    full = dimensions.expand(connection, [r.data_id for r in refs])
    extra = [d for d in wanted if d not in DIMENSIONS]
    if extra:
        full = _with_declared_keys(connection, full, extra)
    many = [[d] for d in full]
    if {"tract", "patch", "skymap"} & set(wanted) or "visit" in wanted:
        many = _with_visits_and_patches(connection, full, wanted)
    return _Found(refs, many)


def _exposures_of(connection: sa.Connection, data_ids: Sequence[DataId]) -> dict[Any, Any]:
    asked = sorted({(d["instrument"], d["exposure"]) for d in data_ids if "exposure" in d})
    given = rows_of(
        connection,
        [{"i": i, "e": e} for i, e in asked],
        {"i": sa.String, "e": sa.BigInteger},
    )
    t = exposure_table
    same = (t.c.instrument == given.c.i) & (t.c.id == given.c.e)
    rows = connection.execute(sa.select(t).join_from(given, t, same)).mappings()
    return {(r["instrument"], r["id"]): dict(r) for r in rows}


def _with_declared_keys(
    connection: sa.Connection, data_ids: Sequence[DataId], extra: Sequence[str]
) -> list[DataId]:
    records = _exposures_of(connection, data_ids)
    result = []
    for d in data_ids:
        facts = (records.get((d.get("instrument"), d.get("exposure"))) or {}).get("extra") or {}
        result.append(DataId.of({**{k: facts[k] for k in extra if facts.get(k)}, **d}))
    return result


def _with_visits_and_patches(
    connection: sa.Connection, data_ids: Sequence[DataId], wanted: Sequence[str]
) -> list[list[DataId]]:
    """Give each data ID its visit, and as many copies as patches that its region touches."""
    keys = sorted({(d["instrument"], d["exposure"]) for d in data_ids if "exposure" in d})
    given = rows_of(
        connection, [{"i": i, "e": e} for i, e in keys], {"i": sa.String, "e": sa.BigInteger}
    )
    v = visit_exposure
    same = (v.c.instrument == given.c.i) & (v.c.exposure == given.c.e)
    visits = {
        (i, e): visit
        for i, e, visit in connection.execute(
            sa.select(v.c.instrument, v.c.exposure, v.c.visit).join_from(given, v, same)
        )
    }
    seen = [
        DataId.of({"visit": visits[k], **d})
        if "visit" not in d and (k := (d.get("instrument"), d.get("exposure"))) in visits
        else d
        for d in data_ids
    ]
    if not {"tract", "patch", "skymap"} & set(wanted):
        return [[d] for d in seen]
    asked = sorted(
        {
            (d["instrument"], d["visit"], d["detector"])
            for d in seen
            if {"visit", "detector"} <= set(d)
        }
    )
    given = rows_of(
        connection,
        [{"i": i, "v": n, "d": d} for i, n, d in asked],
        {"i": sa.String, "v": sa.BigInteger, "d": sa.BigInteger},
    )
    o = overlap
    same = (o.c.instrument == given.c.i) & (o.c.visit == given.c.v) & (o.c.detector == given.c.d)
    patches: dict[Any, list[dict[str, Any]]] = {}
    for i, n, d, skymap, tract, patch in connection.execute(
        sa.select(given.c.i, given.c.v, given.c.d, o.c.skymap, o.c.tract, o.c.patch).join_from(
            given, o, same
        )
    ):
        patches.setdefault((i, n, d), []).append({"skymap": skymap, "tract": tract, "patch": patch})
    return [
        [d]
        if "patch" in d
        else [
            DataId.of({**p, **d})
            for p in patches.get((d.get("instrument"), d.get("visit"), d.get("detector")), [])
        ]
        for d in seen
    ]


def _grouped(
    task: PipelineTask, found: Mapping[str, _Found]
) -> tuple[dict[DataId, dict[str, list[DatasetRef]]], dict[DataId, str]]:
    """Sort datasets into quanta: those with all of the task's keys make them, others join."""
    wanted = task.dimensions
    members: dict[DataId, dict[str, list[DatasetRef]]] = {}
    partial: list[tuple[str, DatasetRef, DataId]] = []
    for name, group in found.items():
        for ref, many in zip(group.refs, group.full, strict=True):
            for full in many:
                if set(wanted) <= set(full):
                    inputs = members.setdefault(full.subset(wanted), {})
                    inputs.setdefault(name, []).append(ref)
                else:
                    partial.append((name, ref, full))
    indexes: dict[tuple[str, ...], dict[DataId, list[DataId]]] = {}
    for name, ref, full in partial:
        shared = tuple(d for d in wanted if d in full)
        whole = tuple(d for d in task.connections[name].dimensions if d in wanted)
        if not shared or set(whole) - set(shared):
            continue
        if any(set(wanted) <= set(f) for many in found[name].full for f in many):
            continue
        index = indexes.get(shared)
        if index is None:
            index = indexes[shared] = {}
            for key in members:
                index.setdefault(key.subset(shared), []).append(key)
        for key in index.get(full.subset(shared), []):
            members[key].setdefault(name, []).append(ref)
    reasons: dict[DataId, str] = {}
    for key, inputs in members.items():
        for name, connection in task.connections.inputs.items():
            n = len(inputs.get(name, []))
            if n < connection.minimum:
                reasons[key] = (
                    f"{name}: {n} {connection.dataset_type} where {connection.minimum} are needed."
                )
            elif n > 1 and not connection.multiple:
                reasons[key] = f"{name}: {n} {connection.dataset_type} where one is meant."
    return members, reasons


def _exposure_records(connection: sa.Connection, found: Mapping[str, _Found]) -> dict[Any, Any]:
    return _exposures_of(connection, [r.data_id for g in found.values() for r in g.refs])


def _quantum(
    task: PipelineTask,
    key: DataId,
    grouped: Mapping[str, list[DatasetRef]],
    found: Mapping[str, _Found],
    records: Mapping[Any, Mapping[str, Any]],
    run: str,
    problem: str,
) -> Quantum:
    def moment(ref: DatasetRef) -> tuple[int, str]:
        record = records.get((ref.data_id.get("instrument"), ref.data_id.get("exposure")))
        return (int(record["begin_tai_ns"]) if record else 0, ref.data_id.key)

    ordered = {
        name: tuple(sorted(dict.fromkeys(refs), key=moment)) for name, refs in grouped.items()
    }
    outputs = {}
    for name, c in task.connections.outputs.items():
        kind = c.definition()
        keys = _keys_of_output(kind.dimensions, key, grouped, found)
        outputs[name] = tuple(DatasetRef(uuid7(), kind, k, run) for k in keys)
        if not keys and not problem:
            problem = (
                f"{name}: which {kind.name} there will be does not follow from the inputs: none "
                f"has {' and '.join(d for d in kind.dimensions if d not in key)}."
            )
    facts = {
        name: tuple(
            records[r.data_id.get("instrument"), r.data_id.get("exposure")]
            for r in refs
            if "exposure" in r.data_id
        )
        for name, refs in ordered.items()
    }
    return Quantum(uuid7(), task.label, key, ordered, outputs, facts, problem)


def _keys_of_output(
    wanted: Sequence[str],
    key: DataId,
    grouped: Mapping[str, list[DatasetRef]],
    found: Mapping[str, _Found],
) -> list[DataId]:
    """Predict what an output is made for: the quantum itself, or each of its inputs beyond it."""
    if set(wanted) <= set(key):
        return [key.subset(wanted)]
    keys = {
        full.subset(wanted)
        for name, refs in grouped.items()
        for ref in refs
        for full in found[name].of[ref]
        if set(wanted) <= set(full) and all(full.get(d, v) == v for d, v in key.items())
    }
    return sorted(keys, key=lambda k: k.key)


def _with_prerequisites(
    connection: sa.Connection,
    task: PipelineTask,
    quanta: list[Quantum],
    inputs: Sequence[str],
    promised: Collection[str],
) -> list[Quantum]:
    """Look every prerequisite up for all quanta at once."""
    known = {kind.name for kind in datasets.dataset_types(connection)}
    searched = collections.flatten(connection, inputs)
    for name, wanted in task.connections.prerequisites.items():
        if wanted.dataset_type in promised:
            continue
        if wanted.dataset_type not in known:
            held: list[DatasetRef | None] = [None] * len(quanta)
        else:
            kind = datasets.get_dataset_type(connection, wanted.dataset_type)
            held = _held(connection, kind, quanta, inputs, searched)
        for n, ref in enumerate(held):
            quantum = quanta[n]
            problem = quantum.problem
            if ref is None and wanted.minimum and not problem:
                problem = _nothing_held(connection, wanted.dataset_type, quantum, searched, known)
            found = {**quantum.inputs, **({name: (ref,)} if ref is not None else {})}
            quanta[n] = Quantum(
                quantum.id,
                quantum.label,
                quantum.data_id,
                found,
                quantum.outputs,
                quantum.records,
                problem,
            )
    return quanta


def _moment(quantum: Quantum) -> int | None:
    times = [int(record["begin_tai_ns"]) for record in _exposures(quantum)]
    return min(times) if times else None


def _subject(quantum: Quantum) -> dict[str, Any]:
    """Everything that is known of what a quantum is about, for a lookup."""
    known = dict(quantum.data_id)
    for record in _exposures(quantum):
        told = {**(record["extra"] or {}), "physical_filter": record["physical_filter"]}
        for key, value in told.items():
            if value is not None:
                known.setdefault(key, value)
    return known


def _exposures(quantum: Quantum) -> list[Mapping[str, Any]]:
    return [record for records in quantum.records.values() for record in records]


def _circumstances(quantum: Quantum) -> Mapping[str, float | str]:
    """Tell the facts that its exposures have in common, which policies compare."""
    return calibrations.agreed(_exposures(quantum))


def _held(
    connection: sa.Connection,
    kind: Any,
    quanta: Sequence[Quantum],
    inputs: Sequence[str],
    searched: Sequence[collections.Collection],
) -> list[DatasetRef | None]:
    lookup = kind.lookup_dimensions
    if kind.is_calibration:
        asked = [(n, _subject(q), _moment(q)) for n, q in enumerate(quanta)]
        usable = [(n, s, t) for n, s, t in asked if t is not None and set(lookup) <= set(s)]
        compared = calibrations.get_policy(connection, kind).match
        facts = [_circumstances(quanta[n]) for n, _, _ in usable] if compared else None
        refs = calibrations.find_calibrations(
            connection, kind, [(s, t) for _, s, t in usable], searched, facts=facts
        )
        held: list[DatasetRef | None] = [None] * len(quanta)
        for (n, _, _), ref in zip(usable, refs, strict=True):
            held[n] = ref
        return held
    every = {r.data_id: r for r in finding.query_datasets(connection, kind, inputs)}
    return [
        every.get(DataId.of({k: s[k] for k in kind.dimensions if k in s}))
        for s in map(_subject, quanta)
    ]


def _nothing_held(
    connection: sa.Connection,
    name: str,
    quantum: Quantum,
    searched: Sequence[collections.Collection],
    known: set[str],
) -> str:
    at = _moment(quantum)
    subject = _subject(quantum)
    if name in known and at is not None:
        kind = datasets.get_dataset_type(connection, name)
        if kind.is_calibration and set(kind.lookup_dimensions) <= set(subject):
            facts = _circumstances(quantum)
            return calibrations.nearest(connection, kind, subject, at, searched, facts=facts)
    places = ", ".join(f"'{c.name}'" for c in searched)
    return f"No {name} for {quantum.data_id!r} was found; searched {places}."
