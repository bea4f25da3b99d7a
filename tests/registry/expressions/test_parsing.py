"""Is the text read as the grammar says, with places, within limits, and cheaply?"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from typing import Any

import pytest
import sqlalchemy as sa

from registry.expressions import (
    Expression,
    ExpressionError,
    ExpressionTooLarge,
    InvalidLiteral,
    binds,
    compile_where,
    names,
    parse,
)
from registry.expressions.limits import MAX_DEPTH, MAX_NAME, MAX_PARENTHESES, MAX_TEXT
from registry.expressions.nodes import (
    Arithmetic,
    Comparison,
    Connective,
    InList,
    Literal,
    Moment,
    Name,
    Node,
    Range,
    walk,
)
from tests.registry.expressions.exposures import EPOCH_NS, Exposures, WithRegions, exposure, ids


def shape(node: Node) -> Node:
    """Give a tree without its places, which parentheses change."""
    changes: dict[str, Any] = {"start": 0, "end": 0, "depth": 0}
    for field in fields(node):
        value = getattr(node, field.name)
        if isinstance(value, Node):
            changes[field.name] = shape(value)
        elif isinstance(value, tuple):
            changes[field.name] = tuple(shape(part) for part in value)
    return replace(node, **changes)


def root(text: str) -> Node:
    found = parse(text).root
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("loose", "grouped"),
    [
        ("a OR b AND c", "a OR (b AND c)"),
        ("a AND b OR c", "(a AND b) OR c"),
        ("NOT a AND b", "(NOT a) AND b"),
        ("NOT a = b", "NOT (a = b)"),
        ("NOT NOT a", "NOT (NOT a)"),
        ("a + b * c = d", "(a + (b * c)) = d"),
        ("a - b - c = d", "((a - b) - c) = d"),
        ("a / b * c = d", "((a / b) * c) = d"),
        ("a % b - c = d", "((a % b) - c) = d"),
        ("-a * b = c", "(-a) * b = c"),
        ("a - -b = c", "a - (-b) = c"),
        ("a = b AND c IN (1)", "(a = b) AND (c IN (1))"),
        ("a + 1 IN (1)", "(a + 1) IN (1)"),
        ("a GLOB 'x' OR b", "(a GLOB 'x') OR b"),
        ("GLOB(a, 'x')", "a GLOB 'x'"),
        ("a and B oR not c", "a AND B OR NOT c"),
        ("a is not null", "a IS NOT NULL"),
        ("a Not In (1)", "a NOT IN (1)"),
        ("a=1 and(b=2)", "a = 1 AND b = 2"),
        ("((((a))))", "a"),
        ("a AND b AND c AND d", "a AND (b AND (c AND d))"),
        ("circle(1, 2, 3) overlaps a.region", "CIRCLE(1,2,3) OVERLAPS a.region"),
        ("a\n=\t1", "a = 1"),
    ],
)
def test_operators_bind_as_in_sql(loose: str, grouped: str) -> None:
    assert shape(root(loose)) == shape(root(grouped))


def test_keywords_are_no_names_and_names_may_begin_with_them() -> None:
    assert names(parse("android = 1 AND inside = 2 OR nothing = 3 OR is_null = 4")) == {
        "android",
        "inside",
        "nothing",
        "is_null",
    }
    with pytest.raises(ExpressionError):
        parse("and = 1")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("007", 7),
        ("9223372036854775807", 2**63 - 1),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1.5E-3", 0.0015),
        ("1e-400", 0.0),
        ("0" * 5000 + "1", 1),
        ("''", ""),
        ("'it''s'", "it's"),
        ("'a''''b'", "a''b"),
        ("'AND'", "AND"),
        ("'T'", "T"),
        ("'--'", "--"),
        ("'line\nbreak'", "line\nbreak"),
        ("'🔭 é'", "🔭 é"),
        ("TRUE", True),
        ("false", False),
        ("NULL", None),
        ("T'2020-01-01/tai'", Moment(EPOCH_NS)),
        ("t'2020-01-01/TAI'", Moment(EPOCH_NS)),
    ],
)
def test_literals_have_their_values(text: str, value: object) -> None:
    literal = root(text)
    assert isinstance(literal, Literal)
    assert literal.value == value
    assert type(literal.value) is type(value)


@pytest.mark.parametrize(
    ("item", "triple"),
    [
        ("5..20", (5, 20, 1)),
        ("5..20:2", (5, 20, 2)),
        ("5 .. 20 : 2", (5, 20, 2)),
        ("-5..20", (-5, 20, 1)),
        ("- 5..-2", (-5, -2, 1)),
        ("7..7", (7, 7, 1)),
        ("-9223372036854775808..9223372036854775807", (-(2**63), 2**63 - 1, 1)),
    ],
)
def test_ranges(item: str, triple: tuple[int, int, int]) -> None:
    node = root(f"a IN ({item}, 99)")
    assert isinstance(node, InList)
    found = node.items[0]
    assert isinstance(found, Range)
    assert (found.first, found.last, found.step) == triple


def test_nodes_know_their_places() -> None:
    text = "(visit.seeing  <= 1.5) AND\n  exposure IN (5..20:2, :ids)"
    places = {
        type(node).__name__ + str(getattr(node, "name", "")): text[node.start : node.end]
        for node in walk(parse(text).root)
    }
    assert places == {
        "Connective": text[1:],
        "Comparison": "visit.seeing  <= 1.5",
        "Namevisit.seeing": "visit.seeing",
        "Literal": "1.5",
        "InList": "exposure IN (5..20:2, :ids)",
        "Nameexposure": "exposure",
        "Range": "5..20:2",
        "Bindids": ":ids",
    }


def test_nodes_are_immutable_and_hashable() -> None:
    node = root("a = 1")
    with pytest.raises(AttributeError):
        node.start = 5  # type: ignore[misc]
    assert len({node, root("a = 1"), root("a = 2")}) == 2


def test_the_same_text_is_parsed_once() -> None:
    text = "exposure = 5 OR band = 'once'"
    assert parse(text) is parse(text)


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_expression_is_true_of_every_row(connection: sa.Connection, text: str) -> None:
    assert parse(text) == Expression(text, None)
    assert len(ids(connection, text)) == 40


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exposure = 5", {"exposure"}),
        ("exposure = :id AND visit.name = 'x'", {"exposure", "visit.name"}),
        (
            "exposure.timespan OVERLAPS T'2020-01-01'",
            {"exposure.begin_tai_ns", "exposure.end_tai_ns"},
        ),
        ("visit.timespan.begin < visit.end", {"visit.begin_tai_ns", "visit.end_tai_ns"}),
        ("begin < 5 OR timespan.end < 5", {"begin_tai_ns", "end_tai_ns"}),
        ("visit OVERLAPS POINT(1, 2)", {"visit"}),
        ("POINT(1, 2) OVERLAPS visit.region", {"visit.region"}),
        ("visit.region OVERLAPS patch.region", {"visit.region", "patch.region"}),
        ("visit.region IS NULL", {"visit.region"}),
        ("band = mine", {"band"}),
        ("band IN (mine, 'r')", {"band"}),
        ("", set()),
    ],
)
def test_names_lists_what_the_resolver_is_asked_for(text: str, expected: set[str]) -> None:
    assert names(parse(text), bind={"mine": "r"}) == expected


def test_names_are_those_that_compiling_asks_for() -> None:
    text = (
        "exposure IN (1..5, :a) AND band = b AND exposure.timespan OVERLAPS (exposure.begin, NULL) "
        "AND exposure.end - exposure.begin > 5 AND exposure.region IS NULL"
    )
    resolver = Exposures()
    bind = {"a": 7, "b": "r"}
    compile_where(text, resolver, bind)
    assert {name for name, _ in resolver.asked} == names(parse(text), bind)
    assert all(text[position:].startswith(("exposure", "band")) for _, position in resolver.asked)
    assert binds(parse(text)) == {"a"}


def test_regions_are_asked_for_under_the_name_that_was_written() -> None:
    resolver = WithRegions()
    text = "visit OVERLAPS CIRCLE(10, 20, 1) AND exposure.region OVERLAPS visit.region"
    compile_where(text, resolver)
    assert [(name, position) for name, _, position in resolver.compared] == [
        ("visit", 0),
        ("exposure.region", 37),
    ]
    assert {name for name, _, _ in resolver.compared} | {"visit.region"} == names(parse(text))
    assert resolver.asked == []


def too_large(text: str) -> str:
    with pytest.raises((ExpressionTooLarge, InvalidLiteral)) as caught:
        compile_where(text, Exposures())
    return str(caught.value.sentence)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("exposure = 5 OR " * (10 * 2**20 // 16) + "TRUE", "and the limit is 65536"),
        ("é" * (MAX_TEXT // 2 + 1), "and the limit is 65536"),
        ("(" * 30_000 + "TRUE" + ")" * 30_000, "More than 100 parentheses"),
        ("(" * 60_000, "More than 100 parentheses"),
        ("NOT " * 16_000 + "TRUE", "nested too deeply"),
        ("-" * 60_000 + "1 = 1", "nested too deeply"),
        ("exposure" + " + 1" * 15_000 + " = 1", "nested too deeply"),
        ("exposure" + " * (2" * 99 + ")" * 99 + " = 1", "nested too deeply"),
        ("TRUE AND (FALSE OR (" * 40 + "TRUE" + "))" * 40, "nested too deeply"),
        ("x" * (MAX_NAME + 1) + " = 1", "longer than 256 characters"),
        (":" + "x" * (MAX_NAME + 1) + " = 1", "longer than 256 characters"),
        ("exposure = " + "9" * 60_000, "does not fit into 64 bits"),
        ("exposure = " + "9" * 60_000 + ".", "is too large"),
        ("exposure.begin > T'" + "9" * 60_000 + "'", "is not a time"),
        ("exposure IN (" + ",".join(map(str, range(13_000))) + ")" + " OR 1 = 2", "limit is 65536"),
    ],
)
def test_what_is_too_large_is_refused_in_bounded_time(text: str, words: str) -> None:
    assert words in too_large(text)


def test_too_many_values_together_are_refused() -> None:
    bind = {"a": list(range(15_000)), "b": list(range(15_000))}
    with pytest.raises(ExpressionTooLarge, match="more than 20000 values"):
        compile_where("exposure IN (:a) OR detector IN (:b)", Exposures(), bind)


def test_ranges_may_not_multiply_a_long_left_side() -> None:
    left = " + ".join(["exposure"] * 40)
    ranges = ",".join(f"{3 * i}..{3 * i + 1}" for i in range(3000))
    with pytest.raises(ExpressionTooLarge, match="too many for so long a left side"):
        compile_where(f"{left} IN ({ranges})", Exposures())


def test_huge_ranges_are_not_written_out(connection: sa.Connection) -> None:
    begin = time.perf_counter()
    assert ids(connection, "exposure IN (-9223372036854775808..9223372036854775807:5)") == {
        i for i in ids(connection, "") if (i + 2**63) % 5 == 0
    }
    assert ids(connection, "exposure IN (:r)", {"r": range(10**15, 0, -1)}) == ids(connection, "")
    assert time.perf_counter() - begin < 5


@pytest.mark.parametrize(
    "text",
    [
        " OR ".join(f"exposure = {i}" for i in range(3500)),
        " AND ".join(f"exposure != {i + 100_000}" for i in range(2800)),
        " OR ".join(f"exposure IN ({i}..{i + 1}) AND NOT exposure.good" for i in range(1000)),
        "exposure IN (" + ",".join(str(i) for i in range(0, 30_000, 3)) + ")",
        "(" * MAX_PARENTHESES + "exposure = 5" + ")" * MAX_PARENTHESES,
    ],
)
def test_what_is_within_the_limits_runs_everywhere(connection: sa.Connection, text: str) -> None:
    assert len(text) <= MAX_TEXT
    assert ids(connection, text) <= ids(connection, "")


def nests() -> list[str]:
    """Nest each construct as deeply as the limits allow."""
    layers = [
        ("exposure > 0 AND ({})", "exposure.good"),
        ("exposure > 0 OR (detector > 0 AND ({}))", "exposure.good"),
        ("({}) AND exposure > 0 OR detector > 0", "exposure.good"),
        ("NOT (exposure.good = ({}))", "exposure.good"),
        ("({}) IS NULL", "exposure.good"),
        ("(exposure + (detector * ({}))) % 7", "1"),
        ("exposure.exposure_time / ({})", "detector"),
        ("exposure % ({})", "detector"),
        ("({}) / 7", "detector"),
        ("-({})", "detector"),
        ("1 - (2 * ({}))", "detector"),
    ]
    deepest = []
    for layer, inner in layers:
        text, kept = inner, inner
        for _ in range(MAX_DEPTH):
            text = layer.format(text)
            whole = text if inner == "exposure.good" else f"detector < 9 OR {text} > 0"
            whole = whole if inner == "exposure.good" else f"exposure IN (1, 2) AND NOT ({whole})"
            try:
                parse(whole)
            except ExpressionTooLarge:
                break
            kept = whole
        deepest.append(kept)
    return deepest


@pytest.mark.parametrize("text", nests())
def test_the_deepest_nesting_allowed_runs_inside_another_query(
    connection: sa.Connection, text: str
) -> None:
    condition = compile_where(text, Exposures())
    inner = sa.select(exposure.c.id).where(condition, exposure.c.id > 0)
    outer = sa.select(exposure.c.id).where(
        sa.or_(exposure.c.id < 0, sa.and_(exposure.c.id > 0, exposure.c.id.in_(inner)))
    )
    assert set(connection.execute(outer).scalars()) == ids(connection, text)


def test_a_usual_expression_takes_a_millisecond_once_the_grammar_is_there() -> None:
    parse("TRUE")
    begin = time.perf_counter()
    for i in range(100):
        parse(f"instrument = 'X' AND exposure IN (5..20:2, {i}) AND NOT band GLOB 'u*'")
    assert (time.perf_counter() - begin) / 100 < 0.01


def test_threads_may_parse_at_the_same_time() -> None:
    texts = [f"exposure = {i} AND (detector = {i + 1} OR band = '{i}')" for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        parsed = list(pool.map(parse, texts))
    for i, expression in enumerate(parsed):
        assert isinstance(expression.root, Connective)
        first = expression.root.operands[0]
        assert isinstance(first, Comparison)
        assert isinstance(first.right, Literal)
        assert first.right.value == i


def loaded(code: str) -> set[str]:
    """Run code in a new process and list the heavy libraries that it loads."""
    script = (
        f"{code}\nimport sys\n"
        "print(*sorted({'lark', 'astropy', 'lsst.sphgeom', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_heavy_libraries_are_loaded_when_they_are_needed() -> None:
    imports = "from registry.expressions import parse, compile_where\n"
    assert loaded(imports) == set()
    assert loaded(imports + "parse('')") == set()
    assert loaded(imports + "parse('exposure = 5')") == {"lark"}
    assert "astropy" in loaded(imports + "parse(\"a > T'2020-01-01'\")")


def test_arithmetic_of_names_is_a_tree() -> None:
    node = root("a + 2 = 5")
    assert isinstance(node, Comparison)
    assert isinstance(node.left, Arithmetic)
    assert isinstance(node.left.left, Name)
    assert node.left.left.name == "a"
