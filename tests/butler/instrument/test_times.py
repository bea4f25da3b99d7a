"""Times against astropy, nights against the calendar, the 12-hour clock against the sky."""

from __future__ import annotations

import datetime as dt

import pytest
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_sun
from astropy.time import Time
from astropy.utils import iers
from hypothesis import given
from hypothesis import strategies as st

from butler.instrument.parts import Site
from butler.instrument.times import (
    Instant,
    check_format,
    day_obs_of,
    night_bounds,
    parse,
    unwrap_twelve_hours,
)
from registry.timespan import tai_ns, to_time

MOMENTS = st.datetimes(dt.datetime(1972, 1, 2), dt.datetime(2028, 1, 1))  # noqa: DTZ001


@given(MOMENTS, st.sampled_from(["utc", "tai", "tt"]))
def test_iso_times_agree_with_astropy_to_the_nanosecond(moment: dt.datetime, scale: str) -> None:
    text = moment.isoformat()
    assert parse(text, "isot", scale) == tai_ns(Time(text, scale=scale))


@pytest.mark.parametrize(
    "text",
    ["1971-06-01T12:00:00", "2016-12-31T23:59:60.5", "2017-01-01T00:00:00", "1972-06-30T23:59:60"],
)
def test_leap_seconds_and_the_time_before_them_agree_with_astropy(text: str) -> None:
    assert abs(parse(text, "isot", "utc") - tai_ns(Time(text, scale="utc"))) <= 20


@given(st.decimals(41500, 61700, places=9))
def test_modified_julian_dates_agree_with_astropy(mjd: object) -> None:
    wanted = tai_ns(Time(str(mjd), format="mjd", scale="utc"))
    assert abs(parse(str(mjd), "mjd", "utc") - wanted) <= 1000


def test_modified_julian_date_on_a_day_with_a_leap_second_follows_sofa() -> None:
    wanted = tai_ns(Time("57753.75", format="mjd", scale="utc"))
    assert abs(parse("57753.75", "mjd", "utc") - wanted) <= 10


def test_julian_date_unix_gps_and_tdb() -> None:
    moment = Time("2022-09-21T02:05:39", scale="utc")
    assert abs(parse(f"{moment.jd:.9f}", "jd", "utc") - tai_ns(moment)) < 100_000
    assert parse(moment.unix, "unix", "utc") == tai_ns(moment)
    assert parse("1980-01-06T00:00:00", "isot", "gps") == tai_ns(Time(0, format="gps"))
    tdb = Time("2022-09-21T02:05:39", scale="tdb")
    assert abs(parse("2022-09-21T02:05:39", "isot", "tdb") - tai_ns(tdb)) <= 100


@given(MOMENTS)
def test_file_name_times_are_read_whatever_the_locale(moment: dt.datetime) -> None:
    days = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    name = f"{days[moment.weekday()]}_{months[moment.month - 1]}_{moment:%d_%Y_%H.%M.%S}"
    wanted = tai_ns(Time(moment.replace(microsecond=0).isoformat(), scale="utc"))
    assert parse(name, "%a_%b_%d_%Y_%H.%M.%S", "utc") == wanted


@pytest.mark.parametrize(
    ("text", "form", "wanted"),
    [
        ("20220921020539.25", "%Y%m%d%H%M%S.%f", "2022-09-21T02:05:39.25"),
        ("22264 0205", "%y%j %H%M", "2022-09-21T02:05:00"),
        ("21/09/72 12:05 AM", "%d/%m/%y %I:%M %p", "1972-09-21T00:05:00"),
        ("September 21, 2022 12:05 pm", "%B %d, %Y %I:%M %p", "2022-09-21T12:05:00"),
        ("2022-09-21 2:5", "isot", "2022-09-21T02:05:00"),
        ("2022-09-21", "isot", "2022-09-21T00:00:00"),
    ],
)
def test_formats(text: str, form: str, wanted: str) -> None:
    assert parse(text, form, "utc") == tai_ns(Time(wanted, scale="utc"))


