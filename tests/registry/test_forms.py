"""Do tables, streams, pages and counts of data IDs and records give what their lists give?"""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from registry import Registry
from registry.errors import InvalidDataId, UnknownName
from registry.identity import DatasetType
from tests.registry import observatory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.databases import Databases

N_EXPOSURES = 50
N_DETECTORS = 3
NIGHTS = (20220920, 20220921)


@pytest.fixture(scope="module")
def night(databases: Databases) -> Iterator[Registry]:
    """Two nights of exposures; some have neither filter nor exposure time."""
    draw = random.Random(3)
    with databases.migrated() as url, Registry.connect(url) as registry:
        insert = registry.insert_dimension_records
        insert("instrument", [{"name": "Cam", "detector_max": N_DETECTORS}])
        insert(
            "detector",
            [{"instrument": "Cam", "id": d, "full_name": f"D{d}"} for d in range(N_DETECTORS)],
        )
        insert(
            "physical_filter",
            [{"instrument": "Cam", "name": f"{b}1", "band": b} for b in "gr"],
        )
        insert(
            "day_obs",
            [
                {"instrument": "Cam", "id": n, "begin_tai_ns": i, "end_tai_ns": i + 1}
                for i, n in enumerate(NIGHTS)
            ],
        )
        insert(
            "exposure",
            [
                observatory.exposure(
                    n,
                    NIGHTS[n % 2],
                    "science",
                    physical_filter=draw.choice(["g1", "r1", None]),
                    exposure_time=draw.choice([10.0, 20.0, 30.0, None]),
                    extra={"group": f"g{n}"} if n % 3 else None,
                )
                for n in range(N_EXPOSURES)
            ],
        )
        raw = DatasetType("raw", ("instrument", "detector", "exposure"), "Exposure")
        registry.register_dataset_type(raw)
        keys = [observatory.raw_id(n, d) for n in range(N_EXPOSURES) for d in range(N_DETECTORS)]
        for name, part in (("night/new", keys[::4]), ("night/old", keys[::2])):
            registry.register_collection(name)
            registry.insert_datasets(raw, part, name)
        registry.register_collection("best", "TAGGED")
        with registry.begin() as connection:
            from registry import collections

            refs = registry.query_datasets("raw", "night/old", where="exposure < 9")
            collections.tag(connection, "best", refs)
        registry.chain("inner", ["night/new", "best"])
        registry.chain("chain", ["inner", "night/old"])
        yield registry


IDS = ["instrument", "detector", "exposure"]
ORDERS: list[list[str]] = [
    [],
    ["-exposure"],
    ["exposure.exposure_time"],
    ["-exposure.exposure_time", "physical_filter", "-detector"],
    ["day_obs", "-band"],
]


@pytest.mark.parametrize("order_by", ORDERS)
def test_pages_of_data_ids_are_the_whole_in_order(night: Registry, order_by: list[str]) -> None:
    for dimensions, options in (
        (IDS, {}),
        (["exposure"], {}),
        (["physical_filter", "exposure"], {"where": "detector < 2"}),
        (IDS, {"datasets": "raw", "collections": "chain"}),
        (["exposure"], {"datasets": ["raw"], "collections": "night/*"}),
        (["band", "day_obs"], {"datasets": "raw", "collections": "chain"}),
    ):
        whole = night.query_data_ids(dimensions, order_by=order_by, **options)
        assert whole
        assert len(whole) == len(set(whole))
        paged: list[Any] = []
        after = None
        while page := night.query_data_ids(
            dimensions, order_by=order_by, limit=7, after=after, **options
        ):
            paged += page
            after = page[-1]
        assert paged == whole


@pytest.mark.parametrize("order_by", ORDERS[:3])
def test_pages_of_records_are_the_whole_in_order(night: Registry, order_by: list[str]) -> None:
    where = "exposure > 4 AND detector < 2"
    whole = night.query_dimension_records("exposure", where=where, order_by=order_by)
    assert sorted(r["id"] for r in whole) == list(range(5, N_EXPOSURES))
    paged: list[Any] = []
    after = None
    while page := night.query_dimension_records(
        "exposure", where=where, order_by=order_by, limit=9, after=after
    ):
        paged += page
        after = page[-1]
    assert paged == whole


def test_what_has_no_value_comes_last(night: Registry) -> None:
    times = {r["id"]: r["exposure_time"] for r in night.query_dimension_records("exposure")}
    assert None in times.values()
    for order_by, sign in (("exposure.exposure_time", 1), ("-exposure.exposure_time", -1)):
        for values in (
            [times[i["exposure"]] for i in night.query_data_ids(["exposure"], order_by=[order_by])],
            [
                r["exposure_time"]
                for r in night.query_dimension_records("exposure", order_by=[order_by])
            ],
        ):
            known = [v for v in values if v is not None]
            assert known == sorted(known, key=lambda v: sign * v)
            assert values == known + [None] * (N_EXPOSURES - len(known))
    filters = [
        i.get("physical_filter")
        for i in night.query_data_ids(
            ["physical_filter", "day_obs"], where="exposure >= 0", order_by=["-physical_filter"]
        )
    ]
    assert filters == ["r1", "r1", "g1", "g1", None, None]


