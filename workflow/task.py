"""How is an algorithm written so that it runs anywhere?

A `Task` has a configuration, sub-tasks chosen by that configuration, a logger and metadata named
by its place in the tree, and measures each of its runs.  A `SuperTask` also declares what it reads
and writes (`workflow.connections`) and processes one quantum.  It does not know who runs it: see
`workflow.runner`.
"""

from __future__ import annotations

import functools
import logging
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, cast

from registry.errors import did_you_mean
from workflow.connections import Connection, Connections, check_dimensions, check_task
from workflow.errors import InvalidQuantum, MissingOutput, TaskDefinitionError
from workflow.metadata import Metadata
from workflow.needs import NEEDS, check_needs

if TYPE_CHECKING:
    import uuid

    from registry.identity import DataId, DatasetRef
    from workflow.errors import NoWorkFound
    from workflow.multinode import Geometry, Neighbourhood
    from workflow.quanta import Quantum

__all__ = [
    "QuantumContext",
    "Struct",
    "SuperTask",
    "Task",
    "Usage",
    "measured",
    "timed",
]

_F = TypeVar("_F", bound=Callable[..., Any])


class Struct(SimpleNamespace):
    """The results of a run, by name: ``Struct(bias=image, n_frames=32)``."""

    def to_dict(self) -> dict[str, Any]:
        """Return the results as a dictionary."""
        return dict(vars(self))


