"""Which moment does a time of the text, or of `bind`, stand for?

Times become TAI nanoseconds since 1970-01-01T00:00:00 TAI.  astropy is imported only when a time
occurs.
"""

from __future__ import annotations

import datetime
import re
import warnings
from typing import TYPE_CHECKING, Final

from registry.expressions.errors import InvalidLiteral
from registry.expressions.literals import shortened
from registry.expressions.nodes import Moment

if TYPE_CHECKING:
    from astropy.time import Time

__all__ = ["FORMATS", "SCALES", "YEARS", "moment", "nanoseconds", "utc"]

FORMATS: Final = ("iso", "isot", "yday", "mjd", "jd", "unix", "unix_tai")
"""Time formats of a literal, as `astropy.time` names them."""
SCALES: Final = ("utc", "tai", "tt", "tdb")
"""Time scales of a literal."""
YEARS: Final = "times lie between the years 1678 and 2261"
"""What 64 bits of nanoseconds hold, in words."""
LONGEST: Final = 100
"""Longest text between the quotes of a time [characters]."""
FARTHEST: Final = 106_751
"""Days before and after 1970 that 64 bits of nanoseconds hold."""

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ].*)?", re.ASCII)
_YDAY = re.compile(r"\d{4}:\d{3}.*", re.ASCII)
_NUMERIC = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)


def moment(text: str, start: int, end: int) -> Moment:
    """Read a time, `[format/]value[/scale]`.

    Parameters
    ----------
    text : str
        What stands between the quotes of `T'...'`.  Without a format, a number is an MJD and
        anything else ISO 8601 or `year:day`; without a scale, dates are UTC and numbers TAI, as in
        lsst-daf-butler.
    start, end : int
        Its place, for error messages.

    Raises
    ------
    InvalidLiteral
        If it is no time, or one that does not fit into 64 bits of nanoseconds (years 1678 to 2261).
    """
    if len(text) > LONGEST:
        raise _not_a_time(text, start, end)
    body, form, scale = _parts(text, start, end)
    numeric = _NUMERIC.fullmatch(body) is not None
    form = form or (
        "mjd" if numeric else "isot" if "T" in body else "yday" if ":" in body[:5] else "iso"
    )
    scale = scale or ("tai" if form in ("mjd", "jd", "unix_tai") else "utc")
    fits = (
        numeric
        if form in ("mjd", "jd", "unix", "unix_tai")
        else ((_YDAY if form == "yday" else _ISO).fullmatch(body) is not None)
    )
    if not fits:
        raise _not_a_time(text, start, end)
    try:
        ns = _converted(body, form, scale)
    except (ValueError, OverflowError) as error:
        raise _not_a_time(text, start, end) from error
    if ns is None:
        raise InvalidLiteral(f"The time T'{shortened(text)}' is out of range; {YEARS}.", start, end)
    return Moment(ns)


def _parts(text: str, start: int, end: int) -> tuple[str, str, str]:
    """Split a time into its value, its format and its scale; the last two may be empty."""
    pieces = [piece.strip() for piece in text.split("/")]
    form = scale = ""
    if len(pieces) > 1 and pieces[0][:1].isalpha():
        form = pieces.pop(0).lower()
        if form not in FORMATS:
            raise InvalidLiteral(
                f"'{shortened(form)}' is not a time format; known are {', '.join(FORMATS)}.",
                start,
                end,
            )
    if len(pieces) > 1 and not pieces[-1][:1].isdigit():
        scale = pieces.pop().lower()
        if scale not in SCALES:
            raise InvalidLiteral(
                f"'{shortened(scale)}' is not a time scale; known are {', '.join(SCALES)}.",
                start,
                end,
            )
    if len(pieces) != 1:
        raise _not_a_time(text, start, end)
    return pieces[0], form, scale


def _converted(body: str, form: str, scale: str) -> int | None:
    from astropy.time import Time

    if form == "isot":
        body, form = body.replace("T", " "), "iso"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nanoseconds(Time(body, format=form, scale=scale))


def nanoseconds(time: Time) -> int | None:
    """Convert a single time to TAI nanoseconds; None if they do not fit into 64 bits.

    Dates far from now have no leap seconds announced, of which ERFA warns; the warning is dropped,
    because the place where it would be shown is far from the text that it is about.
    """
    from registry.timespan import tai_ns

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tai = time.tai
        return int(tai_ns(tai)) if abs(float(tai.jd) - 2440587.5) < FARTHEST else None


def utc(ns: int) -> datetime.datetime:
    """Convert TAI nanoseconds to an aware UTC time; a leap second is the second after it."""
    from registry.timespan import to_time

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        moment: datetime.datetime = to_time(ns).utc.to_datetime(
            timezone=datetime.UTC, leap_second_strict="silent"
        )
    return moment


def _not_a_time(text: str, start: int, end: int) -> InvalidLiteral:
    return InvalidLiteral(
        f"'{shortened(text)}' is not a time; write for example T'2020-01-31T12:00:00/utc', "
        "T'2020-01-31' or T'mjd/58879.5/tai'.",
        start,
        end,
    )
