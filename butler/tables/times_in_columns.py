"""How do astropy's times become numbers in a column, and numbers times again?

A column that is declared as ``tai`` counts TAI nanoseconds since 1970-01-01 TAI, as the spine does;
in a Table it is a `astropy.time.Time`, of whatever scale, and comes back in that scale.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from registry.timespan import tai_ns

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.time import Time

    from registry.row_tables import RowTable

__all__ = ["TIMES", "as_numbers", "as_times"]

TIMES = b"skyspine_times"
"""Where the schema of a dataset tells which columns were times, of which scale and format."""
_JD_1970 = 2440587.5
_DAY_NS = 86_400_000_000_000


def as_numbers(given: Table, table: RowTable) -> tuple[Table, dict[bytes, bytes]]:
    """Replace the times of a Table that are declared as ``tai``, and tell what they were."""
    import numpy as np
    from astropy.table import Column, MaskedColumn
    from astropy.time import Time

    declared = {column.name for column in table.columns if column.type == "tai"}
    times = [n for n in given.colnames if n in declared and isinstance(given[n], Time)]
    if not times:
        return given, {}
    made = given.copy(copy_data=False)
    told = {}
    for name in times:
        time = given[name]
        told[name] = [time.scale, time.format]
        if time.masked:
            missing = np.asarray(time.mask)
            filled = time.copy()
            filled[missing] = Time(_JD_1970, format="jd", scale="tai")
            made.replace_column(name, MaskedColumn(tai_ns(filled), name=name, mask=missing))
        else:
            made.replace_column(name, Column(tai_ns(time), name=name))
    return made, {TIMES: json.dumps(told).encode()}


def as_times(found: Table, told: dict[bytes, bytes]) -> Table:
    """Give the columns that were times as times again; exact to the nanosecond."""
    for name, (scale, form) in json.loads(told.get(TIMES, b"{}")).items():
        if name in found.colnames:
            found.replace_column(name, _time(found[name], scale, form))
    return found


def _time(column: Any, scale: str, form: str) -> Time:
    import numpy as np
    from astropy.time import Time

    missing = np.asarray(getattr(column, "mask", False))
    ns = np.where(missing, 0, np.asarray(column)).astype(np.int64)
    days, rest = np.divmod(ns, _DAY_NS)
    time = getattr(Time(_JD_1970 + days, rest / _DAY_NS, format="jd", scale="tai"), scale)
    if missing.any():
        time[missing] = np.ma.masked
    time.format = form
    return time
