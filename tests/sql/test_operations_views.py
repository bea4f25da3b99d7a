from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy as sa

from registry import Timespan
from registry.database import insert_rows
from registry.schema import files
from registry.schema.identity import dataset
from tests.registry import observatory
from tests.registry.observatory import BIAS, DAY_NS, RAW, bias_id, noon, raw_id

if TYPE_CHECKING:
    from registry import Registry


def rows(registry: Registry, view: str, *keys: str) -> list[tuple[Any, ...]]:
    """Read some columns of a view, sorted."""
    frame = registry.report(view)
    found = [tuple(row[k] for k in keys) for row in frame.to_dict("records")]
    return sorted(found, key=lambda row: [(v is None, v) for v in row])


def test_ingest_by_night_counts_each_type_in_the_night_of_its_exposure(demo: Registry) -> None:
    keys = ("day_obs", "dataset_type", "run", "n_exposures", "n_datasets", "n_stored", "size_bytes")
    found = rows(demo, "ingest_by_night", *keys)
    # coadds and defects belong to no night
    assert {r[1] for r in found} == {"raw", "bias", "dark", "flat", "calexp", "sources"}
    assert [r for r in found if r[1] == "raw"] == [
        (20250310, "raw", "DemoCam/raw", 22, 88, 87, 87 * 144_000),
        (20250311, "raw", "DemoCam/raw", 19, 76, 76, 76 * 144_000),
    ]
    assert [r for r in found if r[1] == "sources"] == [
        (20250310, "sources", "demo/again", 1, 3, 3, 3 * 14_400),
        (20250310, "sources", "demo/out/1", 6, 24, 24, 24 * 14_400),
        (20250311, "sources", "demo/out/1", 6, 24, 24, 24 * 14_400),
    ]
    frame = demo.report("ingest_by_night")
    (first,) = frame[(frame.day_obs == 20250310) & (frame.dataset_type == "raw")].to_dict("records")
    # a minute after the end of the first exposure, 2025-03-10T22:03:00 UTC, in TAI
    assert first["first_ingest_tai"] == dt.datetime.fromisoformat("2025-03-10T22:04:37")
    assert first["first_ingest_tai_ns"] == 1741644277000000000


def test_gap_between_flats_has_the_exposures_that_began_in_it(demo: Registry) -> None:
    keys = ("dataset_type", "detector", "physical_filter", "place", "n_science_exposures")
    assert rows(demo, "calibration_gap", *keys) == [
        ("flat", d, "Demo r", "between", 2) for d in (1, 2, 3, 4)
    ]
    bounds = {r[0] for r in rows(demo, "calibration_gap", "gap_end_tai")}
    assert bounds == {dt.datetime.fromisoformat("2025-03-12T03:55:14.600")}


def test_gaps_at_the_ends_count_only_when_exposures_need_them(filled: Registry) -> None:
    filled.register_collection("made")
    (one,) = filled.insert_datasets(BIAS, [bias_id(20220920)], "made")
    third = noon(20220920) + 3 * 3600 * observatory.SECOND_NS
    keys = ("place", "gap_begin_tai_ns", "n_science_exposures")
    filled.certify("calib", [one], Timespan(third, third + 1000))
    # exposures 3 and 4 are science; 3 begins with the range, 4 after it
    assert rows(filled, "calibration_gap", *keys) == [("after", third + 1000, 1)]
    filled.decertify("calib", BIAS, Timespan(None, None))
    filled.certify("calib", [one], Timespan(third + 1000, None))
    assert rows(filled, "calibration_gap", "place", "n_science_exposures", "gap_begin_tai") == [
        ("before", 1, None)
    ]


