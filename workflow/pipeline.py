"""Which tasks run, how are they configured, and in which order?

`Pipeline.from_yaml` reads a pipeline file, imports its task classes, configures them and checks
that their connections fit together.  `Pipeline.stages` groups them so that calibrations are
certified before they are looked up.  The reading of one file is in `workflow.pipeline_file`; which
quanta there are is in `workflow.quanta`.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsst.pex.config import Config

from registry import plain_yaml
from registry.errors import did_you_mean
from registry.expressions import ExpressionError, parse
from workflow import fitting, selecting
from workflow.config_values import import_dotted, load_text, save_text
from workflow.configuration import HistoryEntry, Override, Script, configure
from workflow.connections import Connections, Prerequisite, check_dimensions
from workflow.contracts import Contract, check_contracts
from workflow.errors import PipelineError, TaskDefinitionError, UnknownLabel
from workflow.needs import NEEDS, Needs, check_needs
from workflow.pipeline_file import (
    CONNECTIONS,
    VALIDITIES,
    Definition,
    Step,
    TaskDefinition,
    read,
)
from workflow.shipped import pipeline_names, shipped_pipeline
from workflow.task import SuperTask
from workflow.variants import checked, signed, under

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from registry.identity import DatasetRef, DatasetType

__all__ = ["VALIDITIES", "Pipeline", "PipelineTask"]


@dataclass(frozen=True)
class PipelineTask:
    """A task in its place in a pipeline.

    Attributes
    ----------
    label : str
        Its name there.
    task_class : type
        The `SuperTask`.
    config : lsst.pex.config.Config
        Frozen.
    history : mapping
        How each value of the configuration came to be (`workflow.configuration.HistoryEntry`).
    connections : Connections
        Those in force: renamed, with the dimensions of the pipeline.
    select : mapping
        Name of an input to the expression that its datasets fulfil; ``:name`` in it is a parameter
        of the pipeline.
    certify : mapping
        Name of an output to how long it holds: ``night``, ``until-next`` or ``forever``.
    resources : mapping
        What it needs instead of what its class declares, by the names of `workflow.needs.NEEDS`.
    origin : str
        File and line of its definition.
    init_refs : mapping
        Name of an init input to the dataset that a run found for it.
    steps : sequence of Override or Script
        All that sets its configuration, if some of it is for some data IDs only.
    selections : mapping
        Each expression that some of them are for, to the digest of the configuration for it alone.
    variants : mapping
        Configurations that some of its quanta have in a run, by the label of the variant.
    """

    label: str
    task_class: type[SuperTask]
    config: Any
    connections: Connections
    history: Mapping[str, tuple[HistoryEntry, ...]] = field(default_factory=dict)
    select: Mapping[str, str] = field(default_factory=dict)
    certify: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""
    init_refs: Mapping[str, DatasetRef] = field(default_factory=dict)
    steps: Sequence[Override | Script] = ()
    selections: Mapping[str, str] = field(default_factory=dict)
    variants: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The keys that identify one quantum."""
        return self.connections.dimensions

    @property
    def needs(self) -> Needs:
        """What one quantum needs."""
        declared = {name: getattr(self.task_class, name) for name in NEEDS}
        return Needs(**{**declared, **self.resources})

    @property
    def class_name(self) -> str:
        """The dotted path of the class."""
        return f"{self.task_class.__module__}.{self.task_class.__qualname__}"

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields["variants"] = {name: save_text(c) for name, c in self.variants.items()}
        return _unpickled, ({**fields, "config": save_text(self.config), "steps": ()},)

    def make(
        self, init_inputs: Mapping[str, Any] | None = None, variant: str | None = None
    ) -> SuperTask:
        """Make the task, or a variant of it, with the objects of its init inputs."""
        given: dict[str, Any] = {"init_inputs": init_inputs} if init_inputs else {}
        config = self.config if variant is None else self.variants[variant]
        made = self.task_class(config, name=self.label, **given)
        vars(made).update(self.resources)
        return made


