"""How does a value get into a configuration?

An `Override` sets one field, a `Script` is Python code as in the field's configuration files.
They come from the command line (`parse_override`) or from files (`read_overrides`), and `apply`
sets them, with errors that name label, path, value and origin.  What they did is kept by
`workflow.configuration`.
"""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from lsst.pex.config import (
    Config,
    ConfigChoiceField,
    ConfigDictField,
    ConfigField,
    ConfigurableField,
    DictField,
    Field,
    FieldValidationError,
    ListField,
)
from lsst.pex.config.configChoiceField import ConfigInstanceDict
from lsst.pex.config.configurableActions import (
    ConfigurableActionStruct,
    ConfigurableActionStructField,
)
from lsst.pex.config.configurableField import ConfigurableInstance

from registry import plain_yaml
from registry.errors import did_you_mean
from workflow import marked_yaml
from workflow.config_values import import_dotted, leaf_values
from workflow.errors import ConfigurationError, PipelineError, UnknownField

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "KINDS",
    "Override",
    "Script",
    "apply",
    "labelled",
    "overrides_of",
    "parse_override",
    "read_overrides",
    "run_script",
    "why",
]

KINDS = ("default", "instrument", "pipeline", "parameter", "file", "command-line")
"""Where a value may come from; the later ones usually win."""

_TOKEN = re.compile(r"\.?([^\W\d]\w*)|\[([^\]]*)\]")


@dataclass(frozen=True)
class Override:
    """One value for one field.

    Parameters
    ----------
    path : str
        The field: ``overscan.order``, ``method.name``, ``filters['r'].depth``, ``weights[2]``.
    value : object
        A number, text, list or mapping.  A mapping given to a field with further levels sets
        fields there.  For a sub-task field it is the dotted path of the new class.
    kind : str
        One of `KINDS`.
    origin : str
        ``ohp.yaml:17``, or the argument on the command line.
    by : str, optional
        Account that set it; that of this process when omitted.
    at : datetime, optional
        When, with its time zone; now when omitted.
    raw : str, optional
        The text that ``value`` was read from; it is taken where the field is a text.
    where : str
        Expression of the data IDs that it is for; of all when empty.
    """

    path: str
    value: Any
    kind: str = "command-line"
    origin: str = ""
    by: str | None = None
    at: datetime | None = None
    raw: str | None = None
    where: str = ""

    def __post_init__(self) -> None:
        _check_kind(self.kind)


@dataclass(frozen=True)
class Script:
    """Python code that changes ``config``, as configuration files in the field do.

    Parameters
    ----------
    code : str
        The code; ``parameters`` holds the pipeline's parameters.
    file : str
        What the history calls it; relative loads start from its folder.
    line : int
        The line on which the code begins, counted from 1.
    kind, by, at, where
        As for `Override`.
    parameters : mapping
        The pipeline's parameters.
    """

    code: str
    file: str
    line: int = 1
    kind: str = "file"
    by: str | None = None
    at: datetime | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""

    def __post_init__(self) -> None:
        _check_kind(self.kind)

    @property
    def origin(self) -> str:
        """File and line where it begins."""
        return f"{self.file}:{self.line}"


def parse_override(argument: str, kind: str = "command-line") -> tuple[str, Override]:
    """Read ``label:path=value``, or ``label[where]:path=value``, as on the command line.

    ``where`` is an expression of the data IDs that it is for, as in ``isr[detector = 3]:order=2``.
    The value is a Python literal: number, text in quotes, list, tuple, dictionary, True, False,
    None; anything else is a text.

    Returns
    -------
    (str, Override)
        The label and the override.

    Raises
    ------
    ConfigurationError
        If the argument has another shape.
    """
    label, where, rest = labelled(argument)
    match = re.fullmatch(r"((?:\[[^\]]*\]|[^=\[])+)=(.*)", rest, re.DOTALL)
    if not label or match is None:
        raise ConfigurationError(
            f"'{argument}' is not of the form label:path=value, as in isr:overscan.order=3, or "
            "label[where]:path=value, as in 'isr[detector = 3]:overscan.order=2'"
        )
    path, raw = (part.strip() for part in match.groups())
    try:
        value = ast.literal_eval(raw)
    except (SyntaxError, ValueError):
        value = raw
    return label, Override(path, value, kind, f"-c {argument}", raw=raw, where=where)