def test_orphans_are_of_four_kinds(filled: Registry, backend: str) -> None:
    del backend
    filled.register_collection("empty")
    filled.register_collection("all")
    kept, lost = filled.insert_datasets(RAW, [raw_id(1), raw_id(2)], "all")
    (fileless,) = filled.insert_datasets(BIAS, [bias_id(20220920)], "all")
    with filled.begin() as connection:
        _store(connection, [(kept.id, "available"), (lost.id, "lost")])
        doomed = connection.execute(
            sa.select(dataset.c.data_id).where(dataset.c.id == fileless.id)
        ).scalar_one()
        connection.execute(sa.delete(dataset).where(dataset.c.id == fileless.id))
    (other,) = filled.insert_datasets(BIAS, [bias_id(20220921)], "all")
    keys = ("kind", "dataset_type", "run", "dataset_id", "data_id", "path", "size_bytes")
    frame = filled.report("orphan")
    found = {tuple(r[k] for k in keys) for r in frame.to_dict("records")}
    with filled.read() as connection:
        pairs = connection.execute(sa.select(dataset.c.id, dataset.c.data_id)).all()
    ids = {row.id: row.data_id for row in pairs}
    assert found == {
        ("file without copy", "raw", "all", str(lost.id), ids[lost.id], "2.fits", 200),
        ("dataset without file", "bias", "all", str(other.id), ids[other.id], None, None),
        ("data ID without dataset", None, None, None, doomed, None, None),
        ("run without dataset", None, "empty", None, None, None, None),
    }


def _store(connection: sa.Connection, what: list[tuple[Any, str]]) -> None:
    """Give each dataset a file of 100, 200, ... bytes with one copy in a state."""
    insert_rows(connection, files.site, [{"id": 1, "name": "dome", "doc": ""}])
    place = {"id": 1, "site_id": 1, "name": "disk", "root": "", "owned": True, "state": "online"}
    insert_rows(connection, files.endpoint, [place])
    numbered = list(enumerate(what, start=1))
    insert_rows(
        connection,
        files.file,
        [
            {
                "id": n,
                "dataset_id": one,
                "component": "",
                "path": f"{n}.fits",
                "size_bytes": 100 * n,
                "checksum": None,
                "formatter": "fits-image",
            }
            for n, (one, _) in numbered
        ],
    )
    now = dt.datetime.now(dt.UTC)
    insert_rows(
        connection,
        files.replica,
        [
            {"file_id": n, "endpoint_id": 1, "state": state, "since": now}
            for n, (_, state) in numbered
        ],
    )


def test_late_and_missing_raw_frames_are_told_apart(demo: Registry) -> None:
    keys = ("kind", "exposure", "detector", "dataset_type", "run", "delay_s")
    night_end = dt.datetime.fromisoformat("2025-03-12T16:43:34.600")
    came = dt.datetime.fromisoformat("2025-03-14T03:59:37")
    assert rows(demo, "late_dataset", *keys) == [
        ("late", 202503110019, 4, "raw", "DemoCam/raw", (came - night_end).total_seconds()),
        ("missing", 202503110020, None, None, None, None),
    ]
    assert {r[0] for r in rows(demo, "late_dataset", "ingest_date_tai")} == {came, None}


def test_largest_datasets_are_ranked_over_all_and_in_their_type(demo: Registry) -> None:
    frame = demo.report("largest_dataset")
    assert sorted(frame.rank_overall)[:100] == list(range(1, 101))
    per_type = frame.groupby("dataset_type").rank_in_type.apply(sorted)
    assert per_type["raw"] == list(range(1, 17))  # 84 of the hundred are of other types
    assert per_type["sources"] == list(range(1, 11))
    assert per_type["defects"] == [1, 2, 3, 4]
    assert len(per_type["calexp"]) == 48
    largest = frame[frame.rank_overall <= 56]
    assert set(largest.dataset_type) == {"calexp", "coadd"}
    assert frame.sort_values("rank_overall").size_bytes.is_monotonic_decreasing


