"""Which validity ranges overlap, and how may an overlap be resolved?

On plain values, without a database: `registry.calibrations.certifying` brings the ranges and stores
what comes out.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from registry.errors import RegistryError, did_you_mean
from registry.timespan import BEGINNING, END

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

__all__ = ["RESOLUTIONS", "Piece", "Range", "UnknownResolution", "overlaps", "resolved"]

RESOLUTIONS = {
    "latest": "at each moment, of the ranges that hold, the one made last",
    "earliest": "at each moment, of the ranges that hold, the one made first",
    "split": "at each moment, of the ranges that hold, the one whose middle is nearest",
}
"""The ways to resolve overlaps, and what each leaves valid."""

_GRAIN = 1000


class UnknownResolution(RegistryError, ValueError):
    """Overlaps cannot be resolved in this way."""

    code = "unknown-resolution"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Overlaps cannot be resolved by '{name}'.{did_you_mean(name, RESOLUTIONS)}"
        )


@dataclass(frozen=True, slots=True)
class Range:
    """A validity range that is to be compared with others of its key.

    Parameters
    ----------
    key : hashable
        Ranges of different keys never overlap.
    begin, end : int
        Half open [TAI ns], in whole microseconds.
    order : comparable
        Says which of two was made later; no two of one key are equal in it.
    """

    key: Hashable
    begin: int
    end: int
    order: Any = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """What is left of a range: its number in the sequence given, and its new bounds [TAI ns]."""

    n: int
    begin: int
    end: int


def overlaps(ranges: Sequence[Range]) -> Iterator[tuple[int, int]]:
    """Find every pair of ranges of one key that share a moment.

    Yields
    ------
    tuple of int
        Numbers of the two in the sequence, the one that begins first before the other; ordered by
        key as the keys first occur, then by time.
    """
    for members in _by_key(ranges):
        held: list[int] = []
        for n in members:
            held = [m for m in held if ranges[m].end > ranges[n].begin]
            yield from ((m, n) for m in held)
            held.append(n)


def resolved(ranges: Sequence[Range], how: str) -> list[Piece]:
    """Cut ranges so that none overlap and every moment that was covered still is.

    Parameters
    ----------
    how : str
        One of `RESOLUTIONS`.  With ``latest`` and ``earliest`` the order of the ranges decides.
        With ``split`` it is the distance to the middle of a range; where two are equally near, the
        one whose middle is later, and of equal middles the one made last.  A range without a limit
        yields to one that has two.

    Returns
    -------
    list of Piece
        By key and time; adjoining pieces of one range are one.  A range may be left out, or be in
        several pieces.

    Raises
    ------
    UnknownResolution
        If there is no such way.
    """
    if how not in RESOLUTIONS:
        raise UnknownResolution(how)
    pieces: list[Piece] = []
    for members in _by_key(ranges):
        for cluster in _clusters(ranges, members):
            if len(cluster) == 1:
                n = cluster[0]
                pieces.append(Piece(n, ranges[n].begin, ranges[n].end))
            else:
                pieces += _merged(_cut(ranges, cluster, how))
    return pieces


def _by_key(ranges: Sequence[Range]) -> Iterable[list[int]]:
    """Numbers of the ranges of each key, by time."""
    members: dict[Hashable, list[int]] = {}
    for n, r in enumerate(ranges):
        members.setdefault(r.key, []).append(n)
    for numbers in members.values():
        numbers.sort(key=lambda n: (ranges[n].begin, ranges[n].end))
    return members.values()


def _clusters(ranges: Sequence[Range], members: Sequence[int]) -> Iterator[list[int]]:
    """Ranges that hang together by overlaps."""
    cluster = [members[0]]
    end = ranges[members[0]].end
    for n in members[1:]:
        if ranges[n].begin >= end:
            yield cluster
            cluster = []
        cluster.append(n)
        end = max(end, ranges[n].end)
    yield cluster


def _cut(ranges: Sequence[Range], cluster: Sequence[int], how: str) -> Iterator[Piece]:
    """Walk through the bounds with the ranges that hold between two of them, best one last."""

    def weight(n: int) -> Any:
        r = ranges[n]
        return (_twice_middle(r), r.order) if how == "split" else r.order

    bounds = sorted({b for n in cluster for b in (ranges[n].begin, ranges[n].end)})
    begins: dict[int, list[int]] = {}
    ends: dict[int, list[int]] = {}
    for n in cluster:
        begins.setdefault(ranges[n].begin, []).append(n)
        ends.setdefault(ranges[n].end, []).append(n)
    held: list[int] = []
    for low, high in pairwise(bounds):
        for n in ends.get(low, ()):
            held.remove(n)
        for n in begins.get(low, ()):
            bisect.insort(held, n, key=weight)
        if how == "split":
            yield from _nearest_middles(ranges, held, low, high)
        else:
            yield Piece(held[-1] if how == "latest" else held[0], low, high)


def _twice_middle(r: Range) -> int:
    """Give begin plus end [TAI ns]; a range without a limit is in the middle of nowhere."""
    endless = r.begin <= BEGINNING or r.end >= END
    return 2 * BEGINNING if endless else r.begin + r.end


def _nearest_middles(
    ranges: Sequence[Range], held: Sequence[int], low: int, high: int
) -> Iterator[Piece]:
    """Share a stretch among ranges, given by their middles, each moment to the nearest."""
    of_middle = {_twice_middle(ranges[n]): n for n in held}  # the last made of equal ones
    begin = low
    for one, other in pairwise([*of_middle, None]):
        assert one is not None  # noqa: S101 (only the end of the list is)
        # two middles s / 2 and t / 2 are equally far from (s + t) / 4; rounded up to microseconds
        end = high if other is None else -(-(one + other) // (4 * _GRAIN)) * _GRAIN
        if begin < min(end, high):
            yield Piece(of_middle[one], begin, min(end, high))
        begin = max(begin, end)


def _merged(pieces: Iterable[Piece]) -> list[Piece]:
    merged: list[Piece] = []
    for piece in pieces:
        if merged and merged[-1].n == piece.n and merged[-1].end == piece.begin:
            merged[-1] = Piece(piece.n, merged[-1].begin, piece.end)
        else:
            merged.append(piece)
    return merged
