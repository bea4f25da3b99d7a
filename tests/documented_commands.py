"""Do the commands that README and tutorial show on the demo's repository give an answer?

usage: python -m tests.documented_commands FOLDER COMMAND

FOLDER is where ``skyspine demo`` was run, COMMAND the skyspine to be asked.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/tutorial.md")
REPOSITORY = "skyspine-demo/repo"


def documented() -> list[list[str]]:
    """List the arguments of every command on the demo's repository, each once."""
    lines = [
        line.removeprefix("$ skyspine ")
        for page in PAGES
        for line in (CHECKOUT / page).read_text(encoding="utf-8").splitlines()
        if line.startswith("$ skyspine ") and REPOSITORY in line
    ]
    return [shlex.split(line, comments=True) for line in dict.fromkeys(lines)]


def fault(folder: Path, command: str, arguments: list[str]) -> str:
    """Run a command and say what is wrong with its answer; empty when nothing is."""
    done = subprocess.run(
        [command, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return done.stderr.strip() or f"status {done.returncode}"
    lines = done.stdout.splitlines()
    return "it answers nothing" if not lines or lines[-1] == "no rows" else ""


def main(folder: str, command: str) -> int:
    """Run all, and report those that fail."""
    asked = documented()
    faults = [(a, f) for a in asked if (f := fault(Path(folder), command, a))]
    for arguments, text in faults:
        print(f"skyspine {shlex.join(arguments)}: {text}")  # noqa: T201
    print(f"{len(asked) - len(faults)} of {len(asked)} documented commands answer.")  # noqa: T201
    return 1 if faults or not asked else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
