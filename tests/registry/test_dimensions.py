from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from registry.errors import (
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
