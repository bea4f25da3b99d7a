"""Which moment does a time of the text, or of `bind`, stand for?

Times become TAI nanoseconds since 1970-01-01T00:00:00 TAI.  astropy is imported only when a time
occurs.
"""

from __future__ import annotations

import datetime
import warnings

from registry.expressions.errors import InvalidLiteral
from registry.expressions.nodes import Moment
from registry.timespan import parse_time, to_time

__all__ = ["moment", "utc"]


def moment(text: str, start: int, end: int) -> Moment:
    """Read what stands between the quotes of `T'...'`.

    Parameters
    ----------
    text : str
        As `registry.timespan.parse_time` reads it.
    start, end : int
        Its place, for error messages.

    Raises
    ------
    InvalidLiteral
        If it is no time, or one that does not fit into 64 bits of nanoseconds (years 1678 to 2261).
    """
    try:
        return Moment(parse_time(text, "T'{}'"))
    except ValueError as error:
        raise InvalidLiteral(f"{error}", start, end) from error


def utc(ns: int) -> datetime.datetime:
    """Convert TAI nanoseconds to an aware UTC time; a leap second is the second after it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        moment: datetime.datetime = to_time(ns).utc.to_datetime(
            timezone=datetime.UTC, leap_second_strict="silent"
        )
    return moment
