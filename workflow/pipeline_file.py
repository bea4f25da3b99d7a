"""What does a pipeline file say?

`read` turns a file and those that it imports into `Definition`, checks its keys and values, and
keeps the lines.  It imports no task class: what the definitions mean is in `workflow.pipeline`.
"""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry import plain_yaml
from registry.errors import did_you_mean
from workflow.configuration import Override, Script, read_overrides
from workflow.connections import check_dimensions
from workflow.contracts import Contract
from workflow.errors import PipelineError
from workflow.marked_yaml import MarkedList, MarkedMap, load
from workflow.needs import NEEDS, check_needs
from workflow.shipped import pipeline_names, shipped_pipeline
from workflow.variants import filled_in, where_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = [
    "CONNECTIONS",
    "VALIDITIES",
    "ConfigStep",
    "Definition",
    "Step",
    "TaskDefinition",
    "read",
]

VALIDITIES = ("night", "until-next", "forever")
"""How long an output holds once it is certified."""

_TOP = (
    "description",
    "instrument",
    "parameters",
    "imports",
    "tasks",
    "subsets",
    "steps",
    "contracts",
    "extra_dimensions",
)
_TASK = (
    "class",
    "dimensions",
    "connections",
    "select",
    "config",
    "config_files",
    "certify",
    "resources",
)
_IMPORT = (
    "location",
    "include",
    "exclude",
    "instrument",
    "importContracts",
    "importSteps",
    "labeledSubsetModifyMode",
)
_MODES = ("EDIT", "DROP")
CONNECTIONS = "connections."
"""What the path of an override begins with that names a dataset type."""
_NAME = re.compile(r"[^\W\d][\w-]*")
_PARAMETER = re.compile(r"parameters\.([^\W\d]\w*)")


@dataclass(frozen=True)
class Step:
    """A subset in its place in the order in which subsets are run.

    Attributes
    ----------
    label : str
        The subset.
    dimensions : tuple of str
        Keys by which the work may be divided.
    file : str
        Where it is defined.
    line : int
        On which line.
    """

    label: str
    dimensions: tuple[str, ...] = ()
    file: str = ""
    line: int = 0

    def error(self, problem: str) -> PipelineError:
        """Make an error that names its line."""
        return PipelineError(problem, file=self.file, line=self.line or None)


@dataclass(frozen=True)
class ConfigStep:
    """What turns the parameters into overrides; for one camera, if it names one."""

    make: Callable[[Mapping[str, Any]], list[Override | Script]]
    instrument: str | None = None


@dataclass(frozen=True)
class TaskDefinition:
    """A task as files define it.

    Attributes
    ----------
    label, class_name : str
        Its name and the dotted path of its class.
    file : str
        Where it is defined.
    line : int
        On which line.
    lines : mapping
        Line of each key.
    dimensions : tuple of str or None
        Other dimensions than the class declares.
    select, certify : mapping
        By name of the connection: expression, validity.
    resources : mapping
        What it needs, by the names of `workflow.needs.NEEDS`.
    config : tuple of ConfigStep
        What sets its configuration and, as ``connections.NAME``, its dataset types, in order.
    """

    label: str
    class_name: str
    file: str
    line: int
    lines: Mapping[tuple[str, ...], int]
    dimensions: tuple[str, ...] | None = None
    select: Mapping[str, str] = field(default_factory=dict)
    certify: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, float] = field(default_factory=dict)
    config: tuple[ConfigStep, ...] = ()

    def overrides(
        self, parameters: Mapping[str, Any], instrument: str | None = None
    ) -> Iterator[Override | Script]:
        """Yield the overrides in order, with parameters put in; those for another camera not."""
        for step in self.config:
            if step.instrument in (None, instrument):
                yield from step.make(parameters)

    def error(self, problem: str, *key: str) -> PipelineError:
        """Make an error that names the line of a key."""
        line = next(
            (self.lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in self.lines), 0
        )
        return PipelineError(problem, file=self.file, line=line or self.line)

    def extended(self, other: TaskDefinition) -> TaskDefinition:
        """Add what an importing file says about this task."""
        return dataclasses.replace(
            other,
            class_name=self.class_name,
            lines={**self.lines, **other.lines} if self.file == other.file else other.lines,
            dimensions=other.dimensions or self.dimensions,
            select={**self.select, **other.select},
            certify={**self.certify, **other.certify},
            resources={**self.resources, **other.resources},
            config=(*self.config, *other.config),
        )


