"""Does a Butler find, read and record what other repositories have, and leave them as they are?"""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
import yaml

from butler import Butler
from butler.errors import InputNotFound, RepositoryNotFound
from butler.inputs import recorded, relocate, remove
from registry import DatasetType, Timespan
from registry.database import roles
from registry.errors import (
    Conflict,
    DatasetExists,
    DefinitionConflict,
    InUse,
    MissingDataset,
    ReadOnly,
    RegistryError,
    UnknownCollection,
    UnknownDatasetType,
)
from registry.repositories import UnknownInput, homes_of
from tests.butler.test_repository import CHECKOUT, for_anybody, protected
from tests.butler.three import Three, fill, frame
from tests.sql.test_roles import account

if TYPE_CHECKING:
    from pathlib import Path

    from registry import DatasetRef
    from tests.databases import Databases

READ_INPUT = """
import sys
from butler import Butler
with Butler(sys.argv[1] + "/me", collections="frames") as reader:
    print(reader.get("frame", instrument="Cam", detector=0, exposure=1))
"""


def test_search_goes_from_the_repository_through_its_inputs(three: Three) -> None:
    with three.open(run="mine", collections=["mine", "frames"]) as butler:
        assert butler.get("frame", frame(1)) == {"of": "first", "n": 1}
        assert butler.get("frame", frame(2)) == {"of": "first", "n": 2}
        assert butler.get("frame", frame(3)) == {"of": "second", "n": 3}
        assert butler.get(three.second[0]) == {"of": "second", "n": 2}
        assert butler.get_deferred("frame", frame(3)).get() == {"of": "second", "n": 3}
        assert butler.exists("frame", frame(3))
        assert not butler.exists("frame", frame(4))
        assert butler.find_dataset("frame", frame(2)) == three.first[1]
        mine = butler.put({"of": "me", "n": 2}, "frame", frame(2))
        assert butler.find_dataset("frame", frame(2)) == mine
        assert butler.get("frame", frame(2), collections="frames") == {"of": "first", "n": 2}
        with pytest.raises(MissingDataset, match="searched 'mine', 'frames'"):
            butler.get("frame", frame(4))
        with pytest.raises(UnknownCollection, match="Did you mean 'frames'"):
            butler.get("frame", frame(4), collections="frame")
        with pytest.raises(UnknownDatasetType, match="Did you mean 'frame'"):
            butler.get("frames", frame(4))


def test_inputs_are_recorded_and_found_again(three: Three) -> None:
    three.open().close()  # for reading only: not recorded
    with Butler(three.folder / "me", collections="frames") as butler:
        assert butler.inputs == ()
        with pytest.raises(UnknownDatasetType):
            butler.query_datasets("frame")
    three.open(writeable=True).close()
    with Butler(three.folder / "me", collections="frames") as butler:
        assert [p.root.name for p in butler.inputs] == ["first", "second"]
        assert butler.get("frame", frame(3)) == {"of": "second", "n": 3}
        rows = recorded(butler.registry)
    with Butler(three.folder / "second") as second:
        assert rows[1].repository_id == second.registry.id
    assert [row.position for row in rows] == [0, 1]
    with three.open(writeable=True, inputs=three.folder / "second") as butler:
        assert [row.repository_id for row in recorded(butler.registry)] == [
            row.repository_id for row in rows
        ]


def test_an_input_that_has_moved_is_told_and_found_by_its_identity(three: Three) -> None:
    three.open(writeable=True).close()
    me, first = three.folder / "me", three.folder / "first"
    first.rename(three.folder / "elsewhere")
    with Butler(me, writeable=True, collections="frames") as butler:
        assert butler.collections.query() == []  # what needs no input does not ask for it
        with pytest.raises(InputNotFound, match=f"not in {first} any more.*--relocate FOLDER"):
            butler.get("frame", frame(1))
        with pytest.raises(UnknownInput, match="--add makes it an input"):
            relocate(butler.registry, me)
        relocate(butler.registry, three.folder / "elsewhere")
    with Butler(me, collections="frames") as butler:
        assert butler.get("frame", frame(1)) == {"of": "first", "n": 1}
        assert [row.position for row in recorded(butler.registry)] == [0, 1]


def test_another_repository_in_the_place_of_an_input_is_told(three: Three) -> None:
    three.open(writeable=True).close()
    first, second = three.folder / "first", three.folder / "second"
    first.rename(three.folder / "away")
    second.rename(first)
    with (
        Butler(three.folder / "me", collections="frames") as butler,
        pytest.raises(InputNotFound, match="is another repository now"),
    ):
        butler.get("frame", frame(1))


