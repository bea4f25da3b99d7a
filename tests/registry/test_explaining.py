"""Is who finds nothing told why?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from registry.explaining import explain_no_data_ids, explain_no_datasets, explain_no_records
from tests.registry.observatory import BIAS, RAW, raw_id

if TYPE_CHECKING:
    from registry import Registry


@pytest.fixture
def observed(filled: Registry) -> Registry:
    filled.register_dataset_type(RAW)
    filled.register_dataset_type(BIAS)
    for run in ("Cam/raw", "other"):
        filled.register_collection(run)
    filled.insert_datasets(RAW, [raw_id(n) for n in (1, 2, 3)], "Cam/raw")
    return filled


@pytest.mark.parametrize(
    ("collections", "options", "why"),
    [
        (
            "*",
            {"where": "instrument = 'Kam'"},
            "There is no instrument 'Kam'. Did you mean 'Cam'?\n  instrument = 'Kam'",
        ),
        (
            "*",
            {"where": "exposure > 1 AND physical_filter IN ('Ha', 'SDSS i')"},
            "There is no physical_filter 'SDSS i'. Did you mean 'SDSS ",
        ),
        ("*", {"where": "band = :b", "bind": {"b": "G"}}, "There is no band 'G'."),
        (
            "*",
            {"where": "detector.full_name = 'chip7'"},
            "There is no detector.full_name 'chip7'. Did you mean 'chip",
        ),
        (
            "*",
            {"where": "exposure.observation_type = 'flats'"},
            "There is no exposure.observation_type 'flats'. Did you mean 'flat'?",
        ),
        ("*", {"where": "run = 'Cam/row'"}, "There is no run 'Cam/row'. Did you mean 'Cam/raw'?"),
        (
            "*",
            {"data_id": {"instrument": "Cam", "detector": 7}},
            "There is no detector '7' of Cam. Known: '0', '1'. Register",
        ),
        (
            "*",
            {"where": "band = 'r' AND band = 'g'"},
            "There are datasets of type raw in 'Cam/raw', 'other', but",
        ),
        ("other", {}, "There is no dataset of type raw in 'other'; most are in 'Cam/raw' (3)."),
        (
            [],
            {},
            "There is no dataset of type raw to be found, since no collection is searched; most",
        ),
    ],
)
def test_why_no_dataset_is_found(
    observed: Registry, collections: str | list[str], options: dict[str, Any], why: str
) -> None:
    with observed.read() as connection:
        assert explain_no_datasets(connection, RAW, collections, **options).startswith(why)
        told = explain_no_datasets(connection, BIAS, collections)
        assert told == "No dataset of type bias is registered yet."


@pytest.mark.parametrize(
    ("asked", "where", "why"),
    [
        ("exposure", "exposure.quality = 'god'", "There is no exposure.quality 'god'. Did you"),
        ("visit", "", "There is no record of visit yet."),
        (
            "exposure",
            "exposure > 1 AND exposure > 100",
            "There are records of exposure, but none that is asked for. None of the 3 left before "
            "it fulfils: exposure > 100",
        ),
    ],
)
def test_why_no_record_is_found(observed: Registry, asked: str, where: str, why: str) -> None:
    with observed.read() as connection:
        assert explain_no_records(connection, asked, where=where).startswith(why)


@pytest.mark.parametrize(
    ("asked", "options", "why"),
    [
        (("instrument", "visit"), {}, "There is no record of visit yet."),
        (
            ("instrument", "detector"),
            {"where": "instrument = 'cam'"},
            "There is no instrument 'cam'. Did you",
        ),
        (
            ("exposure",),
            {"datasets": "bias", "collections": "*"},
            "No dataset of type bias is registered yet.",
        ),
        (
            ("exposure",),
            {"datasets": "raw", "collections": "other"},
            "There is no dataset of type raw in 'other'; most are in 'Cam/raw' (3).",
        ),
        (
            ("exposure",),
            {"datasets": "raw", "where": "exposure < 4 AND band = 'r'", "collections": "*"},
            "There are data IDs of exposure that go with raw, but none that is asked for. None of "
            "the 3 left before it fulfils: band = 'r'",
        ),
        (
            ("instrument", "exposure"),
            {"without": "raw", "collections": "*", "where": "exposure < 4"},
            "There are data IDs of instrument, exposure, but none that is asked for. None of the "
            "1 left before it fulfils: exposure < 4",
        ),
        (
            ("exposure",),
            {"datasets": ["raw"], "without": ["raw"], "collections": "*"},
            "With each of the 3 data IDs of exposure goes a dataset of type raw.",
        ),
    ],
)
def test_why_no_data_id_is_found(
    observed: Registry, asked: tuple[str, ...], options: dict[str, Any], why: str
) -> None:
    with observed.read() as connection:
        assert explain_no_data_ids(connection, asked, **options).startswith(why)