@dataclass
class Definition:
    """What a pipeline file and its imports say."""

    description: str = ""
    instrument: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    extra_dimensions: tuple[str, ...] = ()
    tasks: dict[str, TaskDefinition] = field(default_factory=dict)
    subsets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    contracts: list[Contract] = field(default_factory=list)


def read(file: str, text: str) -> Definition:
    """Read a pipeline file.

    Parameters
    ----------
    file : str
        Its name, for errors and for imports relative to it; "" for a text without file.
    text : str
        Its content.

    Raises
    ------
    PipelineError
        If it, or a file that it imports, has a mistake; with file and line.
    """
    definition = _Reader(file, ()).read(text)
    if not definition.tasks:
        raise PipelineError("the pipeline has no tasks; list them under `tasks`.", file=file)
    return definition


class _Reader:
    """Reads one file; imports are read by further readers."""

    def __init__(self, file: str, above: tuple[str, ...]) -> None:
        self.file = file
        self.name = file or "pipeline"
        self.above = (*above, str(Path(file).resolve()) if file else "")

    def error(self, problem: str, line: int | None) -> PipelineError:
        return PipelineError(problem, file=self.name, line=line)

    def read(self, text: str) -> Definition:
        data = self.mapping(load(text, self.name), 1, "a pipeline")
        self.check_keys(data, _TOP, "a pipeline")
        definition = Definition()
        for entry, line in self.items(data, "imports"):
            self.imported(definition, entry, line)
        if "description" in data:
            definition.description = str(data["description"] or "")
        if "instrument" in data:
            definition.instrument = _camera(self.optional_text(data, "instrument"))
        definition.parameters.update(self.section(data, "parameters"))
        definition.extra_dimensions += self.names(data, "extra_dimensions")
        tasks = self.section(data, "tasks")
        for label in tasks:
            self.task(definition, label, tasks)
        subsets = self.section(data, "subsets")
        for name in subsets:
            self.subset(definition, name, subsets)
        for entry, line in self.items(data, "steps"):
            self.step(definition, entry, line)
        for entry, line in self.items(data, "contracts"):
            definition.contracts.append(self.contract(definition, entry, line))
        return definition

    def imported(self, definition: Definition, entry: Any, line: int) -> None:
        """Add the tasks of another file."""
        wish = MarkedMap(line)
        if isinstance(entry, str):
            wish["location"] = entry
        else:
            wish = self.mapping(entry, line, "an import")
            self.check_keys(wish, _IMPORT, "an import")
        location = wish.get("location")
        if not isinstance(location, str):
            raise self.error("an import names a file, as `location: base.yaml`.", line)
        path = Path(os.path.expandvars(location)).expanduser()
        if not path.is_absolute():
            path = Path(self.file).parent / path
        if location in pipeline_names() and not path.exists():
            path = Path(shipped_pipeline(location))
        if str(path.resolve()) in self.above:
            raise self.error(f"'{location}' imports itself.", line)
        try:
            text = plain_yaml.read_bytes(path).decode()
        except (OSError, UnicodeDecodeError, plain_yaml.UnreadableYaml) as error:
            reason = getattr(error, "strerror", None) or error
            raise self.error(
                f"'{location}' cannot be read: {_unset(location) or reason}.", line
            ) from error
        below = _Reader(str(path), self.above).read(text)
        chosen = self.chosen(below, wish, location)
        mode = wish.get("labeledSubsetModifyMode", "EDIT")
        if mode not in _MODES:
            raise self.error(
                f"labeledSubsetModifyMode is one of {', '.join(_MODES)}, not '{mode}'.",
                wish.lines["labeledSubsetModifyMode"],
            )
        for label in chosen:
            definition.tasks[label] = below.tasks[label]
        for name, members in below.subsets.items():
            kept = tuple(label for label in members if label in chosen)
            if kept and (mode == "EDIT" or len(kept) == len(members)):
                definition.subsets[name] = kept
        definition.parameters.update(below.parameters)
        definition.extra_dimensions += below.extra_dimensions
        if wish.get("importSteps", True):
            definition.steps += [s for s in below.steps if s.label in definition.subsets]
        if wish.get("importContracts", True):
            definition.contracts += [c for c in below.contracts if set(c.labels) <= {*chosen}]
        if "instrument" in wish:
            definition.instrument = _camera(self.optional_text(wish, "instrument"))
        else:
            definition.instrument = definition.instrument or below.instrument

    def chosen(self, below: Definition, wish: MarkedMap, location: str) -> list[str]:
        """Apply include and exclude, by labels and subsets."""
        if "include" in wish and "exclude" in wish:
            raise self.error("an import has `include` or `exclude`, not both.", wish.line)
        named: set[str] = set()
        for key in ("include", "exclude"):
            for name in self.names(wish, key):
                members = below.subsets.get(name, (name,) if name in below.tasks else ())
                if not members:
                    known = [*below.tasks, *below.subsets]
                    raise self.error(
                        f"'{location}' has no task or subset '{name}'.{did_you_mean(name, known)}",
                        wish.lines[key],
                    )
                named.update(members)
        if "include" in wish:
            return [label for label in below.tasks if label in named]
        return [label for label in below.tasks if label not in named]

    def task(self, definition: Definition, label: str, tasks: MarkedMap) -> None:
        """Add or extend one task."""
        line = tasks.lines[label]
        if _NAME.fullmatch(label) is None:
            raise self.error(f"'{label}' is no label: letters, digits, '_' and '-'.", line)
        data = tasks[label]
        if isinstance(data, str):
            class_name: str | None = data
            data = MarkedMap(line)
        else:
            data = self.mapping(data, line, f"task '{label}'")
            self.check_keys(data, _TASK, f"task '{label}'")
            class_name = self.optional_text(data, "class")
        before = definition.tasks.get(label)
        if class_name is None and before is None:
            raise self.error(f"task '{label}' has no `class`.", line)
        lines: dict[tuple[str, ...], int] = {(key,): n for key, n in data.lines.items()}
        for section in ("select", "certify"):
            below = self.section(data, section)
            lines.update({(section, key): n for key, n in below.lines.items()})
        new = TaskDefinition(
            label=label,
            class_name=class_name or "",
            file=self.name,
            line=line,
            lines=lines,
            dimensions=self.names(data, "dimensions") if "dimensions" in data else None,
            select=self.texts(data, "select"),
            certify=self.validities(data),
            resources=self.resources(data),
            config=tuple(self.config(label, data)),
        )
        extends = before is not None and class_name in {None, before.class_name}
        definition.tasks[label] = before.extended(new) if before is not None and extends else new

    def resources(self, data: MarkedMap) -> dict[str, float]:
        """Read what a task needs."""
        given = self.section(data, "resources")
        self.check_keys(given, NEEDS, "`resources`")
        for name, value in given.items():
            problem = check_needs({name: value})
            if problem:
                raise self.error(f"`resources`: {problem}", given.lines[name])
        return dict(given)

    def subset(self, definition: Definition, name: str, subsets: MarkedMap) -> None:
        """Add a named group of tasks: a list, or a mapping with ``subset`` and ``description``."""
        line, data = subsets.lines[name], subsets[name]
        if isinstance(data, MarkedMap):
            self.check_keys(data, ("subset", "description"), f"subset '{name}'")
            data = data.get("subset")
        if not isinstance(data, list):
            raise self.error(f"subset '{name}' is a list of labels.", line)
        for label in data:
            if label not in definition.tasks:
                hint = did_you_mean(str(label), definition.tasks)
                raise self.error(f"subset '{name}': there is no task '{label}'.{hint}", line)
        if name in definition.tasks:
            raise self.error(f"'{name}' is a task and cannot be a subset as well.", line)
        definition.subsets[name] = tuple(data)

    def step(self, definition: Definition, entry: Any, line: int) -> None:
        """Add a step, or put one that was imported in this place: a subset, or a mapping."""
        data = MarkedMap(line)
        if isinstance(entry, str):
            data["label"] = entry
        else:
            data = self.mapping(entry, line, "a step")
            self.check_keys(data, ("label", "dimensions", "sharding_dimensions"), "a step")
        label = data.get("label")
        if label not in definition.subsets:
            hint = did_you_mean(str(label), definition.subsets)
            raise self.error(f"a step is a subset; there is no subset '{label}'.{hint}", line)
        key = "dimensions" if "dimensions" in data else "sharding_dimensions"
        names = self.names(data, key)
        wrong = check_dimensions(names, definition.extra_dimensions)
        if wrong:
            raise self.error(f"step '{label}': {wrong}", data.lines[key])
        definition.steps = [s for s in definition.steps if s.label != label]
        definition.steps.append(Step(str(label), names, self.name, line))

    def contract(self, definition: Definition, entry: Any, line: int) -> Contract:
        """Read a contract: an expression, or a mapping with ``contract`` and ``msg``."""
        data = MarkedMap(line)
        if isinstance(entry, str):
            data["contract"] = entry
        else:
            data = self.mapping(entry, line, "a contract")
            self.check_keys(data, ("contract", "msg"), "a contract")
        expression = data.get("contract")
        if not isinstance(expression, str):
            raise self.error("a contract is an expression, as in isr.do_flat == stack.flat.", line)
        found = Contract(expression, str(data.get("msg") or ""), self.name, line)
        for label in found.labels:
            if label not in definition.tasks:
                hint = did_you_mean(label, definition.tasks)
                raise self.error(f"the contract names '{label}', which is no task.{hint}", line)
        return found

    def config(self, label: str, data: MarkedMap) -> Iterator[ConfigStep]:
        """Yield the overrides of one task in the order of the file."""
        for key in data:
            if key == "connections":
                lines = self.section(data, key).lines
                for name, value in self.texts(data, key).items():
                    yield ConfigStep(self.value(CONNECTIONS + name, value, lines[name]))
            elif key == "config_files":
                for file, line in self.items(data, key):
                    yield ConfigStep(self.config_file(file, line))
            elif key == "config" and data[key] is not None:
                entries = data[key] if isinstance(data[key], list) else [data[key]]
                for entry in entries:
                    block = self.mapping(entry, data.lines[key], f"config of task '{label}'")
                    camera, where = self.meant(block)
                    for make in self.config_block(block):
                        own = self.limited(make, where, block) if where else make
                        yield ConfigStep(own, camera)

    def meant(self, block: MarkedMap) -> tuple[str | None, str]:
        """Read for which camera a part of a configuration is, and for which data IDs."""
        data_id = self.section(block, "dataId")
        keys = {key: value for key, value in data_id.items() if key != "instrument"}
        given = self.optional_text(block, "where") or ""
        try:
            conditions = [f"({given})"] if given.strip() and keys else [given] if given else []
            conditions += [where_of(keys)] if keys else []
        except ValueError as error:
            raise self.error(f"`dataId`: {error}", block.lines["dataId"]) from error
        return _camera(self.optional_text(data_id, "instrument")), " AND ".join(conditions)

    def limited(
        self,
        make: Callable[[Mapping[str, Any]], list[Override | Script]],
        where: str,
        block: MarkedMap,
    ) -> Callable[[Mapping[str, Any]], list[Override | Script]]:
        """Let overrides be for the data IDs that fulfil an expression."""
        line = block.lines.get("where") or block.lines["dataId"]

        def overrides(parameters: Mapping[str, Any]) -> list[Override | Script]:
            try:
                meant = filled_in(where, parameters)
            except (LookupError, ValueError) as error:
                raise self.error(f"where: {error.args[0]}", line) from error
            return [dataclasses.replace(one, where=meant) for one in make(parameters)]

        return overrides

    def config_block(
        self, block: MarkedMap
    ) -> Iterator[Callable[[Mapping[str, Any]], list[Override | Script]]]:
        """Yield the overrides of one mapping; ``file`` and ``python`` stand for files and code."""
        for path, value in block.items():
            if path in {"dataId", "where"}:
                continue
            line = block.lines[path]
            if path == "file":
                for file in value if isinstance(value, list) else [value]:
                    yield self.config_file(file, line)
            elif path == "python":
                yield self.code(str(value), block.starts[path])
            else:
                yield self.value(path, value, line)

    def config_file(
        self, file: Any, line: int
    ) -> Callable[[Mapping[str, Any]], list[Override | Script]]:
        if not isinstance(file, str):
            raise self.error(f"a configuration file is named by its path, not by {file!r}.", line)
        path = Path(os.path.expandvars(file)).expanduser()
        full = path if path.is_absolute() else Path(self.file).parent / path
        if not full.is_file():
            why = f": {unset}" if (unset := _unset(file)) else ""
            raise self.error(f"there is no configuration file '{full}'{why}.", line)

        def overrides(parameters: Mapping[str, Any]) -> list[Override | Script]:
            return read_overrides(full, parameters=parameters)

        return overrides

    def code(self, code: str, line: int) -> Callable[[Mapping[str, Any]], list[Override | Script]]:
        def overrides(parameters: Mapping[str, Any]) -> list[Override | Script]:
            return [Script(code, self.name, line, kind="pipeline", parameters=parameters)]

        return overrides

    def value(
        self, path: str, value: Any, line: int
    ) -> Callable[[Mapping[str, Any]], list[Override | Script]]:
        origin = f"{self.name}:{line}"

        def overrides(parameters: Mapping[str, Any]) -> list[Override | Script]:
            match = _PARAMETER.fullmatch(value) if isinstance(value, str) else None
            if match is None:
                return [Override(path, value, "pipeline", origin)]
            name = match.group(1)
            if name not in parameters:
                hint = did_you_mean(name, parameters)
                raise self.error(f"there is no parameter '{name}'.{hint}", line)
            return [Override(path, parameters[name], "parameter", f"{origin} parameters.{name}")]

        return overrides

    def validities(self, data: MarkedMap) -> dict[str, str]:
        """Read ``certify``: ``bias: until-next`` or ``bias: {validity: until-next}``."""
        found: dict[str, str] = {}
        section = self.section(data, "certify")
        for name, value in section.items():
            line = section.lines[name]
            if isinstance(value, MarkedMap):
                self.check_keys(value, ("validity",), f"certify of '{name}'")
                value = value.get("validity")
            if value not in VALIDITIES:
                hint = did_you_mean(str(value), VALIDITIES)
                raise self.error(f"'{value}' is no validity of '{name}'.{hint}", line)
            found[name] = value
        return found

    def mapping(self, value: Any, line: int, what: str) -> MarkedMap:
        if value is None:
            return MarkedMap(line)
        if not isinstance(value, MarkedMap):
            raise self.error(f"{what} is a mapping of keys to values, not {value!r}.", line)
        return value

    def section(self, data: MarkedMap, key: str) -> MarkedMap:
        return self.mapping(data.get(key), data.lines.get(key, data.line), f"`{key}`")

    def items(self, data: MarkedMap, key: str) -> list[tuple[Any, int]]:
        """Return the items of a list with their lines; one item may stand alone."""
        value = data.get(key)
        if value is None:
            return []
        if isinstance(value, MarkedList):
            return list(zip(value, value.lines, strict=True))
        return [(value, data.lines[key])]

    def names(self, data: MarkedMap, key: str) -> tuple[str, ...]:
        found = self.items(data, key)
        for value, line in found:
            if not isinstance(value, str):
                raise self.error(f"`{key}` is a list of names; {value!r} is none.", line)
        return tuple(value for value, _ in found)

    def texts(self, data: MarkedMap, key: str) -> dict[str, str]:
        section = self.section(data, key)
        for name, value in section.items():
            if not isinstance(value, str):
                raise self.error(
                    f"`{key}`: '{name}' needs a text, not {value!r}.", section.lines[name]
                )
        return dict(section)

    def optional_text(self, data: MarkedMap, key: str) -> str | None:
        value = data.get(key)
        if value is not None and not isinstance(value, str):
            raise self.error(f"`{key}` is a text, not {value!r}.", data.lines[key])
        return value

    def check_keys(self, data: MarkedMap, known: Iterable[str], what: str) -> None:
        for key in data:
            if key not in known:
                raise self.error(
                    f"{what} has no key '{key}'.{did_you_mean(key, known)}", data.lines[key]
                )


def _unset(path: str) -> str:
    """Say which environment variables in a path are not set; "" if all are."""
    left = re.findall(r"\$\{?(\w+)", os.path.expandvars(path))
    if not left:
        return ""
    verb = "is not set" if len(left) == 1 else "are not set"
    return f"{' and '.join(left)} {verb} in the environment"


def _camera(name: str | None) -> str | None:
    """Name a camera; of a class, as the field names it, the last part."""
    return name.rpartition(".")[2] if name else name
