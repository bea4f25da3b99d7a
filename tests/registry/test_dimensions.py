from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from registry.errors import (
    Conflict,
    DefinitionConflict,
    InvalidDataId,
    UnknownDimensionValue,
    UnknownName,
)
from tests.registry.observatory import exposure

if TYPE_CHECKING:
    from registry import Registry


def test_records_come_back_as_inserted(filled: Registry) -> None:
    unknown = {"wavelength_min_m": None, "wavelength_max_m": None}
    assert filled.query_dimension_records("physical_filter") == [
        {"instrument": "Cam", "name": "Ha", "band": None, **unknown},
        {"instrument": "Cam", "name": "SDSS g", "band": "g", **unknown},
        {"instrument": "Cam", "name": "SDSS r", "band": "r", **unknown},
    ]
    first = filled.query_dimension_records("exposure")[0]
    assert first == {
        **dict.fromkeys(first),
        **exposure(1, 20220920, "bias"),
        "quality": "good",
    }


def test_existing_record_is_refused_and_nothing_is_inserted(filled: Registry) -> None:
    with pytest.raises(DefinitionConflict, match=r"1 record.s. of exposure exist.*'id': 4.*skip"):
        filled.insert_dimension_records(
            "exposure", [exposure(5, 20220921, "dark"), exposure(4, 20220921, "dark")]
        )
    assert [r["id"] for r in filled.query_dimension_records("exposure")] == [1, 2, 3, 4]


def test_existing_record_is_kept_when_skipped(filled: Registry) -> None:
    rows = [exposure(5, 20220921, "dark"), exposure(4, 20220921, "dark")]
    assert filled.insert_dimension_records("exposure", rows, on_conflict="skip") == 1
    kinds = {r["id"]: r["observation_type"] for r in filled.query_dimension_records("exposure")}
    assert kinds == {1: "bias", 2: "flat", 3: "science", 4: "science", 5: "dark"}


@pytest.mark.parametrize(
    ("record", "missing"),
    [
        (exposure(5, 20220930, "dark"), "no day_obs '20220930' of Cam.*insert the day_obs first"),
        (
            exposure(5, 20220920, "dark", physical_filter="u"),
            "no physical_filter 'u' of Cam.*insert the physical_filter first",
        ),
        (exposure(5, 20220920, "dark", instrument="Cat"), "There is no instrument 'Cat'"),
    ],
)
def test_dangling_reference_names_what_is_missing(
    filled: Registry, record: dict[str, Any], missing: str
) -> None:
    with pytest.raises(UnknownDimensionValue, match=missing):
        filled.insert_dimension_records("exposure", [record])
    assert len(filled.query_dimension_records("exposure")) == 4


def test_unknown_column_and_element_suggest_the_right_one(filled: Registry) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'airmass'"):
        filled.insert_dimension_records("exposure", [exposure(5, 20220920, "dark", airmas=1.2)])
    with pytest.raises(UnknownName, match="Did you mean 'exposure'"):
        filled.insert_dimension_records("exposures", [])
    with pytest.raises(InvalidDataId, match="needs a value for full_name"):
        filled.insert_dimension_records("detector", [{"instrument": "Cam", "id": 9}])


def test_frame_of_records_has_nan_as_null_and_numbers_of_numpy(filled: Registry) -> None:
    begin = exposure(1, 20220920, "dark")["begin_tai_ns"]
    frame = pd.DataFrame(
        {
            "instrument": "Cam",
            "id": [11, 12],
            "obs_id": ["a", "b"],
            "day_obs": 20220920,
            "observation_type": "science",
            "physical_filter": ["SDSS g", None],
            "begin_tai_ns": begin,
            "end_tai_ns": begin + 1,
            "ra": [10.5, float("nan")],
            "dec": [float("nan"), -41.25],
        }
    )
    assert filled.insert_dimension_records("exposure", frame) == 2
    found = filled.query_dimension_records("exposure", where="exposure > 10")
    assert [(r["id"], r["ra"], r["dec"], r["physical_filter"]) for r in found] == [
        (11, 10.5, None, "SDSS g"),
        (12, None, -41.25, None),
    ]
    assert {r["begin_tai_ns"] for r in found} == {begin}


