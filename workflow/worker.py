"""How is one quantum executed, and its outcome recorded with its outputs?

The same code runs in the process of the command and in the persistent worker processes. A quantum
is taken by a conditional update, its outputs are kept until the task is done, and then files,
datasets, provenance and state are recorded in one transaction.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import platform
import resource
import time
import traceback
from cProfile import Profile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from butler.butler import Butler, Deferred
from registry import provenance
from registry.errors import DatabaseUnavailable, InvalidState
from workflow import logs
from workflow.errors import InvalidQuantum, NoWorkFound, PartialOutputs, TaskError, kind_of
from workflow.logs.setup import TOLD
from workflow.metadata import Metadata
from workflow.multicore.grants import granted, use

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import sqlalchemy as sa

    from registry.identity import DataId, DatasetRef
    from workflow.pipeline import PipelineTask
    from workflow.quanta import Quantum
    from workflow.task import SuperTask

__all__ = ["Context", "Result", "Worker"]

_KEYS_OF = {
    "exposure": {"instrument", "exposure"},
    "visit": {"instrument", "visit"},
    "detector": {"instrument", "detector"},
    "physical_filter": {"instrument", "physical_filter"},
    "day_obs": {"instrument", "day_obs"},
    "tract": {"skymap", "tract"},
    "patch": {"skymap", "tract", "patch"},
}
_log = logging.getLogger("skyspine.worker")


@dataclass(frozen=True)
class Result:
    """How a quantum ended.

    Parameters
    ----------
    quantum : Quantum
        Which one.
    state : str
        done, no_work or failed.
    made : tuple of DatasetRef
        What it stored.
    error : str
        For failed the class and text of the error; for done what kept it from being complete.
    trace : str
        The traceback, for failed.
    kind : str or None
        What kind of error it was (`workflow.errors.kind_of`).
    not_taken : bool
        Whether another process has it, so that nothing was done here.
    """

    quantum: Quantum
    state: str
    made: tuple[DatasetRef, ...] = ()
    error: str = ""
    trace: str = ""
    kind: str | None = None
    not_taken: bool = False


class Context:
    """What a task is given to process one quantum; see `workflow.task.QuantumContext`."""

    def __init__(self, butler: Butler, task: PipelineTask, quantum: Quantum) -> None:
        self._butler = butler
        self._task = task
        self._quantum = quantum
        self.metadata = Metadata()
        self.written: list[tuple[str, Any, DatasetRef]] = []
        self.read = [(name, ref.id) for name, ref in task.init_refs.items()]

    @property
    def root(self) -> str:
        """Folder of the repository, or the graph file."""
        return self._butler.repository.address

    @property
    def data_id(self) -> DataId:
        """The quantum's data ID."""
        return self._quantum.data_id

    @property
    def refs(self) -> Mapping[str, Sequence[DatasetRef]]:
        """The datasets by connection."""
        return {**self._quantum.inputs, **self._quantum.outputs}

    @property
    def records(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """The exposure records by input connection."""
        return self._quantum.records

    def fulfils(self, where: str) -> bool:
        """Tell whether the data ID fulfils an expression."""
        dimensions = list(self.data_id)
        return bool(self._butler.query_data_ids(dimensions, where=where, data_id=self.data_id))

    def dimension_record(self, element: str) -> Mapping[str, Any]:
        """Read the record of one of the data ID's dimensions, as for the pixel grid of a patch."""
        keys = {d: v for d, v in self.data_id.items() if d in _KEYS_OF.get(element, {element})}
        records = self._butler.query_dimension_records(element, data_id=keys)
        if len(records) != 1:
            raise InvalidQuantum(f"{self.data_id!r} does not name one {element}.")
        return records[0]

    def get(self, name: str) -> Any:
        """Read an input: an object, or a list for ``multiple``; handles for ``defer_load``."""
        connection = self._task.connections[name]
        refs = self._quantum.inputs.get(name, ())
        if connection.defer_load:
            objects: list[Any] = [_Handle(self, name, self._butler.get_deferred(r)) for r in refs]
        else:
            objects = [self._butler.get(ref) for ref in refs]
            self.read += [(name, ref.id) for ref in refs]
        return objects if connection.multiple else (objects[0] if objects else None)

    def put(self, name: str, obj: Any) -> None:
        """Keep an output; it is stored when the task is done.

        Parameters
        ----------
        obj : object
            For ``multiple`` a sequence that goes with ``refs[name]``; None for one not made.

        Raises
        ------
        TaskError
            If the sequence is longer or shorter than that.
        """
        refs = self._quantum.outputs[name]
        objects = list(obj) if self._task.connections[name].multiple else [obj]
        if len(objects) != len(refs):
            raise TaskError(
                f"'{name}': {len(objects)} objects for {len(refs)} datasets "
                f"({', '.join(repr(r.data_id) for r in refs[:3])}, ...); give one for each, in "
                "that order, and None for one that was not made."
            )
        self.written += [
            (name, one, ref) for one, ref in zip(objects, refs, strict=True) if one is not None
        ]


class _Handle:
    """A dataset that counts as an input only when it is read."""

    def __init__(self, context: Context, name: str, deferred: Deferred) -> None:
        self._context = context
        self._name = name
        self._deferred = deferred
        self.ref = deferred.ref

    def get(self, **how: Any) -> Any:
        """Read it, or a part of it; see `butler.butler.Deferred`."""
        self._context.read.append((self._name, self.ref.id))
        return self._deferred.get(**how)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to a rank in another process, which reads it there: it counts as read."""
        self._context.read.append((self._name, self.ref.id))
        return _Elsewhere, (self._context.root, self.ref)


class _Elsewhere:
    """A dataset that a rank of a multi-node task reads, through a Butler of its own process."""

    def __init__(self, root: str, ref: DatasetRef) -> None:
        self._root = root
        self.ref = ref

    def get(self, **how: Any) -> Any:
        """Read it, or a part of it; see `butler.butler.Deferred`."""
        return _butler_of(self._root).get(self.ref, **how)


@functools.cache
def _butler_of(root: str) -> Butler:
    return Butler(root)


class Worker:
    """Executes quanta of a pipeline against one repository.

    Parameters
    ----------
    root : str
        Folder of the repository.
    run : str
        RUN collection that outputs go to.
    tasks : sequence of PipelineTask
        The tasks whose quanta it may be given.
    environment_id : int
        Key of the software environment.
    profile : bool
        Whether to count what the quanta of each task call.
    on_error : callable, optional
        Called with the error of a quantum that fails, before it is recorded.
    """

    def __init__(
        self,
        root: str,
        run: str,
        tasks: Sequence[PipelineTask],
        environment_id: int,
        *,
        profile: bool = False,
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        self.butler = Butler(root, run=run)
        self._run_name = run
        self._log = logs.capture(self.butler.registry.database.url)
        self._tasks = {t.label: t for t in tasks}
        self._made: dict[tuple[str, str | None], SuperTask] = {}
        self._environment_id = environment_id
        self._by = (platform.node(), os.getpid())
        self._counts: dict[str, Profile] | None = {} if profile else None
        self._on_error = on_error

    @property
    def profiles(self) -> dict[str, Any]:
        """What was counted so far, by label of the task, as `cProfile` has it."""
        found = {}
        for label, count in (self._counts or {}).items():
            count.create_stats()
            found[label] = vars(count)["stats"]
        return found

    def close(self) -> None:
        """Write what was logged, and close the connections to the database."""
        self._log.close()
        self.butler.close()

    def execute(self, quantum: Quantum) -> Result:
        """Run one quantum and record its outcome; what is logged meanwhile is kept with it."""
        about = {"quantum": quantum.id, "run": self._run_name, "label": quantum.label}
        with self._log.quantum(**{**quantum.data_id, **about}), self._counting(quantum.label):
            return self._execute(quantum)

    @contextlib.contextmanager
    def _counting(self, label: str) -> Iterator[None]:
        if self._counts is None:
            yield
            return
        with self._counts.setdefault(label, Profile()):
            yield

    def _execute(self, quantum: Quantum) -> Result:
        database = self.butler.registry.database
        try:
            database.transact(provenance.start, quantum.id, self._environment_id, *self._by)
        except InvalidState as error:
            return Result(quantum, "failed", error=str(error), not_taken=True)
        task = self._tasks[quantum.label]
        context = Context(self.butler, task, quantum)
        began, cpu = time.perf_counter(), time.process_time()
        instance: SuperTask | None = None
        try:
            instance = self._instance(task, quantum.variant)
            partly = self._run(instance, context)
            outcome = self._outcome("done", instance, context, began, cpu, partly)
            made = self._store(quantum, context, outcome)
        except NoWorkFound as nothing:
            outcome = self._outcome("no_work", instance, context, began, cpu, nothing)
            self._end(quantum, outcome, context.read)
            return Result(quantum, "no_work", error=str(nothing))
        except DatabaseUnavailable:
            raise  # nothing can be recorded, and perhaps all was: a run that is continued finds out
        except Exception as error:  # noqa: BLE001 (whatever a task raises becomes its outcome)
            outcome = self._outcome("failed", instance, context, began, cpu, error)
            if self._on_error is not None:
                self._on_error(error)
            self._end(quantum, outcome)
            told = f"{type(error).__name__}: {error}"
            _log.exception("Failed: %s", told, extra={TOLD: True})
            return Result(
                quantum, "failed", error=told, trace=traceback.format_exc(), kind=kind_of(error)
            )
        kind = None if partly is None else kind_of(partly)
        return Result(quantum, "done", made, error=str(partly or ""), kind=kind)

    def _run(self, instance: SuperTask, context: Context) -> PartialOutputs | None:
        """Run the task; what it had put when it gave up on the rest is kept."""
        try:
            with use(granted().limited(instance.ranks * instance.cores)):
                instance.run_quantum(context)
        except PartialOutputs as partly:
            return partly
        return None

    def _end(
        self,
        quantum: Quantum,
        outcome: provenance.Outcome,
        read: Sequence[tuple[str, uuid.UUID]] = (),
    ) -> None:
        """Record the outcome of a quantum that made nothing."""
        with contextlib.suppress(InvalidState):  # another process has it now, and tells its own
            self.butler.registry.database.transact(
                provenance.finish, quantum.id, outcome, (), read, by=self._by
            )

    def _instance(self, task: PipelineTask, variant: str | None) -> SuperTask:
        key = (task.label, variant)
        if key not in self._made:
            self._made[key] = task.make(
                {name: self.butler.get(ref) for name, ref in task.init_refs.items()}, variant
            )
        instance = self._made[key]
        instance.metadata.clear()
        return instance

    def _store(
        self, quantum: Quantum, context: Context, outcome: provenance.Outcome
    ) -> tuple[DatasetRef, ...]:
        outputs = [(name, ref.id) for name, _, ref in context.written]

        def finish(connection: sa.Connection) -> None:
            provenance.finish(connection, quantum.id, outcome, outputs, context.read, by=self._by)

        items = [(obj, ref) for _, obj, ref in context.written]
        self.butler.store(items, {"SKYS_QID": str(quantum.id)}, finish)
        return tuple(ref for _, ref in items)

    def _outcome(
        self,
        state: str,
        instance: SuperTask | None,
        context: Context,
        began: float,
        cpu: float,
        error: Exception | None = None,
    ) -> provenance.Outcome:
        recorded = context.metadata
        metadata = recorded.to_json()
        metrics = dict(recorded.numbers())
        if instance is not None:
            metadata = {**instance.metadata.to_json(), **metadata}
            metrics = {**instance.metadata.numbers(), **metrics}
        more = getattr(error, "metadata", None)
        if more:
            metadata["error"] = Metadata(more).to_json()
        return provenance.Outcome(
            state=state,
            wall_s=time.perf_counter() - began,
            cpu_s=time.process_time() - cpu,
            max_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            metadata=metadata,
            metrics={k: float(v) for k, v in metrics.items()},
            exception_class=None if error is None else type(error).__name__,
            exception_message=None if error is None else str(error)[:4000],
            error_kind=None if error is None else kind_of(error),
        )
