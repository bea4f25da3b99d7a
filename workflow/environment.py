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
    packages = map(_name_and_version, metadata.distributions())
    return Environment(
        platform.python_version(),
        f"{platform.system()} {platform.release()} {platform.machine()}",
        {name: version for name, version in packages if name},
        _revision(),
    )


def _name_and_version(package: metadata.Distribution) -> tuple[str, str]:
    """Read two lines: `metadata` would parse descriptions, a hundred of which take 0.1 s."""
    files = ("METADATA", "PKG-INFO", "")  # of a wheel, of an egg, of an egg that is one file
    text = next((text for file in files if (text := package.read_text(file))), "")
    header = text.partition("\n\n")[0].splitlines()
    name, version = (
        next((line[len(key) :].strip() for line in header if line.startswith(key)), "")
        for key in ("Name:", "Version:")
    )
    return name, version


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
