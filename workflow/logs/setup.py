"""How does a process begin to log as its settings say, change levels while it runs, and end?

`configure` puts handlers on the root logger and levels on the components; `close` takes them away
again and tells what was lost. `capture` keeps the records of quanta in the database of their
repository.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from dataclasses import replace
from multiprocessing import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.logs import context, levels
from workflow.logs.errors import LogSettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from workflow.logs.buffer import Background
    from workflow.logs.settings import DatabaseSettings, Settings

__all__ = [
    "CONFIG",
    "LEVELS",
    "TOLD",
    "Capture",
    "capture",
    "close",
    "configure",
    "in_force",
    "look",
    "settings_from",
    "tell",
]

LEVELS = "SKYSPINE_LOG"
"""Environment variable with levels, as ``info,skyspine.isr=debug``."""
CONFIG = "SKYSPINE_LOG_CONFIG"
"""Environment variable with the name of a file of settings."""
TOLD = "told_otherwise"
"""Attribute of a record that the console leaves out, since the command itself tells it."""
_LOOK_S = 1.0
"""How often the file of settings is looked at [s]."""

_log = logging.getLogger("skyspine.logs")


class _Console(logging.StreamHandler[Any]):
    """Standard error, whatever that is at the time."""

    def __init__(self, level: int, style: str) -> None:
        logging.Handler.__init__(self, level)
        self._style = style
        self.n_dropped = 0

    @property
    def stream(self) -> Any:
        return sys.stderr

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave out what the command tells itself."""
        return not hasattr(record, TOLD) and bool(super().filter(record))

    def format(self, record: logging.LogRecord) -> str:
        """Show a record as its style says."""
        from registry.database import utc_now
        from workflow.logs.entries import as_json, as_text, entry_of, this_process

        entry = entry_of(record, 0, context.of(record))
        return as_json(this_process(utc_now()), entry) if self._style == "json" else as_text(entry)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (of logging)
        """Count what a closed terminal did not take; a wrong message is told as usual."""
        if isinstance(sys.exc_info()[1], (OSError, ValueError)):
            self.n_dropped += 1
        else:
            super().handleError(record)


class _State:
    """What `configure` has done in this process."""

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self.handlers: list[logging.Handler] = []
        self.captures: dict[str, Capture] = {}
        self.watch: _Watch | None = None
        self.finalizer: util.Finalize | None = None


_state = _State()


def settings_from(
    file: str | None = None, given: Iterable[str] = (), *, environment: bool = True
) -> Settings:
    """Put settings together: the file, then the environment, then what is given; the last wins.

    Parameters
    ----------
    file : str, optional
        Instead of the one that the environment names.
    given : iterable of str
        Levels, as ``debug`` or ``skyspine.isr=debug``.
    environment : bool
        Whether it is looked at.

    Raises
    ------
    LogSettingsError
        If one of them has a mistake.
    """
    from workflow.logs.settings import Settings, read

    variables = os.environ if environment else {}
    named = file or variables.get(CONFIG)
    found = read(named) if named else Settings()
    rules = levels.read_rules(variables.get(LEVELS, ""), LEVELS)
    for text in given:
        rules |= levels.read_rules(text, "--log-level")
    return replace(found, overrides=rules)


def configure(settings: Settings | None = None) -> None:
    """Log as the settings say from now on; what was configured before ends.

    Parameters
    ----------
    settings : Settings, optional
        By default those of the environment.
    """
    chosen = settings_from() if settings is None else settings
    made = list(_handlers(chosen))
    close()
    context.on_every_record()
    levels.rule(chosen.rules)
    root = logging.getLogger()
    for handler in made:
        root.addHandler(handler)
    _state.settings, _state.handlers = chosen, made
    _end_with_the_process()
    if chosen.file:
        _state.watch = _Watch(chosen.file)
        _state.watch.start()


def _end_with_the_process() -> None:
    """Write what waits at the end, in a worker process too, which ends without `atexit`."""
    if _state.finalizer is None:
        _state.finalizer = util.Finalize(None, _at_exit, exitpriority=10)


def _handlers(settings: Settings) -> Iterator[logging.Handler]:
    if settings.console is not None:
        yield _Console(settings.console, settings.console_style)
    if settings.files or settings.broker or (settings.database and settings.database.url):
        from workflow.logs.buffer import Background
        from workflow.logs.sinks import BrokerSink, DatabaseSink, FileSink

        for f in settings.files:
            sink = FileSink(f.path, f.style, f.max_bytes, f.keep)
            yield Background(sink, f.level, f.capacity)
        if settings.broker:
            b = settings.broker
            yield Background(BrokerSink(b.url, b.exchange), b.level, b.capacity)
        if settings.database and settings.database.url:
            d = settings.database
            yield Background(DatabaseSink(d.url), d.level, d.capacity)