@dataclass
class Usage:
    """What a piece of work took.

    Parameters
    ----------
    wall_s, cpu_s : float
        Elapsed and processor time, ended child processes included [s].
    peak_memory_bytes : int
        Largest resident size of this process up to the end of the work [byte].
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0


@contextmanager
def measured() -> Iterator[Usage]:
    """Measure a block; the `Usage` is filled in when it ends, also by an exception."""
    usage = Usage()
    wall, cpu = time.perf_counter(), _cpu_seconds()
    try:
        yield usage
    finally:
        usage.wall_s = time.perf_counter() - wall
        usage.cpu_s = _cpu_seconds() - cpu
        usage.peak_memory_bytes = _peak_memory_bytes()


def timed(method: _F) -> _F:
    """Record what each call of a task's method takes, under ``timing.<method>`` of its metadata.

    ``run`` is recorded without it.  Several calls add up; the peak memory is the largest.  A call
    from within itself (through ``super()``) counts once.
    """
    name = method.__name__

    @functools.wraps(method)
    def recorded(self: Task, *args: Any, **kwargs: Any) -> Any:
        if name in self._running:
            return method(self, *args, **kwargs)
        self._running.add(name)
        usage = Usage()
        try:
            with measured() as usage:
                return method(self, *args, **kwargs)
        finally:
            self._running.discard(name)
            self._note(name, usage)

    return cast("_F", recorded)


def _name_of(cls: type) -> str:
    """Turn a class name into a label: CombineBiasTask to combineBias, ISRTask to isr."""
    bare = re.sub("Task$", "", cls.__name__) or cls.__name__
    return re.sub("^[A-Z]+(?=[A-Z][a-z]|$)|^[A-Z]", lambda m: m.group().lower(), bare)


class Task:
    """A configurable piece of an algorithm.

    Parameters
    ----------
    config : lsst.pex.config.Config, optional
        An instance of ``ConfigClass``; its defaults when omitted.  The task at the top of a tree
        validates and freezes it.
    name : str, optional
        The label in the pipeline, or the field of the parent's configuration; ``default_name`` when
        omitted.
    parent : Task, optional
        The task that this one serves.

    Attributes
    ----------
    config : lsst.pex.config.Config
        The frozen configuration.
    name, path : str
        Its own name, and the dotted name by its place: ``isr.overscan``.
    log : logging.Logger
        ``skyspine.<path>``.
    metadata : Metadata
        What it notes about its run; that of a sub-task is found under its name.
    """

    ConfigClass: ClassVar[Any] = None
    default_name: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "default_name" not in cls.__dict__:
            cls.default_name = _name_of(cls)
        run = cls.__dict__.get("run")
        if callable(run):
            cls.run = timed(run)  # type: ignore[attr-defined]

    def __init__(
        self, config: Any = None, *, name: str | None = None, parent: Task | None = None
    ) -> None:
        cls = type(self)
        config_class = cls.ConfigClass or _empty_config_class()
        if config is None:
            config = config_class()
        elif not isinstance(config, config_class):
            raise TypeError(
                f"{cls.__name__} is configured by {config_class.__name__}, "
                f"not by {type(config).__name__}."
            )
        self.name = name or cls.default_name
        self.path: str = f"{parent.path}.{self.name}" if parent is not None else self.name
        if parent is None:
            config.validate()
            config.freeze()
        self.config = config
        self.log = logging.getLogger(f"skyspine.{self.path}")
        self.metadata = Metadata()
        self._running: set[str] = set()

    def make_subtask(self, name: str, **kwargs: Any) -> None:
        """Make the sub-task that a field of the configuration chooses.

        It becomes the attribute of the field's name.

        Parameters
        ----------
        name : str
            A ``ConfigurableField`` or ``RegistryField`` of the configuration.
        **kwargs
            More arguments for the sub-task.

        Raises
        ------
        TaskDefinitionError
            If the configuration has no such field.
        """
        fields = self.config._fields
        chosen: Any = getattr(self.config, name) if name in fields else None
        if not hasattr(chosen, "apply"):
            able = [n for n in fields if hasattr(getattr(self.config, n), "apply")]
            raise TaskDefinitionError(
                type(self).__name__,
                f"its configuration has no ConfigurableField or RegistryField '{name}' to make a "
                f"sub-task of.{did_you_mean(name, able)}",
            )
        subtask = chosen.apply(name=name, parent=self, **kwargs)
        setattr(self, name, subtask)
        self.metadata[name] = subtask.metadata

    def _note(self, method: str, usage: Usage) -> None:
        """Add what one call of a method took to the metadata."""
        key = f"timing.{method}"
        before = self.metadata.get(key, {})
        self.metadata[key] = {
            "calls": before.get("calls", 0) + 1,
            "wall_s": before.get("wall_s", 0.0) + usage.wall_s,
            "cpu_s": before.get("cpu_s", 0.0) + usage.cpu_s,
            "peak_memory_bytes": max(before.get("peak_memory_bytes", 0), usage.peak_memory_bytes),
        }


class QuantumContext(Protocol):
    """What a `SuperTask` is given to process one quantum, by the names of its connections."""

    @property
    def data_id(self) -> DataId:
        """The quantum's data ID."""

    @property
    def refs(self) -> Mapping[str, Sequence[DatasetRef]]:
        """The datasets, inputs and outputs; an absent optional one has an empty list."""

    @property
    def records(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """The exposure records of inputs that have the dimension exposure, as ``refs``."""

    @property
    def metadata(self) -> Metadata:
        """What is noted about this quantum besides the task's own metadata."""

    def dimension_record(self, element: str) -> Mapping[str, Any]:
        """Read the record of one of the data ID's dimensions, as for the pixel grid of a patch."""

    def get(self, name: str) -> Any:
        """Read an input: an object, or a list for ``multiple``; handles for ``defer_load``."""

    def put(self, name: str, obj: Any) -> None:
        """Write an output: an object, or for ``multiple`` a sequence like ``refs`` (None: skip)."""


def _declared(cls: type[SuperTask]) -> dict[str, Connection]:
    """Collect the connections of a class and its bases, in order; None takes one away."""
    found: dict[str, Connection] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Connection):
                found[name] = value
            elif name in found and value is None:
                del found[name]
    return found


def _named(
    cls: type[SuperTask], declared: Mapping[str, Connection], names: Mapping[str, str]
) -> Connections:
    """Give connections their names, with the templates of a class and its bases filled in."""
    templates: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        templates.update(vars(base).get("templates", {}))
    try:
        return Connections(declared, cls.dimensions, templates).renamed(names)
    except KeyError as error:
        raise TaskDefinitionError(cls.__qualname__, str(error.args[0])) from None


