"""Which times, regions and bound values does an expression take, and what do they become?"""

from __future__ import annotations

import datetime
import math
import subprocess
import sys
import uuid
from typing import Any

import lsst.sphgeom as sg
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from registry.expressions import ExpressionError, InvalidLiteral, compile_where, parse
from registry.expressions.nodes import Comparison, Literal, Moment
from registry.timespan import Timespan, tai_ns
from tests.registry.expressions.exposures import (
    EPOCH,
    EPOCH_NS,
    LEAP_SECONDS,
    SECOND,
    Exposures,
    WithRegions,
    exposure,
    ids,
    rows,
)

DAY = 86_400 * SECOND


def nanoseconds(literal: str) -> int:
    root = parse(f"x < T'{literal}'").root
    assert isinstance(root, Comparison)
    assert isinstance(root.right, Literal)
    assert isinstance(root.right.value, Moment)
    return root.right.value.ns


@pytest.mark.parametrize(
    ("literal", "ns"),
    [
        ("2020-01-01T00:00:00/tai", EPOCH_NS),
        ("2020-01-01 00:00:00/tai", EPOCH_NS),
        ("2020-01-01/tai", EPOCH_NS),
        ("isot/2020-01-01T00:00:00/tai", EPOCH_NS),
        ("iso/2020-01-01/tai", EPOCH_NS),
        ("yday/2020:001/tai", EPOCH_NS),
        ("2020:001:00:00:00/tai", EPOCH_NS),
        ("2020-01-01T00:00:00.000000001/tai", EPOCH_NS + 1),
        ("2020-01-01", EPOCH_NS + LEAP_SECONDS),
        ("2020-01-01T00:00:00/utc", EPOCH_NS + LEAP_SECONDS),
        ("2020-01-01T00:00:00/UTC", EPOCH_NS + LEAP_SECONDS),
        ("2020-01-01T00:00:00/tt", EPOCH_NS - 32_184_000_000),
        ("mjd/58849", EPOCH_NS),
        ("58849", EPOCH_NS),
        ("58849.5", EPOCH_NS + DAY // 2),
        ("MJD/58849/TAI", EPOCH_NS),
        ("mjd/58849/utc", EPOCH_NS + LEAP_SECONDS),
        ("jd/2458849.5", EPOCH_NS),
        ("jd/2458849.5/tai", EPOCH_NS),
        ("unix/1577836800", EPOCH_NS + LEAP_SECONDS),
        ("unix_tai/1577836800", EPOCH_NS),
        ("2016-12-31T23:59:60/utc", 1_483_228_836 * SECOND),
        ("2200-01-01/tai", 7_258_118_400 * SECOND),
        ("1700-01-01/tai", -8_520_336_000 * SECOND),
        ("mjd/-40587/tai", -2 * 40_587 * DAY),
    ],
)
def test_times_of_every_format_and_scale(literal: str, ns: int) -> None:
    assert nanoseconds(literal) == ns


def test_barycentric_time_is_within_two_milliseconds_of_terrestrial_time() -> None:
    difference = nanoseconds("2020-01-01T00:00:00/tdb") - nanoseconds("2020-01-01T00:00:00/tt")
    assert 0 < abs(difference) < 2_000_000


def test_far_dates_raise_no_warning_about_leap_seconds() -> None:
    assert nanoseconds("2250-01-01") == nanoseconds("2250-01-01/tai") + LEAP_SECONDS


@given(st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2250, 1, 1)))  # noqa: DTZ001
def test_any_date_in_tai_is_exact(moment: datetime.datetime) -> None:
    since = moment - datetime.datetime(1970, 1, 1)  # noqa: DTZ001 (TAI has no zone)
    expected = since // datetime.timedelta(microseconds=1) * 1000
    assert nanoseconds(f"{moment.isoformat()}/tai") == expected


def test_times_are_compared_with_columns_of_nanoseconds(connection: sa.Connection) -> None:
    known = {row["id"]: row["begin_tai_ns"] for row in rows() if row["begin_tai_ns"]}
    pivot = EPOCH_NS + 600 * SECOND
    expected = {i for i, ns in known.items() if ns < pivot}
    for text in (
        "exposure.begin < T'2020-01-01T00:10:00/tai'",
        "exposure.timespan.begin < T'2020-01-01T00:09:23/utc'",
        "exposure.begin_tai_ns < T'2020-01-01T00:10:00/tai'",
        f"exposure.begin_tai_ns < {pivot}",
        "T'mjd/58849/tai' + 600 > exposure.begin",
        "exposure.begin - T'2020-01-01/tai' < 600",
        "exposure.begin < :t",
    ):
        assert ids(connection, text, {"t": Time("2020-01-01T00:10:00", scale="tai")}) == expected


