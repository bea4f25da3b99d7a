"""Where does the time of a run go, task by task?

What `cProfile` counted in each process is added up and written for `pstats`, which sorts and shows
it: ``python -m pstats FILE``.
"""

from __future__ import annotations

import os
import pstats
from typing import TYPE_CHECKING, Any

from workflow.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = ["NoPlaceForProfile", "check", "write"]


class NoPlaceForProfile(WorkflowError, OSError):
    """The file that is to have the profile cannot be written."""

    code = "no-place-for-profile"

    def __init__(self, file: Path) -> None:
        self.file = file
        super().__init__(
            f"The profile cannot be written to '{file}'; name a file in a folder that exists and "
            "that you may write to."
        )


class _Counted:
    """What `pstats` takes."""

    def __init__(self, stats: Any) -> None:
        self.stats = stats

    def create_stats(self) -> None:
        """Have it already."""


def check(file: Path) -> None:
    """Refuse a file that cannot be written, before anything runs.

    Raises
    ------
    NoPlaceForProfile
        If so.
    """
    if file.is_dir() or not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
        raise NoPlaceForProfile(file)


def write(file: Path, counted: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write what processes counted: all in one file, and each task in one beside it.

    Parameters
    ----------
    file : Path
        ``run.prof`` has all, and ``run.isr.prof`` the task isr.
    counted : sequence of mapping
        Label to what was counted, for each process.

    Returns
    -------
    list of Path
        The files; none when nothing was executed.
    """
    labels = dict.fromkeys(label for one in counted for label in one)
    by_label = {label: [one[label] for one in counted if label in one] for label in labels}
    if not by_label:
        return []
    files = {file: [stats for each in by_label.values() for stats in each]}
    files |= {file.with_name(f"{file.stem}.{k}{file.suffix}"): v for k, v in by_label.items()}
    for each, stats in files.items():
        _added(stats).dump_stats(each)
    return list(files)


def _added(counted: Iterable[Any]) -> pstats.Stats:
    return pstats.Stats().add(*map(_Counted, counted))  # type: ignore[arg-type]
