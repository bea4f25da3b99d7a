"""How do people write and read a length of time?"""

from __future__ import annotations

import re
from decimal import Decimal

__all__ = ["lasting", "parse_duration"]

_UNITS = {"s": 1_000_000_000, "min": 60_000_000_000, "h": 3_600_000_000_000}
_UNITS["d"] = 24 * _UNITS["h"]
_WRITTEN = re.compile(r"\s*(\d{1,12}(?:\.\d{1,9})?)\s*(s|min|h|d)\s*", re.ASCII)


def parse_duration(text: str) -> int:
    """Read a length of time.

    Parameters
    ----------
    text : str
        A number and a unit: ``90s``, ``30 min``, ``1.5h``, ``10d``.

    Returns
    -------
    int
        Nanoseconds.

    Raises
    ------
    ValueError
        If it is none, or longer than 64 bits of nanoseconds hold.

    Examples
    --------
    >>> parse_duration("1.5 h")
    5400000000000
    """
    found = _WRITTEN.fullmatch(text)
    ns = int(Decimal(found[1]) * _UNITS[found[2]]) if found else 0
    if found is None or ns >= 2**63:
        raise ValueError(
            f"'{text[:60]}' is not a length of time: write a number and s, min, h or d, as in 10d."
        )
    return ns


def lasting(ns: int) -> str:
    """Show a length of time in the unit that suits it, to three digits.

    Examples
    --------
    >>> lasting(5_400_000_000_000), lasting(864_000_000_000_000)
    ('1.5 h', '10 d')
    """
    unit = next((u for u in ("d", "h", "min") if ns >= _UNITS[u]), "s")
    number = ns / _UNITS[unit]
    return f"{number:.3g} {unit}" if number < 1000 else f"{number:.0f} {unit}"
