"""Are the files and commands of a page of the documentation as it says?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

__all__ = ["HOW_TO", "blocks", "followed"]

HOW_TO = Path(__file__).parents[1] / "docs" / "how-to"
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """List the blocks of a page: language, title and text of each."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def followed(page: Path, folder: Path) -> int:
    """Do in a folder what a page says: write its files, run its commands, compare what they print.

    Returns
    -------
    int
        How many commands it has.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(folder)}
    n_commands = 0
    for _, title, text in blocks(page):
        if title:
            (folder / title).write_text(text)
            continue
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            done = subprocess.run(  # noqa: S602 (our own page)
                command,
                shell=True,
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            said = f"{done.stdout}{done.stderr}"
            assert done.returncode == ("Failed:" in expected), f"{command}\n{said}"
            for line in expected.splitlines():
                assert line in said.splitlines(), f"{command}\n{said}"
            assert said or " " not in expected, command
            n_commands += 1
    return n_commands