def test_what_cannot_be_an_input(three: Three) -> None:
    me = three.folder / "me"
    with pytest.raises(RepositoryNotFound):
        Butler(me, writeable=True, inputs=["nowhere"])
    with pytest.raises(Conflict, match="this repository itself"):
        Butler(me, writeable=True, inputs=[me])
    with three.open(writeable=True) as butler:
        butler.adopt(three.first)
        first, second = recorded(butler.registry)
        with pytest.raises(InUse, match="2 datasets of the repository"):
            remove(butler.registry, first.repository_id)
        remove(butler.registry, second.repository_id)
        with pytest.raises(UnknownInput, match="Known: "):
            remove(butler.registry, second.repository_id)
        assert recorded(butler.registry) == [first]


def test_inputs_of_inputs_are_searched_each_once_and_in_a_ring(three: Three) -> None:
    folder = three.folder
    Butler(folder / "first", writeable=True, inputs=[folder / "second"]).close()
    Butler(folder / "second", writeable=True, inputs=[folder / "first"]).close()
    with three.open(inputs=[folder / "first"], collections="frames") as butler:
        assert [p.root.name for p in butler.inputs] == ["first", "second"]
        assert butler.get("frame", frame(3)) == {"of": "second", "n": 3}
    with Butler(folder / "second", collections="frames") as butler:
        assert butler.get("frame", frame(2)) == {"of": "second", "n": 2}
        assert butler.get("frame", frame(1)) == {"of": "first", "n": 1}


