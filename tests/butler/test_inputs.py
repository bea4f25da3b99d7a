"""Does a Butler find, read and record what other repositories have, and leave them as they are?"""

from __future__ import annotations

import contextlib
import random
import subprocess
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from butler import Butler
from butler.errors import InputNotFound, RepositoryNotFound
from butler.inputs import recorded, relocate, remove
from registry import DatasetType, Timespan
from registry.database import roles
from registry.datasets import insert_datasets
from registry.errors import (
    Conflict,
    DatasetExists,
    DefinitionConflict,
    InUse,
    InvalidDataId,
    MissingDataset,
    ReadOnly,
    RegistryError,
    UnknownCollection,
    UnknownDatasetType,
)
from registry.identity import uuid7
from registry.repositories import UnknownInput, homes_of
from tests.butler.test_repository import CHECKOUT, for_anybody, protected
from tests.registry import observatory
from tests.sql.test_roles import account

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry import DatasetRef
    from tests.databases import Databases

FRAME = DatasetType("frame", ("instrument", "detector", "exposure"), "StructuredDataDict")
FLAT = DatasetType("flat", ("instrument", "detector"), "StructuredDataDict", is_calibration=True)
NOTE = DatasetType("note", (), "StructuredDataDict")
READ_INPUT = """
import sys
from butler import Butler
with Butler(sys.argv[1] + "/me", collections="frames") as reader:
    print(reader.get("frame", instrument="Cam", detector=0, exposure=1))
"""


def frame(exposure: int, detector: int = 0) -> dict[str, Any]:
    return {"instrument": "Cam", "detector": detector, "exposure": exposure}


def fill(root: Path, url: str, run: str, *exposures: int) -> list[DatasetRef]:
    """Make a repository with frames of some of four exposures; each holds what it is."""
    with Butler.create(root, url) as butler:
        observatory.fill(butler.registry)
        for kind in (FRAME, FLAT):
            butler.registry.register_dataset_type(kind)
        with butler.transaction():
            return [
                butler.put({"of": root.name, "n": n}, "frame", frame(n), run=run) for n in exposures
            ]


class Three:
    """A repository, and two that it reads: frames 1 and 2, and frames 2 and 3."""

    def __init__(self, folder: Path, urls: list[str]) -> None:
        self.folder = folder
        self.first = fill(folder / "first", urls[1], "frames", 1, 2)
        self.second = fill(folder / "second", urls[2], "frames", 2, 3)
        Butler.create(folder / "me", urls[0]).close()

    def open(self, **how: Any) -> Butler:
        given = {"inputs": [self.folder / "first", self.folder / "second"], **how}
        return Butler(self.folder / "me", **given)


@pytest.fixture
def three(tmp_path: Path, engines: list[Databases]) -> Iterator[Three]:
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(maker.migrated()) for maker in engines]
        yield Three(tmp_path, urls)


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


def test_questions_give_each_dataset_once(three: Three) -> None:
    with three.open(collections="frames") as butler:
        found = butler.query_datasets("frame")
        assert set(found) == {*three.first, three.second[1]}
        every = butler.query_datasets("frame", find_first=False)
        assert len(every) == 4
        assert set(every) == {*three.first, *three.second}
        assert list(butler.stream_datasets("frame")) == [*three.first, three.second[1]]
        assert set(butler.stream_datasets("frame", find_first=False)) == set(every)
        table = butler.table_of_datasets("frame", columns=["exposure.day_obs"])
        assert set(table["dataset_id"].to_pylist()) == {str(r.id) for r in found}
        assert table.column_names[-1] == "exposure.day_obs"
        assert butler.count_datasets("frame") == [{"n": 3}]
        assert butler.count_datasets("frame", find_first=False, by=["exposure"]) == [
            {"exposure": 1, "n": 1},
            {"exposure": 2, "n": 2},
            {"exposure": 3, "n": 1},
        ]
        assert butler.query_datasets("frame", where="exposure > 1 AND exposure < 3") == [
            three.first[1]
        ]
        statement, _ = butler.show_query("frame")
        assert f"-- {three.folder / 'second'}" in statement
        assert butler.query_datasets("frame", where="exposure = 77") == []
        assert butler.count_datasets("frame", where="exposure = 77", by=["run"]) == []
        why = butler.explain_no_datasets("frame", where="exposure = 77")
        for root in ("first", "second"):
            assert f"In {three.folder / root}: " in why


