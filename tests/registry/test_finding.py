"""Do tables, streams, pages and counts give what the list of references gives?"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from registry.errors import MissingDataset
from registry.identity import DatasetType

if TYPE_CHECKING:
    from registry import Registry

N_EXPOSURES = 40


@pytest.fixture
def filled(registry: Registry) -> Registry:
    """A registry with images of 40 exposures in two runs; some exposures have no filter."""
    draw = random.Random(5)
    registry.insert_dimension_records("instrument", [{"name": "Cam", "detector_max": 4}])
    registry.insert_dimension_records(
        "detector", [{"instrument": "Cam", "id": d, "full_name": f"D{d}"} for d in range(3)]
    )
    registry.insert_dimension_records(
        "physical_filter",
        [{"instrument": "Cam", "name": f"{b}1", "band": b} for b in "gr"],
    )
    registry.insert_dimension_records(
        "day_obs",
        [
            {"instrument": "Cam", "id": 20250101 + n, "begin_tai_ns": n, "end_tai_ns": n + 1}
            for n in range(2)
        ],
    )
    exposures = [
        {
            "instrument": "Cam",
            "id": n,
            "obs_id": str(n),
            "day_obs": 20250101 + n % 2,
            "physical_filter": draw.choice(["g1", "r1", None]),
            "observation_type": "science",
            "exposure_time": draw.choice([10.0, 20.0, 30.0, None]),
            "begin_tai_ns": n,
            "end_tai_ns": n + 1,
        }
        for n in range(N_EXPOSURES)
    ]
    registry.insert_dimension_records("exposure", exposures)
    kind = DatasetType("image", ("instrument", "detector", "exposure"), "Exposure")
    registry.register_dataset_type(kind)
    keys = [
        {"instrument": "Cam", "detector": d, "exposure": n}
        for n in range(N_EXPOSURES)
        for d in range(3)
    ]
    for name, part in (("new", keys[::4]), ("old", keys)):
        registry.register_collection(name)
        registry.insert_datasets(kind, part, name)
    registry.chain("both", ["new", "old"])
    return registry


@pytest.mark.parametrize("collections", ["old", "both"])
def test_pages_are_the_whole_in_order(filled: Registry, collections: str) -> None:
    for order_by in (
        [],
        ["exposure.exposure_time"],
        ["-exposure.exposure_time", "physical_filter", "-exposure"],
        ["day_obs", "-physical_filter"],
    ):
        whole = filled.query_datasets("image", collections, order_by=order_by)
        assert len(whole) == N_EXPOSURES * 3
        paged = []
        after = None
        while page := filled.query_datasets(
            "image", collections, order_by=order_by, limit=17, after=after
        ):
            paged += page
            after = page[-1].id
        assert paged == whole


def test_one_text_is_no_list_of_names_to_sort_by(filled: Registry) -> None:
    for ask in (
        lambda: filled.query_datasets("image", "old", order_by="-exposure"),
        lambda: filled.query_data_ids(["exposure"], order_by="-exposure"),
        lambda: filled.query_dimension_records("exposure", order_by="-exposure"),
    ):
        with pytest.raises(TypeError, match=r"is no list of names: write \['-exposure'\]"):
            ask()


def test_what_has_no_value_comes_last(filled: Registry) -> None:
    times = {r["id"]: r["exposure_time"] for r in filled.query_dimension_records("exposure")}
    for order_by, sign in (("exposure.exposure_time", 1), ("-exposure.exposure_time", -1)):
        found = filled.query_datasets("image", "old", order_by=[order_by])
        values = [times[r.data_id["exposure"]] for r in found]
        known = [v for v in values if v is not None]
        assert known == sorted(known, key=lambda v: sign * v)
        assert values == known + [None] * (len(values) - len(known))
        assert None in values


def test_a_page_after_nothing_is_refused(filled: Registry) -> None:
    kind = DatasetType("other", (), "StructuredDataDict")
    filled.register_dataset_type(kind)
    (elsewhere,) = filled.insert_datasets(kind, [{}], "old")
    with pytest.raises(MissingDataset, match="No image with .id="):
        filled.query_datasets("image", "old", order_by=["detector"], after=elsewhere.id)


@pytest.mark.parametrize("collections", ["old", "both"])
def test_stream_and_table_give_what_the_list_gives(filled: Registry, collections: str) -> None:
    where = "band = 'g' AND detector < 2"
    refs = filled.query_datasets("image", collections, where=where)
    assert refs
    assert list(filled.stream_datasets("image", collections, where=where)) == refs
    table = filled.table_of_datasets(
        "image", collections, where=where, columns=["day_obs", "exposure.exposure_time"]
    )
    records = filled.query_dimension_records("exposure")
    times = {r["id"]: r["exposure_time"] for r in records}
    nights = {r["id"]: r["day_obs"] for r in records}
    assert table.to_pylist() == [
        {
            "dataset_id": str(r.id),
            "run": r.run,
            **dict(r.data_id),
            "day_obs": nights[r.data_id["exposure"]],
            "exposure.exposure_time": times[r.data_id["exposure"]],
        }
        for r in refs
    ]


def test_an_empty_table_has_its_columns(filled: Registry) -> None:
    for where in ("detector = 99", ""):
        table = filled.table_of_datasets(
            "image", [] if not where else "old", where=where, columns=["day_obs"]
        )
        assert table.num_rows == 0
        names = ["dataset_id", "run", "instrument", "detector", "exposure", "day_obs"]
        assert table.column_names == names


def test_counts(filled: Registry) -> None:
    refs = filled.query_datasets("image", "both")
    assert filled.count_datasets("image", "both") == [{"n": len(refs)}]
    assert filled.count_datasets("image", "both", where="detector = 99") == [{"n": 0}]
    by = filled.count_datasets("image", "both", by=["run", "detector"])
    expected: dict[tuple[str, object], int] = {}
    for r in refs:
        expected[r.run, r.data_id["detector"]] = expected.get((r.run, r.data_id["detector"]), 0) + 1
    assert {(b["run"], b["detector"]): b["n"] for b in by} == expected
    filters = filled.count_datasets("image", "old", by=["physical_filter"])
    assert [f["physical_filter"] for f in filters] == ["g1", "r1", None]
    assert sum(f["n"] for f in filters) == N_EXPOSURES * 3


def test_a_query_shows_its_sql_and_plan(filled: Registry) -> None:
    sql, plan = filled.show_query("image", "old", where="detector = 2 AND band = 'g'")
    assert "'g'" in sql
    assert "detector = 2" in sql.replace('"', "")
    found = filled.to_dataframe(sql.replace("%", "%%"))
    assert len(found) == len(
        filled.query_datasets("image", "old", where="detector = 2 AND band = 'g'")
    )
    assert "dataset" in plan


def test_values_that_look_like_parameters_are_shown_as_they_are(filled: Registry) -> None:
    where = "band = 'what? 100% %(band)s it''s' OR exposure.target_name GLOB 'M3?*'"
    sql, _ = filled.show_query("image", "old", where=where)
    assert "'what? 100% %(band)s it''s'" in sql
