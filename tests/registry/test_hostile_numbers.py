"""What becomes of numbers, times and expressions that no database takes?"""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from registry import Registry, Timespan
from registry.errors import SkyspineError
from registry.schema import metadata
from tests.registry.observatory import BIAS, RAW, bias_id, exposure, raw_id

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 4_100
HERE = {"instrument": "Cam"}
NUMBERS: list[Any] = [
    2**31, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**400, math.nan, math.inf, -math.inf,
    1e308, 5e-324, -0.0, 0.5, True, None, 1 + 2j, dt.date.min, dt.date.max,
    dt.timedelta.max, b"1", (1,), [1], {1}, {"a": 1}, object,
]  # fmt: skip
"""Given where one number is expected."""


def with_digits(value: Any) -> str:
    """Write a number as an expression would."""
    return repr(value) if isinstance(value, int) else f"{value}"


DOORS: dict[str, Callable[[Registry, Any], Any]] = {
    "find": lambda r, v: r.find_dataset("raw", raw_id(v), "run"),
    "insert": lambda r, v: r.insert_datasets("raw", [raw_id(v)], "run"),
    "insert many": lambda r, v: r.insert_datasets("raw", [raw_id(v), raw_id(2)], "run"),
    "further key": lambda r, v: r.insert_datasets("catalog", [HERE | {"target": v}], "run"),
    "bound": lambda r, v: r.query_datasets("raw", "run", where="exposure = :v", bind={"v": v}),
    "bound list": lambda r, v: r.query_datasets(
        "raw", "run", where="exposure IN (:v)", bind={"v": [v, 7]}
    ),
    "bound field": lambda r, v: r.query_datasets(
        "raw", "run", where="exposure.exposure_time > :v", bind={"v": v}
    ),
    "bound time": lambda r, v: r.query_datasets(
        "raw", "run", where="exposure.begin > :v", bind={"v": v}
    ),
    "written": lambda r, v: r.query_datasets("raw", "run", where=f"exposure = {with_digits(v)}"),
    "range": lambda r, v: r.query_datasets(
        "raw", "run", where=f"exposure IN (1..{with_digits(v)})"
    ),
    "power": lambda r, v: r.query_datasets(
        "raw", "run", where=f"exposure * {with_digits(v)} * {with_digits(v)} = 1"
    ),
    "point": lambda r, v: r.query_dimension_records(
        "visit", where="visit.region OVERLAPS POINT(:v, 0)", bind={"v": v}
    ),
    "circle": lambda r, v: r.query_dimension_records(
        "visit", where="visit.region OVERLAPS CIRCLE(0, 0, :v)", bind={"v": v}
    ),
    "data ID of query": lambda r, v: r.query_datasets("raw", "run", data_id={"exposure": v}),
    "limit": lambda r, v: r.query_datasets("raw", "run", limit=v) and None,
    "record": lambda r, v: r.insert_dimension_records(
        "exposure", [exposure(9, 20220920, "x") | {"id": v}]
    ),
    "field": lambda r, v: r.insert_dimension_records(
        "exposure", [exposure(9, 20220920, "x", exposure_time=v)]
    ),
    "night": lambda r, v: r.insert_dimension_records(
        "day_obs", [HERE | {"id": v, "begin_tai_ns": v, "end_tai_ns": v}]
    ),
    "calibration": lambda r, v: (
        r.find_calibrations("bias", [(HERE | {"detector": 1}, v)], "calib") == [None] and None
    ),
    "begin": lambda r, v: r.certify("calib", r.query_datasets("bias", "run"), Timespan(v, None)),
    "end": lambda r, v: r.certify("calib", r.query_datasets("bias", "run"), Timespan(None, v)),
    "policy": lambda r, v: r.set_calibration_policy("bias", "nearest", limit_ns=v),
    "tolerance": lambda r, v: r.set_calibration_policy("bias", "nearest", match={"binning": v}),
    "fact": lambda r, v: r.record_calibration_facts(
        {r.query_datasets("bias", "run")[0].id: {"binning": v}}
    ),
}