def test_local_clock_is_brought_back_to_utc() -> None:
    assert parse("2022-10-23T05:31:00", "isot", "utc", 5.5) == parse(
        "2022-10-23T00:01:00", "isot", "utc"
    )
    assert parse("2022-10-23T00:01:00", "isot", "utc", 5.5) == parse(
        "2022-10-22T18:31:00", "isot", "utc"
    )


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("yesterday", "isot"),
        ("2022-13-01T00:00:00", "isot"),
        ("2022-02-30T00:00:00", "isot"),
        ("2022-02-03T25:00:00", "isot"),
        ("nan", "mjd"),
        ("x", "jd"),
        ("Wed_Xyz_21_2022", "%a_%b_%d_%Y"),
    ],
)
def test_what_is_no_time_is_refused(value: str, form: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        parse(value, form, "utc")


@pytest.mark.parametrize("form", ["iso", "%H:%M", "%Y%m%d%Q", "%Y%Y%m"])
def test_formats_that_give_no_date_are_refused(form: str) -> None:
    with pytest.raises(ValueError, match=r"no date|not known|twice"):
        check_format(form)


@given(MOMENTS)
def test_an_instant_writes_itself_as_utc(moment: dt.datetime) -> None:
    instant = parse(moment.isoformat(), "isot", "utc")
    assert f"{instant:%Y-%m-%dT%H:%M:%S.%f}" == f"{moment:%Y-%m-%dT%H:%M:%S.%f}"
    assert f"{instant:d}" == str(int(instant))


def test_instants_before_leap_seconds_write_themselves_too() -> None:
    assert f"{parse('1965-03-01T10:20:30', 'isot', 'utc'):%Y%m%d %H%M%S}" == "19650301 102030"


@given(MOMENTS, st.floats(-180, 180))
def test_every_moment_lies_in_exactly_its_night(moment: dt.datetime, longitude: float) -> None:
    noon = Site.noon(longitude, None)
    ns = parse(moment.isoformat(), "isot", "utc")
    begin, end = night_bounds(day_obs_of(ns, noon), noon)
    assert begin <= ns < end
    assert abs(end - begin - 86_400_000_000_000) <= 1_000_000_000


def test_night_runs_from_local_mean_noon_to_noon() -> None:
    noon = Site.noon(5.7133, None)
    begin, end = night_bounds(20220920, noon)
    assert to_time(begin).utc.isot == "2022-09-20T11:37:08.808"
    assert to_time(end).utc.isot == "2022-09-21T11:37:08.808"
    assert day_obs_of(parse("2022-09-21T02:05:39", "isot", "utc"), noon) == 20220920
    assert night_bounds(19700101, Site.noon(None, "12:00"))[0] > 0


def test_twelve_hour_clock_puts_the_tircam2_frames_under_a_dark_sky() -> None:
    """As written, IC 310 was below the horizon by day; 12 h later it stood high at night."""
    place = EarthLocation.from_geodetic(79.684, 29.361, 2450)
    written = parse("2022-10-23T08:31:24", "isot", "utc")
    restored = unwrap_twelve_hours(written, 79.684)
    assert restored - written == 12 * 3600 * 1_000_000_000
    target = SkyCoord("03h16m43s +41d19m29s")
    with iers.conf.set_temp("auto_download", False):
        for moment, dark in ((written, False), (restored, True)):
            frame = AltAz(obstime=to_time(moment), location=place)
            sun = float(get_sun(frame.obstime).transform_to(frame).alt.deg)
            height = float(target.transform_to(frame).alt.deg)
            assert (sun < -18 and height > 60) is dark
            assert (sun > 0 and height < 0) is not dark
    dawn = parse("2022-10-24T00:14:48", "isot", "utc")
    assert unwrap_twelve_hours(dawn, 79.684) == dawn
    assert isinstance(restored, Instant)
