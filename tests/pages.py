"""Are the files and commands of a page of the documentation as it says?"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from workflow.cli import main

if TYPE_CHECKING:
    from tests.nursery import Nursery

__all__ = ["HOW_TO", "blocks", "followed", "skyspine"]

HOW_TO = Path(__file__).parents[1] / "docs" / "how-to"
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """List the blocks of a page: language, title and text of each."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def followed(page: Path, folder: Path, nursery: Nursery) -> int:
    """Do in a folder what a page says: write its files, run its commands, compare what they print.

    The first command, and what needs a shell, is run by one; the others are children of the
    nursery, which need not import everything.

    Returns
    -------
    int
        How many commands it has.
    """
    n_commands = 0
    for _, title, text in blocks(page):
        if title:
            (folder / title).write_text(text)
            continue
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            words = _words(command) if n_commands else []
            if words[:1] == ["skyspine"]:
                status, lines = nursery.run(f"{__name__}:skyspine", str(folder), words)
            else:
                status, lines = _shell(command, folder)
            said = "\n".join(lines)
            assert status == ("Failed:" in expected), f"{command}\n{said}"
            for line in expected.splitlines():
                assert line in lines, f"{command}\n{said}"
            assert said or " " not in expected, command
            n_commands += 1
    return n_commands


def _words(command: str) -> list[str]:
    """Split a command; none when a shell would do more with it."""
    read = shlex.shlex(command, posix=True, punctuation_chars=True)
    read.whitespace_split = True
    words = list(read)
    return [] if any(set(word) <= set("();<>|&") for word in words) else words


def _shell(command: str, folder: Path) -> tuple[int, list[str]]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(  # noqa: S602 (our own page)
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, f"{done.stdout}{done.stderr}".splitlines()


def skyspine(folder: str, words: list[str]) -> NoReturn:
    """Be the command, as a child of the nursery, in a folder where its modules lie."""
    os.chdir(folder)
    os.dup2(1, 2)
    os.environ["PYTHONPATH"] = folder  # for processes that it starts
    sys.path.insert(0, folder)
    sys.argv = words
    main()