def test_times_are_compared_with_bookkeeping_dates(connection: sa.Connection) -> None:
    expected = {
        row["id"] for row in rows() if row["ingest_date"] >= EPOCH + datetime.timedelta(hours=5)
    }
    for text in (
        "ingest_date >= T'2020-01-01T05:00:00'",
        "ingest_date >= T'2020-01-01T05:00:37/tai'",
        "T'2020-01-01T05:00:00/utc' <= ingest_date",
        "NOT ingest_date < :t",
    ):
        assert ids(connection, text, {"t": EPOCH + datetime.timedelta(hours=5)}) == expected
    assert ids(connection, "ingest_date = T'2020-01-01T05:00:00.000005'") == {6}
    assert ids(connection, "ingest_date != ingest_date") == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Exposure i + 1 begins i minutes after midnight and lasts (i % 4) * 45 seconds; those that
        # last no time overlap a timespan that they stand inside of. The first one has number 1000.
        ("exposure.timespan OVERLAPS (T'2020-01-01T00:02/tai', T'2020-01-01T00:03/tai')", {3}),
        ("exposure.timespan OVERLAPS (T'2020-01-01T00:03:30/tai', :end)", {4, 5, 6}),
        ("exposure.timespan OVERLAPS T'2020-01-01T00:05:30/tai'", {6}),
        ("exposure.timespan OVERLAPS T'2020-01-01T00:05:45/tai'", set()),
        ("exposure.timespan OVERLAPS T'2020-01-01T00:05:00/tai'", {4, 6}),
        ("exposure.timespan OVERLAPS (NULL, T'2020-01-01T00:01:00/tai')", {1000}),
        ("exposure.timespan OVERLAPS :span", {3}),
        ("(exposure.begin, exposure.end) OVERLAPS :span", {3}),
        ("exposure.begin OVERLAPS :span", {3}),
        ("exposure.end OVERLAPS (T'2020-01-01T00:03:29/tai', T'2020-01-01T00:03:31/tai')", {3}),
    ],
)  # fmt: skip
def test_timespans_are_half_open(connection: sa.Connection, text: str, expected: set[int]) -> None:
    span = Timespan(EPOCH_NS + 120 * SECOND, EPOCH_NS + 180 * SECOND)
    end = Time("2020-01-01T00:05:30", scale="tai")
    assert ids(connection, text, {"span": span, "end": end}) == expected


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        (3, "exposure = :v", {3}),
        (3, "exposure = v", {3}),
        (np.int64(3), "exposure = :v", {3}),
        (np.array(3), "exposure = :v", {3}),
        (3.0, "exposure = :v", {3}),
        (np.float64(3), "exposure = :v", {3}),
        (np.float32(2.5), "exposure.exposure_time = :v AND exposure = 5", {5}),
        ([3, 4], "exposure IN (:v)", {3, 4}),
        ((3, 4), "exposure IN (v)", {3, 4}),
        ({3, 4}, "exposure IN (:v, 5)", {3, 4, 5}),
        (frozenset({3, 4.0}), "exposure IN (:v)", {3, 4}),
        (range(3, 5), "exposure IN (:v)", {3, 4}),
        (range(9, 2, -3), "exposure IN (:v)", {9, 6, 3}),
        (range(0), "exposure IN (:v)", set()),
        ([], "exposure IN (:v)", set()),
        ([], "exposure IN (:v, 3)", {3}),
        (np.array([3, 4]), "exposure IN (:v)", {3, 4}),
        (pd.Series([3, 4]), "exposure IN (:v)", {3, 4}),
        (pd.Index([3, 4]), "exposure IN (:v)", {3, 4}),
        ({3: "a", 4: "b"}.keys(), "exposure IN (:v)", {3, 4}),
        ([3, 3, 3.0, np.int16(3)], "exposure IN (:v)", {3}),
        ("it's", "exposure.target = :v", {5, 33}),
        (np.str_("it's"), "exposure.target = :v", {5, 33}),
        (["it's", "e"], "exposure.target IN (:v)", {5, 33, 15}),
        ("it's*", "exposure.target GLOB :v", {5, 33}),
        (True, "exposure.good = :v AND exposure IN (1..5)", {4}),
        (np.bool_(True), "exposure.good = :v AND exposure IN (1..5)", {4}),
        (uuid.UUID(int=2**100 + 2), "dataset_id = :v", {3}),
        ([uuid.UUID(int=2**100 + 2), uuid.UUID(int=2**100 + 3)], "dataset_id IN (:v)", {3, 4}),
        (EPOCH - datetime.timedelta(seconds=37), "exposure.begin <= :v", {1000}),
        (Time("2020-01-01", scale="tai"), "exposure.begin = :v", {1000}),
    ],
)
def test_bound_values_of_every_type(
    connection: sa.Connection, value: object, text: str, expected: set[int]
) -> None:
    assert ids(connection, text, {"v": value}) == expected


