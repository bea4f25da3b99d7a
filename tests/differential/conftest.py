"""Where is lsst-daf-butler, and what does it answer?

`make test` installs it into an environment of its own, `peer` in the tests' own environment;
`SKYSPINE_TEST_PEER` names the Python of another one.  It is asked once per test session, whatever
the number of workers.
"""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from butler import Butler
from tests.butler.exchange import small
from tests.conftest import UNDER_CI
from tests.differential import questions
from tests.registry.observatory import exposure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.databases import Databases

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Peer:
    """What the other registry answered.

    Parameters
    ----------
    files : dict of str to list of Path
        Export files by repository.
    answers : dict of int to object
        By place of the question in the list.
    contents : dict
        Everything in a repository; that of ``NAME here`` came there through an export of ours.
    exported, rewritten : dict of str to Path
        Exports of everything, as this registry on SQLite and the other one write them.
    files_there : Path
        Folder of its export with files.
    read : dict
        What it read from the files of this registry, by identity; ``made`` is its own dataset.
    """

    files: dict[str, list[Path]]
    answers: list[Any]
    contents: dict[str, Any]
    exported: dict[str, Path]
    rewritten: dict[str, Path]
    files_there: Path
    read: dict[str, Any]


@pytest.fixture(scope="session")
def peer_python() -> Path:
    """Python that has lsst-daf-butler."""
    python = Path(os.environ.get("SKYSPINE_TEST_PEER", Path(sys.prefix) / "peer/bin/python"))
    if not python.exists():
        message = f"no lsst-daf-butler in {python}: make test installs it"
        if UNDER_CI:
            pytest.fail(message)
        pytest.skip(message)
    return python


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that all workers of the session share."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "differential"
    shared.mkdir(exist_ok=True)
    return shared


@pytest.fixture(scope="session")
def peer(peer_python: Path, test_data: Path, shared_folder: Path) -> Peer:
    """Ask lsst-daf-butler everything, or read what another worker was answered."""
    (wheel,) = peer_python.parents[1].glob("lib/python*/site-packages/lsst/daf/butler/tests")
    with (shared_folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        files = {
            name: [_found(path, wheel, test_data, shared_folder) for path in paths]
            for name, paths in questions.REPOSITORIES.items()
        }
        exported = {name: shared_folder / f"{name}-here.yaml" for name in files}
        rewritten = {name: shared_folder / f"{name}-there.yaml" for name in files}
        answered = shared_folder / "answers.json"
        if not answered.exists():
            told = _ask(peer_python, files, exported, rewritten, shared_folder)
            answered.write_text(told, encoding="utf-8")
    told = json.loads(answered.read_text(encoding="utf-8"))
    there = shared_folder / "files-there"
    return Peer(files, told["answers"], told["contents"], exported, rewritten, there, told["files"])


def _found(path: str, wheel: Path, test_data: Path, folder: Path) -> Path:
    where, _, name = path.partition("/")
    if where == "here":
        return HERE / name
    if where == "peer":
        return wheel / "registry_data" / name
    plain = folder / name
    packed = test_data / "butler-registry-exports" / f"{name}.gz"
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    return plain


def _ask(
    python: Path,
    files: dict[str, list[Path]],
    exported: dict[str, Path],
    rewritten: dict[str, Path],
    folder: Path,
) -> str:
    """Run the other registry on the files, and on what this one made of them."""
    repositories = {name: list(map(str, paths)) for name, paths in files.items()}
    for name, paths in files.items():
        with Butler.create(folder / name / "here") as butler:
            for path in paths:
                butler.import_(path, transfer=None)
            export_all(butler, exported[name])
        repositories[f"{name} here"] = [str(exported[name])]
    asked = {
        "work": str(folder / "there"),
        "repositories": repositories,
        "questions": [q.for_peer() for q in questions.read_questions()],
        "rewrite": {name: str(path) for name, path in rewritten.items()},
        "files": {"source": str(folder / "files"), "target": str(folder / "files-there")},
    }
    with Butler.create(folder / "with-files", None) as butler:
        small.fill(butler)
        refs = butler.query_datasets("metrics", collections="*", find_first=False)
        butler.export(folder / "files", refs, format="daf-butler-yaml")
        insert = butler.registry.insert_dimension_records
        insert("physical_filter", [{"instrument": "Cam", "name": "Ha"}])
        insert("exposure", [exposure(3, small.NIGHT, "bias")])
        export_all(butler, folder / "native.yaml")
        repositories["native"] = [str(folder / "native.yaml")]
    (folder / "there").mkdir()
    run = subprocess.run(
        [python, HERE / "peer.py"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return run.stdout


def export_all(butler: Butler, path: Path) -> None:
    """Export everything that a repository holds."""
    refs = [
        ref
        for kind in butler.registry.dataset_types()
        for ref in butler.query_datasets(kind, collections="*", find_first=False)
    ]
    names = [c.name for c in butler.registry.collections()]
    butler.export(path, refs, also=names, transfer=None, records="all")


@pytest.fixture(params=sorted(questions.REPOSITORIES), scope="module")
def repository(
    request: pytest.FixtureRequest,
    peer: Peer,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, Butler]]:
    """A repository on each database with what its export files say, and its name."""
    root = tmp_path_factory.mktemp(request.param)
    with databases.migrated() as url, Butler.create(root / "repo", url) as butler:
        for path in peer.files[request.param]:
            butler.import_(path, transfer=None)
        yield request.param, butler
