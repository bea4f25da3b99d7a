"""What does a file of logging settings say?

`read` turns the YAML into `Settings` and checks every key and value, with the line in errors.
What the settings do is in `workflow.logs.setup`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.errors import did_you_mean
from workflow.errors import PipelineError
from workflow.logs.errors import LogSettingsError
from workflow.logs.levels import DEFAULTS, level_named
from workflow.marked_yaml import MarkedList, MarkedMap, load

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["BrokerSettings", "DatabaseSettings", "FileSettings", "Settings", "read"]

CAPACITY = 10_000
STYLES = ("text", "json")


@dataclass(frozen=True)
class FileSettings:
    """A local file: where, as lines of JSON or text, how large, how many older ones."""

    path: str
    style: str = "json"
    level: int = 0
    max_bytes: int = 10_000_000
    keep: int = 5
    capacity: int = CAPACITY


@dataclass(frozen=True)
class DatabaseSettings:
    """The database: without a URL that of the repository whose quanta are executed."""

    url: str = ""
    level: int = 0
    capacity: int = CAPACITY


@dataclass(frozen=True)
class BrokerSettings:
    """RabbitMQ: its URL and the exchange."""

    url: str
    exchange: str = "skyspine.log"
    level: int = 0
    capacity: int = CAPACITY


@dataclass(frozen=True)
class Settings:
    """How this process, and those that it starts, log.

    Parameters
    ----------
    levels : mapping of int
        By component, as the file says.
    overrides : mapping of int
        By component, as the environment and the command line say: they win over the file.
    console : int or None
        Level from which on records go to standard error; None for none.
    console_style : str
        text or json.
    files, database, broker
        The other sinks; None for none.
    file : str
        Where this was read; it is watched for other levels.
    """

    levels: Mapping[str, int] = field(default_factory=lambda: dict(DEFAULTS))
    overrides: Mapping[str, int] = field(default_factory=dict)
    console: int | None = level_named("warning")
    console_style: str = "text"
    files: tuple[FileSettings, ...] = ()
    database: DatabaseSettings | None = DatabaseSettings()
    broker: BrokerSettings | None = None
    file: str = ""

    @property
    def rules(self) -> dict[str, int]:
        """The level of each component, whoever said it last."""
        return {**self.levels, **self.overrides}


def read(file: str | Path) -> Settings:
    """Read a file of settings.

    Raises
    ------
    LogSettingsError
        If it cannot be read or has a mistake; with file and line.
    """
    path = Path(file).absolute()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LogSettingsError(f"it cannot be read: {reason}.", file=str(file)) from error
    try:
        data = load(text, str(file))
    except PipelineError as error:
        raise LogSettingsError(error.problem, file=str(file), line=error.line) from error
    return _Reader(str(file), path).settings(data)


class _Reader:
    """Reads one file."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path

    def error(self, problem: str, line: int | None) -> LogSettingsError:
        return LogSettingsError(problem, file=self.name, line=line)

    def settings(self, content: Any) -> Settings:
        known = ("levels", "console", "files", "database", "rabbitmq")
        data = self.mapping(content, 1, "a file of settings", known)
        levels = dict(DEFAULTS)
        below = data.get("levels")
        if below is not None:
            line = data.lines["levels"]
            if not isinstance(below, MarkedMap):
                raise self.error("`levels` is a mapping of component to level.", line)
            for name in below:
                levels[name] = self.level(below, name, 0)
        console, style = self.console(data)
        return Settings(
            levels=levels,
            console=console,
            console_style=style,
            files=self.files(data),
            database=self.database(data),
            broker=self.broker(data),
            file=str(self.path),
        )

    def console(self, data: MarkedMap) -> tuple[int | None, str]:
        if data.get("console") is False:
            return None, "text"
        keys = self.section(data, "console", ("level", "style"))
        return self.level(keys, "level", level_named("warning")), self.style(keys, "text")

    def files(self, data: MarkedMap) -> tuple[FileSettings, ...]:
        listed = data.get("files")
        if listed is None:
            return ()
        if not isinstance(listed, MarkedList):
            raise self.error(
                "`files` is a list; begin each with `- path: ...`.", data.lines["files"]
            )
        known = ("path", "style", "level", "max_bytes", "keep", "capacity")
        found = []
        for item, line in zip(listed, listed.lines, strict=True):
            keys = self.mapping(item, line, "a file", known)
            path = Path(self.text(keys, "path", "", needed="logs/skyspine.jsonl")).expanduser()
            found.append(
                FileSettings(
                    str(path if path.is_absolute() else Path.cwd() / path),
                    self.style(keys, "json"),
                    self.level(keys, "level", 0),
                    self.number(keys, "max_bytes", FileSettings.max_bytes, least=1),
                    self.number(keys, "keep", FileSettings.keep, least=0),
                    self.number(keys, "capacity", CAPACITY, least=1),
                )
            )
        return tuple(found)

    def database(self, data: MarkedMap) -> DatabaseSettings | None:
        if data.get("database") is False:
            return None
        keys = self.section(data, "database", ("url", "level", "capacity"))
        return DatabaseSettings(
            self.text(keys, "url", ""),
            self.level(keys, "level", 0),
            self.number(keys, "capacity", CAPACITY, least=1),
        )

    def broker(self, data: MarkedMap) -> BrokerSettings | None:
        if data.get("rabbitmq") in (None, False):
            return None
        keys = self.section(data, "rabbitmq", ("url", "exchange", "level", "capacity"))
        return BrokerSettings(
            self.text(keys, "url", "", needed="amqp://user:password@host:5672/"),
            self.text(keys, "exchange", BrokerSettings.exchange),
            self.level(keys, "level", 0),
            self.number(keys, "capacity", CAPACITY, least=1),
        )

    def mapping(self, value: Any, line: int, what: str, known: Iterable[str]) -> MarkedMap:
        if value is None:
            return MarkedMap(line)
        if not isinstance(value, MarkedMap):
            raise self.error(f"{what} is a mapping of keys to values, not {value!r}.", line)
        for key in value:
            if key not in known:
                hint = did_you_mean(key, known)
                raise self.error(f"{what} has no key '{key}'.{hint}", value.lines[key])
        return value

    def section(self, data: MarkedMap, key: str, known: Iterable[str]) -> MarkedMap:
        line = data.lines.get(key, data.line)
        return self.mapping(data.get(key), line, f"`{key}`", known)

    def level(self, data: MarkedMap, key: str, default: int) -> int:
        if key not in data:
            return default
        return level_named(str(data[key]), file=self.name, line=data.lines[key])

    def style(self, data: MarkedMap, default: str) -> str:
        style = data.get("style", default)
        if style not in STYLES:
            hint = did_you_mean(str(style), STYLES)
            raise self.error(f"'{style}' is no style.{hint}", data.lines["style"])
        return str(style)

    def text(self, data: MarkedMap, key: str, default: str, *, needed: str = "") -> str:
        value = data.get(key, default)
        line = data.lines.get(key, data.line)
        if not isinstance(value, str):
            raise self.error(f"`{key}` is a text, not {value!r}.", line)
        if needed and not value:
            raise self.error(f"`{key}` is missing, as in `{key}: {needed}`.", line)
        return os.path.expandvars(value)

    def number(self, data: MarkedMap, key: str, default: int, *, least: int) -> int:
        value = data.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.error(
                f"`{key}` is a whole number from {least} on, not {value!r}.", data.lines[key]
            )
        return value