@pytest.mark.parametrize(
    "order", [(), ("-exposure",), ("run", "-exposure"), ("exposure.target_name",)]
)
def test_order_limit_and_pages_are_those_of_one_repository(
    three: Three, order: tuple[str, ...]
) -> None:
    with three.open(run="all", collections="frames") as butler:
        butler.adopt([*three.first])
        asked: dict[str, Any] = {"find_first": False, "order_by": order}
        every = butler.query_datasets("frame", **asked)
        assert len(every) == 4
        exposures = [r.data_id["exposure"] for r in every]
        if order:
            assert exposures == ([3, 2, 2, 1] if "-exposure" in order else exposures)
        pages, last = [], None
        while page := butler.query_datasets("frame", limit=1, after=last, **asked):
            pages += page
            last = page[-1]
        assert pages == every
        assert butler.query_datasets("frame", limit=2, **asked) == every[:2]
        with pytest.raises(ValueError, match="at least 0"):
            butler.query_datasets("frame", limit=-1)
        with pytest.raises(MissingDataset):
            butler.query_datasets("frame", after=butler.registry.id)


def test_pages_and_streams_of_many_give_what_all_are(three: Three) -> None:
    """Three repositories that share data IDs and datasets, against one list made by hand."""
    chance = random.Random(7)
    everywhere = [frame(n, d) for n in (1, 2, 3, 4) for d in (0, 1)]
    shared: dict[tuple[int, int], uuid.UUID] = {}
    told: list[list[DatasetRef]] = []
    for name in ("me", "first", "second"):
        with Butler(three.folder / name, writeable=True) as butler:
            if name == "me":
                observatory.fill(butler.registry)
                butler.registry.register_dataset_type(FRAME)
            butler.registry.register_collection("many", "RUN")
            chosen = chance.sample(everywhere, 6)
            ids = []
            for d in chosen:
                key = (d["exposure"], d["detector"])
                # as versions 4 and 7, which not every database sorts alike
                random_id = uuid.UUID(int=chance.getrandbits(128), version=4)
                new = chance.choice((random_id, uuid7()))
                ids.append(shared.setdefault(key, new) if chance.random() < 0.5 else new)
            with butler.registry.begin() as connection:
                told.append(insert_datasets(connection, FRAME, chosen, "many", ids=ids))
    with three.open(collections="many") as butler:
        for order in ((), ("detector",), ("-exposure", "detector"), ("-exposure.target_name",)):
            for find_first in (True, False):
                asked: dict[str, Any] = {"find_first": find_first, "order_by": order}
                every = butler.query_datasets("frame", **asked)
                assert set(every) == gathered(told, find_first=find_first)
                assert list(butler.stream_datasets("frame", **asked)) == every
                pages: list[DatasetRef] = []
                while page := butler.query_datasets(
                    "frame", limit=3, after=pages[-1] if pages else None, **asked
                ):
                    pages += page
                assert pages == every
        table = butler.table_of_datasets(
            "frame", columns=["exposure.day_obs"], limit=4, after=every[0], **asked
        )
        assert table["dataset_id"].to_pylist() == [str(r.id) for r in every[1:5]]
        assert None not in table["exposure.day_obs"].to_pylist()
        with pytest.raises(ValueError, match="at least 0"):
            list(butler.stream_datasets("frame", limit=-1))


def gathered(told: list[list[DatasetRef]], *, find_first: bool) -> set[DatasetRef]:
    """Gather what several repositories have, of each data ID what the first of them has."""
    wanted: dict[uuid.UUID, DatasetRef] = {}
    for refs in told:
        taken = {ref.data_id for ref in wanted.values()} if find_first else set()
        wanted |= {r.id: r for r in refs if r.id not in wanted and r.data_id not in taken}
    return set(wanted.values())


