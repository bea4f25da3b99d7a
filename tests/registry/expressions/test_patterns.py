"""Does GLOB match the same texts on three databases as a pattern matcher in ten lines?"""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.expressions import InvalidLiteral, compile_where
from registry.expressions.limits import MAX_PATTERN
from registry.expressions.patterns import CharacterSet, Piece, Wild, read_pattern
from tests.registry.expressions.exposures import TARGETS, Exposures, exposure, ids, rows

ROWS = rows()
CHARACTERS = sorted(set("".join(TARGETS)) | set("]^-!\\[*?%_|aAzZé"))


def matches(pieces: tuple[Piece, ...], text: str) -> bool:
    """Match by trying; what the pieces mean, and nothing else."""
    if not pieces:
        return not text
    first, rest = pieces[0], pieces[1:]
    if first == Wild(many=True):
        return any(matches(rest, text[i:]) for i in range(len(text) + 1))
    if not text:
        return False
    if isinstance(first, CharacterSet):
        inside = any(low <= text[0] <= high for low, high in first.ranges)
        return inside is not first.negated and matches(rest, text[1:])
    return (first == Wild(many=False) or first == text[0]) and matches(rest, text[1:])


def written(piece: Piece) -> str:
    """Write a piece as a person would, with `]` first and `-` last in a set."""
    if isinstance(piece, Wild):
        return "*" if piece.many else "?"
    if isinstance(piece, str):
        return f"\\{piece}" if piece in "*?[\\" else piece
    order = sorted(piece.ranges, key=lambda r: (r[0] != "]", r[0] in "!^", r[0] == "-"))
    inside = "".join(low if low == high else f"{low}-{high}" for low, high in order)
    return f"[{'!' * piece.negated}{inside}]"


@st.composite
def sets(draw: st.DrawFn, member: str | None = None) -> Piece:
    singles = set(draw(st.lists(st.sampled_from(CHARACTERS), min_size=member is None, max_size=3)))
    singles |= {member} if member else set()
    spans = draw(
        st.lists(st.sampled_from([("a", "f"), ("0", "9"), ("A", "Z"), ("α", "ω")]), max_size=1)
    )
    ranges = tuple((c, c) for c in sorted(singles)) + tuple(spans)
    negated = draw(st.booleans()) if member is None else False
    if not negated and {r[0] for r in ranges} <= {"!", "^"}:
        ranges += (("a", "a"),)
    return CharacterSet(ranges, negated)


@st.composite
def patterns(draw: st.DrawFn) -> tuple[Piece, ...]:
    """Blur one of the texts: a character stays, or becomes a wildcard or a set that has it."""
    pieces: list[Piece] = []
    for character in draw(st.sampled_from(TARGETS)):
        stays: st.SearchStrategy[Piece] = st.just(character)
        pieces.append(draw(stays | st.just(Wild(many=False)) | sets(character) | sets()))
        if draw(st.integers(0, 3)) == 0:
            pieces.append(Wild(many=True))
    cut = draw(st.integers(0, len(pieces)))
    shorter = [*pieces[:cut], Wild(many=True)] if draw(st.booleans()) else pieces
    return tuple(
        p for i, p in enumerate(shorter) if not (i and p == shorter[i - 1] == Wild(many=True))
    )


def as_set(pieces: tuple[Piece, ...]) -> list[object]:
    """Forget the order of the members of a set."""
    return [(set(p.ranges), p.negated) if isinstance(p, CharacterSet) else p for p in pieces]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(pieces=patterns())
def test_reads_what_was_written(pieces: tuple[Piece, ...]) -> None:
    assert as_set(read_pattern("".join(map(written, pieces)))) == as_set(pieces)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(pieces=patterns())
def test_matches_as_the_pieces_say(connection: sa.Connection, pieces: tuple[Piece, ...]) -> None:
    pattern = "".join(map(written, pieces))
    known = {row["id"]: row["target"] for row in ROWS if row["target"] is not None}
    expected = {i for i, target in known.items() if matches(pieces, target)}
    assert ids(connection, "exposure.target GLOB :p", {"p": pattern}) == expected
    others = known.keys() - expected
    assert ids(connection, "exposure.target NOT GLOB :p", {"p": pattern}) == others
    assert ids(connection, "NOT glob(exposure.target, :p)", {"p": pattern}) == others


@pytest.mark.parametrize(
    ("pattern", "targets"),
    [
        ("raw*", {"raw_1", "rawx1", "raw%1"}),
        ("raw_1", {"raw_1"}),
        ("raw%1", {"raw%1"}),
        ("raw?1", {"raw_1", "rawx1", "raw%1"}),
        ("m31", {"m31"}),
        ("[mM]31", {"M31", "m31"}),
        ("M31?", {"M31 "}),
        ("é", {"é"}),
        ("?", {"é", "e", "Ω", "z", "Z", "🔭", "*", "?"}),
        ("[a-z]", {"e", "z"}),
        (r"\*", {"*"}),
        ("[*]", {"*"}),
        (r"\[a]", {"[a]"}),
        ("[]]a", {"]a"}),
        ("a[!-]b", {"a^b", "a\\b"}),
        ("a[^^]b", {"a-b", "a\\b"}),
        ("line*break", {"line\nbreak"}),
        ("line?break", {"line\nbreak"}),
        ("[l]ine*break", {"line\nbreak"}),
        ("", {""}),
        ("it''s", {"it's"}),
    ],
)
def test_examples(connection: sa.Connection, pattern: str, targets: set[str]) -> None:
    condition = compile_where(f"exposure.target GLOB '{pattern}'", Exposures())
    query = sa.select(exposure.c.target).where(condition)
    assert set(connection.execute(query).scalars()) == targets


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("[abc", "In the pattern a '[' is not closed; write \\[ for the bracket itself."),
        ("[]", "In the pattern a '[' is not closed; write \\[ for the bracket itself."),
        ("[!]", "In the pattern a '[' is not closed; write \\[ for the bracket itself."),
        ("[z-a]", "The range z-a of the pattern runs backwards; write a-z."),
        ("abc\\", "The pattern ends with a backslash; write \\\\ for the backslash itself."),
        ("a" * (MAX_PATTERN + 1), "The pattern has 1001 characters and the limit is 1000."),
    ],
)
def test_refuses_malformed_patterns(pattern: str, sentence: str) -> None:
    with pytest.raises(InvalidLiteral) as caught:
        compile_where(f"band GLOB '{pattern}'", Exposures())
    assert caught.value.sentence == sentence
    assert caught.value.start == len("band GLOB ")


def test_many_stars_are_refused_or_answered_quickly(connection: sa.Connection) -> None:
    assert ids(connection, "exposure.target GLOB :p", {"p": "*a" * 400 + "[b]"}) == set()
