"""CCD names, sequence numbers and observation ids find datasets, on every database alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from butler.errors import UnmatchedName
from butler.instrument import load_shipped
from butler.instrument.errors import InconsistentDataId
from registry.errors import InvalidDataId
from registry.selects import RefusedSelect

if TYPE_CHECKING:
    from butler import Butler

NIGHTS = (20250310, 20250311)


@pytest.fixture
def nights(butler: Butler) -> Butler:
    """Two nights of three exposures on four detectors, with aliases, a table and a query."""
    spec = load_shipped("demo").to_mapping()
    spec["aliases"] = {"ccd": "detector", "frame": "seq_num"}
    rows = [{"chip": f"e2v-{n}", "number": n, "row": (n + 1) // 2} for n in (1, 2, 3, 4)]
    spec["tables"] = {
        "chips": {
            "file": "chips.csv",
            "kept": True,
            "rows": rows,
            "match": {"chip": {"field": "chip"}, "row": {"field": "row"}},
        }
    }
    spec["expand"] |= {
        "detector": {"column": "number"},
        "exposure": {
            "query": "SELECT MAX(id) FROM exposure WHERE instrument = :instrument "
            "AND day_obs = :day_obs AND target_name = :field_name"
        },
    }
    butler.register_instrument(spec)
    definition = butler.definition("DemoCam")
    registry = butler.registry
    registry.insert_dimension_records("day_obs", [definition.day_obs_record(n) for n in NIGHTS])
    begins = {n: definition.day_obs_record(n)["begin_tai_ns"] for n in NIGHTS}
    records = [
        {
            "instrument": "DemoCam",
            "id": night * 10_000 + n,
            "obs_id": f"D-{night}-{n}",
            "day_obs": night,
            "physical_filter": "Demo g" if n < 3 else "Demo r",
            "observation_type": "science",
            "target_name": "M 31" if n < 3 else "it's: M 33",
            "seq_num": n,
            "begin_tai_ns": begins[night] + n * 10**12,
            "end_tai_ns": begins[night] + n * 10**12 + 10**10,
        }
        for night in NIGHTS
        for n in (1, 2, 3)
    ]
    registry.insert_dimension_records("exposure", records)
    visits = [
        {
            **{k: v for k, v in r.items() if k in ("instrument", "id", "day_obs", "begin_tai_ns")},
            "end_tai_ns": r["end_tai_ns"],
            "name": r["obs_id"],
        }
        for r in records
    ]
    registry.insert_dimension_records("visit", visits)
    registry.insert_dimension_records(
        "visit_exposure",
        [{"instrument": "DemoCam", "visit": r["id"], "exposure": r["id"]} for r in records],
    )
    butler.register_dataset_type(
        "note", ("instrument", "exposure", "detector"), "StructuredDataDict"
    )
    butler.register_dataset_type("sum", ("instrument", "visit"), "StructuredDataDict")
    butler.register_dataset_type("curve", ("instrument", "physical_filter"), "StructuredDataDict")
    for night in NIGHTS:
        butler.put({"of": night}, "note", exposure=night * 10_000 + 1, ccd="D2")
        butler.put({"of": night}, "sum", {"exposure.obs_id": f"D-{night}-2"})
    butler.put({"of": "r"}, "curve", physical_filter="demo R")
    return butler


def test_every_name_finds_it(nights: Butler) -> None:
    wanted = {"of": 20250311}
    for given in (
        {"exposure": 202503110001, "detector": "d2"},
        {"exposure": 202503110001, "CCD": "D2"},
        {"obs_id": "D-20250311-1", "full_name": "D2"},
        {"exposure.obs_id": "D-20250311-1", "detector.full_name": "D2"},
        {"day_obs": 20250311, "frame": 1, "chip": "e2v-2"},
        {"day_obs": 20250311, "exposure.seq_num": 1, "detector": 2},
        {"instrument": "DemoCam", "day_obs": 20250311, "seq_num": 1, "detector": 2},
    ):
        assert nights.get("note", given) == wanted
    assert nights.get("sum", obs_id="D-20250311-2") == wanted
    assert nights.get("sum", day_obs=20250311, seq_num=2) == wanted
    assert nights.get("curve", physical_filter="DEMO R") == {"of": "r"}
    ref = nights.find_dataset("curve", instrument="DemoCam", physical_filter="demo r")
    assert ref is not None
    assert ref.data_id == {"instrument": "DemoCam", "physical_filter": "Demo r"}


def test_what_could_be_several_is_told(nights: Butler) -> None:
    with pytest.raises(
        InvalidDataId,
        match=r"seq_num=1 could be exposure 202503100001 \(night 20250310\), 202503110001 "
        r"\(night 20250311\)\. Say which, with exposure=... or day_obs=",
    ):
        nights.get("note", seq_num=1, detector=2)
    with pytest.raises(InvalidDataId, match=r"for detector, row 1 could be 1, 2\."):
        nights.get("note", exposure=202503110001, row=1)
    with pytest.raises(InvalidDataId, match="no detector 'D9'"):
        nights.put({}, "note", exposure=202503110001, detector="D9")
    with pytest.raises(
        InconsistentDataId, match=r"says detector=2, and ccd='D1', which is another"
    ):
        nights.get("note", exposure=202503110001, detector=2, ccd="D1")
    with pytest.raises(InvalidDataId, match="'sequence' is no dimension"):
        nights.get("note", sequence=1, detector=2)


def test_what_no_record_has_is_told(nights: Butler) -> None:
    assert not nights.exists("note", obs_id="D-1", detector=2)
    assert nights.find_dataset("note", seq_num=77, detector=2) is None
    with pytest.raises(UnmatchedName, match=r"No exposure has obs_id='D-1' among those with"):
        nights.get("note", obs_id="D-1", detector=2)
    with pytest.raises(UnmatchedName, match=r"No exposure has seq_num=3"):
        nights.get("note", exposure=202503110001, seq_num=3, detector=2)


def test_questions_take_the_same_names(nights: Butler) -> None:
    def found(**given: object) -> list[object]:
        return [r.data_id["exposure"] for r in nights.query_datasets("note", data_id=given)]

    both = [202503100001, 202503110001]
    assert sorted(map(int, map(str, found(seq_num=1)))) == both
    assert found(obs_id="D-20250311-1", ccd="D2") == both[1:]
    assert found(seq_num=2) == found(detector="D1") == found(target_name="it's: M 33") == []
    assert len(found(chip="e2v-2")) == 2
    assert nights.count_datasets("note", data_id={"day_obs": 20250310, "frame": 1})[0]["n"] == 1
    ids = nights.query_data_ids(["exposure"], data_id={"seq_num": 3}, where="day_obs > 20250310")
    assert [d["exposure"] for d in ids] == [202503110003]
    records = nights.query_dimension_records("detector", data_id={"detector": "d3"})
    assert [r["id"] for r in records] == [3]


def test_a_query_completes_a_data_id(nights: Butler) -> None:
    found = nights.find_dataset("note", day_obs=20250311, field_name="M 31", detector=2)
    assert found is None  # the last exposure of M 31, which has no note
    nights.put({"of": "last"}, "note", day_obs=20250311, field_name="M 31", detector=2)
    assert nights.get("note", exposure=202503110002, detector=2) == {"of": "last"}
    quoted = {"day_obs": 20250310, "field_name": "it's: M 33", "detector": 1}
    nights.put({"of": "quoted"}, "note", quoted)
    assert nights.get("note", exposure=202503100003, detector=1) == {"of": "quoted"}
    with nights.transaction():
        nights.put({"of": "joined"}, "note", {**quoted, "detector": 4})


def test_a_query_that_a_database_cannot_run_is_told(nights: Butler) -> None:
    spec = nights.definition("DemoCam").to_mapping()
    spec["expand"]["exposure"] = {"query": "SELECT idd FROM exposure WHERE seq_num = :nth"}
    nights.register_instrument(spec)
    with pytest.raises(RefusedSelect, match=r"cannot be run: .*idd.* It is: SELECT idd"):
        nights.get("note", nth=1, detector=2)
    spec["expand"]["exposure"] = {"query": "SELECT id, day_obs FROM exposure WHERE seq_num = :nth"}
    nights.register_instrument(spec)
    with pytest.raises(RefusedSelect, match="gives 2 columns, and one is needed"):
        nights.get("note", nth=1, detector=2)
    spec["expand"]["exposure"] = {
        "query": "SELECT id FROM exposure WHERE seq_num = :nth AND obs_id <> ':nth; DROP' "
    }
    nights.register_instrument(spec)
    with pytest.raises(InvalidDataId, match="nth 1 could be 202503100001, 202503110001"):
        nights.get("note", nth=1, detector=2)
    # values are bound: what they hold is no SQL
    with pytest.raises((RefusedSelect, InvalidDataId)):
        nights.get("note", nth="1 OR 1 = 1", detector=2)
