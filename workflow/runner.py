"""How is a pipeline run on this machine?

The quanta of all its tasks are planned in one transaction, executed as soon as their inputs are
there, and calibrations certified before a later stage looks them up. The state is in the database
at every moment: a run that was killed is continued with `resume`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone.liveness import at_work, is_gone
from butler import cameras
from butler.butler import Butler
from butler.errors import GraphFileError
from registry import collections, datasets, plans, provenance
from registry.errors import InvalidState, UnknownCollection
from workflow import environment, profiles, recorded_configs, recorded_pipelines
from workflow.adjusting import adjust
from workflow.certifying import certify_run
from workflow.errors import WorkflowError
from workflow.frontier import PAGE, Frontier
from workflow.initializing import initialize
from workflow.modes import Contradiction, Mode, leading_to
from workflow.processes import Manner, check_portable, executor
from workflow.quanta import planned_tasks
from workflow.variants import vary

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    import sqlalchemy as sa

    from workflow.pipeline import Pipeline, PipelineTask
    from workflow.processes import Here
    from workflow.worker import Result

__all__ = ["NothingToRun", "RunReport", "Runner", "WrongCamera", "run_pipeline"]


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


NEW = Mode()
"""A new run that makes everything."""
TOLD = 1_000
"""Of each kind of trouble, so many quanta are told one by one; all of them are counted."""


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
        Quanta that failed; the first 1000.
    partial : list of Result
        Quanta that are done without some of their outputs, with the reason; the first 1000.
    blocked : list of (Blocked, str)
        Quanta that could not run (label, data_id), with the reason; the first 1000.
    certified : list of str
        One line for each type of calibration that was certified.
    profiles : list of Path
        Files with what tasks called: one with all, and one for each task.
    selected : dict
        (label, expression) to the number of quanta that were planned with what the configuration
        says for these data IDs.
    """

    run: str
    states: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[Result] = field(default_factory=list)
    partial: list[Result] = field(default_factory=list)
    blocked: list[tuple[plans.Blocked, str]] = field(default_factory=list)
    certified: list[str] = field(default_factory=list)
    profiles: list[Path] = field(default_factory=list)
    selected: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        """Whether no quantum failed or was blocked."""
        return not any(n for (_, state), n in self.states.items() if state in _TROUBLE)


_TROUBLE = ("failed", "blocked")


