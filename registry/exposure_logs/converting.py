"""What does each cell of an observing log say, and what is wrong with it?

Whole columns at once: a converter gives values and, for the rows whose cell it cannot take, why.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from registry.exposure_logs.mapping import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry.exposure_logs.mapping import Rule

__all__ = ["Problems", "convert", "night_of", "text_of"]

Problems = list[tuple[int, str, str, str]]
"""Row, column, content and reason of each cell that cannot be taken."""

DAY_NS = 86_400_000_000_000
LIMITS: dict[str, tuple[float, float, str]] = {
    "id": (0, 2**63 - 1, "an exposure number is not negative"),
    "day_obs": (19000101, 29991231, "a night is a date, YYYYMMDD"),
    "seq_num": (0, 2**31 - 1, "a running number is not negative"),
    "exposure_time": (0, 1e7, "an exposure time lies within 0 and 10 000 000 s"),
    "dark_time": (0, 1e7, "a dark time lies within 0 and 10 000 000 s"),
    "ra": (0, 360, "a right ascension lies within 0 and 360 deg"),
    "dec": (-90, 90, "a declination lies within -90 and 90 deg"),
    "airmass": (0.99, 100, "an air mass is 1 or more"),
}
LENGTHS = {"instrument": 128, "physical_filter": 128}
EARLIEST, LATEST = pd.Timestamp("1900-01-01"), pd.Timestamp("2200-01-01")


def text_of(column: pd.Series) -> pd.Series:
    """Write the cells of a column as texts without blanks around them; missing ones are empty."""
    return column.map(lambda v: "" if pd.isna(v) else str(v).strip())


def convert(
    field: str, rule: Rule, cells: pd.Series, empty: tuple[str, ...]
) -> tuple[pd.Series, Problems]:
    """Make the values of a field from the texts of a column.

    Parameters
    ----------
    field : str
        One of `FIELDS`.
    cells : pandas.Series of str
        Indexed by row.
    empty : tuple of str
        Contents that mean that there is no value.

    Returns
    -------
    values : pandas.Series of object
        None where there is no value, or none that can be taken.
    problems : list
        Of the cells that cannot be taken.
    """
    present = ~cells.isin([*empty, *rule.missing])
    given = cells[present]
    if rule.digits:
        given = given.str.replace(r"\D", "", regex=True)
    if rule.lookup is not None:
        looked = given.map(rule.lookup)
        reason = f"it is none of {', '.join(rule.lookup)}"
        values, bad = looked, pd.Series(reason, index=looked.index[looked.isna()])
    else:
        values, bad = _CONVERTERS[FIELDS[field]](field, rule, given)
    # as objects before rows without a value join in: floats would round numbers and times
    values = values.astype(object).drop(bad.index, errors="ignore").reindex(cells.index)
    values = values.where(values.notna(), None)
    problems = [(int(row), rule.column, str(cells[row]), str(why)) for row, why in bad.items()]
    return values, problems


def _texts(field: str, _rule: Rule, given: pd.Series) -> tuple[pd.Series, pd.Series]:
    longest = LENGTHS.get(field, 255)
    bad = pd.Series("", index=given.index[given.str.len() > longest])
    bad[:] = f"it is longer than {longest} letters"
    nul = given.str.contains("\0", regex=False)
    bad = pd.concat([bad, pd.Series("it holds a zero byte", index=given.index[nul])])
    if field == "quality":
        odd = given.index[~given.isin(["good", "rejected"])]
        bad = pd.concat([bad, pd.Series("quality is good or rejected", index=odd)])
    return given, bad[~bad.index.duplicated()]


def _integers(field: str, _rule: Rule, given: pd.Series) -> tuple[pd.Series, pd.Series]:
    whole = given.str.fullmatch(r"[+-]?\d{1,25}(\.0*)?")
    values = given[whole].map(lambda text: int(text.partition(".")[0]))
    low, high, reason = LIMITS[field]
    fits = _is_night if field == "day_obs" else lambda v: low <= v <= high
    outside = values.index[~values.map(fits).astype(bool)]
    return values, pd.concat(
        [
            pd.Series("it is not a whole number", index=given.index[~whole]),
            pd.Series(reason, index=outside),
        ]
    )


def _is_night(value: int) -> bool:
    try:
        dt.date(value // 10_000, value // 100 % 100, value % 100)
    except (ValueError, OverflowError):
        return False
    return value >= LIMITS["day_obs"][0]


def _numbers(field: str, _rule: Rule, given: pd.Series) -> tuple[pd.Series, pd.Series]:
    values = pd.to_numeric(given, errors="coerce")
    finite = np.isfinite(values)
    low, high, reason = LIMITS[field]
    outside = finite & ~values.between(low, high)
    if field == "ra":
        outside |= values == high
    return values.astype(float), pd.concat(
        [
            pd.Series("it is not a number", index=given.index[~finite]),
            pd.Series(reason, index=given.index[outside]),
        ]
    )


def _times(_field: str, rule: Rule, given: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Convert to TAI nanoseconds since 1970-01-01 TAI."""
    if rule.format == "isot":
        parsed = pd.to_datetime(given, errors="coerce", utc=True, format="ISO8601")
        instants = parsed.dt.tz_localize(None)
    else:
        numbers = pd.to_numeric(given, errors="coerce")
        days = numbers - 40587 if rule.format == "mjd" else numbers / 86400
        days = days[days.abs() < 100_000]
        # whole days and the rest apart, in integers, which keeps the microsecond
        whole = np.floor(days)
        us = whole.astype("int64") * (DAY_NS // 1000)
        us += ((days - whole) * (DAY_NS // 1000)).round().astype("int64")
        instants = pd.to_datetime(us, unit="us").reindex(given.index)
    good = instants.notna() & instants.between(EARLIEST, LATEST)
    ns = instants[good].astype("datetime64[ns]").astype("int64")
    if rule.scale == "utc":
        ns = ns + _tai_minus_utc_ns(ns.to_numpy())
    reason = f"it is not a time between 1900 and 2200 in the format {rule.format}"
    return ns.map(int), pd.Series(reason, index=given.index[~good])


def _tai_minus_utc_ns(utc_ns: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Tell how far TAI is ahead of UTC [ns]; before 1972, ten seconds."""
    import erfa

    table = erfa.leap_seconds.get()
    table = table[table["year"] >= 1972]
    dates = [f"{row['year']:04d}-{row['month']:02d}-01" for row in table]
    begins = np.array(dates, "datetime64[ns]").astype("int64")
    seconds = np.array([round(row["tai_utc"]) for row in table])
    place = np.searchsorted(begins, utc_ns, side="right") - 1
    return seconds[np.maximum(place, 0)] * 1_000_000_000


_CONVERTERS: dict[str, Callable[[str, Rule, pd.Series], tuple[pd.Series, pd.Series]]] = {
    "text": _texts,
    "integer": _integers,
    "number": _numbers,
    "time": _times,
}


def night_of(begin_tai_ns: pd.Series, noon_ns: int) -> pd.Series:
    """Tell the nights of instants as YYYYMMDD; they begin ``noon_ns`` after 0h [ns].

    TAI stands for UTC here, which half a minute before noon makes no difference that matters.
    """
    given = begin_tai_ns.dropna().astype("int64")
    dates = pd.to_datetime(given - noon_ns).dt.strftime("%Y%m%d").astype(int)
    return dates.astype(object).reindex(begin_tai_ns.index)
