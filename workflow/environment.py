"""In which software does this process run?"""

from __future__ import annotations

import functools
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

__all__ = ["Environment", "current"]


class Environment(NamedTuple):
    """A software environment: Python, platform, packages by name, revision of a checkout."""

    python: str
    platform: str
    packages: dict[str, str]
    code_revision: str | None


@functools.cache
def current() -> Environment:
    """Describe the environment of this process; computed once."""
    packages = {
        str(d.metadata["Name"]): d.version for d in metadata.distributions() if d.metadata["Name"]
    }
    return Environment(
        platform.python_version(),
        f"{platform.system()} {platform.release()} {platform.machine()}",
        packages,
        _revision(),
    )


def _revision() -> str | None:
    """Give the revision of the checkout that this code runs from; None when it is installed."""
    checkout = Path(__file__).parent.parent
    if not (checkout / ".git").exists():
        return None
    try:
        asked = subprocess.run(
            ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None