def test_not_in_an_empty_list_is_true_of_every_row(connection: sa.Connection) -> None:
    assert ids(connection, "detector NOT IN (:v)", {"v": []}) == ids(connection, "")


def test_a_colon_tells_a_bound_value_from_a_name(connection: sa.Connection) -> None:
    assert ids(connection, "exposure = :exposure", {"exposure": 3}) == {3}
    with pytest.raises(ExpressionError, match="write :exposure for the value"):
        ids(connection, "exposure = 3", {"exposure": 3})


SIXTY_FOUR_BITS = (
    "does not fit into 64 bits; integers lie between -9223372036854775808 and 9223372036854775807."
)
NOT_COMPARABLE = "with which nothing can be compared; leave such values out, or ask with IS NULL."
NO_MEANING = (
    "which has no meaning in an expression; bind numbers, strings, truth values, UUIDs, times, "
    "timespans, regions, or lists of them."
)


@pytest.mark.parametrize(
    ("value", "rest"),
    [
        (None, "value 'v' is None; ask for missing values with IS NULL."),
        (math.inf, f"value 'v' is inf, {NOT_COMPARABLE}"),
        (np.float64("nan"), f"value 'v' is nan, {NOT_COMPARABLE}"),
        ([1.0, math.nan], f"value 'v' is nan, {NOT_COMPARABLE}"),
        (2**63, f"value 'v' {SIXTY_FOUR_BITS}"),
        (range(2**70), f"value 'v' {SIXTY_FOUR_BITS}"),
        ("\ud800", "value 'v' holds half of a surrogate pair, which is no character."),
        ("a\0", "value 'v' holds a NUL byte."),
        (Time([58849.0, 58850.0], format="mjd"), "time 'v' is not a single time."),
        (
            Time("1200-01-01", scale="tai"),
            "time 'v' is out of range; times lie between the years 1678 and 2261.",
        ),
        (datetime.date(2020, 1, 1), f"value 'v' is of type date, {NO_MEANING}"),
        ({"a": 1}, f"value 'v' is of type dict, {NO_MEANING}"),
        (iter([1]), f"value 'v' is of type list_iterator, {NO_MEANING}"),
        (np.array([[1, 2]]), f"value 'v' is of type list, {NO_MEANING}"),
    ],
)
def test_bound_values_without_a_meaning(value: object, rest: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_where("exposure IN (:v)", WithRegions(), {"v": value})
    assert caught.value.sentence == f"The bound {rest}"
    assert caught.value.text == "exposure IN (:v)"
    assert (caught.value.start, caught.value.end) == (13, 15)


def region_of(text: str, bind: dict[str, object] | None = None) -> Any:
    resolver = WithRegions()
    compile_where(f"visit OVERLAPS {text}", resolver, bind)
    ((name, region, position),) = resolver.compared
    assert (name, position) == ("visit", 0)
    return region


def point(ra: float, dec: float) -> sg.UnitVector3d:
    return sg.UnitVector3d(sg.LonLat.fromDegrees(ra, dec))


def test_points_and_circles() -> None:
    circle = region_of("CIRCLE(10, -20, 1.5)")
    assert isinstance(circle, sg.Circle)
    assert circle.getOpeningAngle().asDegrees() == pytest.approx(1.5, rel=1e-12)
    assert circle.contains(point(10, -18.51))
    assert not circle.contains(point(10, -18.49))
    assert circle.contains(point(10 + 1.49 / math.cos(math.radians(20)), -20))
    assert not circle.contains(point(10 + 1.51 / math.cos(math.radians(20)), -20))
    spot = region_of("POINT(10, -20)")
    assert spot.getOpeningAngle().asRadians() == 0
    assert spot.contains(point(10, -20))
    assert not spot.contains(point(10, -20.0001))


def test_boxes_have_their_full_width_and_wrap_around() -> None:
    box = region_of("BOX(0, 10, 4, 2)")
    assert isinstance(box, sg.Box)
    assert box.contains(point(358.01, 9.01))
    assert box.contains(point(1.99, 10.99))
    for ra, dec in ((357.99, 10), (2.01, 10), (0, 8.99), (0, 11.01)):
        assert not box.contains(point(ra, dec))
    assert region_of("BOX(0, 89, 360, 4)").contains(point(180, 90))


def test_polygons_take_either_sense_of_rotation() -> None:
    square = ["350", "-10", "10", "-10", "10", "10", "350", "10"]
    for vertices in (square, [*square, *square[:2]]):
        turned = [v for i in range(len(vertices) - 2, -1, -2) for v in vertices[i : i + 2]]
        for order in (vertices, turned):
            polygon = region_of(f"POLYGON({', '.join(order)})")
            assert isinstance(polygon, sg.ConvexPolygon)
            assert len(polygon.getVertices()) == 4
            assert polygon.contains(point(0, 0))
            assert not polygon.contains(point(0, 10.3))
            assert not polygon.contains(point(11, 0))


def test_vertices_on_a_side_and_repeated_ones_are_no_corners() -> None:
    assert len(region_of("POLYGON(0,0, 5,0, 10,0, 10,0, 10,10, 0,10)").getVertices()) == 4


def test_polygons_of_an_arcsecond_and_of_half_the_sky() -> None:
    assert region_of("POLYGON(10, 10, 10.0003, 10, 10.0003, 10.0003)").contains(
        point(10.0002, 10.0001)
    )
    assert region_of("POLYGON(0, 1, 120, 1, 240, 1)").contains(point(77, 89))


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("CIRCLE 10 -20 1.5", (10, -18.51), (10, -18.49)),
        ("circle 10 -20 1.5", (10, -18.51), (10, -18.49)),
        ("RANGE 350 10 -2 2", (0, 0), (180, 0)),
        ("RANGE -10 10 -2 2", (355, 1), (180, 0)),
        ("RANGE -Inf +Inf 80 +Inf", (123, 90), (123, 79)),
        ("POLYGON 0 0 10 0 10 10 0 10", (5, 5), (5, 11)),
    ],
)
def test_regions_of_the_ivoa(
    text: str, inside: tuple[float, float], outside: tuple[float, float]
) -> None:
    region = region_of(f"REGION('{text}')")
    assert region.contains(point(*inside))
    assert not region.contains(point(*outside))
    if not text.islower() and "Inf" not in text:
        assert region.contains(point(*inside)) == sg.Region.from_ivoa_pos(text).contains(
            point(*inside)
        )


