"""What is told, and what stays, when the system does not let a file be read, moved or removed?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backbone import endpoints
from backbone.audit import check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from butler import Butler

CHECKOUT = Path(__file__).parents[2]
KEYS = {"instrument": "DemoCam"}
BEGIN = """
import sys
from pathlib import Path
from backbone.audit import check
from butler import Butler, FileDataset
from registry.errors import SkyspineError
root, theirs = Path(sys.argv[1]), Path(sys.argv[2])
KEYS = {"instrument": "DemoCam"}
butler = Butler(root, run="u/test")
known = {"collections": "u/test", "detector": 1}

def told(verb, *given, **options):
    try:
        print(verb(*given, **options))
    except SkyspineError as error:
        print(error.code, "-", error)

def ingest(name, transfer):
    item = FileDataset(theirs / name, "summary", {**KEYS, "detector": 2})
    return butler.ingest([item], run="in", transfer=transfer)

def checked(**options):
    found = check(butler.registry.database, root, grace=0, **options).findings
    return [(f.problem, f.repaired) for f in found]

"""


@pytest.fixture
def closed() -> Iterator[list[Path]]:
    """Paths that are closed to all, and opened again at the end."""
    paths: list[Path] = []
    yield paths
    for path in paths:
        path.chmod(0o755)


def as_anybody(butler: Butler, theirs: Path, script: str) -> list[str]:
    """Run a script that obeys permissions, whoever runs the tests; give its lines."""
    without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]
    done = subprocess.run(
        [*(without if os.geteuid() == 0 else []), sys.executable, "-c", BEGIN + script,
         str(butler.root), str(theirs)],
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return [*done.stdout.splitlines(), *done.stderr.splitlines()]


def close(path: Path, closed: list[Path], mode: int = 0) -> None:
    path.chmod(mode)
    closed.append(path)


def stored(butler: Butler) -> tuple[Path, Path]:
    """Put something; give the folder and the file."""
    butler.put({"n": 1}, "summary", KEYS, detector=1)
    (path,) = butler.root.rglob("summary_*.yaml")
    return path.parent, path


def test_a_closed_file_is_neither_lost_nor_a_riddle(
    butler: Butler, tmp_path: Path, closed: list[Path]
) -> None:
    _, path = stored(butler)
    close(path, closed)
    found, repaired, exists, got = as_anybody(
        butler,
        tmp_path,
        """
told(checked, checksums=True)
told(checked, checksums=True, repair=True)
told(butler.exists, "summary", **KEYS, **known)
told(butler.get, "summary", **KEYS, **known)
""",
    )
    assert (found, repaired) == ("[('unreadable', False)]", "[('unreadable', False)]")
    assert exists == "True"
    assert got == f"read-failed - {path} cannot be read: Permission denied; " + (
        "check the file and its permissions."
    )
    path.chmod(0o644)
    assert butler.get("summary", KEYS, collections="u/test", detector=1) == {"n": 1}


def test_a_closed_folder_loses_nothing(butler: Butler, tmp_path: Path, closed: list[Path]) -> None:
    far = tmp_path / "far"
    far.mkdir()
    butler.registry.database.transact(endpoints.register, "far", str(far))
    folder, _ = stored(butler)
    butler.put({"n": 3}, "summary", KEYS, detector=3, endpoint="far")
    for path in (folder, far):
        close(path, closed)
    found, refused = as_anybody(
        butler,
        tmp_path,
        """
told(checked, repair=True)
told(butler.put, {"n": 4}, "summary", KEYS, detector=4, endpoint="far")
""",
    )
    assert found == "[('unreadable', False), ('unreachable', False)]"
    assert refused.startswith(f"storage - {far}")
    for path in (folder, far):
        path.chmod(0o755)
    for n in (1, 3):
        assert butler.get("summary", KEYS, collections="u/test", detector=n) == {"n": n}
    assert check(butler.registry.database, butler.root, grace=0).findings == []


def test_what_may_not_be_removed_stays_trash(
    butler: Butler, tmp_path: Path, closed: list[Path]
) -> None:
    folder, path = stored(butler)
    close(folder, closed, 0o555)
    removed, exists, repaired, warned = as_anybody(
        butler,
        tmp_path,
        """
told(butler.prune, butler.query_datasets("summary", **KEYS, **known), purge=True)
told(butler.exists, "summary", **KEYS, **known)
told(checked, repair=True)
""",
    )
    assert (removed, exists, repaired) == ("None", "False", "[('unreadable', False)]")
    assert f"{path} cannot be removed: Permission denied" in warned
    folder.chmod(0o755)
    repaired_now = check(butler.registry.database, butler.root, grace=0, repair=True).findings
    assert [(f.problem, f.repaired) for f in repaired_now] == [("trash", True)]
    assert not path.exists()


def test_what_may_not_be_taken_is_named(butler: Butler, tmp_path: Path, closed: list[Path]) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "inner").mkdir(parents=True)
    for name in ("a.yaml", "b.yaml", "inner/c.yaml"):
        (theirs / name).write_text("n: 2")
    close(theirs / "b.yaml", closed)
    close(theirs / "inner", closed)
    close(theirs, closed, 0o555)
    told = as_anybody(
        butler,
        theirs,
        """
told(ingest, "a.yaml", "move")
told(ingest, "b.yaml", "copy")
told(ingest, "b.yaml", "direct")
told(ingest, "inner/c.yaml", "copy")
told(butler.ingest_named, [theirs / "inner"], "summary", template="{detector}")
told(butler.ingest_named, [theirs], "summary", template="{detector}")
told(checked)
""",
    )
    assert f"ingest - {theirs / 'a.yaml'} cannot be moved, since nothing may be removed" in told[0]
    for line in told[1:3]:
        assert line.startswith(f"unreadable-file - {theirs / 'b.yaml'} cannot be read: Permission")
    assert told[3] == f"ingest - {theirs / 'inner/c.yaml'} cannot be read: Permission denied."
    assert told[4] == f"ingest - Nothing can be read of {theirs / 'inner'}: Permission denied."
    assert told[5].startswith("Ingested(refs=[], present=[], ignored=[], errors=[(")
    assert told[6:] == ["[]", f"{theirs / 'inner'} is left out: Permission denied"]