_LABELLED = re.compile(r"\s*([^:=\[\]]+?)\s*(?:\[((?:'[^']*'|[^\]'])*)\])?\s*:(.*)", re.DOTALL)


def labelled(argument: str) -> tuple[str, str, str]:
    """Split ``label:rest`` or ``label[where]:rest``; the label is empty in any other text."""
    match = _LABELLED.fullmatch(argument)
    if match is None:
        return "", "", argument
    label, where, rest = match.groups()
    if where is not None and not where.strip():
        raise ConfigurationError(
            f"'{argument}' has no expression in its brackets; write one, as in "
            f"'{label}[detector = 3]:...', or leave the brackets out"
        )
    return label, (where or "").strip(), rest


def read_overrides(
    file: str | Path, *, kind: str = "file", parameters: Mapping[str, Any] | None = None
) -> list[Override | Script]:
    """Read an override file: Python (``.py``) or YAML data (``.yaml``, ``.yml``).

    Raises
    ------
    ConfigurationError
        If it cannot be read, or is of another kind.
    PipelineError
        If YAML has a mistake; with its line.
    """
    name = str(file)
    try:
        text = plain_yaml.read_bytes(os.path.expandvars(name)).decode()
    except (OSError, UnicodeDecodeError, plain_yaml.UnreadableYaml) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"the override file cannot be read: {reason}", origin=name
        ) from error
    if name.endswith((".yaml", ".yml")):
        data = marked_yaml.load(text, name)
        if data is None:
            return []
        if not isinstance(data, marked_yaml.MarkedMap):
            raise PipelineError("an override file holds `path: value` pairs.", file=name, line=1)
        return list(overrides_of(data, name, kind=kind))
    if name.endswith(".py"):
        return [Script(text, os.path.expandvars(name), kind=kind, parameters=parameters or {})]
    raise ConfigurationError("an override file ends in .py, .yaml or .yml", origin=name)


def overrides_of(
    data: marked_yaml.MarkedMap, file: str, *, kind: str = "pipeline"
) -> Iterator[Override]:
    """Turn ``path: value`` pairs of a YAML file into overrides that know their line."""
    for path, value in data.items():
        yield Override(path, value, kind, f"{file}:{data.lines[path]}")


def apply(config: Config, override: Override, label: str = "") -> Iterator[Override]:
    """Set one override, or one after another what its mapping holds; yield each when it is done.

    Raises
    ------
    UnknownField
        If there is no such field; with a suggestion.
    ConfigurationError
        If the value does not fit.
    """
    try:
        holder, last = _find(config, override.path)
        yield from _set(config, holder, last, override, label)
    except _NoSuchFieldError as missing:
        raise UnknownField(
            f"{missing.where} has no field '{missing.name}'."
            f"{_suggestion(config, override.path, missing)}",
            label=label,
            path=override.path,
            value=override.value,
            origin=override.origin,
        ) from None
    except ConfigurationError:
        raise
    except FieldValidationError as error:
        raise _misfit(why(error), override, label) from error
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        ImportError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise _misfit(f"{error}", override, label) from error


class _NoSuchFieldError(Exception):
    """A part of a path does not exist."""

    def __init__(self, where: str, name: str, known: Iterable[str]) -> None:
        super().__init__(name)
        self.where = where
        self.name = name
        self.known = [str(k) for k in known]


def _find(config: Config, path: str) -> tuple[Any, Any]:
    """Follow a path to what holds its last part."""
    tokens = _tokens(path)
    holder: Any = config
    for token in tokens[:-1]:
        holder = _into(holder, token)
    return holder, tokens[-1]


def _tokens(path: str) -> list[Any]:
    tokens: list[Any] = []
    position = 0
    while position < len(path):
        match = _TOKEN.match(path, position)
        if match is None or (position == 0) != (path[position] not in ".["):
            raise ValueError(f"'{path}' is no path of the form a.b['key'].c")
        name, key = match.groups()
        try:
            tokens.append(name if name is not None else ast.literal_eval(key))
        except (SyntaxError, ValueError):
            tokens.append(key)
        position = match.end()
    if not tokens:
        raise ValueError("the path is empty")
    return tokens


