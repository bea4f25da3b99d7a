"""What does a task read and write?

`Input`, `Prerequisite` and `Output` are declared as class attributes of a
`workflow.task.SuperTask` and checked here when the class is made.  `Connections` are those in
force for one configuration and one place in a pipeline.  How they become quanta is in
`workflow.quanta`.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.errors import did_you_mean
from registry.identity import DIMENSIONS, DatasetType
from workflow.errors import TaskDefinitionError

if TYPE_CHECKING:
    from registry.plans import LookupFunction

__all__ = [
    "Connection",
    "Connections",
    "InitInput",
    "InitOutput",
    "Input",
    "Output",
    "Prerequisite",
    "check_dimensions",
    "check_task",
    "implied_dimensions",
]

_IMPLIED = {
    "exposure": ("day_obs", "physical_filter", "band"),
    "visit": ("day_obs", "physical_filter", "band"),
    "physical_filter": ("band",),
}
_TEMPLATE = re.compile(r"\{(\w*)\}")


@dataclass(frozen=True)
class Connection:
    """One kind of dataset that a task reads or writes.

    Parameters
    ----------
    dataset_type : str
        Name of the dataset type; a pipeline may rename it. ``{name}`` in it stands for a template
        of the task.
    storage_class : str
        Name of the storage class.
    dimensions : tuple of str
        The keys that identify one such dataset.
    multiple : bool
        Whether one quantum has a list of them.
    minimum : int
        How many a quantum needs; 0 makes it optional.
    is_calibration : bool
        Whether they live in calibration collections with validity ranges.
    defer_load : bool
        Whether the task is given handles with a ``get(component=None, parameters=None)`` method,
        not the objects.
    enabled_by : str, optional
        Name of a boolean field of the task's configuration; when it is false, the connection does
        not exist.
    doc : str
        What it is.
    """

    dataset_type: str
    storage_class: str
    dimensions: tuple[str, ...]
    _: dataclasses.KW_ONLY
    multiple: bool = False
    minimum: int = 1
    is_calibration: bool = False
    defer_load: bool = False
    enabled_by: str | None = None
    doc: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.dimensions, tuple):
            raise TypeError(
                f"{type(self).__name__}({self.dataset_type!r}): dimensions is a tuple of names, "
                f"not {self.dimensions!r}."
            )

    @property
    def reads(self) -> bool:
        """Whether what it names is read, for one quantum or for the task as a whole."""
        return isinstance(self, (Input, Prerequisite, InitInput))

    @property
    def is_input(self) -> bool:
        """Whether a quantum of the task reads it."""
        return isinstance(self, (Input, Prerequisite))

    def definition(self) -> DatasetType:
        """Return the dataset type as it stands in the registry."""
        return DatasetType(
            self.dataset_type, self.dimensions, self.storage_class, self.is_calibration
        )


class Input(Connection):
    """A dataset that decides which quanta exist: raw, or made by another task of the pipeline."""


@dataclass(frozen=True)
class Prerequisite(Connection):
    """A dataset that must exist before the pipeline runs; it is looked up for each quantum.

    With ``is_calibration`` it is looked up by the observation time in calibration collections, by
    its dimensions without the temporal ones (exposure, visit, day_obs); otherwise by its keys.

    Parameters
    ----------
    lookup : callable, optional
        Looks it up instead of either, for all quanta of a task at once: a function of a module that
        takes a `registry.plans.Asked` and returns by data ID of a quantum the datasets for it.
    """

    _: dataclasses.KW_ONLY
    lookup: LookupFunction | None = None


class Output(Connection):
    """A dataset that the task makes."""


class InitInput(Connection):
    """A dataset without dimensions that the task needs to be made: it is an attribute of its name.

    Reference catalogues are prerequisites; this is for what decides how the task is set up, as the
    columns of a table that another task extends.
    """


class InitOutput(Connection):
    """A dataset without dimensions that the task knows when it is made, before it runs.

    Its ``__init__`` sets the attribute of this name; it is written once for each run.
    """


class Connections(Mapping[str, Connection]):
    """The connections in force, by the name of the attribute that declares them.

    Parameters
    ----------
    connections : mapping
        Attribute name to connection.
    dimensions : tuple of str
        The keys that identify one quantum.
    templates : mapping of str
        What stands for ``{name}`` in names of dataset types.
    """

    def __init__(
        self,
        connections: Mapping[str, Connection],
        dimensions: Iterable[str],
        templates: Mapping[str, str] | None = None,
    ) -> None:
        self._connections = dict(connections)
        self.dimensions = tuple(dimensions)
        self.templates = dict(templates or {})

    def __getitem__(self, name: str) -> Connection:
        return self._connections[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._connections)

    def __len__(self) -> int:
        return len(self._connections)

    def __repr__(self) -> str:
        return f"Connections({self._connections!r}, dimensions={self.dimensions!r})"

    @property
    def inputs(self) -> dict[str, Input]:
        """Those that decide which quanta exist."""
        return {k: c for k, c in self.items() if isinstance(c, Input)}

    @property
    def prerequisites(self) -> dict[str, Prerequisite]:
        """Those that are looked up for each quantum."""
        return {k: c for k, c in self.items() if isinstance(c, Prerequisite)}

    @property
    def outputs(self) -> dict[str, Output]:
        """Those that the task makes."""
        return {k: c for k, c in self.items() if isinstance(c, Output)}

    @property
    def init_inputs(self) -> dict[str, InitInput]:
        """Those that the task needs to be made."""
        return {k: c for k, c in self.items() if isinstance(c, InitInput)}

    @property
    def init_outputs(self) -> dict[str, InitOutput]:
        """Those that it knows when it is made."""
        return {k: c for k, c in self.items() if isinstance(c, InitOutput)}

    def made_of(self, connections: Mapping[str, Connection]) -> Connections:
        """Give others in their place."""
        return Connections(connections, self.dimensions, self.templates)

    def without(self, *names: str) -> Connections:
        """Leave some of them out."""
        self._check_names(names)
        return self.made_of({k: c for k, c in self.items() if k not in names})

    def replaced(self, name: str, **changes: Any) -> Connections:
        """Change one of them: ``replaced("raws", minimum=5)``."""
        self._check_names((name,))
        return self.made_of({**self._connections, name: dataclasses.replace(self[name], **changes)})

    def _check_names(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self:
                raise KeyError(f"there is no connection '{name}'.{did_you_mean(name, self)}")

    def enabled(self, config: Any) -> Connections:
        """Leave out those whose configuration field is false."""
        kept = {
            k: c
            for k, c in self.items()
            if c.enabled_by is None or bool(_field_value(config, c.enabled_by))
        }
        return self.made_of(kept)

    def renamed(self, names: Mapping[str, str]) -> Connections:
        """Give some of them another dataset type name, and templates another value; fill these in.

        Raises
        ------
        KeyError
            If there is no such connection or template; its argument is a sentence.
        """
        self._check_names(name for name in names if name not in self.templates)
        values = {name: names.get(name, value) for name, value in self.templates.items()}
        changed = {
            k: dataclasses.replace(c, dataset_type=_filled(names.get(k, c.dataset_type), k, values))
            for k, c in self.items()
        }
        return Connections(changed, self.dimensions, values)

    def with_dimensions(self, dimensions: Iterable[str]) -> Connections:
        """Give the task other dimensions; outputs that had the task's own get the new ones."""
        new = tuple(dimensions)
        old = set(self.dimensions)
        changed = {
            k: dataclasses.replace(c, dimensions=new)
            if isinstance(c, Output) and set(c.dimensions) == old
            else c
            for k, c in self.items()
        }
        return Connections(changed, new, self.templates)

    def problems(self) -> list[str]:
        """List what cannot work, one sentence each; empty when all is well."""
        found: list[str] = []
        reach = set(self.dimensions) | implied_dimensions(self.dimensions)
        written: dict[str, str] = {}
        read = {c.dataset_type: k for k, c in self.items() if isinstance(c, Input)}
        for name, connection in self.items():
            once = isinstance(connection, (InitInput, InitOutput))
            if once and (connection.dimensions or connection.multiple):
                found.append(
                    f"'{name}' is there once for the task: it has no dimensions, and no multiple."
                )
            beyond = [d for d in connection.dimensions if d not in reach]
            if (
                beyond
                and not once
                and not connection.multiple
                and not isinstance(connection, Prerequisite)
            ):
                found.append(
                    f"'{name}' is identified by {', '.join(beyond)} beyond the task's dimensions "
                    f"({', '.join(self.dimensions) or 'none'}), so that one quantum may have "
                    "several: declare it with multiple=True, or add to the task's dimensions."
                )
            if not connection.reads:
                other = written.setdefault(connection.dataset_type, name)
                if other != name:
                    found.append(
                        f"the outputs '{other}' and '{name}' both write {connection.dataset_type}."
                    )
                if connection.dataset_type in read:
                    found.append(
                        f"'{name}' writes {connection.dataset_type}, which is also its input "
                        f"'{read[connection.dataset_type]}'."
                    )
        return found