class SuperTask(Task):
    """A task that reads and writes datasets: the unit of a pipeline.

    A subclass sets ``dimensions`` and declares its connections as class attributes; they are
    checked when the class is made (`TaskDefinitionError`).  ``run`` has one parameter per input
    and returns a `Struct` with one attribute per output.

    Examples
    --------
    >>> class CountTask(SuperTask):
    ...     dimensions = ("instrument", "exposure")
    ...     raw = Input("raw", "Exposure", ("instrument", "exposure"))
    ...     counts = Output("counts", "StructuredDataDict", ("instrument", "exposure"))
    ...
    ...     def run(self, raw):
    ...         return Struct(counts={"n_pixels": raw.data.size})
    """

    dimensions: ClassVar[tuple[str, ...]] = ()
    extra_dimensions: ClassVar[tuple[str, ...]] = ()
    """Further keys that the connections use, as an instrument definition declares them."""
    templates: ClassVar[Mapping[str, str]] = {}
    """What stands for ``{name}`` in names of dataset types, unless a pipeline says otherwise."""
    multinode: ClassVar[type[Geometry] | None] = None
    """The kind of geometry whose places the work is divided by, for a task of several ranks."""
    ranks: ClassVar[int] = 1
    """How many ranks it can make good use of; it runs on any number."""
    cores: ClassVar[int] = 1
    """How many cores it, or each of its ranks, can make good use of (`workflow.multicore`)."""
    memory_per_core: ClassVar[int] = 0
    """What it may use for each of them [MiB]; 0 if nobody said."""
    walltime_guess: ClassVar[float] = 0.0
    """How long a usual quantum takes [s]; 0 if nobody said."""
    timeout: ClassVar[float] = 0.0
    """After how long a quantum is given up [s]; 0 if never."""

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _check_needs(cls)
        if not isinstance(cls.dimensions, tuple):
            raise TaskDefinitionError(
                cls.__qualname__, f"dimensions is a tuple, not {cls.dimensions!r}."
            )
        declared = _declared(cls)
        if declared and not abstract:
            named = _named(cls, declared, {})
            check_task(cls, named, _reserved(), cls.extra_dimensions)

    def __init__(
        self,
        config: Any = None,
        *,
        name: str | None = None,
        parent: Task | None = None,
        init_inputs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(config, name=name, parent=parent)
        given = dict(init_inputs or {})
        for key, connection in self.connections(self.config).init_inputs.items():
            if key not in given and connection.minimum:
                raise InvalidQuantum(
                    f"{self.path} cannot be made without '{key}' ({connection.dataset_type})."
                )
            setattr(self, key, given.get(key))

    @classmethod
    def configure_connections(
        cls,
        connections: Connections,
        config: Any,  # noqa: ARG003 (for subclasses)
    ) -> Connections:
        """Change the connections by the configuration, where ``enabled_by`` does not say it.

        See `workflow.connections.Connections.without` and ``replaced``.
        """
        return connections

    def init_outputs(self) -> dict[str, Any]:
        """Return the init outputs, which ``__init__`` has set as attributes.

        Raises
        ------
        MissingOutput
            If one is not set.
        """
        found: dict[str, Any] = {}
        for key, connection in self.connections(self.config).init_outputs.items():
            value = vars(self).get(key)
            if value is not None:
                found[key] = value
            elif connection.minimum:
                raise MissingOutput(self.path, key, vars(self), by="__init__")
        return found

    @classmethod
    def connections(
        cls,
        config: Any = None,
        *,
        rename: Mapping[str, str] | None = None,
        dimensions: Sequence[str] | None = None,
        extra_dimensions: Sequence[str] = (),
    ) -> Connections:
        """Return the connections in force.

        Parameters
        ----------
        config : lsst.pex.config.Config, optional
            Leaves out what its fields disable; everything declared when omitted.
        rename : mapping, optional
            Connection name to dataset type name, and template to value.
        dimensions : sequence of str, optional
            Other dimensions for the task and for those outputs that have the task's own.
        extra_dimensions : sequence of str
            Keys that ``dimensions`` may have besides the built-in ones and those of the class.

        Raises
        ------
        TaskDefinitionError
            If a name is unknown, or what results cannot work.
        """
        found = _named(cls, _declared(cls), rename or {})
        if dimensions is not None:
            wrong = check_dimensions(dimensions, (*cls.extra_dimensions, *extra_dimensions))
            if wrong:
                raise TaskDefinitionError(cls.__qualname__, wrong)
            found = found.with_dimensions(dimensions)
        if config is not None:
            found = cls.configure_connections(found.enabled(config), config)
        for problem in found.problems():
            raise TaskDefinitionError(cls.__qualname__, problem)
        return found

    def adjust_quantum(self, quantum: Quantum) -> Mapping[str, Sequence[DatasetRef]]:
        """Choose among the inputs of a quantum when it is planned.

        A task that defines it has its quanta read one by one while a run is planned; for all
        others they stay in the database.

        Parameters
        ----------
        quantum : workflow.quanta.Quantum
            With its data ID, and its inputs as far as they are foreseen.

        Returns
        -------
        mapping
            By input, those to be read; an input that is left out stays as it is.

        Raises
        ------
        NoWorkFound
            If it is not to be run, with the reason.
        """
        del quantum
        return {}

    def adjust_all_quanta(
        self, quanta: Sequence[Quantum]
    ) -> Mapping[uuid.UUID, Mapping[str, Sequence[DatasetRef]] | NoWorkFound]:
        """Choose among all quanta of a run together, as `adjust_quantum` does for one.

        Returns
        -------
        mapping
            By identity of a quantum that changes: its inputs, or why it is not to be run.
        """
        del quanta
        return {}

    def geometry(self, *args: Any, **inputs: Any) -> Geometry:  # noqa: ARG002 (for subclasses)
        """Find the places of a task that declares ``multinode``, from what ``run`` is given."""
        raise TaskDefinitionError(type(self).__qualname__, "it declares no `multinode`.")

    def run_nodes(
        self,
        around: Neighbourhood,  # noqa: ARG002 (for subclasses)
        *args: Any,  # noqa: ARG002 (the same)
        **inputs: Any,  # noqa: ARG002 (the same)
    ) -> Struct | None:
        """Do the part of one rank of a task that declares ``multinode``.

        Parameters
        ----------
        around : Neighbourhood
            The places that this rank holds, and the way to their neighbours.
        *args, **inputs
            What ``run`` is given, on every rank.

        Returns
        -------
        Struct or None
            The outputs that this rank made; of a list, None for those that others make.
        """
        raise TaskDefinitionError(type(self).__qualname__, "it declares no `multinode`.")

    def run_quantum(self, context: QuantumContext) -> None:
        """Read the inputs, call ``run`` with them, write what it returns.

        An absent optional input is None, or an empty list for ``multiple``.  A task that needs its
        data ID overrides this.

        Raises
        ------
        InvalidQuantum
            If a required input is absent.
        MissingOutput
            If ``run`` does not return a required output.
        """
        enabled = self.connections(self.config)
        inputs: dict[str, Any] = {}
        for name, connection in self.connections().items():
            if not connection.is_input:
                continue
            refs = context.refs.get(name, ()) if name in enabled else ()
            if name in enabled and len(refs) < connection.minimum:
                raise InvalidQuantum(
                    f"{self.path} needs at least {connection.minimum} of '{name}' "
                    f"({connection.dataset_type}) and has {len(refs)} for {context.data_id!r}."
                )
            inputs[name] = context.get(name) if refs else ([] if connection.multiple else None)
        run: Callable[..., Any] = self.run  # type: ignore[attr-defined]
        returned = run(**inputs)
        for name, connection in enabled.outputs.items():
            value = getattr(returned, name, None)
            if value is not None:
                context.put(name, value)
            elif connection.minimum > 0:
                raise MissingOutput(self.path, name, vars(returned) if returned is not None else ())


def _check_needs(cls: type[SuperTask]) -> None:
    """Check what a class says of its ranks, cores and memory; give a multi-node one its run."""
    problem = check_needs({name: getattr(cls, name) for name in NEEDS})
    if problem:
        raise TaskDefinitionError(cls.__qualname__, problem)
    if cls.multinode is None:
        return
    for method in ("geometry", "run_nodes"):
        if getattr(cls, method) is getattr(SuperTask, method):
            raise TaskDefinitionError(
                cls.__qualname__, f"it declares `multinode` and needs a method `{method}`."
            )
    if not hasattr(cls, "run"):
        cls.run = timed(_run_by_geometry)  # type: ignore[attr-defined]


def _run_by_geometry(self: SuperTask, **inputs: Any) -> Struct:
    from workflow.multinode.supertask import run_by_geometry

    return run_by_geometry(self, inputs)


_run_by_geometry.__name__ = "run"


def _reserved() -> set[str]:
    """Name the attributes that a connection may not hide."""
    return {*vars(Task), *vars(SuperTask), "config", "log", "metadata", "name", "path"}


def _empty_config_class() -> Any:
    from lsst.pex.config import Config

    return Config


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _peak_memory_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