def _into(holder: Any, token: Any) -> Any:
    """Take one step down."""
    if isinstance(holder, ConfigurableInstance):
        holder = holder.value
    if isinstance(holder, Config):
        if token not in set(holder):
            raise _NoSuchFieldError(type(holder).__name__, token, holder)
        return getattr(holder, token)
    if isinstance(holder, ConfigInstanceDict):
        if str(token) == "active":
            return holder.active
        return _entry(holder, token)
    if isinstance(holder, ConfigurableActionStruct):
        if token not in holder.fieldNames:
            raise _NoSuchFieldError("this level", token, holder.fieldNames)
        return getattr(holder, token)
    if isinstance(holder, Mapping):
        return _entry(holder, token)
    raise ValueError(f"there is nothing below '{holder!r}'")


def _entry(holder: Mapping[Any, Any], token: Any) -> Any:
    key = next((k for k in holder if k == token or str(k) == str(token)), None)
    if key is None:
        raise _NoSuchFieldError("this level", token, holder)
    return holder[key]


def _set(
    config: Config, holder: Any, last: Any, override: Override, label: str
) -> Iterator[Override]:
    """Set the last part of a path."""
    if isinstance(holder, ConfigurableInstance):
        holder = holder.value
    value = override.value
    if isinstance(holder, Config):
        if last not in set(holder):
            raise _NoSuchFieldError(type(holder).__name__, last, holder)
        yield from _set_field(config, holder, getattr(type(holder), last), override, label)
    elif isinstance(holder, ConfigInstanceDict) and last in {"name", "names"}:
        setattr(holder, last, list(value) if last == "names" and value is not None else value)
        yield override
    elif isinstance(value, Mapping):
        yield from _set_below(config, override, label)
    elif isinstance(holder, ConfigurableActionStruct):
        setattr(holder, last, import_dotted(value) if isinstance(value, str) else value)
        yield override
    elif isinstance(holder, (Mapping, list)) or hasattr(holder, "insert"):
        _set_item(holder, last, override)
        yield override
    else:
        raise ValueError(f"there is nothing below '{holder!r}'")


def _set_field(
    config: Config, holder: Config, target: Field[Any], override: Override, label: str
) -> Iterator[Override]:
    """Set a field of a configuration."""
    name, value = target.name, override.value
    levels = (
        ConfigurableField,
        ConfigChoiceField,
        ConfigDictField,
        ConfigField,
        ConfigurableActionStructField,
    )
    if isinstance(target, levels) and isinstance(value, Mapping):
        if isinstance(target, ConfigDictField):
            if getattr(holder, name) is None:
                setattr(holder, name, {})
            entries = getattr(holder, name)
            for key in value:
                fitted = _fit(key, None, target.keytype)
                if fitted not in entries:
                    entries[fitted] = target.itemtype
        yield override
        yield from _set_below(config, override, label)
        return
    if isinstance(target, ConfigurableField) and isinstance(value, str):
        getattr(holder, name).retarget(import_dotted(value))
    elif isinstance(target, (ConfigField, ConfigurableActionStructField)) and isinstance(
        value, str
    ):
        setattr(holder, name, import_dotted(value))
    else:
        setattr(holder, name, _fit_field(target, override))
    yield override


def _set_below(config: Config, override: Override, label: str) -> Iterator[Override]:
    """Set what a mapping holds, each with the line on which it stands."""
    lines = getattr(override.value, "lines", {})
    file, colon, line = override.origin.rpartition(":")
    for key, value in override.value.items():
        origin = override.origin
        if key in lines and colon and line.isdigit():
            origin = f"{file}:{lines[key]}"
        plain = isinstance(key, str) and all(part.isidentifier() for part in key.split("."))
        path = f"{override.path}.{key}" if plain else f"{override.path}[{key!r}]"
        yield from apply(
            config,
            dataclasses.replace(override, path=path, value=value, origin=origin, raw=None),
            label,
        )