def test_one_with_several_values_stands_where_the_first_of_them_does(night: Registry) -> None:
    first, last = (
        night.query_data_ids(["day_obs"], order_by=[o])
        for o in ("exposure.begin", "-exposure.begin")
    )
    assert [i["day_obs"] for i in first] == list(NIGHTS)
    assert last == first[::-1]


def test_a_page_after_nothing_is_refused(night: Registry) -> None:
    for after, message in (
        ({"instrument": "Cam", "exposure": 999, "detector": 0}, "There is no data ID"),
        ({"exposure": 3}, "needs a value for instrument, detector"),
        ({"exposur": 3}, "has exposur too many"),
    ):
        with pytest.raises(InvalidDataId, match=message):
            night.query_data_ids(IDS, order_by=["exposure.exposure_time"], after=after)
    with pytest.raises(InvalidDataId, match="no record of exposure with instrument='Cam', id=999"):
        night.query_dimension_records("exposure", after={"instrument": "Cam", "id": 999})
    with pytest.raises(InvalidDataId, match="is known by instrument, id; .* lacks instrument"):
        night.query_dimension_records("exposure", after={"id": 9})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"where": "band = 'g' AND detector < 2"},
        {"datasets": "raw", "collections": "chain"},
        {"without": "raw", "collections": "night/*", "where": "day_obs = 20220921"},
    ],
)
def test_the_forms_of_data_ids_agree(night: Registry, options: dict[str, Any]) -> None:
    ids = night.query_data_ids(IDS, **options)
    assert ids
    assert list(night.stream_data_ids(IDS, **options)) == ids
    assert night.count_data_ids(IDS, **options) == [{"n": len(ids)}]
    exposures = {r["id"]: r for r in night.query_dimension_records("exposure")}
    columns = ["day_obs", "exposure.exposure_time"]
    table = night.table_of_data_ids(IDS, columns=columns, **options)
    assert table.to_pylist() == [
        {
            **{d: i[d] for d in IDS},
            "day_obs": exposures[int(i["exposure"])]["day_obs"],
            "exposure.exposure_time": exposures[int(i["exposure"])]["exposure_time"],
        }
        for i in ids
    ]
    by = night.count_data_ids(IDS, by=["day_obs", "physical_filter"], **options)
    expected = Counter(
        (exposures[int(i["exposure"])]["day_obs"], exposures[int(i["exposure"])]["physical_filter"])
        for i in ids
    )
    assert {(b["day_obs"], b["physical_filter"]): b["n"] for b in by} == expected
    nights = [b["day_obs"] for b in by]
    assert nights == sorted(nights)
    sql, plan = night.show_query_of_data_ids(IDS, **options)
    assert len(night.to_dataframe(sql.replace("%", "%%"))) == len(ids)
    assert plan


def test_the_forms_of_records_agree(night: Registry) -> None:
    where = "detector = 1 AND exposure.exposure_time > 10"
    rows = night.query_dimension_records("exposure", where=where)
    assert rows
    assert list(night.stream_dimension_records("exposure", where=where)) == rows
    assert night.count_dimension_records("exposure", where=where) == [{"n": len(rows)}]
    table = night.table_of_dimension_records("exposure", where=where, columns=["band"])
    bands = {"g1": "g", "r1": "r", None: None}
    texts = [f'{{"group":"g{r["id"]}"}}' if r["extra"] else None for r in rows]
    assert table.to_pylist() == [
        {**r, "extra": text, "band": bands[r["physical_filter"]]}
        for r, text in zip(rows, texts, strict=True)
    ]
    by = night.count_dimension_records("exposure", by=["band", "exposure.quality"])
    counted = Counter(
        bands[r["physical_filter"]] for r in night.query_dimension_records("exposure")
    )
    assert [(b["band"], b["n"]) for b in by] == [(b, counted[b]) for b in ("g", "r", None)]
    sql, plan = night.show_query_of_dimension_records("exposure", where=where)
    assert len(night.to_dataframe(sql.replace("%", "%%"))) == len(rows)
    assert "exposure" in plan


def test_an_empty_answer_has_its_columns_and_types(night: Registry) -> None:
    none = night.table_of_data_ids(
        ["detector", "band"], where="exposure = 999", columns=["day_obs"]
    )
    full = night.table_of_data_ids(["detector", "band"], where="exposure = 1", columns=["day_obs"])
    assert none.num_rows == 0
    assert none.schema == full.schema
    nowhere = night.table_of_data_ids(IDS, datasets="raw", collections=[])
    assert (nowhere.num_rows, nowhere.column_names) == (0, IDS)
    assert night.count_data_ids(IDS, datasets="raw", collections=[]) == [{"n": 0}]
    every = night.query_data_ids(IDS, without="raw", collections=[])
    assert len(every) == N_EXPOSURES * N_DETECTORS
    empty = night.table_of_dimension_records("exposure", where="exposure = 999")
    assert empty.schema == night.table_of_dimension_records("exposure").schema
    assert night.count_dimension_records("exposure", where="exposure = 999", by=["band"]) == []