def test_growth_adds_up_day_by_day(demo: Registry) -> None:
    keys = ("day_begin_tai", "n_datasets", "size_bytes", "total_datasets", "total_bytes")
    found = rows(demo, "growth", *keys)
    assert [(r[0].isoformat()[:10], r[1], r[3]) for r in found] == [
        ("2025-03-09", 4, 4),
        ("2025-03-10", 64, 68),
        ("2025-03-11", 76, 144),
        ("2025-03-12", 174, 318),
        ("2025-03-14", 1, 319),
    ]
    assert [r[4] for r in found] == list(np.cumsum([r[2] for r in found]))
    with demo.read() as connection:
        stored = connection.execute(sa.select(sa.func.sum(files.file.c.size_bytes))).scalar_one()
    assert found[-1][4] == int(stored)


def test_forecast_is_the_line_through_the_last_ninety_days(filled: Registry) -> None:
    filled.register_collection("all")
    refs = filled.insert_datasets(RAW, [raw_id(n, d) for n in (1, 2, 3, 4) for d in (0, 1)], "all")
    # the first came 100 days before the last: too early to count
    days = [0, 20, 40, 60, 60, 70, 95, 100]
    with filled.begin() as connection:
        _store(connection, [(r.id, "available") for r in refs])
        for ref, day in zip(refs, days, strict=True):
            connection.execute(
                sa.update(dataset)
                .where(dataset.c.id == ref.id)
                .values(ingest_date_tai_ns=20_000 * DAY_NS + day * DAY_NS + 12_345)
            )
    last = [(day, n, size) for day, n, size in _totals(days) if day > 10]
    x, n, size = (np.array(column, float) for column in zip(*last, strict=True))
    slopes = [np.polyfit(x, y, 1)[0] for y in (n, size)]
    frame = filled.report("growth_forecast").set_index("horizon_days")
    assert sorted(frame.index) == [30, 90, 365]
    for horizon, row in frame.iterrows():
        assert row.n_days == len(last)
        assert row.datasets_per_day == pytest.approx(slopes[0], rel=1e-9)
        assert row.bytes_per_day == pytest.approx(slopes[1], rel=1e-9)
        assert row.total_datasets == pytest.approx(8 + horizon * slopes[0], rel=1e-9)
        assert row.total_bytes == pytest.approx(3600 + horizon * slopes[1], rel=1e-9)
        assert row.forecast_tai_ns == (20_100 + horizon) * DAY_NS


def _totals(days: list[int]) -> list[tuple[int, int, int]]:
    sizes = [100 * n for n in range(1, len(days) + 1)]
    return [
        (
            day,
            sum(d <= day for d in days),
            sum(s for d, s in zip(days, sizes, strict=True) if d <= day),
        )
        for day in sorted(set(days))
    ]


def test_one_day_of_growth_foretells_nothing(filled: Registry) -> None:
    filled.register_collection("all")
    filled.insert_datasets(RAW, [raw_id(1)], "all")
    keys = ("horizon_days", "n_days", "datasets_per_day", "total_bytes")
    assert rows(filled, "growth_forecast", *keys) == [(h, 1, None, None) for h in (30, 90, 365)]


def test_provenance_is_complete_but_for_what_nobody_explained(
    demo: Registry, filled: Registry
) -> None:
    keys = ("run", "dataset_type", "n_datasets", "n_with_quantum", "n_with_inputs",
            "n_with_environment", "n_unexplained", "completeness")  # fmt: skip
    found = rows(demo, "provenance_completeness", *keys)
    assert ("DemoCam/raw", "raw", 164, 0, 0, 0, 0, 1.0) in found
    assert ("demo/out/1", "calexp", 48, 48, 48, 48, 0, 1.0) in found
    assert ("demo/again", "sources", 3, 3, 3, 3, 0, 1.0) in found
    filled.register_collection("out")
    filled.insert_datasets(BIAS, [bias_id(20220920), bias_id(20220921)], "out")
    from registry.provenance import record_config, record_task

    with filled.begin() as connection:
        config = record_config(connection, "a.Config", "", [])
        record_task(connection, "out", "combine", "a.Combine", config, [])
    assert rows(filled, "provenance_completeness", *keys) == [("out", "bias", 2, 0, 0, 0, 2, 0.0)]