def test_no_record_is_no_work(filled: Registry) -> None:
    assert filled.insert_dimension_records("exposure", []) == 0


def test_records_are_chosen_by_expression_and_key(filled: Registry) -> None:
    chosen = filled.query_dimension_records(
        "exposure",
        where="exposure.observation_type = kind AND exposure.quality = 'good'",
        bind={"kind": "science"},
    )
    assert [r["id"] for r in chosen] == [3]
    night = filled.query_dimension_records("exposure", data_id={"day_obs": 20220920})
    assert [r["id"] for r in night] == [1, 2, 3]


def test_expand_adds_night_filter_and_band(filled: Registry) -> None:
    assert filled.expand(
        [
            {"instrument": "Cam", "exposure": 3, "detector": 1},
            {"instrument": "Cam", "exposure": 1},
            {"instrument": "Cam", "physical_filter": "SDSS r"},
            {"instrument": "Cam", "physical_filter": "Ha"},
            {"instrument": "Cam"},
        ]
    ) == [
        {
            "instrument": "Cam",
            "detector": 1,
            "physical_filter": "SDSS g",
            "band": "g",
            "exposure": 3,
            "day_obs": 20220920,
        },
        {"instrument": "Cam", "exposure": 1, "day_obs": 20220920},
        {"instrument": "Cam", "physical_filter": "SDSS r", "band": "r"},
        {"instrument": "Cam", "physical_filter": "Ha"},
        {"instrument": "Cam"},
    ]
    with pytest.raises(UnknownDimensionValue, match="no exposure '99'"):
        filled.expand([{"instrument": "Cam", "exposure": 99}])


@pytest.mark.parametrize(
    ("element", "record", "message"),
    [
        ("detector", {"id": "x", "full_name": "a"}, "takes an integer for id .*got 'x'"),
        ("detector", {"id": 2**31, "full_name": "a"}, "takes an integer for id"),
        ("detector", {"id": 7.5, "full_name": "a"}, "takes an integer for id .*got '7.5'"),
        ("detector", {"id": True, "full_name": "a"}, "takes an integer for id"),
        ("detector", {"id": 7, "full_name": 7}, "takes a text of at most 255 characters for full"),
        ("detector", {"id": 7, "full_name": "é" * 256}, "takes a text of at most 255 characters"),
        (
            "day_obs",
            {"id": 20250101, "begin_tai_ns": 5, "end_tai_ns": 1},
            "must have begin_tai_ns <",
        ),
        ("exposure", exposure(9, 20220920, "bias", exposure_time="60"), "takes a number for expos"),
        ("exposure", exposure(9, 20220920, "bias", quality="bad"), "must have quality IN"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(
    filled: Registry, element: str, record: dict[str, Any], message: str
) -> None:
    before = filled.query_dimension_records(element)
    with pytest.raises(InvalidDataId, match=message):
        filled.insert_dimension_records(element, [{"instrument": "Cam", **record}])
    assert filled.query_dimension_records(element) == before


def test_records_that_contradict_each_other_are_told(filled: Registry) -> None:
    def insert(*records: tuple[int, str]) -> None:
        rows = [{"instrument": "Cam", "id": n, "full_name": name} for n, name in records]
        filled.insert_dimension_records("detector", rows)

    with pytest.raises(Conflict, match="Two records given of detector .* same instrument and id"):
        insert((7, "a"), (7, "b"))
    with pytest.raises(Conflict, match="Two records given .* same instrument and full_name"):
        insert((7, "a"), (8, "a"))
    with pytest.raises(Conflict, match="A record given and one that is there of detector"):
        insert((7, "chip0"))
    insert((7, "Chip0"), (8, "chip0 "))
    assert len(filled.query_dimension_records("detector")) == 4


def test_whole_numbers_of_a_data_frame_are_integers(filled: Registry) -> None:
    frame = pd.DataFrame({"instrument": "Cam", "id": [5.0, 6.0], "full_name": ["e", "f"]})
    filled.insert_dimension_records("detector", frame.assign(nrows=[4096.0, np.nan]))
    found = filled.query_dimension_records("detector", where="detector >= 5")
    assert [(r["id"], r["nrows"]) for r in found] == [(5, 4096), (6, None)]