@pytest.fixture
def stocked(filled: Registry) -> Registry:
    """A registry with a raw frame and a certified bias."""
    filled.register_collection("run")
    filled.insert_datasets(RAW, [raw_id(1)], "run")
    (bias,) = filled.insert_datasets(BIAS, [bias_id(20220920)], "run")
    filled.certify("calib", [bias], Timespan(0, 1000))
    return filled


def content(registry: Registry) -> dict[str, list[str]]:
    with registry.read() as connection:
        return {
            table.name: sorted(map(str, connection.execute(sa.select(table))))
            for table in metadata.sorted_tables
        }


@pytest.mark.parametrize("name", DOORS)
def test_a_number_is_stored_as_it_is_or_refused(stocked: Registry, name: str) -> None:
    before = content(stocked)
    raised = []
    for value in NUMBERS:
        with stocked.begin() as connection:
            inner = connection.begin_nested()
            try:
                with stocked.database.translated():
                    DOORS[name](stocked, value)
            except (SkyspineError, ValueError, TypeError) as error:
                if len(str(error)) > LONGEST or isinstance(error, sa.exc.SQLAlchemyError):
                    raised.append((value, error))
            finally:
                inner.rollback()
    assert raised == []
    assert content(stocked) == before


EXPRESSIONS: dict[str, str] = {
    "long": "exposure = 1 OR " * 700_000 + "exposure = 2",
    "deep": "(" * 100_000 + "exposure = 1" + ")" * 100_000,
    "deep with NOT": "NOT (" * 50_000 + "exposure = 1" + ")" * 50_000,
    "NOT": "NOT " * 10_000 + "exposure = 1",
    "minus": "exposure = " + "-" * 30_000 + "1",
    "list": "exposure IN (" + ", ".join(map(str, range(2_000_000))) + ")",
    "ranges": "exposure IN (" + ", ".join(f"{n}..{n}" for n in range(300_000)) + ")",
    "range": "exposure IN (0..9223372036854775807:1)",
    "sum": "exposure = " + "1 + " * 15_000 + "1",
    "product": "exposure = " + "9223372036854775807 * " * 1_000 + "1",
    "digits": "exposure = " + "9" * 60_000,
    "exponent": "exposure.exposure_time = 1e" + "9" * 60_000,
    "text": "instrument = '" + "x" * 10_000_000 + "'",
    "open text": "instrument = '" + "x" * 60_000,
    "name": "x" * 60_000 + " = 1",
    "dots": ".".join("x" * 10_000) + " = 1",
    "glob": "instrument GLOB '" + "*a" * 30_000 + "'",
    "polygon": "visit.region OVERLAPS POLYGON(" + ", ".join(["1", "2"] * 8_000) + ")",
    "time": "exposure.begin > T'99999-99-99T99:99:99/tai'",
    "late time": "exposure.begin > T'9999-12-31T23:59:59/tai'",
    "early time": "exposure.begin > T'-4712-01-01T00:00:00/tai'",
    "MJD": "exposure.begin > T'mjd/1e300/tai'",
    "UUID": "dataset_id = UUID('" + "f" * 60_000 + "')",
    "zero byte": "instrument = 'a\0b'",
    "surrogate": "instrument = '\ud800'",
    "blanks": " " * 10_000_000,
    "newlines": "\n" * 60_000 + "exposure = = 1",
    "operators": "=" * 60_000,
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_beyond_all_measure_is_refused(stocked: Registry, name: str) -> None:
    try:
        found = stocked.query_datasets("raw", "run", where=EXPRESSIONS[name])
    except SkyspineError as refused:
        sentence = str(refused)
    else:
        assert len(found) <= 1
        return
    assert 0 < len(sentence) <= LONGEST


def test_bound_lists_beyond_all_measure_are_refused_or_answered(stocked: Registry) -> None:
    where = "exposure IN (:many)"
    for many in (range(20_000), range(2_000_000)):
        try:
            found = stocked.query_datasets("raw", "run", where=where, bind={"many": list(many)})
        except SkyspineError as refused:
            assert len(str(refused)) <= LONGEST  # noqa: PT017
        else:
            assert len(found) == 1
