"""The commands that a site's administrator types, on each database: upgrade, then check."""

from __future__ import annotations

import subprocess
import sys


def skyspine(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from workflow.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_upgraded_database_has_no_difference_to_the_code(empty_database_url: str) -> None:
    empty = skyspine("db", "check", empty_database_url)
    assert empty.returncode == 1, empty
    assert "db create" in empty.stdout + empty.stderr
    upgraded = skyspine("db", "upgrade", empty_database_url)
    assert upgraded.returncode == 0, upgraded
    checked = skyspine("db", "check", empty_database_url)
    assert checked.returncode == 0, checked