class Pipeline:
    """Tasks whose connections fit together, each after those whose outputs it reads.

    Parameters
    ----------
    tasks : iterable of PipelineTask
        In any order.
    description, instrument : str, optional
        As in the file.
    parameters : mapping, optional
        Values that expressions and configurations refer to.
    subsets : mapping, optional
        Name to labels.
    contracts : iterable of Contract
        What configurations must fulfil; those of tasks that are not there do not count.
    steps : iterable of Step
        Subsets in the order in which they are run; those without a task do not count.
    name, text : str
        The file as it was given, and its content.

    Raises
    ------
    PipelineError
        If the tasks do not fit together.
    """

    def __init__(
        self,
        tasks: Iterable[PipelineTask],
        *,
        description: str = "",
        instrument: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        subsets: Mapping[str, Sequence[str]] | None = None,
        contracts: Iterable[Contract] = (),
        steps: Iterable[Step] = (),
        name: str = "",
        text: str = "",
    ) -> None:
        self.description = description
        self.instrument = instrument
        self.parameters = dict(parameters or {})
        self.subsets = {k: tuple(v) for k, v in (subsets or {}).items()}
        self.name = name
        self.text = text
        given = {task.label: task for task in tasks}
        self._producers = fitting.makers_of(given)
        given = fitting.common_types(given, self._producers)
        self._tasks = {label: given[label] for label in fitting.order(given, self._producers)}
        self.contracts = tuple(contracts)
        self.steps = tuple(s for s in steps if self.subsets.get(s.label))
        fitting.check_steps(self.steps, self.subsets, self._tasks, self._producers)
        check_contracts(self.contracts, self._tasks)
        if self.contracts:
            for where in dict.fromkeys(w for task in self for w in task.selections):
                check_contracts(self.contracts, {t.label: under(t, [where]) for t in self})

    @classmethod
    def from_yaml(
        cls,
        source: str | Path,
        *,
        parameters: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Iterable[Override | Script]] | None = None,
        instrument_overrides: Mapping[str, Iterable[Override | Script]] | None = None,
        by: str | None = None,
        at: datetime | None = None,
    ) -> Pipeline:
        """Read a pipeline.

        Parameters
        ----------
        source : str or Path
            A file, or the name of a pipeline that ships, with ``#label1,subset2`` or another
            expression (`workflow.selecting`) to take only these tasks; or the text itself, which
            has more than one line.
        parameters : mapping, optional
            Values that replace those in the file.
        overrides : mapping, optional
            Label to overrides that are applied after those of the file.
        instrument_overrides : mapping, optional
            Label to overrides that are applied before those of the file; for labels that there are.
        by, at
            Who sets the configuration and when; this account and now by default.

        Raises
        ------
        PipelineError
            If the file has a mistake; with file and line.
        ConfigurationError
            If an override does not fit.
        UnknownLabel
            If a label that is asked for, or configured, does not exist.
        """
        path, choice, text = _opened(source)
        definition = read(path, text)
        settings = _settings(definition, parameters or {}, path)
        plain = selecting.is_plain(choice)
        wanted = _wanted(definition, choice if plain else "", path)
        overrides = overrides or {}
        for label in overrides:
            if label not in definition.tasks:
                raise UnknownLabel(
                    f"there is no task '{label}' to configure."
                    f"{did_you_mean(label, definition.tasks)}",
                    file=path,
                )
        tasks = []
        for label in wanted:
            given = definition.tasks[label]
            steps = [
                *(instrument_overrides or {}).get(label, ()),
                *given.overrides(settings, definition.instrument),
                *overrides.get(label, ()),
            ]
            tasks.append(_made(given, definition, steps, by, at))
        made = cls(
            tasks,
            description=definition.description,
            instrument=definition.instrument,
            parameters=settings,
            subsets={
                name: [label for label in members if label in wanted]
                for name, members in definition.subsets.items()
            },
            contracts=definition.contracts,
            steps=definition.steps,
            name=path + (f"#{choice}" if choice else ""),
            text=text,
        )
        return made if plain else made.part(selecting.select(made, choice))

    @property
    def tasks(self) -> tuple[PipelineTask, ...]:
        """The tasks, each after those whose outputs it reads."""
        return tuple(self._tasks.values())

    def __getitem__(self, label: str) -> PipelineTask:
        if label not in self._tasks:
            raise UnknownLabel(f"there is no task '{label}'.{did_you_mean(label, self._tasks)}")
        return self._tasks[label]

    def __iter__(self) -> Iterator[PipelineTask]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, label: object) -> bool:
        return label in self._tasks

    def needing(self, resources: Mapping[str, Mapping[str, Any]]) -> Pipeline:
        """Return the same pipeline with other needs of some tasks.

        Parameters
        ----------
        resources : mapping
            Label to needs, by the names of `workflow.needs.NEEDS`.

        Raises
        ------
        PipelineError
            If there is no such label or need, or it cannot have this value.
        """
        tasks = {task.label: task for task in self.tasks}
        for label, given in resources.items():
            unknown = next((name for name in given if name not in NEEDS), None)
            if unknown is not None:
                hint = did_you_mean(unknown, NEEDS) or f" There are {', '.join(NEEDS)}."
                raise PipelineError(f"a task has no need '{unknown}'.{hint}")
            if problem := check_needs(given):
                raise PipelineError(f"'{label}': {problem}")
            task = self[label]
            tasks[label] = dataclasses.replace(task, resources={**task.resources, **given})
        return self._of(tasks.values())

    def part(self, labels: Iterable[str]) -> Pipeline:
        """Return the pipeline of some of its tasks."""
        chosen = set(labels)
        return self._of([task for task in self.tasks if task.label in chosen])

    def _of(self, tasks: Iterable[PipelineTask]) -> Pipeline:
        """Return a pipeline like this one with these tasks."""
        given = {task.label: task for task in tasks}
        return Pipeline(
            given.values(),
            description=self.description,
            instrument=self.instrument,
            parameters=self.parameters,
            subsets={k: [m for m in v if m in given] for k, v in self.subsets.items()},
            contracts=self.contracts,
            steps=self.steps,
            name=self.name,
            text=self.text,
        )

    def producer(self, dataset_type: str) -> PipelineTask | None:
        """Return the task that makes a dataset type; None if it comes from outside."""
        label = self._producers.get(dataset_type)
        return None if label is None else self._tasks[label]

    def stages(self) -> list[list[PipelineTask]]:
        """Group the tasks so that what one stage makes can be looked up by the next.

        A task that looks up a prerequisite made in this pipeline is in a later stage than its
        maker: the quanta of a stage are built when those before it have run and their outputs are
        certified.
        """
        level: dict[str, int] = {}
        for task in self.tasks:
            level[task.label] = max(
                (
                    level[self._producers[c.dataset_type]] + isinstance(c, Prerequisite)
                    for c in task.connections.values()
                    if c.reads and c.dataset_type in self._producers
                ),
                default=0,
            )
        return [
            [task for task in self.tasks if level[task.label] == n]
            for n in range(max(level.values(), default=-1) + 1)
        ]

    def overall_inputs(self) -> dict[str, DatasetType]:
        """Return the dataset types that must exist before the pipeline runs, by name."""
        return {
            name: kind for name, kind in self.dataset_types().items() if name not in self._producers
        }

    def dataset_types(self) -> dict[str, DatasetType]:
        """Return all dataset types that the pipeline reads or makes, by name."""
        found: dict[str, DatasetType] = {}
        for task in self.tasks:
            for connection in task.connections.values():
                found.setdefault(connection.dataset_type, connection.definition())
        return dict(sorted(found.items()))


