"""How is a stretch of time written down, compared and shown?

Times in the registry are TAI nanoseconds since 1970-01-01T00:00:00 TAI in 64-bit integers, and
every range is half open, ``[begin, end)``.  Conversions to and from `astropy.time.Time` import
astropy only when called.
"""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astropy.time import Time

__all__ = ["BEGINNING", "END", "Timespan", "iso", "parse_time", "tai_now_ns", "tai_ns", "to_time"]

BEGINNING = -9_223_372_036_854_775_000
"""Begin of a range without a beginning [TAI ns], in whole microseconds for every database."""
END = 9_223_372_036_854_775_000
"""End of a range without an end [TAI ns]."""

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 (a TAI epoch has no time zone)
_DAY_NS = 86_400_000_000_000


def tai_ns(time: Time) -> Any:
    """Convert times to TAI nanoseconds, exact to the nanosecond.

    Parameters
    ----------
    time : astropy.time.Time, any shape
        Any scale that converts to TAI.

    Returns
    -------
    int, or array of int64 of the same shape
        TAI nanoseconds since 1970-01-01T00:00:00 TAI.
    """
    import numpy as np

    tai = time.tai
    # jd1 and jd2 are split so that each product below is exact in double precision.
    days = np.floor(tai.jd1 - 2440587.5)
    rest = (tai.jd1 - 2440587.5 - days) + tai.jd2
    ns = days.astype(np.int64) * _DAY_NS + np.round(rest * _DAY_NS).astype(np.int64)
    return int(ns) if ns.ndim == 0 else ns


def to_time(ns: int) -> Time:
    """Convert TAI nanoseconds since 1970 to an `astropy.time.Time` in the TAI scale."""
    from astropy.time import Time

    days, rest = divmod(int(ns), _DAY_NS)
    return Time(2440587.5 + days, rest / _DAY_NS, format="jd", scale="tai")


def parse_time(text: str) -> int:
    """Read a time as people write it on a command line.

    Parameters
    ----------
    text : str
        ISO 8601 (``2022-09-20``, ``2022-09-20T23:34:00``), optionally followed by ``/utc``,
        ``/tai`` or ``/tt``; without a scale it is TAI.

    Returns
    -------
    int
        TAI nanoseconds since 1970-01-01T00:00:00 TAI.

    Raises
    ------
    ValueError
        If the text is not a time.
    """
    body, _, scale = text.partition("/")
    try:
        if scale.lower() in ("", "tai"):
            moment = dt.datetime.fromisoformat(body)
            if moment.tzinfo is not None:
                raise ValueError("a TAI time has no time zone")
            return round((moment - _EPOCH) / dt.timedelta(microseconds=1)) * 1000
        from astropy.time import Time

        return int(tai_ns(Time(body, scale=scale.lower())))
    except ValueError as error:
        raise ValueError(
            f"'{text}' is not a time: write for example 2022-09-20T23:34:00 "
            f"or 2022-09-20T23:34:00/utc ({error})."
        ) from error


def iso(ns: int | None) -> str:
    """Show TAI nanoseconds as ISO 8601 in the TAI scale, to the millisecond where needed."""
    if ns is None:
        return "-"
    if ns <= BEGINNING:
        return "-inf"
    if ns >= END:
        return "+inf"
    moment = _EPOCH + dt.timedelta(microseconds=ns // 1000)
    text = moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.removesuffix("T00:00:00")


TAI_MINUS_UTC_S = 37
"""Leap seconds since 2017 [s]; none has been announced after."""


def tai_now_ns() -> int:
    """Tell the time now as TAI nanoseconds since 1970."""
    return time.time_ns() + TAI_MINUS_UTC_S * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Timespan:
    """A half-open range of time, ``[begin, end)``.

    Parameters
    ----------
    begin, end : int or None
        TAI nanoseconds since 1970-01-01T00:00:00 TAI; None is without limit on that side.

    Raises
    ------
    ValueError
        If the range is inverted, or empty when rounded down to microseconds as stored.
    """

    begin: int | None = None
    end: int | None = None

    def __post_init__(self) -> None:
        begin, end = self.bounds
        if begin >= end:
            raise ValueError(
                "A validity range must begin before it ends, "
                f"but [{iso(self.begin)}, {iso(self.end)}) does not."
            )

    @classmethod
    def from_times(cls, begin: Time | None, end: Time | None) -> Timespan:
        """Make a range from two `astropy.time.Time` (None: without limit)."""
        return cls(
            None if begin is None else int(tai_ns(begin)), None if end is None else int(tai_ns(end))
        )

    @classmethod
    def parse(cls, begin: str | None, end: str | None) -> Timespan:
        """Make a range from two texts as `parse_time` reads them (None or empty: without limit)."""
        return cls(parse_time(begin) if begin else None, parse_time(end) if end else None)

    @property
    def bounds(self) -> tuple[int, int]:
        """The two bounds as stored: whole microseconds, `BEGINNING` and `END` for missing ones."""
        begin = BEGINNING if self.begin is None else max(self.begin // 1000 * 1000, BEGINNING)
        end = END if self.end is None else min(self.end // 1000 * 1000, END)
        return begin, end

    def contains(self, ns: int) -> bool:
        """Tell whether a moment [TAI ns] lies inside."""
        begin, end = self.bounds
        return begin <= ns < end

    def overlaps(self, other: Timespan) -> bool:
        """Tell whether the two ranges share a moment."""
        begin, end = self.bounds
        other_begin, other_end = other.bounds
        return begin < other_end and other_begin < end

    def __str__(self) -> str:
        begin, end = self.bounds
        return f"[{iso(begin)}, {iso(end)})"
