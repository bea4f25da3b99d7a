"""Does an expression mean the same rows to three databases as to a reader of the language?

Expressions are generated together with a Python function of a row that says what they mean, in
three-valued logic; the database must select the rows where it is true, and its negation those
where it is false.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from tests.registry.expressions.exposures import EPOCH_NS, SECOND, TARGETS, ids, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

ROWS = rows()
Row = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """A part of an expression: its text, how tightly it binds, and what it means."""

    text: str
    binds: int
    means: Callable[[Row], Any]

    def within(self, level: int) -> str:
        """Give the text, in parentheses where it would fall apart."""
        return self.text if self.binds >= level else f"({self.text})"


OR, AND, NOT, PREDICATE, SUM, PRODUCT, SIGN, PRIMARY = range(1, 9)

INTEGERS = st.sampled_from(
    [
        Said("exposure", PRIMARY, lambda row: row["id"]),
        Said("detector", PRIMARY, lambda row: row["detector"]),
    ]
)
FLOATS = st.sampled_from(
    [
        Said("exposure.exposure_time", PRIMARY, lambda row: row["exposure_time"]),
        Said("exposure.airmass", PRIMARY, lambda row: row["airmass"]),
    ]
)
STRINGS = st.sampled_from(
    [
        Said("band", PRIMARY, lambda row: row["band"]),
        Said("exposure.target", PRIMARY, lambda row: row["target"]),
    ]
)
TIMES = st.sampled_from(
    [
        Said("exposure.begin", PRIMARY, lambda row: row["begin_tai_ns"]),
        Said("exposure.timespan.end", PRIMARY, lambda row: row["end_tai_ns"]),
        Said("exposure.end_tai_ns", PRIMARY, lambda row: row["end_tai_ns"]),
    ]
)


def constant(value: float) -> Said:
    return Said(repr(abs(value)), PRIMARY, lambda _: abs(value))


whole_constants = st.integers(0, 40).map(constant)
float_constants = st.sampled_from([0.1, 0.5, 2.0, 0.3, 1e-3, 3.25]).map(constant)
string_constants = st.sampled_from((*TARGETS, *"ugrizY", "m")).map(
    lambda text: Said("'" + text.replace("'", "''") + "'", PRIMARY, lambda _: text)
)


def time_constant(seconds: int) -> Said:
    hours, rest = divmod(seconds, 3600)
    text = f"T'2020-01-01T{hours:02}:{rest // 60:02}:{rest % 60:02}/tai'"
    return Said(text, PRIMARY, lambda _: EPOCH_NS + seconds * SECOND)


time_constants = st.integers(0, 45 * 60).map(time_constant)


def strictly(function: Callable[..., Any], *parts: Said) -> Callable[[Row], Any]:
    """Compute with values, NULL if one of them is."""

    def means(row: Row) -> Any:
        values = [part.means(row) for part in parts]
        result = None if None in values else function(*values)
        if isinstance(result, int) and abs(result) >= 2**63:
            reject()
        return result

    return means


def remainder(left: int, right: int) -> int | None:
    return None if right == 0 else abs(left) % abs(right) * (1 if left >= 0 else -1)


def quotient(left: float, right: float) -> float | None:
    return None if right == 0 else left / right


ARITHMETIC: dict[str, tuple[int, Callable[..., Any]]] = {
    "+": (SUM, operator.add),
    "-": (SUM, operator.sub),
    "*": (PRODUCT, operator.mul),
    "/": (PRODUCT, quotient),
    "%": (PRODUCT, remainder),
}


def computed(symbol: str, left: Said, right: Said) -> Said:
    level, function = ARITHMETIC[symbol]
    text = f"{left.within(level)} {symbol} {right.within(level + 1)}"
    return Said(text, level, strictly(function, left, right))


def negative(inner: Said) -> Said:
    return Said(f"-{inner.within(SIGN)}", SIGN, strictly(operator.neg, inner))


whole_numbers = st.recursive(
    INTEGERS | whole_constants,
    lambda inner: (
        st.builds(computed, st.sampled_from("+-*"), inner, inner)
        | st.builds(computed, st.just("%"), inner, INTEGERS | st.integers(1, 9).map(constant))
        | st.builds(negative, inner)
    ),
    max_leaves=4,
)
numbers = st.recursive(
    whole_numbers | FLOATS | float_constants,
    lambda inner: (
        st.builds(computed, st.sampled_from("+-*"), inner, inner)
        | st.builds(computed, st.just("/"), inner, INTEGERS | FLOATS | float_constants)
        | st.builds(negative, inner)
    ),
    max_leaves=4,
)


def moved(time: Said, symbol: str, seconds: int) -> Said:
    step = seconds * SECOND if symbol == "+" else -seconds * SECOND
    return Said(f"{time.within(SUM)} {symbol} {seconds}", SUM, strictly(lambda ns: ns + step, time))


def moved_by_column(time: Said) -> Said:
    column = Said("", PRIMARY, lambda row: row["exposure_time"])
    return Said(
        f"exposure.exposure_time + {time.within(PRODUCT)}",
        SUM,
        strictly(lambda ns, seconds: ns + round(seconds * SECOND), time, column),
    )


times = (
    TIMES
    | time_constants
    | st.builds(moved, TIMES | time_constants, st.sampled_from("+-"), st.integers(0, 300))
    | st.builds(moved_by_column, TIMES | time_constants)
)
seconds_between = st.builds(
    lambda a, b: Said(
        f"{a.within(SUM)} - {b.within(PRODUCT)}",
        SUM,
        strictly(lambda left, right: (left - right) / SECOND, a, b),
    ),
    TIMES,
    TIMES | time_constants,
)

COMPARE = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def comparison(symbol: str, left: Said, right: Said) -> Said:
    text = f"{left.within(SUM)} {symbol} {right.within(SUM)}"
    return Said(text, PREDICATE, strictly(COMPARE[symbol], left, right))


def either(values: list[Any]) -> bool | None:
    return True if True in values else None if None in values else False


def both(values: list[Any]) -> bool | None:
    return False if False in values else None if None in values else True


def opposite(value: bool | None) -> bool | None:
    return None if value is None else not value


@st.composite
def lists(draw: st.DrawFn) -> Said:
    if draw(st.booleans()):
        left = draw(STRINGS)
        items = draw(st.lists(string_constants | STRINGS, min_size=1, max_size=4))
        ranges: list[tuple[int, int, int]] = []
    else:
        left = draw(whole_numbers)
        items = draw(st.lists(whole_constants | float_constants | INTEGERS, max_size=3))
        bounds = st.tuples(st.integers(-9, 30), st.integers(0, 40), st.integers(1, 5))
        ranges = [(a, a + n, s) for a, n, s in draw(st.lists(bounds, max_size=3))]
        items = items if items or ranges else [constant(1)]
    listed = [i.within(SUM) for i in items] + [f"{a}..{b}:{s}" for a, b, s in ranges]
    order = draw(st.permutations(listed))
    negated = draw(st.booleans())

    def means(row: Row) -> bool | None:
        value = left.means(row)
        if value is None:
            return None
        found = [None if (v := i.means(row)) is None else v == value for i in items]
        found += [value in range(a, b + 1, s) for a, b, s in ranges]
        return opposite(either(found)) if negated else either(found)

    keyword = draw(st.sampled_from(["NOT IN", "not in"] if negated else ["IN", "in"]))
    return Said(f"{left.within(SUM)} {keyword} ({', '.join(order)})", PREDICATE, means)


def null_test(part: Said, *, negated: bool) -> Said:
    text = f"{part.within(SUM)} IS {'NOT ' * negated}NULL"
    return Said(text, PREDICATE, lambda row: (part.means(row) is None) is not negated)


SPAN = Said(
    "exposure.timespan",
    PRIMARY,
    lambda row: None if row["begin_tai_ns"] is None else (row["begin_tai_ns"], row["end_tai_ns"]),
)


@st.composite
def overlapping(draw: st.DrawFn) -> Said:
    begin = draw(st.none() | st.integers(0, 2000))
    end = draw(st.none() | st.integers(2001, 2700))
    point = draw(st.booleans())
    if point:
        moment = draw(time_constants)
        other, low, high = moment.text, moment.means({}), moment.means({}) + 1
    else:
        sides = ["NULL" if s is None else time_constant(s).text for s in (begin, end)]
        other = f"({', '.join(sides)})"
        low = None if begin is None else EPOCH_NS + begin * SECOND
        high = None if end is None else EPOCH_NS + end * SECOND

    def means(row: Row) -> bool | None:
        terms = []
        if high is not None:
            b = row["begin_tai_ns"]
            terms.append(None if b is None else b < high)
        if low is not None:
            e = row["end_tai_ns"]
            terms.append(None if e is None else low < e)
        return both(terms)

    swapped = draw(st.booleans())
    text = f"{other} OVERLAPS {SPAN.text}" if swapped else f"{SPAN.text} overlaps {other}"
    return Said(text, PREDICATE, means)


GOOD = st.just(Said("exposure.good", PRIMARY, lambda row: row["good"]))
symbols = st.sampled_from(list(COMPARE))
predicates = (
    st.builds(comparison, symbols, numbers, numbers)
    | st.builds(comparison, symbols, STRINGS, STRINGS | string_constants)
    | st.builds(comparison, symbols, string_constants, STRINGS)
    | st.builds(comparison, symbols, times, times)
    | st.builds(comparison, symbols, seconds_between, whole_constants)
    | lists()
    | st.builds(null_test, numbers | STRINGS | TIMES | GOOD, negated=st.booleans())
    | overlapping()
    | GOOD
)


def connected(parts: list[Said], *, any_of: bool) -> Said:
    level = OR if any_of else AND
    word = " OR " if any_of else " and "
    return Said(
        word.join(part.within(level + 1) for part in parts),
        level,
        lambda row: (either if any_of else both)([part.means(row) for part in parts]),
    )


def denied(part: Said) -> Said:
    return Said(f"NOT {part.within(NOT)}", NOT, lambda row: opposite(part.means(row)))


def equal_conditions(left: Said, right: Said) -> Said:
    text = f"{left.within(SUM)} = {right.within(SUM)}"
    return Said(text, PREDICATE, strictly(operator.eq, left, right))


conditions = st.recursive(
    predicates,
    lambda inner: (
        st.builds(connected, st.lists(inner, min_size=2, max_size=3), any_of=st.booleans())
        | st.builds(denied, inner)
        | st.builds(equal_conditions, inner, inner)
        | st.builds(null_test, inner, negated=st.booleans())
    ),
    max_leaves=6,
)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(said=conditions)
def test_selects_the_rows_of_which_it_is_true(connection: sa.Connection, said: Said) -> None:
    meant = {row["id"]: said.means(row) for row in ROWS}
    assert ids(connection, said.text) == {i for i, value in meant.items() if value is True}
    denied_ids = ids(connection, f"NOT ({said.text})")
    assert denied_ids == {i for i, value in meant.items() if value is False}