def _set_item(holder: Any, key: Any, override: Override) -> None:
    """Set an item of a list or dictionary field."""
    target = holder._field  # noqa: SLF001 (the proxies of lsst-pex-config name their field nowhere else)
    value = _fit(override.value, override.raw, target.itemtype)
    if isinstance(target, DictField):
        holder[_fit(key, str(key), target.keytype)] = value
    elif isinstance(key, int):
        holder[key] = value
    else:
        raise TypeError(f"'{key}' is no position in a list")


def _fit_field(target: Field[Any], override: Override) -> Any:
    """Turn what was written into what the field takes, where there is no doubt."""
    value = override.value
    if isinstance(target, ListField):
        if isinstance(value, str):
            raise TypeError(f"a list is needed, as in [{value!r}]")
        return value if value is None else [_fit(v, None, target.itemtype) for v in value]
    if isinstance(target, DictField) and isinstance(value, Mapping):
        return {
            _fit(k, str(k), target.keytype): _fit(v, None, target.itemtype)
            for k, v in value.items()
        }
    return _fit(value, override.raw, target.dtype)


def _fit(value: Any, raw: str | None, dtype: Any) -> Any:
    """Read a text as the number that it is, and a number as the text that was written."""
    if dtype is str and raw is not None and value is not None:
        return value if isinstance(value, str) else raw
    if not isinstance(value, str):
        return value
    if dtype is bool:
        return {
            "true": True,
            "yes": True,
            "on": True,
            "false": False,
            "no": False,
            "off": False,
        }.get(value.lower(), value)
    if dtype in {int, float}:
        try:
            return dtype(value)
        except ValueError:
            return value
    return value


def run_script(config: Config, script: Script, label: str = "") -> None:
    """Run override code on the configuration, with its own file name and lines.

    Raises
    ------
    ConfigurationError
        If it fails; with the line, and the error as its cause.
    """
    source = "\n" * (script.line - 1) + script.code
    try:
        code = compile(source, script.file, "exec", dont_inherit=True)
        config.loadFromString(
            code,
            filename=str(Path(script.file).absolute()),
            extraLocals={"parameters": SimpleNamespace(**script.parameters)},
        )
    except SyntaxError as error:
        raise ConfigurationError(
            f"the override file is not Python: {error.msg}",
            label=label,
            origin=f"{error.filename or script.file}:{error.lineno}",
        ) from error
    except Exception as error:
        raise _script_failed(error, script, label) from error


def _script_failed(error: Exception, script: Script, label: str) -> ConfigurationError:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.name == "<module>"]
    origin = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else script.origin
    if isinstance(error, FieldValidationError):
        return ConfigurationError(why(error), label=label, path=error.fullname, origin=origin)
    return ConfigurationError(f"{type(error).__name__}: {error}", label=label, origin=origin)


def _misfit(reason: str, override: Override, label: str) -> ConfigurationError:
    types = re.search(r"is of incorrect type (\S+)\. Expected type (\S+)", reason)
    problem = (
        f"{override.value!r} is of type {types[1]}, but {types[2]} is needed"
        if types
        else f"{override.value!r} does not fit: {reason.rstrip('.')}"
    )
    return ConfigurationError(
        problem,
        label=label,
        path=override.path,
        value=override.value,
        origin=override.origin,
    )


def why(error: FieldValidationError) -> str:
    """Take the reason out of a message that also names the places of all definitions."""
    first = str(error).splitlines()[0]
    return re.sub(r"^\w+ '.*?' failed validation: ", "", first)


def _suggestion(config: Config, path: str, missing: _NoSuchFieldError) -> str:
    """Say which field may have been meant: of that name elsewhere, or of a like name here."""
    last = str(_tokens(path)[-1])
    elsewhere = [v.path for v in leaf_values(config) if v.path.rpartition(".")[2] == last]
    if elsewhere and last == str(missing.name):
        return " Did you mean " + " or ".join(f"'{p}'" for p in elsewhere[:3]) + "?"
    return did_you_mean(str(missing.name), missing.known)


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"An override comes from one of {', '.join(KINDS)}; not '{kind}'.")