def contents(root: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(p.relative_to(root)): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def test_reading_an_input_leaves_it_as_it_was(three: Three) -> None:
    roots = [three.folder / "first", three.folder / "second"]
    before = [contents(root) for root in roots]
    with three.open(run="mine", collections="frames") as butler:
        for n in (1, 2, 3):
            butler.get("frame", frame(n))
        butler.put({"of": "me"}, "frame", frame(4))
        butler.query_datasets("frame", collections="*")
        butler.adopt(three.first)
        for place in butler.inputs:
            with pytest.raises(ReadOnly):
                place.registry.register_collection("mine")
            with pytest.raises(RegistryError), place.registry.read() as connection:
                connection.execute(sa.text("DELETE FROM file"))
    assert [contents(root) for root in roots] == before
    with Butler(roots[0], collections="frames") as first:
        assert first.get("frame", frame(1)) == {"of": "first", "n": 1}


def test_an_input_that_may_only_be_read(tmp_path: Path) -> None:
    fill(tmp_path / "first", f"sqlite:///{tmp_path / 'first' / 'registry.sqlite3'}", "frames", 1)
    with Butler.create(tmp_path / "me"):
        pass
    Butler(tmp_path / "me", writeable=True, inputs=tmp_path / "first").close()
    with protected(tmp_path / "first"):
        done = subprocess.run(
            for_anybody(READ_INPUT, tmp_path),
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.stdout, done.stderr) == ("{'of': 'first', 'n': 1}\n", "")


def test_an_input_on_a_server_needs_a_reader_only(
    three: Three, backend: str, engines: list[Databases]
) -> None:
    if engines[1].name == "sqlite":  # which has no accounts
        assert backend in ("sqlite", "mariadb")
        return
    settings = three.folder / "first" / "skyspine.yaml"
    told = settings.read_text()
    url = yaml.safe_load(told)["db"]
    with account(url, roles.READER) as reading:
        settings.write_text(told.replace(url, reading))
        with three.open(run="mine", collections="frames") as butler:
            assert butler.get("frame", frame(1)) == {"of": "first", "n": 1}
            assert len(butler.adopt(three.first)) == 2
            assert len(butler.query_datasets("frame")) == 3


def test_a_put_takes_types_and_records_from_the_inputs(three: Three) -> None:
    with three.open(run="mine", collections=["mine", "frames"]) as butler:
        ref = butler.put({"of": "me"}, "frame", frame(3))
        assert butler.registry.get_refs([ref.id]) == {ref.id: ref}
        assert [r["id"] for r in butler.registry.query_dimension_records("exposure")] == [3]
        with butler.transaction():
            butler.put({"of": "me"}, "frame", frame(1))
            butler.put({"of": "me"}, "frame", frame(2))
        with pytest.raises(RegistryError, match="There is no exposure '77'"):
            butler.put({"of": "me"}, "frame", frame(77))
        with pytest.raises(DatasetExists):
            butler.put({"of": "me"}, "frame", frame(3))
        assert len(list((three.folder / "me").rglob("frame_*"))) == 3


def test_definitions_that_differ_are_told(three: Three) -> None:
    other = DatasetType("frame", ("instrument", "detector"), "StructuredDataDict")
    with three.open(writeable=True, collections="frames") as butler:
        butler.registry.insert_dimension_records("instrument", [{"name": "Cam", "detector_max": 2}])
        butler.registry.register_dataset_type(other)
        with pytest.raises(DefinitionConflict, match="has the dimensions"):
            butler.query_datasets("frame")
        with pytest.raises(DefinitionConflict, match="registered already"):
            butler.adopt(three.first)
        assert homes_of_all(butler, three.first) == {}


def homes_of_all(butler: Butler, refs: list[DatasetRef]) -> dict[Any, Any]:
    with butler.registry.read() as connection:
        return homes_of(connection, [r.id for r in refs])


def test_adopted_datasets_keep_their_identity_and_their_home(three: Three) -> None:
    with three.open(writeable=True, collections="frames") as butler:
        assert butler.adopt([*three.first, three.second[1]]) == [*three.first, three.second[1]]
        assert butler.adopt(three.first) == []
        refs = butler.registry.get_refs([r.id for r in three.first])
        assert list(refs.values()) == three.first
        first, second = (p.id for p in butler.inputs)
        assert homes_of_all(butler, [*three.first, *three.second]) == {
            three.first[0].id: first,
            three.first[1].id: first,
            three.second[1].id: second,
        }
        assert butler.query_datasets("frame") == [*three.first, three.second[1]]
        assert len(butler.query_datasets("frame", find_first=False)) == 4
        assert butler.get(three.first[0]) == {"of": "first", "n": 1}
        with pytest.raises(Conflict, match="another frame with .*exposure: 2"):
            butler.adopt(three.second)
        assert len(butler.registry.report("orphan")) == 0
        butler.prune([three.first[0]], purge=True)
        assert butler.get("frame", frame(1)) == {"of": "first", "n": 1}


def test_calibrations_are_found_by_time_in_any_of_them(three: Three) -> None:
    with Butler(three.folder / "second", writeable=True) as second:
        flat = second.put({"flat": 2}, "flat", instrument="Cam", detector=0, run="flats")
        night = second.query_dimension_records("day_obs")[0]
        second.certify("calib", [flat], Timespan(night["begin_tai_ns"], night["end_tai_ns"]))
    with Butler(three.folder / "first", writeable=True) as first:
        first.collections.register("calib", "CALIBRATION")
    with three.open(collections=["frames", "calib"]) as butler:
        assert butler.get("flat", frame(1)) == {"flat": 2}
        assert butler.find_dataset("flat", frame(1)) == flat
        at_night = [r["id"] for r in butler.query_dimension_records("exposure")]
        outside = next(n for n in at_night if butler.find_dataset("flat", frame(n)) is None)
        with pytest.raises(MissingDataset, match=f"In {three.folder / 'second'}: .*valid"):
            butler.get("flat", frame(outside))


def test_datasets_of_inputs_are_tagged_and_certified(three: Three) -> None:
    with Butler(three.folder / "second", writeable=True) as second:
        flat = second.put({"flat": 2}, "flat", instrument="Cam", detector=0, run="flats")
    with three.open(writeable=True) as butler:
        butler.collections.register("best", "TAGGED")
        butler.collections.tag("best", [three.first[0], three.second[1]])
        assert butler.registry.query_datasets("frame", "best") == [three.first[0], three.second[1]]
        butler.certify("mine", [flat], Timespan(None, None))
        assert butler.get("flat", frame(1), collections="mine") == {"flat": 2}


def test_a_chain_may_name_collections_of_the_inputs(three: Three) -> None:
    with Butler(three.folder / "first", writeable=True) as first:
        first.collections.register("tags", "TAGGED")
        first.collections.chain("all", ["tags", "frames"])
    with three.open(run="mine") as butler:
        butler.collections.chain("view", ["mine", "all"])
        mine = butler.put({"of": "me", "n": 1}, "frame", frame(1))
        [view] = butler.collections.query("view")
        assert view.children == ("mine", "tags", "frames")
        with pytest.raises(UnknownCollection, match="'noframes'"):
            butler.collections.chain("view", ["mine", "noframes"])
    with Butler(three.folder / "me", collections="view") as butler:
        assert butler.find_dataset("frame", frame(1)) == mine
        assert butler.get("frame", frame(2)) == {"of": "first", "n": 2}
        assert butler.get("frame", frame(3)) == {"of": "second", "n": 3}
        assert len(butler.query_datasets("frame")) == 3


def test_a_camera_of_an_input_completes_data_ids(
    tmp_path: Path, engines: list[Databases], night_frames: Path
) -> None:
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(maker.migrated()) for maker in engines[:2]]
        with Butler.create(tmp_path / "there", urls[1]) as butler:
            butler.register_instrument("ohp-t152")
            frames = sorted(night_frames.rglob("*.fit*"))[:1]
            [ref] = butler.ingest_raws(frames, run="raw").refs
        Butler.create(tmp_path / "me", urls[0]).close()
        with Butler(tmp_path / "me", inputs=tmp_path / "there", collections="raw") as butler:
            exposure = ref.data_id["exposure"]
            assert butler.find_dataset("raw", exposure=exposure, detector=0) == ref
            assert butler.get("raw", exposure=exposure, detector=0).data.size > 1000
            assert butler.definition("OHP-T152").name == "OHP-T152"
