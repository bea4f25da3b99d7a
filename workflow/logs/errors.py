"""What can be wrong with the configuration of logging.

::

    WorkflowError
    └── LogSettingsError (ValueError)   a file, variable or option of logging has a mistake
"""

from __future__ import annotations

from workflow.errors import WorkflowError

__all__ = ["LogSettingsError"]


class LogSettingsError(WorkflowError, ValueError):
    """What was said about logging has a mistake.

    Parameters
    ----------
    problem : str
        One sentence, with what to do.
    file : str
        The file, variable or option.
    line : int, optional
        The line, counted from 1.
    """

    code = "log-settings"

    def __init__(self, problem: str, *, file: str = "", line: int | None = None) -> None:
        self.problem = problem
        self.file = file
        self.line = line
        place = f"{file}:{line}" if file and line else file
        super().__init__(f"{place}: {problem}" if place else problem)