def test_a_dataframe_keeps_integers_beside_missing_ones(night: Registry) -> None:
    frame = night.to_dataframe(night.table_of_dimension_records("exposure"))
    assert frame["seq_num"].isna().all()
    assert frame["day_obs"].dtype == pd.Int64Dtype()
    assert list(frame["id"]) == list(range(N_EXPOSURES))
    ids = night.to_dataframe(night.table_of_data_ids(["exposure", "band"]))
    assert list(ids.columns) == ["exposure", "band"]
    refs = night.to_dataframe(night.table_of_datasets("raw", "chain", columns=["day_obs"]))
    assert set(refs["day_obs"]) == set(NIGHTS)


@pytest.mark.parametrize("collections", ["chain", "inner", "night/*", ["best", "night/?ew"], "*"])
def test_the_first_of_each_data_id_in_every_form(night: Registry, collections: Any) -> None:
    names = ["night/new", "best", "night/old"]
    order = {
        "chain": names,
        "inner": names[:2],
        "night/*": ["night/new", "night/old"],
        "*": ["best", "night/new", "night/old"],
    }.get(str(collections), ["best", "night/new"])
    found: dict[Any, Any] = {}
    for name in order:
        for ref in night.query_datasets("raw", name):
            found.setdefault(ref.data_id, ref.id)
    refs = night.query_datasets("raw", collections, order_by=["exposure", "detector"])
    assert {r.data_id: r.id for r in refs} == found
    assert len(refs) == len(found)
    options: dict[str, Any] = {"order_by": ["exposure", "detector"]}
    assert list(night.stream_datasets("raw", collections, **options)) == refs
    table = night.table_of_datasets("raw", collections, **options)
    assert table["dataset_id"].to_pylist() == [str(r.id) for r in refs]
    assert night.count_datasets("raw", collections) == [{"n": len(refs)}]
    runs = {b["run"]: b["n"] for b in night.count_datasets("raw", collections, by=["run"])}
    assert runs == Counter(r.run for r in refs)
    paged = night.query_datasets("raw", collections, limit=10, **options)
    paged += night.query_datasets("raw", collections, after=paged[-1].id, **options)
    assert paged == refs
    sql, _ = night.show_query("raw", collections)
    assert len(night.to_dataframe(sql.replace("%", "%%"))) == len(refs)
    ids = night.query_data_ids(IDS, datasets="raw", collections=collections)
    assert set(ids) == set(found)
    assert len(ids) == len(found)


def test_what_does_not_exist_is_told(night: Registry) -> None:
    for asked, message in (
        (lambda: night.query_data_ids(["exposur"]), "Did you mean 'exposure'"),
        (
            lambda: night.query_data_ids(["exposur"], datasets="raw", collections="*"),
            "Did you mean",
        ),
        (lambda: night.query_data_ids(IDS, datasets="rew", collections="*"), "Did you mean 'raw'"),
        (lambda: night.query_data_ids(IDS, without="rew"), "Did you mean 'raw'"),
        (lambda: night.query_data_ids(IDS, order_by=["-exposur"]), "Did you mean 'exposure'"),
        (lambda: night.table_of_data_ids(IDS, columns=["run"]), "There is no dimension or field"),
        (lambda: night.count_dimension_records("exposure", by=["detector"]), "several values"),
    ):
        with pytest.raises(UnknownName, match=message):
            asked()


PEAK = """
import resource, sys
from registry import Registry

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

with Registry.connect(sys.argv[1]) as registry:
    questions = {
        "ids": lambda **o: registry.stream_data_ids(["instrument", "detector", "exposure"], **o),
        "records": lambda **o: registry.stream_dimension_records("exposure", **o),
    }
    ask = questions[sys.argv[2]]
    few = sum(1 for _ in ask(limit=6_000))
    before = peak()
    many = sum(1 for _ in ask())
    print(few, many, peak() - before)
"""


@pytest.mark.parametrize(("kind", "factor"), [("ids", 20), ("records", 1)])
def test_a_stream_takes_no_more_memory_for_more_rows(
    database_url: str, kind: str, factor: int
) -> None:
    n = 20_000
    with Registry.connect(database_url) as registry:
        insert = registry.insert_dimension_records
        insert("instrument", [{"name": "Cam", "detector_max": factor}])
        insert(
            "detector",
            [{"instrument": "Cam", "id": d, "full_name": f"D{d}"} for d in range(factor)],
        )
        insert("day_obs", [{"instrument": "Cam", "id": 1, "begin_tai_ns": 0, "end_tai_ns": 1}])
        insert(
            "exposure",
            [observatory.exposure(e, 20220920, "science") | {"day_obs": 1} for e in range(n)],
        )
    run = subprocess.run(
        [sys.executable, "-c", PEAK, database_url, kind],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    few, many, more_kib = map(int, run.stdout.split())
    assert (few, many) == (6_000, n * factor)
    assert more_kib < 8_000