def test_data_ids_and_records_of_all(three: Three) -> None:
    with Butler(three.folder / "second", writeable=True) as second:
        late = observatory.exposure(9, 20220921, "science")
        second.registry.insert_dimension_records("exposure", [late])
    with three.open(collections="frames") as butler:
        records = butler.query_dimension_records("exposure")
        assert [r["id"] for r in records] == [1, 2, 3, 4, 9]
        by_time = butler.query_dimension_records("exposure", order_by=["-exposure.begin_tai_ns"])
        assert [r["id"] for r in by_time][:2] == [9, 4]
        one = {"instrument": "Cam", "exposure": 9}
        assert len(butler.query_dimension_records("exposure", data_id=one)) == 1
        assert len(butler.query_dimension_records("exposure", limit=2)) == 2
        taken = butler.query_data_ids(["exposure"], datasets="frame", collections="frames")
        assert [d["exposure"] for d in taken] == [1, 2, 3]
        down = butler.query_data_ids(["exposure"], order_by=["-exposure"], limit=2)
        assert [d["exposure"] for d in down] == [9, 4]
        with pytest.raises(RegistryError, match="ordered by their own keys"):
            butler.query_data_ids(["exposure"], order_by=["exposure.begin_tai_ns"])
        page = butler.query_data_ids(["exposure"], order_by=["-exposure"], limit=2, after=down[-1])
        assert [d["exposure"] for d in page] == [3, 2]
        after = butler.query_dimension_records("exposure", limit=2, after=records[1])
        assert [r["id"] for r in after] == [3, 4]
        with pytest.raises(InvalidDataId, match="that a page could come after"):
            butler.query_dimension_records("exposure", after={"instrument": "Cam", "id": 77})


def test_pages_and_streams_of_data_ids_give_what_all_are(three: Three) -> None:
    """Cameras and detectors that some of three repositories share, against a list made by hand."""
    chance = random.Random(5)
    cameras = ["Cam", "cam", "Ca", "Zam", "\u00c7am", "cam-2", "_cam"]
    everywhere = [(camera, detector) for camera in cameras for detector in range(3)]
    told: set[tuple[str, int]] = set()
    for name in ("me", "first", "second"):
        with Butler(three.folder / name, writeable=True) as butler:
            chosen = sorted(chance.sample(everywhere, 9))
            known = {r["name"] for r in butler.query_dimension_records("instrument")}
            butler.registry.insert_dimension_records(
                "instrument",
                [{"name": c, "detector_max": 9} for c in {c for c, _ in chosen} - known],
            )
            there = {(r["instrument"], r["id"]) for r in butler.query_dimension_records("detector")}
            butler.registry.insert_dimension_records(
                "detector",
                [
                    {"instrument": c, "id": d, "full_name": f"{c}{d}"}
                    for c, d in chosen
                    if (c, d) not in there
                ],
            )
            told |= there | set(chosen)
    orders: dict[tuple[str, ...], Any] = {
        (): lambda key: key,
        ("-detector",): lambda key: (-key[1], key[0]),
        ("detector", "-instrument"): lambda key: (key[1], [-ord(c) for c in key[0]] + [0]),
    }
    with three.open() as butler:
        for order_by, key in orders.items():
            asked: dict[str, Any] = {"order_by": order_by}
            every = butler.query_data_ids(["instrument", "detector"], **asked)
            assert [(d["instrument"], d["detector"]) for d in every] == sorted(told, key=key)
            stream = butler.stream_data_ids(["instrument", "detector"], **asked)
            assert next(stream) == every[0]
            assert list(stream) == every[1:]
            assert next(butler.stream_data_ids(["instrument", "detector"], **asked)) == every[0]
            pages: list[Any] = []
            while page := butler.query_data_ids(
                ["instrument", "detector"], limit=4, after=pages[-1] if pages else None, **asked
            ):
                assert len(page) <= 4
                pages += page
            assert pages == every
        named = butler.query_data_ids(["detector"], data_id={"instrument": "cam-2"})
        assert [d["detector"] for d in named] == sorted(d for c, d in told if c == "cam-2")
        assert butler.query_data_ids(["detector"], limit=0) == []
        for after in ({"instrument": "Cam", "detector": 77}, {"instrument": "Cam"}):
            with pytest.raises(InvalidDataId, match="that a page could come after"):
                butler.query_data_ids(["instrument", "detector"], after=after)
        with pytest.raises(ValueError, match="at least 0"):
            butler.query_data_ids(["detector"], limit=-1)


