"""Does an export take along what lies in the inputs of a repository, and come to any endpoint?"""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
import yaml

from backbone import endpoints, files
from backbone.audit import check
from backbone.errors import EndpointRefuses, UnknownEndpoint
from butler import Butler
from butler.errors import ExchangeError, IngestError
from registry.errors import Conflict, MissingDataset
from registry.identity import DatasetRef, uuid7
from registry.schema.dimensions import exposure
from registry.schema.files import file as file_table
from tests.backbone import storage_servers
from tests.butler.three import NOTE, fill, frame
from tests.registry.provenance_graphs import Task, make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.databases import Databases

CAM = {"instrument": "Cam", "detector": 0}


class Chain:
    """A repository over another, over a third; in each something is made from what is in the next.

    far: frames 1 and 2, the first made from the second; near: frame 3, and a flat made from the
    first; me: a note made from the flat.
    """

    def __init__(self, folder: Path, urls: list[str]) -> None:
        far, near = folder / "far", folder / "near"
        self.one, self.two = fill(far, urls[2], "frames", 1, 2)
        with Butler(far, writeable=True) as butler:
            make(butler.registry, Task("frames", "reduce"), [([self.two], [self.one], "done")])
            butler.collections.register("good", "TAGGED")
            butler.collections.tag("good", [self.two])
        (self.three,) = fill(near, urls[1], "frames", 3)
        with Butler(near, writeable=True, inputs=[far]) as butler:
            self.flat = butler.put({"of": "near"}, "flat", CAM, run="flats")
            butler.adopt([self.one])
            make(butler.registry, Task("flats", "combine"), [([self.one], [self.flat], "done")])
        Butler.create(folder / "me", urls[0]).close()
        self.butler = Butler(folder / "me", writeable=True, inputs=[near])
        self.butler.registry.register_dataset_type(NOTE)
        self.note = self.butler.put({"of": "me"}, "note", run="notes")
        self.butler.adopt([self.flat])
        make(self.butler.registry, Task("notes", "look"), [([self.flat], [self.note], "done")])
        self.refs = [self.note, self.flat, self.three, self.two]


@pytest.fixture
def chain(tmp_path: Path, engines: list[Databases]) -> Iterator[Chain]:
    with contextlib.ExitStack() as stack:
        made = Chain(tmp_path, [stack.enter_context(maker.migrated()) for maker in engines])
        yield made
        made.butler.close()


@pytest.fixture
def target(engines: list[Databases], tmp_path: Path) -> Iterator[Butler]:
    with engines[0].migrated() as url, Butler.create(tmp_path / "target", url) as butler:
        yield butler


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Butler]:
    """Make further repositories, by copies of an empty one."""
    root = tmp_path_factory.mktemp("new") / "repo"
    Butler.create(root).close()
    return lambda path: Butler(shutil.copytree(root, path), writeable=True)


def assert_arrived(target: Butler, refs: list[DatasetRef]) -> None:
    said = {"note": {"of": "me"}, "flat": {"of": "near"}}
    frames: dict[Any, Any] = {2: {"of": "far", "n": 2}, 3: {"of": "near", "n": 3}}
    for ref in refs:
        name = ref.dataset_type.name
        assert target.get(ref) == (said[name] if name in said else frames[ref.data_id["exposure"]])
    assert check(target.registry.database, target.root, grace=0, checksums=True).findings == []


def test_datasets_bring_files_and_history_of_all_repositories(
    chain: Chain, target: Butler, new: Callable[[Path], Butler], tmp_path: Path
) -> None:
    made = chain.butler.export(tmp_path / "out", chain.refs, also=["good"])
    assert (made.datasets, made.files, made.quanta) == (4, 4, 3)
    assert made.notes == [  # the first frame
        "datasets go along as records only, since others were made from them"
    ]
    taken = target.import_(tmp_path / "out")
    assert (len(taken.refs), taken.files, taken.quanta, taken.notes) == (5, 4, 3, [])
    assert_arrived(target, chain.refs)
    behind = {edge.input.id for edge in target.registry.provenance.ancestors(chain.note.id)}
    assert behind == {chain.flat.id, chain.one.id, chain.two.id}
    assert target.query_datasets("frame", collections="good") == [chain.two]
    exposures = target.query_dimension_records("exposure", order_by=["exposure"])
    assert [record["id"] for record in exposures] == [1, 2, 3]
    forms = {"all.zip": None, "all.yaml": None, "peer.zip": "daf-butler-zip"}
    for name, style in forms.items():
        also = () if style else ("good",)
        made = chain.butler.export(tmp_path / name, chain.refs, format=style, also=also)
        assert (made.datasets, made.files, made.records["exposure"]) == (
            (4, 4, 3) if name == "all.zip" else (4, 4, 2)
        )
        with new(tmp_path / f"of-{name}") as other:
            other.import_(tmp_path / name)
            assert_arrived(other, chain.refs)
            assert style or other.query_datasets("frame", collections="good") == [chain.two]


def test_history_is_asked_of_every_repository_until_nothing_is_new(
    chain: Chain, tmp_path: Path
) -> None:
    """The repository that is searched last tells what only one before it can go on with."""
    with Butler(chain.butler.root, writeable=True) as me:
        me.adopt([chain.two])
        later = me.put({"of": "me"}, "frame", frame(4), run="notes")
        make(me.registry, Task("notes", "again"), [([chain.note], [later], "done")])
        with Butler(tmp_path / "far", writeable=True, inputs=[me.root]) as far:
            far.adopt([later])
            last = far.put({"of": "far"}, "flat", {**CAM, "detector": 1}, run="frames")
            make(far.registry, Task("frames", "last"), [([later], [last], "done")])
        made = me.export(tmp_path / "out", [last])
    assert (made.files, made.quanta) == (1, 5)


