"""From which level on does each component log?

A rule gives a logger, and all below it, a level; the longest name wins, as in `logging` itself.
A level without a name is for this project and the tasks (`skyspine`), ``root`` for everything else.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from workflow.logs.errors import LogSettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULTS", "LEVELS", "TRACE", "VERBOSE", "level_named", "name_of", "read_rules", "rule"]

TRACE = 5
VERBOSE = 15
LEVELS = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "verbose": VERBOSE,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
_ALIASES = {"warn": "warning", "fatal": "critical"}
OWN = "skyspine"
ROOT = "root"
DEFAULTS = {ROOT: logging.WARNING, OWN: logging.INFO}

logging.addLevelName(TRACE, "TRACE")
logging.addLevelName(VERBOSE, "VERBOSE")


def level_named(text: str, *, file: str = "", line: int | None = None) -> int:
    """Read a level.

    Raises
    ------
    LogSettingsError
        If there is none of this name.
    """
    lowered = text.strip().lower()
    try:
        return LEVELS[_ALIASES.get(lowered, lowered)]
    except KeyError:
        from registry.errors import did_you_mean

        hint = did_you_mean(lowered, LEVELS)
        raise LogSettingsError(f"'{text}' is no level.{hint}", file=file, line=line) from None


def name_of(level: int) -> str:
    """Name a level; one between two names by the lower of them."""
    below = [name for name, value in LEVELS.items() if value <= level]
    return below[-1].upper() if below else str(level)


def read_rules(text: str, origin: str = "") -> dict[str, int]:
    """Read rules as they stand in a variable or an option.

    Parameters
    ----------
    text : str
        ``level`` or ``component=level``, comma separated.
    origin : str
        What errors call it.

    Examples
    --------
    >>> read_rules("info, skyspine.isr=debug")
    {'skyspine': 20, 'skyspine.isr': 10}
    """
    rules = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, level = part.rpartition("=")
        if equals and not name.strip():
            raise LogSettingsError(
                f"'{part}' names no component: write component=level, or a level alone.",
                file=origin,
            )
        rules[name.strip() or OWN] = level_named(level, file=origin)
    return rules


_set: set[str] = set()


def rule(rules: Mapping[str, int]) -> None:
    """Give loggers their levels, and those that had one from here before, and no more, none."""
    for name in _set - set(rules):
        _logger(name).setLevel(logging.WARNING if name == ROOT else logging.NOTSET)
    for name, level in rules.items():
        _logger(name).setLevel(level)
    _set.clear()
    _set.update(rules)


def _logger(name: str) -> logging.Logger:
    return logging.getLogger(None if name == ROOT else name)
