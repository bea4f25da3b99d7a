"""Do the examples of the page on many cores and nodes run as they stand?"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
PAGE = CHECKOUT / "docs" / "how-to" / "use-many-cores-and-nodes.md"
SCRIPTS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("script", SCRIPTS, ids=range(len(SCRIPTS)))
def test_examples_run_from_an_empty_folder(script: str, tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "-W", "error", "example.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_there_are_examples_of_all_three_kinds() -> None:
    assert ["tile_map" in SCRIPTS[0], "launch" in SCRIPTS[1], "run_nodes" in SCRIPTS[2]] == [
        True
    ] * 3