def _filled(text: str, name: str, values: Mapping[str, str]) -> str:
    """Put the values of templates into the name of a dataset type."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise KeyError(
                f"'{name}' is called '{text}', but there is no template '{found[1]}'."
                f"{did_you_mean(found[1], values)}"
            )
        return values[found[1]]

    return _TEMPLATE.sub(value, text)


def implied_dimensions(dimensions: Iterable[str]) -> set[str]:
    """Name the dimensions whose values follow from those given, through the dimension records."""
    return {implied for d in dimensions for implied in _IMPLIED.get(d, ())}


def check_dimensions(dimensions: Iterable[str], extra: Iterable[str] = ()) -> str:
    """Find a mistake in names of dimensions.

    Parameters
    ----------
    dimensions : iterable of str
        What is declared.
    extra : iterable of str
        Keys beyond the built-in ones, as an instrument definition declares them.

    Returns
    -------
    str
        A sentence, or "" when all is well.
    """
    known = [*DIMENSIONS, *extra]
    seen: set[str] = set()
    for name in dimensions:
        if name not in known:
            hint = (
                did_you_mean(name, known)
                or " An instrument's own keys are listed in extra_dimensions."
            )
            return f"there is no dimension '{name}'.{hint}"
        if name in seen:
            return f"the dimension '{name}' is named twice."
        seen.add(name)
    return ""


def check_task(
    task: type, connections: Connections, reserved: Iterable[str], extra: Iterable[str]
) -> None:
    """Check the declaration of a task class.

    Parameters
    ----------
    task : type
        The class.
    connections : Connections
        What it declares.
    reserved : iterable of str
        Attribute names that the framework uses itself.
    extra : iterable of str
        Dimensions beyond the built-in ones.

    Raises
    ------
    TaskDefinitionError
        If something cannot work; the message names the class and the connection.
    """
    problems = [
        *_declaration_problems(task, connections, set(reserved), tuple(extra)),
        *connections.problems(),
    ]
    if not problems and not _overrides_run_quantum(task):
        problems = _signature_problems(task, connections)
    if problems:
        raise TaskDefinitionError(f"{task.__module__}.{task.__qualname__}", problems[0])


def _declaration_problems(
    task: type, connections: Connections, reserved: set[str], extra: tuple[str, ...]
) -> Iterator[str]:
    wrong = check_dimensions(connections.dimensions, extra)
    if wrong:
        yield wrong
    fields = getattr(getattr(task, "ConfigClass", None), "_fields", {})
    for name in connections.templates:
        if name in connections:
            yield f"'{name}' is a connection and a template."
    for name, c in connections.items():
        kind = type(c).__name__
        if name in reserved:
            yield f"a connection may not be called '{name}': tasks have an attribute of that name."
        wrong = check_dimensions(c.dimensions, extra)
        if wrong:
            yield f"'{name}': {wrong}"
        if c.minimum < 0:
            yield f"'{name}': minimum is {c.minimum}, but counts from 0."
        if c.minimum > 1 and not c.multiple:
            yield f"'{name}': minimum={c.minimum} needs multiple=True."
        if not c.is_input and c.defer_load:
            yield f"'{name}': an {kind} cannot have defer_load."
        if isinstance(c, Prerequisite) and c.lookup is not None and not _is_of_module(c.lookup):
            yield (
                f"'{name}': lookup is a function of a module, found there by its name, so that the "
                f"task can travel to other processes; {c.lookup!r} is none."
            )
        if isinstance(c, Input) and c.is_calibration:
            yield f"'{name}': calibrations are looked up by time; declare a Prerequisite, no Input."
        if c.enabled_by is None:
            continue
        top = c.enabled_by.split(".")[0]
        field = fields.get(top)
        if field is None:
            hint = did_you_mean(top, fields)
            yield f"'{name}': enabled_by='{c.enabled_by}', but there is no such field.{hint}"
        elif "." not in c.enabled_by and field.dtype is not bool:
            yield f"'{name}': enabled_by='{c.enabled_by}' must name a boolean field."


def _is_of_module(function: Any) -> bool:
    """Tell whether a function can be found again by its name."""
    name = getattr(function, "__qualname__", "<>")
    return callable(function) and "<" not in name


def _overrides_run_quantum(task: type) -> bool:
    base = next((b for b in reversed(task.__mro__) if "run_quantum" in b.__dict__), None)
    return (
        base is not None and getattr(task, "run_quantum", None) is not base.__dict__["run_quantum"]
    )


def _signature_problems(task: type, connections: Connections) -> list[str]:
    run = getattr(task, "run", None)
    if run is None:
        return [
            "it has no run() method; define run() with one parameter per input, or run_quantum()."
        ]
    parameters = list(inspect.signature(run).parameters.values())[1:]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    inputs = [name for name, c in connections.items() if c.is_input]
    problems = [
        f"run() has no parameter '{name}' for the input of that name.{did_you_mean(name, named)}"
        for name in inputs
        if name not in named and not takes_any
    ]
    problems += [
        f"run() needs '{name}', but no input has that name.{did_you_mean(name, inputs)}"
        for name, p in named.items()
        if name not in inputs and p.default is p.empty
    ]
    return problems


def _field_value(config: Any, path: str) -> Any:
    for part in path.split("."):
        config = getattr(config, part)
    return config
