"""Is the page "Catalogues in tables" true?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa

from butler import Butler

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "catalogues-in-tables.md"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def test_all_of_the_page_is_as_it_says(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    n_commands, question = 0, ""
    for kind, title, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if title:
            (tmp_path / title).write_text(text)
            continue
        question = text if kind == "sql" else question
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            done = subprocess.run(  # noqa: S602 (our own page)
                command,
                shell=True,
                cwd=tmp_path,
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                check=True,
            )
            for line in expected.splitlines():
                assert line in done.stdout.splitlines(), f"{command}\n{done.stdout}"
            n_commands += 1
    assert n_commands == 8
    with Butler(tmp_path / "repo") as butler, butler.registry.read() as connection:
        found = connection.execute(sa.text(question)).all()
        assert found == [("u/me", None, 1, 120.0)]
