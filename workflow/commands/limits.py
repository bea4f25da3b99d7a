"""The options that limit what a quantum may take, of all commands that execute quanta."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["limit_options", "needs_of"]

_F = TypeVar("_F", bound="Callable[..., Any]")


def limit_options(function: _F) -> _F:
    """Give a command ``--timeout`` and ``--resource``, which is passed on as ``resources``."""
    timeout = click.option(
        "--timeout",
        type=click.FloatRange(min=0),
        default=0.0,
        metavar="SECONDS",
        help="Give a quantum up that takes longer, and go on with the others.",
    )
    resource = click.option(
        "--resource",
        "resources",
        multiple=True,
        metavar="LABEL:NAME=VALUE",
        help="Instead of what a task declares: cores, ranks, memory_per_core [MiB], timeout and "
        "walltime_guess [s].",
    )
    return timeout(resource(function))


def needs_of(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read LABEL:NAME=VALUE of each, as the option --resource takes it."""
    from workflow.marked_yaml import scalar

    needs: dict[str, dict[str, Any]] = {}
    for argument in given:
        place, equals, value = argument.partition("=")
        label, colon, name = place.partition(":")
        if not (label and colon and name and equals):
            raise click.UsageError(f"'{argument}' is not of the form LABEL:NAME=VALUE.")
        needs.setdefault(label, {})[name] = scalar(value)
    return needs
