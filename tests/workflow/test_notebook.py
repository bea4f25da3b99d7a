"""Are the cells of the page on Python and notebooks as it says, in a session without a file?"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from tests import pages

if TYPE_CHECKING:
    from pathlib import Path

SESSION = """
import ast, json, sys
for cell in json.loads(sys.stdin.read()):
    tree = ast.parse(cell)
    shown = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    told = None
    try:
        exec(compile(tree, "cell", "exec"))
        if shown is not None:
            told = repr(eval(compile(ast.Expression(shown.value), "cell", "eval")))
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
    print(json.dumps(told))
"""


def test_each_cell_shows_what_is_below_it(tmp_path: Path) -> None:
    found = pages.blocks(pages.HOW_TO / "use-from-python.md")
    cells = [text for language, _, text in found if language == "python"]
    done = subprocess.run(
        [sys.executable, "-c", SESSION],
        input=json.dumps(cells),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert shown == [text.rstrip() for language, _, text in found if language == "text"]
    assert [language for language, _, _ in found] == ["python", "text"] * 8
