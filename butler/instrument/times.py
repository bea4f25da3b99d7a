"""When was it, in TAI nanoseconds, and which night does that belong to?

Times in headers and file names are read without building an astropy object per file: leap seconds
come from the table that astropy itself uses (`erfa.leap_seconds`), once per process.  Times before
1972 and the TDB scale, which need more than a table, go through astropy.
"""

from __future__ import annotations

import bisect
import datetime as dt
import re
from decimal import Decimal, InvalidOperation
from functools import cache, lru_cache

__all__ = [
    "DAY_NS",
    "NAMED_FORMATS",
    "SCALES",
    "Instant",
    "check_format",
    "day_obs_of",
    "night_bounds",
    "parse",
    "unwrap_twelve_hours",
]

SCALES = ("utc", "tai", "tt", "gps", "tdb")
"""Time scales that a rule may name."""
NAMED_FORMATS = ("isot", "mjd", "jd", "unix")
"""Formats with a name; every other one is a pattern of ``%`` directives."""
DAY_NS = 86_400_000_000_000
"""Nanoseconds of a day without a leap second."""

_SECOND_NS = 1_000_000_000
_SCALE_MINUS_TAI_NS = {"tai": 0, "tt": 32_184_000_000, "gps": -19_000_000_000}
_MJD_1970 = 40587
_JD_1970 = Decimal("2440587.5")
_EPOCH_ORDINAL = dt.date(1970, 1, 1).toordinal()
_FIRST_LEAP_DAY = dt.date(1972, 1, 1).toordinal() - _EPOCH_ORDINAL
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ISO = re.compile(
    r"(?P<Y>\d{4})-(?P<m>\d\d?)-(?P<d>\d\d?)"
    r"(?:(?:T|\s+)(?P<H>\d\d?):(?P<M>\d\d?)(?::(?P<S>\d\d?)(?:\.(?P<f>\d*))?)?)?Z?",
    re.IGNORECASE,
)
# English names whatever the locale of the process: `time.strptime` would follow LC_TIME.
_DIRECTIVES = {
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d\d)",
    "m": r"(?P<m>\d\d?)",
    "d": r"(?P<d>\d\d?)",
    "j": r"(?P<j>\d{1,3})",
    "H": r"(?P<H>\d\d?)",
    "I": r"(?P<I>\d\d?)",
    "p": r"(?P<p>[AaPp][Mm])",
    "M": r"(?P<M>\d\d?)",
    "S": r"(?P<S>\d\d?)",
    "f": r"(?P<f>\d+)",
    "b": r"(?P<b>[A-Za-z]{3})",
    "B": r"(?P<b>[A-Za-z]+)",
    "a": r"[A-Za-z]{3}",
    "A": r"[A-Za-z]+",
    "%": "%",
}


