"""The quanta of a pipeline, found dataset by dataset: what `registry.plans` must agree with.

It asks the registry for every dataset and every record, and joins them by looking.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import calibrations, collections, datasets, dimensions, finding
from registry.data_ids import query_data_ids
from registry.database import rows_of
from registry.identity import DIMENSIONS, DataId, DatasetRef, uuid7
from registry.schema.dimensions import exposure as exposure_table
from registry.schema.dimensions import overlap, visit_exposure
from registry.schema.dimensions import visit as visit_table
from tests.workflow.choosing import RULES
from workflow.errors import NoWorkFound

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping, Sequence

    from workflow.pipeline import PipelineTask


@dataclass(frozen=True)
class Quantum:
    """One unit of work, with the reason why it cannot run."""

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


def build_all(
    connection: sa.Connection,
    tasks: Sequence[PipelineTask],
    *,
    run: str,
    inputs: Sequence[str],
    where: str = "",
) -> list[Quantum]:
    """Find the quanta of all tasks, each with what those before it will make."""
    made: dict[str, list[DatasetRef]] = {}
    quanta: list[Quantum] = []
    for task in tasks:
        own = build(connection, task, run=run, inputs=inputs, where=where, made=made)
        for c in task.connections.outputs.values():
            made[c.dataset_type] = []
        for quantum in own:
            for refs in quantum.outputs.values() if not quantum.problem else ():
                for ref in refs:
                    made[ref.dataset_type.name].append(ref)
        quanta += own
    return quanta


def build(
    connection: sa.Connection,
    task: PipelineTask,
    *,
    run: str,
    inputs: Sequence[str],
    where: str = "",
    bind: Mapping[str, Any] | None = None,
    made: Mapping[str, Sequence[DatasetRef]],
) -> list[Quantum]:
    """Find the quanta of one task."""
    found = {
        name: _expanded(
            connection,
            _datasets(connection, task, name, inputs, where, bind, made),
            task,
        )
        for name in task.connections.inputs
    }
    members, reasons = _grouped(task, found)
    records = _exposure_records(connection, found)
    quanta = [
        _quantum(task, key, grouped, records, reasons.get(key, ""))
        for key, grouped in sorted(members.items(), key=lambda item: item[0].key)
    ]
    quanta = _with_prerequisites(connection, task, quanta, inputs)
    return [_with_outputs(task, q, found, run) for q in _adjusted(task, quanta)]


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


def _expanded(connection: sa.Connection, refs: list[DatasetRef], task: PipelineTask) -> _Found:
    wanted = task.dimensions
    also = {d for c in task.connections.outputs.values() for d in c.dimensions}
    full = dimensions.expand(connection, [r.data_id for r in refs])
    extra = [d for d in wanted if d not in DIMENSIONS]
    if extra:
        full = _with_declared_keys(connection, full, extra)
    many = [[d] for d in full]
    if {"tract", "patch", "skymap"} & set(wanted) or "visit" in {*wanted, *also}:
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
    """Give each data ID its visits, and as many copies as patches that its region touches."""
    visits: dict[Any, list[int]] = {}
    for row in connection.execute(sa.select(visit_exposure)):
        visits.setdefault((row.instrument, row.exposure), []).append(row.visit)
    patches: dict[Any, list[dict[str, Any]]] = {}
    for row in connection.execute(sa.select(overlap)):
        place = {"skymap": row.skymap, "tract": row.tract, "patch": row.patch}
        patches.setdefault((row.instrument, row.visit, row.detector), []).append(place)
    result = []
    for d in data_ids:
        seen = [d]
        if "visit" not in d and "exposure" in d:
            own = visits.get((d["instrument"], d["exposure"]), [])
            seen = [DataId.of({"visit": v, **d}) for v in own] or [d]
        is_seen = "detector" in d and ("exposure" in d or "visit" in d)
        if {"tract", "patch", "skymap"} & set(wanted) and "patch" not in d and is_seen:
            seen = [
                DataId.of({**p, **s})
                for s in seen
                for p in patches.get((s["instrument"], s.get("visit"), s["detector"]), [])
                if all(s.get(k, v) == v for k, v in p.items())
            ]
        result.append(seen)
    return result


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
                    listed = inputs.setdefault(name, [])
                    if ref not in listed:  # an exposure of several visits has several
                        listed.append(ref)
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
    records: Mapping[Any, Mapping[str, Any]],
    problem: str,
) -> Quantum:
    ordered = {
        name: tuple(_in_order_of_time(records, dict.fromkeys(refs)))
        for name, refs in grouped.items()
    }
    facts = {
        name: tuple(
            records[r.data_id.get("instrument"), r.data_id.get("exposure")]
            for r in refs
            if "exposure" in r.data_id
        )
        for name, refs in ordered.items()
    }
    return Quantum(uuid7(), task.label, key, ordered, {}, facts, problem)


def _adjusted(task: PipelineTask, quanta: Sequence[Quantum]) -> list[Quantum]:
    """Do what the task says of each quantum that can run, then of all of them."""
    instance = task.make()
    result = []
    for quantum in quanta:
        if not quantum.problem:
            try:
                kept = instance.adjust_quantum(quantum)  # type: ignore[arg-type]
                quantum = _chosen(task, quantum, kept)
            except NoWorkFound as nothing:
                quantum = replace(quantum, problem=str(nothing))
        result.append(quantum)
    able = [q for q in result if not q.problem]
    answer = instance.adjust_all_quanta(able)  # type: ignore[arg-type]
    return [_chosen(task, q, answer.get(q.id, {})) for q in result]


def _chosen(task: PipelineTask, quantum: Quantum, kept: Any) -> Quantum:
    if isinstance(kept, NoWorkFound):
        return replace(quantum, problem=str(kept))
    left = {**quantum.inputs, **{name: tuple(refs) for name, refs in kept.items()}}
    few = [
        name
        for name, c in {**task.connections.inputs, **task.connections.prerequisites}.items()
        if name in kept and len(left.get(name, ())) < c.minimum
    ]
    return replace(quantum, inputs=left, problem=quantum.problem or ", ".join(few))


def _with_outputs(
    task: PipelineTask, quantum: Quantum, found: Mapping[str, _Found], run: str
) -> Quantum:
    outputs, problem = {}, quantum.problem
    read = {name: refs for name, refs in quantum.inputs.items() if name in found}
    for name, c in task.connections.outputs.items():
        kind = c.definition()
        keys = _keys_of_output(kind.dimensions, quantum.data_id, read, found)
        outputs[name] = tuple(DatasetRef(uuid7(), kind, k, run) for k in keys)
        if not keys and not problem:
            problem = f"{name}: which {kind.name} there will be does not follow from the inputs."
    return replace(quantum, outputs=outputs, problem=problem)


def _keys_of_output(
    wanted: Sequence[str],
    key: DataId,
    grouped: Mapping[str, Sequence[DatasetRef]],
    found: Mapping[str, _Found],
) -> list[DataId]:
    """Predict what an output is made for: the quantum itself, or each of its inputs beyond it."""
    if set(wanted) <= set(key):
        return [key.subset(wanted)]
    keys = set()
    for name, refs in grouped.items():
        for full in (one for ref in refs for one in found[name].of[ref]):
            if all(full.get(d, v) == v for d, v in key.items()):
                merged = {**key, **full}
                if set(wanted) <= set(merged):
                    keys.add(DataId.of(merged).subset(wanted))
    return sorted(keys, key=lambda k: k.key)


def _with_prerequisites(
    connection: sa.Connection,
    task: PipelineTask,
    quanta: Sequence[Quantum],
    inputs: Sequence[str],
) -> list[Quantum]:
    known = {kind.name for kind in datasets.dataset_types(connection)}
    searched = collections.flatten(connection, inputs)
    result = []
    for quantum in quanta:
        for name, wanted in task.connections.prerequisites.items():
            refs: list[DatasetRef] = []
            if wanted.dataset_type in known:
                kind = datasets.get_dataset_type(connection, wanted.dataset_type)
                if wanted.lookup is None:
                    refs = _held(connection, kind, quantum, inputs, searched, wanted.multiple)
                else:
                    rule, _ = RULES[wanted.lookup]
                    refs = rule(quantum.data_id, finding.query_datasets(connection, kind, inputs))
            problem = quantum.problem
            if len(refs) < wanted.minimum and not problem:
                problem = f"no {wanted.dataset_type}"
            records = _exposures_of(connection, [r.data_id for r in refs])
            refs = _in_order_of_time(records, refs)
            found = {**quantum.inputs, **({name: tuple(refs)} if refs else {})}
            quantum = replace(quantum, inputs=found, problem=problem)
        result.append(quantum)
    return result


def _in_order_of_time(
    records: Mapping[Any, Mapping[str, Any]], refs: Iterable[DatasetRef]
) -> list[DatasetRef]:
    def moment(ref: DatasetRef) -> tuple[int, str]:
        record = records.get((ref.data_id.get("instrument"), ref.data_id.get("exposure")))
        return (int(record["begin_tai_ns"]) if record else 0, ref.data_id.key)

    return sorted(refs, key=moment)


def _told(connection: sa.Connection, quantum: Quantum) -> Mapping[str, Any]:
    """Give the record of its own exposure, of the earliest that it reads, or of its visit."""
    d = quantum.data_id
    if "exposure" in d:
        return dict(_exposures_of(connection, [d])[d["instrument"], d["exposure"]])
    if any("exposure" in r.data_id for refs in quantum.inputs.values() for r in refs):
        pairs = [
            (record["begin_tai_ns"], ref.data_id.key, record)
            for name, records in quantum.records.items()
            for ref, record in zip(
                [r for r in quantum.inputs[name] if "exposure" in r.data_id], records, strict=True
            )
        ]
        return min(pairs, key=lambda p: p[:2])[2]
    v = visit_table.c
    if "visit" in d:
        asked = sa.select(visit_table).where(v.instrument == d["instrument"], v.id == d["visit"])
        return dict(connection.execute(asked).mappings().one())
    return {}


def _held(
    connection: sa.Connection,
    kind: Any,
    quantum: Quantum,
    inputs: Sequence[str],
    searched: Sequence[collections.Collection],
    multiple: bool,
) -> list[DatasetRef]:
    told = _told(connection, quantum)
    subject = dict(quantum.data_id)
    more = {**(told.get("extra") or {})} if "exposure_time" in told and "visit" not in told else {}
    for key in ("instrument", "day_obs", "physical_filter"):
        more[key] = told.get(key)
    for key, value in more.items():
        if value is not None:
            subject.setdefault(key, value)
    if {"instrument", "physical_filter"} <= set(subject):
        [full] = dimensions.expand(
            connection, [{k: subject[k] for k in ("instrument", "physical_filter")}]
        )
        subject = {**full, **subject}
    if kind.is_calibration:
        if not told or not set(kind.lookup_dimensions) <= set(subject):
            return []
        facts = [_circumstances(connection, quantum)]
        at = int(told["begin_tai_ns"])
        found = calibrations.find_calibrations(
            connection, kind, [(subject, at)], searched, facts=facts
        )
        return [ref for ref in found if ref is not None]
    shared = [k for k in kind.dimensions if k in subject]
    if len(shared) < len(kind.dimensions) and not multiple:
        return []
    return [
        ref
        for ref in finding.query_datasets(connection, kind, inputs)
        if all(ref.data_id[k] == subject[k] for k in shared)
    ]


def _circumstances(connection: sa.Connection, quantum: Quantum) -> Mapping[str, float | str]:
    """Tell the facts that its exposures have in common, which policies compare."""
    d = quantum.data_id
    if "exposure" in d:
        return calibrations.agreed(list(_exposures_of(connection, [d]).values()))
    records = {r["id"]: r for records in quantum.records.values() for r in records}
    return calibrations.agreed(list(records.values()))
