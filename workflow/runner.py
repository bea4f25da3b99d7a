"""How is a pipeline run on this machine?

Stage by stage: quanta are built and recorded, executed as soon as their inputs are there, and
calibrations certified before the next stage looks them up. The state is in the database at every
moment: a run that was killed is continued with `resume`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import platform
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backbone.liveness import is_gone
from butler import cameras
from butler.butler import Butler
from registry import calibrations, collections, datasets, provenance
from registry.errors import InvalidState, UnknownCollection
from registry.timespan import Timespan
from workflow import environment
from workflow.config_values import class_name, leaf_values, save_text, value_text
from workflow.errors import WorkflowError
from workflow.processes import executor
from workflow.quanta import Quantum, build

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Collection, Mapping, Sequence

    import sqlalchemy as sa

    from registry.identity import DataId, DatasetRef
    from workflow.pipeline import Pipeline, PipelineTask
    from workflow.processes import Here
    from workflow.worker import Result

__all__ = ["NothingToRun", "RunReport", "WrongCamera", "run_pipeline"]


class NothingToRun(WorkflowError):
    """The pipeline found no quantum to run."""

    code = "nothing-to-run"


class WrongCamera(WorkflowError, ValueError):
    """The pipeline is for a camera that this repository does not have."""

    code = "wrong-camera"

    def __init__(self, wanted: str, known: Sequence[str]) -> None:
        self.wanted = wanted
        super().__init__(
            f"The pipeline is for the camera {wanted}; this repository has "
            f"{', '.join(known) or 'none'}. Name another pipeline, or remove the line `instrument` "
            "from a copy of it."
        )


@dataclass
class RunReport:
    """What became of a run.

    Parameters
    ----------
    run : str
        RUN collection with the outputs.
    states : Counter
        (label, state) to number of quanta.
    failures : list of Result
        Quanta that failed.
    partial : list of Result
        Quanta that are done without some of their outputs, with the reason.
    blocked : list of (Quantum, str)
        Quanta that could not run, with the reason.
    certified : list of str
        One line for each type of calibration that was certified.
    """

    run: str
    states: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[Result] = field(default_factory=list)
    partial: list[Result] = field(default_factory=list)
    blocked: list[tuple[Quantum, str]] = field(default_factory=list)
    certified: list[str] = field(default_factory=list)

    @property
    def succeeded(self) -> bool:
        """Whether no quantum failed or was blocked."""
        return not self.failures and not self.blocked


def run_pipeline(
    root: str | os.PathLike[str],
    pipeline: Pipeline,
    *,
    inputs: Sequence[str],
    output: str,
    where: str = "",
    bind: Mapping[str, Any] | None = None,
    jobs: int = 1,
    resume: bool = False,
    dry_run: bool = False,
    fail_fast: bool = False,
    progress: Callable[[str, str], None] | None = None,
) -> RunReport:
    """Run a pipeline on processes of this machine.

    Parameters
    ----------
    root : path-like
        Folder of the repository.
    pipeline : Pipeline
        What to run.
    inputs : sequence of str
        Collections that are searched, in order.
    output : str
        CHAINED collection: a new RUN below it is put first in it, its calibrations come second and
        the inputs after them.
    where, bind : str, mapping
        Expression that the input datasets fulfil.
    jobs : int
        Processes; 1 runs everything in this one.
    resume : bool
        Continue the last run of ``output``: what is done stays, all else is run.
    dry_run : bool
        Only count the quanta, as if each made all its outputs; nothing is recorded.
    fail_fast : bool
        Start nothing more after a failure.
    progress : callable, optional
        Called with label and state whenever a quantum was built (``ready``) or ended.

    Returns
    -------
    RunReport

    Raises
    ------
    NothingToRun
        If no task has a quantum.
    InvalidState
        If the run to be continued is still at work.
    WrongCamera
        If the pipeline names a camera that the repository does not have.
    """
    with Butler(root, writeable=True) as butler:
        known = sorted({name for p in butler.places for name in cameras.names(p.registry)})
        if pipeline.instrument is not None and pipeline.instrument not in known:
            raise WrongCamera(pipeline.instrument, known)
        runner = _Runner(butler, pipeline, list(inputs), output, where, bind, fail_fast, progress)
        return runner.go(jobs, resume=resume, dry_run=dry_run)


@dataclass
class _Runner:
    butler: Butler
    pipeline: Pipeline
    inputs: list[str]
    output: str
    where: str
    bind: Mapping[str, Any] | None
    fail_fast: bool
    progress: Callable[[str, str], None] | None

    def go(self, jobs: int, *, resume: bool, dry_run: bool) -> RunReport:
        registry = self.butler.registry
        run = self._last_run() if resume else self._new_run()
        report = RunReport(run)
        asked = self.inputs
        if dry_run:
            with registry.undone():
                self.inputs = self._searchable(run)
                self._foresee(run, self._earlier(run) if resume else {}, report)
            return report
        self.inputs = self._searchable(run)
        calibs = f"{self.output}/calib"
        searched = [calibs, *self.inputs] if self._certifies() else self.inputs
        task_ids, environment_id = registry.database.transact(self._record_run, run, searched)
        made: dict[str, list[DatasetRef]] = {}
        with executor(self.butler, run, self.pipeline.tasks, environment_id, jobs) as pool:
            for stage in self.pipeline.stages():
                quanta = self._stage(stage, run, searched, made, task_ids, report)
                self._execute(pool, quanta, made, report)
                for task in stage:
                    self._certify(task, calibs, made, report)
                if self.fail_fast and report.failures:
                    break
        if not report.states:
            raise NothingToRun(
                "No quantum was found: no dataset of "
                f"{', '.join(self.pipeline.overall_inputs())} in {', '.join(asked)} "
                f"fulfils {self.where or 'what the tasks select'!r}."
            )
        return report

    def _searchable(self, run: str) -> list[str]:
        """Make what other repositories have for this run known in this one; say where to search."""
        if not self.butler.inputs:
            with self.butler.registry.read() as connection:
                collections.flatten(connection, self.inputs)
            return self.inputs
        wanted, held = self._from_outside()
        return self.butler.freeze_inputs(
            f"{run}/inputs",
            self.inputs,
            wanted=wanted,
            held=held,
            bind={**self.pipeline.parameters, **(self.bind or {})},
            sky=any({"tract", "patch"} & set(task.dimensions) for task in self.pipeline),
        )

    def _from_outside(self) -> tuple[dict[str, str], list[str]]:
        """List what no task makes: types with their conditions, and types that are looked up."""
        conditions: dict[str, list[str]] = {}
        held: dict[str, None] = {}
        for task in self.pipeline:
            for name, connection in task.connections.inputs.items():
                if self.pipeline.producer(connection.dataset_type) is None:
                    both = (task.select.get(name, ""), self.where)
                    condition = " AND ".join(f"({c})" for c in both if c.strip())
                    conditions.setdefault(connection.dataset_type, []).append(condition)
            held |= {c.dataset_type: None for c in task.connections.prerequisites.values()}
        wanted = {
            kind: "" if "" in each else " OR ".join(f"({c})" for c in dict.fromkeys(each))
            for kind, each in conditions.items()
        }
        return wanted, list(held)

    def _certifies(self) -> bool:
        return any(task.certify for task in self.pipeline)

    def _new_run(self) -> str:
        stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        return f"{self.output}/{stamp}"

    def _last_run(self) -> str:
        chained = {c.name: c for c in self.butler.registry.collections()}
        if self.output not in chained:
            raise UnknownCollection(
                self.output, chained, remedy="There is no run to continue; leave --resume out."
            )
        run = chained[self.output].children[0]
        with self.butler.registry.read() as connection:
            quanta = provenance.quanta_of_run(connection, run)
        at_work = {
            q["pid"]
            for q in quanta
            if q["state"] == "running"
            and q["host"] == platform.node()
            and q["pid"] != os.getpid()
            and not is_gone(q["host"], q["pid"], q["started_at"])
        }
        if at_work:
            listed = ", ".join(map(str, sorted(at_work)))
            raise InvalidState(
                f"The run '{run}' is still at work (process {listed}); wait until it has ended, or "
                "end it, and continue it then."
            )
        return run

    def _record_run(
        self, connection: sa.Connection, run: str, searched: Sequence[str]
    ) -> tuple[dict[str, int], int]:
        """Register the run, its dataset types, tasks, configurations and environment."""
        collections.register(connection, run, "RUN")
        if self._certifies():
            collections.register(connection, f"{self.output}/calib", "CALIBRATION")
        collections.chain(
            connection, self.output, [run, *(c for c in searched if c != self.output)]
        )
        for kind in self.pipeline.dataset_types().values():
            if self.pipeline.producer(kind.name) is not None:
                datasets.register_dataset_type(connection, kind)
        software = environment.current()
        environment_id = provenance.record_environment(connection, *software)
        keys = {}
        for task in self.pipeline:
            values = [(v.path, value_text(v.value), v.type) for v in leaf_values(task.config)]
            config_id = provenance.record_config(
                connection, class_name(task.config), save_text(task.config), values
            )
            history = [
                provenance.HistoryEntry(path, step.text, step.kind, step.origin, step.by, step.at)
                for path, steps in task.history.items()
                for step in steps
            ]
            keys[task.label] = provenance.record_task(
                connection, run, task.label, task.class_name, config_id, history, self.pipeline.name
            )
        return keys, environment_id

    def _built(
        self,
        task: PipelineTask,
        run: str,
        made: Mapping[str, Sequence[DatasetRef]],
        searched: Sequence[str],
        promised: Collection[str] = (),
    ) -> list[Quantum]:
        return build(
            self.butler,
            task,
            run=run,
            inputs=searched,
            where=self.where,
            bind={**self.pipeline.parameters, **(self.bind or {})},
            made=made,
            promised=promised,
        )

    def _earlier(self, run: str) -> dict[tuple[str, DataId], dict[str, Any]]:
        """Read the quanta that an earlier attempt recorded, by label and data ID."""
        with self.butler.registry.read() as connection:
            quanta = provenance.quanta_of_run(connection, run)
        return {(q["label"], q["data_id"]): q for q in quanta}

    def _foresee(
        self, run: str, earlier: Mapping[tuple[str, DataId], Mapping[str, Any]], report: RunReport
    ) -> None:
        """Count quanta stage by stage, each with the outputs that the ones before it would make."""
        made: dict[str, list[DatasetRef]] = {}
        promised: set[str] = set()
        for task in (t for stage in self.pipeline.stages() for t in stage):
            for quantum in self._built(task, run, made, self.inputs, promised):
                before = earlier.get((quantum.label, quantum.data_id), {}).get("state")
                state = before if before in ("done", "no_work") else "ready"
                if quantum.problem:
                    state = "blocked"
                    report.blocked.append((quantum, quantum.problem))
                self._count(report, quantum, state)
                for ref in (r for refs in quantum.outputs.values() for r in refs):
                    if state in ("done", "ready"):
                        made.setdefault(ref.dataset_type.name, []).append(ref)
            for connection in task.connections.outputs.values():
                made.setdefault(connection.dataset_type, [])
            promised |= {task.connections[name].dataset_type for name in task.certify}

    def _stage(
        self,
        stage: Sequence[PipelineTask],
        run: str,
        searched: Sequence[str],
        made: dict[str, list[DatasetRef]],
        task_ids: Mapping[str, int],
        report: RunReport,
    ) -> list[Quantum]:
        """Build and record the quanta of a stage; those of an earlier attempt keep theirs."""
        database = self.butler.registry.database
        earlier = self._earlier(run)
        with database.read() as connection:
            ended = [q["id"] for q in earlier.values() if q["state"] == "done"]
            outputs = provenance.outputs_of(connection, ended)
            kept = datasets.get_refs(connection, [d for ids in outputs.values() for d in ids])
        predicted = {k: list(v) for k, v in made.items()}
        ready: list[Quantum] = []
        for task in stage:
            quanta = []
            for quantum in self._built(task, run, predicted, searched):
                before = earlier.get((quantum.label, quantum.data_id))
                if before is not None and before["state"] in ("done", "no_work"):
                    self._count(report, quantum, before["state"])
                    for ref in (kept[d] for d in outputs.get(before["id"], ())):
                        predicted.setdefault(ref.dataset_type.name, []).append(ref)
                        made.setdefault(ref.dataset_type.name, []).append(ref)
                    continue
                if before is not None:
                    quantum = dataclasses.replace(quantum, id=before["id"])
                quanta.append(quantum)
                if not quantum.problem:
                    for refs in quantum.outputs.values():
                        for ref in refs:
                            predicted.setdefault(ref.dataset_type.name, []).append(ref)
            for name in (c.dataset_type for c in task.connections.outputs.values()):
                predicted.setdefault(name, [])
            known = {q["id"] for q in earlier.values()}
            database.transact(self._record_quanta, task_ids[task.label], quanta, known)
            for quantum in quanta:
                if quantum.problem:
                    report.blocked.append((quantum, quantum.problem))
                    self._count(report, quantum, "blocked")
                else:
                    ready.append(quantum)
                    if self.progress is not None:
                        self.progress(quantum.label, "ready")
        return ready

    def _record_quanta(
        self,
        connection: sa.Connection,
        task_id: int,
        quanta: Sequence[Quantum],
        known: set[uuid.UUID],
    ) -> None:
        provenance.reset(connection, [q.id for q in quanta if q.id in known])
        fresh = [q for q in quanta if q.id not in known]
        rows = [provenance.QuantumRow(q.id, q.data_id) for q in fresh]
        provenance.insert_quanta(connection, task_id, rows)
        provenance.block(connection, {q.id: q.problem for q in quanta if q.problem})

    def _count(self, report: RunReport, quantum: Quantum, state: str) -> None:
        report.states[quantum.label, state] += 1
        if self.progress is not None:
            self.progress(quantum.label, state)

    def _execute(
        self,
        pool: Here,
        quanta: Sequence[Quantum],
        made: dict[str, list[DatasetRef]],
        report: RunReport,
    ) -> None:
        """Execute quanta as their inputs come into being; block those whose inputs do not."""
        makers = {r.id: q.id for q in quanta for refs in q.outputs.values() for r in refs}
        waiting: dict[uuid.UUID, set[uuid.UUID]] = {}
        heirs: dict[uuid.UUID, list[Quantum]] = {}
        for quantum in quanta:
            needs = {
                makers[r.id] for refs in quantum.inputs.values() for r in refs if r.id in makers
            }
            waiting[quantum.id] = needs
            for need in needs:
                heirs.setdefault(need, []).append(quantum)
        for result in pool.run([q for q in quanta if not waiting[q.id]]):
            self._count(report, result.quantum, result.state)
            for ref in result.made:
                made.setdefault(ref.dataset_type.name, []).append(ref)
            if result.state == "done" and result.error:
                report.partial.append(result)
            if result.state == "failed":
                report.failures.append(result)
                if self.fail_fast:
                    pool.stop()
            for heir in self._released(
                result.quantum, {r.id for r in result.made}, waiting, heirs, report
            ):
                pool.submit(heir)

    def _released(
        self,
        ended: Quantum,
        made: set[uuid.UUID],
        waiting: dict[uuid.UUID, set[uuid.UUID]],
        heirs: dict[uuid.UUID, list[Quantum]],
        report: RunReport,
    ) -> list[Quantum]:
        """Find the quanta that may start now; block those left without an input they need."""
        released: list[Quantum] = []
        lost = {r.id for refs in ended.outputs.values() for r in refs} - made
        for heir in heirs.pop(ended.id, []):
            waiting[heir.id].discard(ended.id)
            left = self._without(heir, lost) if lost else heir
            if left is not heir:
                for need in waiting[heir.id]:
                    heirs[need] = [left if h.id == heir.id else h for h in heirs[need]]
            if waiting[heir.id]:
                continue
            problem = self._short_of(left)
            if not problem:
                released.append(left)
                continue
            self.butler.registry.database.transact(provenance.block, {left.id: problem})
            report.blocked.append((left, problem))
            self._count(report, left, "blocked")
            released += self._released(left, set(), waiting, heirs, report)
        return released

    def _without(self, quantum: Quantum, lost: set[uuid.UUID]) -> Quantum:
        inputs = {
            name: tuple(r for r in refs if r.id not in lost)
            for name, refs in quantum.inputs.items()
        }
        kept = {
            name: tuple(
                f for f, r in zip(facts, quantum.inputs[name], strict=False) if r.id not in lost
            )
            for name, facts in quantum.records.items()
        }
        return dataclasses.replace(quantum, inputs=inputs, records=kept)

    def _short_of(self, quantum: Quantum) -> str:
        task = self.pipeline[quantum.label]
        for name, connection in task.connections.items():
            if connection.is_input and len(quantum.inputs.get(name, ())) < connection.minimum:
                return f"{name}: the {connection.dataset_type} that it needs was not made."
        return ""

    def _certify(
        self,
        task: PipelineTask,
        calibs: str,
        made: Mapping[str, Sequence[DatasetRef]],
        report: RunReport,
    ) -> None:
        """Certify a task's calibrations by the pipeline's rule, anew for each run."""
        for name, rule in task.certify.items():
            kind = task.connections[name].definition()
            refs = list(made.get(kind.name, ()))
            if not refs:
                continue
            nights = {
                (r["instrument"], r["id"]): (r["begin_tai_ns"], r["end_tai_ns"])
                for r in self.butler.registry.query_dimension_records("day_obs")
            }
            ranges = _validity(refs, rule, nights)
            self.butler.registry.database.transact(_recertify, calibs, kind.name, ranges)
            report.certified.append(f"{len(refs)} {kind.name} ({rule}) in {calibs}")


def _validity(
    refs: Sequence[DatasetRef], rule: str, nights: Mapping[tuple[Any, Any], tuple[int, int]]
) -> list[tuple[DatasetRef, Timespan]]:
    """Decide how long calibrations hold: their night, until the next one, or for ever."""
    if rule == "forever":
        return [(ref, Timespan()) for ref in refs]
    grouped: dict[DataId, list[DatasetRef]] = {}
    for ref in refs:
        grouped.setdefault(ref.data_id.subset(ref.dataset_type.lookup_dimensions), []).append(ref)
    ranges = []
    for members in grouped.values():
        spans = sorted(
            ((nights[r.data_id["instrument"], r.data_id["day_obs"]], r) for r in members),
            key=lambda item: item[0],
        )
        for n, ((begin, end), ref) in enumerate(spans):
            until: int | None = end
            if rule == "until-next":
                until = spans[n + 1][0][0] if n + 1 < len(spans) else None
            ranges.append((ref, Timespan(begin, until)))
    return ranges


def _recertify(
    connection: sa.Connection,
    name: str,
    kind_name: str,
    ranges: Sequence[tuple[DatasetRef, Timespan]],
) -> None:
    """Certify calibrations; what held before in their ranges gives way, what sticks out stays."""
    kind = datasets.get_dataset_type(connection, kind_name)
    collections.register(connection, name, "CALIBRATION")
    by_span: dict[Timespan, list[DataId]] = {}
    for ref, span in ranges:
        by_span.setdefault(span, []).append(ref.data_id.subset(kind.lookup_dimensions))
    for span, keys in by_span.items():
        calibrations.decertify(connection, name, kind, span, keys)
    calibrations.certify_each(connection, name, ranges)