class Instant(int):
    """A moment as TAI nanoseconds since 1970-01-01T00:00:00 TAI, which formats itself as UTC.

    Examples
    --------
    >>> f"{parse('2022-09-21T02:05:39', 'isot', 'utc'):%Y%m%d%H%M%S}"
    '20220921020539'
    """

    __slots__ = ()

    @property
    def seconds(self) -> float:
        """The same moment in seconds, for arithmetic with durations."""
        return int(self) / 1e9

    def utc(self) -> dt.datetime:
        """Give the UTC date and time to the microsecond (cut off; a leap second shows as :59)."""
        day, ns = _tai_to_utc(int(self))
        second, rest = divmod(ns, _SECOND_NS)
        midnight = dt.datetime.fromordinal(day + _EPOCH_ORDINAL)
        return midnight + dt.timedelta(seconds=min(second, 86_399), microseconds=rest // 1000)

    def __format__(self, spec: str) -> str:
        return self.utc().strftime(spec) if "%" in spec else format(int(self), spec)


def parse(value: object, form: str, scale: str, utc_offset: float = 0.0) -> Instant:
    """Read a time.

    Parameters
    ----------
    value : object
        A text or a number.
    form : str
        ``isot`` (ISO 8601 date and time), ``mjd``, ``jd``, ``unix``, or a pattern of ``strptime``
        directives with English names (``%a_%b_%d_%Y_%H.%M.%S``); after ``%S`` a fraction is
        written ``.%f``, to any length.
    scale : str
        One of `SCALES`.
    utc_offset : float
        What a local clock was ahead of ``scale`` [h].

    Returns
    -------
    Instant
        Exact as written: the decimal digits of a modified Julian date are not rounded to a double
        first.

    Raises
    ------
    ValueError
        If the value is not such a time.
    """
    if form in {"mjd", "jd", "unix"}:
        day, ns = _from_number(value, form, scale)
    else:
        day, ns = _from_text(str(value).strip(), form)
    ns -= round(utc_offset * 3600) * _SECOND_NS
    if utc_offset:
        day, ns = day + ns // DAY_NS, ns % DAY_NS
    if scale == "utc":
        if day >= _FIRST_LEAP_DAY:
            return Instant(day * DAY_NS + ns + _tai_minus_utc(day) * _SECOND_NS)
    elif scale in _SCALE_MINUS_TAI_NS:
        return Instant(day * DAY_NS + ns - _SCALE_MINUS_TAI_NS[scale])
    return _through_astropy(day, ns, scale)


def check_format(form: str) -> None:
    """Make sure that a time format can be read.

    Raises
    ------
    ValueError
        If it is neither named nor a pattern that gives a date.
    """
    if form not in NAMED_FORMATS:
        _pattern(form)


def unwrap_twelve_hours(when: Instant, longitude: float) -> Instant:
    """Restore the am/pm that a 12-hour clock lost: take the reading nearer to local midnight.

    Parameters
    ----------
    when : Instant
        As read, with the hour 0 to 11.
    longitude : float
        Of the site, positive east [deg].
    """
    half = DAY_NS // 2
    _day, ns = _tai_to_utc(int(when))
    early = Instant(int(when) - (ns // half) * half)
    local = round(longitude / 360 * DAY_NS)

    def from_midnight(reading: int) -> int:
        phase = (_tai_to_utc(reading)[1] + local) % DAY_NS
        return min(phase, DAY_NS - phase)

    return min(early, Instant(int(early) + half), key=from_midnight)


def day_obs_of(tai_ns: int, noon_ns: int) -> int:
    """Name the night of a moment: the date, YYYYMMDD, of the noon that it follows.

    Parameters
    ----------
    tai_ns : int
        The moment [TAI ns].
    noon_ns : int
        When the night's date begins: nanoseconds from 0h UTC of that date to noon at the site.
        For longitude L (degrees, east) local mean noon is 12 h - L/15.
    """
    day, ns = _tai_to_utc(tai_ns)
    date = dt.date.fromordinal(day + (ns - noon_ns) // DAY_NS + _EPOCH_ORDINAL)
    return date.year * 10_000 + date.month * 100 + date.day


@lru_cache(maxsize=4096)
def night_bounds(day_obs: int, noon_ns: int) -> tuple[int, int]:
    """Give begin and end of a night, noon to noon, [TAI ns].

    Parameters
    ----------
    day_obs : int
        YYYYMMDD.
    noon_ns : int
        As for `day_obs_of`.

    Raises
    ------
    ValueError
        If ``day_obs`` is not a date.
    """
    date = dt.date(day_obs // 10_000, day_obs // 100 % 100, day_obs % 100)
    day = date.toordinal() - _EPOCH_ORDINAL
    return _noon(day, noon_ns), _noon(day + 1, noon_ns)


def _noon(day: int, noon_ns: int) -> int:
    day, ns = day + noon_ns // DAY_NS, noon_ns % DAY_NS
    if day < _FIRST_LEAP_DAY:
        return int(_through_astropy(day, ns, "utc"))
    return day * DAY_NS + ns + _tai_minus_utc(day) * _SECOND_NS


def _from_number(value: object, form: str, scale: str) -> tuple[int, int]:
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a number") from None
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    if form == "unix":
        ns = int((number * _SECOND_NS).to_integral_value())
        return ns // DAY_NS, ns % DAY_NS
    days = number - (_MJD_1970 if form == "mjd" else _JD_1970)
    day = int(days.to_integral_value("ROUND_FLOOR"))
    length = DAY_NS
    if scale == "utc" and day >= _FIRST_LEAP_DAY:
        # As in SOFA: on a day with a leap second the fraction runs over 86,401 s.
        length += (_tai_minus_utc(day + 1) - _tai_minus_utc(day)) * _SECOND_NS
    return day, int(((days - day) * length).to_integral_value())


def _from_text(text: str, form: str) -> tuple[int, int]:
    match = (_ISO if form == "isot" else _pattern(form)).fullmatch(text)
    if match is None:
        expected = (
            "an ISO 8601 time like 2022-09-21T02:05:39.000"
            if form == "isot"
            else f"written as {form!r}"
        )
        raise ValueError(f"{text!r} is not {expected}")
    part = match.groupdict()
    year = int(part["Y"]) if part.get("Y") else _two_digit_year(int(part["y"]))
    if part.get("j"):
        date = dt.date(year, 1, 1) + dt.timedelta(days=int(part["j"]) - 1)
    else:
        month = int(part["m"]) if part.get("m") else _month(part["b"], text)
        try:
            date = dt.date(year, month, int(part.get("d") or 1))
        except ValueError as error:
            raise ValueError(f"{text!r} is no date: {error}") from None
    hour, minute, second = (int(part.get(k) or 0) for k in "HMS")
    if part.get("I"):
        hour = int(part["I"]) % 12 + (12 if (part.get("p") or "").lower() == "pm" else 0)
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError(f"{text!r} is no time of day")
    fraction = (part.get("f") or "")[:9].ljust(9, "0")
    return date.toordinal() - _EPOCH_ORDINAL, (
        hour * 3600 + minute * 60 + second
    ) * _SECOND_NS + int(fraction)


def _two_digit_year(year: int) -> int:
    return year + (2000 if year < 69 else 1900)


def _month(name: str, text: str) -> int:
    if name[:3].lower() not in _MONTHS:
        raise ValueError(f"{name!r} in {text!r} is no English name of a month")
    return _MONTHS.index(name[:3].lower()) + 1


@lru_cache(maxsize=256)
def _pattern(form: str) -> re.Pattern[str]:
    parts, seen = [], set()
    for literal, directive in re.findall(r"([^%]+)|%(.?)", form):
        if literal:
            parts.append(re.escape(literal))
            continue
        if directive not in _DIRECTIVES:
            raise ValueError(
                f"'%{directive}' in {form!r} is not known; use "
                + " ".join(f"%{d}" for d in _DIRECTIVES)
            )
        parts.append(_DIRECTIVES[directive])
        seen.add(directive)
    if not ({"Y", "y"} & seen and {"m", "b", "B", "j"} & seen):
        named = ", ".join(NAMED_FORMATS)
        raise ValueError(
            f"{form!r} gives no date: it is none of {named}, and lacks %Y (or %y) or the month"
        )
    try:
        return re.compile("".join(parts))
    except re.error as error:
        raise ValueError(f"{form!r} uses a directive twice ({error})") from None


@cache
def _leap_seconds() -> tuple[list[int], list[int]]:
    """Days since 1970 on which TAI-UTC changed, from 1972 on, and the offset from that day [s]."""
    import erfa

    rows = [
        (dt.date(year, month, 1).toordinal() - _EPOCH_ORDINAL, round(offset))
        for year, month, offset in erfa.leap_seconds.get().tolist()
    ]
    known = [row for row in rows if row[0] >= _FIRST_LEAP_DAY]
    return [day for day, _ in known], [offset for _, offset in known]


def _tai_minus_utc(day: int) -> int:
    days, offsets = _leap_seconds()
    return offsets[bisect.bisect_right(days, day) - 1]


def _tai_to_utc(tai: int) -> tuple[int, int]:
    day = tai // DAY_NS
    if day <= _FIRST_LEAP_DAY:
        from registry.timespan import to_time

        moment = to_time(tai).utc.datetime
        since = moment - dt.datetime(1970, 1, 1)  # noqa: DTZ001 (both are UTC)
        return since.days, since.seconds * _SECOND_NS + since.microseconds * 1000
    begin = day * DAY_NS + _tai_minus_utc(day) * _SECOND_NS
    if tai < begin:
        day -= 1
        begin = day * DAY_NS + _tai_minus_utc(day) * _SECOND_NS
    return day, tai - begin


def _through_astropy(day: int, ns: int, scale: str) -> Instant:
    from astropy.time import Time

    from registry.timespan import tai_ns

    return Instant(tai_ns(Time(2440587.5 + day, ns / DAY_NS, format="jd", scale=scale)))
