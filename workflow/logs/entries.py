"""What of a log record is kept, and how does it look as text and as JSON?"""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import platform
import sys
import traceback
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.database import account
from registry.identity import DIMENSIONS, uuid7
from registry.logs import LogEntry, LogProcess
from workflow.logs.levels import name_of

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping

__all__ = ["as_json", "as_mapping", "as_text", "entry_of", "shown", "this_process"]

_LONGEST = 16_000
"""Characters of a message or traceback; the smallest TEXT of the databases holds 64 kB."""
_CUT = " [cut]"


def this_process(now: dt.datetime) -> LogProcess:
    """Describe this process as one that begins to log."""
    program = " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]]) if sys.argv else "python"
    return LogProcess(uuid7(), platform.node(), os.getpid(), _clean(program), account(), now)


def entry_of(record: logging.LogRecord, number: int, bound: Mapping[str, Any]) -> LogEntry:
    """Take what is kept of a record; its arguments may change as soon as its caller goes on."""
    quantum = bound.get("quantum")
    return LogEntry(
        number,
        dt.datetime.fromtimestamp(record.created, dt.UTC),
        record.levelno,
        _clean(record.name)[:255],
        _clean(record.getMessage()),
        _clean(f"{record.filename}:{record.lineno} {record.funcName}")[:255],
        _clean(record.threadName or "")[:128],
        _trace(record),
        quantum if isinstance(quantum, uuid.UUID) else None,
        {_clean(k): _plain(v) for k, v in bound.items() if k != "quantum"},
    )


def _trace(record: logging.LogRecord) -> str | None:
    """Give the traceback; of a very long one the end, which has the error."""
    if record.exc_info and record.exc_info[1] is not None:
        text = "".join(traceback.format_exception(record.exc_info[1]))
    else:
        text = record.exc_text or record.stack_info or ""
    if len(text) > _LONGEST:
        text = f"[cut] {text[-_LONGEST:]}"
    return _clean(text) or None


def _clean(text: str) -> str:
    """Leave out what no database takes into a text: NUL and halves of characters."""
    if len(text) > _LONGEST + len(_CUT):
        text = text[:_LONGEST] + _CUT
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    """Turn a value into one of JSON."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    return _clean(str(value))


def as_mapping(process: LogProcess, entry: LogEntry) -> dict[str, Any]:
    """Show an entry as a mapping of plain values."""
    told = {
        "time": entry.logged_at.isoformat(timespec="microseconds"),
        "level": name_of(entry.level),
        "logger": entry.logger,
        "message": entry.message,
        "context": dict(entry.context),
        "quantum": str(entry.quantum_id) if entry.quantum_id else None,
        "exception": entry.exception,
        "host": process.host,
        "pid": process.pid,
        "thread": entry.thread,
        "place": entry.place,
        "process": str(process.identity),
        "number": entry.number,
    }
    return {k: v for k, v in told.items() if v not in (None, {})}


def as_json(process: LogProcess, entry: LogEntry) -> str:
    """Show an entry as one line of JSON."""
    return json.dumps(as_mapping(process, entry), ensure_ascii=False, separators=(",", ":"))


def shown(bound: Mapping[str, Any]) -> str:
    """Show keys with their values, those of data IDs first and in their order."""
    places = {d: n for n, d in enumerate(DIMENSIONS)}
    ordered = sorted(bound.items(), key=lambda item: places.get(item[0], len(places)))
    return " ".join(f"{k}={v}" for k, v in ordered)


def as_text(entry: LogEntry) -> str:
    """Show an entry as a line for people, with the traceback below it."""
    keys = shown(entry.context)
    line = (
        f"{entry.logged_at.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z "
        f"{name_of(entry.level):<8} {entry.logger}: {entry.message}"
    )
    line += f" [{keys}]" if keys else ""
    return f"{line}\n{entry.exception.rstrip()}" if entry.exception else line
