"""Datasets are found by what lies in tables of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from butler import Butler
from registry.expressions import ExpressionError, UnknownField
from registry.row_names import AmbiguousField, ManyRows
from tests.butler.declared import install

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.databases import Databases

QUALITY = """
table: rows_quality
doc: What a detector's frame is like.
dataset_types: [quality]
one_row: true
columns:
  - {name: seeing, type: float64, unit: arcsec, doc: Seeing, nullable: true, indexed: true}
  - {name: grade, type: text, length: 8, doc: Verdict, nullable: true}
"""
SOURCE = """
table: rows_source
doc: Sources.
dataset_types: [source, detector]
columns:
  - {name: flux, type: float64, unit: nJy, doc: Flux, nullable: true, indexed: true}
  - {name: band, type: text, length: 8, doc: Band}
  - {name: id, type: int32, doc: Number, nullable: true}
"""
SEEING = {1: (0.8, "good"), 2: (1.1, "good"), 3: (float("nan"), "bad"), 4: (1.9, None)}
FLUX = {1: [1.0, 900.0], 2: [5.0, 40.0], 3: [], 4: [40.0]}


@pytest.fixture(scope="module")
def butler(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Butler]:
    """A table with one row of each dataset, one with many, and what lies in files; only read."""
    root = tmp_path_factory.mktemp("rows") / "repo"
    with databases.migrated() as url:
        Butler.create(root, url).close()
        install(root, QUALITY, SOURCE)
        with Butler(root, run="u/rows") as opened:
            opened.register_instrument("demo")
            for name in ("quality", "source", "detector", "plain"):
                opened.register_dataset_type(name, ("instrument", "detector"), "DataFrame")
            for d, (seeing, grade) in SEEING.items():
                key = {"instrument": "DemoCam", "detector": d}
                row = pd.DataFrame(
                    {"seeing": [seeing], "grade": pd.Series([grade], dtype="string")}
                )
                opened.put(row, "quality", key)
                flux = FLUX[d]
                bands = ["g", "r"][: len(flux)]
                opened.put(pd.DataFrame({"flux": flux, "band": bands}), "source", key)
            yield opened


def found(butler: Butler, kind: str, where: str, **options: Any) -> list[Any]:
    refs = butler.query_datasets(kind, collections="u/rows", where=where, **options)
    return [ref.data_id["detector"] for ref in refs]


@pytest.mark.parametrize(
    ("where", "detectors"),
    [
        ("quality.seeing < 1.2", [1, 2]),
        ("quality.seeing < :most AND detector > 1", [2]),
        ("quality.seeing IS NULL OR quality.grade IS NULL", [3, 4]),
        ("NOT quality.seeing < 1.2", [4]),
        ("quality.grade = 'good' AND quality.seeing > 1", [2]),
        ("quality.seeing > 1 OR detector = 1", [1, 2, 4]),
        ("quality.seeing < detector AND detector.full_name GLOB '*'", [1, 2, 4]),
    ],
)
def test_one_row_is_like_a_record(butler: Butler, where: str, detectors: list[int]) -> None:
    assert found(butler, "quality", where, bind={"most": 1.2}) == detectors


@pytest.mark.parametrize(
    ("where", "detectors"),
    [
        ("source.flux > 30", [1, 2, 4]),
        ("source.flux > 30 AND source.band = 'r'", [1, 2]),  # of one and the same row
        ("source.flux = 40 AND detector < 4", [2]),
        ("source.flux > 30 AND NOT source.band = 'r'", [4]),
        ("NOT source.flux > 30", [1, 2]),
        ("source.flux <= detector", [1]),
        ("source.row_no = 1", [1, 2]),
    ],
)
def test_some_row_of_many_fulfils_all_of_it(
    butler: Butler, where: str, detectors: list[int]
) -> None:
    assert found(butler, "source", where) == detectors


def test_one_row_may_be_shown_counted_and_sorted_by(butler: Butler) -> None:
    order = {"order_by": ["-quality.seeing"]}
    assert found(butler, "quality", "", **order) == [4, 2, 1, 3]
    table = butler.table_of_datasets(
        "quality", collections="u/rows", columns=["quality.seeing"], where="detector < 3"
    )
    assert table["quality.seeing"].to_pylist() == [0.8, 1.1]
    counted = butler.count_datasets("quality", collections="u/rows", by=["quality.grade"])
    assert [(one["quality.grade"], one["n"]) for one in counted] == [
        ("bad", 1),
        ("good", 2),
        (None, 1),
    ]
    with pytest.raises(ManyRows, match="many values for one dataset.* rows_source"):
        found(butler, "source", "", order_by=["source.flux"])


@pytest.mark.parametrize(
    ("kind", "where", "message"),
    [
        ("quality", "quality.seing < 1", "'quality' has no field 'seing'. Did you mean 'seeing'"),
        ("quality", "seeing < 1", "no dimension, field or bound value 'seeing' here. Did you mean "
         "'quality.seeing'"),
        ("quality", "qualty.seeing < 1", "no dimension 'qualty' here. Did you mean 'quality'"),
        ("quality", "quality.grade > 1", "'quality.grade' is a string and 1 is a number"),
        ("quality", "quality.not_finite = 'x'", "'quality' has no field 'not_finite'"),
        ("plain", "quality.seeing < 1", "no dimension 'quality' here"),
        ("source", "source.flux > 1 OR exposure = 7", "give each a condition of its own"),
    ],
)  # fmt: skip
def test_a_wrong_column_is_told(butler: Butler, kind: str, where: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message.replace(".", r"\.")):
        found(butler, kind, where)


def test_a_name_that_means_two_things_is_told(butler: Butler) -> None:
    with pytest.raises(AmbiguousField, match="records of detector and a column of rows_source"):
        found(butler, "detector", "detector.id = 1")
    assert found(butler, "detector", "detector.flux > 1") == []
    with pytest.raises(UnknownField, match="'detector' has no field 'flux'"):
        found(butler, "plain", "detector.flux > 1")


def test_what_was_asked_is_shown_and_why_nothing_was_found(butler: Butler) -> None:
    where = "quality.seeing < 0.1"
    shown, plan = butler.show_query("quality", collections="u/rows", where=where)
    assert "JOIN rows_quality AS quality_rows" in shown
    assert plan
    shown, _ = butler.show_query("source", collections="u/rows", where="source.flux > 5")
    assert "EXISTS" in shown
    told = butler.explain_no_datasets("quality", collections="u/rows", where=where)
    assert "quality.seeing < 0.1" in told


def test_a_dataset_has_one_row_where_one_is_declared(butler: Butler) -> None:
    two = pd.DataFrame({"seeing": [1.0, 2.0]})
    with pytest.raises(ValueError, match="one row of each dataset, and this has 2"):
        butler.put(two, "quality", instrument="DemoCam", detector=1, run="u/two")
