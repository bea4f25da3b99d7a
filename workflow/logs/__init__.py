"""How do programs and tasks log, and where does it go?

Everything is the standard `logging`: ``logging.getLogger(__name__)``, or ``self.log`` in a task.
This package adds what a survey needs around it:

- `context`: keys such as exposure and detector on every record (`bound`, `carried`)
- `elsewhere`: ranks and worker processes log with the quantum of whoever started them
- `levels`: from which level on each component logs
- `settings`, `setup`: a YAML file, the environment and the command line say how (`configure`)
- `buffer`, `sinks`: files, database and message broker, which never hold anybody up
- `entries`: what of a record is kept

What was kept is read by `registry.logs` and ``skyspine log``.
"""

from __future__ import annotations

from workflow.logs.context import bound, carried, current
from workflow.logs.elsewhere import Elsewhere, elsewhere
from workflow.logs.errors import LogSettingsError
from workflow.logs.levels import TRACE, VERBOSE
from workflow.logs.setup import Capture, capture, close, configure, in_force, look, settings_from

__all__ = [
    "TRACE",
    "VERBOSE",
    "Capture",
    "Elsewhere",
    "LogSettingsError",
    "bound",
    "capture",
    "carried",
    "close",
    "configure",
    "current",
    "elsewhere",
    "in_force",
    "look",
    "settings_from",
]
