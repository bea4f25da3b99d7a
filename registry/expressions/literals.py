"""Which value does a literal of the text stand for?

Numbers, ranges, strings and UUIDs; times are read by `registry.expressions.times`.
"""

from __future__ import annotations

import math
import re
import uuid

from registry.expressions.errors import InvalidLiteral
from registry.expressions.limits import INTEGER_MAX, INTEGER_MIN

__all__ = ["integer", "number", "quoted", "shortened", "text_range", "unique_id"]

_RANGE = re.compile(r"(\d+)\s*\.\.\s*(-?\d+)(?:\s*:\s*(-?\d+))?", re.ASCII)


def integer(digits: str, start: int, end: int) -> int:
    """Read an integer; one more than the largest may pass, as a minus may stand before it."""
    size = digits.lstrip("-0")
    if len(size) > 19 or int(size or "0") > INTEGER_MAX + 1:
        raise InvalidLiteral(
            f"The integer {shortened(digits)} does not fit into 64 bits; "
            f"integers lie between {INTEGER_MIN} and {INTEGER_MAX}.",
            start,
            end,
        )
    value = int(size or "0")
    return -value if digits.startswith("-") else value


def number(text: str, start: int, end: int) -> int | float:
    """Read an integer, or a floating point number if there is a point or an exponent."""
    if text.isdigit():
        return integer(text, start, end)
    value = float(text)
    if math.isinf(value):
        raise InvalidLiteral(
            f"The number {shortened(text)} is too large; the largest is 1.797e308.", start, end
        )
    return value


def text_range(text: str, sign: str, start: int, end: int) -> tuple[int, int, int]:
    """Read `first..last:step`; a minus before it belongs to the first number."""
    match = _RANGE.fullmatch(text)
    if match is None:
        raise InvalidLiteral(f"'{text}' is not a range; write 5..20 or 5..20:2.", start, end)
    first = integer(sign + match[1], start, end)
    last = integer(match[2], start, end)
    step = integer(match[3] or "1", start, end)
    if max(first, last, step) > INTEGER_MAX:
        raise InvalidLiteral(
            f"A number of the range {sign}{text} does not fit into 64 bits.", start, end
        )
    if step == 0:
        raise InvalidLiteral(
            f"The step of the range {sign}{text} is zero; it must be at least 1.", start, end
        )
    upwards = f"{min(first, last)}..{max(first, last)}"
    if step < 0:
        raise InvalidLiteral(
            f"The step of the range {sign}{text} is negative; write it upwards: {upwards}:{-step}.",
            start,
            end,
            suggestion=f"{upwards}:{-step}",
        )
    if first > last:
        swapped = upwards + (f":{step}" if match[3] else "")
        raise InvalidLiteral(
            f"The range {sign}{text} runs backwards; write {swapped}.",
            start,
            end,
            suggestion=swapped,
        )
    return first, last, step


def quoted(text: str) -> str:
    """Read what stands between single quotes, where two of them mean one."""
    return text[1:-1].replace("''", "'")


def unique_id(text: str, start: int, end: int) -> uuid.UUID:
    """Read a UUID in any of the forms that `uuid.UUID` takes."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise InvalidLiteral(
            f"'{shortened(text)}' is not a UUID; it has 32 hexadecimal digits, such as "
            "UUID('0190b5a8-7e3c-7000-8000-0123456789ab').",
            start,
            end,
        ) from None


def shortened(text: str) -> str:
    """Leave the middle out of a text that is too long for a message."""
    return text if len(text) <= 60 else f"{text[:30]}...{text[-20:]}"
