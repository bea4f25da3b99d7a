from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.calibrations.conflicts import (
    RESOLUTIONS,
    Piece,
    Range,
    UnknownResolution,
    overlaps,
    resolved,
)
from registry.timespan import BEGINNING, END

US = 1000
LAST = 14

BOUNDS = st.tuples(st.integers(0, LAST - 1), st.integers(1, LAST)).filter(lambda b: b[0] < b[1])


@st.composite
def ranges_of_two_keys(draw: st.DrawFn) -> list[Range]:
    bounds = draw(st.lists(BOUNDS, max_size=8))
    orders = draw(st.permutations(range(len(bounds))))
    keys = draw(st.lists(st.sampled_from("ab"), min_size=len(bounds), max_size=len(bounds)))
    return [
        Range(key, begin * US, end * US, order)
        for key, (begin, end), order in zip(keys, bounds, orders, strict=True)
    ]


def holds(r: Range | Piece, moment: int) -> bool:
    return r.begin <= moment * US < r.end


def preferred(ranges: list[Range], how: str, key: str, moment: int) -> int | None:
    """Say by trying every range which one is to hold at a moment."""
    held = [n for n, r in enumerate(ranges) if r.key == key and holds(r, moment)]
    if not held:
        return None
    if how == "latest":
        return max(held, key=lambda n: ranges[n].order)
    if how == "earliest":
        return min(held, key=lambda n: ranges[n].order)

    def distance(n: int) -> tuple[int, int, int]:
        twice_the_middle = ranges[n].begin + ranges[n].end
        return (abs(2 * moment * US - twice_the_middle), -twice_the_middle, -ranges[n].order)

    return min(held, key=distance)


@settings(max_examples=300, deadline=None)
@given(ranges=ranges_of_two_keys(), how=st.sampled_from(list(RESOLUTIONS)))
def test_each_moment_has_the_range_that_the_rule_prefers(ranges: list[Range], how: str) -> None:
    pieces = resolved(ranges, how)
    for key in "ab":
        of_key = [p for p in pieces if ranges[p.n].key == key]
        for moment in range(LAST + 1):
            held = [p.n for p in of_key if holds(p, moment)]
            expected = preferred(ranges, how, key, moment)
            assert held == ([] if expected is None else [expected])
        for one, other in pairwise(of_key):
            assert one.end <= other.begin
            assert one.n != other.n or one.end < other.begin


@settings(max_examples=200, deadline=None)
@given(ranges=ranges_of_two_keys())
def test_pairs_are_all_that_share_a_moment(ranges: list[Range]) -> None:
    expected = {
        frozenset((i, j))
        for i, a in enumerate(ranges)
        for j, b in enumerate(ranges)
        if i < j and a.key == b.key and any(holds(a, t) and holds(b, t) for t in range(LAST))
    }
    found = list(overlaps(ranges))
    assert {frozenset(pair) for pair in found} == expected
    assert len(found) == len(expected)
    assert all(ranges[one].begin <= ranges[other].begin for one, other in found)


def test_ranges_that_adjoin_are_left_alone() -> None:
    ranges = [Range("a", 5 * US, 9 * US), Range("a", 0, 5 * US), Range("b", 0, 9 * US)]
    assert list(overlaps(ranges)) == []
    for how in RESOLUTIONS:
        assert set(resolved(ranges, how)) == {
            Piece(n, r.begin, r.end) for n, r in enumerate(ranges)
        }


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("latest", [Piece(0, 0, 4 * US), Piece(1, 4 * US, 6 * US), Piece(0, 6 * US, 20 * US)]),
        ("earliest", [Piece(0, 0, 20 * US)]),
        # the middles are 10 and 5: nearer to 5 are the moments before 7.5
        ("split", [Piece(0, 0, 4 * US), Piece(1, 4 * US, 6 * US), Piece(0, 6 * US, 20 * US)]),
    ],
)
def test_a_range_inside_another(how: str, expected: list[Piece]) -> None:
    assert resolved([Range("a", 0, 20 * US, 1), Range("a", 4 * US, 6 * US, 2)], how) == expected


def test_split_gives_each_the_half_next_to_it() -> None:
    ranges = [Range("a", 0, 10 * US, 1), Range("a", 6 * US, 16 * US, 2)]
    assert resolved(ranges, "split") == [Piece(0, 0, 8 * US), Piece(1, 8 * US, 16 * US)]


def test_split_leaves_an_endless_range_only_what_others_do_not_cover() -> None:
    ranges = [Range("a", BEGINNING, END, 2), Range("a", 0, 8 * US, 1)]
    assert resolved(ranges, "split") == [
        Piece(0, BEGINNING, 0),
        Piece(1, 0, 8 * US),
        Piece(0, 8 * US, END),
    ]
    ranges = [Range("a", BEGINNING, 5 * US, 2), Range("a", 0, 8 * US, 1)]
    assert resolved(ranges, "split") == [Piece(0, BEGINNING, 0), Piece(1, 0, 8 * US)]


def test_other_ways_are_refused() -> None:
    with pytest.raises(UnknownResolution, match="resolved by 'lates'. Did you mean 'latest'?"):
        resolved([], "lates")