def in_force() -> Settings | None:
    """Give the settings of this process, to be passed to those that it starts."""
    return _state.settings


def close() -> list[str]:
    """Write what waits, for some seconds at most, and log no further.

    Returns
    -------
    list of str
        A sentence for each sink that has lost something.
    """
    if _state.watch is not None:
        _state.watch.stop()
    if _state.finalizer is not None:
        _state.finalizer.cancel()
    told = [text for kept in list(_state.captures.values()) if (text := kept.end())]
    root = logging.getLogger()
    for handler in _state.handlers:
        root.removeHandler(handler)
        told += [text] if (text := _finished(handler)) else []
        handler.close()
    if _state.settings is not None:
        levels.rule({})
    _state.settings, _state.handlers, _state.watch, _state.finalizer = None, [], None, None
    return told


def _finished(handler: logging.Handler) -> str:
    finish = getattr(handler, "finish", None)
    return finish() if finish is not None else ""


def tell(lost: Iterable[str]) -> None:
    """Say on standard error what `close` tells."""
    for text in lost:
        sys.stderr.write(f"skyspine: {text}\n")


def _at_exit() -> None:
    tell(close())


class Capture:
    """Keeps the records of quanta in the database of their repository, until it is closed."""

    def __init__(self, url: str, settings: DatabaseSettings | None) -> None:
        self.url = url
        self._users = 0
        self._handler = None if settings is None else self._made(url, settings)
        if self._handler is not None:
            context.on_every_record()
            _end_with_the_process()
            logging.getLogger().addHandler(self._handler)

    def _made(self, url: str, settings: DatabaseSettings) -> Background:
        from workflow.logs.buffer import Background
        from workflow.logs.sinks import DatabaseSink

        keeper = self

        class OfQuanta(Background):
            """Takes the records that were made while one of its quanta was executed."""

            def wants(self, record: logging.LogRecord) -> bool:
                return context.of(record).capture is keeper

        return OfQuanta(DatabaseSink(url), settings.level, settings.capacity)

    def open(self) -> None:
        """Count one more user."""
        self._users += 1

    def quantum(self, **keys: Any) -> AbstractContextManager[None]:
        """Bind the keys of a quantum while it is executed."""
        return context.executing(self, keys)

    def close(self) -> None:
        """Write what waits, once nobody uses it any more; tell on standard error what was lost."""
        self._users -= 1
        if self._users <= 0 and (text := self.end()):
            sys.stderr.write(f"skyspine: {text}\n")

    def end(self) -> str:
        """Write what waits, and tell in a sentence what was lost."""
        _state.captures.pop(self.url, None)
        handler, self._handler = self._handler, None
        if handler is None:
            return ""
        logging.getLogger().removeHandler(handler)
        told = handler.finish()
        handler.close()
        return told


def capture(url: str) -> Capture:
    """Keep the records of quanta from now on, in the database of their repository.

    Parameters
    ----------
    url : str
        Of the database.

    Returns
    -------
    Capture
        To be closed; what is captured for one database is captured once.
    """
    if url not in _state.captures:
        from workflow.logs.settings import DatabaseSettings

        wanted = DatabaseSettings() if _state.settings is None else _state.settings.database
        if wanted is not None and wanted.url == url:
            wanted = None  # it has them from its own handler
        _state.captures[url] = Capture(url, wanted)
    found = _state.captures[url]
    found.open()
    return found


def look() -> bool:
    """Read the file of settings again if it has changed, and take its levels over.

    Returns
    -------
    bool
        Whether levels were taken over. A file with a mistake is told in the log, and changes none.
    """
    return _state.watch is not None and _state.watch.look()


class _Watch(threading.Thread):
    """Looks at the file of settings once a second."""

    def __init__(self, file: str) -> None:
        super().__init__(name="log settings", daemon=True)
        self._file = Path(file)
        self._ended = threading.Event()
        self._seen = self._state()

    def _state(self) -> tuple[int, int, int] | None:
        try:
            status = self._file.stat()
        except OSError:
            return None  # it is being replaced, or gone: what it said holds on
        return status.st_mtime_ns, status.st_size, status.st_ino

    def run(self) -> None:
        while not self._ended.wait(_LOOK_S):
            self.look()

    def look(self) -> bool:
        from workflow.logs.settings import read

        now = self._state()
        if now is None or now == self._seen or _state.settings is None:
            return False
        self._seen = now
        try:
            changed = replace(_state.settings, levels=read(self._file).levels)
        except LogSettingsError as error:
            _log.warning("The levels stay as they are: %s", error)
            return False
        _state.settings = changed
        levels.rule(changed.rules)
        _log.info("The levels of %s are in force.", self._file)
        return True

    def stop(self) -> None:
        self._ended.set()