def run_pipeline(
    root: str | os.PathLike[str],
    pipeline: Pipeline,
    *,
    inputs: Sequence[str],
    output: str,
    where: str = "",
    bind: Mapping[str, Any] | None = None,
    jobs: int = 1,
    timeout: float = 0.0,
    mode: Mode = NEW,
    resume: bool = False,
    dry_run: bool = False,
    fail_fast: bool = False,
    plan_only: bool = False,
    profile: str | os.PathLike[str] | None = None,
    on_error: Callable[[Exception], None] | None = None,
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
        CHAINED collection: a new RUN below it is put first in it; its calibrations, earlier runs
        and the inputs follow.
    where, bind : str, mapping
        Expression that the input datasets fulfil.
    jobs : int
        Processes; no more work at a time than cores and memory are granted (`workflow.multicore`).
        1 runs everything in this one, unless a task has a limit of time or memory, which takes a
        process that can be ended.
    timeout : float
        After how long a quantum is given up, unless the `resources` of its task say so [s]; 0 for
        never.
    mode : Mode
        How it stands to the runs before it; a new run that makes everything by default.
    resume : bool
        The same as ``Mode(resume=True)``: continue the last run of ``output``.
    dry_run : bool
        Only count the quanta, as if each made all its outputs; nothing is recorded.
    fail_fast : bool
        Start nothing more after a failure.
    plan_only : bool
        Record the run with its quanta, and what tasks know when they are made; execute none.
    profile : path-like, optional
        File that is to have what the tasks called, for `pstats`; another beside it for each task.
    on_error : callable, optional
        Called with each error that a task raises, in this process, before it is recorded; not with
        several processes or a timeout.
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
    GraphFileError
        If it is no repository, but a graph file.
    WrongCamera
        If the pipeline names a camera that the repository does not have.
    NotEnoughMemory
        If a quantum of a task needs more memory than there is.
    CannotTravel
        If other processes are to run a task that was defined in a notebook.
    Contradiction
        If the words of the mode exclude each other, or it asks for what the pipeline does not make.
    """
    if resume:
        mode = dataclasses.replace(mode, resume=True)
    if mode.only:
        pipeline = pipeline.part(leading_to(pipeline, mode.only))
    if on_error is not None and (jobs > 1 or timeout):
        raise Contradiction(
            "A quantum is looked into where it fails, in one process and without a timeout; leave "
            "--jobs and --timeout out, or --debugger."
        )
    manner = Manner(jobs, timeout, profile is not None, on_error)
    if not (dry_run or plan_only):
        check_portable(manner, pipeline)
    if profile is not None:
        profiles.check(Path(profile))
    with Butler(root, writeable=True) as butler:
        if butler.repository.file is not None:
            raise GraphFileError(
                f"{root} is a graph file: it has its quanta; execute them with: skyspine graph run "
                f"{root}"
            )
        known = sorted({name for p in butler.places for name in cameras.names(p.registry)})
        if pipeline.instrument is not None and pipeline.instrument not in known:
            raise WrongCamera(pipeline.instrument, known)
        runner = Runner(
            butler, pipeline, list(inputs), output, where, bind, mode, fail_fast, progress
        )
        report, counted = runner.go(manner, dry_run=dry_run, plan_only=plan_only)
    if profile is not None and not (dry_run or plan_only):
        report.profiles = profiles.write(Path(profile), counted)
    return report


@dataclass
class Runner:
    """A run at work: what is planned, what has become of it, and what is to be done next."""

    butler: Butler
    pipeline: Pipeline
    inputs: list[str]
    output: str
    where: str
    bind: Mapping[str, Any] | None
    mode: Mode
    fail_fast: bool
    progress: Callable[[str, str], None] | None
    tasks: dict[int, plans.PlannedTask] = field(default_factory=dict)
    selected: dict[tuple[str, str], int] = field(default_factory=dict)

    def go(
        self, manner: Manner, *, dry_run: bool, plan_only: bool = False
    ) -> tuple[RunReport, list[dict[str, Any]]]:
        """Plan the run, and execute it stage by stage; see `run_pipeline`.

        Returns
        -------
        tuple
            The report, and what each process counted.
        """
        registry = self.butler.registry
        run = self._new_run() if self.mode.is_new else self._last_run()
        asked = self.inputs
        if dry_run:
            with registry.undone() as connection:
                self.inputs = self._searchable(run)
                return self._foresee(connection, run), []
        self.inputs = self._searchable(run)
        report = RunReport(run)
        environment.current()  # looks at every package: not while others wait for this one to write
        environment_id, spared = registry.database.transact(self._begin, run)
        self.take_stock(report, ready=True)
        report.states.update(spared)
        report.selected = self.selected
        stages = self.pipeline.stages()
        tasks = initialize(self.butler, self.pipeline, run, self.inputs, environment_id)
        with executor(self.butler, run, tasks, environment_id, manner) as pool:
            for n, stage in enumerate(stages):
                if n:
                    later = [task for stage in stages[n:] for task in stage]
                    self._keep_promises(stage, later, report)
                if not plan_only:
                    self.execute(pool, stage, report)
                if self._waits(stage, run, ("away", "ready") if plan_only else ("away",)):
                    break  # what is certified is certified when all of it is there
                for task in stage:
                    self._certify(task, report)
                if self.fail_fast and report.failures:
                    break
        if plan_only:
            report.states |= Counter(self._counts(run))
        if not report.states:
            raise NothingToRun(
                "No quantum was found: no dataset of "
                f"{', '.join(self.pipeline.overall_inputs())} in {', '.join(asked)} "
                f"fulfils {self.where or 'what the tasks select'!r}."
            )
        self.tell_blocked(report)
        return report, pool.profiles

    @property
    def _calibs(self) -> str:
        return f"{self.output}/calib"

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
                self.output,
                chained,
                remedy="There is no run to go on with; leave --resume or --extend out.",
            )
        run = chained[self.output].children[0]
        with self.butler.registry.read() as connection:
            quanta = provenance.quanta_of_run(connection, run, states=("running",))
        if pids := at_work(quanta):
            listed = ", ".join(map(str, pids))
            raise InvalidState(
                f"The run '{run}' is still at work (process {listed}); wait until it has ended, or "
                "end it, and continue it then."
            )
        return run

    def _searched(self) -> list[str]:
        return [self._calibs, *self.inputs] if self._certifies() else self.inputs

    def _begin(self, connection: sa.Connection, run: str) -> tuple[int, dict[tuple[str, str], int]]:
        """Record the run and plan its quanta: a run is there with all of them, or not at all.

        Returns
        -------
        tuple
            Key of the software environment, and by label and word how many quanta are not needed.
        """
        earlier = self._chain_run(connection, run)
        keys = self._record_run(connection, run)
        planned = planned_tasks(connection, self.pipeline, keys)
        reuses = self.mode.skip_existing
        if self.mode.extend:
            running = provenance.quanta_of_run(connection, run, states=("running",))
            left = [q for q in running if is_gone(q["host"], q["pid"], q["started_at"])]
            provenance.reset(connection, [q["id"] for q in left])
        if not self.mode.is_new:
            recorded_pipelines.check_same(connection, run, self.pipeline)
            reuses = plans.has_reused(connection, planned)
            plans.unplan(connection, planned, self.mode.renewed)

        def adjusted(connection: sa.Connection, task: plans.PlannedTask) -> None:
            varied, counts = vary(connection, self.pipeline[task.label], task)
            self.selected |= {(task.label, where): n for where, n in counts.items()}
            adjust(connection, varied, task)

        existing = plans.plan(
            connection,
            planned,
            self._search(connection, earlier if reuses else ()),
            fresh=self.mode.is_new,
            adjust=adjusted,
        )
        unwanted = (
            plans.drop_unwanted(connection, planned, self.mode.only) if self.mode.only else {}
        )
        provenance.forget_unused(connection, keys.values())
        self.tasks = {t.id: t for t in planned}
        recorded_pipelines.record(
            connection,
            run,
            self.pipeline,
            keys,
            output=self.output,
            inputs=self.inputs,
            where=self.where,
        )
        spared = {(label, "existing"): n for label, n in existing.items() if n}
        spared |= {(label, "unwanted"): n for label, n in unwanted.items()}
        return provenance.record_environment(connection, *environment.current()), spared

    def _search(self, connection: sa.Connection, existing: Sequence[str] = ()) -> plans.Search:
        return plans.Search(
            collections.flatten(connection, self._searched()),
            self.where,
            {**self.pipeline.parameters, **(self.bind or {})},
            collections.flatten(connection, existing) if existing else (),
        )

    def _chain_run(self, connection: sa.Connection, run: str) -> list[str]:
        """Put the run first in the chain of the output, and tell what was in it before."""
        known = {c.name: c.children for c in collections.query(connection, self.output)}
        earlier = [c for c in known.get(self.output, ()) if c not in (run, self._calibs)]
        kept = earlier
        if self.mode.replace and earlier and earlier[0] not in self.inputs:
            kept = earlier[1:]
        collections.register(connection, run, "RUN")
        if self._certifies():
            collections.register(connection, self._calibs, "CALIBRATION")
        calibs = (
            [self._calibs]
            if self._certifies() or self._calibs in known.get(self.output, ())
            else []
        )
        frozen = tuple(
            f"{c}/inputs" for c in earlier
        )  # what earlier runs saw of other repositories
        runs = [c for c in kept if c not in self.inputs and not c.startswith(frozen)]
        inputs = [c for c in self.inputs if c != self.output]
        inputs += [c for c in kept if c in self.inputs and c not in inputs]
        collections.chain(connection, self.output, [run, *calibs, *runs, *inputs])
        return earlier

    def _record_run(self, connection: sa.Connection, run: str) -> dict[str, int]:
        """Register the run's dataset types, tasks and configurations."""
        for kind in self.pipeline.dataset_types().values():
            if self.pipeline.producer(kind.name) is not None:
                datasets.register_dataset_type(connection, kind)
        keys = {}
        for task in self.pipeline:
            keys[task.label] = recorded_configs.record(
                connection,
                run,
                task.label,
                task.class_name,
                task.config,
                task.history,
                self.pipeline.name,
            )
        return keys

    def _foresee(self, connection: sa.Connection, run: str) -> RunReport:
        """Plan as if it were to be run, and count; the caller undoes it."""
        _, spared = self._begin(connection, run)
        report = RunReport(run)
        run_id = collections.get_collection(connection, run).id
        report.states.update(plans.count_quanta(connection, run_id))
        report.states.update(spared)
        report.selected = self.selected
        told = plans.blocked_quanta(connection, run_id, TOLD)
        report.blocked = [(b, b.reason) for b in told]
        return report

    def _progress(self, label: str, state: str, n: int = 1) -> None:
        if self.progress is not None:
            for _ in range(n):
                self.progress(label, state)

    def _count(self, report: RunReport, label: str, state: str, n: int = 1) -> None:
        report.states[label, state] += n
        self._progress(label, state, n)

    def _counts(self, run: str) -> dict[tuple[str, str], int]:
        """Count the quanta of the run by label and state."""
        with self.butler.registry.read() as connection:
            return plans.count_quanta(connection, collections.get_collection(connection, run).id)

    def _waits(self, stage: Sequence[PipelineTask], run: str, states: Sequence[str]) -> bool:
        """Tell whether quanta of a stage are in one of some states."""
        counts = self._counts(run)
        return any(counts.get((task.label, state)) for task in stage for state in states)

    def take_stock(self, report: RunReport, *, ready: bool = False) -> None:
        """Count what has ended and what is blocked besides what is counted already."""
        for (label, state), n in self._counts(report.run).items():
            if state == "ready" and ready:
                self._progress(label, state, n)
            elif state not in ("ready", "running"):
                more = n - report.states[label, state]
                report.states[label, state] = n
                if not ready:
                    self._progress(label, state, more)

    def _keep_promises(
        self, stage: Sequence[PipelineTask], later: Sequence[PipelineTask], report: RunReport
    ) -> None:
        """Look up the calibrations that the stages before have made."""
        by_label = {t.label: t for t in self.tasks.values()}

        def kept(connection: sa.Connection) -> None:
            plans.keep_promises(
                connection,
                [by_label[t.label] for t in stage],
                [by_label[t.label] for t in later],
                self._search(connection),
            )

        self.butler.registry.database.transact(kept)
        self.take_stock(report)

    def execute(self, pool: Here, stage: Sequence[PipelineTask], report: RunReport) -> None:
        """Execute quanta as their inputs come into being; block those whose inputs do not."""
        labels = {task.label for task in stage}
        here = [key for key, t in self.tasks.items() if t.label in labels]
        lossy = not self.mode.is_new or any(
            state not in ("done", "ready") for _, state in report.states
        )
        frontier = Frontier(self.butler.registry.database, self.tasks, here, lossy=lossy)
        for result in pool.run(frontier.next()):
            label = result.quantum.label
            self._count(report, label, result.state)
            frontier.end(result.quantum, whole=_is_whole(result))
            if result.state == "done" and result.error and len(report.partial) < TOLD:
                report.partial.append(result)
            if result.state == "failed":
                if len(report.failures) < TOLD:
                    report.failures.append(result)
                if self.fail_fast:
                    pool.stop()
            if pool.is_short or frontier.n_ended >= PAGE:
                self._go_on(pool, frontier, report)

    def _go_on(self, pool: Here, frontier: Frontier, report: RunReport) -> None:
        """Give what waited for others, and when that is little, what waited for nothing."""
        found, n_blocked = frontier.heirs()
        pool.submit(found, first=True)
        if n_blocked:
            self.take_stock(report)
        if pool.is_short:
            pool.submit(frontier.next())

    def tell_blocked(self, report: RunReport) -> None:
        """Add to a report why quanta are blocked."""
        if any(state == "blocked" for _, state in report.states):
            with self.butler.registry.read() as connection:
                run_id = collections.get_collection(connection, report.run).id
                told = plans.blocked_quanta(connection, run_id, TOLD)
            report.blocked = [(b, b.reason) for b in told]

    def _certify(self, task: PipelineTask, report: RunReport) -> None:
        """Certify a task's calibrations by the pipeline's rule, anew for each run."""
        for name, rule in task.certify.items():
            kind = task.connections[name].dataset_type
            n = self.butler.registry.database.transact(
                certify_run, report.run, self._calibs, kind, rule
            )
            if n:
                report.certified.append(f"{n} {kind} ({rule}) in {self._calibs}")


def _is_whole(result: Result) -> bool:
    """Tell whether a quantum made everything that was planned."""
    planned = sum(len(refs) for refs in result.quantum.outputs.values())
    return result.state == "done" and len(result.made) == planned
