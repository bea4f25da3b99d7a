from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from backbone import files
from backbone.audit import Finding, Report, check
from butler import Butler
from registry import provenance
from registry.errors import MissingDataset
from registry.identity import DatasetRef, uuid7
from registry.schema.files import replica

if TYPE_CHECKING:
    from collections.abc import Sequence

CHECKOUT = Path(__file__).parents[2]
LARGER_THAN_THE_LIMIT = 1_000_000


def put(butler: Butler, n: int) -> DatasetRef:
    return butler.put({"n": n}, "summary", instrument="DemoCam", detector=1, target=f"t{n}")


def place(butler: Butler, ref: DatasetRef) -> Path:
    with butler.registry.read() as connection:
        (copy,) = files.locate(connection, [ref.id])[ref.id]
    return copy.place(butler.root)


def checked(butler: Butler, **options: Any) -> Report:
    return check(butler.registry.database, butler.root, **{"grace": 0, **options})


def problems(findings: Sequence[Finding]) -> set[tuple[str, str]]:
    return {(f.problem, f.what) for f in findings}


def test_all_is_well(butler: Butler) -> None:
    for n in range(3):
        put(butler, n)
    report = checked(butler, checksums=True)
    assert (report.n_copies, report.n_files, report.findings) == (3, 3, [])


def test_damage_is_found_and_marked(butler: Butler) -> None:
    lost, short, changed, whole = (put(butler, n) for n in range(4))
    paths = [place(butler, r) for r in (lost, short, changed)]
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    paths[2].write_bytes(bytes(255 - b for b in paths[2].read_bytes()))
    sizes_only = {("missing", str(paths[0])), ("size", str(paths[1]))}
    assert problems(checked(butler).findings) == sizes_only
    everything = {*sizes_only, ("checksum", str(paths[2]))}
    report = checked(butler, checksums=True)
    assert problems(report.findings) == everything
    assert report.unrepaired == report.findings
    repaired = checked(butler, checksums=True, repair=True)
    assert problems(repaired.findings) == everything
    assert repaired.unrepaired == []
    for ref in (lost, short, changed):
        with pytest.raises(MissingDataset):
            butler.get(ref)
    assert butler.get(whole) == {"n": 3}
    with butler.registry.read() as connection:
        states = connection.execute(sa.select(replica.c.state).order_by(replica.c.file_id))
        assert list(states.scalars()) == ["lost", "corrupt", "corrupt", "available"]
    butler.prune([lost, short, changed], purge=True)
    assert checked(butler, checksums=True).findings == []
    assert put(butler, 0).id != lost.id


def test_what_nothing_refers_to_is_removed(butler: Butler) -> None:
    ref = put(butler, 0)
    mine = place(butler, ref)
    orphan = mine.with_name(f"{mine.name[:8]}_{uuid7().hex[-12:]}.yaml")
    part = mine.with_name(f".{orphan.name}.part")
    for path in (orphan, part):
        path.write_text("left by a process that was killed")
    assert checked(butler, grace=600).findings == []
    expected = {("orphan", str(orphan)), ("unfinished", str(part))}
    assert problems(checked(butler).findings) == expected
    assert orphan.exists()
    assert problems(checked(butler, repair=True).findings) == expected
    assert not orphan.exists()
    assert not part.exists()
    assert checked(butler).findings == []
    assert butler.get(ref) == {"n": 0}


def test_what_a_butler_did_not_name_is_left_alone(butler: Butler) -> None:
    notes = butler.root / "u" / "README.txt"
    notes.parent.mkdir(exist_ok=True)
    notes.write_text("mine")
    raw = butler.root / "IMG_0001.fits"
    raw.write_text("mine")
    assert checked(butler, repair=True).findings == []
    assert notes.exists()
    assert raw.exists()


def test_a_database_of_another_name_is_left_alone(tmp_path: Path) -> None:
    with Butler.create(tmp_path, db="sqlite:///mine.db") as butler:
        assert checked(butler, repair=True).findings == []
        assert (tmp_path / "mine.db").exists()
        butler.register_dataset_type("note", (), "StructuredDataDict")


def test_a_deletion_that_was_cut_short_is_finished(butler: Butler) -> None:
    first, second = put(butler, 0), put(butler, 1)
    paths = [place(butler, r) for r in (first, second)]
    with butler.registry.begin() as connection:
        files.begin_deletion(connection, [first.id, second.id])
    paths[1].unlink()
    assert not butler.exists(first)
    assert {f.problem for f in checked(butler).findings} == {"deleting"}
    assert paths[0].exists()
    assert checked(butler, repair=True).unrepaired == []
    assert not paths[0].exists()
    assert checked(butler).findings == []
    butler.prune([first, second], purge=True)
    assert butler.query_datasets("summary") == []


def test_a_purge_finishes_a_deletion_that_was_cut_short(butler: Butler) -> None:
    ref = put(butler, 0)
    path = place(butler, ref)
    with butler.registry.begin() as connection:
        files.begin_deletion(connection, [ref.id])
    butler.prune([ref], purge=True)
    assert not path.exists()
    assert checked(butler).findings == []


def test_the_quanta_of_a_dead_process_fail(butler: Butler) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    pids = {"dead": ended.pid, "alive": os.getpid()}
    ids = {}
    with butler.registry.begin() as connection:
        environment = provenance.record_environment(connection, "3.11", "linux", {})
        config = provenance.record_config(connection, "a.Config", "", [])
        for name, pid in pids.items():
            task = provenance.record_task(connection, "u/test", name, "a.Task", config, [])
            ids[name] = uuid7()
            ref = put(butler, pid)
            row = provenance.QuantumRow(ids[name], ref.data_id, ())
            provenance.insert_quanta(connection, task, [row])
            provenance.start(connection, ids[name], environment, platform.node(), pid)
    abandoned = {("abandoned", f"quantum {ids['dead']}")}
    assert problems(checked(butler).findings) == abandoned
    assert problems(checked(butler, repair=True).findings) == abandoned
    assert checked(butler).findings == []
    with butler.registry.read() as connection:
        states = {r["label"]: r for r in map(dict, provenance.quanta_of_run(connection, "u/test"))}
    assert states["alive"]["state"] == "running"
    assert states["dead"]["state"] == "failed"


FILL = """
import resource, signal, sys
from butler import Butler
from registry.errors import SkyspineError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Butler(sys.argv[1], run="u/test") as butler:
    butler.put({"n": 0}, "summary", instrument="DemoCam", detector=1, target="small")
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    try:
        big = {"text": "x" * (2 * int(sys.argv[2]))}
        butler.put(big, "summary", instrument="DemoCam", detector=1, target="big")
    except SkyspineError as error:
        print(error.code, "-", error)
"""


def test_a_file_that_finds_no_room_leaves_nothing(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(repository), str(LARGER_THAN_THE_LIMIT)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "cannot be written" in done.stdout or "could not be written" in done.stdout, done
    with Butler(repository, collections="u/test") as butler:
        report = checked(butler, checksums=True)
        assert (report.n_copies, report.n_files, report.findings) == (1, 1, [])
        assert [r.data_id["target"] for r in butler.query_datasets("summary")] == ["small"]