def test_arguments_of_regions_are_computed_and_bound() -> None:
    bind: dict[str, object] = {"ra": 10, "radius": 1.5, "pos": "CIRCLE 10 -20 1.5"}
    expected = region_of("CIRCLE(10, -20, 1.5)")
    assert region_of("CIRCLE(:ra, -(40 / 2), radius)", bind) == expected
    assert region_of("REGION(:pos)", bind) == expected
    assert region_of(":footprint", {"footprint": expected}) == expected
    assert region_of("footprint", {"footprint": expected}) == expected


def test_a_region_may_stand_on_either_side_and_be_denied(connection: sa.Connection) -> None:
    def found(text: str) -> set[int]:
        query = sa.select(exposure.c.id).where(compile_where(text, WithRegions()))
        return set(connection.execute(query).scalars())

    assert found("CIRCLE(1, 2, 3) OVERLAPS visit.region OR exposure = 3") == {2, 3}
    assert found("visit.region OVERLAPS CIRCLE(1, 2, 3)") == {2}
    everything = ids(connection, "")
    assert found("visit NOT OVERLAPS CIRCLE(1, 2, 3)") == everything - {2}
    assert found("NOT visit OVERLAPS CIRCLE(1, 2, 3)") == everything - {2}


def test_resolvers_without_regions_say_so() -> None:
    with pytest.raises(ExpressionError, match="There is no region 'visit' here"):
        compile_where("visit OVERLAPS CIRCLE(1, 2, 3)", Exposures())


def test_astropy_times_bound_without_a_time_in_the_text_need_no_import_here() -> None:
    script = (
        "import sys, sqlalchemy as sa\n"
        "from registry.expressions import Resolver, compile_where\n"
        "class One(Resolver):\n"
        "    def column(self, name, position): return sa.column('x', sa.Integer())\n"
        "    def known_names(self): return ['x']\n"
        "compile_where('x = :v AND x IN (1..5)', One(), {'v': 5})\n"
        "print('astropy' in sys.modules, 'lsst.sphgeom' in sys.modules, 'numpy' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False"] * 3


def test_tai_ns_of_the_registry_agrees() -> None:
    assert nanoseconds("2021-06-01T12:34:56.789/utc") == tai_ns(Time("2021-06-01T12:34:56.789"))


def test_invalid_times_are_invalid_literals() -> None:
    with pytest.raises(InvalidLiteral):
        parse("x > T''")