def test_pages_and_streams_of_records_give_what_the_first_repository_tells(
    three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Detectors that three repositories share and tell differently, against a list by hand."""
    monkeypatch.setattr("butler.gathering.STREAMED", 3)
    chance = random.Random(11)
    rafts = [None, "R1", "r1", "R\u00e92"]
    told: dict[int, tuple[str | None, str]] = {}
    for name in ("me", "first", "second"):
        with Butler(three.folder / name, writeable=True) as butler:
            if not butler.registry.query_dimension_records("instrument"):
                camera = {"name": "Cam", "detector_max": 99}
                butler.registry.insert_dimension_records("instrument", [camera])
            known = butler.registry.query_dimension_records("detector")
            rows = [
                {
                    "instrument": "Cam",
                    "id": n,
                    "raft": chance.choice(rafts),
                }
                for n in chance.sample(range(10, 30), 12)
            ]
            rows = [{**row, "full_name": f"{name}{row['id']}"} for row in rows]
            butler.registry.insert_dimension_records("detector", rows)
            for row in [*known, *rows]:
                told.setdefault(row["id"], (row["raft"], row["full_name"]))

    def up(n: int) -> tuple[bool, list[int], int]:
        raft = told[n][0]
        return raft is None, [ord(c) for c in raft or ""], n

    def down(n: int) -> tuple[bool, list[int], int]:
        raft = told[n][0]
        return raft is None, [-ord(c) for c in raft or ""] + [0], n

    orders: dict[tuple[str, ...], Any] = {
        (): None,
        ("detector.raft",): up,
        ("-detector.raft",): down,
    }
    with three.open() as butler:
        for order_by, key in orders.items():
            asked: dict[str, Any] = {"order_by": order_by}
            every = butler.query_dimension_records("detector", **asked)
            assert [r["id"] for r in every] == sorted(told, key=key)
            assert {r["id"]: (r["raft"], r["full_name"]) for r in every} == told
            assert list(butler.stream_dimension_records("detector", **asked)) == every
            assert next(butler.stream_dimension_records("detector", **asked)) == every[0]
            pages: list[Any] = []
            while page := butler.query_dimension_records(
                "detector", limit=4, after=pages[-1] if pages else None, **asked
            ):
                pages += page
            assert pages == every
            table = butler.table_of_dimension_records("detector", limit=7, after=every[1], **asked)
            assert table["full_name"].to_pylist() == [r["full_name"] for r in every[2:9]]
        some = butler.query_dimension_records("detector", where="detector.raft = 'R1'", limit=2)
        later = butler.query_dimension_records("detector", where="detector.raft = 'R1'")
        assert some == later[:2]
        none = butler.table_of_dimension_records("detector", limit=0)
        assert none.schema.field("id").type == "int64"
        ids = butler.table_of_data_ids(["detector"], limit=0)
        assert ids.schema.field("detector").type == "int64"


def test_tables_counts_and_sql_of_all(three: Three) -> None:
    with Butler(three.folder / "second", writeable=True) as second:
        late = observatory.exposure(9, 20220921, "science", physical_filter="SDSS r")
        second.registry.insert_dimension_records("exposure", [late])
    with three.open(collections="frames") as butler:
        ids = butler.table_of_data_ids(["exposure"], columns=["band"], where="exposure > 3")
        assert ids.to_pylist() == [{"exposure": 4, "band": "r"}, {"exposure": 9, "band": "r"}]
        assert butler.count_data_ids(["exposure"]) == [{"n": 5}]
        assert butler.count_data_ids(["exposure"], by=["day_obs"]) == [
            {"day_obs": 20220920, "n": 3},
            {"day_obs": 20220921, "n": 2},
        ]
        assert butler.count_data_ids(["exposure"], datasets=["frame"]) == [{"n": 3}]
        records = butler.table_of_dimension_records(
            "exposure", columns=["band"], order_by=["-exposure.begin"], limit=2
        )
        assert records["id"].to_pylist() == [9, 4]
        assert records.column_names[-1] == "band"
        assert butler.count_dimension_records("exposure", by=["exposure.observation_type"]) == [
            {"exposure.observation_type": "bias", "n": 1},
            {"exposure.observation_type": "flat", "n": 1},
            {"exposure.observation_type": "science", "n": 3},
        ]
        for sql, plan in (
            butler.show_query_of_data_ids(["exposure"], datasets="frame"),
            butler.show_query_of_dimension_records("exposure"),
        ):
            assert str(three.folder / "second") in sql
            assert str(three.folder / "second") in plan
        why = butler.explain_no_records("exposure", where="exposure > 99")
        assert why.count("none that is asked for") == 2
        assert why.startswith(f"In {three.folder / 'me'}: There is no record of exposure yet.")
        why = butler.explain_no_data_ids(["exposure"], datasets="frame", where="exposure > 99")
        assert "None of the " in why
        with pytest.raises(InvalidDataId, match="are asked of one repository alone"):
            butler.query_data_ids(["exposure"], without="frame")


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
    url = settings.read_text().removeprefix("db: ").strip()
    with account(url, roles.READER) as reading:
        settings.write_text(f"db: {reading}\n")
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