def _opened(source: str | Path) -> tuple[str, str, str]:
    """Split ``file#choice`` and read the file; a text of several lines is the pipeline itself."""
    if isinstance(source, str) and "\n" in source:
        return "", "", source
    path, _, choice = str(source).partition("#")
    path = os.path.expandvars(path)
    if path in pipeline_names() and not Path(path).exists():
        path = shipped_pipeline(path)
    try:
        text = plain_yaml.read_bytes(path).decode()
    except (OSError, UnicodeDecodeError, plain_yaml.UnreadableYaml) as error:
        reason = getattr(error, "strerror", None) or error
        bare = Path(path).name == path and not Path(path).suffix
        hint = did_you_mean(path, pipeline_names()) if bare else ""
        raise PipelineError(f"the pipeline cannot be read: {reason}.{hint}", file=path) from error
    return path, choice.strip(), text


def _settings(definition: Definition, given: Mapping[str, Any], path: str) -> dict[str, Any]:
    for name in given:
        if name not in definition.parameters:
            raise PipelineError(
                f"the pipeline has no parameter '{name}'."
                f"{did_you_mean(name, definition.parameters)}",
                file=path,
            )
    return {**definition.parameters, **given}


def _wanted(definition: Definition, choice: str, path: str) -> list[str]:
    """Resolve labels and subsets; all tasks when none is named."""
    labels = [part.strip() for part in choice.split(",") if part.strip()]
    if not labels:
        return list(definition.tasks)
    known = {**{label: (label,) for label in definition.tasks}, **definition.subsets}
    for label in labels:
        if label not in known:
            raise UnknownLabel(
                f"there is no task or subset '{label}'.{did_you_mean(label, known)}", file=path
            )
    chosen = {member for label in labels for member in known[label]}
    return [label for label in definition.tasks if label in chosen]


