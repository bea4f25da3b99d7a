"""Do questions over several repositories have the answers of one that holds all of it?"""

from __future__ import annotations

import random
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from butler import Butler
from registry.datasets import insert_datasets
from registry.errors import (
    InvalidDataId,
    MissingDataset,
    RegistryError,
)
from registry.identity import uuid7
from tests.butler.three import FRAME, Three, frame
from tests.registry import observatory

if TYPE_CHECKING:
    from registry import DatasetRef


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
    monkeypatch.setattr("butler.asking.gathering.STREAMED", 3)
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
