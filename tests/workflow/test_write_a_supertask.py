"""Is the page "Write your first SuperTask" true?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa

from butler import Butler
from registry.schema import provenance as schema

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-a-supertask.md"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def test_all_of_the_page_is_as_it_says(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(tmp_path)}
    n_commands = 0
    for _, title, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if title:
            (tmp_path / title).write_text(text)
            continue
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            done = subprocess.run(  # noqa: S602 (our own page)
                command,
                shell=True,
                cwd=tmp_path,
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
    assert n_commands == 11
    q = schema.quantum.c
    with Butler(tmp_path / "repo") as butler, butler.registry.read() as connection:
        found = connection.execute(sa.select(q.error_kind, q.metadata).where(q.state == "failed"))
        kinds = {kind: (metadata or {}).get("error") for kind, metadata in found}
        assert kinds == {"repeatable": None, "unprocessable-data": {"highest": 60.0}}
        [night] = butler.query_datasets("night_level", collections="levels")
        assert butler.get(night) == {"mean": 45.0}