def _made(
    given: TaskDefinition,
    definition: Definition,
    steps: Sequence[Override | Script],
    by: str | None,
    at: datetime | None,
) -> PipelineTask:
    """Import, configure and connect one task."""
    task_class = _task_class(given)
    names, rest = _names(task_class, given, steps)
    whole = [step for step in rest if not step.where]
    configured = configure(task_class.ConfigClass or Config, whole, label=given.label, by=by, at=at)
    extra = (*task_class.extra_dimensions, *definition.extra_dimensions)
    if given.dimensions is not None:
        wrong = check_dimensions(given.dimensions, extra)
        if wrong:
            raise given.error(f"task '{given.label}': {wrong}", "dimensions")
    declared = task_class.connections()
    for section, known in (
        ("select", [k for k, c in declared.items() if c.is_input]),
        ("certify", [k for k, c in declared.outputs.items() if c.is_calibration]),
    ):
        for name in getattr(given, section):
            if name not in known:
                what = {"select": "input", "certify": "output with is_calibration"}[section]
                raise given.error(
                    f"task '{given.label}' has no {what} '{name}'.{did_you_mean(name, known)}",
                    section,
                    name,
                )
    for name, expression in given.select.items():
        try:
            parse(expression)
        except ExpressionError as error:
            raise given.error(f"select of '{name}': {error}", "select", name) from error
    try:
        connections = task_class.connections(
            configured.config,
            rename=names,
            dimensions=given.dimensions,
            extra_dimensions=extra,
        )
    except TaskDefinitionError as error:
        key = "dimensions" if given.dimensions is not None else "connections"
        raise given.error(f"task '{given.label}': {error}", key) from error
    for name, validity in given.certify.items():
        made = connections.get(name)
        if validity != "forever" and made is not None and "day_obs" not in made.dimensions:
            raise given.error(
                f"'{name}' cannot hold '{validity}': it has no day_obs that says from when; "
                "give it the dimension day_obs, or let it hold 'forever'.",
                "certify",
                name,
            )
    task = PipelineTask(
        label=given.label,
        task_class=task_class,
        config=configured.config,
        connections=connections,
        history=configured.history,
        select={k: v for k, v in given.select.items() if k in connections},
        certify={k: v for k, v in given.certify.items() if k in connections},
        resources=given.resources,
        origin=f"{given.file}:{given.line}",
        steps=() if len(whole) == len(rest) else signed(rest, by, at),
    )
    return dataclasses.replace(task, selections=checked(task))


def _names(
    task_class: type[SuperTask], given: TaskDefinition, steps: Sequence[Override | Script]
) -> tuple[dict[str, str], list[Override | Script]]:
    """Part what names dataset types from what sets the configuration."""
    declared = task_class.connections()
    known = [*declared, *declared.templates]
    names: dict[str, str] = {}
    rest: list[Override | Script] = []
    for step in steps:
        if isinstance(step, Script) or not step.path.startswith(CONNECTIONS):
            rest.append(step)
            continue
        name = step.path.removeprefix(CONNECTIONS)
        if step.where:
            raise PipelineError(
                f"'{step.path}' cannot be for some data IDs of task '{given.label}': what it reads "
                "and makes is the same for all its quanta. Give the task a second label with "
                "`select`, and its output another dataset type.",
                file=step.origin,
            )
        if name not in known:
            raise PipelineError(
                f"task '{given.label}' has no connection '{name}'.{did_you_mean(name, known)}",
                file=step.origin,
            )
        names[name] = str(step.value if step.raw is None else step.raw)
    return names, rest


def _task_class(given: TaskDefinition) -> type[SuperTask]:
    try:
        found = import_dotted(given.class_name)
    except ImportError as error:
        raise given.error(
            f"the class '{given.class_name}' cannot be imported: {_ended(error)}", "class"
        ) from error
    except Exception as error:
        raise given.error(
            f"importing '{given.class_name}' failed: {type(error).__name__}: {error}", "class"
        ) from error
    if not (isinstance(found, type) and issubclass(found, SuperTask)):
        raise given.error(
            f"'{given.class_name}' is no SuperTask: a pipeline holds tasks with connections.",
            "class",
        )
    return found


def _ended(error: Exception) -> str:
    """Give the text of an error as a sentence."""
    text = str(error).rstrip(".")
    return text if text.endswith("?") else f"{text}."


def _unpickled(fields: dict[str, Any]) -> PipelineTask:
    """Restore a task in another process.

    lsst-pex-config pickles neither nan within lists nor that a configuration is frozen.
    """
    config, *others = map(load_text, (fields["config"], *fields["variants"].values()))
    for one in (config, *others):
        one.freeze()
    variants = dict(zip(fields["variants"], others, strict=True))
    return PipelineTask(**{**fields, "config": config, "variants": variants})
