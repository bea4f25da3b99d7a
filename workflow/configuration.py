"""Who set this value, where, and what was it before?

`configure` applies overrides in order to a configuration class and returns the frozen
configuration with the complete history of every value, for the table ``config_history``.  How
overrides are read and set is in `workflow.overrides`, the values themselves are in
`workflow.config_values`; what both offer can be imported from here.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import getpass
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lsst.pex.config
from lsst.pex.config import Config, FieldValidationError

from workflow.config_values import (
    Leaf,
    LeafValue,
    class_name,
    digest,
    from_leaf_values,
    leaf_values,
    leaves,
    load_text,
    save_text,
    value_text,
)
from workflow.errors import ConfigurationError
from workflow.overrides import (
    KINDS,
    Override,
    Script,
    apply,
    overrides_of,
    parse_override,
    read_overrides,
    run_script,
    why,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "KINDS",
    "Configured",
    "HistoryEntry",
    "LeafValue",
    "Override",
    "Script",
    "configure",
    "digest",
    "from_leaf_values",
    "leaf_values",
    "load_text",
    "overrides_of",
    "parse_override",
    "read_overrides",
    "save_text",
]

_PEX_CONFIG = str(Path(lsst.pex.config.__file__).parent)


@dataclass(frozen=True)
class HistoryEntry:
    """One step in the history of a value.

    Attributes
    ----------
    value : object
        What it was set to.
    kind : str
        One of `KINDS`.
    origin : str
        File and line, or the argument.
    by : str or None
        Account that set it; None for defaults.
    at : datetime or None
        When, in UTC; None for defaults.
    """

    value: Any
    kind: str
    origin: str
    by: str | None = None
    at: datetime | None = None

    @property
    def text(self) -> str | None:
        """The value as it is stored."""
        return value_text(self.value)


@dataclass(frozen=True)
class Configured:
    """A frozen configuration and how it came to be.

    Attributes
    ----------
    config : lsst.pex.config.Config
        Validated and frozen.
    history : dict
        Path of each leaf value to its steps; the last one holds.
    """

    config: Any
    history: dict[str, tuple[HistoryEntry, ...]]


def configure(
    config_class: type[Config],
    overrides: Iterable[Override | Script] = (),
    *,
    label: str = "",
    by: str | None = None,
    at: datetime | None = None,
) -> Configured:
    """Apply overrides in order.

    Parameters
    ----------
    config_class : type
        The configuration class.
    overrides : iterable of Override or Script
        In the order in which they hold: a later one wins.
    label : str
        The task, for errors.
    by, at
        Account and time for overrides that name none; those of this process by default.

    Raises
    ------
    UnknownField
        If the configuration has no such field; with a suggestion.
    ConfigurationError
        If a value does not fit, a script fails, or the result is not valid.  It names label, path,
        value and origin.
    """
    recorder = _Recorder(config_class(), by or _account(), at or datetime.now(UTC))
    recorder.note(None)
    for override in overrides:
        if isinstance(override, Script):
            run_script(recorder.config, override, label)
            recorder.note(override)
        else:
            for step in apply(recorder.config, override, label):
                recorder.note(step)
    _validate(recorder, label)
    recorder.config.freeze()
    return Configured(recorder.config, recorder.history())


class _Recorder:
    """Follows the values of a configuration from step to step.

    lsst-pex-config keeps a list of assignments per field; what is new in a list after a step
    belongs to the step.  A list that was replaced belongs to a new object (another sub-task,
    another entry): its defaults are new as well.
    """

    def __init__(self, config: Config, by: str, at: datetime) -> None:
        self.config = config
        self._by = by
        self._at = at
        self._seen: dict[str, tuple[list[Any], int]] = {}
        self._entries: dict[str, list[HistoryEntry]] = {}

    def note(self, step: Override | Script | None) -> None:
        """Write down what the step changed; None stands for the defaults."""
        for leaf in leaves(self.config):
            assigned: list[Any] = leaf.owner.history[leaf.field.name]
            known, count = self._seen.get(leaf.path, (None, 0))
            new = assigned[count:] if assigned is known else assigned
            if assigned is not known or new:
                entries = self._entries.setdefault(leaf.path, [])
                entries += self._steps(leaf, new, step, entries)
                self._seen[leaf.path] = (assigned, len(assigned))

    def history(self) -> dict[str, tuple[HistoryEntry, ...]]:
        """Return the steps of every value that there is now."""
        paths = sorted(leaf.path for leaf in leaves(self.config))
        return {path: tuple(self._entries[path]) for path in paths}

    def last(self, path: str) -> HistoryEntry | None:
        """Return the last step of a value."""
        entries = self._entries.get(path)
        return entries[-1] if entries else None

    def _steps(
        self,
        leaf: Leaf,
        new: list[Any],
        step: Override | Script | None,
        before: list[HistoryEntry],
    ) -> Iterator[HistoryEntry]:
        if leaf.is_structural:
            if not before or before[-1].value != leaf.value:
                yield self._entry(leaf, leaf.value, new[-1] if new else None, step)
            return
        for assignment in new:
            value = assignment[0]
            if leaf.type == "name" and value == "Initialized from defaults":
                continue
            yield self._entry(leaf, value, assignment, step)

    def _entry(
        self, leaf: Leaf, value: Any, assignment: Any, step: Override | Script | None
    ) -> HistoryEntry:
        _, stack, how = assignment or (None, [], "default")
        frames = [f for f in stack or () if not f.filename.startswith(_PEX_CONFIG)]
        default = next((f for f in reversed(frames) if f.function == "setDefaults"), None)
        if step is None or how == "default" or default is not None:
            return HistoryEntry(value, "default", _declared_at(leaf, default))
        origin = step.origin
        if isinstance(step, Script):
            inside = [i for i, f in enumerate(frames) if f.function == run_script.__name__]
            own = [f for f in frames[inside[-1] :] if f.function == "<module>"] if inside else []
            if own:
                origin = f"{own[-1].filename}:{own[-1].lineno}"
        return HistoryEntry(value, step.kind, origin, step.by or self._by, step.at or self._at)


def _declared_at(leaf: Leaf, frame: Any) -> str:
    """Say where a default comes from: the line in setDefaults, or that of the declaration."""
    if frame is not None:
        return f"{_short(frame.filename)}:{frame.lineno}"
    source = leaf.field.source
    if source is not None and not source.filename.startswith((_PEX_CONFIG, "<")):
        return f"{_short(source.filename)}:{source.lineno}"
    for cls in type(leaf.owner).__mro__:
        file = getattr(sys.modules.get(cls.__module__), "__file__", None)
        line = _declarations(file).get((cls.__qualname__, leaf.field.name)) if file else None
        if file and line:
            return f"{_short(file)}:{line}"
    return class_name(leaf.owner)


@functools.cache
def _declarations(file: str) -> dict[tuple[str, str], int]:
    """Find the lines on which the classes of a file assign their attributes.

    lsst-pex-config notes the line of ``Field(...)`` but not that of ``Field[int](...)``.
    """
    found: dict[tuple[str, str], int] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                name = f"{prefix}{child.name}"
                for statement in child.body:
                    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
                        for target in getattr(statement, "targets", None) or (
                            getattr(statement, "target", None),
                        ):
                            if isinstance(target, ast.Name):
                                found.setdefault((name, target.id), statement.lineno)
                visit(child, f"{name}.")
            elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                visit(child, f"{prefix}{child.name}.<locals>.")
            else:
                visit(child, prefix)

    with contextlib.suppress(OSError, SyntaxError, UnicodeDecodeError):
        visit(ast.parse(Path(file).read_bytes()), "")
    return found


def _short(filename: str) -> str:
    """Write a module's file from its package on, without the machine's folders."""
    roots = sorted((str(Path(p or ".").resolve()) for p in sys.path), key=len, reverse=True)
    root = next((r for r in roots if filename.startswith(r + os.sep)), None)
    return filename[len(root) + 1 :] if root else filename


def _validate(recorder: _Recorder, label: str) -> None:
    try:
        recorder.config.validate()
    except FieldValidationError as error:
        last = recorder.last(error.fullname)
        origin = last.origin if last else ""
        raise ConfigurationError(
            why(error), label=label, path=error.fullname, origin=origin
        ) from error
    except Exception as error:
        raise ConfigurationError(f"the configuration is not valid: {error}", label=label) from error


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
