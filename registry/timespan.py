"""How is a moment or a stretch of time written down, compared and shown?

Times in the registry are TAI nanoseconds since 1970-01-01T00:00:00 TAI in 64-bit integers, and
every range is half open, ``[begin, end)``.  Conversions to and from `astropy.time.Time` import
astropy only when called.
"""

from __future__ import annotations

import datetime as dt
import re
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from astropy.time import Time

__all__ = [
    "BEGINNING",
    "END",
    "FORMATS",
    "SCALES",
    "YEARS",
    "Timespan",
    "exact_ns",
    "iso",
    "parse_time",
    "tai_now_ns",
    "tai_ns",
    "to_time",
]

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


FORMATS: Final = ("iso", "isot", "yday", "mjd", "jd", "unix", "unix_tai")
"""Formats of a written time, as `astropy.time` names them."""
SCALES: Final = ("utc", "tai", "tt", "tdb")
"""Scales of a written time."""
YEARS: Final = "times lie between the years 1678 and 2261"
"""What 64 bits of nanoseconds hold, in words."""
LONGEST: Final = 100
"""Longest text of a time [characters]."""
FARTHEST: Final = 106_751
"""Days before and after 1970 that 64 bits of nanoseconds hold."""

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ].*)?", re.ASCII)
_YDAY = re.compile(r"\d{4}:\d{3}.*", re.ASCII)
_NUMERIC = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)


def parse_time(text: str, shown: str = "{}") -> int:
    """Read a time as people write it: in expressions, on a command line, in Python.

    Parameters
    ----------
    text : str
        ``[format/]value[/scale]``, for example ``2022-09-20``, ``2022-09-20T23:34:00/tai`` or
        ``mjd/59842.5``.  Without a format, a number is an MJD and anything else ISO 8601 or
        ``year:day``.  Without a scale, dates are UTC, as in FITS headers, and numbers TAI.
    shown : str
        How messages write a time: ``{}`` stands for it.

    Returns
    -------
    int
        TAI nanoseconds since 1970-01-01T00:00:00 TAI.

    Raises
    ------
    ValueError
        If it is no time, or one that does not fit into 64 bits of nanoseconds (years 1678 to 2261).
    """
    if len(text) > LONGEST:
        raise _not_a_time(text, shown)
    body, form, scale = _parts(text, shown)
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
        raise _not_a_time(text, shown)
    try:
        ns = _converted(body, form, scale)
    except (ValueError, OverflowError) as error:
        raise _not_a_time(text, shown) from error
    if ns is None:
        raise ValueError(f"The time {shown.format(text)} is out of range; {YEARS}.")
    return ns


def _parts(text: str, shown: str) -> tuple[str, str, str]:
    """Split a time into its value, its format and its scale; the last two may be empty."""
    pieces = [piece.strip() for piece in text.split("/")]
    form = scale = ""
    if len(pieces) > 1 and pieces[0][:1].isalpha():
        form = pieces.pop(0).lower()
        if form not in FORMATS:
            raise ValueError(f"'{form}' is not a time format; known are {', '.join(FORMATS)}.")
    if len(pieces) > 1 and not pieces[-1][:1].isdigit():
        scale = pieces.pop().lower()
        if scale not in SCALES:
            raise ValueError(f"'{scale}' is not a time scale; known are {', '.join(SCALES)}.")
    if len(pieces) != 1:
        raise _not_a_time(text, shown)
    return pieces[0], form, scale


def _converted(body: str, form: str, scale: str) -> int | None:
    from astropy.time import Time

    if form == "isot":
        body, form = body.replace("T", " "), "iso"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return exact_ns(Time(body, format=form, scale=scale))


def exact_ns(time: Time) -> int | None:
    """Convert a single time to TAI nanoseconds; None if they do not fit into 64 bits.

    Dates far from now have no leap seconds announced, of which ERFA warns; the warning is dropped,
    because the place where it would be shown is far from the text that it is about.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tai = time.tai
        return int(tai_ns(tai)) if abs(float(tai.jd) - 2440587.5) < FARTHEST else None


def _not_a_time(text: str, shown: str) -> ValueError:
    examples = [
        shown.format(e) for e in ("2020-01-31T12:00:00/utc", "2020-01-31", "mjd/58879.5/tai")
    ]
    start = text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}..."
    return ValueError(
        f"'{start}' is not a time; write for example {', '.join(examples[:2])} or {examples[2]}."
    )


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
    TypeError
        If a bound is a text or a `Time`, which `parse` and `from_times` take.
    ValueError
        If the range is inverted, or empty when rounded down to microseconds as stored.
    """

    begin: int | None = None
    end: int | None = None

    def __post_init__(self) -> None:
        bounds: tuple[Any, Any] = (self.begin, self.end)
        for bound in bounds:
            if isinstance(bound, str) or hasattr(bound, "tai"):
                how = "parse(begin, end)" if isinstance(bound, str) else "from_times(begin, end)"
                raise TypeError(
                    f"A bound of a validity range is TAI nanoseconds, not {bound!r}; write "
                    f"Timespan.{how}."
                )
            if bound is not None and (isinstance(bound, bool) or bound != bound or bound % 1):  # noqa: PLR0124 (NaN)
                raise ValueError(
                    f"A bound of a validity range is whole nanoseconds, not {bound!r}."
                )
        begin, end = self.bounds
        if begin >= end:
            raise ValueError(
                "A validity range must begin before it ends, "
                f"but [{iso(begin)}, {iso(end)}) TAI does not."
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
        scale = "" if (begin, end) == (BEGINNING, END) else " TAI"
        return f"[{iso(begin)}, {iso(end)}){scale}"