def test_files_of_inputs_that_stay_and_such_of_one_path(
    chain: Chain, target: Butler, new: Callable[[Path], Butler], tmp_path: Path
) -> None:
    for ref, root in ((chain.note, "me"), (chain.three, "near")):
        with Butler(tmp_path / root, writeable=True) as butler, butler.registry.begin() as at:
            (copy,) = files.locate(at, [ref.id])[ref.id]
            copy.place(butler.root).rename(butler.root / "same.yaml")
            same = sa.update(file_table).where(file_table.c.id == copy.file_id)
            at.execute(same.values(path="same.yaml"))
    others = iter([target])
    for name in ("out", "out.yaml"):
        chain.butler.export(tmp_path / name, chain.refs)
        direct, without = tmp_path / f"direct-{name}", tmp_path / f"without-{name}"
        chain.butler.export(direct, chain.refs, transfer="direct")
        chain.butler.export(without, chain.refs, transfer=None)
        for path, how in (
            (tmp_path / name, {}),
            (direct, {"transfer": "direct"}),
            (without, {"directory": chain.butler.root}),
        ):
            with next(others, None) or new(tmp_path / f"of-{path.name}") as other:
                assert other.import_(path, **how).files == 4
                assert_arrived(other, chain.refs)


def test_what_repositories_tell_differently(chain: Chain, target: Butler, tmp_path: Path) -> None:
    with Butler(tmp_path / "far", writeable=True) as far, far.registry.begin() as connection:
        connection.execute(sa.update(exposure).values(target_name="elsewhere"))
    with Butler(tmp_path / "near") as near:
        kept = {r["id"]: r["target_name"] for r in near.query_dimension_records("exposure")}
    made = chain.butler.export(tmp_path / "out", chain.refs)
    (note,) = (text for text in made.notes if "otherwise" in text)
    assert str(tmp_path / "far") in note
    target.import_(tmp_path / "out")
    told = {r["id"]: r["target_name"] for r in target.query_dimension_records("exposure")}
    assert told == {1: kept[1], 2: "elsewhere", 3: kept[3]}  # the second is a frame of far alone
    with Butler(tmp_path / "far", writeable=True) as far:
        other = far.put({"of": "far"}, "flat", {**CAM, "detector": 1}, run="flats")
        reads = [([chain.two], [other], "done")]
        make(far.registry, Task("flats", "combine", {"other": "1"}), reads)
    with pytest.raises(Conflict, match=r"task flats, combine: config is .* Export from one"):
        chain.butler.export(tmp_path / "no", [chain.flat, other])
    assert not (tmp_path / "no").exists()
    nowhere = DatasetRef(uuid7(), NOTE, NOTE.data_id(), "notes")
    with pytest.raises(MissingDataset, match="nor an input of it has the dataset"):
        chain.butler.export(tmp_path / "no", [chain.flat, nowhere])


def test_files_come_to_the_endpoint_that_is_named(
    chain: Chain,
    target: Butler,
    new: Callable[[Path], Butler],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for key, value in storage_servers.KEYS.items():
        monkeypatch.setenv(key, value)
    for name in ("out", "out.yaml"):
        chain.butler.export(tmp_path / name, chain.refs)
    path = tmp_path / "out"
    with storage_servers.s3() as storage:
        target.registry.database.transact(endpoints.register, "store", storage.root)
        with pytest.raises(UnknownEndpoint, match="Did you mean 'store'"):
            target.import_(path, endpoint="stor")
        with pytest.raises(IngestError, match="lies behind a URL, where nothing can be linked"):
            target.import_(path, endpoint="store", transfer="symlink")
        with pytest.raises(IngestError, match="name no endpoint"):
            target.import_(path, endpoint="store", transfer="direct")
        with pytest.raises(ExchangeError, match="name none"):
            target.import_(path, endpoint="store", transfer=None)
        storage.deny()
        with pytest.raises(EndpointRefuses, match="'store' refuses"):
            target.import_(path, endpoint="store")
        assert target.registry.dataset_types() == []  # neither rows nor files
        assert not any(path.is_file() for path in (target.root / "frames").rglob("*"))
        assert storage.gate is not None
        storage.gate.answer = None
        assert target.import_(path, endpoint="store").files == 4
        assert_arrived(target, chain.refs)
        with target.registry.read() as connection:
            found = files.locate(connection, [ref.id for ref in chain.refs])
        assert {copy.endpoint.name for (copy,) in found.values()} == {"store"}
        assert list(target.root.rglob("*.part")) == []
    for name in ("out", "out.yaml"):
        disk = tmp_path / f"disk-of-{name}"
        disk.mkdir()
        with new(tmp_path / f"of-{name}") as second:
            second.registry.database.transact(endpoints.register, "disk", str(disk))
            second.import_(tmp_path / name, endpoint="disk", transfer="hardlink")
            assert_arrived(second, chain.refs)
        stored = list(disk.rglob("*_*.yaml"))
        assert len(stored) == 4
        assert all(isinstance(yaml.safe_load(path.read_text()), dict) for path in stored)
